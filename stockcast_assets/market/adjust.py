"""A ticker's bars as one series, and its close adjusted for dividends, from what was known on each day."""

from __future__ import annotations

from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats


def one_series(raw_prices: pd.DataFrame, price_history: pd.DataFrame) -> pd.DataFrame:
    """Bars of both tables, each sorted by (ticker, date), as one frame that is sorted so.

    A day that is in both (after STOCKCAST_START_DATE was moved) counts once, as `raw_prices` has it.
    """
    if raw_prices.empty or price_history.empty:
        return price_history if raw_prices.empty else raw_prices
    both = pd.concat([raw_prices, price_history], ignore_index=True).drop_duplicates(["ticker", "date"], keep="first")
    return both.sort_values(["ticker", "date"], ignore_index=True)


def total_return_close(close: Floats, dividend: Floats) -> Floats:
    """The value of one share bought at the first close whose dividends were reinvested at the close of the ex-date.

    A[0] = close[0], A[t] = A[t-1] · (close[t] + dividend[t]) / close[t-1]: the daily total return of the CRSP
    data description guide. It counts forward from the first bar, so A[t] is a function of the bars up to t
    alone, and a later dividend changes nothing before it. A provider's adjusted close counts back from the day
    it was fetched: the same returns, other levels, and another series after every dividend.

    Args:
        close: [n] closes in the same shares throughout.
        dividend: [n] cash per share with that ex-date, in the same shares; 0 if none.
    """
    if not len(close):
        return close
    growth = (close[1:] + dividend[1:]) / close[:-1]
    # Products are taken in order, so a longer series begins with the same bits.
    return np.multiply.accumulate(np.concatenate((close[:1], growth)))


def with_total_return(bars: pd.DataFrame) -> pd.DataFrame:
    """Bars of any tickers, sorted by (ticker, date), with `adj_close` replaced by `total_return_close`."""
    adjusted = bars["adj_close"].to_numpy(np.float64).copy()
    close, dividend = bars["close"].to_numpy(np.float64), bars["dividend"].to_numpy(np.float64)
    for rows in bars.groupby("ticker", sort=False).indices.values():
        adjusted[rows] = total_return_close(close[rows], dividend[rows])
    return bars.assign(adj_close=adjusted)
