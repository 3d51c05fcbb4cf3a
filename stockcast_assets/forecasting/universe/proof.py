"""A ticker's walk-forward proof on the networks of a universe's month, and the gate's decision.

No network is trained for it: the month's vintages judge the years after their origins, and what is the ticker's own is
fitted anew at each origin on what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stockcast_assets import __version__
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import MEDIAN, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import decide
from stockcast_assets.forecasting.evaluation.scores import Cases, Evaluation, Fold, evaluate
from stockcast_assets.forecasting.features import History
from stockcast_assets.forecasting.models.baselines import Forecast, fit_naive
from stockcast_assets.forecasting.npz import Reference
from stockcast_assets.forecasting.serving.calibration import Calibration, calibrate
from stockcast_assets.forecasting.universe.contenders import OwnFit, fit_own
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.month import MonthModel, final_rows
from stockcast_assets.forecasting.universe.network import UniverseModel
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import LSTM


def fold_quantiles(series: Series, fold: Fold, own: OwnFit, model: UniverseModel) -> dict[str, Floats]:
    """[n, HORIZON, quantiles] of every contender on the fold's test rows, the network first and not calibrated."""
    found = own.quantiles(series, fold.test, model)
    naive = fit_naive(series.history, fold.known)
    plain = {name: contender.predict(series.history, fold.test).quantiles for name, contender in naive.items()}
    return {LSTM: found.pop(LSTM), **plain, **found}


def joined_cases(
    history: History, parts: Sequence[tuple[Fold, Mapping[str, Floats]]], config: ModelConfig
) -> tuple[Cases, Calibration]:
    """Consecutive folds with their contenders' quantiles, put together.

    The network's intervals are calibrated across them, as when published.

    Returns:
        The cases, and the calibration once all their outcomes are known.
    """
    rows = np.concatenate([fold.test for fold, _ in parts])
    quantiles = {name: np.concatenate([found[name] for _, found in parts]) for name in parts[0][1]}
    targets = history.targets[rows]
    quantiles[LSTM], calibration = calibrate(quantiles[LSTM], targets, Calibration.start(config.aci_step))
    before = history.targets[parts[0][0].known]
    forecasts = {name: Forecast(values, values[:, :, MEDIAN]) for name, values in quantiles.items()}
    return Cases(history.dates[rows], targets, np.abs(before).mean(axis=0), forecasts), calibration


def judge(
    series: Series,
    month: MonthModel,
    universe: Reference,
    config: ModelConfig | None = None,
    champion: Evaluation | None = None,
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

    Returns:
        The ticker's part of the month's model, with its proof; None if its past is too short for a day to be judged.
    """
    config = config or ModelConfig()
    history = series.history
    parts = [
        (fold, fold_quantiles(series, fold, fit_own(series, fold.known, vintage.model), vintage.model))
        for vintage, fold in month.folds(history, config)
    ]
    if not parts:
        return None
    cases, calibration = joined_cases(history, parts, config)
    evaluation = evaluate([cases])
    decision = decide(evaluation, champion, learnt=month.newest.learnt)
    rows, model, trained_to = final_rows(history, config), month.newest.model, history.dates[-1].date()
    forecaster = UniverseForecaster(
        history.ticker, decision.method, trained_to, fit_naive(history, rows), fit_own(series, rows, model),
        calibration, universe, model,
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
