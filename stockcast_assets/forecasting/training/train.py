"""Training many models at once, in a pool of single-threaded worker processes that share one TensorFlow import.

The unit of work is one fit (a walk-forward fold or the final one), so a single ticker uses every core too.
Results do not depend on the number of workers, nor on which other jobs share the call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from stockcast_assets import __version__
from stockcast_assets.cores import usable_cores
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import MEDIAN, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import Decision, decide
from stockcast_assets.forecasting.evaluation.scores import Cases, Evaluation, Fold, evaluate, plan, sessions_needed
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.models.average import mean_quantiles
from stockcast_assets.forecasting.models.baselines import Contender, Forecast, Naive, fit_naive, fit_random_walk
from stockcast_assets.forecasting.models.network import BASE, Lstm
from stockcast_assets.forecasting.one_thread import one_thread
from stockcast_assets.forecasting.serving.calibration import Calibration, calibrate_each
from stockcast_assets.forecasting.serving.forecaster import CalibratedLstm, Forecaster
from stockcast_assets.forecasting.training.fitting import fit_lstm
from stockcast_assets.forecasting.training.workers import training_pool
from stockcast_assets.libraries import np, pd
from stockcast_assets.methods import AVERAGE, LSTM, NAIVE_PREFIX, RANDOM_WALK

Key = TypeVar("Key", bound=Hashable)
Progress = Callable[[Key, int, int], None]

MIN_RETURNS = 20
"""Returns below which not even a volatility is published: its standard error is 1 / sqrt(2 · (returns - 1)), 16 %."""


@dataclass(frozen=True)
class Fitted:
    """One fit: the LSTM, the baselines fitted on the same sessions, the loss curve, the fold's forecasts."""

    lstm: Lstm
    naive: Mapping[str, Naive]
    curve: list[dict[str, float]]
    forecasts: Mapping[str, Forecast]


def fit_fold(history: History, fold: Fold, config: ModelConfig) -> Fitted:
    """Fit every contender on what the fold knows and forecast its test rows."""
    naive = fit_naive(history, fold.known)
    lstm, curve = fit_lstm(history, fold.train, fold.validation, naive[BASE], config)
    contenders: dict[str, Contender] = {LSTM: lstm, **naive}
    return Fitted(lstm, naive, curve, {name: fitted.predict(history, fold.test) for name, fitted in contenders.items()})


def run_job(bars: pd.DataFrame, fold: Fold, config: ModelConfig) -> Fitted:
    """`fit_fold` from bars, which are cheaper to send to a worker than their arrays."""
    return fit_fold(prepare(bars), fold, config)


def fit_folds(
    folds: Mapping[Key, Sequence[Fold]],
    bars: Mapping[Key, pd.DataFrame],
    config: ModelConfig | Mapping[Key, ModelConfig],
    *,
    workers: int | None = None,
    progress: Progress[Key] | None = None,
) -> dict[Key, list[Fitted]]:
    """Fit all `folds` in worker processes; `progress(key, fits done, fits in all)` after each.

    `config` is one for all, or each key's own.

    Worker processes import the caller's main module: a script that calls this needs the usual
    `if __name__ == "__main__":` guard.

    Raises:
        StockcastError: if a worker process dies.
    """
    configs = dict.fromkeys(folds, config) if isinstance(config, ModelConfig) else config
    jobs = [(key, fold) for key, of_key in folds.items() for fold in of_key]
    pool_size = max(1, min(workers or usable_cores(), len(jobs)))
    results: dict[Key, list[Fitted]] = {key: [] for key in folds}
    with training_pool(pool_size) as pool:
        futures = [pool.submit(run_job, bars[key], fold, configs[key]) for key, fold in jobs]
        key_of = dict(zip(futures, (key for key, _ in jobs), strict=True))
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(key_of[future], done, len(jobs))
        except BrokenProcessPool as error:
            raise StockcastError(
                "A training process died, most likely for lack of memory: "
                "train with fewer workers (STOCKCAST_TRAIN_WORKERS) or fewer tickers at once."
            ) from error
        for future in futures:
            results[key_of[future]].append(future.result())
    return results


def walk_forward_cases(
    history: History, folds: Sequence[Fold], fits: Sequence[Fitted], config: ModelConfig
) -> tuple[Cases, dict[str, Calibration]]:
    """Put consecutive folds together; what asks the network is calibrated across them, as when published.

    Returns:
        The cases, and by each of OF_NETWORK the calibration once all their outcomes are known.
    """
    rows = np.concatenate([fold.test for fold in folds])
    forecasts = {
        name: Forecast(
            np.concatenate([fit.forecasts[name].quantiles for fit in fits]),
            np.concatenate([fit.forecasts[name].point for fit in fits]),
        )
        for name in fits[0].forecasts
    }
    targets = history.targets[rows]
    raw = forecasts.pop(LSTM).quantiles
    asked = {LSTM: raw, AVERAGE: mean_quantiles(raw, forecasts[BASE].quantiles)}
    calibrated, calibrations = calibrate_each(asked, targets, config.aci_step)
    of_network = {name: Forecast(quantiles, quantiles[:, :, MEDIAN]) for name, quantiles in calibrated.items()}
    before = history.targets[folds[0].known]
    cases = Cases(history.dates[rows], targets, np.abs(before).mean(axis=0), of_network | forecasts)
    return cases, calibrations


