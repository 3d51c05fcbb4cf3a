"""The walk-forward proof on the networks of a universe's month, pooled and of each ticker, and what is decided by it.

No network is trained for it: the month's vintages judge the years after their origins, and what is the ticker's own is
fitted anew at each origin on what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stockcast_assets import __version__
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import MEDIAN, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import MIN_CASES, NOTHING, Pooled, Ratio, decide, pool
from stockcast_assets.forecasting.evaluation.scores import (
    Cases,
    Evaluation,
    Fold,
    daily_losses,
    evaluate,
)
from stockcast_assets.forecasting.features import History
from stockcast_assets.forecasting.models.average import mean_quantiles
from stockcast_assets.forecasting.models.baselines import Forecast, fit_naive
from stockcast_assets.forecasting.npz import Reference
from stockcast_assets.forecasting.one_thread import one_thread
from stockcast_assets.forecasting.serving.calibration import Calibration, calibrate_each
from stockcast_assets.forecasting.universe.contenders import OwnFit, fit_own
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.month import MonthModel, final_rows
from stockcast_assets.forecasting.universe.network import UniverseModel
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import AVERAGE, HAR_EARNINGS, LABELS, LSTM, MIX_EARNINGS, OF_NETWORK

MOST_JUDGED = 40
"""Members that a month is judged on together; of a larger universe always the same draw."""


def fold_quantiles(series: Series, fold: Fold, own: OwnFit, model: UniverseModel) -> dict[str, Floats]:
    """[n, HORIZON, quantiles] of every contender on the fold's test rows, OF_NETWORK first and not calibrated."""
    found = own.quantiles(series, fold.test, model)
    network = found.pop(LSTM)
    naive = fit_naive(series.history, fold.known)
    plain = {name: contender.predict(series.history, fold.test).quantiles for name, contender in naive.items()}
    return {LSTM: network, AVERAGE: mean_quantiles(network, found[MIX_EARNINGS]), **plain, **found}


def joined_cases(
    history: History, parts: Sequence[tuple[Fold, Mapping[str, Floats]]], config: ModelConfig
) -> tuple[Cases, dict[str, Calibration]]:
    """Consecutive folds with their contenders' quantiles, put together.

    What asks the network is calibrated across them, as when published.

    Returns:
        The cases, and by each of OF_NETWORK the calibration once all their outcomes are known.
    """
    rows = np.concatenate([fold.test for fold, _ in parts])
    quantiles = {name: np.concatenate([found[name] for _, found in parts]) for name in parts[0][1]}
    targets = history.targets[rows]
    calibrated, calibrations = calibrate_each({name: quantiles[name] for name in OF_NETWORK}, targets, config.aci_step)
    quantiles |= calibrated
    before = history.targets[parts[0][0].known]
    forecasts = {name: Forecast(values, values[:, :, MEDIAN]) for name, values in quantiles.items()}
    return Cases(history.dates[rows], targets, np.abs(before).mean(axis=0), forecasts), calibrations


Part = tuple[Fold, dict[str, Floats]]


def _parts(series: Series, month: MonthModel, config: ModelConfig) -> list[Part]:
    """What each vintage says of the sessions it judges; none if the past is too short for a day to be judged."""
    return [
        (fold, fold_quantiles(series, fold, fit_own(series, fold.known, vintage.model), vintage.model))
        for vintage, fold in month.folds(series.history, config)
    ]


@dataclass(frozen=True)
class PooledProof:
    """A month's networks over its members together.

    Attributes:
        judged: the members that were looked at.
        evaluation: their walk-forward scores, pooled; none if nobody could be judged.
        ratios: their pinball loss over others', pooled; None if nobody could be judged.
        admitted: what tickers may publish of the networks: LSTM if they are shown to be better than each member's best
            baseline, AVERAGE if they are not, nor shown to be worse than their start, else NOTHING.
        reason: why, in words.
    """

    judged: tuple[str, ...]
    evaluation: Evaluation
    ratios: Pooled | None
    admitted: str
    reason: str

    @property
    def promoted(self) -> bool:
        """Whether tickers may publish the networks alone."""
        return self.admitted == LSTM

    def summary(self) -> dict[str, float | int | bool | str]:
        """The columns of `universe_model` that tell of it."""
        evaluation, ratios = self.evaluation, self.ratios
        found = evaluation.summary()
        unknown = Ratio(np.nan, np.nan, np.nan)
        return {
            "n_judged": len(self.judged),
            "n_cases": int(found["n_cases"]),
            **_columns("start", unknown if ratios is None else ratios.over_start),
            **_columns("best", unknown if ratios is None else ratios.over_best),
            "pinball_ratio_har_earnings": np.nan if ratios is None else evaluation.pinball_ratio(LSTM, HAR_EARNINGS),
            "pinball_ratio_har": float(found["pinball_ratio_har"]),
            "coverage_80": float(found["coverage_80"]),
            "admitted": self.admitted,
            "promoted": self.promoted,
            "reason": self.reason,
        }


def _columns(other: str, ratio: Ratio) -> dict[str, float]:
    name = f"pinball_ratio_{other}"
    return {name: ratio.ratio, f"{name}_low": ratio.low, f"{name}_high": ratio.high}


