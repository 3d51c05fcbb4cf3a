"""The same invented cases twice: as an evaluation has them, and as they are published and scored."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.config import MEDIAN
from stockcast_assets.forecasting.evaluation.scores import Cases, Evaluation, evaluate
from stockcast_assets.forecasting.models.baselines import Forecast
from stockcast_assets.methods import BESIDE, LSTM
from stockcast_assets.monitoring.accuracy import score
from stockcast_assets.tables import (
    BESIDE_COLUMNS,
    HORIZON,
    PINBALL_COLUMNS,
    QUANTILE_COLUMNS,
    QUANTILES,
    SIGMA_COLUMNS,
)

NORMAL = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])


@dataclass(frozen=True)
class Invented:
    """A ticker's forecasts of consecutive days.

    Attributes:
        cases: as an evaluation has them, the published forecast as LSTM.
        forecasts: rows of `forecasts`.
        bars: up to the last target session.
    """

    cases: Cases
    forecasts: pd.DataFrame
    bars: pd.DataFrame

    @property
    def said(self) -> np.ndarray:
        """[days, HORIZON, quantiles] of the log returns, as published."""
        values: np.ndarray = self.cases.forecasts[LSTM].quantiles
        return values

    def scored(self, late: bool | None = None) -> pd.DataFrame:
        """Rows of `forecast_accuracy`."""
        return score(self.forecasts.assign(late=late, revision=0), self.bars, [d.date() for d in self.bars["date"]])


def invented(seed: int, days: int, ticker: str = "ANY", wild: float = 1.0) -> Invented:
    """Any quantiles of any closes."""
    rng = np.random.default_rng(seed)
    dates = pd.bdate_range("2012-01-02", periods=days + HORIZON)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02 * wild, len(dates))))
    at = np.arange(days)
    ahead = at[:, None] + np.arange(1, HORIZON + 1)
    said = {name: np.sort(rng.normal(0, 0.05, (days, HORIZON, len(QUANTILES))), axis=2) for name in (LSTM, *BESIDE)}
    said |= {name: rng.uniform(0.01, 0.1, (days, HORIZON, 1)) * NORMAL for name in SIGMA_COLUMNS}
    prices = {
        name: (close[at, None, None] * np.exp(values)).reshape(-1, len(QUANTILES)) for name, values in said.items()
    }
    made = pd.DataFrame({"ticker": ticker, "date": dates[at].repeat(HORIZON)})
    made["horizon"] = np.tile(np.arange(1, HORIZON + 1), days)
    made["target_date"] = dates[ahead.ravel()]
    made["last_close"] = made["naive_close"] = close[at].repeat(HORIZON)
    made[list(QUANTILE_COLUMNS)] = prices[LSTM]
    for name, columns in BESIDE_COLUMNS.items():
        made[list(columns)] = prices[name]
    for name, column in SIGMA_COLUMNS.items():
        made[column] = (said[name][:, :, -1] / NORMAL[-1]).ravel()
    cases = Cases(
        dates[at],
        np.log(close[ahead] / close[at, None]),
        np.ones(HORIZON),
        {name: Forecast(values, values[:, :, MEDIAN]) for name, values in said.items()},
    )
    return Invented(cases, made, pd.DataFrame({"ticker": ticker, "date": dates, "close": close, "split_ratio": 1.0}))


def evaluated(forecasts: pd.DataFrame, bars: pd.DataFrame) -> Evaluation:
    """Stored forecasts as an evaluation judges them, whole days of any tickers beside bars without splits."""
    cases = []
    for ticker, rows in forecasts.sort_values(["ticker", "date", "horizon"]).groupby("ticker"):
        close = bars[bars["ticker"] == ticker].set_index("date")["close"]
        last = rows["last_close"].to_numpy()[:, None]
        said = {name: rows[[column]].to_numpy() * NORMAL for name, column in SIGMA_COLUMNS.items()}
        for name, columns in {LSTM: QUANTILE_COLUMNS, **BESIDE_COLUMNS}.items():
            said[name] = np.log(rows[list(columns)].to_numpy() / last)
        came = np.log(close.loc[rows["target_date"]].to_numpy() / close.loc[rows["date"]].to_numpy())
        quantiles = {name: values.reshape(-1, HORIZON, len(QUANTILES)) for name, values in said.items()}
        cases.append(
            Cases(
                pd.DatetimeIndex(rows["date"].unique()),
                came.reshape(-1, HORIZON),
                np.ones(HORIZON),
                {name: Forecast(values, values[:, :, MEDIAN]) for name, values in quantiles.items()},
            )
        )
    return evaluate(cases)


def assert_scored_as_evaluated(scored: pd.DataFrame, evaluation: Evaluation) -> None:
    """The means of `forecast_accuracy` rows are what an evaluation of the same cases says, to 1e-9."""
    table = evaluation.table().set_index(["contender", "horizon"])
    by_horizon = scored.groupby("horizon")
    for name, column in {LSTM: "pinball", **PINBALL_COLUMNS}.items():
        wanted = [table.loc[(name, horizon), "pinball"] for horizon in range(1, HORIZON + 1)]
        assert by_horizon[column].mean().tolist() == pytest.approx(wanted, rel=0, abs=1e-9)
        assert scored[column].mean() == pytest.approx(table.loc[(name, 0), "pinball"], rel=0, abs=1e-9)
    for column, metric in (("crps", "crps"), ("inside_80", "coverage_80")):
        wanted = [table.loc[(LSTM, horizon), metric] for horizon in range(1, HORIZON + 1)]
        assert by_horizon[column].mean().tolist() == pytest.approx(wanted, rel=0, abs=1e-9)
