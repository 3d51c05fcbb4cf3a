"""One file of daily bars, read whole: what it says, or in one sentence why it cannot be read."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import PurePath

import numpy as np
import pandas as pd

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shown, validate_ticker
from stockcast_assets.market.calendars import (
    ALWAYS_OPEN,
    FIRST_DAY,
    calendar_for,
    is_enabled,
    is_session,
    known_calendar_for,
    sessions,
    time_zone,
)
from stockcast_assets.market.sources.base import DEEP_PAST, finished_sessions
from stockcast_assets.market.sources.files import names, symbols
from stockcast_assets.market.sources.files.dates import Dates, looks_like_date, read_dates, second_of
from stockcast_assets.market.sources.files.days import require_daily, require_open, require_period
from stockcast_assets.market.sources.files.fault import REMEDY, Fault, refuse
from stockcast_assets.market.sources.files.layout import HEAD_LINES, Layout, layout_of, separator_of
from stockcast_assets.market.sources.files.numbers import Mark, decimal_mark, is_absent, is_formula, number
from stockcast_assets.market.sources.files.shares import Series, in_last_shares
from stockcast_assets.market.sources.files.text import Record, encoding_of, records
from stockcast_assets.market.sources.validate import (
    COLUMNS,
    MOST_LEFT_OUT,
    LeftOut,
    all_faults,
    first_fault,
    leave_out,
    refuse_implausible,
)

MAX_ROWS = 50_000
"""Rows of one upload: a bar for every day of 136 years. Reading stops there, however large the file is."""

MAX_TICKERS = 500
"""Tickers of one upload."""

_DAY = 86_400
_MANY, _MUCH = 10, 0.1
"""Of so many sessions of a file so large a share may be missing without a word."""

_FEW_IMPOSSIBLE = 3
_FOOTER_LINES = 5
_EVENT = re.compile(
    r"(?P<cash>[\d.,]{1,20}) (?:cash )?dividends?|(?P<split>\d{1,6}[:/]\d{1,6}) stock splits?", re.ASCII | re.IGNORECASE
)
_RATIO = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) ?(?::|/|-?for-?) ?(\d{1,6}(?:\.\d{1,6})?)", re.ASCII | re.IGNORECASE)
_OF_COINS = frozenset(
    str.split("klines quotevolume quoteassetvolume takerbuyvolume takerbuybaseassetvolume volumeusdt volumebtc")
)
_OFTEN_OF_COINS = frozenset(("marketcap", "volumeusd"))
"""Names of columns that files of shares may have, too: rows on weekends must say the rest."""

_MONTH_FIRST = frozenset(("closelast", "chg"))
"""Names that only files of nasdaq.com and Barchart have, which write the month first."""


@dataclass(frozen=True)
class ParsedUpload:
    """What a good file says.

    Attributes:
        bars: the bars of its tickers (see `Source.bars`), one ticker after the other, each by date.
        notes: what was left out or brought into another form, in words.
        columns: the columns that were read: {what it holds: its name in the file}.
        left: names of the columns that were not.
    """

    bars: pd.DataFrame
    notes: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()

    @property
    def tickers(self) -> tuple[str, ...]:
        """The tickers, in the order of the file."""
        return tuple(self.bars["ticker"].unique())

    def of(self, ticker: str) -> pd.DataFrame:
        """The bars of one ticker; an empty frame if the file has none."""
        return self.bars[self.bars["ticker"] == ticker].reset_index(drop=True)


@dataclass
class _Rows:
    """The cells of the columns that are read, row by row, and the lines they stand on."""

    layout: Layout
    cells: dict[str | None, dict[str, list[str]]]
    lines: list[int]
    notes: list[str]
    events: set[int] = field(default_factory=set)


def parse_bytes(
    content: bytes,
    name: str,
    now: pd.Timestamp,
    ticker: str | None = None,
    most_rows: int = MAX_ROWS,
    any_day: bool = False,
) -> ParsedUpload:
    """Turn the content of a file into bars.

    The columns are known by the names that vendors give them; Date, Open, High, Low and Close must be there. Of which
    ticker the bars are says a column, else the file's name. Rows may come in any order. Bars of days the ticker's
    calendar is closed or of a session that goes on at `now`, and rows without any price, are left out and noted; the
    dividends of such rows go to the next session. `docs/market-data.md` has the whole of it.

    Args:
        content: the file.
        name: its name, for sentences and, where no column says it, the ticker.
        now: the moment at which sessions that are not over are told from those that are.
        ticker: the ticker, if the file does not have to say it.
        most_rows: rows above which it is refused.
        any_day: whether every day with all its prices is a session, of whatever market: for bars that are looked at and
            not stored. Rows that lack a price are left out, and so are closed days that were filled in.

    Raises:
        StockcastError: if anything else is odd: the sentence names file and line.
    """
    label = name if name.isprintable() else ascii(name)
    try:
        return _parse(content, PurePath(name).stem, label, now, ticker, most_rows, any_day)
    except Fault as fault:
        place = label if fault.line is None else f"{label}, line {fault.line}"
        raise StockcastError(f"{place}: {fault.words}.") from None


def require_enabled(parsed: ParsedUpload, label: str, enabled: Sequence[str]) -> None:
    """Refuse a file of tickers whose calendars are not among the enabled ones.

    Raises:
        StockcastError: naming the ticker, its calendar and the setting.
    """
    for ticker in parsed.tickers:
        calendar = known_calendar_for(ticker)
        if not is_enabled(calendar, enabled):
            raise StockcastError(
                f"{label}: {ticker} trades on the calendar {calendar}, which is not in "
                f"STOCKCAST_CALENDARS={','.join(enabled)}; add it and upload the file again."
            )


def tickers_of(content: bytes, name: str) -> tuple[str, ...]:
    """The tickers a file seems to be of, without any judgement of it; what its name says if nothing else does."""
    stem = PurePath(name).stem
    try:
        rows = _rows(content, lenient=True)
        found = dict.fromkeys(_named_tickers(rows, stem, _of_coin(rows)))
    except (Fault, symbols.NoTicker):
        return (stem.upper(),)
    return tuple(found)


def has_ticker_column(head: bytes) -> bool:
    """Whether the rows of a file that begins so say their tickers themselves."""
    try:
        return "ticker" in _rows(head, lenient=True).cells[None]
    except Fault:
        return False


def _parse(
    content: bytes, stem: str, label: str, now: pd.Timestamp, given: str | None, most_rows: int, any_day: bool
) -> ParsedUpload:
    rows = _rows(content, most_rows=most_rows)
    if not rows.lines:
        refuse("there is no row with a price; upload a file with bars")
    shared = rows.cells[None]
    owners = np.array(_tickers(rows, stem, given), dtype=object)
    lines = np.array(rows.lines)
    if "period" in shared:
        for cell, line in zip(shared["period"], rows.lines, strict=True):
            require_period(cell, line)
    _refuse_formulas(rows)
    mark = decimal_mark(_cells(rows, names.PRICES), _cells(rows, ("volume",)))
    wide = list(dict.fromkeys(key for key in rows.cells if key is not None))
    tickers = wide or list(dict.fromkeys(owners))
    if len(tickers) > MAX_TICKERS:
        refuse(f"more than {MAX_TICKERS} tickers; upload fewer per file")
    calendars = {ticker: _calendar(ticker, stem, any_day) for ticker in tickers}

    def plausible(reading: Dates) -> tuple[int, int]:
        future = int((reading.days > np.datetime64(now.date(), "D")).sum())
        if wide:
            return future, max(_closed(reading.days, calendars[ticker]) for ticker in wide)
        return future, sum(_closed(reading.days[owners == ticker], calendars[ticker]) for ticker in tickers)

    month_first = True if rows.layout.names & _MONTH_FIRST else None
    dates = read_dates(shared["date"], rows.lines, plausible, month_first)
    if "time" in shared and not dates.seconds.any():
        seconds = [second_of(cell) or 0 for cell in shared["time"]]
        dates = replace(dates, seconds=np.array(seconds, np.int64))
    found = []
    for ticker in tickers:
        own = np.arange(len(lines)) if wide else np.flatnonzero(owners == ticker)
        cells = {role: [column[row] for row in own] for role, column in (shared | rows.cells.get(ticker, {})).items()}
        found.append(_daily(ticker, calendars[ticker], cells, lines[own], own, dates, mark, rows, now, any_day))
    # One look at all of them: the schema takes longer to ask than the rows.
    good = first_fault(pd.concat([each.frame(now) for each in found], ignore_index=True)) is None
    parts, notes = [], list(rows.notes)
    for each in found:
        parts.append(_finished(each, good, rows, label, now, any_day))
        notes += [f"{each.ticker}: {note}" if len(found) > 1 else note for note in each.notes]
    columns: dict[str, str] = {}
    left = list(rows.layout.left)
    for column in rows.layout.fields:
        if column.ticker is None and column.role not in shared:
            left.append(column.name)
        else:
            columns.setdefault(column.role, column.name)
    return ParsedUpload(pd.concat(parts, ignore_index=True), tuple(notes), columns, tuple(left))


def _rows(content: bytes, lenient: bool = False, most_rows: int = MAX_ROWS) -> _Rows:
    """The cells of every line that may be a bar.

    Args:
        content: the file.
        lenient: whether only the tickers are wanted, so that a line may be as it likes.
        most_rows: how many bars it may have.
    """
    encoding = encoding_of(content)
    found = records(content, encoding, separator_of(content, encoding))
    if lenient:
        found = _until_fault(found)
    head = list(islice(found, HEAD_LINES))
    layout = layout_of(head)
    wide = [each for each in layout.fields if each.ticker is not None]
    keys = [
        (each.ticker, each.role, each.index) for each in layout.fields if not lenient or each.role in ("ticker", "date")
    ]
    cells: dict[str | None, dict[str, list[str]]] = {None: {}}
    for owner, role, _ in keys:
        cells.setdefault(owner, {})[role] = []
    dated = next(each.index for each in layout.fields if each.role == "date")
    rows = _Rows(layout, cells, [], [])
    if layout.preamble:
        rows.notes.append(f"left out {_lines(layout.preamble)} before the header")
    body = chain(head[layout.body :], found)
    if lenient:
        for record in body:
            if len(record.cells) >= layout.width:
                _keep(rows, keys, record.cells, record.line)
        return rows
    pending: list[Record] = []
    used = [each.index for each in layout.fields]
    for record in body:
        if _is_words(record, dated, used):
            pending.append(record)
            if len(pending) > _FOOTER_LINES:
                _refuse_words(pending[0], dated)
            continue
        # Files that were put one after the other have their names again in between.
        if any(each.cells != head[layout.body - 1].cells for each in pending):
            _refuse_words(pending[0], dated)
        pending.clear()
        event = _event(record, dated)
        if event is not None and not wide:
            _keep(rows, keys, _padded(record, layout, dated), record.line)
            _keep_event(rows, event, record.line)
        else:
            _keep(rows, keys, _cut(record, layout), record.line)
        if len(rows.lines) > most_rows:
            refuse(f"more than {most_rows:,} rows; upload one file per ticker, with one row per day", record.line)
    if pending:
        rows.notes.append(f"left out {_lines(len(pending))} of words at the end ({shown(pending[0].cells[0])})")
    if rows.events:
        rows.notes.append(f"took dividends or splits from {_lines(len(rows.events))} of words")
    return rows


def _until_fault(found: Iterator[Record]) -> Iterator[Record]:
    """The lines up to the first that cannot be read: the beginning of a file may end within one."""
    try:
        yield from found
    except Fault:
        return


def _keep(rows: _Rows, keys: Sequence[tuple[str | None, str, int]], cells: list[str], line: int) -> None:
    for owner, role, index in keys:
        rows.cells[owner][role].append(cells[index])
    rows.lines.append(line)
    for column in rows.cells[None].values():
        if len(column) < len(rows.lines):
            column.append("")


def _keep_event(rows: _Rows, event: Mapping[str, str], line: int) -> None:
    rows.events.add(line)
    for role, value in event.items():
        column = rows.cells[None].setdefault(role, [""] * (len(rows.lines) - 1))
        column[len(rows.lines) - 1 :] = [value]


def _cut(record: Record, layout: Layout) -> list[str]:
    """The cells of a line, without empty ones beyond the header.

    Raises:
        Fault: if there are fewer or more than the header has.
    """
    cells = record.cells
    if len(cells) < layout.width or any(cells[layout.width :]):
        refuse(f"{len(cells)} cells where the header has {layout.width}; {REMEDY}", record.line)
    return cells


def _padded(record: Record, layout: Layout, dated: int) -> list[str]:
    """A line of words about a day as a row that has nothing but the day."""
    cells = [""] * layout.width
    cells[dated] = record.cells[dated]
    for each in layout.fields:
        if each.role == "ticker" and each.index < len(record.cells):
            cells[each.index] = record.cells[each.index]
    return cells


def _is_words(record: Record, dated: int, used: Sequence[int]) -> bool:
    """Whether a line is a remark below or between the bars: no date, and no number where one belongs."""
    cells = record.cells
    if len(cells) > dated and looks_like_date(cells[dated]):
        return False
    there = [cells[index] for index in used if index < len(cells) and cells[index]]
    return not any(cell.startswith("=") or _is_number(cell) for cell in there)


def _is_number(cell: str) -> bool:
    return number(cell, ".", units=True) is not None or number(cell, ",", units=True) is not None


def _refuse_words(record: Record, dated: int) -> None:
    cell = record.cells[dated] if len(record.cells) > dated else record.cells[0]
    if is_formula(cell):
        _refuse_formula(cell, record.line)
    refuse(f"{shown(cell)} is no date; write it as YYYY-MM-DD and upload the file again", record.line)


def _event(record: Record, dated: int) -> dict[str, str] | None:
    """The dividend or split that Yahoo's page writes in a line of its own: `0.24 Dividend`, `4:1 Stock Splits`."""
    filled = [cell for index, cell in enumerate(record.cells) if cell and index != dated]
    found = next(filter(None, map(_EVENT.fullmatch, filled)), None) if 0 < len(filled) <= 2 else None
    if found is None:
        return None
    return {"dividend": found["cash"]} if found["cash"] else {"split_ratio": found["split"]}


