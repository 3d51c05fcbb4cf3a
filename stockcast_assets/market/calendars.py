"""Which sessions a ticker trades: exchange calendars by ticker, from one table (`calendars.toml`).

Sessions are naive midnight timestamps that name the exchange's own trading day. Calendars reach from 1990
(or the exchange's first known day) to about a year ahead.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias

from stockcast_assets.clock import utc_today
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import exchange_calendars, pd

Day: TypeAlias = "date | pd.Timestamp | str"

FIRST_DAY = date(1990, 1, 1)
ALWAYS_OPEN = "24/7"
"""The calendar that trades every day."""

_RECENT_YEARS = 3
_PACKAGED_RULES = Path(__file__).with_name("calendars.toml")


@dataclass(frozen=True)
class CalendarRules:
    """Calendar codes by exact ticker and by suffix, with the default for all others."""

    tickers: Mapping[str, str]
    suffixes: Mapping[str, str]
    default: str

    def calendar_for(self, ticker: str) -> str:
        if ticker in self.tickers:
            return self.tickers[ticker]
        matching = [suffix for suffix in self.suffixes if ticker.endswith(suffix)]
        return self.suffixes[max(matching, key=len)] if matching else self.default


def read_rules(*paths: Path) -> CalendarRules:
    """Read calendar tables; a later file's lines win over an earlier one's.

    Raises:
        StockcastError: if a file is not TOML or names an unknown calendar.
    """
    tickers: dict[str, str] = {}
    suffixes: dict[str, str] = {}
    default = "XNYS"
    for path in paths:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StockcastError(f"{path} is not a valid TOML calendar table: {error}.") from error
        tickers |= table.get("tickers", {})
        suffixes |= table.get("suffixes", {})
        default = table.get("default", default)
        for code in unknown_codes([*tickers.values(), *suffixes.values(), default]):
            raise StockcastError(
                f"{path} names the calendar {code!r}, which exchange_calendars does not know: "
                "use one of its codes, such as XNYS, XLON or 24/7."
            )
    return CalendarRules(tickers, suffixes, default)


def unknown_codes(codes: Iterable[str]) -> list[str]:
    """The codes that exchange_calendars does not know; it is not loaded to be asked about those packaged here."""
    others = [code for code in codes if code not in _packaged_codes()]
    known = set(exchange_calendars.get_calendar_names(include_aliases=True)) if others else set()
    return [code for code in others if code not in known]


@cache
def _packaged_codes() -> frozenset[str]:
    table = tomllib.loads(_PACKAGED_RULES.read_text(encoding="utf-8"))
    return frozenset([*table["tickers"].values(), *table["suffixes"].values(), table["default"]])


_rules = read_rules(_PACKAGED_RULES)


def extend_rules(user_table: Path) -> None:
    """Lay the user's calendar table over the packaged one, for this process; a missing file changes nothing."""
    global _rules
    _rules = read_rules(_PACKAGED_RULES, *([user_table] if user_table.exists() else []))


def calendar_for(ticker: str) -> str:
    """Calendar code of a ticker: `AAPL` → XNYS, `ETH-USD` → 24/7, `VOD.L` → XLON, `005930.KS` → XKRX."""
    return _rules.calendar_for(ticker)


def _calendar(code: str, day: Day) -> exchange_calendars.ExchangeCalendar:
    """The calendar from long before `day`: from 1990 on only if it must be, which takes two to four times as long."""
    recent = date(utc_today().year - _RECENT_YEARS, 1, 1)
    return _built(code, FIRST_DAY if pd.Timestamp(day) < pd.Timestamp(recent) + pd.DateOffset(years=1) else recent)


@lru_cache(maxsize=64)
def _built(code: str, start: date) -> exchange_calendars.ExchangeCalendar:
    from exchange_calendars.calendar_utils import global_calendar_dispatcher

    factory = global_calendar_dispatcher._calendar_factories.get(code)
    bound = factory.bound_min() if factory is not None else None
    earliest = pd.Timestamp(start)
    return exchange_calendars.get_calendar(code, start=earliest if bound is None else max(earliest, bound))


def sessions(calendar: str, start: Day, end: Day) -> pd.DatetimeIndex:
    """Sessions of a calendar from `start` to `end`, both included, as far as the calendar reaches."""
    known = _calendar(calendar, start).sessions
    return known[known.searchsorted(pd.Timestamp(start)) : known.searchsorted(pd.Timestamp(end), side="right")]


def is_session(calendar: str, day: Day) -> bool:
    """Whether the exchange trades on `day` (half days count)."""
    return len(sessions(calendar, day, day)) == 1


def next_sessions(calendar: str, day: Day, count: int) -> pd.DatetimeIndex:
    """The next `count` sessions strictly after `day`.

    Raises:
        StockcastError: if the calendar does not reach that far ahead.
    """
    known = _calendar(calendar, day).sessions
    first = known.searchsorted(pd.Timestamp(day), side="right")
    if first + count > len(known):
        raise StockcastError(
            f"The calendar {calendar} ends on {known[-1].date()}, fewer than {count} sessions after "
            f"{pd.Timestamp(day).date()}: upgrade exchange_calendars."
        )
    return known[first : first + count]


def previous_session(calendar: str, day: Day) -> pd.Timestamp:
    """The last session on or before `day`."""
    known = _calendar(calendar, day).sessions
    return known[known.searchsorted(pd.Timestamp(day), side="right") - 1]


def session_close(calendar: str, day: Day) -> pd.Timestamp:
    """When the session of `day` closes, in UTC (half days close early).

    Raises:
        StockcastError: if `day` is no session of the calendar.
    """
    if not is_session(calendar, day):
        raise StockcastError(f"{pd.Timestamp(day).date()} is no session of the calendar {calendar}.")
    return _calendar(calendar, day).session_close(pd.Timestamp(day))


def time_zone(calendar: str) -> str:
    """Name of the time zone whose days are a calendar's sessions: `America/New_York` for XNYS, UTC for 24/7.

    Currencies trade around the clock, and a day of theirs begins at London's midnight, as Yahoo Finance has it.
    """
    return "Europe/London" if calendar == "24/5" else str(_calendar(calendar, utc_today()).tz)


def validate_calendars(codes: Sequence[str]) -> None:
    """Raise StockcastError if a code is unknown to exchange_calendars."""
    for code in unknown_codes(codes):
        raise StockcastError(
            f"STOCKCAST_CALENDARS names {code!r}, which is no calendar of exchange_calendars: "
            "use codes such as XNYS, XLON, XKRX or 24/7."
        )


def closed_days(codes: Sequence[str], start: Day, end: Day) -> pd.DatetimeIndex:
    """Days from `start` to `end`, both included, on which none of the calendars trades.

    Days that a calendar does not reach yet are left out: nobody knows.
    """
    reach = min([pd.Timestamp(end), *(_calendar(code, start).sessions[-1] for code in codes)])
    days = pd.date_range(start, reach, freq="D")
    for code in codes:
        days = days.difference(sessions(code, start, end))
    return days
