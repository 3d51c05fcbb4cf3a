"""What is said of earnings reports, when it was known, and files that say it: `Ticker,Date[,When]`, a report a row.

A statement is a row of `earnings_dates`: that a report came (`filed`), will come (`announced`) or is thought to come
(`expected`) on a day, or that none comes, and the day at whose end that was known. Of a day the newest statement holds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import parse_day, shown, validate_ticker
from stockcast_assets.libraries import pd

BEFORE_OPEN, AFTER_CLOSE, UNKNOWN = "before open", "after close", ""
NO_HOUR = "unknown"
"""What `earnings_dates` says of a report without hour."""

FILED, ANNOUNCED, EXPECTED = "filed", "announced", "expected"

COLUMNS = ("ticker", "date", "when")

_WHEN: Mapping[str, str] = {
    **dict.fromkeys(("before open", "before market open", "bmo", "pre-market", "premarket", "before"), BEFORE_OPEN),
    **dict.fromkeys(("after close", "after market close", "amc", "post-market", "postmarket", "after"), AFTER_CLOSE),
    **dict.fromkeys(("", "unknown", "-", "tns", "time not supplied", "dmh", "during market"), UNKNOWN),
}
_MOST_ROWS = 1_000_000


def known(frame: pd.DataFrame, on: date | pd.Timestamp) -> pd.DataFrame:
    """The statements that held at the end of a day, one per ticker and report, by ticker and date.

    Args:
        frame: rows of `earnings_dates`.
        on: the day. What was known later changes nothing.
    """
    seen = frame[frame["known_on"] <= pd.Timestamp(on)].sort_values(["ticker", "date", "known_on"])
    newest = seen.drop_duplicates(["ticker", "date"], keep="last")
    return newest[~newest["cancelled"].astype(bool)].reset_index(drop=True)


def read_earnings(content: bytes, name: str) -> pd.DataFrame:
    """The reports of a CSV file.

    Args:
        content: UTF-8 text with the columns Ticker, Date (YYYY-MM-DD) and, if it is known, When (`before open`,
            `after close`, their usual abbreviations, or nothing); further columns are left.
        name: the file's name, for sentences.

    Returns:
        ticker, date, when; by ticker and date, each report once.

    Raises:
        StockcastError: if anything is odd; the sentence names file and line.
    """
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = [cell.strip().lower() for cell in next(lines, [])]
        places = {column: header.index(column) if column in header else None for column in COLUMNS}
        if places["ticker"] is None or places["date"] is None:
            raise StockcastError(f"{name}: there is no column Ticker or Date: begin it with Ticker,Date,When.")
        rows = [_row(cells, places, f"{name}, line {lines.line_num}") for cells in lines if any(cells)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise StockcastError(f"{name}: it is no CSV text in UTF-8 ({error}): save it as one.") from None
    if len(rows) > _MOST_ROWS:
        raise StockcastError(f"{name}: it has {len(rows):,} rows: split it into files of {_MOST_ROWS:,}.")
    if not rows:
        raise StockcastError(f"{name}: it names no report: put one in a row, as MSFT,2024-04-25,after close.")
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"date": "datetime64[ns]"})
    # Of a report that is there with and without its hour, the hour is kept.
    frame = frame.sort_values(["ticker", "date", "when"], ascending=[True, True, False], ignore_index=True)
    return frame.drop_duplicates(["ticker", "date"], ignore_index=True)


def _row(cells: list[str], places: Mapping[str, int | None], where: str) -> tuple[str, pd.Timestamp, str]:
    def cell(column: str) -> str:
        place = places[column]
        return cells[place].strip() if place is not None and place < len(cells) else ""

    when = _WHEN.get(cell("when").lower())
    if when is None:
        raise StockcastError(
            f"{where}: {shown(cell('when'))} says no hour: write `before open`, `after close` or nothing."
        )
    try:
        return validate_ticker(cell("ticker").upper()), pd.Timestamp(parse_day(cell("date"))), when
    except StockcastError as error:
        raise StockcastError(f"{where}: {error}") from None
