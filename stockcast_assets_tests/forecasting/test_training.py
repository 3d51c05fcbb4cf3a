"""Training: what it returns, that it is the same bytes every time, and that a fold knows only its past."""

import dataclasses
import hashlib
import io
import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import plan
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.network import Layer, Weights
from stockcast_assets.forecasting.training.train import run_job, train_many
from stockcast_assets_tests.forecasting.conftest import SMALL, TRAINED_TO, made_up_bars

PRICES = ["open", "high", "low", "close", "adj_close"]


def test_a_model_comes_with_its_proof(
    trained: dict[str, TrainedModel], jobs: dict[str, pd.DataFrame], progress: list[tuple[str, int, int]]
) -> None:
    assert list(trained) == list(jobs)
    for ticker, model in trained.items():
        if ticker == "SHORT":
            continue
        summary = model.summary()
        assert model.forecaster.ticker == ticker
        assert model.trained_to == TRAINED_TO
        assert model.trained_from == jobs[ticker]["date"][prepare(jobs[ticker]).first_row + SMALL.window - 1].date()
        assert model.decision.method == ("lstm" if model.decision.promoted else model.decision.method)
        assert model.forecaster.method == model.decision.method
        assert summary["n_cases"] == SMALL.test_sessions
        assert 0.6 < summary["coverage_80"] < 0.95
        assert 0.8 < summary["pinball_ratio_har"] < 1.2
        assert [row["epoch"] for row in model.history] == list(range(len(model.history)))
        assert 2 <= len(model.history) <= SMALL.epochs + 1
    assert [done for _, done, _ in progress] == list(range(1, 7))
    assert {total for *_, total in progress} == {6}


def test_fits_actually_learn(trained: dict[str, TrainedModel]) -> None:
    """Training loss falls from the HAR interval's."""
    for ticker in ("AAPL", "MSFT"):
        model = trained[ticker]
        assert model.history[-1]["train"] < model.history[0]["train"]


def bits(weights: Weights) -> list[bytes]:
    parts = [part for layer in weights.layers for part in (layer.kernel, layer.recurrent, layer.bias)]
    return [part.tobytes() for part in (*parts, weights.head, weights.head_bias)]


def test_the_same_bars_give_the_same_bytes_and_a_fold_knows_only_its_past(
    trained: dict[str, TrainedModel], jobs: dict[str, pd.DataFrame], worker: ProcessPoolExecutor
) -> None:
    """Another process, another number of workers, other jobs beside it: the same bytes.

    In that process: folds of bars whose future is absurd have the weights of the real folds.
    """
    tests, final = plan(prepare(jobs["MSFT"]), SMALL)
    origin = int(tests[0].test[0])
    absurd = jobs["MSFT"].copy()
    absurd.loc[origin:, PRICES] = absurd.loc[origin:, PRICES].to_numpy()[::-1] * 1e4
    tasks = (jobs["MSFT"], tests[0]), (absurd, tests[0]), (jobs["MSFT"], final)
    fits = [worker.submit(run_job, bars, fold, SMALL) for bars, fold in tasks]
    real, spoiled, last = (fit.result() for fit in fits)
    assert bits(real.lstm.weights) == bits(spoiled.lstm.weights)
    assert bits(last.lstm.weights) == bits(trained["MSFT"].forecaster.network.lstm.weights)
    assert real.lstm.scaler.mean.tobytes() == spoiled.lstm.scaler.mean.tobytes()
    ours, theirs = real.lstm.volatility, spoiled.lstm.volatility
    assert ours.har.coefficients.tobytes() == theirs.har.coefficients.tobytes()
    assert ours.pattern.tobytes() == theirs.pattern.tobytes()
    assert real.lstm.shape.tobytes() == spoiled.lstm.shape.tobytes()
    assert real.curve == spoiled.curve


def test_every_training_outcome_lies_before_what_is_judged(jobs: dict[str, pd.DataFrame]) -> None:
    history = prepare(jobs["AAPL"])
    tests, final = plan(history, SMALL)
    for fold in tests:
        assert history.dates[fold.known[-1] + HORIZON] < history.dates[fold.test[0]]
    assert history.dates[final.known[-1] + HORIZON] <= pd.Timestamp(TRAINED_TO)


def test_a_short_history_stops_nobody_and_trains_nothing(
    trained: dict[str, TrainedModel], jobs: dict[str, pd.DataFrame]
) -> None:
    """The fixture trains it beside the others; its own model is that of a call of its own."""
    assert trained["SHORT"].decision.method == "naive_random_walk"
    assert train_many({"SHORT": jobs["SHORT"]}, SMALL)["SHORT"].to_bytes() == trained["SHORT"].to_bytes()


