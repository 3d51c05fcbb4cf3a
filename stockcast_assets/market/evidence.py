"""What the bars themselves say against a calendar."""

from __future__ import annotations

from collections.abc import Mapping

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.sources.base import Source

WITNESSES = 2
"""So many tickers of an exchange must lack a day: one alone may have been halted."""

_MOST_ASKED = 8


def plainly_closed(calendar: str, day: pd.Timestamp, sources: Mapping[str, Source]) -> str | None:
    """Why an exchange was closed on a day that its calendar has open, as a sentence; None if that is not plain.

    It is if every ticker lacks the day, while its source has the sessions before and after. At most a few are asked.

    Args:
        calendar: the exchange's code.
        day: a session of it.
        sources: where each of its tickers comes from.
    """
    asked = dict(sorted(sources.items())[:_MOST_ASKED])
    if len(asked) < WITNESSES:
        return None
    before = calendars.previous_session(calendar, day - pd.Timedelta(days=1))
    after = calendars.next_sessions(calendar, day, 1)[0]
    for ticker, source in asked.items():
        if _has(source, ticker, day) or not (_has(source, ticker, before) and _has(source, ticker, after)):
            return None
    return (
        f"{calendar} was closed on {day:%Y-%m-%d}: none of {', '.join(asked)} has a bar of that day, and all have "
        f"those of {before:%Y-%m-%d} and {after:%Y-%m-%d}."
    )


def _has(source: Source, ticker: str, day: pd.Timestamp) -> bool:
    try:
        return len(source.bars(ticker, day.date(), day.date())) == 1
    except StockcastError:
        return False