def admitted_by(row: Mapping[Any, Any]) -> str:
    """What a row of `universe_model` admits, as in `PooledProof`.

    A row of an earlier release says whether the networks beat their start, not whether that is more than luck.
    """
    admitted = row.get("admitted")
    if isinstance(admitted, str):
        return admitted
    return AVERAGE if row["promoted"] else NOTHING


@one_thread()
def judge_pooled(series: Mapping[str, Series], month: MonthModel, config: ModelConfig | None = None) -> PooledProof:
    """Judge a month's networks on its members together, at most MOST_JUDGED of them."""
    config = config or ModelConfig()
    members = month.newest.members
    chosen = members[:: -(-len(members) // MOST_JUDGED)]
    cases = {
        ticker: joined_cases(series[ticker].history, parts, config)[0]
        for ticker in chosen
        if (parts := _parts(series[ticker], month, config))
    }
    if not cases:
        reason = "No member has a day that an earlier fit could be judged on, so no ticker publishes the networks."
        return PooledProof((), Evaluation.without_cases(), None, NOTHING, reason)
    evaluation = evaluate(list(cases.values()))
    count = int(evaluation.cases.sum())
    ratios = pool({ticker: daily_losses(one) for ticker, one in cases.items()}, MIX_EARNINGS)
    words = (
        f"on {count} walk-forward cases of {len(cases)} of {len(members)} members their pinball loss is "
        f"{ratios.over_start} times that of {LABELS[MIX_EARNINGS]}, which they start from, and {ratios.over_best} "
        "times that of each member's best baseline"
    )
    objections = []
    if count < MIN_CASES:
        objections.append(f"there are only {count} walk-forward cases of the {MIN_CASES} it takes")
    if ratios.admitted == NOTHING:
        objections.append(words)
    if not month.newest.learnt:
        objections.append("their last fit improved nothing on the validation sessions")
    admitted = NOTHING if objections else ratios.admitted
    reason = {
        NOTHING: f"No ticker publishes the networks because {' and '.join(objections)}.",
        AVERAGE: f"Tickers may publish the networks averaged with their start: {words}.",
        LSTM: f"Tickers may publish the networks: {words}.",
    }[admitted]
    return PooledProof(tuple(cases), evaluation, ratios, admitted, reason)


@dataclass(frozen=True)
class Beside:
    """A ticker beside the networks of a month, to be judged.

    Attributes:
        series: the ticker's, up to the last session that may be known.
        month: the networks.
        universe: where they are.
        admitted: what tickers may publish of the networks, as in `PooledProof`.
        config: how the folds are cut, and the step of the calibration.
    """

    series: Series
    month: MonthModel
    universe: Reference
    admitted: str = AVERAGE
    config: ModelConfig = field(default_factory=ModelConfig)

    @property
    def history(self) -> History:
        return self.series.history

    @property
    def has_cases(self) -> bool:
        """Whether its past is long enough for a day to be judged."""
        return bool(self.month.folds(self.history, self.config))

    def judged(self, champion: Evaluation | None) -> TrainedModel:
        """The ticker's part of the month's model, with its proof; see `judge`."""
        found = judge(self.series, self.month, self.universe, self.config, champion, admitted=self.admitted)
        assert found is not None
        return found


@one_thread()
def judge(
    series: Series,
    month: MonthModel,
    universe: Reference,
    config: ModelConfig | None = None,
    champion: Evaluation | None = None,
    *,
    admitted: str = AVERAGE,
) -> TrainedModel | None:
    """Judge a ticker, whether the month's model learnt from it or not, on everything its series holds.

    A function of the month's model and of the ticker's series: whichever tickers are judged beside it, its bits are
    the same.

    Args:
        series: the ticker's, up to the last session that may be known.
        month: the networks.
        universe: where they are.
        config: how the folds are cut, and the step of the calibration.
        champion: walk-forward scores of the model that was promoted last, if it may go on serving.
        admitted: what tickers may publish of the networks, as in `PooledProof`.

    Returns:
        The ticker's part of the month's model, with its proof; None if its past is too short for a day to be judged.
    """
    config = config or ModelConfig()
    history = series.history
    parts = _parts(series, month, config)
    if not parts:
        return None
    cases, calibrations = joined_cases(history, parts, config)
    evaluation = evaluate([cases])
    decision = decide(evaluation, champion, start=MIX_EARNINGS, learnt=month.newest.learnt, admitted=admitted)
    rows, model, trained_to = final_rows(history, config), month.newest.model, history.dates[-1].date()
    forecaster = UniverseForecaster(
        history.ticker, decision.method, trained_to, fit_naive(history, rows), fit_own(series, rows, model),
        calibrations.get(decision.method, calibrations[LSTM]), universe, model,
    )  # fmt: skip
    return TrainedModel(
        forecaster=forecaster,
        config=config,
        evaluation=evaluation,
        decision=decision,
        history=[],
        trained_from=history.dates[rows[0]].date(),
        trained_to=trained_to,
        n_samples=len(rows),
        code_version=__version__,
    )
