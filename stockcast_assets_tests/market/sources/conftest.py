"""Bars to spoil, and clocks that stand still."""

from collections.abc import Callable

import pandas as pd
import pytest

from stockcast_assets.market.sources.validate import COLUMNS


@pytest.fixture
def good_bars() -> pd.DataFrame:
    """Five plausible sessions of AAPL."""
    days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"])
    return pd.DataFrame(
        {
            "ticker": "AAPL",
            "date": days,
            "open": [10.0, 11.0, 12.0, 11.5, 11.0],
            "high": [11.5, 12.5, 12.5, 12.0, 11.5],
            "low": [9.5, 10.5, 11.0, 11.0, 10.0],
            "close": [11.0, 12.0, 11.5, 11.2, 10.5],
            "adj_close": [11.0, 12.0, 11.5, 11.2, 10.5],
            "volume": [100, 200, 0, 400, 500],
            "dividend": 0.0,
            "split_ratio": 1.0,
            "source": "csv",
            "ingested_at": pd.Timestamp("2024-02-01", tz="UTC").as_unit("ns"),
        }
    )[COLUMNS]


@pytest.fixture
def clock() -> Callable[[str], Callable[[], pd.Timestamp]]:
    """`clock("2024-05-03 20:00")` is a clock that always says that time, in UTC."""
    return lambda moment: lambda: pd.Timestamp(moment, tz="UTC").as_unit("ns")
