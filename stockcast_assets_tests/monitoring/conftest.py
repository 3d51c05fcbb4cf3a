import numpy as np
import pandas as pd
import pytest

from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.tables import QUANTILES


@pytest.fixture(scope="session")
def sample() -> dict[str, pd.DataFrame]:
    """The bundled history, one frame per ticker."""
    source = SampleSource()
    return {ticker: source.bars(ticker, None, pd.Timestamp("2013-03-01").date()) for ticker in source.tickers()}


@pytest.fixture(scope="session")
def msft(sample: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return sample["MSFT"]


def fan(bars: pd.DataFrame, as_of: str, volatility: float = 0.015) -> pd.DataFrame:
    """A plausible `forecasts` frame of one ticker and day: a fan growing with the root of the horizon."""
    z = dict(zip(QUANTILES, (-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645), strict=True))
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
        }
    )
