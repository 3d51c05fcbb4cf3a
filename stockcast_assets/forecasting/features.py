"""One ticker's bars as arrays: features, targets and volatility measures of every session.

Row t of everything except the targets is a function of the bars up to t alone, to the last bit: recursions
start at the first bar and windows are added up in a fixed order, so truncating, shuffling or spoiling the
future changes nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.libraries import np, pd
from stockcast_assets.market import indicators
from stockcast_assets.market.indicators import Floats
from stockcast_assets.tables import VOLUME_WINDOW

Rows: TypeAlias = "np.ndarray"
"""Numbers of sessions in a `History`."""

HAR_WINDOWS = (1, 5, 22, 66)

_SMA_WINDOW, _EMA_SPAN = 20, 50
FEATURE_NAMES = (
    "log_return",
    "gap",
    "log_range",
    "relative_volume",
    "macd_hist",
    "rsi",
    f"sma_{_SMA_WINDOW}_distance",
    f"ema_{_EMA_SPAN}_distance",
    "volatility_ratio",
    *(f"log_variance_{window}" for window in HAR_WINDOWS),
    "log_ewma_variance",
    "downside_return",
)
EWMA_DECAY = 0.94
"""RiskMetrics' daily decay (J.P. Morgan, 1996)."""

LOOKBACK = 260
"""Sessions before a row that every feature and volatility of it needs, the recursive ones apart."""

_SEED_SESSIONS = 20
"""Returns that the first volatility of a series takes."""

_TOGETHER = 32
"""Tickers whose arrays fit a core's cache."""

_MIN_DAILY_VARIANCE = 1e-8
"""One basis point a day, squared: keeps logarithms finite where a price did not move at all."""


@dataclass(frozen=True)
class History:
    """Arrays over the n sessions of one ticker; NaN while warming up.

    Attributes:
        ticker: the symbol.
        dates: [n] sessions, ascending.
        close: [n] closes as published (split-adjusted).
        log_close: [n] logarithm of the closes, dividend-adjusted.
        features: [n, len(FEATURE_NAMES)] what the LSTM sees.
        har: [n, len(HAR_WINDOWS) + 3] regressors of the HAR volatility: constant, log mean daily variances,
            log EWMA variance, downside return in EWMA standard deviations.
        variance: [n] daily variance from gap and range.
        ewma: [n] exponentially weighted standard deviation of log returns, per session.
        skipped: sessions of the ticker before the first one here.
        earlier: the last of their `log_close`, as far as they are known.
    """

    ticker: str
    dates: pd.DatetimeIndex
    close: Floats
    log_close: Floats
    features: Floats
    har: Floats
    variance: Floats
    ewma: Floats
    skipped: int = 0
    earlier: Floats = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.dates)

    def since(self, row: int) -> History:
        """The sessions from `row` on, with the same bits."""
        return History(
            ticker=self.ticker,
            dates=self.dates[row:],
            close=self.close[row:],
            log_close=self.log_close[row:],
            features=self.features[row:],
            har=self.har[row:],
            variance=self.variance[row:],
            ewma=self.ewma[row:],
            skipped=self.skipped + row,
            earlier=np.concatenate((self.earlier, self.log_close[:row])),
        )

    @property
    def first_row(self) -> int:
        """First row with every feature and volatility measure; len(self) if there is none."""
        ready = np.isfinite(self.features).all(axis=1) & np.isfinite(self.har).all(axis=1)
        return int(ready.argmax()) if ready.any() else len(self)

    def std(self, window: int, rows: Rows) -> Floats:
        """[len(rows)] standard deviation of the last `window` log returns, of all so far while there are fewer."""
        if not len(rows):
            return np.empty(0)
        before = len(self.earlier)
        first = max(0, before + int(rows.min()) - window)
        log_close = np.concatenate((self.earlier, self.log_close[: int(rows.max()) + 1]))
        returns = np.diff(log_close[first:], prepend=np.nan)
        # From the first session on, fewer than a window are enough; later, there are.
        values = indicators.rolling_std(returns, window) if first else _widening_std(returns, window)
        found: Floats = values[before - first + rows]
        return found

    @cached_property
    def targets(self) -> Floats:
        """[n, HORIZON] log(close[t + h] / close[t]), NaN where the future is not known."""
        return self.outcomes(np.arange(len(self)))

    def outcomes(self, rows: np.ndarray) -> Floats:
        """The `targets` of some rows, [len(rows), HORIZON]."""
        padded = np.concatenate((self.log_close, np.full(HORIZON, np.nan)))
        return padded[rows[:, None] + np.arange(1, HORIZON + 1)] - self.log_close[rows, None]

    def windows(self, rows: np.ndarray, length: int) -> Floats:
        """Features of the `length` sessions ending at each of `rows`, [len(rows), length, features]."""
        return self.features[rows[:, None] + np.arange(1 - length, 1)]


