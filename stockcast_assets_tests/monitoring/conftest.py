import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.serving.forecaster import Forecaster
from stockcast_assets.forecasting.serving.predict import hindcast
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.monitoring import series
from stockcast_assets.monitoring.series import Floats
from stockcast_assets.tables import BESIDE_COLUMNS, QUANTILES, SIGMA_COLUMNS, TAIL_COLUMNS


@pytest.fixture(scope="session")
def sample() -> dict[str, pd.DataFrame]:
    """The bundled history, one frame per ticker."""
    source = SampleSource()
    return {ticker: source.bars(ticker, None, pd.Timestamp("2013-03-01").date()) for ticker in source.tickers()}


@pytest.fixture(scope="session")
def msft(sample: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return sample["MSFT"]


def har_quantiles(bars: pd.DataFrame) -> tuple[pd.DatetimeIndex, Floats]:
    """What a naive HAR that knows the bars up to 2012 says as of every session."""
    known = prepare(bars[bars["date"] < "2013-01-01"])
    rows = np.arange(known.first_row, len(known) - HORIZON)
    naive = fit_naive(known, rows)
    return hindcast(Forecaster(known.ticker, "naive_har", known.dates[-1].date(), naive, None), bars)


def said_by_har(bars: pd.DataFrame) -> pd.DataFrame:
    """`series.predictions` of it."""
    return series.predictions(*har_quantiles(bars))


def published_by_har(bars: pd.DataFrame, since: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`forecasts` and `forecast_accuracy` as if it had been published from a day on, one session ahead."""
    dates, quantiles = har_quantiles(bars)
    rows = np.arange(dates.searchsorted(pd.Timestamp(since)), len(dates) - 1)
    close = bars.set_index("date")["close"].reindex(dates).to_numpy()
    prices = close[rows, None] * np.exp(quantiles[rows, 0])
    columns = [f"close_p{round(level * 100):02d}" for level in QUANTILES]
    made = pd.DataFrame({"ticker": bars["ticker"].iloc[0], "date": dates[rows], "horizon": 1})
    made[columns] = prices
    actual = close[rows + 1]
    scored = made[["ticker", "horizon"]].assign(
        date=dates[rows + 1],
        as_of_date=dates[rows],
        actual_close=actual,
        error=made["close_p50"] - actual,
        pit=np.nan,
    )
    return made, scored


def fan(bars: pd.DataFrame, as_of: str, volatility: float = 0.015) -> pd.DataFrame:
    """A plausible `forecasts` frame of one ticker and day: a fan growing with the root of the horizon."""
    z = dict(zip(QUANTILES, (-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645), strict=True))
    tails = dict(zip(TAIL_COLUMNS, (-2.326, 2.326), strict=True))
    known = bars[bars["date"] <= as_of]
    last = float(known["close"].iloc[-1])
    horizons = np.arange(1, 11)
    return pd.DataFrame(
        {
            "ticker": known["ticker"].iloc[-1],
            "date": pd.Timestamp(as_of),
            "horizon": horizons,
            "target_date": pd.bdate_range(pd.Timestamp(as_of) + pd.offsets.BDay(), periods=10),
            "last_close": last,
            **{f"close_p{round(q * 100):02d}": last * np.exp(z[q] * volatility * horizons**0.5) for q in QUANTILES},
            "naive_close": last,
            "model_version": "1",
            "method": "naive_har",
            "fallback": None,
            **dict.fromkeys(SIGMA_COLUMNS.values(), 1.2 * volatility * horizons**0.5),
            **{
                column: last * np.exp(z[q] * 1.1 * volatility * horizons**0.5)
                for columns in BESIDE_COLUMNS.values()
                for q, column in zip(QUANTILES, columns, strict=True)
            },
            **{name: last * np.exp(tail * volatility * horizons**0.5) for name, tail in tails.items()},
        }
    )
