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
    due = forecasts[forecasts["target_date"] == pd.Timestamp(day)]
    known = bars[bars["date"] <= pd.Timestamp(day)]
    parts = []
    for (ticker, as_of), rows in due.groupby(["ticker", "date"], sort=False):
        path = known[(known["ticker"] == ticker) & (known["date"] >= as_of)].sort_values("date")
        for needed in (as_of, pd.Timestamp(day)):
            if not (path["date"] == needed).any():
                raise StockcastError(
                    f"Forecasts of {ticker} for {day} cannot be scored: there is no bar for "
                    f"{needed:%Y-%m-%d}; materialise raw_prices for it first."
                )
        actual = float(path["close"].iloc[-1])
        prices = rows[["close_p10", "close_p50", "close_p90", "naive_close"]].mul(
            path["close"].iloc[0] / rows["last_close"] / _shares_gained(path), axis=0
        )
        parts.append(
            pd.DataFrame(
                {
                    "ticker": ticker,
                    "date": pd.Timestamp(day),
                    "horizon": rows["horizon"].astype("int64"),
                    "as_of_date": as_of,
                    "target_date": pd.Timestamp(day),
                    "actual_close": actual,
                    "error": prices["close_p50"] - actual,
                    "naive_error": prices["naive_close"] - actual,
                    "inside_80": prices["close_p10"].le(actual) & prices["close_p90"].ge(actual),
                }
            )
        )
    if not parts:
        return _empty()
    scored = pd.concat(parts).sort_values(["ticker", "horizon"], ignore_index=True)
    return scored[FORECAST_ACCURACY.column_names]


def _shares_gained(path: pd.DataFrame) -> float:
    """Shares at the end of `path` for one at its start, by splits that its closes do not already contain.

    A close that steps by nearly 1 / ratio on the ex-date was stored in old shares before it; one that steps
    by nearly nothing was adjusted. The nearer of the two, in logarithms, decides.
    """
    ratio = np.log(path["split_ratio"].to_numpy(np.float64)[1:])
    step = np.diff(np.log(path["close"].to_numpy(np.float64)))
    unadjusted = np.abs(step + ratio) < np.abs(step)
    return float(np.exp(ratio[unadjusted].sum()))


def _empty() -> pd.DataFrame:
    kinds = {
        "STRING": "object",
        "DATE": "datetime64[ns]",
        "INT64": "int64",
        "FLOAT64": "float64",
        "BOOL": "bool",
    }
    return pd.DataFrame({c.name: pd.Series(dtype=kinds[c.type]) for c in FORECAST_ACCURACY.columns})