def _cells(rows: _Rows, roles: Iterable[str]) -> Iterable[str]:
    return chain.from_iterable(columns[role] for columns in rows.cells.values() for role in roles if role in columns)


def _refuse_formulas(rows: _Rows) -> None:
    for columns in rows.cells.values():
        for column in columns.values():
            for row, cell in enumerate(column):
                if cell and not cell[0].isalnum() and is_formula(cell):
                    _refuse_formula(cell, rows.lines[row])


def _refuse_formula(cell: str, line: int) -> None:
    refuse(f"{shown(cell)} looks like a spreadsheet formula; replace it by its value and upload the file again", line)


def _tickers(rows: _Rows, stem: str, given: str | None) -> list[str]:
    """The ticker of each row.

    Raises:
        Fault: if one is no ticker.
    """
    try:
        found = _named_tickers(rows, stem, _of_coin(rows)) if given is None or _says_tickers(rows) else [given]
    except symbols.NoTicker as none:
        refuse(
            f"the ticker is taken from the file's name, as no column says it, and {none}: name the file after the "
            "ticker (MSFT.csv, VOD.L.csv, ETH-USD.csv) or add a column Symbol, and upload it again"
        )
    per_row = len(found) > 1 or "ticker" in rows.cells[None]
    for row, ticker in enumerate(found):
        line = rows.layout.tickers[row][0] if rows.layout.tickers else rows.lines[row] if per_row else None
        if row and ticker == found[row - 1]:
            continue
        try:
            validate_ticker(ticker)
        except StockcastError as error:
            refuse(f"{str(error).rstrip('.')}{symbols.suggestion(ticker)}", line)
    if rows.layout.tickers:
        return [found[0]] * len(rows.lines)
    return found * len(rows.lines) if len(found) == 1 else found


