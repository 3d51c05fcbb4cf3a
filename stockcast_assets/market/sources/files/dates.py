"""The days of a file, however they are written, and what is done where a date can be read in two ways.

A date is read in one way for the whole file. Where `03/04/2024` could be a day of March or of April, the file itself
must tell: a day above 12, or that the bars of only one reading fall on sessions and not in the future. What stays
ambiguous is refused.

A stamp with a time is a moment, and a moment belongs to the exchange's local day: `2024-01-02 00:00:00+00:00` may be
New York's evening of the first. Midnights of the file's own clock are days, as yfinance and Tiingo write them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from stockcast_assets.inputs import shown
from stockcast_assets.market.sources.files.fault import Fault
from stockcast_assets.market.sources.files.numbers import MAX_CELL

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january",
            "feb february",
            "mar march",
            "apr april",
            "may",
            "jun june",
            "jul july",
            "aug august",
            "sep sept september",
            "oct october",
            "nov november",
            "dec december",
        ),
        start=1,
    )
    for name in names.split()
}
_ZONES = {"z": 0, "utc": 0, "gmt": 0, "est": -300, "edt": -240}
_EXCEL_EPOCH = np.datetime64("1899-12-30", "D")
_YEARS = range(1800, 2200)

_YMD = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_XXY = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})", re.ASCII)
_NAMED = re.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?,? )?"
    r"(?:(?P<month>[a-z]{3,9})\.?[ -](?P<day>\d{1,2}),?|(?P<day2>\d{1,2})\.?[ -](?P<month2>[a-z]{3,9})\.?,?)"
    r"[ -](?P<year>\d{4}|\d{2})",
    re.ASCII | re.IGNORECASE,
)
_SERIAL = re.compile(r"[2-7]\d{4}(?:\.\d{1,12})?", re.ASCII)
_EPOCH = re.compile(r"(\d{9,10}|\d{12,13}|\d{15,16}|\d{18,19})(?:\.0)?", re.ASCII)
_TIME = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d{1,9})?)? ?([ap]m)?"
    r" ?(?:(z|utc|gmt|est|edt)|([+-])(\d{2}):?(\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d{1,2}):?(\d{2}):?(\d{2})?", re.ASCII)


@dataclass(frozen=True)
class Moment:
    """A date as it is written, the second of its day, and the minutes its clock is ahead of UTC, if it says so."""

    day: np.datetime64
    second: int = 0
    offset: int | None = None


@dataclass(frozen=True)
class Dates:
    """The dates of a file in one reading.

    Attributes:
        days: [n] the day each row names.
        seconds: [n] the second of that day; 0 where no time is given.
        offsets: [n] minutes ahead of UTC; NaN where the file does not say.
    """

    days: np.ndarray
    seconds: np.ndarray
    offsets: np.ndarray

    def local_days(self, zone: str, rows: np.ndarray, on_sessions: Callable[[np.ndarray], int]) -> np.ndarray:
        """[k] the exchange's own days of some rows.

        Args:
            zone: the exchange's time zone.
            rows: [k] which rows.
            on_sessions: how many of some days are sessions, to tell midnights that are days from moments.
        """
        days: np.ndarray = self.days[rows]
        seconds, offsets = self.seconds[rows], self.offsets[rows]
        known = ~np.isnan(offsets)
        if not known.any():
            return days
        utc = days.astype("datetime64[s]") + seconds.astype("timedelta64[s]")
        utc = utc - np.where(known, offsets * 60, 0).astype("timedelta64[s]")
        moments = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(ZoneInfo(zone))
        local = moments.tz_localize(None).to_numpy().astype("datetime64[D]")
        local = np.where(known, local, days)
        if (seconds[known] != 0).any():
            return local
        return local if on_sessions(local) > on_sessions(days) else days


def looks_like_date(cell: str) -> bool:
    """Whether a cell is a date in any of the ways that are read."""
    return any(True for _ in _readings(cell))


def read_dates(
    cells: Sequence[str],
    lines: Sequence[int],
    plausible: Callable[[Dates], tuple[int, int]],
    month_first: bool | None = None,
) -> Dates:
    """The dates of a column.

    Args:
        cells: [n] the cells.
        lines: [n] the lines they stand on.
        plausible: of how many rows a reading's days are impossible (in the future), and closed.
        month_first: how the vendor of the file is known to write, None if it is not known.

    Raises:
        Fault: if a cell is no date, or written otherwise than the first, or two readings remain.
    """
    ways = [way for way, _ in _readings(cells[0])]
    if not ways:
        _refuse_cell(cells[0], lines[0])
    found = [(way, *_read_all(cells, way)) for way in ways]
    whole = [(way, moments) for way, moments, bad in found if bad is None]
    if not whole:
        _, _, bad = max(found, key=lambda each: each[2] or 0)
        _refuse_cell(cells[bad or 0], lines[bad or 0])
    if month_first is not None:
        known = "mdy" if month_first else "dmy"
        whole = [each for each in whole if each[0] == known] or whole
    readings = [_dates(moments) for _, moments in whole]
    if len(readings) == 1 or _same(readings):
        return readings[0]
    # A holiday that was filled in is no reason to doubt a reading; one that falls on weekends throughout is none.
    ranked = sorted(((*plausible(reading), place) for place, reading in enumerate(readings)))
    (future, closed, place), (other_future, other_closed, _) = ranked[:2]
    if not future and (other_future or other_closed > 5 * closed):
        return readings[place]
    first, second = (str(reading.days[0]) for reading in readings[:2])
    raise Fault(
        f"{shown(cells[0])} may be {first} or {second}, and no other date of the file says which; write the dates as "
        "YYYY-MM-DD and upload the file again",
        lines[0],
    )


def second_of(cell: str) -> int | None:
    """The second of the day that a cell of a column of times says, None if it says none."""
    found = _CLOCK.fullmatch(cell)
    if not found:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups())
    return hour * 3600 + minute * 60 + second if hour < 24 and minute < 60 and second < 60 else None


def _refuse_cell(cell: str, line: int) -> NoReturn:
    raise Fault(f"{shown(cell)} is no date; write it as YYYY-MM-DD and upload the file again", line)


def _same(readings: Sequence[Dates]) -> bool:
    return all((reading.days == readings[0].days).all() for reading in readings[1:])


def _dates(moments: Sequence[Moment]) -> Dates:
    return Dates(
        np.array([moment.day for moment in moments], "datetime64[D]"),
        np.array([moment.second for moment in moments], np.int64),
        np.array([np.nan if moment.offset is None else moment.offset for moment in moments], np.float64),
    )


def _read_all(cells: Sequence[str], way: str) -> tuple[list[Moment], int | None]:
    """The moments of the cells read one way, and the first row that cannot be."""
    moments: list[Moment] = []
    for row, cell in enumerate(cells):
        moment = next((moment for found, moment in _readings(cell) if found == way), None)
        if moment is None:
            return moments, row
        moments.append(moment)
    return moments, None


@lru_cache(maxsize=4096)
def _readings(cell: str) -> tuple[tuple[str, Moment], ...]:
    """Every way to read a cell as a date, by name: iso, named, mdy, dmy, ymd, serial, epoch."""
    if len(cell) > MAX_CELL or not cell:
        return ()
    if cell[0].isdigit() and (moment := _of_digits(cell)) is not None:
        return (moment,)
    found = _NAMED.match(cell)
    if found is not None:
        month = _MONTHS.get((found["month"] or found["month2"]).lower())
        clock = _clock(cell[found.end() :])
        if month is None or clock is None:
            return ()
        return _made("named", _year(found["year"]), month, int(found["day"] or found["day2"]), clock)
    found = _YMD.match(cell) or _COMPACT.match(cell)
    if found is not None and (clock := _clock(cell[found.end() :])) is not None:
        year, month, day = (int(part) for part in found.groups() if part.isdigit())
        return _made("iso", year, month, day, clock)
    found = _XXY.match(cell)
    if found is None or (clock := _clock(cell[found.end() :])) is None:
        return ()
    first, mark, second, year = int(found[1]), found[2], int(found[3]), _year(found[4])
    day_first = _made("dmy", year, second, first, clock)
    if len(found[4]) == 2:
        day_first += _made("ymd", _year(f"{first:02d}"), second, int(found[4]), clock)
    # Points are written between day and month only where the day comes first.
    return day_first if mark == "." else day_first + _made("mdy", year, first, second, clock)


def _of_digits(cell: str) -> tuple[str, Moment] | None:
    if _EPOCH.fullmatch(cell):
        digits = cell.removesuffix(".0")
        seconds = int(digits) // 10 ** max(0, 3 * ((len(digits) - 8) // 3))
        day, second = divmod(seconds, 86_400)
        return "epoch", Moment(np.datetime64(day, "D"), second, 0)
    if _SERIAL.fullmatch(cell):
        return "serial", Moment(_EXCEL_EPOCH + int(cell.partition(".")[0]))
    return None


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else int(text) + (2000 if int(text) < 70 else 1900)


def _made(way: str, year: int, month: int, day: int, clock: tuple[int, int | None]) -> tuple[tuple[str, Moment], ...]:
    if year not in _YEARS or not 1 <= month <= 12 or not 1 <= day <= 31:
        return ()
    try:
        made = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "D")
    except ValueError:
        return ()
    return ((way, Moment(made, *clock)),)


def _clock(tail: str) -> tuple[int, int | None] | None:
    """Second of the day and minutes ahead of UTC of what follows a date; None if it is no time."""
    if not tail:
        return 0, None
    found = _TIME.fullmatch(tail[1:].lstrip(" ")) if tail[0] in " T," else None
    if found is None:
        return None
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    if found[4]:
        hour = hour % 12 + (12 if found[4].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    offset = _ZONES[found[5].lower()] if found[5] else None
    if found[6]:
        offset = (int(found[7]) * 60 + int(found[8] or 0)) * (1 if found[6] == "+" else -1)
    return hour * 3600 + minute * 60 + second, offset
