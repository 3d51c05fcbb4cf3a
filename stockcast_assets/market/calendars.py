"""Which sessions a ticker trades: exchange calendars by ticker, from one table (`calendars.toml`).

Sessions are naive midnight timestamps that name the exchange's own trading day. Calendars reach from 1990
(or the exchange's first known day) to about a year ahead.

No calendar is infallible. The table says which days of a calendar are `closed` or `open` against what the library
thinks, and which may be without a bar (`optional`): a day of the last kind counts as a session of those that have a
bar. What evidence decided (`learn_closed`) is kept beside the user's table and is of the last kind, too.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeAlias

from stockcast_assets.clock import utc_today
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import exchange_calendars, pd

Day: TypeAlias = "date | pd.Timestamp | str"

FIRST_DAY = date(1990, 1, 1)
ALWAYS_OPEN = "24/7"
"""The calendar that trades every day."""

_RECENT_YEARS = 3
_PACKAGED_RULES = Path(__file__).with_name("calendars.toml")


UNKNOWN = "unknown"
"""The code of a ticker of which nobody knows where it trades. What is stored of it is still looked at by the default
calendar, as it was fetched; nothing more is fetched."""

LEARNED = "calendars.learned.toml"
"""Beside the user's table: the days that evidence closed."""

KEPT = "closed_days.json"
"""Beside the user's table: the closed days found last, so that the next process need not build calendars for them."""

_US_SHARE = re.compile(r"[A-Z][A-Z0-9]*(?:-[A-Z]{1,2}|\.[A-Z])?")
"""A symbol without a suffix is one of the United States; `BRK-B`, `BRK.B` and `BAC-PL` name a class of shares."""

Days = Mapping[str, frozenset[date]]


@dataclass(frozen=True)
class CalendarRules:
    """Calendar codes by exact ticker and by suffix, with the default for symbols without a suffix; and what to
    correct in the calendars.

    Attributes:
        closed: days on which a calendar is closed although the library has it open; of a ticker: days without a bar
            of its own, whatever its source says.
        open: days on which a calendar is open although the library has it closed.
        optional: days of a calendar that may be without a bar: as month and day, `12-25`, or as the code of another
            calendar on whose closed days they may.
        learned: days that evidence closed, by calendar.
    """

    tickers: Mapping[str, str]
    suffixes: Mapping[str, str]
    default: str
    closed: Days = field(default_factory=dict)
    open: Days = field(default_factory=dict)
    optional: Mapping[str, frozenset[str]] = field(default_factory=dict)
    learned: Days = field(default_factory=dict)

    def calendar_for(self, ticker: str) -> str:
        if ticker in self.tickers:
            return self.tickers[ticker]
        matching = [suffix for suffix in self.suffixes if ticker.endswith(suffix) and ticker != suffix]
        if matching:
            return self.suffixes[max(matching, key=len)]
        return self.default if _US_SHARE.fullmatch(ticker) else UNKNOWN


def read_rules(*paths: Path, learned: Path | None = None) -> CalendarRules:
    """Read calendar tables; a later file's lines win over an earlier one's, and its days are added to them.

    A day that a later file opens is no longer closed by an earlier one, and the other way round.

    Raises:
        StockcastError: if a file is not TOML, or names an unknown calendar or what is no day.
    """
    tickers: dict[str, str] = {}
    suffixes: dict[str, str] = {}
    days: dict[str, dict[str, frozenset[date]]] = {"closed": {}, "open": {}}
    optional: dict[str, frozenset[str]] = {}
    default = "XNYS"
    for path in paths:
        table = _read(path)
        tickers |= table.get("tickers", {})
        suffixes |= table.get("suffixes", {})
        default = table.get("default", default)
        for code in [*tickers.values(), *suffixes.values(), default]:
            _check_code(path, code)
        for name, other in (("closed", "open"), ("open", "closed")):
            for code, listed in table.get(name, {}).items():
                if name == "open":
                    _check_code(path, code)
                found = _days(path, name, code, listed)
                days[name][code] = days[name].get(code, frozenset()) | found
                days[other][code] = days[other].get(code, frozenset()) - found
        for code, listed in table.get("optional", {}).items():
            _check_code(path, code)
            optional[code] = optional.get(code, frozenset()) | _recurring(path, code, listed)
    return CalendarRules(
        tickers, suffixes, default, days["closed"], days["open"], optional, _learned(learned, days["open"])
    )


