"""Daily bars from CSV files that people upload, in the shapes that yfinance and Yahoo Finance export.

`parse` turns one file into bars or says in one sentence, with the line, why it cannot; `CsvSource` serves a
ticker from all of its files in the uploads.
"""

import csv
import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import NoReturn

import numpy as np
import pandas as pd

from stockcast_assets.clock import Clock, utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import validate_ticker
from stockcast_assets.market.calendars import FIRST_DAY, calendar_for, is_session
from stockcast_assets.market.sources.base import finished_sessions, select
from stockcast_assets.market.sources.uploads import (
    FolderUploads,
    Upload,
    Uploads,
    UploadUnavailable,
    open_uploads,
)
from stockcast_assets.market.sources.validate import COLUMNS, PRICES, first_fault

_REQUIRED = ("date", "open", "high", "low", "close", "volume")
_NAMES = {
    **{name: name for name in _REQUIRED},
    "adjclose": "adj_close",
    "dividend": "dividend",
    "dividends": "dividend",
    "splitratio": "split_ratio",
    "stocksplits": "split_ratio",
    "symbol": "ticker",
    "ticker": "ticker",
}
_NEEDED = "it needs Date, Open, High, Low, Close and Volume"
_ABSENT = ("", "null", "nan", "none", "n/a")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T].*)?")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
MAX_ROWS = 50_000
"""Rows of one upload: a bar for every day of 136 years. Reading stops there, however large the file is."""

_SURE_SPLIT = 1.25
_HEAD_BYTES = 64 * 2**10
_HEAD_LINES = 20
_REMEDY = "correct it and upload the file again"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParsedUpload:
    """What a good file says: bars of one ticker (see `Source.bars`), and what was left out, in words."""

    ticker: str
    bars: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Table:
    """The cells of the columns we know, as text: one row per bar, with the line it stands on."""

    names: list[str]
    rows: list[list[str]]
    lines: list[int]
    tickers: list[tuple[int, str]]


