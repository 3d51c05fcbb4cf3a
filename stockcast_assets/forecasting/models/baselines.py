"""The naive forecasts a model has to beat.

Every contender, the LSTM included, has one shape: `predict(history, rows)` gives a `Forecast` of the log
returns over the next 1..HORIZON sessions for each as-of row. Every naive contender is a scale times fixed
quantiles, both learnt from the rows it was fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Protocol

from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.models.tails import normal_tails, tails_of
from stockcast_assets.forecasting.models.volatility import (
    HarVolatility,
    PlainVolatility,
    QuarterlyHar,
    Volatility,
    fit_quarterly_har,
    steps,
)
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import DRIFT, FHS, RANDOM_WALK, VOL60, VOL250


@dataclass(frozen=True)
class Forecast:
    """Log returns from the as-of close: `quantiles` [n, HORIZON, len(QUANTILES)] and `point` [n, HORIZON]."""

    quantiles: Floats
    point: Floats


class Contender(Protocol):
    """Anything fitted that forecasts."""

    def predict(self, history: History, rows: Rows) -> Forecast: ...


@dataclass(frozen=True)
class Naive:
    """A naive forecast: `shape` [HORIZON, quantiles] in units of a volatility.

    `tails` [HORIZON, 2] as in `models.tails`; None in files of releases that had none.
    """

    volatility: Volatility
    shape: Floats
    tails: Floats | None = None

    def predict(self, history: History, rows: Rows) -> Forecast:
        quantiles = self.volatility.sigma(history, rows)[:, :, None] * self.shape
        return Forecast(quantiles, quantiles[:, :, MEDIAN])


@cache
def _normal() -> Floats:
    """[HORIZON, quantiles] of the standard normal distribution."""
    return np.array([NormalDist().inv_cdf(level) for level in QUANTILES]) * np.ones((HORIZON, 1))


def fit_random_walk(returns: Floats) -> Naive:
    """The last close, with normal quantiles of the constant volatility of daily log `returns`."""
    spread = float(returns.std(ddof=1)) * np.sqrt(steps())[:, None]
    return Naive(PlainVolatility("constant"), spread * _normal(), normal_tails())


def fit_naive(history: History, rows: Rows) -> dict[str, Naive]:
    """Every naive contender, fitted on `rows` (whose targets must be known).

    - random_walk: the last close, with normal quantiles of a constant volatility (standard deviation · √h)
    - drift: the same moved by the mean daily return · h
    - vol60, vol250: the last close, with normal quantiles of the last 60 / 250 returns' volatility · √h
    - fhs: filtered historical simulation (Barone-Adesi et al., 1999): EWMA volatility · √h times the
      quantiles of what it standardised on `rows`
    - har, har_quarterly: the same over the HAR volatility, without and with the pattern of the quarter
    """
    quarterly = fit_quarterly_har(history, rows)
    daily = history.targets[rows, 0]
    walk = fit_random_walk(daily)

    def simulated(volatility: Volatility) -> Naive:
        standardised = history.targets[rows] / volatility.sigma(history, rows)
        return Naive(volatility, np.quantile(standardised, QUANTILES, axis=0).T, tails_of(standardised))

    return {
        RANDOM_WALK: walk,
        DRIFT: Naive(walk.volatility, walk.shape + float(daily.mean()) * steps()[:, None], normal_tails()),
        VOL60: Naive(PlainVolatility("std_60"), _normal(), normal_tails()),
        VOL250: Naive(PlainVolatility("std_250"), _normal(), normal_tails()),
        FHS: simulated(PlainVolatility("ewma")),
        HarVolatility.name: simulated(quarterly.har),
        QuarterlyHar.name: simulated(quarterly),
    }