def test_what_cannot_be_trained_fails_before_any_training(jobs: dict[str, pd.DataFrame]) -> None:
    steps: list[tuple[str, int, int]] = []
    new = {**jobs, "NEW": made_up_bars(12, ticker="NEW")}
    with pytest.raises(StockcastError, match="NEW has 12 sessions"):
        train_many(new, SMALL, progress=lambda *step: steps.append(step))
    assert steps == []
    assert train_many({}, ModelConfig()) == {}


def test_bytes_round_trip(trained: dict[str, TrainedModel]) -> None:
    model = trained["AAPL"]
    again = TrainedModel.from_bytes(model.to_bytes(), model.sha256)
    assert again.to_bytes() == model.to_bytes()
    assert again.summary() == model.summary()
    assert again.decision == model.decision
    assert again.config == SMALL
    pd.testing.assert_frame_equal(again.evaluation.table(), model.evaluation.table())
    assert len(model.to_bytes()) < 200_000


def test_two_layers_round_trip(trained: dict[str, TrainedModel], jobs: dict[str, pd.DataFrame]) -> None:
    model = trained["AAPL"]
    network = model.forecaster.network
    first = network.lstm.weights.layers[0]
    second = Layer(0.5 * first.recurrent, first.recurrent, first.bias)
    weights = dataclasses.replace(network.lstm.weights, layers=(first, second))
    deeper = dataclasses.replace(network, lstm=dataclasses.replace(network.lstm, weights=weights))
    model = dataclasses.replace(
        model,
        forecaster=dataclasses.replace(model.forecaster, network=deeper),
        config=dataclasses.replace(model.config, layers=2),
    )
    again = TrainedModel.from_bytes(model.to_bytes(), model.sha256)
    assert again.to_bytes() == model.to_bytes()
    history = prepare(jobs["AAPL"])
    rows = np.arange(len(history) - 5, len(history))
    said, read = (each.forecaster.network.lstm.predict(history, rows).quantiles for each in (model, again))
    assert said.tobytes() == read.tobytes()
    assert said.tobytes() != network.lstm.predict(history, rows).quantiles.tobytes()


def test_a_file_of_the_first_format_has_no_pattern_of_the_quarter(
    trained: dict[str, TrainedModel], jobs: dict[str, pd.DataFrame]
) -> None:
    with np.load(io.BytesIO(trained["AAPL"].to_bytes())) as archive:
        arrays = dict(archive)
    meta = json.loads(arrays.pop("meta").tobytes()) | {"format": 1}
    del arrays["har.pattern"], meta["naive_scales"]["har_quarterly"]
    buffer = io.BytesIO()
    np.savez(buffer, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    data = buffer.getvalue()
    read = TrainedModel.from_bytes(data, hashlib.sha256(data).hexdigest())
    old = read.forecaster
    history = prepare(jobs["AAPL"])
    rows = np.arange(len(history) - 5, len(history))
    volatility = old.network.lstm.volatility
    assert volatility.name == "har"
    assert volatility.sigma(history, rows).tobytes() == old.naive["har"].volatility.sigma(history, rows).tobytes()
    assert np.isfinite(dataclasses.replace(old, method="lstm").quantiles(history, rows[-1:])).all()
    again = TrainedModel.from_bytes(read.to_bytes(), read.sha256).forecaster
    said, kept = (each.network.lstm.predict(history, rows).quantiles for each in (old, again))
    assert said.tobytes() == kept.tobytes()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "swapped"])
def test_a_damaged_or_swapped_file_is_refused(trained: dict[str, TrainedModel], damage: str) -> None:
    data = trained["AAPL"].to_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    damaged = {
        "flipped": bytes(flipped),
        "truncated": data[:-100],
        "empty": b"",
        "swapped": trained["MSFT"].to_bytes(),
    }[damage]
    with pytest.raises(StockcastError, match="damaged or swapped"):
        TrainedModel.from_bytes(damaged, trained["AAPL"].sha256)


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def test_a_pickle_never_runs_even_under_its_right_digest(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    evil = pickle.dumps(_Malicious(marker))
    in_npz = io.BytesIO()
    np.savez(in_npz, meta=np.array([_Malicious(marker)], dtype=object))
    for data in (evil, in_npz.getvalue(), b"not a model"):
        with pytest.raises(StockcastError, match="not one of stockcast's"):
            TrainedModel.from_bytes(data, hashlib.sha256(data).hexdigest())
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("units", 0), ("dropout", 1.0), ("learning_rate", 0.0), ("folds", 0), ("layers", 0)]
)
def test_a_wrong_hyperparameter_is_named(name: str, value: float) -> None:
    with pytest.raises(StockcastError, match=f"model setting {name}="):
        ModelConfig.from_dict({name: value})
    with pytest.raises(StockcastError, match="heads, which stockcast does not know"):
        ModelConfig.from_dict({"heads": 2})
