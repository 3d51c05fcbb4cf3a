"""The naive contenders against their definitions."""

import numpy as np
import pytest
from scipy.stats import norm

from stockcast_assets.forecasting.baselines import Naive, fit_naive, fit_random_walk
from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.volatility import HarVolatility, fit_har
from stockcast_assets_tests.forecasting.conftest import made_up_bars

HISTORY = prepare(made_up_bars(900))
ROWS = np.arange(HISTORY.first_row, len(HISTORY) - HORIZON)
STEPS = np.arange(1, HORIZON + 1)


@pytest.fixture(scope="module")
def naive() -> dict[str, Naive]:
    return fit_naive(HISTORY, ROWS)


def test_every_contender_has_sorted_quantiles_and_its_median_as_point(naive: dict[str, Naive]) -> None:
    for name, contender in naive.items():
        forecast = contender.predict(HISTORY, ROWS)
        assert forecast.quantiles.shape == (len(ROWS), HORIZON, len(QUANTILES)), name
        assert (np.diff(forecast.quantiles, axis=2) >= 0).all(), name
        assert np.array_equal(forecast.point, forecast.quantiles[:, :, MEDIAN]), name


def test_random_walk_and_drift(naive: dict[str, Naive]) -> None:
    daily = HISTORY.targets[ROWS, 0]
    walk, drift = naive["random_walk"].predict(HISTORY, ROWS), naive["drift"].predict(HISTORY, ROWS)
    assert (walk.point == 0).all()
    np.testing.assert_allclose(drift.point, np.broadcast_to(daily.mean() * STEPS, drift.point.shape))
    np.testing.assert_allclose(walk.quantiles[0, :, 0], norm.ppf(0.05) * daily.std(ddof=1) * np.sqrt(STEPS))


def test_a_random_walk_takes_any_history() -> None:
    """On bars too few for a single feature: constant volatility, whatever day it is asked for."""
    short = prepare(made_up_bars(22))
    returns = np.diff(short.log_close)
    quantiles = fit_random_walk(returns).predict(short, np.array([0, 21])).quantiles
    expected = norm.ppf(QUANTILES) * returns.std(ddof=1) * np.sqrt(STEPS)[:, None]
    np.testing.assert_allclose(quantiles, np.stack([expected, expected]), atol=1e-15)


@pytest.mark.parametrize(("name", "attribute"), [("vol60", "std_60"), ("vol250", "std_250")])
def test_rolling_volatility(naive: dict[str, Naive], name: str, attribute: str) -> None:
    quantiles = naive[name].predict(HISTORY, ROWS[-3:]).quantiles
    expected = getattr(HISTORY, attribute)[ROWS[-3:], None] * np.sqrt(STEPS) * norm.ppf(0.9)
    np.testing.assert_allclose(quantiles[:, :, QUANTILES.index(0.9)], expected)


@pytest.mark.parametrize("name", ["fhs", "har"])
def test_simulated_quantiles_cover_their_own_sample_exactly(naive: dict[str, Naive], name: str) -> None:
    quantiles = naive[name].predict(HISTORY, ROWS).quantiles
    below = (HISTORY.targets[ROWS][:, :, None] <= quantiles).mean(axis=0)
    np.testing.assert_allclose(below, np.broadcast_to(QUANTILES, below.shape), atol=2 / len(ROWS))


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
    har = HarVolatility(np.random.default_rng(0).normal(size=(HORIZON, HISTORY.har.shape[1])) * 0.1)
    together = har.sigma(HISTORY, ROWS)
    alone = np.concatenate([har.sigma(HISTORY, ROWS[i : i + 1]) for i in range(len(ROWS))])
    assert together.tobytes() == alone.tobytes()
