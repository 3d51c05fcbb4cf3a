"""Reading files of earnings reports: which ticker reports on which day, at which hour, and since when that is known.

As of bars, the columns are known by the names that vendors give them, in any order; what else there is, is left.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shown, validate_ticker
from stockcast_assets.market.earnings import AFTER_CLOSE, BEFORE_OPEN, UNKNOWN
from stockcast_assets.market.sources.files import names, symbols
from stockcast_assets.market.sources.files.dates import Dates, read_dates, second_of
from stockcast_assets.market.sources.files.fault import Fault, refuse
from stockcast_assets.market.sources.files.layout import HEAD_LINES
from stockcast_assets.market.sources.files.numbers import is_absent
from stockcast_assets.market.sources.files.text import SEPARATORS, Record, encoding_of, records, sample, split

COLUMNS = ("ticker", "date", "when", "known")

_NAMES: Mapping[str, Mapping[str, int]] = {
    "ticker": {},
    # Of two days in a row, that of the report is meant: the other is the end of the quarter.
    "date": dict.fromkeys(
        str.split(
            "reportdate reporteddate earningsdate earningsreportdate earningsreleasedate earningsannouncementdate "
            "announcementdate releasedate filingdate filedate filed dateofreport rdq"
        ),
        -1,
    ),
    "when": dict.fromkeys(
        str.split(
            "when hour timeofday timing session callingtime releasetime reporttime announcementtime earningstime "
            "beforeaftermarket marketsession earningscalltime"
        ),
        -1,
    )
    | {"time": 0},
    "known": dict.fromkeys(str.split("known knownon knownsince announced announcedon"), -1),
}
"""What a column of reports may be called beside what one of bars may be; of two, the lower rank is read."""

_SPOKEN = {name for role in _NAMES.values() for name, rank in role.items() if rank < 0}
_OF_BARS = {*names.PRICES, "adj_close", "volume", "dividend", "capital_gain", "split_ratio"}

_HOURS: Mapping[str, str] = {
    **dict.fromkeys(
        str.split("beforeopen beforemarketopen bmo premarket premarketopen before beforemarket timepremarket am"),
        BEFORE_OPEN,
    ),
    **dict.fromkeys(
        str.split("afterclose aftermarketclose amc postmarket aftermarket afterhours after timeafterhours pm"),
        AFTER_CLOSE,
    ),
    **dict.fromkeys(
        str.split("unknown tns timenotsupplied dmh duringmarket duringmarkethours tas timeunknown"), UNKNOWN
    ),
}
_OPEN, _CLOSE = 9 * 3600 + 1800, 16 * 3600
"""New York's seconds of the day: what a file means that writes a time of the day behind its dates."""

_MOST_ROWS = 1_000_000
_YEARS_AHEAD = 2


class _Header(NamedTuple):
    """The columns of a file of reports.

    Attributes:
        separator: between its cells.
        line: the line that names them; None if none does.
        names: as they stand there.
        places: where each of `COLUMNS` that the file has stands.
        surely: whether it can be no other file: nothing else is in it, or a column speaks of reports.
    """

    separator: str
    line: int | None
    names: Sequence[str]
    places: Mapping[str, int]
    surely: bool


def is_earnings(head: bytes) -> bool:
    """Whether a file that begins so is one of reports: it names tickers and days and, of a bar, nothing else."""
    try:
        return _header(head, encoding_of(head)).surely
    except Fault:
        return False


def earnings_columns(content: bytes) -> tuple[dict[str, str], list[str]]:
    """The columns of a file of reports: by each of `COLUMNS` that is read its name, and the names of those left."""
    header = _header(content, encoding_of(content))
    read = {role: header.names[place] for role, place in header.places.items()}
    return read, [name for place, name in enumerate(header.names) if place not in header.places.values()]


def read_earnings(content: bytes, name: str) -> pd.DataFrame:
    """The reports of a CSV file.

    Args:
        content: text with a column of tickers and one of days and, if it is known, one that says When (`before open`,
            `after close`, their usual abbreviations, or nothing) and one that says Known (the day since whose end it
            is known that the report comes, or nothing). Rows without a day are left out.
        name: the file's name, for sentences.

    Returns:
        ticker, date, when, known (null: not said); by ticker and date, each report once.

    Raises:
        StockcastError: if anything is odd; the sentence names file and line.
    """
    try:
        return _read(content)
    except Fault as fault:
        place = name if fault.line is None else f"{name}, line {fault.line}"
        raise StockcastError(f"{place}: {fault.words}.") from None


