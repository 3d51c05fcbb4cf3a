"""The daily forecast: published quantiles of the next sessions' closes, without TensorFlow."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.forecaster import Forecaster

QUANTILE_COLUMNS = [f"close_p{round(level * 100):02d}" for level in QUANTILES]
COLUMNS = ["ticker", "date", "horizon", "last_close", *QUANTILE_COLUMNS, "naive_close", "method"]


def _forecast_ticker(model: Forecaster, bars: pd.DataFrame, days: pd.DatetimeIndex) -> pd.DataFrame:
    history = prepare(bars[bars["date"] <= days[-1]])
    rows = history.dates.get_indexer(days)
    if (rows < 0).any():
        raise StockcastError(
            f"{model.ticker} has no bar on {days[rows < 0][0].date()}: ingest that session before forecasting from it."
        )
    returns = model.quantiles(history, rows)
    close = history.close[rows]
    frame = pd.DataFrame(
        {
            "ticker": pd.Series(model.ticker, range(len(rows) * HORIZON), dtype=object),
            "date": np.repeat(history.dates[rows], HORIZON),
            "horizon": np.tile(np.arange(1, HORIZON + 1), len(rows)),
            "last_close": np.repeat(close, HORIZON),
        }
    )
    prices = close[:, None, None] * np.exp(returns)
    frame[QUANTILE_COLUMNS] = prices.reshape(-1, len(QUANTILES))
    return frame.assign(naive_close=frame["last_close"], method=model.method)


def forecast(
    models: Mapping[str, Forecaster],
    bars: Mapping[str, pd.DataFrame],
    days: Mapping[str, Sequence[date | pd.Timestamp]],
) -> pd.DataFrame:
    """Forecast each ticker as of the end of each of its `days`.

    A row's bits depend on its model and the ticker's bars up to its day alone: not on later bars, other days
    or other tickers of the call, nor on the machine's cores.

    Args:
        models: the month's model per ticker.
        bars: per ticker all bars from its first stored one, at least up to the last of its days.
        days: as-of sessions per ticker, none before the end of the model's training.

    Returns:
        Long frame with COLUMNS, sorted by (ticker, date, horizon); prices in the unit of the bars.

    Raises:
        StockcastError: if a model, or the bar of a day, is missing, or a day precedes its model.
    """
    parts = []
    with threadpool_limits(1, user_api="blas"):
        for ticker, of_ticker in sorted(days.items()):
            if ticker not in models or ticker not in bars:
                missing = "model" if ticker not in models else "bars"
                raise StockcastError(f"There is no {missing} of {ticker} to forecast with: materialise it first.")
            if models[ticker].ticker != ticker:
                raise StockcastError(
                    f"The model given for {ticker} was trained on {models[ticker].ticker}: load the ticker's own model."
                )
            if len(of_ticker):
                asked = pd.DatetimeIndex(sorted({pd.Timestamp(day) for day in of_ticker}))
                parts.append(_forecast_ticker(models[ticker], bars[ticker], asked))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
