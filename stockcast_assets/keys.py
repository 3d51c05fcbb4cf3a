"""What a key is: the rules a ticker symbol obeys, and how a ticker and a day become one key.

A symbol becomes a partition key, a file name and a query parameter.
"""

import re
from datetime import date

import pandas as pd

from stockcast_assets.errors import StockcastError

TICKER_DIMENSION = "ticker"
DATE_DIMENSION = "date"

_TICKER = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")


def validate_ticker(ticker: str) -> str:
    """Return `ticker` unchanged if it is a well-formed symbol.

    Raises:
        StockcastError: if it is not 1-20 characters of A-Z 0-9 . ^ = - beginning with a letter, digit or ^,
            or contains "..".
    """
    if not _TICKER.fullmatch(ticker) or ".." in ticker:
        shown = ticker if len(ticker) <= 40 else f"{ticker[:40]}…"
        raise StockcastError(
            f"{shown!r} is not a ticker: use 1 to 20 characters of A-Z 0-9 . ^ = -, upper case, "
            "beginning with a letter, a digit or ^ (for example MSFT, VOD.L, ETH-USD)."
        )
    return ticker


def partition_key(ticker: str, day: date | pd.Timestamp | str) -> str:
    """The multi-partition key Dagster uses: dimensions in alphabetical order, `2024-05-31|AAPL`."""
    if isinstance(day, str):
        day = pd.Timestamp(day)
    # Planning asks for hundreds of thousands of keys.
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}|{ticker}"


def month_of(day: date | pd.Timestamp | str) -> date:
    """First day of the month of use that a day belongs to."""
    return pd.Timestamp(day).date().replace(day=1)