def _says_tickers(rows: _Rows) -> bool:
    return bool(rows.layout.tickers) or "ticker" in rows.cells[None]


def _named_tickers(rows: _Rows, stem: str, coin: bool) -> list[str]:
    """The tickers: those of the header, one per row of a ticker column, or the one of the file's name."""
    if rows.layout.tickers:
        return [ticker for _, ticker in rows.layout.tickers]
    column = rows.cells[None].get("ticker")
    if column is not None:
        by_name = any(each.role == "ticker" and names.plain(each.name) == "name" for each in rows.layout.fields)
        filled = [cell for cell in column if cell]
        if filled and not (by_name and not all(map(symbols.is_symbol, dict.fromkeys(filled)))):
            known = {cell: symbols.from_cell(cell, coin) for cell in dict.fromkeys(filled)}
            if len(set(known.values())) == 1:
                return [known[filled[0]]] * len(column)
            return [known.get(cell, "") for cell in column]
        del rows.cells[None]["ticker"]
    ticker = symbols.from_name(stem)
    return [symbols.from_cell(ticker, coin) if coin and "-" not in ticker else ticker]


def _of_coin(rows: _Rows) -> bool:
    """Whether the file is surely of coins: by the names of its columns, and by rows on weekends."""
    if rows.layout.names & _OF_COINS:
        return True
    cells = rows.cells[None].get("date", [])[:60]
    if not cells or not rows.layout.names & _OFTEN_OF_COINS:
        return False
    try:
        dates = read_dates(cells, rows.lines[: len(cells)], lambda reading: (0, 0))
    except Fault:
        return False
    return bool((pd.DatetimeIndex(dates.days).dayofweek >= 5).any())