@dataclass(frozen=True)
class Candidate:
    """A ticker's history and what was fitted on it, not judged yet; a history too short to train on has no fits."""

    history: History
    folds: Sequence[Fold]
    fits: Sequence[Fitted]
    config: ModelConfig

    @one_thread()
    def judged(self, champion: Evaluation | None = None) -> TrainedModel:
        """The model with its walk-forward proof and the gate's decision.

        Args:
            champion: walk-forward scores of the model that was promoted last, if it may go on serving.

        Raises:
            StockcastError: if not even a random walk can be fitted.
        """
        if not self.fits:
            return without_network(self.history, self.config)
        final = self.fits[-1]
        cases, calibrations = walk_forward_cases(self.history, self.folds[:-1], self.fits[:-1], self.config)
        evaluation = evaluate([cases])
        losses = [epoch["validation"] for epoch in final.curve]
        decision = decide(evaluation, champion, start=BASE, learnt=min(losses) < losses[0])
        ticker, dates = self.history.ticker, self.history.dates
        trained_to = dates[-1].date()
        network = CalibratedLstm(final.lstm, calibrations.get(decision.method, calibrations[LSTM]))
        return TrainedModel(
            forecaster=Forecaster(ticker, decision.method, trained_to, final.naive, network),
            config=self.config,
            evaluation=evaluation,
            decision=decision,
            history=final.curve,
            trained_from=dates[self.folds[-1].train[0]].date(),
            trained_to=trained_to,
            n_samples=len(self.folds[-1].train),
            code_version=__version__,
        )


def without_network(history: History, config: ModelConfig) -> TrainedModel:
    """The model of a history too short to train on: a random walk with the volatility of the returns there are.

    Raises:
        StockcastError: if there are fewer than MIN_RETURNS.
    """
    n = len(history)
    if n <= MIN_RETURNS:
        raise StockcastError(
            f"{history.ticker} has {n} sessions up to {history.dates[-1].date()} and a forecast needs at least "
            f"{MIN_RETURNS + 1}: ingest a longer history, or wait."
        )
    decision = Decision(
        promoted=False,
        method=NAIVE_PREFIX + RANDOM_WALK,
        reason=f"{history.ticker} has {n} sessions and a model needs at least {sessions_needed(config)}: "
        "the random walk is published.",
    )
    trained_to = history.dates[-1].date()
    naive = {RANDOM_WALK: fit_random_walk(np.diff(history.log_close))}
    return TrainedModel(
        forecaster=Forecaster(history.ticker, decision.method, trained_to, naive, network=None),
        config=config,
        evaluation=Evaluation.without_cases(),
        decision=decision,
        history=[],
        trained_from=history.dates[0].date(),
        trained_to=trained_to,
        n_samples=0,
        code_version=__version__,
    )


def fit_many(
    bars: Mapping[Key, pd.DataFrame],
    config: ModelConfig | Mapping[Key, ModelConfig] | None = None,
    *,
    workers: int | None = None,
    progress: Progress[Key] | None = None,
) -> dict[Key, Candidate]:
    """Fit one model per job on everything its bars hold, and its walk-forward; `Candidate.judged` is the next step.

    The same bars and config give the same bytes, whatever the number of workers and the other jobs.

    Args:
        bars: per job (any key: a ticker, or a ticker and month) one ticker's bars from its first stored one.
        config: hyperparameters, one for all or each job's own; the defaults if None.
        workers: processes; one per core if None.
        progress: called in this process after each fit with (key, fits done, fits in all).

    Raises:
        StockcastError: if a history is malformed or has fewer than MIN_RETURNS returns (before any training), or a
            worker dies.
    """
    configs = config if isinstance(config, Mapping) else dict.fromkeys(bars, config or ModelConfig())
    histories = {key: prepare(of_ticker) for key, of_ticker in bars.items()}
    folds: dict[Key, list[Fold]] = {}
    for key, history in histories.items():
        if len(history) < sessions_needed(configs[key]):
            without_network(history, configs[key])
        else:
            tests, final = plan(history, configs[key])
            folds[key] = [*tests, final]
    fits = fit_folds(folds, bars, configs, workers=workers, progress=progress) if folds else {}
    return {key: Candidate(histories[key], folds.get(key, []), fits.get(key, []), configs[key]) for key in bars}


def train_many(
    bars: Mapping[Key, pd.DataFrame],
    config: ModelConfig | Mapping[Key, ModelConfig] | None = None,
    *,
    workers: int | None = None,
    progress: Progress[Key] | None = None,
    champions: Mapping[Key, Evaluation] | None = None,
) -> dict[Key, TrainedModel]:
    """`fit_many`, each model judged against the champion given for its job.

    A history shorter than `sessions_needed` gets a model without a network, which publishes the random walk.

    Raises:
        StockcastError: as `fit_many`.
    """
    candidates = fit_many(bars, config, workers=workers, progress=progress)
    return {key: candidate.judged((champions or {}).get(key)) for key, candidate in candidates.items()}
