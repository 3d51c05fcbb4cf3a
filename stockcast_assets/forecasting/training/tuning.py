"""Hyper-parameters of a ticker's LSTM, searched with Optuna on validation sessions that the gate never judges.

Every trial learns from the training rows of the first walk-forward fold and is scored on that fold's validation rows,
a purge later: nothing after them is read. The study is kept in SQLite, so that a later call goes on where one stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from stockcast_assets.cores import usable_cores
from stockcast_assets.databases import Database
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import (
    BLOCK_SESSIONS,
    RESAMPLES,
    Fold,
    pinball_losses,
    plan,
    ratio_interval,
)
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.network import BASE
from stockcast_assets.forecasting.training.fitting import LossCurve, fit_lstm, forget_graphs
from stockcast_assets.forecasting.training.workers import training_pool
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats

if TYPE_CHECKING:
    import optuna

State = Literal["complete", "pruned", "failed"]
Parameters = dict[str, Any]

TUNED = ("units", "layers", "learning_rate", "batch_size", "dropout", "window", "epochs")
"""What is searched."""

LONGEST_WINDOW = 20
MOST_LUCK = 0.1
"""Probability of a gain by luck alone up to which it is called more than that."""

_FIRST_UNPRUNED, _WARM_UP_EPOCHS = 5, 3
_LOSSES, _TRAIN_CURVE = "losses", "train_curve"
_BEGAN = "trials before the call that is not finished"


def suggest(trial: optuna.Trial) -> Parameters:
    """A point of the search space; the defaults of `ModelConfig` are one of them."""
    return {
        "units": trial.suggest_int("units", 16, 128, step=16),
        "layers": trial.suggest_int("layers", 1, 2),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256, 512]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "window": trial.suggest_int("window", 5, LONGEST_WINDOW, step=5),
        "epochs": trial.suggest_int("epochs", 10, 40, step=10),
    }


def defaults(config: ModelConfig) -> Parameters:
    """What a search has to beat."""
    return {name: getattr(config, name) for name in TUNED}


@dataclass(frozen=True)
class Trial:
    """One trial: its `loss` is the mean validation pinball of the log returns, None unless it was completed."""

    number: int
    state: State
    parameters: Parameters
    loss: float | None
    train: list[float]
    validation: list[float]


@dataclass(frozen=True)
class Tuning:
    """What a study found so far.

    Attributes:
        ticker: the symbol.
        study: its name in the database.
        trials: every finished trial.
        best: the trial with the lowest validation loss.
        default: the trial of the defaults.
        ratio, low, high: validation loss of the best over the defaults', with its 95 % block-bootstrap interval.
        validation_from, validation_to: the sessions that judged.
        new_trials: how many of the trials this call ran.
        luck: the gain that the best of so many sets shows on average if none is better than the defaults.
        p_value: how often it then shows at least the gain that was found.
    """

    ticker: str
    study: str
    trials: Sequence[Trial]
    best: Trial
    default: Trial
    ratio: float
    low: float
    high: float
    validation_from: date
    validation_to: date
    new_trials: int
    luck: float
    p_value: float

    @property
    def deflated_gain(self) -> float:
        """What is left of the gain, as a share of the defaults' loss, once its luck is taken off."""
        return 1 - self.ratio - self.luck

    @property
    def beats_defaults(self) -> bool:
        return self.ratio < 1

    @property
    def fed(self) -> Parameters:
        """What the next trainings get over the defaults: nothing unless the best set beats them."""
        return dict(self.best.parameters) if self.beats_defaults else {}

    def in_words(self) -> str:
        """The gain over the defaults, with its uncertainty."""
        where = f"{self.validation_from} to {self.validation_to}"
        if not self.beats_defaults:
            return (
                f"No set of {len(self.trials)} trials beat the defaults on the validation sessions ({where}), "
                "so trainings keep the defaults."
            )
        gain = f"{1 - self.ratio:.2%} lower than the defaults' [{1 - self.high:.2%}, {1 - self.low:.2%}]"
        verdict = (
            "more than the luck of the best of them explains"
            if self.p_value <= MOST_LUCK
            else "no more than the luck of the best of them explains, so expect no difference"
        )
        return (
            f"The best of {len(self.trials)} trials has a validation pinball loss {gain} ({where}). Were none better, "
            f"the best would still show {self.luck:.2%} on average, and this much with probability {self.p_value:.2f}; "
            f"{self.deflated_gain:.2%} is left: {verdict}. "
            "The next training uses it; the gate then judges it on other sessions."
        )


@dataclass(frozen=True)
class Task:
    """What trials may know of a ticker: bars up to the last outcome of the validation rows, and the rows."""

    bars: pd.DataFrame
    fold: Fold

    @property
    def ticker(self) -> str:
        return str(self.bars["ticker"].iloc[0])

    @property
    def fingerprint(self) -> str:
        """Of every value that a trial can see, and of what is searched; revised bars are another study."""
        columns = ["open", "high", "low", "close", "adj_close", "volume"]
        digest = hashlib.sha256(self.bars["date"].to_numpy().astype("datetime64[D]").astype(np.int64).tobytes())
        digest.update(",".join(TUNED).encode())
        digest.update(np.ascontiguousarray(self.bars[columns].to_numpy(np.float64)).tobytes())
        return digest.hexdigest()[:12]

    @property
    def study(self) -> str:
        return f"{self.ticker} {self.bars['date'].iloc[-1].date()} {self.fingerprint}"