def _calendar(ticker: str, stem: str, any_day: bool) -> str:
    if any_day:
        return calendar_for(ticker)
    try:
        return known_calendar_for(ticker)
    except StockcastError as error:
        refuse(f"{str(error).rstrip('.')}{symbols.suggestion(ticker)}")


def _closed(days: np.ndarray, calendar: str) -> int:
    """How many of the days the calendar has no session on."""
    if not len(days):
        return 0
    known = days[days >= np.datetime64(FIRST_DAY)]
    if not len(known):
        return 0
    open_days = sessions(calendar, pd.Timestamp(known.min()), pd.Timestamp(known.max()))
    return int((~np.isin(known, open_days.to_numpy().astype("datetime64[D]"))).sum())


@dataclass
class _Daily:
    """The rows of one ticker with a price, one per day and sorted by it, as the file has them.

    Attributes:
        days: [n] their days.
        lines: [n] where they stand in the file.
        columns: {role: [n] numbers}.
        every_day: the days of all rows, with prices or without.
        notes: what was left out so far, in words.
    """

    ticker: str
    calendar: str
    days: np.ndarray
    lines: np.ndarray
    columns: dict[str, np.ndarray]
    every_day: np.ndarray
    notes: list[str]

    def keep(self, kept: np.ndarray) -> None:
        """Leave the other rows out; their dividends and splits go to the next that is kept."""
        _pass_on(self.columns, self.days, kept)
        cash = self.columns.get("dividend")
        if cash is not None and kept.any():
            late = ~kept & (self.days > self.days[kept][-1]) & (cash > 0)
            self.notes += _note("a dividend that no later session of the file can take", self.days[late])
        self.days, self.lines = self.days[kept], self.lines[kept]
        self.columns = {role: column[kept] for role, column in self.columns.items()}

    @property
    def stamps(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.days.astype("datetime64[ns]"))

    def frame(self, now: pd.Timestamp) -> pd.DataFrame:
        """The rows as a frame of bars."""
        return _frame(self.ticker, self.stamps, self.columns, now)


