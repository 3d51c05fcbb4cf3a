"""The naive contenders against their definitions."""

import numpy as np
import pytest
from scipy.stats import norm

from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import Naive, fit_naive, fit_random_walk
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


@pytest.mark.parametrize(("name", "window"), [("vol60", 60), ("vol250", 250)])
def test_rolling_volatility(naive: dict[str, Naive], name: str, window: int) -> None:
    quantiles = naive[name].predict(HISTORY, ROWS[-3:]).quantiles
    expected = HISTORY.std(window, ROWS[-3:])[:, None] * np.sqrt(STEPS) * norm.ppf(0.9)
    np.testing.assert_allclose(quantiles[:, :, QUANTILES.index(0.9)], expected)


@pytest.mark.parametrize("name", ["fhs", "har", "har_quarterly"])
def test_simulated_quantiles_cover_their_own_sample_exactly(naive: dict[str, Naive], name: str) -> None:
    quantiles = naive[name].predict(HISTORY, ROWS).quantiles
    below = (HISTORY.targets[ROWS][:, :, None] <= quantiles).mean(axis=0)
    np.testing.assert_allclose(below, np.broadcast_to(QUANTILES, below.shape), atol=2 / len(ROWS))