def _rolling_mean(values: Floats, window: int) -> Floats:
    """Along the last axis."""
    out = np.full(values.shape, np.nan)
    n = values.shape[-1] - window + 1
    if n > 0:
        out[..., window - 1 :] = reduce(np.add, (values[..., i : i + n] for i in range(window))) / window
    return out


def _widening_std(returns: Floats, window: int) -> Floats:
    """Standard deviation of the last `window` returns, of all so far (20 at least) while there are fewer."""
    out = indicators.rolling_std(returns, window)
    early = np.arange(_SEED_SESSIONS, min(window, len(returns)))
    sums, squares = np.cumsum(returns[1:]), np.cumsum(returns[1:] ** 2)
    out[early] = np.sqrt((squares[early - 1] - sums[early - 1] ** 2 / early) / (early - 1))
    return out


def _ewma_std(returns: Sequence[Floats]) -> list[Floats]:
    """Exponentially weighted standard deviations around zero, each seeded with its first returns.

    All series at once: a step of one takes Python as long as a step of hundreds takes numpy, and gives the same bits.
    """
    squares = np.zeros((len(returns), max(map(len, returns))))
    for row, of_one in zip(squares, returns, strict=True):
        row[: len(of_one)] = of_one * of_one
    seeds = np.array([(one[1 : _SEED_SESSIONS + 1] ** 2).sum() / _SEED_SESSIONS for one in returns])
    news = (1 - EWMA_DECAY) * squares.T[_SEED_SESSIONS + 1 :]
    alone = len(returns) == 1
    steps: Iterable[Any] = accumulate(
        news[:, 0].tolist() if alone else news,
        lambda variance, new: EWMA_DECAY * variance + new,
        initial=float(seeds[0]) if alone else seeds,
    )
    known = np.array(list(steps)).reshape(-1, len(returns))
    before = np.full((_SEED_SESSIONS, len(returns)), np.nan)
    std = np.sqrt(np.maximum(np.concatenate((before, known)), _MIN_DAILY_VARIANCE))
    return [of_one[: len(one)] for of_one, one in zip(std.T, returns, strict=True)]


def prepare(bars: pd.DataFrame, first: int = 0) -> History:
    """Arrays of one ticker's bars.

    Opens, highs and lows are brought onto the dividend-adjusted close by adj_close / close. Daily variance is
    gap² plus Parkinson's range estimator log(high / low)² / (4 log 2) (Parkinson, 1980).

    Args:
        bars: the ticker's bars from its first stored one, columns as in `raw_prices`.
        first: number of the first session that is needed. What lies LOOKBACK sessions before it is cut off, which
            saves time and changes no bit of the needed rows: recursions still start at the first bar.

    Raises:
        StockcastError: if the frame is empty, holds several tickers, repeats or disorders sessions, or holds
            a price that is not a positive number.
    """
    return prepare_many([Needed(bars, first, len(bars))])[0]


class Needed(NamedTuple):
    """A ticker's `bars`, of which sessions number `first` to `end` - 1 are needed and later ones are not looked at."""

    bars: pd.DataFrame
    first: int
    end: int