def _daily(
    ticker: str,
    calendar: str,
    cells: dict[str, list[str]],
    lines: np.ndarray,
    own: np.ndarray,
    dates: Dates,
    mark: Mark,
    rows: _Rows,
    now: pd.Timestamp,
    any_day: bool,
) -> _Daily:
    """The rows of one ticker as daily bars, whatever they say."""
    notes: list[str] = []
    zone = time_zone(calendar)
    days = dates.local_days(zone, own, lambda some: len(some) - _closed(some, calendar))
    future = days > np.datetime64(now.date(), "D")
    if future.any():
        row = int(future.argmax())
        refuse(f"{shown(cells['date'][row])} is in the future; {REMEDY}", int(lines[row]))

    priced = _priced(cells, mark, all if any_day else any)
    columns = _columns(cells, lines, priced, mark, notes)
    order = np.argsort(days, kind="stable")
    days, lines, priced, seconds = days[order], lines[order], priced[order], dates.seconds[own][order]
    columns = {role: column[order] for role, column in columns.items()}
    if not priced.any():
        refuse("there is no row with a price; upload a file with bars")
    empty = ~priced & ~np.isin(lines, list(rows.events))
    # Of several tickers side by side each has its own days.
    if len(rows.layout.tickers) < 2:
        notes += _note(f"{empty.sum()} without {'all prices' if any_day else 'any price'}", days[empty])
    if calendar == ALWAYS_OPEN:
        _make_daily(days, seconds, priced, columns, notes)
    kept = _without_repeats(days, lines, priced, seconds, columns, notes)
    daily = _Daily(ticker, calendar, days, lines, columns, days, notes)
    daily.keep(kept)
    require_daily(daily.days, daily.lines)
    return daily


def _finished(daily: _Daily, good: bool, rows: _Rows, label: str, now: pd.Timestamp, any_day: bool) -> pd.DataFrame:
    """The bars of one ticker's finished sessions, in the shares of the last; notes are added to its own.

    Args:
        daily: its rows.
        good: whether each is known to be possible.
        rows: the file.
        label: the file's name in a sentence.
        now: the moment.
        any_day: whether every day is a session.
    """
    ticker, calendar, notes = daily.ticker, daily.calendar, daily.notes
    old = now.tz_localize(None).normalize() - DEEP_PAST
    if not good:
        daily.keep(_possible(daily.frame(now), daily.lines, old, notes))
    finished = _filled_in(daily, calendar) if any_day else _sessions(daily, now)
    if hint := symbols.suggestion(ticker):
        notes.append(f"{ticker} is a class of shares{hint}")

    # Bars of closed days keep nothing but their dividends; a bar that goes on is the last one's business.
    daily.keep(finished)
    lines, columns, stamps = daily.lines, daily.columns, daily.stamps
    splits_happen = calendar not in (ALWAYS_OPEN, "24/5") and not ticker.startswith("^") and not ticker.endswith("=F")
    split_name = next((names.plain(each.name) for each in rows.layout.fields if each.role == "split_ratio"), "")
    series = Series(
        lines,
        np.stack([columns[name] for name in names.PRICES]),
        columns.get("adj_close"),
        columns["volume"],
        columns.get("dividend"),
        columns.get("split_ratio"),
    )
    series, told = in_last_shares(series, split_name, splits_happen)
    notes += told
    done = dict(zip(names.PRICES, series.prices, strict=True))
    adjusted = {} if series.adjusted is None else {"adj_close": series.adjusted}
    events = {"dividend": series.dividend, "split_ratio": series.split}
    bars = _frame(ticker, stamps, done | adjusted | events | {"volume": series.volume}, now)
    return _plausible(bars, old, label, notes)


