"""Where the network starts from: HAR, averaged with a HAR of all tickers that sees the market, times the reports.

sigma0 = sqrt(own HAR x pooled HAR) x the event factor. HAR: Corsi (2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import Rows
from stockcast_assets.forecasting.models.network import pooled_shape
from stockcast_assets.forecasting.models.volatility import HarVolatility, fit_har, linear
from stockcast_assets.forecasting.models.volatility import steps as session_steps
from stockcast_assets.forecasting.one_thread import one_thread
from stockcast_assets.forecasting.universe.earnings import (
    EventFactor,
    Offsets,
    fit_event_factors,
    own_factor,
    settled_offsets,
)
from stockcast_assets.forecasting.universe.inputs import LEVELLED, Series
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import HAR, HAR_EARNINGS, MIX, MIX_EARNINGS

MARKET_WINDOWS = 3
"""The market's mean log variances of 1, 5 and 22 sessions are regressors."""


@dataclass(frozen=True)
class Pooled:
    """What all training tickers say together.

    Attributes:
        coefficients: [HORIZON, regressors] of the pooled HAR.
        har_factor, mix_factor: [offsets] the event factors beside each of the two volatilities.
        shape: [HORIZON, quantiles] of targets over their start's sigma, the mean of all tickers whose prices moved. No
            start needs it, and `prepare_training` adds it; None in files of releases in which each ticker had its own.
    """

    coefficients: Floats
    har_factor: Floats
    mix_factor: Floats
    shape: Floats | None = None


@dataclass(frozen=True)
class Start:
    """A ticker's volatilities, each with targets over sigma of mean square 1 on the rows it was fitted on.

    Attributes:
        har: its own HAR.
        pooled: the HAR of all.
        level: mean log variance on the fitted rows.
        market_level: [MARKET_WINDOWS] means of the market's regressors there.
        pooled_scale, mix_scale, scale, har_scale: [HORIZON] levels of the pooled HAR, of its mix with the own one, of
            the mix with reports and of the own one with reports.
        factor, har_factor: the event factors.
    """

    har: HarVolatility
    pooled: Pooled
    level: float
    market_level: Floats
    pooled_scale: Floats
    mix_scale: Floats
    factor: EventFactor
    har_factor: EventFactor
    scale: Floats
    har_scale: Floats

    def sigma(self, series: Series, rows: Rows) -> Floats:
        """[n, HORIZON] standard deviations of the next 1..HORIZON returns: the network's starting point."""
        return self.sigmas(series, rows)[MIX_EARNINGS]

    def sigmas(self, series: Series, rows: Rows) -> dict[str, Floats]:
        """[n, HORIZON] by name, each step of the way."""
        own = self.har.sigma(series.history, rows)
        regressors = _regressors(series, rows, self.level, self.market_level)
        of_all = _pooled_sigma(regressors, self.pooled.coefficients, self.level) * self.pooled_scale
        mix = np.sqrt(own * of_all) * self.mix_scale
        return {
            HAR: own,
            MIX: mix,
            HAR_EARNINGS: self._with_reports(own, series, rows),
            MIX_EARNINGS: mix * np.sqrt(self.factor.mean(series.offsets[rows])) * self.scale,
        }

    def har_earnings(self, series: Series, rows: Rows) -> Floats:
        """[n, HORIZON] HAR_EARNINGS of `sigmas` alone, in a third of the time."""
        return self._with_reports(self.har.sigma(series.history, rows), series, rows)

    def _with_reports(self, own: Floats, series: Series, rows: Rows) -> Floats:
        return own * np.sqrt(self.har_factor.mean(series.offsets[rows])) * self.har_scale

    def head(self, series: Series, rows: Rows, sigma: Floats) -> Floats:
        """[n, HORIZON, 15] what the network's head is told of each horizon, of `sigma` [n, HORIZON]."""
        factor = np.log(self.factor.mean(series.offsets[rows]))
        relative = np.log(sigma / np.sqrt(session_steps())) - 0.5 * self.level
        horizon = np.broadcast_to(session_steps() / HORIZON, factor.shape)
        return np.concatenate([series.head(rows), np.stack([factor, relative, horizon], axis=-1)], axis=-1)

    def steps(self, series: Series) -> Floats:
        """[all sessions, inputs]"""
        steps = series.steps.copy()
        steps[:, :LEVELLED] -= self.level
        return steps


def future_variance(series: Series, rows: Rows) -> Floats:
    """[n, HORIZON] mean daily variance of the next h sessions."""
    cumulative = np.concatenate(([0.0], np.cumsum(series.history.variance)))
    return np.column_stack([(cumulative[rows + 1 + h] - cumulative[rows + 1]) / h for h in range(1, HORIZON + 1)])


def level_of(series: Series, rows: Rows, sigma: Floats) -> Floats:
    """[HORIZON] what `sigma` is times for targets over it to have mean square 1 on `rows`."""
    values: Floats = np.sqrt(np.maximum(((series.history.targets[rows] / sigma) ** 2).mean(axis=0), 1e-6))
    return values


