"""What the network sees: every input of a session is a function of bars and reports known at its end.

A ticker's own inputs are in units of its own volatility or less its own level, so that tickers pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.features import FEATURE_NAMES, HAR_WINDOWS, History, Rows
from stockcast_assets.forecasting.models.volatility import ahead
from stockcast_assets.forecasting.models.volatility import steps as session_steps
from stockcast_assets.forecasting.universe import earnings
from stockcast_assets.forecasting.universe.earnings import FAR, REACH, Days, Offsets, Reports
from stockcast_assets.forecasting.universe.market import Market, beta, ewma, ranks
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats

LEVELLED = len(HAR_WINDOWS) + 1
"""The first inputs of a session: log variances, which count from the ticker's level."""

STEP_INPUTS, HEAD_INPUTS = 53, 15
"""Inputs of each session, and of each horizon at the network's head."""

_BUMPS = ((0.0, 1.0), (0.5, 2.5), (5.0, 3.0))
"""Centre and width, in weekdays, of what is told about a report near by: the day, the days around, the week after."""

_SHOWN_AHEAD = (0, 4, 9)
_TURN = 2
_QUARTER_TURN = 3


@dataclass(frozen=True)
class Series:
    """One ticker in its universe; n sessions.

    Attributes:
        history: its own arrays.
        market: [n, windows] the market's mean log variances, at the ticker's sessions.
        reports: its earnings reports.
        offsets: [n, HORIZON] see `earnings.offsets`.
        steps: [n, inputs] the inputs of each session; the first LEVELLED count from the ticker's level.
        ahead: [n, HORIZON, 12] what is known of the h-th session ahead: reports near by, and the calendar.
    """

    history: History
    market: Floats
    reports: Reports
    offsets: Offsets
    steps: Floats
    ahead: Floats

    def head(self, rows: Rows) -> Floats:
        """[n, HORIZON, 12] means of `ahead` over the next 1..h sessions."""
        return np.cumsum(self.ahead[rows], axis=1) / session_steps()[:, None]


@dataclass(frozen=True)
class Surroundings:
    """What a ticker's forecast depends on beside its own bars: the stored `market`, and by ticker its `reports`."""

    market: Market
    reports: Mapping[str, Reports]

    @cached_property
    def _together(self) -> tuple[Floats, Floats]:
        return self.market.means(), self.market.deviation()

    def series(self, history: History, bars: pd.DataFrame) -> Series:
        """A ticker's place in the universe.

        Args:
            history: the sessions that are needed, as `features.prepare_many` cuts them.
            bars: the ticker's from its first stored one: how it moves with the market is a recursion over all of them.

        Raises:
            StockcastError: if no day of the market is recorded.
        """
        if not len(self.market.dates):
            raise StockcastError(
                f"{history.ticker} has no market to be placed in: materialise market_days first (whatever trains or "
                f"forecasts does, as `stockcast forecast {history.ticker}`)."
            )
        of = self.reports.get(history.ticker, Reports.none())
        n = history.skipped + len(history)
        past = _Past(pd.DatetimeIndex(bars["date"].to_numpy()[:n]), np.log(bars["adj_close"].to_numpy(np.float64)[:n]))
        return _series(history, past, self.market, *self._together, of)


class _Past(NamedTuple):
    """All sessions of a ticker, and its log closes."""

    dates: pd.DatetimeIndex
    log_close: Floats


def series_of(histories: Mapping[str, History], market: Market, reports: Mapping[str, Reports]) -> dict[str, Series]:
    """Every ticker beside the market. Tickers without known reports have none in reach."""
    means, deviation = market.means(), market.deviation()
    return {
        ticker: _series(
            history,
            _Past(history.dates, history.log_close),
            market,
            means,
            deviation,
            reports.get(ticker, Reports.none()),
        )
        for ticker, history in histories.items()
    }


def _series(history: History, past: _Past, market: Market, means: Floats, deviation: Floats, of: Reports) -> Series:
    days = history.dates.to_numpy().astype("datetime64[D]")
    at = market.rows(history.dates)
    offsets = earnings.offsets(days, of)
    slope, own_part, share = (values[history.skipped :] for values in _beside_the_market(past, market))
    market_return = market.mean_return[at]
    feature = dict(zip(FEATURE_NAMES, history.features.T, strict=True))
    own = np.column_stack(
        [
            feature["log_return"] / history.ewma,
            feature["gap"] / history.ewma,
            feature["log_range"] - np.log(history.ewma),
            feature["relative_volume"],
            feature["macd_hist"] / history.ewma,
            feature["rsi"],
            feature["sma_20_distance"] / history.ewma / 4,
            feature["ema_50_distance"] / history.ewma / 6,
            feature["volatility_ratio"],
            feature["downside_return"],
        ]
    )
    together = np.column_stack(
        [market_return / deviation[at], market.dispersion[at] - np.log(deviation[at]), means[at]]
    )
    beside = np.column_stack(
        [
            ranks(history.har[:, 3], market.variance_22[at]),
            ranks(history.har[:, 2] - history.har[:, 3], market.change[at]),
            slope,
            share,
            own_part / history.ewma,
        ]
    )
    # Of a session that has come, what was known the day before.
    weekdays = earnings.plain(offsets)
    today = np.concatenate(([FAR], weekdays[:-1, 0]))
    near = _bumps(weekdays)
    told = np.column_stack([_bumps(today), *(near[:, h] for h in _SHOWN_AHEAD)])
    coming = np.concatenate([near, _calendar(ahead(days))], axis=-1)
    steps = np.column_stack([history.har[:, 1 : 1 + LEVELLED], own, together, beside, told, _calendar(days)])
    return Series(history, means[at], of, offsets, steps, coming)


def _beside_the_market(past: _Past, market: Market) -> tuple[Floats, Floats, Floats]:
    """[n] each: slope on the market's return, own part of the return, log share of that in the return's variance."""
    returns, together = np.diff(past.log_close, prepend=np.nan), market.mean_return[market.rows(past.dates)]
    slope = beta(returns, together)
    own_part = returns - slope * together
    share: Floats = np.log((ewma(own_part**2) + 1e-8) / (ewma(returns**2) + 1e-8))
    return slope, own_part, share


def _bumps(of: Offsets) -> Floats:
    """[..., 5] nearness of a report in three widths, signed distance, and whether one is in reach."""
    reached = np.abs(of) <= REACH
    bells = [np.exp(-0.5 * ((of - centre) / width) ** 2) for centre, width in _BUMPS]
    return np.stack([*bells, of / FAR * reached, reached], axis=-1)


def _calendar(days: Days) -> Floats:
    """[..., 7] weekday, turn of the month, turn of the quarter."""
    weekday = (days.astype(np.int64) + 3) % 7
    month = days.astype("datetime64[M]")
    to_end = np.busday_count(days, (month + 1).astype("datetime64[D]")) - 1
    since = np.busday_count(month.astype("datetime64[D]"), days)
    of_quarter = month.astype(np.int64) % 3
    quarter = ((of_quarter == 2) & (to_end < _QUARTER_TURN)) | ((of_quarter == 0) & (since < _TURN))
    turn = (to_end < _TURN) | (since < _TURN)
    return np.stack([*(weekday == day for day in range(5)), turn, quarter], axis=-1).astype(np.float64)