def _sessions(daily: _Daily, now: pd.Timestamp) -> np.ndarray:
    """[n] Which rows are finished sessions of the ticker's calendar.

    Raises:
        Fault: if the days cannot be those of that calendar.
    """
    ticker, calendar, notes = daily.ticker, daily.calendar, daily.notes
    days, lines, columns, stamps = daily.days, daily.lines, daily.columns, daily.stamps
    first, last = stamps[0], stamps[-1]
    due = finished_sessions(ticker, first, last, now)
    finished = stamps.isin(due)
    early = stamps < pd.Timestamp(FIRST_DAY)
    going_on = ~finished & (stamps == last) & is_session(calendar, last)
    closed = ~finished & ~early & ~going_on
    notes += _note(f"{early.sum()} from before {FIRST_DAY:%Y-%m-%d}, where the calendars begin", days[early])
    notes += _note(f"{closed.sum()} of days on which {calendar} is closed", days[closed])
    notes += _note(f"{going_on.sum()} of a session that is not over", days[going_on])
    if not finished.any():
        refuse(
            f"not one of its {len(stamps)} days is a finished session of {calendar}, the calendar of {ticker}; "
            "check the dates, or give the ticker its calendar in calendars.toml"
        )
    known = ~early
    rows_there = pd.DatetimeIndex(daily.every_day.astype("datetime64[ns]"))
    every_weekend = {5, 6} <= set(stamps.dayofweek)
    suggested = symbols.as_coin(ticker) if every_weekend and calendar != ALWAYS_OPEN else ""
    require_open(
        stamps[known], lines[known], (closed & ~_repeats(columns))[known], calendar, ticker, suggested, rows_there
    )

    due = due[(due >= stamps[finished][0]) & (due <= stamps[finished][-1])]
    if len(due) >= _MANY and (absent := len(due) - int(finished.sum())) > _MUCH * len(due):
        notes.append(f"there is no row of {absent} of the {len(due)} sessions between its first and last day")
    return finished


def _filled_in(daily: _Daily, calendar: str) -> np.ndarray:
    """[n] Which rows are no days on which the calendar is closed and the row before stands again."""
    closed = ~daily.stamps.isin(sessions(calendar, daily.stamps[0], daily.stamps[-1]))
    filled: np.ndarray = closed & _repeats(daily.columns)
    daily.notes += _note(f"{filled.sum()} of closed days that were filled in", daily.days[filled])
    return ~filled


def _possible(bars: pd.DataFrame, lines: np.ndarray, old: pd.Timestamp, notes: list[str]) -> np.ndarray:
    """[n] Which rows are possible bars; a few impossible ones from before the day `old` count as missing.

    Raises:
        Fault: if a later bar is impossible, or more than a few are.
    """
    kept = np.ones(len(bars), bool)
    fault = first_fault(bars)
    if fault is None:
        return kept
    found = {row: words for row, words in all_faults(bars).items() if bars["date"].iloc[row] < old}
    if 10 * len(found) <= len(bars) and len(found) <= max(_FEW_IMPOSSIBLE, MOST_LEFT_OUT * len(bars)):
        kept[list(found)] = False
        fault = first_fault(bars[kept])
    if fault is not None:
        place, words = fault
        line = None if place is None else int(lines[kept][place])
        refuse(f"the bar has {words}; correct or remove that row and upload the file again", line)
    notes += _left_out([LeftOut(bars["date"].iloc[row], words) for row, words in sorted(found.items())])
    return kept


