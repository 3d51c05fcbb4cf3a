"""What became of the forecasts: each one is scored once, on the day its target session closed.

Prices are split-adjusted by the provider as of the moment they were fetched, so a forecast and the close it
is measured against may count in different shares. Both are brought to the shares of the target session's bar:
a past that was fetched again after a split shows in the as-of bar, which no longer equals the forecast's
`last_close`; a past that was not shows as a jump by the split's ratio between two stored bars.
"""

from datetime import date

import numpy as np
import pandas as pd

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.indicators import Floats
from stockcast_assets.tables import FORECAST_ACCURACY


def score(forecasts: pd.DataFrame, bars: pd.DataFrame, day: date) -> pd.DataFrame:
    """Score every forecast whose target session is `day`.

    Args:
        forecasts: rows of the `forecasts` table, any tickers, as-of dates and horizons.
        bars: `raw_prices` columns of the same tickers, from the earliest as-of date concerned to `day`; later
            bars are ignored.
        day: the target session, closed.

    Returns:
        Rows of `forecast_accuracy`, sorted by (ticker, horizon); none if no forecast was made for the day.
        `error` and `naive_error` are forecast minus actual close, in the price units of the day's bar;
        `inside_80` includes the ends of the interval.

    Raises:
        StockcastError: the bar of the as-of or of the target session is missing.
    """
    target = pd.Timestamp(day)
    due = forecasts[forecasts["target_date"] == target].sort_values(["ticker", "horizon"], ignore_index=True)
    if due.empty:
        return _empty()
    known = bars[(bars["date"] <= target) & (bars["date"] >= due["date"].min())]
    parts = []
    for ticker, rows in due.groupby("ticker", sort=False):
        path = known[known["ticker"] == ticker].sort_values("date")
        dates, close = path["date"].to_numpy(), path["close"].to_numpy(np.float64)
        for needed in [*rows["date"], target]:
            if needed.to_datetime64() not in dates:
                raise StockcastError(
                    f"Forecasts of {ticker} for {day} cannot be scored: there is no bar for "
                    f"{needed:%Y-%m-%d}; materialise raw_prices for it first."
                )
        made = np.searchsorted(dates, rows["date"].to_numpy())
        shares = _shares(close, path["split_ratio"].to_numpy(np.float64))
        scale = close[made] / rows["last_close"].to_numpy() / (shares[-1] / shares[made])
        actual = close[-1]
        low, median, high, naive = (
            rows[name].to_numpy() * scale for name in ("close_p10", "close_p50", "close_p90", "naive_close")
        )
        parts.append(
            pd.DataFrame(
                {
                    "ticker": ticker,
                    "date": target,
                    "horizon": rows["horizon"].astype("int64"),
                    "as_of_date": rows["date"],
                    "target_date": target,
                    "actual_close": actual,
                    "error": median - actual,
                    "naive_error": naive - actual,
                    "inside_80": (low <= actual) & (actual <= high),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)[FORECAST_ACCURACY.column_names]


def _shares(close: Floats, split_ratio: Floats) -> Floats:
    """Shares that one share of the first bar has become, by splits that the closes do not already contain.

    A close that steps by nearly 1 / ratio on the ex-date was stored in old shares before it; one that steps
    by nearly nothing was adjusted. The nearer of the two, in logarithms, decides.
    """
    ratio = np.log(split_ratio[1:])
    step = np.diff(np.log(close))
    unadjusted = np.abs(step + ratio) < np.abs(step)
    return np.exp(np.concatenate(([0.0], np.cumsum(np.where(unadjusted, ratio, 0.0)))))


def _empty() -> pd.DataFrame:
    kinds = {
        "STRING": "object",
        "DATE": "datetime64[ns]",
        "INT64": "int64",
        "FLOAT64": "float64",
        "BOOL": "bool",
    }
    return pd.DataFrame({c.name: pd.Series(dtype=kinds[c.type]) for c in FORECAST_ACCURACY.columns})
