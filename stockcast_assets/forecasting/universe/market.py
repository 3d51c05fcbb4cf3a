"""What all tickers of a day say together. A day's values are a function of the bars of its members up to that day."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from stockcast_assets.forecasting.features import EWMA_DECAY, HAR_WINDOWS, History
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats

_SEED_SESSIONS = 20
_BETA_HALF_LIFE = 126
_MIN_BETA_SESSIONS = 60


@dataclass(frozen=True)
class Market:
    """The universe over N days.

    Attributes:
        dates: [N] every session of any member, ascending.
        log_variance: [N] mean over the members of the log daily variance.
        mean_return: [N] mean log return.
        dispersion: [N] log standard deviation of the members' returns.
        members: [N] tickers with a bar.
        variance_22, change: [N, T] each member's log variance of 22 sessions, and that of 5 less it, sorted within
            each day, NaN last: what a ticker's rank is taken in.
    """

    dates: pd.DatetimeIndex
    log_variance: Floats
    mean_return: Floats
    dispersion: Floats
    members: Floats
    variance_22: Floats
    change: Floats

    def rows(self, dates: pd.DatetimeIndex) -> np.ndarray:
        """The numbers of days that the market has."""
        return self.dates.searchsorted(dates)

    def means(self, windows: tuple[int, ...] = HAR_WINDOWS) -> Floats:
        """[N, windows] mean log variance of the last sessions."""
        series = pd.Series(self.log_variance)
        return np.column_stack([series.rolling(window).mean() for window in windows])

    def deviation(self) -> Floats:
        """[N] exponentially weighted standard deviation of the mean return."""
        return np.sqrt(ewma(self.mean_return**2))


def ewma(values: Floats) -> Floats:
    """Exponentially weighted mean with RiskMetrics' decay; null for the first sessions."""
    return pd.Series(values).ewm(alpha=1 - EWMA_DECAY, min_periods=_SEED_SESSIONS).mean().to_numpy()


def market_of(histories: Mapping[str, History]) -> Market:
    """The market that these tickers are."""
    dates = pd.DatetimeIndex(np.unique(np.concatenate([one.dates.to_numpy() for one in histories.values()])))
    shape = len(dates), len(histories)
    returns, variance, month, week = (np.full(shape, np.nan) for _ in range(4))
    # In one order, whatever order the tickers came in: sums depend on it in their last bits.
    for column, ticker in enumerate(sorted(histories)):
        history = histories[ticker]
        rows = dates.searchsorted(history.dates)
        returns[rows, column] = np.diff(history.log_close, prepend=np.nan)
        variance[rows, column] = np.log(history.variance)
        week[rows, column], month[rows, column] = history.har[:, 2], history.har[:, 3]
    with warnings.catch_warnings():
        # The first day has no return.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean_return, spread = np.nanmean(returns, axis=1), np.nanstd(returns, axis=1)
    return Market(
        dates,
        np.nanmean(variance, axis=1),
        mean_return,
        np.log(spread + 1e-5),
        np.isfinite(variance).sum(axis=1).astype(np.float64),
        np.sort(month, axis=1),
        np.sort(week - month, axis=1),
    )


def ranks(values: Floats, among: Floats) -> Floats:
    """[n] the share of each day's `among` [n, T] below a value, less one half; ties count half. NaN for none."""
    counted = np.isfinite(among).sum(axis=1)
    below = (among < values[:, None]).sum(axis=1) + 0.5 * (among == values[:, None]).sum(axis=1)
    share = below / np.maximum(counted, 1) - 0.5
    return np.where(np.isfinite(values) & (counted > 0), share, np.nan)


def beta(returns: Floats, market: Floats) -> Floats:
    """[n] exponentially weighted slope of a ticker's returns on the market's."""

    def mean(values: Floats) -> Floats:
        weighted = pd.Series(values).ewm(halflife=_BETA_HALF_LIFE, min_periods=_MIN_BETA_SESSIONS)
        return weighted.mean().to_numpy()

    return mean(returns * market) / np.maximum(mean(market * market), 1e-12)
