"""What every source of daily bars offers, and the two questions all of them answer alike: which sessions are
over, and what an empty range means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Protocol, runtime_checkable

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.market.calendars import FIRST_DAY, known_calendar_for, session_close, sessions
from stockcast_assets.tables import RAW_PRICES

DEEP_PAST = timedelta(days=30)
"""Bars older than this are no longer corrected by anybody: an impossible one counts as missing there."""

NOTES = "notes"
"""Of a frame's `attrs`: what a source left out of it, a sentence each."""

COMPANY = "company"
"""Of a frame's `attrs`: what the ticker's company is called, if the source says so in the same answer."""

_LONGEST_NAME = 60


class MissingBars(StockcastError):
    """A source has no bar of sessions that it should have one of.

    Attributes:
        days: those sessions.
    """

    def __init__(self, message: str, days: Sequence[pd.Timestamp]) -> None:
        super().__init__(message)
        self.days = tuple(days)


class Source(Protocol):
    """Where daily bars come from."""

    name: str
    """What the `source` column says: sample, yahoo or csv."""

    def bars(self, ticker: str, start: date | None, end: date, overlap: date | None = None) -> pd.DataFrame:
        """The ticker's bars from `start` (None: from the first there is) to `end`, both included.

        With `overlap`, a day before `start`, the bars that the source has from that day on come along in the
        same request, so that what is stored can be compared with it; that one of those is missing is no error.

        The frame has the columns of `tables.RAW_PRICES`, sorted by date, one row per day, only finished
        sessions of the ticker's calendar. It is empty only if the calendar has no session in the range that
        must have a bar, or the range lies wholly before the first bar. What was left out, and why, is in its
        `attrs`, sentences under the name `NOTES`.

        Raises:
            StockcastError: if the ticker is unknown, the source has nothing for a range that has sessions, or
                a bar is impossible.
        """

    def first_session(self, ticker: str) -> date | None:
        """Date of the first bar the source has of the ticker, None if it cannot know cheaply.

        Raises:
            StockcastError: if the ticker is unknown.
        """

    def tickers(self) -> list[str]:
        """The tickers the source has, sorted; empty for a source that is open to the world."""


@runtime_checkable
class TellsReports(Protocol):
    """A source that also knows when companies report; a source of bars need not."""

    def earnings(self, ticker: str) -> pd.DataFrame:
        """All that the source has on the ticker's earnings reports, `market.earnings.SAID`; empty if it has nothing.

        Raises:
            StockcastError: if it cannot be had now.
        """


def company_name(said: object) -> str | None:
    """A company's name as it can stand on a page: one short line of visible characters; None if there is none."""
    line = " ".join(said.split()) if isinstance(said, str) else ""
    visible = "".join(letter for letter in line if letter.isprintable())
    return visible[:_LONGEST_NAME].strip() or None


def finished_sessions(
    ticker: str, start: date | None, end: date, now: pd.Timestamp, grace: timedelta = timedelta(0)
) -> pd.DatetimeIndex:
    """Sessions of the ticker's calendar from `start` to `end` that closed at least `grace` before `now`."""
    calendar = known_calendar_for(ticker)
    found = sessions(calendar, FIRST_DAY if start is None else start, end)
    unfinished = 0
    while unfinished < len(found) and session_close(calendar, found[-1 - unfinished]) + grace > now:
        unfinished += 1
    return found[: len(found) - unfinished]


def select(
    bars: pd.DataFrame,
    ticker: str,
    start: date | None,
    end: date,
    now: pd.Timestamp,
    remedy: str,
    overlap: date | None = None,
) -> pd.DataFrame:
    """The rows of all the `bars` a source has of a ticker that `Source.bars` owes for a range.

    Raises:
        StockcastError: if there is none although the calendar has finished sessions since the first bar; the
            sentence says which days the source has and ends with the `remedy`.
    """
    first, last = bars["date"].iloc[0], bars["date"].iloc[-1]
    chosen = bars[bars["date"].between(first if start is None else pd.Timestamp(start), pd.Timestamp(end))]
    if not chosen.empty:
        with_overlap = bars["date"].between(pd.Timestamp(overlap or chosen["date"].iloc[0]), pd.Timestamp(end))
        return bars[with_overlap].reset_index(drop=True)
    if pd.Timestamp(end) < first or nothing_to_expect(ticker, start, end, now):
        return RAW_PRICES.empty()
    raise StockcastError(
        f"{ticker} has no bar {span(start, end)}, as its bars run from {first:%Y-%m-%d} to {last:%Y-%m-%d}: {remedy}."
    )


def nothing_to_expect(
    ticker: str, start: date | None, end: date, now: pd.Timestamp, grace: timedelta = timedelta(0)
) -> bool:
    """Whether the ticker's calendar has no session in the range.

    Raises:
        StockcastError: if it has, but not one of them is over yet.
    """
    if start is not None and start > now.date() + timedelta(days=1):
        raise StockcastError(f"{start} is in the future: no bar of {ticker} can be had {span(start, end)} yet.")
    calendar = known_calendar_for(ticker)
    due = sessions(calendar, FIRST_DAY if start is None else start, end)
    if len(due) and finished_sessions(ticker, start, end, now, grace).empty:
        raise StockcastError(
            f"The session of {ticker} on {due[0]:%Y-%m-%d} is not over yet: its bar can be had after "
            f"{session_close(calendar, due[0]) + grace:%Y-%m-%d %H:%M} UTC."
        )
    return due.empty


def span(start: date | None, end: date) -> str:
    """The range in words: "on 2024-05-03", "from … to …", "up to …"."""
    if start is None:
        return f"up to {end:%Y-%m-%d}"
    return f"on {end:%Y-%m-%d}" if start == end else f"from {start:%Y-%m-%d} to {end:%Y-%m-%d}"
