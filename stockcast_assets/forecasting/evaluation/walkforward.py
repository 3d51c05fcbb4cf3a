"""The evaluation protocol: every contender, LSTM and baselines alike, refitted each year and judged on the same days.

One shape serves them all: fitted on the rows a fold knows, then `predict(history, rows)` (`baselines.Contender`).
The scores are those of `evaluation`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import (
    POOLED,
    Cases,
    Evaluation,
    Fold,
    coverage_interval,
    evaluate,
    first_origin,
    too_early,
    yearly,
)
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.models.baselines import Forecast
from stockcast_assets.forecasting.models.statistical import fit_statistical, require_stats
from stockcast_assets.forecasting.training.train import fit_folds, walk_forward_cases
from stockcast_assets.methods import LSTM, RATIOS

DEFAULT_YEARS = 4
"""Full calendar years before the last one that are judged unless a start is given."""

HEADLINES: Mapping[str, tuple[str, str]] = {
    key: (ratio.metric, ratio.baseline) for key, ratio in RATIOS.items() if ratio.headline
}
"""Headline ratios: the metric, and the contender the LSTM is divided by. Below 1 the LSTM is better."""

Progress = Callable[[str, int, int], None]
"""Called with what was just fitted, the fits done and the fits in all."""


@dataclass(frozen=True)
class WalkForward:
    """What every contender said on the same as-of days, per ticker, and how good it was.

    Attributes:
        config: the LSTM's hyper-parameters.
        retrains: fits per ticker.
        cases: forecasts and outcomes per ticker.
    """

    config: ModelConfig
    retrains: Mapping[str, int]
    cases: Mapping[str, Cases] = field(repr=False)

    @property
    def tickers(self) -> list[str]:
        return list(self.cases)

    @property
    def first_day(self) -> date:
        return self.pooled.dates[0].date()

    @property
    def last_day(self) -> date:
        return self.pooled.dates[-1].date()

    @cached_property
    def pooled(self) -> Evaluation:
        """The scores over all tickers; the bootstrap keeps the tickers of a day together."""
        return evaluate(list(self.cases.values()))

    @cached_property
    def by_ticker(self) -> dict[str, Evaluation]:
        return {ticker: evaluate([cases]) for ticker, cases in self.cases.items()}

    def evaluation(self, ticker: str | None = None) -> Evaluation:
        """The scores of one ticker, or pooled."""
        return self.pooled if ticker is None else self.by_ticker[ticker]

    def headline(self, ticker: str | None = None) -> dict[str, float | int]:
        """The headline ratios, `coverage_80` and `n_cases` of one ticker, or pooled."""
        summary = self.evaluation(ticker).summary(LSTM)
        return {key: summary[key] for key in (*HEADLINES, "coverage_80", "n_cases")}

    def intervals(self, ticker: str | None = None) -> dict[str, tuple[float, float]]:
        """95 % block-bootstrap intervals of the headline ratios and of `coverage_80`."""
        evaluation = self.evaluation(ticker)
        found = {key: ratio_interval_of(evaluation, metric, other) for key, (metric, other) in HEADLINES.items()}
        cases = list(self.cases.values()) if ticker is None else [self.cases[ticker]]
        return {**found, "coverage_80": coverage_interval(cases, LSTM)}

    def against(self, ticker: str | None = None) -> pd.DataFrame:
        """The LSTM against each other contender, one row each.

        Columns: contender, rmse_ratio, rmse_low, rmse_high, pinball_ratio, pinball_low, pinball_high.
        """
        evaluation = self.evaluation(ticker)
        rows = []
        for name in evaluation.contenders:
            if name == LSTM:
                continue
            rmse, pinball = (ratio_interval_of(evaluation, metric, name) for metric in ("rmse", "pinball"))
            rows.append(
                {
                    "contender": name,
                    "rmse_ratio": evaluation.rmse_ratio(LSTM, name),
                    "rmse_low": rmse[0],
                    "rmse_high": rmse[1],
                    "pinball_ratio": evaluation.pinball_ratio(LSTM, name),
                    "pinball_low": pinball[0],
                    "pinball_high": pinball[1],
                }
            )
        return pd.DataFrame(rows)

    def scores(self, ticker: str | None = None) -> pd.DataFrame:
        """Every metric of every contender over all horizons: the pooled rows of `Evaluation.table`."""
        table = self.evaluation(ticker).table()
        return table[table["horizon"] == POOLED].drop(columns="horizon").reset_index(drop=True)


def ratio_interval_of(evaluation: Evaluation, metric: str, other: str) -> tuple[float, float]:
    """95 % interval of the LSTM's ratio to `other` in "rmse" or "pinball"."""
    interval = evaluation.rmse_ratio_interval if metric == "rmse" else evaluation.pinball_ratio_interval
    return interval(LSTM, other)


