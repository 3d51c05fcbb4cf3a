"""The 1 % and 99 % quantiles: of the distribution that gives the others, and beyond them, whatever the model."""

import dataclasses
import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.network import pooled_shape
from stockcast_assets.forecasting.models.tails import beyond, normal_tails, pooled_as, pooled_tails, tails_of
from stockcast_assets.forecasting.serving.calibration import Calibration
from stockcast_assets.forecasting.serving.predict import QUANTILE_COLUMNS, TAIL_COLUMNS, forecast
from stockcast_assets_tests.forecasting.conftest import made_up_bars

SEEDS = st.integers(0, 2**32 - 1)


def standardised(seed: int, n: int = 300) -> np.ndarray:
    """[n, HORIZON] with a skew, a drift and fat tails."""
    rng = np.random.default_rng(seed)
    return rng.standard_t(3, size=(n, HORIZON)) * rng.uniform(0.2, 3, HORIZON) + rng.normal(size=HORIZON)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, data=st.data())
def test_no_tail_crosses_whatever_the_residuals_the_scale_and_the_calibration(seed: int, data: st.DataObject) -> None:
    few = data.draw(st.integers(1, 60))
    residuals = standardised(seed, few).round(data.draw(st.integers(0, 3)))
    factors = data.draw(st.lists(st.floats(-5, 3), min_size=3, max_size=3))
    shape = np.quantile(residuals, QUANTILES, axis=0).T
    scale = data.draw(st.floats(1e-6, 1.0))
    published = Calibration(np.array(factors), 0.0).apply(np.sort(scale * shape[None], axis=2))
    for tails in (tails_of(residuals), pooled_tails(residuals), normal_tails()):
        assert (tails >= 0).all()
        lowest, highest = np.moveaxis(np.exp(beyond(published, tails)), -1, 0)
        assert (lowest <= np.exp(published[..., 0])).all()
        assert (highest >= np.exp(published[..., -1])).all()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, factor=st.floats(-1, 1), scale=st.floats(0.001, 1.0))
def test_they_are_the_quantiles_of_the_same_residuals_scaled_and_calibrated_alike(seed, factor, scale) -> None:
    residuals = standardised(seed)
    shape, outer = (np.quantile(residuals, levels, axis=0).T for levels in (QUANTILES, (0.01, 0.99)))
    calibration = Calibration(np.full(3, factor), 0.0)
    median = scale * np.quantile(residuals, 0.5, axis=0)[:, None]
    expected = median + (scale * outer - median) * np.exp(factor)
    np.testing.assert_allclose(beyond(calibration.apply(scale * shape), tails_of(residuals)), expected, atol=1e-12)

    pooled = pooled_shape(shape)
    spread = (outer - shape[:, [3]]).mean(axis=0)
    for tails in (pooled_tails(residuals), pooled_as(shape, tails_of(residuals))):
        np.testing.assert_allclose(beyond(pooled, tails), shape[:, [3]] + spread, atol=1e-12)


def test_a_normal_baseline_has_the_normal_tails_and_a_simulated_one_those_of_its_past() -> None:
    history = prepare(made_up_bars(700))
    rows = np.arange(history.first_row, len(history) - HORIZON)
    for name, naive in fit_naive(history, rows).items():
        sigma = naive.volatility.sigma(history, rows)
        lowest, highest = np.moveaxis(beyond(naive.predict(history, rows).quantiles, naive.tails), -1, 0)
        if name in ("fhs", "har", "har_quarterly"):
            below = (history.targets[rows] < lowest).mean(axis=0)
            above = (history.targets[rows] > highest).mean(axis=0)
            assert np.abs(below - 0.01).max() < 2 / len(rows)
            assert np.abs(above - 0.01).max() < 2 / len(rows)
        elif name != "drift":
            spread = (naive.shape[:, -1] / norm.ppf(0.95))[None, :] * sigma
            np.testing.assert_allclose(lowest, spread * norm.ppf(0.01), rtol=1e-9)
            np.testing.assert_allclose(highest, spread * norm.ppf(0.99), rtol=1e-9)


@pytest.mark.parametrize("method", ["lstm", "average", "naive_har", "naive_random_walk"])
def test_a_model_of_a_release_without_tails_serves_the_same_with_null_in_their_place(
    trained: dict[str, TrainedModel], jobs: dict[str, pd.DataFrame], method: str
) -> None:
    model = trained["AAPL"]
    decision = dataclasses.replace(model.decision, promoted=True, method=method)
    forecaster = dataclasses.replace(model.forecaster, method=method)
    now = dataclasses.replace(model, decision=decision, forecaster=forecaster)
    bare = {name: dataclasses.replace(naive, tails=None) for name, naive in forecaster.naive.items()}
    network = dataclasses.replace(forecaster.network, lstm=dataclasses.replace(forecaster.network.lstm, tails=None))
    then = dataclasses.replace(now, forecaster=dataclasses.replace(forecaster, naive=bare, network=network))
    bars, last = {"AAPL": jobs["AAPL"]}, jobs["AAPL"]["date"].iloc[-1]

    def served(stored: TrainedModel) -> pd.DataFrame:
        data = stored.to_bytes()
        loaded = TrainedModel.from_bytes(data, hashlib.sha256(data).hexdigest()).forecaster
        return forecast({"AAPL": loaded}, bars, {"AAPL": [last]})

    rows, earlier = served(now), served(then)
    pd.testing.assert_frame_equal(rows.drop(columns=TAIL_COLUMNS), earlier.drop(columns=TAIL_COLUMNS), check_exact=True)
    assert earlier[TAIL_COLUMNS].isna().all(axis=None)
    ordered = rows[[TAIL_COLUMNS[0], *QUANTILE_COLUMNS, TAIL_COLUMNS[1]]].to_numpy()
    assert (np.diff(ordered, axis=1) > 0).all()
    assert (ordered > 0).all()