class _Fault(Exception):
    """What is wrong, without the file's name; with the line if it is one line's fault."""

    def __init__(self, words: str, line: int | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.line = line


def parse(path: Path, now: pd.Timestamp | None = None) -> ParsedUpload:
    """Read one file; see `parse_bytes`.

    Raises:
        StockcastError: if it is too large (it is not read then) or not a file of good bars.
    """
    uploads = FolderUploads(path.parent)
    upload = next((file for file in uploads.files() if file.name == path.name), None)
    if upload is None:
        raise StockcastError(f"There is no CSV file {path}: give the path of a file that ends in .csv.")
    return parse_bytes(uploads.read(upload), path.name, utc_now() if now is None else now)


def parse_bytes(content: bytes, name: str, now: pd.Timestamp) -> ParsedUpload:
    """Turn the content of a file into bars.

    Columns, in any case: Date, Open, High, Low, Close, Volume, and if there are any Adj Close (else the
    close), Dividends, Stock Splits, and Symbol or Ticker (else the file's name is the ticker). Of a date the
    first ten characters count, `YYYY-MM-DD`: in a timestamp of yfinance they are the exchange's own day. The
    header of three lines that `yfinance.download` writes is understood too. Rows may come in any order. Bars
    of days the ticker's calendar is closed or of a session that goes on at `now`, and rows without any
    price, are left out and noted.

    Raises:
        StockcastError: if anything else is odd: the sentence names file and line.
    """
    try:
        return _parse(content, PurePath(name).stem, now)
    except _Fault as fault:
        label = name if name.isprintable() else ascii(name)
        place = label if fault.line is None else f"{label}, line {fault.line}"
        raise StockcastError(f"{place}: {fault.words}.") from None


def ticker_of(head: bytes, name: str) -> str:
    """The ticker a file seems to be of, from its beginning and its name, without any judgement of it."""
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    try:
        records = [record for record in csv.reader(lines[:_HEAD_LINES]) if any(record)]
    except csv.Error:
        records = []
    for record in records[:2]:
        # The line of tickers in the header of three lines.
        if record[0].strip().lower() == "ticker" and records[2:] and records[2][0].strip().lower() == "date":
            return record[1].strip().upper()
    names = [_column(cell) for cell in records[0]] if records else []
    if "ticker" in names:
        column = names.index("ticker")
        cells = [record[column].strip() for record in records[1:] if len(record) > column]
        named = [cell.upper() for cell in cells if cell]
        if named:
            return named[0]
    return PurePath(name).stem.upper()


class CsvSource:
    """Bars from the CSV files in the uploads; where two files of a ticker hold the same day, the newer wins.

    A bad file of the ticker asked for is moved to `rejected/` with the reason beside it, and the reason is
    raised. Files of other tickers, good or bad, are left alone.
    """

    name = "csv"

    def __init__(self, uploads: Uploads | Path | str, now: Clock = utc_now) -> None:
        self._uploads = open_uploads(uploads) if isinstance(uploads, Path | str) else uploads
        self._now = now
        self._tickers: dict[tuple[str, str], str] = {}
        self._noted: set[tuple[str, str]] = set()

    def bars(self, ticker: str, start: date | None, end: date, overlap: date | None = None) -> pd.DataFrame:
        """See `Source.bars`."""
        now = self._now()
        remedy = f"upload a CSV file with the missing days to {self._uploads.location}"
        chosen = select(self._merged(ticker, now), ticker, start, end, now, remedy, overlap)
        return chosen.assign(ingested_at=pd.Series(now, chosen.index, dtype="datetime64[ns, UTC]"))

    def first_session(self, ticker: str) -> date | None:
        """See `Source.first_session`."""
        return self._merged(ticker, self._now())["date"].iloc[0].date()

    def tickers(self) -> list[str]:
        """See `Source.tickers`."""
        return sorted({ticker for ticker in map(self._ticker_of, self._uploads.files()) if _is_ticker(ticker)})

    def _ticker_of(self, upload: Upload) -> str:
        key = (upload.name, upload.version)
        if key not in self._tickers:
            self._tickers[key] = ticker_of(self._uploads.read(upload, _HEAD_BYTES), upload.name)
        return self._tickers[key]

    def _merged(self, ticker: str, now: pd.Timestamp) -> pd.DataFrame:
        validate_ticker(ticker)
        files = [upload for upload in self._uploads.files() if self._ticker_of(upload) == ticker]
        if not files:
            raise StockcastError(
                f"No CSV file in {self._uploads.location} is of {ticker}: put {ticker}.csv there, with the "
                "columns Date, Open, High, Low, Close and Volume."
            )
        bars = pd.concat([self._parsed(upload, now).bars for upload in files], ignore_index=True)
        return bars.drop_duplicates("date", keep="last").sort_values("date", ignore_index=True)

    def _parsed(self, upload: Upload, now: pd.Timestamp) -> ParsedUpload:
        try:
            parsed = parse_bytes(self._uploads.read(upload), upload.name, now)
        except UploadUnavailable:
            raise
        except StockcastError as error:
            place = self._uploads.reject(upload, str(error))
            raise StockcastError(f"{error} The file is now {place}.") from error
        # A daily run parses the file again; what was left out is news once.
        if (upload.name, upload.version) not in self._noted:
            self._noted.add((upload.name, upload.version))
            for note in parsed.notes:
                _log.warning("%s: %s", upload.label, note)
        return parsed


def _is_ticker(ticker: str) -> bool:
    try:
        validate_ticker(ticker)
    except StockcastError:
        return False
    return True


def _parse(content: bytes, stem: str, now: pd.Timestamp) -> ParsedUpload:
    try:
        # Decoded as it is read: the whole text would take up to four times the file's size.
        table = _table(_records(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")))
    except UnicodeDecodeError:
        line = _first_undecodable(content)
        raise _Fault("this is not UTF-8 text; save the file as CSV UTF-8 and upload it again", line) from None
    ticker = _one_ticker(table, stem)
    cells = pd.DataFrame(
        {name: [row[index] for row in table.rows] for index, name in enumerate(table.names)},
        dtype=object,
    )
    lines = np.array(table.lines)

    priced = ~cells[["open", "high", "low", "close"]].map(_is_absent).all(axis=1)
    notes = _note(f"{(~priced).sum()} without any price", cells.loc[~priced, "date"])
    cells, lines = cells[priced].reset_index(drop=True), lines[priced]
    if cells.empty:
        raise _Fault("there is no row with a price; upload a file with bars")

    bars = _bars(cells, lines, ticker, now)
    order = bars["date"].argsort(kind="stable").to_numpy()
    bars, lines = bars.iloc[order].reset_index(drop=True), lines[order]
    twice = bars["date"].duplicated()
    if twice.any():
        second = int(twice.argmax())
        raise _Fault(
            f"{bars['date'][second]:%Y-%m-%d} is there already, on line {lines[second - 1]}; keep one of "
            "the two rows and upload the file again",
            int(lines[second]),
        )
    fault = first_fault(bars)
    if fault is not None:
        row, words = fault
        _refuse(lines, row, f"the bar has {words}; {_REMEDY}")
    if "adj_close" in cells and "dividend" not in cells:
        bars["dividend"] = _derived_dividends(bars, lines)

    calendar = calendar_for(ticker)
    first, last = bars["date"].iloc[0], bars["date"].iloc[-1]
    finished = bars["date"].isin(finished_sessions(ticker, first, last, now))
    early = bars["date"] < FIRST_DAY
    going_on = ~finished & (bars["date"] == last) & is_session(calendar, last)
    closed = ~finished & ~early & ~going_on
    notes += _note(f"{early.sum()} from before {FIRST_DAY:%Y-%m-%d}, where the calendars begin", bars["date"][early])
    notes += _note(f"{closed.sum()} of days on which {calendar} is closed", bars["date"][closed])
    notes += _note(f"{going_on.sum()} of a session that is not over", bars["date"][going_on])
    if not finished.any():
        raise _Fault(
            f"not one of its {len(bars)} days is a finished session of {calendar}, the calendar of {ticker}; "
            "check the dates, or give the ticker its calendar in calendars.toml"
        )
    return ParsedUpload(ticker, bars[finished].reset_index(drop=True), tuple(notes))


def _derived_dividends(bars: pd.DataFrame, lines: np.ndarray) -> np.ndarray:
    """The dividends that a file without that column tells by its adjusted closes.

    The ratio adjusted close / close is constant between ex-dates and steps there by 1 + dividend / close, up to
    how the adjusted closes were rounded. So total returns are those of the adjusted closes.
    """
    close, adjusted = bars["close"].to_numpy("float64"), bars["adj_close"].to_numpy("float64")
    step = np.ones(len(bars))
    step[1:] = (adjusted[1:] / close[1:]) / (adjusted[:-1] / close[:-1])
    grain = 0.01 if np.allclose(adjusted, adjusted.round(2), rtol=0, atol=1e-9) else 1e-6
    noise = np.full(len(bars), 1e-6)
    noise[1:] += grain / adjusted[1:] + grain / adjusted[:-1]
    jump = np.zeros(len(bars))
    jump[1:] = np.log(close[1:] / close[:-1])
    unadjusted = (step > _SURE_SPLIT) & (np.abs(jump + np.log(step)) < np.log(step) / 4)
    if unadjusted.any():
        row = int(unadjusted.argmax())
        _refuse(
            lines,
            row,
            f"only Adj Close, not Close, is adjusted for a split of about {step[row]:.3g} for 1; divide the earlier "
            "prices by it and upload the file again",
        )
    return np.where(step - 1 > noise, ((step - 1) * close).round(6), 0.0)


def _first_undecodable(content: bytes) -> int:
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    raise AssertionError("the content is UTF-8")


def _records(lines: io.TextIOWrapper | list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is not blank."""
    reader = csv.reader(lines, strict=True)
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if not any(cells):
                continue
            formula = next(filter(_is_formula, cells), None)
            if formula is not None:
                raise _Fault(
                    f"{formula[:40]!r} looks like a spreadsheet formula; replace it by its value and upload "
                    "the file again",
                    reader.line_num,
                )
            yield reader.line_num, cells
    except csv.Error as error:
        raise _Fault(f"this is not CSV ({error}); export the file again", reader.line_num) from None


def _table(records: Iterator[tuple[int, list[str]]]) -> _Table:
    first = list(islice(records, 3))
    if not first:
        raise _Fault(f"the file is empty; {_NEEDED}")
    heads = [cells[0].lower() for _, cells in first]
    if heads in (["price", "ticker", "date"], ["ticker", "price", "date"]):
        # yfinance.download writes one header line per level of its columns, and a third for the index.
        header = ["Date", *first[heads.index("price")][1][1:]]
        line, cells = first[heads.index("ticker")]
        tickers = [(line, cell.upper()) for cell in cells[1:]]
        body = records
    else:
        (line, header), body, tickers = first[0], chain(first[1:], records), []
    names = [_column(cell) for cell in header]
    missing = [name.title() for name in _REQUIRED if name not in names]
    if missing:
        hint = "; separate the columns by commas" if len(header) == 1 and re.search("[;\t|]", header[0]) else ""
        raise _Fault(f"there is no column {missing[0]}: {_NEEDED}{hint}", line)
    for name in filter(None, names):
        if names.count(name) > 1 and len(set(tickers)) < 2:
            raise _Fault(f"two columns say {name}; remove one and upload the file again", line)
    known = {index: name for index, name in enumerate(names) if name}
    rows: list[list[str]] = []
    lines: list[int] = []
    for number, cells in body:
        if len(cells) != len(header):
            raise _Fault(f"{len(cells)} cells where the header has {len(header)}; {_REMEDY}", number)
        if len(rows) == MAX_ROWS:
            raise _Fault(f"more than {MAX_ROWS:,} rows; upload one file per ticker, with one row per day", number)
        rows.append([cells[index] for index in known])
        lines.append(number)
    columns = list(known.values())
    if "ticker" in columns:
        place = columns.index("ticker")
        tickers = [(number, row[place].upper()) for number, row in zip(lines, rows, strict=True) if row[place]]
    return _Table(columns, rows, lines, tickers)


def _one_ticker(table: _Table, stem: str) -> str:
    tickers = table.tickers or [(0, stem.upper())]
    line, ticker = tickers[0]
    for other_line, other in tickers:
        if other != ticker:
            raise _Fault(f"{other} after {ticker} on line {line}: upload one file per ticker", other_line)
    try:
        return validate_ticker(ticker)
    except StockcastError as error:
        raise _Fault(str(error).rstrip("."), line or None) from None


def _bars(cells: pd.DataFrame, lines: np.ndarray, ticker: str, now: pd.Timestamp) -> pd.DataFrame:
    written = cells["date"].where(cells["date"].str.fullmatch(_DATE))
    dates = pd.to_datetime(written.str[:10], format="%Y-%m-%d", errors="coerce").astype("datetime64[ns]")
    _check(lines, cells["date"], dates.isna(), "is no date; write it as YYYY-MM-DD and upload the file again")
    _check(lines, cells["date"], dates.dt.date > now.date(), f"is in the future; {_REMEDY}")
    bars = pd.DataFrame({"ticker": ticker, "date": dates})
    for name in PRICES:
        bars[name] = _numbers(cells, lines, name) if name in cells else bars["close"]
    volume = _numbers(cells, lines, "volume")
    _check(lines, cells["volume"], (volume % 1 != 0) | (volume.abs() >= 2**63), f"is no whole number; {_REMEDY}")
    bars["volume"] = volume.astype("int64")
    bars["dividend"] = _numbers(cells, lines, "dividend", absent="0") if "dividend" in cells else 0.0
    split = _numbers(cells, lines, "split_ratio", absent="0") if "split_ratio" in cells else 1.0
    # Yahoo and yfinance write 0 on the days without a split.
    bars["split_ratio"] = np.where(np.equal(split, 0), 1.0, split)
    bars["source"] = "csv"
    bars["ingested_at"] = pd.Series(now, bars.index, dtype="datetime64[ns, UTC]")
    return bars[COLUMNS]


def _numbers(cells: pd.DataFrame, lines: np.ndarray, name: str, absent: str | None = None) -> pd.Series:
    written = cells[name] if absent is None else cells[name].mask(cells[name].map(_is_absent), absent)
    is_number = written.str.fullmatch(_NUMBER)
    _check(lines, written, ~is_number, f"is no number, in the column {name}; {_REMEDY}")
    return written.astype("float64")


def _check(lines: np.ndarray, written: pd.Series, bad: pd.Series, words: str) -> None:
    if bad.any():
        row = int(bad.to_numpy().argmax())
        _refuse(lines, row, f"{written.iloc[row][:40]!r} {words}")


def _refuse(lines: np.ndarray, row: int | None, words: str) -> NoReturn:
    raise _Fault(words, None if row is None else int(lines[row]))


def _column(cell: str) -> str | None:
    """Our name of a column, None if it says nothing about a bar."""
    return _NAMES.get(re.sub("[^a-z]", "", cell.lower()))


def _is_formula(cell: str) -> bool:
    return cell[:1] in ("=", "+", "@") or (cell[:1] == "-" and cell != "-" and not _NUMBER.fullmatch(cell))


def _is_absent(cell: str) -> bool:
    return cell.lower() in _ABSENT


def _note(words: str, days: pd.Series) -> list[str]:
    if days.empty:
        return []
    first = days.iloc[0]
    return [f"left out {words} (first: {first if isinstance(first, str) else f'{first:%Y-%m-%d}'})"]
