"""What the network sees: every input of a session is a function of bars and reports known at its end.

A ticker's own inputs are in units of its own volatility or less its own level, so that tickers pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.features import FEATURE_NAMES, HAR_WINDOWS, History, Rows
from stockcast_assets.forecasting.models.volatility import ahead
from stockcast_assets.forecasting.models.volatility import steps as session_steps
from stockcast_assets.forecasting.universe import earnings
from stockcast_assets.forecasting.universe.earnings import FAR, REACH, Days, Offsets, Reports
from stockcast_assets.forecasting.universe.market import Market, betas, ewmas, ranks
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats

LEVELLED = len(HAR_WINDOWS) + 1
"""The first inputs of a session: log variances, which count from the ticker's level."""

STEP_INPUTS, HEAD_INPUTS = 53, 15
"""Inputs of each session, and of each horizon at the network's head."""

_BUMPS = ((0.0, 1.0), (0.5, 2.5), (5.0, 3.0))
"""Centre and width, in weekdays, of what is told about a report near by: the day, the days around, the week after."""

_SHOWN_AHEAD = (0, 4, 9)

_TOGETHER = 32
"""Tickers whose sessions are arrays together: more would leave the processor's cache."""

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
        """A ticker's place in the universe; see `series_of_many`."""
        return self.series_of_many([history], [bars])[0]

    def series_of_many(self, histories: Sequence[History], bars: Sequence[pd.DataFrame]) -> list[Series]:
        """Each ticker's place in the universe: the same bits as alone, in a fraction of the time.

        Args:
            histories: the sessions that are needed, as `features.prepare_many` cuts them.
            bars: each ticker's from its first stored one: how it moves with the market is a recursion over all of them.

        Raises:
            StockcastError: if no day of the market is recorded.
        """
        if len(histories) and not len(self.market.dates):
            ticker = histories[0].ticker
            raise StockcastError(
                f"{ticker} has no market to be placed in: materialise market_days first (whatever trains or "
                f"forecasts does, as `stockcast forecast {ticker}`)."
            )
        pasts = [
            _Past(of["date"].to_numpy()[:end], np.log(of["adj_close"].to_numpy(np.float64)[:end]))
            for of, end in zip(bars, (one.skipped + len(one) for one in histories), strict=True)
        ]
        reports = [self.reports.get(one.ticker, Reports.none()) for one in histories]
        return _placed(histories, pasts, self.market, *self._together, reports)


class _Past(NamedTuple):
    """All sessions of a ticker, [n] datetime64, and its log closes, [n]."""

    dates: np.ndarray
    log_close: Floats


def series_of(histories: Mapping[str, History], market: Market, reports: Mapping[str, Reports]) -> dict[str, Series]:
    """Every ticker beside the market. Tickers without known reports have none in reach."""
    pasts = [_Past(history.dates.to_numpy(), history.log_close) for history in histories.values()]
    told = [reports.get(ticker, Reports.none()) for ticker in histories]
    placed = _placed(list(histories.values()), pasts, market, market.means(), market.deviation(), told)
    return dict(zip(histories, placed, strict=True))


def _placed(
    histories: Sequence[History],
    pasts: Sequence[_Past],
    market: Market,
    means: Floats,
    deviation: Floats,
    reports: Sequence[Reports],
) -> list[Series]:
    found: list[Series] = []
    for first in range(0, len(histories), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        found += _series(histories[part], pasts[part], market, means, deviation, reports[part])
    return found


def _series(
    histories: Sequence[History],
    pasts: Sequence[_Past],
    market: Market,
    means: Floats,
    deviation: Floats,
    reports: Sequence[Reports],
) -> list[Series]:
    """The sessions of all tickers one after the other: numpy takes as long to begin with one as with all."""
    bounds = np.cumsum([0, *map(len, histories)])
    days_of = [history.dates.to_numpy().astype("datetime64[D]") for history in histories]
    days = np.concatenate(days_of)
    at_of = [market.rows(past.dates) for past in pasts]
    at = np.concatenate([of[history.skipped :] for of, history in zip(at_of, histories, strict=True)])
    har = np.concatenate([history.har for history in histories])
    sigma = np.concatenate([history.ewma for history in histories])
    features = np.concatenate([history.features for history in histories])
    offsets = earnings.offsets_of_many(days_of, reports)
    moves = [
        [values[history.skipped :] for values in of_past]
        for history, of_past in zip(histories, _beside_the_market(pasts, at_of, market), strict=True)
    ]
    slope, own_part, share = (np.concatenate(values) for values in zip(*moves, strict=True))
    feature = dict(zip(FEATURE_NAMES, features.T, strict=True))
    own = np.column_stack(
        [
            feature["log_return"] / sigma,
            feature["gap"] / sigma,
            feature["log_range"] - np.log(sigma),
            feature["relative_volume"],
            feature["macd_hist"] / sigma,
            feature["rsi"],
            feature["sma_20_distance"] / sigma / 4,
            feature["ema_50_distance"] / sigma / 6,
            feature["volatility_ratio"],
            feature["downside_return"],
        ]
    )
    together = np.column_stack(
        [market.mean_return[at] / deviation[at], market.dispersion[at] - np.log(deviation[at]), means[at]]
    )
    beside = np.column_stack(
        [
            ranks(har[:, 3], market.variance_22, at),
            ranks(har[:, 2] - har[:, 3], market.change, at),
            slope,
            share,
            own_part / sigma,
        ]
    )
    # Of a session that has come, what was known the day before.
    weekdays = earnings.plain(offsets)
    today = np.concatenate(([FAR], weekdays[:-1, 0]))
    today[bounds[:-1]] = FAR
    near = _bumps(weekdays)
    told = np.column_stack([_bumps(today), *(near[:, h] for h in _SHOWN_AHEAD)])
    coming = np.concatenate([near, _calendar(ahead(days))], axis=-1)
    steps = np.column_stack([har[:, 1 : 1 + LEVELLED], own, together, beside, told, _calendar(days)])
    return [
        Series(history, means[at[begin:end]], of, offsets[begin:end], steps[begin:end], coming[begin:end])
        for history, of, (begin, end) in zip(histories, reports, pairwise(bounds), strict=True)
    ]


def _beside_the_market(
    pasts: Sequence[_Past], at: Sequence[Rows], market: Market
) -> list[tuple[Floats, Floats, Floats]]:
    """Per ticker, [n] each: slope on the market's return, own part of the return, log share of that in its variance.

    Args:
        pasts: the tickers'.
        at: of each the market's numbers of its sessions.
        market: beside which they are.
    """
    returns = [np.diff(past.log_close, prepend=np.nan) for past in pasts]
    together = [market.mean_return[of_ticker] for of_ticker in at]
    slopes = betas(returns, together)
    own_parts = [one - slope * of_all for one, slope, of_all in zip(returns, slopes, together, strict=True)]
    variances = ewmas([*(part**2 for part in own_parts), *(one**2 for one in returns)])
    return [
        (slope, part, np.log((of_part + 1e-8) / (of_all + 1e-8)))
        for slope, part, of_part, of_all in zip(
            slopes, own_parts, variances[: len(pasts)], variances[len(pasts) :], strict=True
        )
    ]


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
