"""Volatilities of the next 1..HORIZON returns: plain ones, HAR, and HAR with the pattern of the quarter.

Each has `sigma(history, rows)`, [n, HORIZON] standard deviations of the h-session log return as of each row. Row t is
a function of the bars up to t and of coefficients, and its bits are its own, whatever rows share the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, Protocol

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.one_thread import one_thread
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import HAR, HAR_QUARTERLY

_MIN_ROWS = 250
"""Rows below which nothing but a level is estimated: HAR is EWMA then, and the quarter has no pattern."""

_EWMA_COLUMN = -2

QUARTER_DAYS = 92
_MEAN_QUARTER_DAYS = 365.25 / 4
_BANDWIDTH_DAYS = 5.0
"""Companies report within a few days of the same time each quarter, not on the same day."""

_PRIOR_SESSIONS = 10.0
"""Sessions as usual as any, in the average of every day of the quarter: a third of what a year adds to it."""

_LARGEST = 6.0
"""Median moves that a larger one counts as (four standard deviations if they are normal), so that one crash is no
pattern."""


PlainName = Literal["constant", "ewma", "std_60", "std_250"]

_WINDOWS: Mapping[PlainName, int] = {"std_60": 60, "std_250": 250}


@cache
def steps() -> Floats:
    """1..HORIZON, the sessions ahead."""
    return np.arange(1, HORIZON + 1, dtype=np.float64)


def ahead(days: np.ndarray) -> np.ndarray:
    """[n, HORIZON] the weekdays that stand for the next sessions of each of `days` [n], datetime64[D].

    A holiday more or less is nothing beside the uncertainty of what is expected on them, and whether the bars of those
    days are there already makes no difference.
    """
    values: np.ndarray = np.busday_offset(days[:, None], np.arange(1, HORIZON + 1), roll="backward")
    return values


class Volatility(Protocol):
    """Anything fitted that gives standard deviations."""

    @property
    def name(self) -> str: ...

    def sigma(self, history: History, rows: Rows) -> Floats: ...


@dataclass(frozen=True)
class PlainVolatility:
    """A volatility without coefficients: one of `History`'s times √h, or "constant", which is 1 everywhere."""

    name: PlainName

    def sigma(self, history: History, rows: Rows) -> Floats:
        """[n, HORIZON]"""
        if self.name == "constant":
            return np.ones((len(rows), HORIZON))
        daily = history.ewma[rows] if self.name == "ewma" else history.std(_WINDOWS[self.name], rows)
        values: Floats = daily[:, None] * np.sqrt(steps())
        return values


@dataclass(frozen=True)
class HarVolatility:
    """Standard deviation of the h-session log return, h = 1..HORIZON, as log-linear HAR (Corsi, 2009).

    `coefficients` [HORIZON, regressors] of the log mean daily variance over the horizon on `History.har`.
    """

    name: ClassVar[str] = HAR
    coefficients: Floats

    def sigma(self, history: History, rows: Rows) -> Floats:
        """[n, HORIZON]"""
        values: Floats = np.sqrt(steps() * np.exp(linear(history.har[rows], self.coefficients)))
        return values


def linear(regressors: Floats, coefficients: Floats) -> Floats:
    """[n, HORIZON] of [n, k] and [HORIZON, k], added up one regressor after the other: a row's bits are its own."""
    return np.cumsum(regressors[:, :, None] * coefficients.T, axis=1)[:, -1]


@one_thread()
def fit_har(history: History, rows: Rows) -> HarVolatility:
    """Least squares per horizon on `rows`; EWMA variance as it is while there are fewer than 250 of them.

    The level is set so that targets over sigma have mean square 1 on `rows`.
    """
    x = history.har[rows]
    coefficients = np.zeros((HORIZON, x.shape[1]))
    if len(rows) < _MIN_ROWS:
        coefficients[:, _EWMA_COLUMN] = 1.0
    else:
        cumulative = np.concatenate(([0.0], np.cumsum(history.variance)))
        future = np.column_stack([(cumulative[rows + 1 + h] - cumulative[rows + 1]) / h for h in range(1, HORIZON + 1)])
        coefficients[:] = np.linalg.lstsq(x, np.log(future), rcond=None)[0].T
    level = (history.targets[rows] / HarVolatility(coefficients).sigma(history, rows)) ** 2
    coefficients[:, 0] += np.log(np.maximum(level.mean(axis=0), 1e-6))
    return HarVolatility(coefficients)


@dataclass(frozen=True)
class QuarterlyHar:
    """HAR times the pattern of the quarter: companies report at nearly the same time of each.

    Prices move most when results come out (Beaver, 1968), and the date is roughly known long before; HAR only sees what
    has happened. So the variance is a HAR's times a periodic factor (Andersen & Bollerslev, 1997, for the hours of a
    day).

    Attributes:
        har: the volatility without the pattern.
        pattern: [92] variance over the HAR's by day of the calendar quarter; about 1 on average.
    """

    name: ClassVar[str] = HAR_QUARTERLY
    har: HarVolatility
    pattern: Floats

    def sigma(self, history: History, rows: Rows) -> Floats:
        """[n, HORIZON]"""
        coming = ahead(_days(history)[rows])
        factor = np.cumsum(self.pattern[day_of_quarter(coming)], axis=1) / steps()
        return self.har.sigma(history, rows) * np.sqrt(factor)


@one_thread()
def fit_quarterly_har(history: History, rows: Rows) -> QuarterlyHar:
    """`fit_har`, and the pattern of what the sessions after `rows` (whose targets must be known) did beside it.

    For each day of the quarter the mean squared return in units of the HAR's sigma, in a Gaussian kernel around that
    day over all quarters; without pattern below 250 rows, or if most sessions do not move at all.
    """
    har = fit_har(history, rows)
    moves = np.abs(history.targets[rows, 0] / har.sigma(history, rows)[:, 0])
    median = np.median(moves)
    if len(rows) < _MIN_ROWS or median == 0:
        return QuarterlyHar(har, np.ones(QUARTER_DAYS))
    squares = np.minimum(moves / median, _LARGEST) ** 2
    apart = np.abs(np.arange(QUARTER_DAYS)[:, None] - day_of_quarter(_days(history)[rows + 1]))
    apart = np.minimum(apart, _MEAN_QUARTER_DAYS - apart)
    kernel = np.exp(-0.5 * (apart / _BANDWIDTH_DAYS) ** 2)
    usual = squares.mean()
    means = (kernel @ squares + _PRIOR_SESSIONS * usual) / (kernel.sum(axis=1) + _PRIOR_SESSIONS)
    return QuarterlyHar(har, means / usual)


def day_of_quarter(days: np.ndarray) -> np.ndarray:
    """Days since the calendar quarter began, 0..91, of datetime64[D] values."""
    months = days.astype("datetime64[M]")
    begins = months - months.astype(np.int64) % 3
    values: np.ndarray = (days - begins.astype("datetime64[D]")).astype(np.int64)
    return values


def _days(history: History) -> np.ndarray:
    return history.dates.to_numpy().astype("datetime64[D]")
