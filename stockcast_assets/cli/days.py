"""From what a person typed to a session of a ticker, or one sentence why not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from stockcast_assets.cli.session import Session
from stockcast_assets.cli.terminal import warn
from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import parse_day, validate_ticker
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.sources import Source
from stockcast_assets.market.sources.base import MissingBars, finished_sessions
from stockcast_assets.orchestration.planning.ranges import remove_tickers
from stockcast_assets.settings import Settings
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES

# Long enough for any holiday, so that an empty answer means an unknown ticker.
PROBE = pd.Timedelta(days=14)


def check_ticker(settings: Settings, ticker: str, source: Source | None = None) -> str:
    """The ticker, if it is well-formed and its exchange calendar is known and enabled.

    `source` is asked what it knows of a ticker without a calendar.

    Raises:
        StockcastError: otherwise.
    """
    validate_ticker(ticker)
    if source is not None and calendars.calendar_for(ticker) == calendars.UNKNOWN:
        today = utc_now().date()
        source.bars(ticker, today - PROBE, today)
    calendar = calendars.known_calendar_for(ticker)
    if not calendars.is_enabled(calendar, settings.calendars):
        enabled = ",".join(settings.calendars)
        raise StockcastError(
            f"{ticker} trades on the calendar {calendar}, which is not enabled: set "
            f"STOCKCAST_CALENDARS={enabled},{calendar}."
        )
    return ticker


def check_known(settings: Settings, source: Source, ticker: str) -> None:
    """Raise StockcastError unless the source has the ticker: garbage should not become a partition."""
    if source.tickers():
        source.first_session(ticker)
        return
    newest = latest_session(settings, source, ticker)
    try:
        source.bars(ticker, (newest - PROBE).date(), newest.date())
    except MissingBars as error:
        # A source that lacks some of its bars knows the ticker; which it lacks is for the runs to judge.
        if len(error.days) * 2 > len(calendars.expected_sessions(ticker, newest - PROBE, newest)):
            raise


def checked_tickers(settings: Settings, source: Source, tickers: Iterable[str]) -> list[str]:
    """The tickers, each once, if `check_ticker` and `check_known` have nothing against any."""
    wanted = list(dict.fromkeys(ticker.strip() for ticker in tickers if ticker.strip()))
    for ticker in wanted:
        check_ticker(settings, ticker, source)
        check_known(settings, source, ticker)
    return wanted


def forget_if_empty(session: Session, tickers: Iterable[str]) -> None:
    """Take tickers of which no bar is stored out of the partitions: what was added for work that failed."""
    for ticker in tickers:
        tables = (PRICE_HISTORY, RAW_PRICES)
        if not any(len(session.warehouse.read(table, tickers=[ticker], columns=["ticker"])) for table in tables):
            remove_tickers(session.instance, [ticker])


def latest_session(settings: Settings, source: Source, ticker: str) -> pd.Timestamp:
    """The newest session that can be forecast from: finished, a daily key by now, and in the source.

    Raises:
        StockcastError: if there is none.
    """
    yesterday = (utc_now() - pd.Timedelta(days=1)).date()
    end = min(yesterday, settings.end_date or yesterday)
    done = finished_sessions(ticker, settings.start_date, end, utc_now())
    done = done.difference(calendars.optional_days(ticker, done))
    if done.empty:
        raise StockcastError(
            f"{ticker} has no finished session between STOCKCAST_START_DATE={settings.start_date} and {end}."
        )
    if source.tickers():
        # A closed world ends where its data ends, not today.
        moment: pd.Timestamp = source.bars(ticker, None, end)["date"].iloc[-1]
        return moment
    return done[-1]


def session_before(ticker: str, day: date) -> date:
    """The day itself if it is a session of the ticker's calendar, else the one before it, which a line says."""
    calendar = calendars.calendar_for(ticker)
    if calendars.is_session(calendar, day):
        return day
    before = calendars.previous_session(calendar, day).date()
    warn(f"{calendar}, where {ticker} trades, was closed on {day} ({day:%A}): this is of the session before, {before}.")
    return before


def session_of(settings: Settings, source: Source, ticker: str, text: str | None) -> pd.Timestamp:
    """The session a command is about: the one asked for, or the newest.

    Raises:
        StockcastError: if the date is malformed, in the future, or before the daily keys or the ticker's first bar.
    """
    if text is None:
        return latest_session(settings, source, ticker)
    day = parse_day(text)
    if day < settings.start_date:
        raise StockcastError(
            f"{day} is before the first daily key: set STOCKCAST_START_DATE (now {settings.start_date}) to "
            f"{day:%Y-%m}-01 or an earlier day, or ask for a later one."
        )
    today = utc_now().date()
    if day >= today:
        raise StockcastError(f"{day} is not over yet (today is {today}, UTC): ask for an earlier day.")
    if settings.end_date is not None and day > settings.end_date:
        raise StockcastError(
            f"{day} is after the last daily key: STOCKCAST_END_DATE is {settings.end_date}"
            + (" for the sample history." if settings.source == "sample" else ".")
        )
    day = session_before(ticker, day)
    first = source.first_session(ticker)
    if first is not None and day < first:
        raise StockcastError(f"The history of {ticker} begins on {first}: ask for a day from then on, not {day}.")
    if source.bars(ticker, day, day).empty and len(calendars.optional_days(ticker, [pd.Timestamp(day)])):
        raise StockcastError(
            f"{ticker} did not trade on {day} ({day:%A}), a day that may be without a bar: ask for another."
        )
    return pd.Timestamp(day)
