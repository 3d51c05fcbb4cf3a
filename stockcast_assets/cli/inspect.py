"""`stockcast inspect`: how a file would be read, and what would become of it; nothing is stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.tables import Row, print_json, print_table
from stockcast_assets.cli.terminal import err, warn
from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist, shown, validate_ticker
from stockcast_assets.libraries import np, pd
from stockcast_assets.market import calendars
from stockcast_assets.market.earnings import UNKNOWN
from stockcast_assets.market.sources.files import (
    earnings_columns,
    is_earnings,
    parse_bytes,
    read_earnings,
    require_enabled,
)
from stockcast_assets.market.sources.uploads import MAX_BYTES
from stockcast_assets.settings import Settings, load_settings

_RENAME = "the inbox takes files whose names end in .csv: rename it before you upload it"
_PRICES = ["open", "high", "low", "close"]
_SAME = 1e-9
"""Relative difference of two prices that are the same number."""


def run(call: Invocation, path: Path, ticker: str | None) -> None:
    """Print ticker, calendar, days, rows, columns and notes of a file, of bars or of reports.

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
    content = _content(path)
    suffix = [] if path.name.lower().endswith(".csv") else [_RENAME]
    if is_earnings(content):
        read, left = earnings_columns(content)
        reports = read_earnings(content, path.name)
        named = _chosen(path, "reports", ticker, sorted(set(reports["ticker"])))
        rows = [_reports_of(each, reports[reports["ticker"] == each]) for each in named]
        document = {"tickers": [], "reports": rows, "columns": read, "columns_left": left, "notes": suffix}
        _print(call, path, document, _REPORTS)
        return
    parsed = parse_bytes(content, path.name, utc_now(), ticker)
    named = _chosen(path, "bars", ticker, parsed.tickers)
    rows = [_described(settings, each, parsed.of(each)) for each in named]
    columns = {"columns": dict(parsed.columns), "columns_left": list(parsed.left)}
    _print(call, path, {"tickers": rows, "reports": [], **columns, "notes": [*parsed.notes, *suffix]}, _BARS)
    require_enabled(parsed, path.name, settings.calendars)


def _chosen(path: Path, what: str, ticker: str | None, tickers: Sequence[str]) -> Sequence[str]:
    if ticker is None:
        return tickers
    if ticker not in tickers:
        raise StockcastError(f"{shown(path.name)} has no {what} of {ticker}: it is of {shortlist(tickers)}.")
    return [ticker]


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


def _reports_of(ticker: str, reports: pd.DataFrame) -> Row:
    """What a file says of one ticker's reports."""
    return {
        "ticker": ticker,
        "first": reports["date"].iloc[0],
        "last": reports["date"].iloc[-1],
        "reports": len(reports),
        "with_hour": int((reports["when"] != UNKNOWN).sum()),
        "with_known": int(reports["known"].notna().sum()),
    }


_BARS: Mapping[str, Callable[[Row], object]] = {
    "ticker": itemgetter("ticker"),
    "calendar": itemgetter("calendar"),
    "first day": itemgetter("first"),
    "last day": itemgetter("last"),
    "rows": itemgetter("rows"),
    "dividends": itemgetter("dividends"),
    "splits": itemgetter("splits"),
    "last close": lambda row: f"{row['last_close']:.6g}",
    "goes to": lambda row: f"{row['price_history']} price_history, {row['raw_prices']} raw_prices",
    "stored": lambda row: f"{row['new']} new, {row['unchanged']} as stored, {row['changed']} changed",
}
_REPORTS: Mapping[str, Callable[[Row], object]] = {
    "ticker": itemgetter("ticker"),
    "first report": itemgetter("first"),
    "last report": itemgetter("last"),
    "reports": itemgetter("reports"),
    "with their hour": itemgetter("with_hour"),
    "with the day they became known": itemgetter("with_known"),
}
"""What a table shows, by heading."""


def _print(call: Invocation, path: Path, document: Row, shows: Mapping[str, Callable[[Row], object]]) -> None:
    if call.as_json:
        print_json({"file": path.name} | document)
        return
    rows = [[of(row) for of in shows.values()] for row in (*document["tickers"], *document["reports"])]
    print_table(f"{path.name} would be read as", list(shows), rows)
    columns = [[name, role.replace("_", " ")] for role, name in document["columns"].items()]
    left = [[name, "left"] for name in document["columns_left"]]
    print_table("Columns", ["in the file", "read as"], [*columns, *left])
    for note in document["notes"]:
        err.print(f"note: {note}.", soft_wrap=True)
