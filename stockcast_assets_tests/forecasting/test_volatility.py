"""The HAR volatility against its definition, and the pattern of the quarter on histories that have one and none."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.models.volatility import QuarterlyHar, day_of_quarter, fit_har, fit_quarterly_har
from stockcast_assets_tests.forecasting.conftest import made_up_bars

BARS = made_up_bars(900)
HISTORY = prepare(BARS)
ROWS = np.arange(HISTORY.first_row, len(HISTORY) - HORIZON)
STEPS = np.arange(1, HORIZON + 1)
REPORTED = 20
"""Day of the quarter on which the company of `reporting` reports."""


def rows_of(history: History) -> np.ndarray:
    return np.arange(history.first_row, len(history) - HORIZON)


@pytest.fixture(scope="module")
def reporting() -> pd.DataFrame:
    """Eight years of closes that move five times as much on the first session from the same day of each quarter."""
    bars = made_up_bars(2000, seed=3)
    days = day_of_quarter(bars["date"].to_numpy().astype("datetime64[D]"))
    reports = np.append(False, (days[1:] >= REPORTED) & (days[:-1] < REPORTED))
    moves = np.diff(np.log(bars["close"]), prepend=np.log(bars["close"].iloc[0])) * np.where(reports, 5, 1)
    factor = np.exp(np.cumsum(moves)) * bars["close"].iloc[0] / bars["close"]
    prices = ["open", "high", "low", "close", "adj_close"]
    return bars.assign(**{price: bars[price] * factor for price in prices})


def test_har_is_least_squares_with_unit_mean_square() -> None:
    har = fit_har(HISTORY, ROWS)
    sigma = har.sigma(HISTORY, ROWS)
    np.testing.assert_allclose(((HISTORY.targets[ROWS] / sigma) ** 2).mean(axis=0), 1, rtol=1e-9)
    future = np.array([[HISTORY.variance[t + 1 : t + 1 + h].mean() for h in STEPS] for t in ROWS])
    residuals = np.log(future) - HISTORY.har[ROWS] @ har.coefficients.T
    residuals -= residuals.mean(axis=0)
    np.testing.assert_allclose(HISTORY.har[ROWS][:, 1:].T @ residuals / len(ROWS), 0, atol=1e-8)


def test_har_falls_back_to_ewma_on_short_histories() -> None:
    har = fit_har(HISTORY, ROWS[:200])
    sigma = har.sigma(HISTORY, ROWS)
    ratio = sigma / (HISTORY.ewma[ROWS, None] * np.sqrt(STEPS))
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-9)


def test_a_row_alone_has_the_bits_it_has_in_a_range() -> None:
    volatility = fit_quarterly_har(HISTORY, ROWS)
    together = volatility.sigma(HISTORY, ROWS)
    alone = np.concatenate([volatility.sigma(HISTORY, ROWS[i : i + 1]) for i in range(len(ROWS))])
    assert together.tobytes() == alone.tobytes()


@given(st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2040-12-31").date()))
def test_the_day_of_the_quarter_is_pandas(day) -> None:
    begins = pd.Timestamp(day).to_period("Q").start_time
    assert day_of_quarter(np.array([day], "datetime64[D]"))[0] == (pd.Timestamp(day) - begins).days


def test_the_pattern_is_where_the_company_reports(reporting: pd.DataFrame) -> None:
    history = prepare(reporting)
    pattern = fit_quarterly_har(history, rows_of(history)).pattern
    assert abs(int(pattern.argmax()) - REPORTED) <= 3
    assert pattern.max() > 1.5
    far = np.delete(pattern, np.arange(REPORTED - 12, REPORTED + 13))
    assert far.max() < 1.1, "the rest of the quarter is calmer than the HAR, which has the reports in its average, says"


def test_the_interval_widens_before_the_report_and_only_as_far_as_it_lies_ahead(reporting: pd.DataFrame) -> None:
    history = prepare(reporting)
    volatility = fit_quarterly_har(history, rows_of(history))
    factor = volatility.sigma(history, rows_of(history)) / volatility.har.sigma(history, rows_of(history))
    day = day_of_quarter(history.dates[rows_of(history)].to_numpy().astype("datetime64[D]"))
    before, after = day == REPORTED - 12, day == REPORTED + 12
    assert (factor[before][:, -1] > factor[before][:, 0] + 0.05).all()
    assert (factor[before][:, -1] > 1.1).all()
    assert (factor[after] < 0.95).all()


def test_it_beats_the_har_where_there_is_a_pattern(reporting: pd.DataFrame) -> None:
    """Gaussian log likelihood on years that it was not fitted on."""
    history = prepare(reporting)
    rows = rows_of(history)
    fitted, judged = rows[:1200], rows[1200 + HORIZON :]
    volatility = fit_quarterly_har(history, fitted)

    def score(sigma: np.ndarray) -> float:
        return float((np.log(sigma) + (history.targets[judged] / sigma) ** 2 / 2).mean())

    assert score(volatility.sigma(history, judged)) < score(volatility.har.sigma(history, judged)) - 0.01


def test_without_a_pattern_it_stays_close_to_the_har() -> None:
    quarterly = fit_quarterly_har(HISTORY, ROWS)
    assert np.abs(np.log(quarterly.pattern)).max() < 0.5
    assert np.average(quarterly.pattern) == pytest.approx(1, abs=0.05)


def test_a_history_below_a_year_has_no_pattern() -> None:
    quarterly = fit_quarterly_har(HISTORY, ROWS[:200])
    assert (quarterly.pattern == 1).all()
    assert quarterly.sigma(HISTORY, ROWS).tobytes() == fit_har(HISTORY, ROWS[:200]).sigma(HISTORY, ROWS).tobytes()


def test_one_crash_makes_no_pattern() -> None:
    crash = made_up_bars(900)
    crash.loc[500:, ["open", "high", "low", "close", "adj_close"]] *= 0.5
    history = prepare(crash)
    pattern = fit_quarterly_har(history, rows_of(history)).pattern
    assert np.abs(pattern - fit_quarterly_har(HISTORY, ROWS).pattern).max() < 0.3


def test_a_ticker_that_hardly_trades_has_no_pattern() -> None:
    bars = made_up_bars(900)
    prices = ["open", "high", "low", "close", "adj_close"]
    still = bars.loc[bars.index // 5 * 5, prices].reset_index(drop=True)
    history = prepare(bars.assign(**{price: still[price] for price in prices}))
    assert (fit_quarterly_har(history, rows_of(history)).pattern == 1).all()


@settings(max_examples=25)
@given(st.integers(ROWS[0], len(HISTORY) - 1))
def test_what_comes_later_changes_no_bit(row: int) -> None:
    """Neither the returns of the sessions ahead nor whether they are there."""
    volatility = QuarterlyHar(fit_har(HISTORY, ROWS), 1 + np.sin(np.arange(92)) / 2)
    cut = prepare(BARS.iloc[: row + 1])
    rows = np.array([row])
    assert volatility.sigma(cut, rows).tobytes() == volatility.sigma(HISTORY, rows).tobytes()
