"""`stockcast inspect`: how a file would be read, and what would become of it; nothing is stored."""

from __future__ import annotations

import warnings
from pathlib import Path

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.tables import Row, print_json, print_table
from stockcast_assets.cli.terminal import err, warn
from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist, shown, validate_ticker
from stockcast_assets.libraries import np, pd
from stockcast_assets.market import calendars
from stockcast_assets.market.sources.files import ParsedUpload, parse_bytes, require_enabled
from stockcast_assets.market.sources.uploads import MAX_BYTES
from stockcast_assets.settings import Settings, load_settings

_PRICES = ["open", "high", "low", "close"]
_SAME = 1e-9
"""Relative difference of two prices that are the same number."""


def run(call: Invocation, path: Path, ticker: str | None) -> None:
    """Print ticker, calendar, days, rows, columns and notes of a file.

    Raises:
        StockcastError: if the inbox would refuse the file, with the same sentence.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        settings = load_settings()
    for warning in caught:
        warn(str(warning.message))
    calendars.extend_rules(settings.home / "calendars.toml")
    if ticker is not None:
        validate_ticker(ticker)
    parsed = parse_bytes(_content(path), path.name, utc_now(), ticker)
    notes = list(parsed.notes)
    if not path.name.lower().endswith(".csv"):
        notes.append("the inbox takes files whose names end in .csv: rename it before you upload it")
    chosen = parsed.tickers if ticker is None else tuple(each for each in parsed.tickers if each == ticker)
    if not chosen:
        raise StockcastError(f"{shown(path.name)} has no bars of {ticker}: it is of {shortlist(parsed.tickers)}.")
    rows = [_described(settings, each, parsed.of(each)) for each in chosen]
    _print(call, path, rows, parsed, notes)
    require_enabled(parsed, path.name, settings.calendars)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise StockcastError(f"There is no file {shown(str(path))}: give the path of a CSV file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StockcastError(f"{shown(str(path))} cannot be read ({error.strerror}): check its permissions.") from error
    if len(content) > MAX_BYTES:
        raise StockcastError(
            f"{shown(path.name)} has more than {MAX_BYTES // 2**20} MB, the most that is read of an upload: split it "
            "by years or tickers."
        )
    return content


def _described(settings: Settings, ticker: str, bars: pd.DataFrame) -> Row:
    """What is in the file of one ticker, and where its rows would go."""
    before = bars["date"] < pd.Timestamp(settings.start_date)
    after = pd.Series(False, bars.index)
    if settings.end_date is not None:
        after = bars["date"] > pd.Timestamp(settings.end_date)
    return {
        "ticker": ticker,
        "calendar": calendars.calendar_for(ticker),
        "first": bars["date"].iloc[0],
        "last": bars["date"].iloc[-1],
        "rows": len(bars),
        "dividends": int((bars["dividend"] != 0).sum()),
        "splits": int((bars["split_ratio"] != 1).sum()),
        "last_close": bars["close"].iloc[-1],
        "price_history": int(before.sum()),
        "raw_prices": int((~before & ~after).sum()),
        "without_key": int(after.sum()),
    } | _against_stored(settings, ticker, bars)


def _against_stored(settings: Settings, ticker: str, bars: pd.DataFrame) -> Row:
    """How many of the bars are new, as they are stored, or would change what is stored."""
    if settings.warehouse == "duckdb" and not settings.database.exists():
        return {"new": len(bars), "unchanged": 0, "changed": 0}
    from stockcast_assets.orchestration.assets.bars import read_bars
    from stockcast_assets.orchestration.build import warehouse_from

    stored = read_bars(warehouse_from(settings), [ticker], bars["date"].iloc[-1], bars["date"].iloc[0])
    both = bars.merge(stored, on="date", suffixes=("", "_stored"))
    old = both[[f"{name}_stored" for name in _PRICES]].to_numpy(np.float64)
    same = (np.abs(both[_PRICES].to_numpy(np.float64) / old - 1) <= _SAME).all(axis=1)
    return {"new": len(bars) - len(both), "unchanged": int(same.sum()), "changed": int((~same).sum())}


def _print(call: Invocation, path: Path, rows: list[Row], parsed: ParsedUpload, notes: list[str]) -> None:
    if call.as_json:
        document = {"file": path.name, "tickers": rows, "columns": dict(parsed.columns), "columns_left": parsed.left}
        print_json(document | {"notes": notes})
        return
    print_table(
        f"{path.name} would be read as",
        [
            "ticker",
            "calendar",
            "first day",
            "last day",
            "rows",
            "dividends",
            "splits",
            "last close",
            "goes to",
            "stored",
        ],
        [
            [
                *(row[name] for name in ("ticker", "calendar", "first", "last", "rows", "dividends", "splits")),
                f"{row['last_close']:.6g}",
                f"{row['price_history']} price_history, {row['raw_prices']} raw_prices",
                f"{row['new']} new, {row['unchanged']} as stored, {row['changed']} changed",
            ]
            for row in rows
        ],
    )
    columns = [[name, role.replace("_", " ")] for role, name in parsed.columns.items()]
    print_table("Columns", ["in the file", "read as"], [*columns, *([name, "left"] for name in parsed.left)])
    for note in notes:
        err.print(f"note: {note}.", soft_wrap=True)