def _read(path: Path) -> dict[str, Any]:
    # What is no plain file may have no end.
    if not path.is_file():
        raise StockcastError(f"{path} is no plain file: put a table of calendars there, or move it aside.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StockcastError(f"{path} is not a valid TOML calendar table: {error}.") from error
    except OSError as error:
        raise StockcastError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
    for name, kind in (("tickers", dict), ("suffixes", dict), ("default", str)):
        found = table.get(name, kind())
        values = found.values() if isinstance(found, dict) else ()
        if not isinstance(found, kind) or not all(isinstance(value, str) for value in values):
            raise StockcastError(
                f'{path} has no calendars in {name}: write lines such as "VOD.L" = "XLON" below [tickers].'
            )
    return table


def _check_code(path: Path, code: object) -> None:
    if unknown_codes([str(code)]):
        raise StockcastError(
            f"{path} names the calendar {code!r}, which exchange_calendars does not know: "
            "use one of its codes, such as XNYS, XLON or 24/7."
        )


def _days(path: Path, section: str, name: str, listed: object) -> frozenset[date]:
    found = set()
    for day in listed if isinstance(listed, list) else [listed]:
        try:
            found.add(day if type(day) is date else date.fromisoformat(str(day)))
        except (TypeError, ValueError):
            raise StockcastError(
                f"{path} lists {day!r} under [{section}] for {name}, which is no day: write it as 2026-07-17."
            ) from None
    return frozenset(found)


def _recurring(path: Path, name: str, listed: object) -> frozenset[str]:
    found = [str(entry) for entry in (listed if isinstance(listed, list) else [listed])]
    for entry in found:
        if not re.fullmatch(r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", entry):
            _check_code(path, entry)
    return frozenset(found)


def _learned(path: Path | None, opened: Days) -> dict[str, frozenset[date]]:
    found: dict[str, set[date]] = {}
    for entry in _read(path).get("closed", []) if path is not None and path.exists() else []:
        found.setdefault(entry["calendar"], set()).add(entry["day"])
    return {code: frozenset(days) - opened.get(code, frozenset()) for code, days in found.items()}


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
_user_table: Path | None = None
_read_at: list[tuple[int, int] | None] = []


def extend_rules(user_table: Path) -> None:
    """Lay the user's calendar table over the packaged one, for this process; a missing file changes nothing.

    Days that evidence closed are read from the file `LEARNED` beside it.
    """
    global _rules, _user_table, _read_at  # noqa: PLW0603  one table per process
    _user_table = user_table
    learned, stamps = user_table.with_name(LEARNED), _stamps(user_table)
    _rules = read_rules(_PACKAGED_RULES, *([user_table] if os.path.lexists(user_table) else []), learned=learned)
    _read_at = stamps


def refreshed() -> list[tuple[int, int] | None]:
    """Read the user's tables again if they have changed; the value returned changes with them.

    Raises:
        StockcastError: as `read_rules`; what was read before stays.
    """
    if _user_table is None:
        return []
    if _stamps(_user_table) != _read_at:
        extend_rules(_user_table)
    return _read_at


def _stamps(user_table: Path) -> list[tuple[int, int] | None]:
    """Time of the last change (ns) and size (bytes) of the two tables, None for one that is not there."""
    found: list[tuple[int, int] | None] = []
    for path in (user_table, user_table.with_name(LEARNED)):
        try:
            status = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size))
    return found


def user_table() -> str:
    """Where a person writes lines that this module's errors ask for."""
    return str(_user_table or "calendars.toml in STOCKCAST_HOME")


