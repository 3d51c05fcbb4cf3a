"""What a key is: how a ticker and a day become one.

A symbol becomes a partition key, a file name and a query parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import parse_day, shown
from stockcast_assets.inputs import validate_ticker as validate_ticker
from stockcast_assets.libraries import pd

TICKER_DIMENSION = "ticker"
DATE_DIMENSION = "date"

FIRST_KEY, LAST_KEY = date(1900, 1, 1), date(2199, 12, 31)
"""No key is of an earlier or a later day; beyond, calendars and timestamps end."""


@dataclass(frozen=True)
class Key:
    """A partition key in its parts; `day` is None for assets that are partitioned by ticker alone."""

    ticker: str
    day: date | None = None


class NotAKey(StockcastError):
    """A text that should be a partition key and is none."""


def partition_key(ticker: str, day: date | pd.Timestamp | str) -> str:
    """The multi-partition key Dagster uses: dimensions in alphabetical order, `2024-05-31|AAPL`."""
    if isinstance(day, str):
        day = pd.Timestamp(day)
    # Planning asks for hundreds of thousands of keys.
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}|{ticker}"


def key_day(text: str) -> date:
    """The day written YYYY-MM-DD, if a key may have it.

    Raises:
        NotAKey: if it is none of the calendar, or not between `FIRST_KEY` and `LAST_KEY`.
    """
    try:
        if FIRST_KEY <= (day := parse_day(text)) <= LAST_KEY:
            return day
    except (TypeError, StockcastError):
        pass
    raise NotAKey(f"{shown(str(text))} is no day of a key: write one like 2024-05-31.")


def parse_key(text: str) -> Key:
    """The parts of `2024-05-31|AAPL` or `AAPL`: what `partition_key` made, and nothing else.

    Raises:
        NotAKey: if the day is none that a key may have, or the ticker is malformed.
    """
    day, bar, ticker = str(text).rpartition("|")
    try:
        return Key(validate_ticker(ticker), key_day(day) if bar else None)
    except StockcastError:
        raise NotAKey(
            f"{shown(str(text))} is no key: write a day and a ticker like 2024-05-31|AAPL, or a ticker alone."
        ) from None


def ticker_of(key: str) -> str:
    """The ticker of a key that is one: `parse_key` without the look at each part, for a hundred thousand of them."""
    return key.rpartition("|")[2]


def parse_daily_key(text: str) -> tuple[str, date]:
    """Ticker and day of `2024-05-31|AAPL`.

    Raises:
        NotAKey: if it is no key, or has no day.
    """
    key = parse_key(text)
    if key.day is None:
        raise NotAKey(f"{shown(str(text))} has no day: write a key like 2024-05-31|AAPL.")
    return key.ticker, key.day


def days_of(keys: Iterable[str], tickers: Collection[str]) -> dict[str, list[date]]:
    """The days that each of the tickers has among keys, ascending. What is no key of theirs is left out."""
    found: dict[str, list[date]] = {ticker: [] for ticker in tickers}
    for text in keys:
        if ticker_of(text) in found:
            with suppress(NotAKey):
                ticker, day = parse_daily_key(text)
                found[ticker].append(day)
    return {ticker: sorted(days) for ticker, days in found.items()}


def month_of(day: date | pd.Timestamp | str) -> date:
    """First day of the month of use that a day belongs to."""
    return pd.Timestamp(day).date().replace(day=1)