def _plausible(bars: pd.DataFrame, old: pd.Timestamp, label: str, notes: list[str]) -> pd.DataFrame:
    """The bars, if each is plausible beside those before it; single ones from before the day `old` are left out.

    Raises:
        StockcastError: naming the first that is not.
    """
    try:
        return refuse_implausible(bars, None, label, REMEDY)
    except StockcastError:
        kept, out = leave_out(bars, old)
        if not out:
            raise
    notes += _left_out(out)
    return refuse_implausible(kept, None, label, REMEDY)


def _left_out(bars: Sequence[LeftOut]) -> list[str]:
    return [f"left out as impossible: {'; '.join(map(str, bars))}"] if bars else []


def _frame(
    ticker: str, days: pd.DatetimeIndex, columns: Mapping[str, np.ndarray | None], now: pd.Timestamp
) -> pd.DataFrame:
    """The columns as a frame of bars; the close stands in for an adjusted close, and no event for none."""
    n = len(days)
    given = {role: column for role, column in columns.items() if column is not None}
    values = {"adj_close": given["close"], "dividend": np.zeros(n), "split_ratio": np.ones(n)} | given
    values["volume"] = np.round(values["volume"]).astype("int64")
    stamp = pd.Series(now, range(n), dtype="datetime64[ns, UTC]")
    frame = pd.DataFrame({"ticker": ticker, "date": days, "source": "csv", "ingested_at": stamp} | values)
    return frame[COLUMNS]


def _priced(cells: Mapping[str, list[str]], mark: Mark, of: Callable[[Iterable[bool]], bool]) -> np.ndarray:
    """[n] Whether a row has `any` price, or `all`: a zero is none."""
    columns = [cells[name] for name in names.PRICES]
    return np.array(
        [of(not is_absent(cell) and number(cell, mark) != 0 for cell in row) for row in zip(*columns, strict=True)]
    )


def _columns(
    cells: Mapping[str, list[str]], lines: np.ndarray, priced: np.ndarray, mark: Mark, notes: list[str]
) -> dict[str, np.ndarray]:
    """The columns as numbers: {role: [n] values}; NaN in rows without a price."""
    found: dict[str, np.ndarray] = {}

    def read(role: str, absent: float | None, value: Callable[[str], float | None], rows: np.ndarray) -> np.ndarray:
        column = np.full(len(lines), np.nan if absent is None else absent)
        for row in np.flatnonzero(rows):
            cell = cells[role][row]
            if absent is not None and is_absent(cell):
                continue
            got = value(cell)
            if got is None:
                refuse(f"{shown(cell)} is no number, in the column {role}; {REMEDY}", int(lines[row]))
            column[row] = got
        return column

    def plain(cell: str) -> float | None:
        return number(cell, mark)

    everywhere = np.ones(len(lines), bool)
    for role in names.PRICES:
        found[role] = read(role, None, plain, priced)
    if "adj_close" in cells and not all(is_absent(cell) for cell in cells["adj_close"]):
        found["adj_close"] = read("adj_close", None, plain, priced)
    if "volume" in cells:
        volume = read("volume", 0.0, lambda cell: number(cell, mark, units=True), priced)
        absent = sum(is_absent(cell) for cell, there in zip(cells["volume"], priced, strict=True) if there)
        if absent:
            notes.append(f"no volume in {_rows_word(absent)}: stored as 0")
        broken = volume % 1 != 0
        if broken.any():
            notes.append(f"rounded the volume of {_rows_word(int(broken.sum()))} to a whole number")
        huge = np.abs(volume) >= 2**63
        if huge.any():
            row = int(huge.argmax())
            refuse(f"{shown(cells['volume'][row])} is no volume; {REMEDY}", int(lines[row]))
        found["volume"] = volume
    else:
        notes.append("there is no volume: stored as 0")
        found["volume"] = np.zeros(len(lines))
    for role in ("dividend", "capital_gain"):
        if role in cells:
            cash = read(role, 0.0, plain, everywhere)
            # Capital gains that a fund pays out are cash per share like a dividend.
            found["dividend"] = found["dividend"] + cash if "dividend" in found else cash
    if "split_ratio" in cells:
        ratio = read("split_ratio", 1.0, lambda cell: _ratio(cell, mark), everywhere)
        # Yahoo and yfinance write 0 on the days without a split.
        found["split_ratio"] = np.where(ratio == 0, 1.0, ratio)
    return found


def _ratio(cell: str, mark: Mark) -> float | None:
    """New shares per old one: `4`, `4:1`, `4/1`, `4 for 1`."""
    found = _RATIO.fullmatch(cell)
    if found is None:
        return number(cell, mark)
    return float(found[1]) / float(found[2]) if float(found[2]) else None


