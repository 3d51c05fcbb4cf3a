"""Indicators: their textbook definitions, TA-Lib's values, and the same bits however they are computed."""

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stockcast_assets.market import indicators
from stockcast_assets.tables import EMA_SPANS, INDICATORS, SMA_WINDOWS

PRICES = arrays(np.float64, st.integers(1, 160), elements=st.floats(0.5, 2000, allow_nan=False))


def bars(close: np.ndarray, ticker: str = "AAPL") -> pd.DataFrame:
    return pd.DataFrame(
        {"ticker": ticker, "date": pd.date_range("2010-01-04", periods=len(close), freq="B"), "close": close}
    )


def textbook_ema(values: np.ndarray, span: int) -> np.ndarray:
    out = np.full(len(values), np.nan)
    if len(values) >= span:
        out[span - 1] = values[:span].mean()
        for t in range(span, len(values)):
            out[t] = out[t - 1] + 2 / (span + 1) * (values[t] - out[t - 1])
    return out


def textbook_rsi(values: np.ndarray, window: int) -> np.ndarray:
    out = np.full(len(values), np.nan)
    change = np.diff(values)
    if len(change) < window:
        return out
    gain, loss = np.maximum(change, 0), np.maximum(-change, 0)
    up, down = gain[:window].mean(), loss[:window].mean()
    for t in range(window, len(values)):
        if t > window:
            up = (up * (window - 1) + gain[t - 1]) / window
            down = (down * (window - 1) + loss[t - 1]) / window
        out[t] = 100 * up / (up + down) if up + down else 0.0
    return out


@settings(max_examples=60)
@given(PRICES)
def test_they_are_the_textbook_definitions(close: np.ndarray) -> None:
    frame = indicators.compute(bars(close))
    for window in SMA_WINDOWS:
        expected = pd.Series(close).rolling(window).mean()
        np.testing.assert_allclose(frame[f"sma_{window}"], expected, rtol=1e-9)
    for span in EMA_SPANS:
        np.testing.assert_allclose(frame[f"ema_{span}"], textbook_ema(close, span), rtol=1e-9)
    np.testing.assert_allclose(frame["rsi_14"], textbook_rsi(close, 14), rtol=1e-6, atol=1e-6)
    returns = np.r_[np.nan, np.diff(np.log(close))]
    np.testing.assert_allclose(frame["log_return"], returns, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(frame["volatility_20"], pd.Series(returns).rolling(20).std(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("ticker", ["AAPL", "GOOG", "IBM", "MSFT"])
def test_they_agree_with_talib_on_the_full_real_series(sample_bars: dict[str, pd.DataFrame], ticker: str) -> None:
    close = sample_bars[ticker]["close"].to_numpy()
    frame = indicators.compute(sample_bars[ticker])
    line, signal, histogram = talib.MACD(close)
    expected = {
        **{f"sma_{n}": talib.SMA(close, n) for n in SMA_WINDOWS},
        **{f"ema_{n}": talib.EMA(close, n) for n in EMA_SPANS},
        "macd": line,
        "macd_signal": signal,
        "macd_hist": histogram,
        "rsi_14": talib.RSI(close, 14),
        "pct_return": talib.ROCP(close, 1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(frame[name], values, rtol=1e-9, err_msg=name)
    # After 400 sessions the seeds have faded: MACD is the difference of the stored averages.
    np.testing.assert_allclose(frame["macd"][400:], (frame["ema_12"] - frame["ema_26"])[400:], atol=1e-9)


@settings(max_examples=30)
@given(PRICES, st.integers(1, 160))
def test_the_future_changes_no_bit(close: np.ndarray, known: int) -> None:
    known = min(known, len(close))
    then = indicators.compute(bars(close[:known]))
    later = indicators.compute(bars(close)).iloc[:known]
    pd.testing.assert_frame_equal(then, later, check_exact=True)


def test_other_tickers_in_the_frame_change_no_bit(sample_bars: dict[str, pd.DataFrame]) -> None:
    together = indicators.compute(pd.concat(sample_bars.values(), ignore_index=True))
    for ticker, alone in sample_bars.items():
        part = together[together["ticker"] == ticker].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, indicators.compute(alone), check_exact=True)


def test_the_columns_are_the_tables() -> None:
    assert list(indicators.compute(bars(np.array([1.0, 2.0]))).columns) == INDICATORS.column_names
    assert list(indicators.compute(bars(np.array([]))).columns) == INDICATORS.column_names
