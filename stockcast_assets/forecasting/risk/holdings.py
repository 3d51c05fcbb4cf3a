"""A file of holdings: which tickers, and how many of each."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist
from stockcast_assets.keys import validate_ticker
from stockcast_assets.market.currencies import quoted_in

COLUMNS = ("ticker", "quantity")
_CURRENCY = "currency"
_WANTED = "write a header `ticker,quantity` and one line for each position, such as `AAPL,10`"
_MOST_BYTES = 2**20


def read_holdings(path: Path) -> dict[str, float]:
    """The quantity of each ticker, negative where it is short; several lots of one are added up.

    Args:
        path: a CSV file with the columns `ticker` and `quantity`, and perhaps `currency`; other columns are not looked
            at. Comma or semicolon.

    Raises:
        StockcastError: if the file or a line of it cannot be read, it holds no position, or its prices are in several
            currencies.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StockcastError(f"{path} has more than a megabyte, which is no list of positions: {_WANTED}.")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise StockcastError(f"{path} cannot be read ({error.strerror}): {_WANTED}.") from None
    except UnicodeDecodeError:
        raise StockcastError(f"{path} is no text in UTF-8: save it as CSV, and {_WANTED}.") from None
    return parse_holdings(text, str(path))


def parse_holdings(text: str, name: str) -> dict[str, float]:
    """The same of the text of such a file; `name` is what sentences call it.

    Raises:
        StockcastError: as `read_holdings`, if it is wrong.
    """
    lines = text.splitlines()
    head = lines[0] if lines else ""
    rows = csv.reader(lines, delimiter=";" if ";" in head else ",")
    names = [one.strip().lower() for one in next(rows, [])]
    if missing := [one for one in COLUMNS if one not in names]:
        raise StockcastError(f"{name} has no column {' and no column '.join(missing)}: {_WANTED}.")
    found: dict[str, float] = {}
    stated: dict[str, str] = {}
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        where = f"Line {rows.line_num} of {name}"
        values = dict(zip(names, (cell.strip() for cell in row), strict=False))
        try:
            ticker = validate_ticker(values.get("ticker", ""))
        except StockcastError as error:
            raise StockcastError(f"{where}: {error}") from None
        found[ticker] = found.get(ticker, 0.0) + _quantity(values.get("quantity", ""), where)
        if values.get(_CURRENCY):
            stated[ticker] = values[_CURRENCY].upper()
    held = {ticker: quantity for ticker, quantity in found.items() if quantity != 0}
    if not held:
        raise StockcastError(f"{name} holds no position: {_WANTED}.")
    one_currency(held, stated)
    return held


def _quantity(text: str, where: str) -> float:
    try:
        quantity = float(text)
    except ValueError:
        quantity = math.nan
    if not math.isfinite(quantity):
        raise StockcastError(
            f"{where} has the quantity {ascii(text)[:30]}, which is no number: write how many are held, with a point "
            "for decimals and a minus where they are short."
        )
    return quantity


def one_currency(tickers: Iterable[str], stated: Mapping[str, str] | None = None) -> str | None:
    """The unit of all prices, as the symbols say it; None if none says it.

    Args:
        tickers: that are held.
        stated: what a file says of some of them.

    Raises:
        StockcastError: if there are several: a sum of them would be in none.
    """
    units: dict[str, list[str]] = {}
    for ticker in tickers:
        quoted = quoted_in(ticker)
        said = (stated or {}).get(ticker)
        if said and quoted and said != quoted.upper():
            raise StockcastError(
                f"{ticker} is said to be in {said[:20]}, but its prices are in {quoted}, and stockcast knows no "
                "exchange rates: leave the column out, or the position."
            )
        if unit := quoted or said:
            units.setdefault(unit, []).append(ticker)
    if len(units) > 1:
        listed = "; ".join(f"{unit}: {shortlist(of_unit, 3)}" for unit, of_unit in sorted(units.items()))
        raise StockcastError(
            f"The holdings are in several currencies ({listed}), and stockcast knows no exchange rates: give a file "
            "for each currency."
        )
    return next(iter(units), None)
