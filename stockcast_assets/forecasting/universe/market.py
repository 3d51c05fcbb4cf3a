"""What all tickers of a day say together. A day's values are a function of the bars of its members up to that day."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from stockcast_assets.forecasting.features import EWMA_DECAY, HAR_WINDOWS, History
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.tables import MARKET_STATE

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

    def rows(self, dates: np.ndarray) -> np.ndarray:
        """The numbers of the days, or of the last ones before where the market has none: a coin trades on Sundays.

        Before its first day it is the first: who began earlier learns from those days, and nobody forecasts them now.
        """
        return np.maximum(self.dates.to_numpy().searchsorted(dates, side="right") - 1, 0)

    def means(self, windows: tuple[int, ...] = HAR_WINDOWS) -> Floats:
        """[N, windows] mean log variance of the last sessions."""
        series = pd.Series(self.log_variance)
        return np.column_stack([series.rolling(window).mean() for window in windows])

    def deviation(self) -> Floats:
        """[N] exponentially weighted standard deviation of the mean return."""
        return np.sqrt(ewmas([self.mean_return**2])[0])


def ewmas(series: Sequence[Floats]) -> list[Floats]:
    """Exponentially weighted means with RiskMetrics' decay; null for the first sessions of each."""
    return _weighted(series, alpha=1 - EWMA_DECAY, min_periods=_SEED_SESSIONS)


def market_of(
    histories: Mapping[str, History], members: Mapping[pd.Timestamp, Collection[str]] | None = None
) -> Market:
    """The market that these tickers are.

    A day's bits depend on its members alone: neither on the order of the tickers, nor on those that do not count on
    the day, nor on the other days.

    Args:
        histories: the tickers.
        members: which of them count on a day; on a day that is not named, all that have a bar.
    """
    return _together(histories, members or {})[0]


def market_frame(
    histories: Mapping[str, History],
    members: Mapping[pd.Timestamp, Collection[str]] | None = None,
    index: History | None = None,
) -> pd.DataFrame:
    """The same market as rows of `market_state`, a day each, with an index's series beside it if there is one.

    Days on which no member has a bar are left out.
    """
    market, counted, tickers = _together(histories, members or {})
    names = np.array(tickers)
    rows = pd.DataFrame(
        {
            "date": market.dates,
            "log_variance": market.log_variance,
            "mean_return": market.mean_return,
            "dispersion": market.dispersion,
            "n_members": market.members.astype(np.int64),
            "members": [" ".join(names[of_day]) for of_day in counted],
            "variance_22": [_packed(values) for values in market.variance_22],
            "change": [_packed(values) for values in market.change],
            "index_ticker": None,
            "index_log_variance": np.nan,
            "index_return": np.nan,
        }
    )
    if index is not None:
        there = rows["date"].isin(index.dates).to_numpy()
        at = index.dates.searchsorted(market.dates[there])
        rows.loc[there, "index_ticker"] = index.ticker
        rows.loc[there, "index_log_variance"] = np.log(index.variance)[at]
        rows.loc[there, "index_return"] = np.diff(index.log_close, prepend=np.nan)[at]
    return rows[rows["n_members"] > 0][MARKET_STATE.column_names].reset_index(drop=True)


def market_from(states: pd.DataFrame) -> Market:
    """The market of stored rows of `market_state`, to the last bit as it was when they were computed."""
    states = states.sort_values("date", ignore_index=True)
    return Market(
        pd.DatetimeIndex(states["date"], name=None),
        *(states[name].to_numpy(np.float64) for name in ("log_variance", "mean_return", "dispersion", "n_members")),
        *(_unpacked(states[name]) for name in ("variance_22", "change")),
    )


def members_of(states: pd.DataFrame) -> dict[pd.Timestamp, tuple[str, ...]]:
    """The members of each day of stored rows of `market_state`."""
    return {day: tuple(names.split()) for day, names in zip(states["date"], states["members"], strict=True)}


