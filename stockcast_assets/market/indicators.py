"""Technical indicators in their standard definitions, computed by TA-Lib.

TA-Lib is the engine because it *is* the reference that users compare with: seeds, warm-up and Wilder's
smoothing agree by construction, and its C loops take 0.1 µs a bar. Every value is a function of the bars up
to its own session only, and the recursive ones start at the ticker's first stored bar, so the same bits come
out whether a day is computed alone, in a range, or years later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from stockcast_assets.libraries import np, pd, talib
from stockcast_assets.tables import (
    EMA_SPANS,
    INDICATORS,
    MACD_SPANS,
    RSI,
    RSI_WINDOW,
    SMA_WINDOWS,
    VOLATILITY,
    VOLATILITY_WINDOW,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"


def _warming_up(values: Floats, lookback: int) -> bool:
    # TA-Lib raises on a series shorter than its first window instead of returning nulls.
    return len(values) <= lookback


def _nulls(values: Floats) -> Floats:
    return np.full(len(values), np.nan)


def sma(values: Floats, window: int) -> Floats:
    """Simple moving average of `window` values; NaN for the first `window - 1`."""
    return _nulls(values) if _warming_up(values, window - 1) else talib.SMA(values, window)


def ema(values: Floats, span: int) -> Floats:
    """Exponential moving average with smoothing 2 / (span + 1), seeded with the SMA of the first `span` values."""
    return _nulls(values) if _warming_up(values, span - 1) else talib.EMA(values, span)


def rsi(values: Floats, window: int = RSI_WINDOW) -> Floats:
    """Wilder's relative strength index, 0 to 100; NaN for the first `window` values."""
    return _nulls(values) if _warming_up(values, window) else talib.RSI(values, window)


def macd(values: Floats) -> tuple[Floats, Floats, Floats]:
    """MACD line, signal line and histogram of MACD_SPANS; NaN while any of the averages warms up."""
    _, slow, signal = MACD_SPANS
    if _warming_up(values, slow + signal - 2):
        return _nulls(values), _nulls(values), _nulls(values)
    return talib.MACD(values, *MACD_SPANS)


def log_returns(values: Floats) -> Floats:
    """log(x[t] / x[t-1]); NaN at the first value."""
    out = _nulls(values)
    out[1:] = np.log(values[1:] / values[:-1])
    return out


def rolling_std(values: Floats, window: int) -> Floats:
    """Sample standard deviation (n - 1) of the last `window` values; NaN until the window holds no NaN.

    Two passes over each window in a fixed order: no running sums, so a bit never depends on where the
    series starts or ends.
    """
    out = _nulls(values)
    if len(values) < window:
        return out
    seen = np.lib.stride_tricks.sliding_window_view(values, window)
    mean = _total(seen) / window
    out[window - 1 :] = np.sqrt(_total((seen - mean[:, None]) ** 2) / (window - 1))
    return out


def _total(windows: Floats) -> Floats:
    """[n] sums of [n, window], one value after the other: numpy's own sum chooses an order by the shape."""
    return np.cumsum(windows, axis=1)[:, -1]


def _one_ticker(close: Floats) -> dict[str, Floats]:
    returns = log_returns(close)
    line, signal, histogram = macd(close)
    return {
        "close": close,
        "log_return": returns,
        "pct_return": np.concatenate(([np.nan], close[1:] / close[:-1] - 1)) if len(close) else close,
        **{f"sma_{window}": sma(close, window) for window in SMA_WINDOWS},
        **{f"ema_{span}": ema(close, span) for span in EMA_SPANS},
        "macd": line,
        "macd_signal": signal,
        "macd_hist": histogram,
        RSI: rsi(close),
        VOLATILITY: rolling_std(returns, VOLATILITY_WINDOW),
    }


def compute(bars: pd.DataFrame) -> pd.DataFrame:
    """Indicators of every bar of every ticker.

    Args:
        bars: long frame with `ticker`, `date`, `close`, each ticker from its first stored bar, sorted by
            (ticker, date).

    Returns:
        One row per bar with the columns of the `indicators` table.
    """
    if bars.empty:
        return pd.DataFrame({name: [] for name in INDICATORS.column_names})
    columns = bars[["ticker", "date"]].reset_index(drop=True)
    close = bars["close"].to_numpy(np.float64)
    starts = np.flatnonzero(np.r_[True, columns["ticker"].to_numpy()[1:] != columns["ticker"].to_numpy()[:-1]])
    parts = [_one_ticker(series) for series in np.split(close, starts[1:])]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return columns.assign(**values)[INDICATORS.column_names]
