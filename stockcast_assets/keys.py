"""What a key is: how a ticker and a day become one.

A symbol becomes a partition key, a file name and a query parameter.
"""

from __future__ import annotations

from datetime import date

from stockcast_assets.inputs import validate_ticker as validate_ticker
from stockcast_assets.libraries import pd

TICKER_DIMENSION = "ticker"
DATE_DIMENSION = "date"


def partition_key(ticker: str, day: date | pd.Timestamp | str) -> str:
    """The multi-partition key Dagster uses: dimensions in alphabetical order, `2024-05-31|AAPL`."""
    if isinstance(day, str):
        day = pd.Timestamp(day)
    # Planning asks for hundreds of thousands of keys.
    return f"{day.year:04d}-{day.month:02d}-{day.day:02d}|{ticker}"


def month_of(day: date | pd.Timestamp | str) -> date:
    """First day of the month of use that a day belongs to."""
    return pd.Timestamp(day).date().replace(day=1)
