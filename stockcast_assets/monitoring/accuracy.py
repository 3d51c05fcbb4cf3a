"""What became of the forecasts: each one is scored once, on the day its target session closed.

Prices are split-adjusted by the provider as of the moment they were fetched, so a forecast and the close it
is measured against may count in different shares. Both are brought to the shares of the target session's bar:
a past that was fetched again after a split shows in the as-of bar, which no longer equals the forecast's
`last_close`; a past that was not shows as a jump by the split's ratio between two stored bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.tables import FORECAST_ACCURACY


def score(forecasts: pd.DataFrame, bars: pd.DataFrame, days: Sequence[date]) -> pd.DataFrame:
    """Score every forecast whose target session is one of `days`.

    A row's bits depend on its forecast and the bars up to its target session alone.

    Args:
        forecasts: rows of the `forecasts` table, any tickers, as-of dates and horizons.
        bars: `raw_prices` columns of the same tickers from their first stored bar to the last of the days; later bars
            change nothing.
        days: target sessions, closed.

    Returns:
        Rows of `forecast_accuracy`, sorted by (ticker, date, horizon); none if no forecast was made for the days.
        `error` and `naive_error` are forecast minus actual close, in the price units of the target session's bar;
        `inside_80` includes the ends of the interval.

    Raises:
        StockcastError: the bar of the as-of or of the target session is missing.
    """
    due = forecasts[forecasts["target_date"].isin(pd.DatetimeIndex(list(days)))]
    if due.empty:
        return FORECAST_ACCURACY.empty()
    due = due.sort_values(["ticker", "target_date", "horizon"], ignore_index=True)
    return pd.concat(
        [
            _scored(str(ticker), rows, bars[bars["ticker"] == ticker].sort_values("date"))
            for ticker, rows in due.groupby("ticker", sort=False)
        ],
        ignore_index=True,
    )[FORECAST_ACCURACY.column_names]


def _scored(ticker: str, rows: pd.DataFrame, path: pd.DataFrame) -> pd.DataFrame:
    """The scores of one ticker's forecasts, whose bars are `path`."""
    dates, close = path["date"].to_numpy(), path["close"].to_numpy(np.float64)
    for needed in (rows["date"], rows["target_date"]):
        absent = ~needed.isin(dates)
        if absent.any():
            raise StockcastError(
                f"Forecasts of {ticker} for {rows['target_date'][absent].iloc[0]:%Y-%m-%d} cannot be scored: there is "
                f"no bar for {needed[absent].iloc[0]:%Y-%m-%d}; materialise raw_prices for it first."
            )
    made, ended = (np.searchsorted(dates, rows[name].to_numpy()) for name in ("date", "target_date"))
    shares = _shares(close, path["split_ratio"].to_numpy(np.float64))
    scale = close[made] / rows["last_close"].to_numpy() / (shares[ended] / shares[made])
    actual = close[ended]
    low, median, high, naive = (
        rows[name].to_numpy() * scale for name in ("close_p10", "close_p50", "close_p90", "naive_close")
    )
    return pd.DataFrame(
        {
            "ticker": ticker,
            "date": rows["target_date"],
            "horizon": rows["horizon"].astype("int64"),
            "as_of_date": rows["date"],
            "target_date": rows["target_date"],
            "actual_close": actual,
            "error": median - actual,
            "naive_error": naive - actual,
            "inside_80": (low <= actual) & (actual <= high),
        }
    )


def _shares(close: Floats, split_ratio: Floats) -> Floats:
    """Shares that one share of the first bar has become, by splits that the closes do not already contain.

    A close that steps by nearly 1 / ratio on the ex-date was stored in old shares before it; one that steps
    by nearly nothing was adjusted. The nearer of the two, in logarithms, decides.
    """
    ratio = np.log(split_ratio[1:])
    step = np.diff(np.log(close))
    unadjusted = np.abs(step + ratio) < np.abs(step)
    return np.exp(np.concatenate(([0.0], np.cumsum(np.where(unadjusted, ratio, 0.0)))))
