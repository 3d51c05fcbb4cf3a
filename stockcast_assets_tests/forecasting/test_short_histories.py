"""A history too short to train on publishes the random walk, and everything else works as with any model."""

import hashlib
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import HORIZON, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import decide
from stockcast_assets.forecasting.evaluation.scores import plan, sessions_needed
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.serving.predict import QUANTILE_COLUMNS, forecast
from stockcast_assets.forecasting.training.train import MIN_RETURNS, train_many
from stockcast_assets_tests.forecasting.conftest import made_up_bars
from stockcast_assets_tests.forecasting.test_gate import START, evaluation

KNOWN = 104
BARS = made_up_bars(KNOWN + 15, ticker="SHORT")
DAYS = list(BARS["date"][KNOWN - 1 :])
PRICES = ["open", "high", "low", "close", "adj_close"]


def train(sessions: int) -> TrainedModel:
    return train_many({"SHORT": BARS.iloc[:sessions]})["SHORT"]


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train(KNOWN)


def quantiles(model: TrainedModel, bars: pd.DataFrame, days: list[pd.Timestamp]) -> np.ndarray:
    frame = forecast({"SHORT": model.forecaster}, {"SHORT": bars}, {"SHORT": days})
    return frame[QUANTILE_COLUMNS].to_numpy().reshape(len(days), HORIZON, len(QUANTILES))


def test_it_says_what_is_published_and_why(model: TrainedModel) -> None:
    assert model.decision.reason == (
        "SHORT has 104 sessions and a model needs at least 259: the random walk is published."
    )
    assert model.decision.method == model.forecaster.method == "naive_random_walk"
    assert not model.decision.promoted
    assert model.forecaster.network is None
    assert model.n_samples == 0
    assert model.history == []
    assert (model.trained_from, model.trained_to) == (BARS["date"][0].date(), BARS["date"][KNOWN - 1].date())


def test_its_numbers_are_null_and_named_as_those_of_any_model(model: TrainedModel) -> None:
    summary = model.summary()
    assert list(summary) == list(evaluation({}).summary())
    assert summary.pop("n_cases") == 0
    assert all(math.isnan(value) for value in summary.values())
    required = {column.name for column in tables.TRAINED_MODEL.columns if column.required}
    assert not required & set(summary)
    assert model.evaluation.table().empty


def test_its_quantiles_are_a_random_walk_with_the_volatility_there_was(model: TrainedModel) -> None:
    returns = np.diff(np.log(BARS["adj_close"][:KNOWN]))
    steps = np.sqrt(np.arange(1, HORIZON + 1))[:, None]
    expected = BARS["close"][KNOWN - 1] * np.exp(returns.std(ddof=1) * steps * norm.ppf(QUANTILES))
    np.testing.assert_allclose(quantiles(model, BARS, DAYS[:1])[0], expected, rtol=1e-12)


def test_a_day_alone_has_the_bits_it_has_in_a_range_whatever_its_future(model: TrainedModel) -> None:
    together = quantiles(model, BARS, DAYS)
    for position, day in enumerate(DAYS):
        after = BARS["date"] > day
        absurd = BARS.copy()
        absurd.loc[after, PRICES] *= 1e9
        absent = BARS.copy()
        absent.loc[after, PRICES] = np.nan
        for bars in (BARS, BARS[~after], absurd, absent):
            assert quantiles(model, bars, [day]).tobytes() == together[position].tobytes()


def test_a_day_before_the_end_of_its_history_is_refused(model: TrainedModel) -> None:
    with pytest.raises(StockcastError, match="cannot forecast as of"):
        quantiles(model, BARS, [BARS["date"][KNOWN - 2]])


def test_later_bars_make_another_model(model: TrainedModel) -> None:
    assert train(KNOWN).to_bytes() == model.to_bytes()
    assert train(KNOWN + 1).sha256 != model.sha256


def test_bytes_round_trip_and_tampering_is_refused(model: TrainedModel) -> None:
    data = model.to_bytes()
    again = TrainedModel.from_bytes(data, model.sha256)
    assert again.to_bytes() == data
    assert again.decision == model.decision
    assert again.summary().keys() == model.summary().keys()
    assert quantiles(again, BARS, DAYS).tobytes() == quantiles(model, BARS, DAYS).tobytes()
    for damaged in (data[:-1], data[:500] + bytes([data[500] ^ 1]) + data[501:], train(KNOWN + 1).to_bytes()):
        with pytest.raises(StockcastError, match="damaged or swapped"):
            TrainedModel.from_bytes(damaged, model.sha256)
    assert hashlib.sha256(data).hexdigest() == model.sha256


def test_too_few_returns_for_a_volatility_are_refused() -> None:
    with pytest.raises(StockcastError, match=r"SHORT has 20 sessions up to .* and a forecast needs at least 21"):
        train(MIN_RETURNS)
    assert (quantiles(train(MIN_RETURNS + 1), BARS, DAYS) > 0).all()


@pytest.mark.parametrize("window", [1, 10, 120])
def test_the_reason_names_the_length_from_which_there_is_training(window: int) -> None:
    """One session below it there is none; at it, every fold has something to learn from and to be judged on."""
    config = ModelConfig(window=window)
    needed = sessions_needed(config)
    tests, final = plan(prepare(made_up_bars(needed)), config)
    assert all(min(len(fold.train), len(fold.test)) > 10 for fold in tests)
    assert len(final.train) > 10
    bars = made_up_bars(needed - 1, ticker="SHORT")
    assert f"at least {needed}:" in train_many({"SHORT": bars}, config)["SHORT"].decision.reason


def test_as_champion_it_objects_to_nobody(model: TrainedModel) -> None:
    assert decide(evaluation({}), champion=model.evaluation, start=START).promoted


def test_a_day_long_after_the_training(model: TrainedModel) -> None:
    """The forecast of a day needs the model and the bars up to the day, not enough bars for features."""
    assert (np.diff(quantiles(model, BARS, DAYS[-1:]), axis=2) > 0).all()