def _header(content: bytes, encoding: str) -> _Header:
    lines = sample(content, encoding, HEAD_LINES)
    for separator in SEPARATORS:
        for record in split(lines, separator):
            places = {role: place for role in COLUMNS if (place := _place(record.cells, role)) is not None}
            if {"ticker", "date"} <= places.keys():
                if places.get("when") == places["date"]:
                    del places["when"]
                others = [cell for place, cell in enumerate(record.cells) if place not in places.values()]
                of_bars = any(meaning.role in _OF_BARS for cell in others for meaning in names.meanings(cell))
                spoken = any(names.plain(record.cells[places[role]]) in _SPOKEN for role in places)
                return _Header(separator, record.line, record.cells, places, not of_bars and (spoken or not others))
    return _Header(SEPARATORS[0], None, (), {}, False)


def _place(cells: Sequence[str], role: str) -> int | None:
    """Where the column of a role stands, None if there is none."""
    ranked = []
    for place, cell in enumerate(cells):
        rank = _NAMES[role].get(names.plain(cell))
        if rank is None and role in ("ticker", "date"):
            rank = next((meaning.rank for meaning in names.meanings(cell) if meaning.role == role), None)
        if rank is not None:
            ranked.append((rank, place))
    return min(ranked)[1] if ranked else None


def _read(content: bytes) -> pd.DataFrame:
    encoding = encoding_of(content)
    header = _header(content, encoding)
    if header.line is None:
        refuse("there is no column Ticker or Date: begin it with Ticker,Date,When")
    rows = []
    for record in records(content, encoding, header.separator):
        if record.line > header.line and not is_absent(_cell(record, header, "date")):
            rows.append(record)
        if len(rows) > _MOST_ROWS:
            refuse(f"it has more than {_MOST_ROWS:,} rows: split it")
    if not rows:
        refuse("it names no report: put one in a row, as MSFT,2024-04-25,after close")
    dates = _days(rows, header, "date")
    frame = pd.DataFrame(
        {
            "ticker": [_ticker(record, header) for record in rows],
            "date": pd.DatetimeIndex(dates.days).as_unit("ns"),
            "when": [_when(record, header) for record in rows] if "when" in header.places else _hours(dates),
            "known": pd.NaT,
        }
    ).astype({"known": "datetime64[ns]"})
    with_known = [place for place, record in enumerate(rows) if not is_absent(_cell(record, header, "known"))]
    if with_known:
        known = _days([rows[place] for place in with_known], header, "known")
        frame.loc[with_known, "known"] = pd.DatetimeIndex(known.days).as_unit("ns")
    # Of a report that is there with and without its hour, the hour is kept.
    frame = frame.sort_values(["ticker", "date", "when"], ascending=[True, True, False], ignore_index=True)
    return frame.drop_duplicates(["ticker", "date"], ignore_index=True)


def _cell(record: Record, header: _Header, role: str) -> str:
    place = header.places.get(role)
    return record.cells[place] if place is not None and place < len(record.cells) else ""


def _days(rows: Sequence[Record], header: _Header, role: str) -> Dates:
    latest = np.datetime64("today", "D") + 366 * _YEARS_AHEAD

    def plausible(dates: Dates) -> tuple[int, int]:
        return int((dates.days > latest).sum()), int((~np.is_busday(dates.days)).sum())

    return read_dates([_cell(record, header, role) for record in rows], [record.line for record in rows], plausible)


def _hours(dates: Dates) -> list[str]:
    """What the times behind the days say, if there are any; a clock of another place says nothing."""
    seconds = np.where(np.isnan(dates.offsets), dates.seconds, 0)
    return [_hour(int(second)) for second in seconds]


def _hour(second: int) -> str:
    """What a second of New York's day is; midnight is no time."""
    if not second or _OPEN <= second < _CLOSE:
        return UNKNOWN
    return BEFORE_OPEN if second < _OPEN else AFTER_CLOSE


def _ticker(record: Record, header: _Header) -> str:
    try:
        return validate_ticker(symbols.from_cell(_cell(record, header, "ticker")))
    except StockcastError as error:
        raise Fault(str(error).rstrip("."), record.line) from None


def _when(record: Record, header: _Header) -> str:
    cell = _cell(record, header, "when")
    second = second_of(cell)
    found = UNKNOWN if is_absent(cell) else _HOURS.get(names.plain(cell), None if second is None else _hour(second))
    if found is None:
        refuse(f"{shown(cell)} says no hour: write `before open`, `after close` or nothing", record.line)
    return found