def shape_of(series: Series, rows: Rows, sigma: Floats) -> Floats:
    """[HORIZON, quantiles] of targets over `sigma` on `rows`, the spread pooled over the horizons."""
    return pooled_shape(np.quantile(series.history.targets[rows] / sigma, QUANTILES, axis=0).T)


@one_thread()
def fit_starts(series: Mapping[str, Series], rows: Mapping[str, Rows]) -> tuple[Pooled, dict[str, Start]]:
    """The starts of all training tickers on `rows`, whose targets must be known."""
    regressors, outcomes = [], []
    for ticker in sorted(series):
        one, known = series[ticker], rows[ticker]
        level, market_level = _levels(one, known)
        regressors.append(_regressors(one, known, level, market_level))
        outcomes.append(np.log(future_variance(one, known)) - level)
    x, y = np.concatenate(regressors), np.concatenate(outcomes)
    complete = np.isfinite(x).all(axis=1)
    coefficients: Floats = np.linalg.lstsq(x[complete], y[complete], rcond=None)[0].T.astype(np.float64)
    parts = {ticker: _Mixed.fit(one, rows[ticker], coefficients) for ticker, one in series.items()}
    of = {ticker: one.offsets[rows[ticker], 0] for ticker, one in series.items()}
    settled = {ticker: _settled(one, rows[ticker]) for ticker, one in series.items()}
    ordered = sorted(series)
    _, mix_factor = fit_event_factors({t: parts[t].moves_mix for t in ordered}, of, settled)
    _, har_factor = fit_event_factors({t: parts[t].moves_har for t in ordered}, of, settled)
    pooled = Pooled(coefficients, har_factor, mix_factor)
    return pooled, {ticker: _start(one, rows[ticker], pooled, parts[ticker]) for ticker, one in series.items()}


def fit_start(series: Series, rows: Rows, pooled: Pooled) -> Start:
    """The start of a ticker that the pooled fit may never have seen."""
    return _start(series, rows, pooled, _Mixed.fit(series, rows, pooled.coefficients))


def _start(series: Series, rows: Rows, pooled: Pooled, part: _Mixed) -> Start:
    offsets, settled = series.offsets[rows], _settled(series, rows)
    factor = own_factor(part.moves_mix, offsets[:, 0], settled, pooled.mix_factor)
    har_factor = own_factor(part.moves_har, offsets[:, 0], settled, pooled.har_factor)
    return Start(
        part.har, pooled, part.level, part.market_level, part.pooled_scale, part.mix_scale, factor, har_factor,
        level_of(series, rows, part.mix * np.sqrt(factor.mean(offsets))),
        level_of(series, rows, part.own * np.sqrt(har_factor.mean(offsets))),
    )  # fmt: skip


def _settled(series: Series, rows: Rows) -> Offsets:
    days = series.history.dates[rows].to_numpy().astype("datetime64[D]")
    return settled_offsets(days, series.reports, days[-1])


@dataclass(frozen=True)
class _Mixed:
    """A ticker's volatilities without reports, on the fitted rows."""

    har: HarVolatility
    level: float
    market_level: Floats
    pooled_scale: Floats
    mix_scale: Floats
    own: Floats
    mix: Floats
    moves_har: Floats
    moves_mix: Floats

    @classmethod
    def fit(cls, series: Series, rows: Rows, coefficients: Floats) -> _Mixed:
        har = fit_har(series.history, rows)
        own = har.sigma(series.history, rows)
        level, market_level = _levels(series, rows)
        of_all = _pooled_sigma(_regressors(series, rows, level, market_level), coefficients, level)
        pooled_scale = level_of(series, rows, of_all)
        mix = np.sqrt(own * of_all * pooled_scale)
        mix_scale = level_of(series, rows, mix)
        next_move = np.abs(series.history.targets[rows, 0])
        mix = mix * mix_scale
        return cls(
            har, level, market_level, pooled_scale, mix_scale, own, mix, next_move / own[:, 0], next_move / mix[:, 0]
        )


def _levels(series: Series, rows: Rows) -> tuple[float, Floats]:
    level = float(np.log(series.history.variance[rows]).mean())
    return level, np.nan_to_num(series.market[rows, :MARKET_WINDOWS]).mean(axis=0)


def _regressors(series: Series, rows: Rows, level: float, market_level: Floats) -> Floats:
    own = series.history.har[rows].copy()
    own[:, 1 : 1 + LEVELLED] -= level
    return np.column_stack([own, series.market[rows, :MARKET_WINDOWS] - market_level])


def _pooled_sigma(regressors: Floats, coefficients: Floats, level: float) -> Floats:
    values: Floats = np.sqrt(session_steps() * np.exp(linear(regressors, coefficients) + level))
    return values