def learn_closed(calendar: str, day: Day, because: str) -> None:
    """Count a day of a calendar as one that may be without a bar, from now on and for every process.

    The reason stands beside it in the file `LEARNED`. To revise it, delete the entry, or write the day under [open]
    in the user's table.
    """
    if _user_table is None:
        return
    entry = (
        f"# {because}\n[[closed]]\ncalendar = {json.dumps(calendar)}\nday = {pd.Timestamp(day):%Y-%m-%d}\n"
        f"because = {json.dumps(because)}\n\n"
    )
    path = _user_table.with_name(LEARNED)
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write of a few lines at the end of a file stands whole beside another process's.
    with path.open("a", encoding="utf-8") as file:
        file.write(entry)
    extend_rules(_user_table)


def calendar_for(ticker: str) -> str:
    """Calendar code of a ticker: `AAPL` → XNYS, `ETH-USD` → 24/7, `VOD.L` → XLON; `UNKNOWN` if nobody knows."""
    return _rules.calendar_for(ticker)


def is_enabled(code: str, enabled: Collection[str]) -> bool:
    """Whether tickers of a calendar have their keys: it is enabled, or one that trades every day is, so that every day
    is a key anyway."""
    return code in enabled or ALWAYS_OPEN in enabled


def currency_of(ticker: str) -> str | None:
    """The currency of a ticker's prices if its symbol says it, as of shares of the United States and pairs with USD."""
    american = _US_SHARE.fullmatch(ticker) and calendar_for(ticker) == "XNYS"
    return "USD" if american or ticker.endswith("-USD") else None


def _calendar(code: str, day: Day) -> exchange_calendars.ExchangeCalendar:
    """The calendar from long before `day`: from 1990 on only if it must be, which takes two to four times as long."""
    return _built(_rules.default if code == UNKNOWN else code, _start(day), _end())


def _start(day: Day) -> date:
    recent = date(utc_today().year - _RECENT_YEARS, 1, 1)
    return FIRST_DAY if pd.Timestamp(day) < pd.Timestamp(recent) + pd.DateOffset(years=1) else recent


def _end() -> date:
    # The library's own end is a year after it was imported, which a process may outlive.
    return date(utc_today().year + 1, 12, 31)


def known_calendar_for(ticker: str, hint: str | None = None) -> str:
    """The calendar code of a ticker of which bars are to be fetched or read.

    `hint` is what somebody who knows more about the ticker would write for it.

    Raises:
        StockcastError: if nobody knows where it trades; the sentence names the line to write.
    """
    code = calendar_for(ticker)
    if code == UNKNOWN:
        raise StockcastError(
            f"Nobody knows on which days {ticker} trades: write the line {line_for(ticker, hint or 'XLON')} into "
            f"{user_table()}, with the code that exchange_calendars has for its exchange (24/7 for a coin, 24/5 for a "
            "currency)."
        )
    return code


def line_for(ticker: str, code: str) -> str:
    """The line of calendars.toml that gives a ticker, or all with its suffix, a calendar."""
    suffix = re.search(r"\.[A-Z]{1,4}$", ticker)
    if suffix:
        return f'`"{suffix[0]}" = "{code}"` under [suffixes]'
    return f'`"{ticker}" = "{code}"` under [tickers]'


def closing_line(name: str, days: Iterable[pd.Timestamp]) -> str:
    """The line of calendars.toml that closes a calendar on some days, or leaves out a ticker's bars."""
    return f'`"{name}" = [{", ".join(f"{day:%Y-%m-%d}" for day in days)}]` under [closed] in {user_table()}'


@lru_cache(maxsize=64)
def _built(code: str, start: date, end: date) -> exchange_calendars.ExchangeCalendar:
    first, last = pd.Timestamp(start), pd.Timestamp(end)
    try:
        return exchange_calendars.get_calendar(code, start=first, end=last)
    except ValueError:
        # It is known from a later day on, or up to an earlier one.
        kind = type(exchange_calendars.get_calendar(code))
        lowest, highest = kind.bound_min() or first, kind.bound_max() or last
        return exchange_calendars.get_calendar(code, start=max(first, lowest), end=min(last, highest))