def default_start(histories: Mapping[str, History], end: date, config: ModelConfig) -> date:
    """January of DEFAULT_YEARS before `end`'s year, later if a ticker's history begins too late for that.

    Raises:
        StockcastError: if a history is too short to judge a single day.
    """
    start = date(end.year - DEFAULT_YEARS, 1, 1)
    for history in histories.values():
        origin = first_origin(history, config)
        if origin >= len(history) - HORIZON:
            raise StockcastError(too_early(history, config, start))
        start = max(start, history.dates[origin].date())
    return start


def walk_forward(
    bars: Mapping[str, pd.DataFrame],
    start: date | None,
    end: date,
    config: ModelConfig | None = None,
    *,
    statistical: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> WalkForward:
    """Judge every contender on every session of every ticker from `start` to `end` whose outcomes are known.

    Each calendar year has its own fit, which knows nothing after the year's start; training, validation and judged
    rows are a purge apart (`evaluation.yearly`).

    Args:
        bars: per ticker all bars from its first stored one, HORIZON sessions beyond `end` if there are.
        start: first as-of day; `default_start` if None.
        end: last as-of day.
        config: the LSTM's hyper-parameters; the defaults if None.
        statistical: AutoETS, Theta and GJR-GARCH-t as well.
        workers: training processes; one per core if None.
        progress: called after each fit.

    Raises:
        StockcastError: if there is no ticker, a history is too short, or the extra `stats` is asked for and missing.
    """
    if not bars:
        raise StockcastError("There is no ticker to evaluate: name at least one.")
    if statistical:
        require_stats()
    config = config or ModelConfig()
    histories = {ticker: prepare(of_ticker) for ticker, of_ticker in bars.items()}
    start = start or default_start(histories, end, config)
    folds = {ticker: yearly(history, start, end, config) for ticker, history in histories.items()}
    fits_in_all = sum(len(of_ticker) for of_ticker in folds.values())
    steps = fits_in_all * (2 if statistical else 1)

    def done(what: str, count: int) -> None:
        if progress is not None:
            progress(what, count, steps)

    fits = fit_folds(folds, bars, config, workers=workers, progress=lambda ticker, count, _: done(ticker, count))
    cases = {ticker: walk_forward_cases(histories[ticker], folds[ticker], fits[ticker], config)[0] for ticker in bars}
    if statistical:
        count = fits_in_all
        for ticker, of_ticker in folds.items():
            forecasts = []
            for fold in of_ticker:
                forecasts.append(_statistical_forecasts(histories[ticker], fold))
                count += 1
                done(f"{ticker} (AutoETS, Theta, GARCH)", count)
            joined = {name: _joined([each[name] for each in forecasts]) for name in forecasts[0]}
            cases[ticker] = replace(cases[ticker], forecasts={**cases[ticker].forecasts, **joined})
    return WalkForward(config, {ticker: len(of_ticker) for ticker, of_ticker in folds.items()}, cases)


def _statistical_forecasts(history: History, fold: Fold) -> dict[str, Forecast]:
    fitted = fit_statistical(history, fold.known)
    return {name: contender.predict(history, fold.test) for name, contender in fitted.items()}


def _joined(forecasts: list[Forecast]) -> Forecast:
    return Forecast(
        np.concatenate([each.quantiles for each in forecasts]), np.concatenate([each.point for each in forecasts])
    )
