"""A small universe of real history with reports that did move prices."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.universe.earnings import Reports, reports
from stockcast_assets_tests.forecasting.conftest import known

LAST = date(2008, 12, 31)
SESSIONS = 900


def quarterly(first: str, last: str) -> Reports:
    """A report near the twentieth of the first month of each quarter, as companies do."""
    months = pd.date_range(first, last, freq="QS")
    days = (months + pd.Timedelta(days=19)).to_numpy().astype("datetime64[D]")
    return reports(np.busday_offset(days, 0, roll="forward"))


@pytest.fixture(scope="session")
def universe_bars(sample: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {ticker: known(bars, LAST).tail(SESSIONS).reset_index(drop=True) for ticker, bars in sample.items()}


@pytest.fixture(scope="session")
def universe_reports(universe_bars: dict[str, pd.DataFrame]) -> dict[str, Reports]:
    """Of all but one ticker."""
    return {ticker: quarterly("2003-01-01", "2008-12-31") for ticker in universe_bars if ticker != "GOOG"}