def _sessions(code: str, day: Day) -> pd.DatetimeIndex:
    """The sessions of a calendar from long before `day` on, as corrected by the table."""
    known = _rules.default if code == UNKNOWN else code
    closed, opened = _rules.closed.get(known, frozenset()), _rules.open.get(known, frozenset())
    return _corrected(known, _start(day), _end(), closed, opened)


@lru_cache(maxsize=64)
def _corrected(code: str, start: date, end: date, closed: frozenset[date], opened: frozenset[date]) -> pd.DatetimeIndex:
    known: pd.DatetimeIndex = _built(code, start, end).sessions
    if not (closed or opened):
        return known
    within = [pd.Timestamp(day) for day in opened if known[0] <= pd.Timestamp(day) <= known[-1]]
    found: pd.DatetimeIndex = known.union(pd.DatetimeIndex(within)).difference(pd.DatetimeIndex(list(closed)))
    return found


def sessions(calendar: str, start: Day, end: Day) -> pd.DatetimeIndex:
    """Sessions of a calendar from `start` to `end`, both included, as far as the calendar reaches."""
    known = _sessions(calendar, start)
    return known[known.searchsorted(pd.Timestamp(start)) : known.searchsorted(pd.Timestamp(end), side="right")]


def optional_days(ticker: str, days: Iterable[pd.Timestamp]) -> pd.DatetimeIndex:
    """Those of some sessions of a ticker that may be without a bar, and no gap.

    Days that its calendar lists as optional, that evidence closed, or that a person left out for the ticker.
    """
    code, asked = _rules.calendar_for(ticker), pd.DatetimeIndex(list(days))
    if not len(asked):
        return asked
    out = _rules.closed.get(ticker, frozenset()) | _rules.learned.get(code, frozenset())
    chosen = asked.isin([pd.Timestamp(day) for day in out])
    for entry in _rules.optional.get(code, ()):
        if re.fullmatch(r"\d\d-\d\d", entry):
            chosen |= asked.strftime("%m-%d") == entry
        else:
            chosen |= ~asked.isin(_sessions(entry, asked.min()))
    return asked[chosen]


def why_optional(ticker: str, day: pd.Timestamp) -> str:
    """Why one of a ticker's `optional_days` is one, in words."""
    code = _rules.calendar_for(ticker)
    if day.date() in _rules.closed.get(ticker, ()):
        return "left out: calendars.toml says so"
    if day.date() in _rules.learned.get(code, ()):
        return f"market closed: evidence, see {LEARNED}"
    return "no bar, on a day that may be without one"


def code_in_zone(zone: str | None, kind: str | None = None) -> str | None:
    """A calendar's code for what a provider says of a ticker: the time zone of its exchange, the kind of instrument."""
    if kind == "CRYPTOCURRENCY":
        return "24/7"
    if kind == "CURRENCY":
        return "24/5"
    from exchange_calendars.calendar_utils import global_calendar_dispatcher

    factories = global_calendar_dispatcher._calendar_factories  # noqa: SLF001
    alike = [code for code in [_rules.default, *sorted(factories)] if str(getattr(factories[code], "tz", "")) == zone]
    return next(iter(alike), None)


def left_out_days(ticker: str) -> pd.DatetimeIndex:
    """The days on which a person left a ticker's bars out, whatever the source says ([closed] in the table)."""
    return pd.DatetimeIndex(sorted(_rules.closed.get(ticker, ())))


def expected_sessions(ticker: str, start: Day, end: Day) -> pd.DatetimeIndex:
    """The sessions from `start` to `end`, both included, on which a ticker must have a bar."""
    due = sessions(calendar_for(ticker), start, end)
    return due.difference(optional_days(ticker, due))


