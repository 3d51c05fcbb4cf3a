"""Tuning sees validation sessions and nothing after them, goes on where it stopped, and leaves no trial behind."""

import fcntl
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, PURGE, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import plan
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.training.tuning import (
    LONGEST_WINDOW,
    MOST_LUCK,
    TUNED,
    Trial,
    Tuning,
    best_by_luck,
    defaults,
    finish,
    run_study,
    task_of,
)
from stockcast_assets.tracking.client import Tracking
from stockcast_assets.tracking.studies import EXPERIMENT, charts, log_tuning
from stockcast_assets_tests.forecasting.conftest import made_up_bars

# Defaults that train in a moment and are, like the real ones, in the space.
CONFIG = ModelConfig(units=16, window=5, epochs=10, patience=1)
PRICES = ["open", "high", "low", "close", "adj_close"]


@pytest.fixture(scope="module")
def bars(sample: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return sample["IBM"].tail(700).reset_index(drop=True)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuning") / "optuna.db"


@pytest.fixture(scope="module")
def first(bars: pd.DataFrame, storage: Path, worker: ProcessPoolExecutor) -> Tuning:
    found = worker.submit(run_study, task_of(bars, CONFIG), 3, storage, CONFIG).result()
    # Repeated before its results are kept, it is the same call.
    again = worker.submit(run_study, task_of(bars, CONFIG), 3, storage, CONFIG).result()
    assert again == replace(found, new_trials=0)
    finish(storage, [found.study])
    return found


def test_a_study_begins_with_the_defaults_and_finds_the_lowest_validation_loss(first: Tuning) -> None:
    assert [trial.number for trial in first.trials] == [0, 1, 2]
    assert first.default.number == 0
    assert first.default.parameters == defaults(CONFIG)
    losses = [trial.loss for trial in first.trials if trial.loss is not None]
    assert first.best.loss == min(losses)
    assert set(first.best.parameters) == set(TUNED)
    assert first.ratio == pytest.approx(first.best.loss / first.default.loss, rel=1e-6)
    assert first.low <= first.ratio <= first.high
    assert first.luck >= 0
    assert 0 < first.p_value <= 1
    assert first.fed == (first.best.parameters if first.ratio < 1 else {})
    for trial in first.trials:
        # The loss curve of training begins at the HAR interval, as the network does, whatever its parameters.
        assert trial.validation[0] == pytest.approx(first.default.validation[0], rel=1e-5)
        assert len(trial.validation) == len(trial.train)


def test_no_row_after_the_validation_is_read(
    bars: pd.DataFrame, first: Tuning, worker: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Bars from the gate's first test day on are shuffled, absurd and partly missing: the same trials, bit for bit."""
    tests, _ = plan(prepare(bars), replace(CONFIG, window=LONGEST_WINDOW))
    judged = int(tests[0].test[0])
    task = task_of(bars, CONFIG)
    assert len(task.bars) == judged
    assert task.fold.train[-1] + PURGE < task.fold.validation[0]
    assert task.fold.validation[-1] + HORIZON < judged
    spoiled = bars.copy()
    rng = np.random.default_rng(0)
    spoiled.loc[judged:, PRICES] = spoiled.loc[rng.permutation(np.arange(judged, len(bars))), PRICES].to_numpy() * 1e5
    again = worker.submit(run_study, task_of(spoiled, CONFIG), 3, tmp_path / "optuna.db", CONFIG).result()
    assert again == replace(first, new_trials=3)


def test_another_bar_before_the_end_is_another_study(bars: pd.DataFrame) -> None:
    revised = bars.copy()
    revised.loc[200, "close"] += 0.01
    assert task_of(revised, CONFIG).study != task_of(bars, CONFIG).study
    assert task_of(bars, CONFIG).study.startswith("IBM 20")


def test_a_killed_call_leaves_no_stuck_trial_and_the_next_goes_on(
    bars: pd.DataFrame, storage: Path, first: Tuning, worker: ProcessPoolExecutor
) -> None:
    study = optuna.load_study(storage=f"sqlite:///{storage}", study_name=first.study)
    study.ask()
    study.enqueue_trial(defaults(CONFIG))
    assert [trial.state.name for trial in study.trials[3:]] == ["RUNNING", "WAITING"]
    second = worker.submit(run_study, task_of(bars, CONFIG), 2, storage, CONFIG).result()
    assert second.new_trials == 2
    assert list(second.trials[:3]) == list(first.trials)
    assert [trial.state for trial in second.trials[3:5]] == ["failed", "failed"]
    assert [trial.number for trial in second.trials] == list(range(7))
    # Stopped again: the two that were tried count, and the one that was not ended does not.
    study.ask()
    third = worker.submit(run_study, task_of(bars, CONFIG), 3, storage, CONFIG).result()
    assert [trial.state for trial in third.trials[:8]] == [*(t.state for t in second.trials), "failed"]
    assert (third.new_trials, len(third.trials)) == (1, 9)
    finish(storage, [first.study])
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED", "FAIL"}
    tried = [tuple(sorted(trial.parameters.items())) for trial in second.trials if trial.state != "failed"]
    assert len(set(tried)) == len(tried)


def test_two_calls_do_not_tune_a_ticker_at_once(bars: pd.DataFrame, storage: Path, worker: ProcessPoolExecutor) -> None:
    with (storage.parent / ".tuning-IBM.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StockcastError, match="Another process is tuning IBM"):
            worker.submit(run_study, task_of(bars, CONFIG), 1, storage, CONFIG).result()


def test_a_history_too_short_to_train_on_is_one_sentence() -> None:
    with pytest.raises(StockcastError, match="Training FAKE needs at least"):
        task_of(made_up_bars(200), CONFIG)


def made_up(ratio: float, low: float, high: float, luck: float = 0.005, p_value: float = 0.03) -> Tuning:
    trials = [
        Trial(0, "complete", defaults(CONFIG), 1.0, [1.0, 0.9], [1.0, 0.95]),
        Trial(1, "complete", defaults(CONFIG) | {"units": 64, "learning_rate": 1e-3}, ratio, [1.0], [1.0, ratio]),
        Trial(2, "pruned", defaults(CONFIG) | {"units": 96}, None, [], [1.1]),
    ]
    day = date(2012, 1, 3)
    return Tuning(
        "IBM", "IBM 2012-06-29 abc", trials, trials[1], trials[0], ratio, low, high, day, day, 3, luck, p_value
    )


@pytest.mark.parametrize(
    ("tuning", "fed", "words"),
    [
        (
            made_up(0.98, 0.97, 0.99),
            True,
            ["2.00% lower", "[1.00%, 3.00%]", "show 0.50% on average", "1.50% is left: more than the luck of the best"],
        ),
        (
            made_up(0.99, 0.97, 1.01, 0.012, 0.44),
            True,
            ["1.00% lower", "with probability 0.44; -0.20% is left: no more than the luck of the best"],
        ),
        (made_up(1.0, 0.98, 1.02), False, ["No set of 3 trials beat the defaults"]),
    ],
)
def test_the_gain_is_told_with_its_uncertainty(tuning: Tuning, fed: bool, words: list[str]) -> None:
    assert bool(tuning.fed) == fed
    for each in words:
        assert each in tuning.in_words()


def studied(gain: float, seed: int, sets: int = 20, sessions: int = 250) -> tuple[float, float, float]:
    """The gain of the best of some sets, its luck and its probability; all but the first are as good as the defaults.

    A session's losses resemble those of the nine before it, as those of targets that overlap do.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(sets, sessions + 9))
    alike = np.lib.stride_tricks.sliding_window_view(noise, 10, axis=1).mean(axis=2)
    default = 1 + 0.3 * np.abs(rng.normal(size=sessions))
    losses = default * (1 + 0.05 * alike)
    losses[0] -= gain * default
    return 1 - float((losses.sum(axis=1) / default.sum()).min()), *best_by_luck(losses, default)


def test_the_gain_of_the_best_of_many_that_are_no_better_is_luck() -> None:
    found = np.array([studied(0.0, seed) for seed in range(100)])
    gain, luck, p_value = found.T
    assert gain.mean() > 0.003, "what the best of twenty equals shows"
    assert abs((gain - luck).mean()) < 0.25 * gain.mean(), "and what is left of it"
    assert (p_value <= MOST_LUCK).mean() < 0.2


def test_a_set_that_is_better_is_better_than_luck() -> None:
    gain, luck, p_value = np.array([studied(0.03, seed) for seed in range(20)]).T
    assert (p_value <= MOST_LUCK).all()
    assert abs((gain - luck).mean() - 0.03) < 0.01
    assert best_by_luck(np.ones((3, 50)), np.ones(50)) == (0.0, 1.0), "sets that are the same as the defaults"


def test_one_parent_run_with_a_nested_run_per_trial_however_often_it_is_logged(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    tuning = made_up(0.98, 0.97, 0.99)
    pictures = charts(tuning)
    assert all(picture.startswith(b"\x89PNG") and len(picture) < 60_000 for picture in pictures.values())
    link = log_tuning(tracking, replace(tuning, trials=tuning.trials[:2]), pictures)
    assert log_tuning(tracking, tuning, pictures) == link
    client = MlflowClient(tracking.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert [run.info.run_id for run in parents] == [link.rsplit("/", 1)[1]]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert sorted(run.data.tags["stockcast.trial"] for run in children) == ["0", "1", "2"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert children[0].data.params.keys() == set(TUNED)
    files = {file.path for file in client.list_artifacts(parents[0].info.run_id)}
    assert files == {"best.json", *(f"{name}.png" for name in pictures)}
    assert parents[0].data.metrics["ratio_to_defaults"] == 0.98
    assert parents[0].data.metrics["deflated_gain"] == pytest.approx(0.015)


def test_a_study_that_goes_on_is_a_child_of_the_run_that_added_to_it(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    tuning = made_up(0.98, 0.97, 0.99)
    asked: list[str] = []

    def recorded(trials: int, by: str) -> str:
        def parent_of(experiment: str) -> str:
            asked.append(by)
            return by

        link = log_tuning(tracking, replace(tuning, trials=tuning.trials[:trials]), {}, parent_of)
        return str(tracking.client.get_run(link.rsplit("/", 1)[1]).data.tags["mlflow.parentRunId"])

    assert [recorded(1, "first"), recorded(3, "second"), recorded(3, "third")] == ["first", "second", "second"]
    # Nothing new, no parent.
    assert asked == ["first", "second"]
