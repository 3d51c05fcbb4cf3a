"""Real history for the forecasting tests, and small models trained once for all of them."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.training.train import train_many
from stockcast_assets.forecasting.training.workers import training_pool
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets_tests.conftest import Shared

TRAINED_TO = date(2013, 1, 31)
SMALL = ModelConfig(units=8, window=5, epochs=3, folds=2, test_sessions=300, validation_sessions=60)


def known(bars: pd.DataFrame, last: date) -> pd.DataFrame:
    return bars[bars["date"] <= pd.Timestamp(last)].reset_index(drop=True)


def made_up_bars(sessions: int, seed: int = 0, ticker: str = "FAKE") -> pd.DataFrame:
    """A random walk with clustered volatility that ends on 2013-03-01."""
    rng = np.random.default_rng(seed)
    sigma = 0.01 * np.exp(0.3 * np.convolve(rng.normal(size=sessions + 29), np.ones(30) / np.sqrt(30), "valid"))
    close = 50 * np.exp(np.cumsum(rng.normal(size=sessions) * sigma))
    opens = close * np.exp(rng.normal(size=sessions) * 0.003)
    return pd.DataFrame(
        {
            "ticker": ticker,
            "date": pd.bdate_range(end="2013-03-01", periods=sessions),
            "open": opens,
            "high": np.maximum(opens, close) * np.exp(np.abs(rng.normal(size=sessions)) * 0.004),
            "low": np.minimum(opens, close) * np.exp(-np.abs(rng.normal(size=sessions)) * 0.004),
            "close": close,
            "adj_close": close * np.linspace(0.8, 1, sessions),
            "volume": rng.integers(1_000, 100_000, sessions),
        }
    )


@pytest.fixture(scope="session")
def sample() -> dict[str, pd.DataFrame]:
    source = SampleSource()
    return {ticker: source.bars(ticker, None, date(2013, 3, 1)) for ticker in source.tickers()}


@pytest.fixture(scope="session")
def jobs(sample: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The last sessions of two tickers up to the end of January 2013, and between them one too short to train on."""
    long = {ticker: known(sample[ticker], TRAINED_TO).tail(1200).reset_index(drop=True) for ticker in ("AAPL", "MSFT")}
    return {"AAPL": long["AAPL"], "SHORT": made_up_bars(104, ticker="SHORT"), "MSFT": long["MSFT"]}


@pytest.fixture(scope="session")
def progress() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="session")
def trained(
    jobs: dict[str, pd.DataFrame], progress: list[tuple[str, int, int]], shared_folder: Shared
) -> dict[str, TrainedModel]:
    """What was trained, by the process of a parallel test run that needed it first."""
    with shared_folder("trained") as folder:
        file = folder / "models.pickle"
        if not file.exists():
            models = train_many(jobs, SMALL, workers=2, progress=lambda *step: progress.append(step))
            file.write_bytes(pickle.dumps((models, progress)))
            return models
        models, steps = pickle.loads(file.read_bytes())  # noqa: S301  this test run's own
    progress.extend(steps)
    return models


@pytest.fixture(scope="session")
def worker() -> Iterator[ProcessPoolExecutor]:
    """One training process that knows nothing of those which trained `trained`; TensorFlow is imported here only."""
    with training_pool(1) as alone:
        yield alone