def _together(
    histories: Mapping[str, History], members: Mapping[pd.Timestamp, Collection[str]]
) -> tuple[Market, np.ndarray, list[str]]:
    """The market, [N, T] which ticker counts on which day, and the tickers in the order of that."""
    dates = pd.DatetimeIndex(np.unique(np.concatenate([one.dates.to_numpy() for one in histories.values()])))
    tickers = sorted(histories)
    shape = len(dates), len(tickers)
    returns, variance, month, week = (np.full(shape, np.nan) for _ in range(4))
    # In one order, whatever order the tickers came in: sums depend on it in their last bits.
    for column, ticker in enumerate(tickers):
        history = histories[ticker]
        rows = dates.searchsorted(history.dates)
        returns[rows, column] = np.diff(history.log_close, prepend=np.nan)
        variance[rows, column] = np.log(history.variance)
        week[rows, column], month[rows, column] = history.har[:, 2], history.har[:, 3]
    for day, names in members.items():
        row = int(dates.searchsorted(day))
        if row < len(dates) and dates[row] == day:
            others = ~np.isin(tickers, list(names))
            for values in (returns, variance, month, week):
                values[row, others] = np.nan
    mean_return = _mean(returns)
    spread = np.sqrt(_mean((returns - mean_return[:, None]) ** 2))
    counted = np.isfinite(variance)
    market = Market(
        dates,
        _mean(variance),
        mean_return,
        np.log(spread + 1e-5),
        counted.sum(axis=1).astype(np.float64),
        _sorted(month),
        _sorted(week - month),
    )
    return market, counted, tickers


def _mean(values: Floats) -> Floats:
    """[N] means of what is there of [N, T]; NaN where nothing is.

    Added up ticker by ticker: one that is not there adds exactly nothing, which no blockwise sum promises.
    """
    total, count = np.zeros(len(values)), np.zeros(len(values))
    for column in values.T:
        there = np.isfinite(column)
        total += np.where(there, column, 0.0)
        count += there
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sorted(values: Floats) -> Floats:
    """[N, T] ascending within each day, NaN last, as wide as the fullest day."""
    widest = int(np.isfinite(values).sum(axis=1).max(initial=0))
    return np.sort(values, axis=1)[:, :widest]


def _packed(values: Floats) -> str:
    return base64.b64encode(values[np.isfinite(values)].astype("<f8").tobytes()).decode()


def _unpacked(packed: pd.Series) -> Floats:
    each = [np.frombuffer(base64.b64decode(text), "<f8") for text in packed]
    values = np.full((len(each), max(map(len, each), default=0)), np.nan)
    for row, of_day in enumerate(each):
        values[row, : len(of_day)] = of_day
    return values


def ranks(values: Floats, among: Floats, at: np.ndarray) -> Floats:
    """[n] the share of a day's values below each of `values`, less one half; ties count half. NaN for none.

    Args:
        values: [n]
        among: [N, T] each day's, ascending, NaN last.
        at: [n] the day of each value.
    """
    counted = np.isfinite(among).sum(axis=1)[at]
    before, up_to = (_places(values, among, at, counted, side) for side in (np.less, np.less_equal))
    share = (before + 0.5 * (up_to - before)) / np.maximum(counted, 1) - 0.5
    return np.where(np.isfinite(values) & (counted > 0), share, np.nan)


def _places(values: Floats, among: Floats, at: np.ndarray, counted: np.ndarray, below: np.ufunc) -> np.ndarray:
    """[n] how many of a day's `counted` values are `below` each of `values`: all days are halved at once."""
    low, high = np.zeros_like(counted), counted.copy()
    for _ in range(int(counted.max(initial=0)).bit_length()):
        middle = (low + high) // 2
        is_below = (low < high) & below(among[at, np.minimum(middle, among.shape[1] - 1)], values)
        low, high = np.where(is_below, middle + 1, low), np.where(is_below, high, middle)
    return low


def betas(returns: Sequence[Floats], markets: Sequence[Floats]) -> list[Floats]:
    """Per ticker [n] exponentially weighted slope of its returns on the market's."""
    products = [one * market for one, market in zip(returns, markets, strict=True)]
    # Tickers of one exchange that are listed for as long have the same.
    names = [market.tobytes() for market in markets]
    distinct = dict(zip(names, markets, strict=True))
    means = _weighted(
        [*products, *(market * market for market in distinct.values())],
        halflife=_BETA_HALF_LIFE,
        min_periods=_MIN_BETA_SESSIONS,
    )
    of_market = dict(zip(distinct, means[len(products) :], strict=True))
    return [
        joint / np.maximum(of_market[name], 1e-12) for joint, name in zip(means[: len(products)], names, strict=True)
    ]


def _weighted(
    series: Sequence[Floats], *, alpha: float | None = None, halflife: float | None = None, min_periods: int
) -> list[Floats]:
    """Exponentially weighted means of many series: each is a column, whose end no value before it sees."""
    columns = np.full((max(map(len, series)), len(series)), np.nan, order="F")
    for column, values in enumerate(series):
        columns[: len(values), column] = values
    weighted = pd.DataFrame(columns, copy=False).ewm(alpha=alpha, halflife=halflife, min_periods=min_periods)
    means = weighted.mean().to_numpy()
    return [means[: len(values), column] for column, values in enumerate(series)]