def last_expected_session(ticker: str, day: Day) -> pd.Timestamp:
    """The last session on or before `day` on which a ticker must have a bar."""
    due = sessions(calendar_for(ticker), pd.Timestamp(day) - pd.Timedelta(days=60), day)
    expected = due.difference(optional_days(ticker, due))
    return expected[-1] if len(expected) else previous_session(calendar_for(ticker), day)


def is_session(calendar: str, day: Day) -> bool:
    """Whether the exchange trades on `day` (half days count)."""
    return len(sessions(calendar, day, day)) == 1


def next_sessions(calendar: str, day: Day, count: int) -> pd.DatetimeIndex:
    """The next `count` sessions strictly after `day`.

    Raises:
        StockcastError: if the calendar does not reach that far ahead.
    """
    known = _sessions(calendar, day)
    first = known.searchsorted(pd.Timestamp(day), side="right")
    if first + count > len(known):
        raise StockcastError(
            f"The calendar {calendar} ends on {known[-1].date()}, fewer than {count} sessions after "
            f"{pd.Timestamp(day).date()}: upgrade exchange_calendars."
        )
    return known[first : first + count]


def previous_session(calendar: str, day: Day) -> pd.Timestamp:
    """The last session on or before `day`."""
    known = _sessions(calendar, day)
    return known[int(known.searchsorted(pd.Timestamp(day), side="right")) - 1]


def session_close(calendar: str, day: Day) -> pd.Timestamp:
    """When the session of `day` closes, in UTC (half days close early).

    Raises:
        StockcastError: if `day` is no session of the calendar.
    """
    if not is_session(calendar, day):
        raise StockcastError(f"{pd.Timestamp(day).date()} is no session of the calendar {calendar}.")
    return _moment(calendar, day, "session_close")


def session_open(calendar: str, day: Day) -> pd.Timestamp:
    """When the session of `day` opens, in UTC.

    A day that is no session of the calendar, or no longer, opens at the hour at which the session before it did.
    """
    return _moment(calendar, day, "session_open")


def _moment(calendar: str, day: Day, which: str) -> pd.Timestamp:
    own, session = _calendar(calendar, day), pd.Timestamp(day)
    found: pd.Timestamp
    if session in own.sessions:
        found = getattr(own, which)(session)
        return found
    # A day that the table opens does so at the hour at which the session before it did.
    before = own.sessions[own.sessions.searchsorted(session) - 1]
    hour = getattr(own, which)(before).tz_convert(own.tz).tz_localize(None) - before
    found = (session + hour).tz_localize(own.tz).tz_convert("UTC")
    return found


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
    reach = min([pd.Timestamp(end), *(_sessions(code, start)[-1] for code in codes)])
    days = pd.date_range(start, reach, freq="D")
    for code in codes:
        days = days.difference(sessions(code, start, end))
    return days


def kept_closed_days(codes: Sequence[str], start: date, end: date) -> list[date]:
    """`closed_days`, as they were found before if neither the libraries nor the table have changed since.

    Building calendars, with what they import, takes as long as all else that loads the definitions.
    """
    of = {
        "libraries": [version("exchange_calendars"), version("pandas")],
        "calendars": list(codes),
        "days": [start.isoformat(), end.isoformat()],
        "table": [sorted(map(str, days.get(code, ()))) for code in codes for days in (_rules.closed, _rules.open)],
    }
    file = None if _user_table is None else _user_table.with_name(KEPT)
    with suppress(OSError, ValueError, LookupError, TypeError):
        # What is no plain file may have no end.
        if file is not None and file.is_file() and (kept := json.loads(file.read_bytes()))["of"] == of:
            return [date.fromisoformat(day) for day in kept["closed"]]
    found = [day.date() for day in closed_days(codes, start, end)]
    # A home that is not there yet, or cannot be written, is none of our business here.
    with suppress(OSError):
        if file is not None:
            with NamedTemporaryFile("w", dir=file.parent, prefix=f"{KEPT}.", delete=False) as new:
                json.dump({"of": of, "closed": [day.isoformat() for day in found]}, new)
            Path(new.name).replace(file)
    return found
