"""The universe's model of a month of use: networks that knew ever more, the last one all that the month may know.

The earlier ones are the proof. Each was fitted as of a January, so that any ticker, learnt from or not, can be forecast
through the years since by networks that knew nothing of them. Januaries stay where they are: the next month's proof is
this one's and one fit more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import MIN_SESSIONS, Fold, first_origin, fold_before
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.training.workers import training_pool
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.network import UniverseModel
from stockcast_assets.forecasting.universe.training import (
    NETWORKS,
    Networks,
    fingerprint,
    model_of,
    prepare_training,
    submit,
)
from stockcast_assets.libraries import np, pd

PROOF_YEARS = 3
"""Years before the month's own whose Januaries begin a year of the proof."""

FEWEST = 2
"""Tickers that make a universe: on one alone the network is worse than what it starts from."""


@dataclass(frozen=True)
class Vintage:
    """One fit.

    Attributes:
        origin: the first day of which it knows nothing.
        model: the networks.
        members: the tickers that it learnt from, in order.
        n_samples: rows it learnt from.
        fingerprint: SHA-256 of all that went into it.
        learnt: whether a network got better than the start on the validation rows.
    """

    origin: date
    model: UniverseModel
    members: tuple[str, ...]
    n_samples: int
    fingerprint: str
    learnt: bool


@dataclass(frozen=True)
class MonthModel:
    """The `vintages`, the oldest first; the last is the one that forecasts."""

    vintages: tuple[Vintage, ...]

    @property
    def newest(self) -> Vintage:
        return self.vintages[-1]

    def folds(self, history: History, config: ModelConfig) -> list[tuple[Vintage, Fold]]:
        """The sessions that each vintage judges: from its origin to the next one's, the last of all with outcomes.

        A ticker that had too short a past at an origin is judged from the day on that it has enough.
        """
        starts = [int(history.dates.searchsorted(pd.Timestamp(vintage.origin))) for vintage in self.vintages]
        stops = [*starts[1:], len(history)]
        earliest, last = first_origin(history, config), len(history) - HORIZON
        found = []
        for vintage, start, stop in zip(self.vintages, starts, stops, strict=True):
            begin, end = max(start, earliest), min(stop, last)
            if begin < end:
                test = np.arange(begin, end)
                found.append((vintage, fold_before(_first(history, config), begin, test, config.validation_sessions)))
        return found


def _first(history: History, config: ModelConfig) -> int:
    return history.first_row + config.window - 1


def final_rows(history: History, config: ModelConfig) -> Rows:
    """Every row whose inputs and outcomes are known."""
    return np.arange(_first(history, config), len(history) - HORIZON)


def origins(month: date) -> list[date]:
    """The Januaries of PROOF_YEARS before the month's year, that of its own, and the month; ascending."""
    januaries = [date(year, 1, 1) for year in range(month.year - PROOF_YEARS, month.year + 1)]
    return [*(january for january in januaries if january < month), month]


def teachers(series: Mapping[str, Series], origin: date, config: ModelConfig) -> dict[str, Fold]:
    """The tickers that had enough of a past at `origin`, each with what was known of it then."""
    found = {}
    for ticker in sorted(series):
        history = series[ticker].history
        begin = int(history.dates.searchsorted(pd.Timestamp(origin)))
        if begin >= first_origin(history, config):
            found[ticker] = fold_before(_first(history, config), begin, np.arange(0), config.validation_sessions)
    return found


def fit_month(
    series: Mapping[str, Series],
    month: date,
    config: ModelConfig | None = None,
    *,
    earlier: Sequence[Vintage] = (),
    networks: Networks = NETWORKS,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> MonthModel:
    """Fit the month's model and the earlier ones that its proof takes.

    A function of the tickers' bars before the month, of their reports and of the market known then: neither the order
    of the tickers nor the number of workers changes a bit, and `earlier` saves time only.

    Args:
        series: the tickers of the universe; what they have from the month on is not looked at.
        month: first day of the month of use.
        config: how the folds are cut.
        earlier: vintages that were fitted before: one that was made of the same is taken as it is.
        networks: what is fitted at each origin.
        workers: training processes.
        progress: called after each fitted network with those done and those in all.

    Raises:
        StockcastError: if fewer than FEWEST tickers have a past that is long enough.
    """
    config = config or ModelConfig()
    known = {origin: teachers(series, origin, config) for origin in origins(month)}
    if len(known[month]) < FEWEST:
        raise StockcastError(
            f"A network of the universe needs {FEWEST} tickers with some {MIN_SESSIONS} sessions before {month}, and "
            f"{len(known[month])} of {len(series)} have them: add tickers with a longer history."
        )
    before = {vintage.fingerprint: vintage for vintage in earlier}
    learnt_from = {origin: folds for origin, folds in known.items() if len(folds) >= FEWEST}
    found: dict[date, Vintage] = {}
    with training_pool(workers) as pool:
        begun = []
        for origin, folds in learnt_from.items():
            taught = {ticker: series[ticker] for ticker in folds}
            made_of = fingerprint(taught, folds, networks)
            if made_of in before:
                found[origin] = replace(before[made_of], origin=origin)
            else:
                prepared = prepare_training(taught, folds)
                begun.append((origin, prepared, made_of, submit(pool, prepared, networks)))
        done, total = 0, sum(len(futures) for *_, futures in begun)
        for origin, prepared, made_of, futures in begun:
            fitted, learnt = [], False
            for (loss, _), future in zip(networks, futures, strict=True):
                network, epoch = future.result()
                fitted.append(network)
                learnt = learnt or (loss == "pinball" and epoch > 0)
                done += 1
                if progress is not None:
                    progress(done, total)
            samples = sum(len(fold.known) for fold in learnt_from[origin].values())
            found[origin] = Vintage(
                origin, model_of(prepared, fitted), tuple(learnt_from[origin]), samples, made_of, learnt
            )
    return MonthModel(tuple(found[origin] for origin in learnt_from))
