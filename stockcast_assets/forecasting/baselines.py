"""The naive forecasts a model has to beat, and the HAR volatility it builds on.

Every contender, the LSTM included, has one shape: `predict(history, rows)` gives a `Forecast` of the log
returns over the next 1..HORIZON sessions for each as-of row. Every naive contender is a scale times fixed
quantiles, both learnt from the rows it was fitted on.
"""

from dataclasses import dataclass
from functools import reduce
from statistics import NormalDist
from typing import ClassVar, Literal, Protocol

import numpy as np

from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.forecasting.features import History
from stockcast_assets.market.indicators import Floats

Rows = np.ndarray
_STEPS = np.arange(1, HORIZON + 1, dtype=np.float64)
_MIN_HAR_ROWS = 250
_EWMA_COLUMN = -2


@dataclass(frozen=True)
class Forecast:
    """Log returns from the as-of close: `quantiles` [n, HORIZON, len(QUANTILES)] and `point` [n, HORIZON]."""

    quantiles: Floats
    point: Floats


class Contender(Protocol):
    """Anything fitted that forecasts."""

    def predict(self, history: History, rows: Rows) -> Forecast: ...


@dataclass(frozen=True)
class HarVolatility:
    """Standard deviation of the h-session log return, h = 1..HORIZON, as log-linear HAR (Corsi, 2009).

    `coefficients` [HORIZON, regressors] of the log mean daily variance over the horizon on `History.har`.
    """

    name: ClassVar[str] = "har"
    coefficients: Floats

    def sigma(self, history: History, rows: Rows) -> Floats:
        """[n, HORIZON]; each row's bits are its own, whatever rows share the call."""
        x = history.har[rows]
        terms = (x[:, k, None] * self.coefficients[None, :, k] for k in range(x.shape[1]))
        return np.sqrt(_STEPS * np.exp(reduce(np.add, terms)))


def fit_har(history: History, rows: Rows) -> HarVolatility:
    """Least squares per horizon on `rows`; EWMA variance as it is while there are fewer than 250 of them.

    The level is set so that targets over sigma have mean square 1 on `rows`.
    """
    x = history.har[rows]
    coefficients = np.zeros((HORIZON, x.shape[1]))
    if len(rows) < _MIN_HAR_ROWS:
        coefficients[:, _EWMA_COLUMN] = 1.0
    else:
        cumulative = np.concatenate(([0.0], np.cumsum(history.variance)))
        future = np.column_stack([(cumulative[rows + 1 + h] - cumulative[rows + 1]) / h for h in range(1, HORIZON + 1)])
        coefficients[:] = np.linalg.lstsq(x, np.log(future), rcond=None)[0].T
    level = (history.targets[rows] / HarVolatility(coefficients).sigma(history, rows)) ** 2
    coefficients[:, 0] += np.log(np.maximum(level.mean(axis=0), 1e-6))
    return HarVolatility(coefficients)


@dataclass(frozen=True)
class PlainVolatility:
    """A volatility without coefficients: one of `History`'s times √h, or "constant", which is 1 everywhere."""

    name: Literal["constant", "ewma", "std_60", "std_250"]

    def sigma(self, history: History, rows: Rows) -> Floats:
        """[n, HORIZON]"""
        if self.name == "constant":
            return np.ones((len(rows), HORIZON))
        return getattr(history, self.name)[rows, None] * np.sqrt(_STEPS)


@dataclass(frozen=True)
class Naive:
    """A naive forecast: `shape` [HORIZON, quantiles] in units of a volatility."""

    volatility: HarVolatility | PlainVolatility
    shape: Floats

    def predict(self, history: History, rows: Rows) -> Forecast:
        quantiles = self.volatility.sigma(history, rows)[:, :, None] * self.shape
        return Forecast(quantiles, quantiles[:, :, MEDIAN])


_NORMAL = np.array([NormalDist().inv_cdf(level) for level in QUANTILES]) * np.ones((HORIZON, 1))


def fit_random_walk(returns: Floats) -> Naive:
    """The last close, with normal quantiles of the constant volatility of daily log `returns`."""
    spread = float(returns.std(ddof=1)) * np.sqrt(_STEPS)[:, None]
    return Naive(PlainVolatility("constant"), spread * _NORMAL)


def fit_naive(history: History, rows: Rows, har: HarVolatility) -> dict[str, Naive]:
    """Every naive contender, fitted on `rows` (whose targets must be known), as `har` was.

    - random_walk: the last close, with normal quantiles of a constant volatility (standard deviation · √h)
    - drift: the same moved by the mean daily return · h
    - vol60, vol250: the last close, with normal quantiles of the last 60 / 250 returns' volatility · √h
    - fhs: filtered historical simulation (Barone-Adesi et al., 1999): EWMA volatility · √h times the
      quantiles of what it standardised on `rows`
    - har: the same over the HAR volatility
    """
    daily = history.targets[rows, 0]
    walk = fit_random_walk(daily)

    def simulated(volatility: HarVolatility | PlainVolatility) -> Naive:
        standardised = history.targets[rows] / volatility.sigma(history, rows)
        return Naive(volatility, np.quantile(standardised, QUANTILES, axis=0).T)

    return {
        "random_walk": walk,
        "drift": Naive(walk.volatility, walk.shape + float(daily.mean()) * _STEPS[:, None]),
        "vol60": Naive(PlainVolatility("std_60"), _NORMAL),
        "vol250": Naive(PlainVolatility("std_250"), _NORMAL),
        "fhs": simulated(PlainVolatility("ewma")),
        "har": simulated(har),
    }