def best_by_luck(trials: Floats, default: Floats) -> tuple[float, float]:
    """What the best of many sets gains over the defaults by luck: White's reality check (2000).

    Blocks of consecutive sessions are drawn again and again, the same for all sets, whose gains are moved to a mean of
    zero first: so none is better, and they are as alike and as noisy as they are.

    Args:
        trials: [sets, sessions] the losses of every set that was tried to its end.
        default: [sessions] those of the defaults.

    Returns:
        The mean of the best gain, as a share of the defaults' loss, and how often it reaches the one that was found.
    """
    n = len(default)
    starts = np.random.default_rng(0).integers(0, n, (RESAMPLES, -(-n // BLOCK_SESSIONS)))
    # What blocks leave out of the variance: the mean that was taken off, and the overlap of targets cut at their ends.
    left = (1 - BLOCK_SESSIONS / max(n, 2 * BLOCK_SESSIONS)) * (1 - (HORIZON - 1 / HORIZON) / (3 * BLOCK_SESSIONS))
    # The defaults are among what may be chosen, and gain nothing.
    highest, best = np.zeros(RESAMPLES), 0.0
    for losses in trials:
        gain = (default - losses) / default.mean()
        best = max(best, float(gain.mean()))
        around = np.tile(gain - gain.mean(), 1 + -(-BLOCK_SESSIONS // n))
        cumulative = np.concatenate(([0.0], np.cumsum(around)))
        drawn = (cumulative[starts + BLOCK_SESSIONS] - cumulative[starts]).sum(axis=1)
        highest = np.maximum(highest, drawn / (starts.shape[1] * BLOCK_SESSIONS * np.sqrt(left)))
    return float(highest.mean()), float((highest >= best).mean())


def task_of(bars: pd.DataFrame, config: ModelConfig) -> Task:
    """The rows of the gate's first fold, with room for the longest window so that all trials share them.

    Raises:
        StockcastError: if the history is too short to train on.
    """
    tests, _ = plan(prepare(bars), replace(config, window=LONGEST_WINDOW))
    fold = replace(tests[0], test=np.arange(0))
    return Task(bars.iloc[: int(fold.validation[-1]) + HORIZON + 1].reset_index(drop=True), fold)


def validation_losses(
    history: History, fold: Fold, config: ModelConfig, observe: Callable[[int, float], None] | None = None
) -> tuple[Floats, LossCurve]:
    """Pinball loss of each validation row, [n], of the LSTM and its baseline fitted on the training rows alone."""
    base = fit_naive(history, fold.train)[BASE]
    lstm, curve = fit_lstm(history, fold.train, fold.validation, base, config, observe)
    said = lstm.predict(history, fold.validation)
    return pinball_losses(history.targets[fold.validation], said.quantiles).mean(axis=(1, 2)), curve


def tune(
    bars: Mapping[str, pd.DataFrame],
    trials: int,
    storage: Path,
    config: ModelConfig | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Tuning]:
    """Run `trials` further trials of each ticker's study, one worker process per ticker.

    Until `finish` is called it is the same call that is repeated: what it has tried already counts, so a call that was
    stopped, whenever, adds what is left. A new study begins with the defaults. The same bars, trials and configuration
    give the same parameters and losses, whatever the number of workers, as long as no call was interrupted.

    Args:
        bars: per ticker all bars from its first stored one.
        trials: trials to add to each study.
        storage: the SQLite file of all studies.
        config: what is not searched, and the defaults of what is.
        workers: processes; one per core if None.
        progress: called with a ticker when its study is done.

    Raises:
        StockcastError: if a history is too short, another process tunes the same ticker, or a worker dies.
    """
    config = config or ModelConfig()
    tasks = {ticker: task_of(of_ticker, config) for ticker, of_ticker in bars.items()}
    storage.parent.mkdir(parents=True, exist_ok=True)
    # Made here, because two processes that make the tables at once disturb each other.
    _open(storage)
    found = {}
    pool_size = max(1, min(workers or usable_cores(), len(tasks)))
    with training_pool(pool_size) as pool:
        futures = {ticker: pool.submit(run_study, task, trials, storage, config) for ticker, task in tasks.items()}
        try:
            for ticker, future in futures.items():
                found[ticker] = future.result()
                if progress is not None:
                    progress(ticker)
        except BrokenProcessPool as error:
            raise StockcastError(
                "A tuning process died, most likely for lack of memory: tune fewer tickers at once, "
                "or with fewer workers (STOCKCAST_TRAIN_WORKERS); finished trials are kept."
            ) from error
    return found


def run_study(task: Task, trials: int, storage: Path, config: ModelConfig) -> Tuning:
    """Add trials to the task's study, in a process set up by `workers.start_worker`.

    Raises:
        StockcastError: if another process tunes the ticker.
    """
    import optuna

    with _alone(storage, task.ticker):
        study = optuna.create_study(storage=_open(storage), study_name=task.study, load_if_exists=True)
        _end_abandoned(study)
        before, judged = len(study.trials), _judged(study)
        began = study.user_attrs.get(_BEGAN)
        if began is None:
            began = judged
            study.set_user_attr(_BEGAN, began)
        left = max(began + trials - judged, 0)
        # Seeded by where it goes on: with one seed a second call would try the first call's points again.
        study.sampler = optuna.samplers.TPESampler(seed=config.seed + before)
        study.pruner = optuna.pruners.MedianPruner(_FIRST_UNPRUNED, _WARM_UP_EPOCHS)
        start = defaults(config)
        if not any(trial.params == start and trial.state.is_finished() for trial in _scored(study)):
            study.enqueue_trial(start)
            left = max(left, 1)
        history = prepare(task.bars)
        study.optimize(lambda trial: _run(trial, history, task.fold, config), n_trials=left)
        return _summary(study, task, history, start, before)


def finish(storage: Path, studies: Iterable[str]) -> None:
    """Note that the last call's results of these studies are kept: the next call adds trials of its own."""
    import optuna

    opened = _open(storage)
    for name in studies:
        optuna.load_study(storage=opened, study_name=name).set_user_attr(_BEGAN, None)


def _run(trial: optuna.Trial, history: History, fold: Fold, config: ModelConfig) -> float:
    import optuna

    parameters = suggest(trial)
    is_default = parameters == defaults(config)
    seen: list[float] = []

    def observe(epoch: int, loss: float) -> None:
        starter = parent_process()
        if starter is not None and not starter.is_alive():
            # Nobody waits for the result; the trial is ended by the next call.
            os._exit(1)
        seen.append(loss)
        trial.report(loss, epoch)
        if not is_default and trial.should_prune():
            raise optuna.TrialPruned

    try:
        losses, curve = validation_losses(history, fold, replace(config, **parameters), observe)
    finally:
        forget_graphs()
    trial.set_user_attr(_LOSSES, [round(float(loss), 10) for loss in losses])
    trial.set_user_attr(_TRAIN_CURVE, [round(epoch["train"], 7) for epoch in curve])
    return float(losses.mean())


def _summary(study: optuna.Study, task: Task, history: History, start: Parameters, before: int) -> Tuning:
    ended: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    default = next(trial for trial in _scored(study) if trial.params == start)
    ours, theirs = (np.array(trial.user_attrs[_LOSSES]) for trial in (study.best_trial, default))
    low, high = ratio_interval(ours, theirs)
    luck, p_value = best_by_luck(np.array([trial.user_attrs[_LOSSES] for trial in _scored(study)]), theirs)
    trials = {
        trial.number: Trial(
            number=trial.number,
            state=ended[trial.state.name],
            parameters=dict(trial.params),
            loss=trial.value if trial.state.name == "COMPLETE" else None,
            train=trial.user_attrs.get(_TRAIN_CURVE, []),
            validation=[trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)],
        )
        for trial in study.trials
        if trial.state.is_finished()
    }
    return Tuning(
        ticker=task.ticker,
        study=study.study_name,
        trials=list(trials.values()),
        best=trials[study.best_trial.number],
        default=trials[default.number],
        ratio=float(ours.sum() / theirs.sum()),
        low=low,
        high=high,
        validation_from=history.dates[task.fold.validation[0]].date(),
        validation_to=history.dates[task.fold.validation[-1]].date(),
        new_trials=sum(trial.number >= before for trial in trials.values()),
        luck=luck,
        p_value=p_value,
    )


def _judged(study: optuna.Study) -> int:
    """How many trials there are that ended by themselves."""
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def _scored(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


def _end_abandoned(study: optuna.Study) -> None:
    """Fail what a killed call left running or waiting: nobody else can be at it, because this call holds the lock."""
    import optuna

    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.WAITING:
            study.ask()
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def studies_file(path: Path) -> Database:
    """The file of all studies."""
    return Database(path, "sqlite", "what tunings have tried", "tuning begins anew")


def _open(storage: Path) -> optuna.storages.RDBStorage:
    import optuna

    studies_file(storage).check()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Several tickers write to one file: wait for each other instead of failing.
    return optuna.storages.RDBStorage(f"sqlite:///{storage}", engine_kwargs={"connect_args": {"timeout": 60}})


@contextmanager
def _alone(storage: Path, ticker: str) -> Iterator[None]:
    """Hold the ticker's lock, which the operating system drops when the process ends, however it does.

    Raises:
        StockcastError: if another process holds it.
    """
    with (storage.parent / f".tuning-{quote(ticker, safe='')}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StockcastError(
                f"Another process is tuning {ticker} right now: wait until it has finished, then try again."
            ) from error
        yield