def _make_daily(
    days: np.ndarray, seconds: np.ndarray, priced: np.ndarray, columns: Mapping[str, np.ndarray], notes: list[str]
) -> None:
    """Make the first row of each day the bar of the day, in place, if the rows are intraday bars of whole days.

    Where nothing ever closes a day has no auction that intraday bars would lack, so its bar is exactly theirs: the
    first open, the highest high, the lowest low, the last close, the sum of the volumes. Days that lack one of their
    bars are not taken.
    """
    rows = np.flatnonzero(priced)
    order = rows[np.lexsort((seconds[rows], days[rows]))]
    moments = days[order].astype("datetime64[s]").astype(np.int64) + seconds[order]
    steps = np.diff(moments)
    if not len(steps) or (steps <= 0).any() or (step := int(steps.min())) >= _DAY or _DAY % step:
        return
    starts = np.flatnonzero(np.append(True, days[order][1:] != days[order][:-1]))
    counts = np.diff(np.append(starts, len(order)))
    whole = counts == _DAY // step
    priced[:] = False
    priced[order[starts[whole]]] = True
    first, last = order[starts], order[starts + counts - 1]
    columns["high"][first] = np.maximum.reduceat(columns["high"][order], starts)
    columns["low"][first] = np.minimum.reduceat(columns["low"][order], starts)
    columns["volume"][first] = np.add.reduceat(columns["volume"][order], starts)
    for role in ("close", "adj_close"):
        if role in columns:
            columns[role][first] = columns[role][last]
    notes.append(f"made {whole.sum()} daily bars of intraday ones, one every {step // 60} minutes")
    notes += _note(f"{_days_word(int((~whole).sum()))} without some of the intraday bars", days[first[~whole]])


def _without_repeats(
    days: np.ndarray,
    lines: np.ndarray,
    priced: np.ndarray,
    seconds: np.ndarray,
    columns: Mapping[str, np.ndarray],
    notes: list[str],
) -> np.ndarray:
    """[n] Which rows are kept: those with a price, each day once.

    Raises:
        Fault: if a day has two rows that differ, or rows of several times.
    """
    kept = priced.copy()
    rows = np.flatnonzero(priced)
    again = rows[1:][days[rows[1:]] == days[rows[:-1]]]
    if not len(again):
        return kept
    before = rows[np.searchsorted(rows, again) - 1]
    if (seconds[again] != seconds[before]).any():
        steps = np.abs(seconds[again] - seconds[before])
        every = int(np.median(steps[steps > 0])) // 60
        refuse(
            f"these are intraday bars, one every {every} minutes, and stockcast needs one per session; their last "
            "price is not the official close, so download daily bars and upload that file",
            int(lines[again[0]]),
        )
    for row, first in zip(again, before, strict=True):
        if any(column[row] != column[first] for column in columns.values()):
            refuse(
                f"{days[row]} is there already, on line {lines[first]}; keep one of the two rows and upload the file "
                "again",
                int(lines[row]),
            )
    kept[again] = False
    # The event of a row that stands twice happened once.
    for role, none in (("dividend", 0.0), ("split_ratio", 1.0)):
        if role in columns:
            columns[role][again] = none
    notes.append(f"left out {_rows_word(len(again))} that {'stands' if len(again) == 1 else 'stand'} twice")
    return kept


def _pass_on(columns: Mapping[str, np.ndarray], days: np.ndarray, kept: np.ndarray) -> None:
    """Give the dividends and splits of rows that are not kept to the next row that is, in place."""
    places = np.flatnonzero(kept)
    for role, none, add in (("dividend", 0.0, np.add), ("split_ratio", 1.0, np.multiply)):
        if role in columns:
            column = columns[role]
            rows = np.flatnonzero(~kept & (column != none) & np.isfinite(column) & (column > 0))
            nexts = np.searchsorted(days[places], days[rows])
            there = nexts < len(places)
            add.at(column, places[nexts[there]], column[rows[there]])


def _repeats(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """[n] Whether a row only repeats the close before, with no volume: a closed day that was filled in."""
    close = columns["close"]
    same = np.zeros(len(close), bool)
    prices = np.stack([columns[name][1:] for name in names.PRICES])
    same[1:] = (prices == close[:-1]).all(axis=0) & (columns["volume"][1:] == 0)
    return same


def _note(words: str, days: np.ndarray) -> list[str]:
    return [f"left out {words} (first: {days[0]})"] if len(days) else []


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _days_word(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _rows_word(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