def prepare_many(needed: Sequence[Needed]) -> list[History]:
    """`prepare` for many tickers, which takes a fraction of the time one by one.

    Each ticker is a row of the same arrays, and no operation mixes rows: the bits are those of a ticker alone.

    Raises:
        StockcastError: as `prepare`.
    """
    if not needed:
        return []
    series = [_recursions(*one) for one in needed]
    ewma = _ewma_std([one.returns for one in series])
    histories: list[History] = []
    for start in range(0, len(needed), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        histories += _derived(series[part], ewma[part])
    return histories


@dataclass(frozen=True)
class _Series:
    """One ticker's prices and recursions, [13, n] over the sessions that are needed, and all of its log returns."""

    ticker: str
    dates: np.ndarray
    skipped: int
    values: Floats
    returns: Floats


def _recursions(bars: pd.DataFrame, first: int, end: int) -> _Series:
    if end == 0 or bars.empty:
        raise StockcastError("There are no bars to forecast from: ingest the ticker's prices first.")
    tickers = bars["ticker"].to_numpy()[:end]
    ticker = str(tickers[0])
    if (tickers != ticker).any():
        raise StockcastError(f"The bars of {ticker} also hold {len(set(tickers)) - 1} other tickers.")
    dates = bars["date"].to_numpy()[:end]
    if not (dates[1:] > dates[:-1]).all():
        raise StockcastError(f"The bars of {ticker} are not in order of session, one row each: sort them.")
    opens, high, low, close, adjusted, volume = (
        bars[name].to_numpy(np.float64)[:end] for name in ("open", "high", "low", "close", "adj_close", "volume")
    )
    good = np.isfinite(opens + high + low + close + adjusted) & (low > 0) & (opens > 0) & (adjusted > 0)
    if not good.all():
        raise StockcastError(
            f"The bar of {ticker} on {pd.Timestamp(dates[~good][0]).date()} holds a price that is not a positive "
            "number: ingest that session again."
        )
    log_close = np.log(adjusted)
    previous = np.concatenate(([np.nan], log_close[:-1]))
    returns = log_close - previous
    averages = indicators.sma(adjusted, _SMA_WINDOW), indicators.ema(adjusted, _EMA_SPAN)
    oscillators = indicators.macd(adjusted)[2], indicators.rsi(adjusted)
    skipped = max(0, first - LOOKBACK)
    prices = opens, high, low, close, adjusted, volume
    every = *prices, log_close, previous, returns, *averages, *oscillators
    return _Series(ticker, dates[skipped:], skipped, np.stack([values[skipped:] for values in every]), returns)


def _derived(series: Sequence[_Series], ewmas: Sequence[Floats]) -> list[History]:
    """Histories of what is computed from windows of a few sessions, for all series at once."""
    longest = max(len(one.dates) for one in series)
    # Ones after the end of the shorter: no window looks ahead, and a logarithm exists.
    together = np.ones((len(series[0].values) + 1, len(series), longest))
    for row, (one, of_one) in enumerate(zip(series, ewmas, strict=True)):
        together[:-1, row, : len(one.dates)] = one.values
        together[-1, row, : len(one.dates)] = of_one[one.skipped :]
    opens, high, low, close, adjusted, volume, log_close, previous, returns, sma, ema, macd_hist, rsi, ewma = together

    gap = np.log(opens) + np.log(adjusted / close) - previous
    log_range = np.log(high / low)
    known_gap = np.nan_to_num(gap)
    variance = np.maximum(known_gap * known_gap + log_range * log_range / (4 * np.log(2)), _MIN_DAILY_VARIANCE)
    means = {window: _rolling_mean(variance, window) for window in HAR_WINDOWS}
    mean_volume = _rolling_mean(volume, VOLUME_WINDOW)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative_volume = np.where(mean_volume > 0, volume / mean_volume, 1.0) + 0 * mean_volume

    har = np.stack(
        [
            np.ones(close.shape),
            *(np.log(means[window]) for window in HAR_WINDOWS),
            2 * np.log(ewma),
            np.minimum(returns, 0) / ewma,
        ],
        axis=-1,
    )
    features = np.concatenate(
        [
            np.stack(
                [
                    returns,
                    gap,
                    np.log(np.maximum(log_range, 1e-4)),
                    np.log(np.maximum(relative_volume, 0.05)),
                    macd_hist / adjusted,
                    rsi / 100 - 0.5,
                    log_close - np.log(sma),
                    log_close - np.log(ema),
                    0.5 * np.log(means[5] / means[66]),
                ],
                axis=-1,
            ),
            har[..., 1:],
        ],
        axis=-1,
    )
    return [
        History(
            ticker=one.ticker,
            dates=pd.DatetimeIndex(one.dates),
            close=close[row, : len(one.dates)],
            log_close=log_close[row, : len(one.dates)],
            features=features[row, : len(one.dates)],
            har=har[row, : len(one.dates)],
            variance=variance[row, : len(one.dates)],
            ewma=ewma[row, : len(one.dates)],
            skipped=one.skipped,
        )
        for row, one in enumerate(series)
    ]


def features(bars: pd.DataFrame) -> pd.DataFrame:
    """Features of every session of one ticker, as a frame indexed by date; null while warming up.

    Raises:
        StockcastError: as `prepare`.
    """
    history = prepare(bars)
    return pd.DataFrame(history.features, index=history.dates.rename("date"), columns=list(FEATURE_NAMES))
