"""Seconds of processor time that live scores of a universe take; or how often a stray sigma loses its skill.

python bench/live.py
python bench/live.py --tickers 100 --sessions 60
python bench/live.py --skill
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from stockcast_assets.forecasting.evaluation.scores import pinball_losses
from stockcast_assets.methods import BESIDE
from stockcast_assets.monitoring import live
from stockcast_assets.orchestration.asset_checks.thresholds import MOST_PINBALL, SCORED
from stockcast_assets.tables import FORECAST_ACCURACY, HORIZON, PINBALL_COLUMNS, QUANTILES
from stockcast_assets.warehouse import DuckDBWarehouse, TableRef, frames
from stockcast_assets.warehouse.slices import Slice

WINDOWS = 2000
PERSISTENCE = 0.95
HAR_ERROR = 0.15
STRAYS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)


def scored(tickers: int, sessions: int) -> pd.DataFrame:
    """Rows of `forecast_accuracy` of calibrated forecasts that are a hundredth better than HAR."""
    rng = np.random.default_rng(0)
    days = pd.bdate_range(end="2013-03-01", periods=sessions)
    names = np.array([f"T{number:03d}" for number in range(tickers)], dtype=object)
    rows = pd.DataFrame(
        {
            "ticker": names.repeat(sessions * HORIZON),
            "date": np.tile(days.to_numpy().repeat(HORIZON), tickers),
            "horizon": np.tile(np.arange(1, HORIZON + 1), tickers * sessions),
        }
    )
    pit = rng.random(len(rows))
    loss = rng.gamma(2, 0.004, len(rows))
    beside = {PINBALL_COLUMNS[name]: loss * (1.05 - 0.013 * place) for place, name in enumerate(BESIDE)}
    return rows.assign(
        as_of_date=rows["date"] - pd.to_timedelta(rows["horizon"] * 7 // 5, unit="D"), target_date=rows["date"],
        actual_close=50.0, error=rng.normal(0, 1, len(rows)), naive_error=rng.normal(0, 1, len(rows)),
        inside_80=(pit > 0.1) & (pit < 0.9), revision=0, late=False, pit=pit, pinball=loss, crps=2.4 * loss,
        interval_score_80=10 * loss, **beside,
    )  # fmt: skip


def speed(tickers: int, sessions: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = DuckDBWarehouse(str(Path(folder) / "warehouse.duckdb"))
        rows = scored(tickers, sessions)[FORECAST_ACCURACY.column_names]
        data, contract = frames.to_arrow(rows, FORECAST_ACCURACY.name, FORECAST_ACCURACY)
        warehouse.replace(TableRef("stockcast", FORECAST_ACCURACY.name), data, Slice.whole(), contract)
        del rows, data
        started = time.process_time()
        stored = warehouse.read(FORECAST_ACCURACY, columns=live.COLUMNS)
        print(f"{tickers} tickers x {sessions} sessions, {len(stored):,} scored forecasts")
        print(f"read                {time.process_time() - started:6.2f} s")
        for name, length in live.WINDOWS.items():
            started = time.process_time()
            chosen = live.recent(live.by_publication(stored)[live.IN_TIME], length)
            live.summarise(chosen)
            pooled = time.process_time() - started
            live.by_ticker(chosen)
            each = time.process_time() - started - pooled
            print(f"{name:<20}{pooled:6.2f} s pooled, {each:.2f} s of each ticker")


def path(rng: np.random.Generator, deviation: float) -> np.ndarray:
    """[WINDOWS, SCORED] of an autoregression with this standard deviation."""
    steps = rng.normal(size=(WINDOWS, SCORED))
    steps[:, 1:] *= np.sqrt(1 - PERSISTENCE**2)
    for day in range(1, SCORED):
        steps[:, day] += PERSISTENCE * steps[:, day - 1]
    return deviation * steps


def skill() -> None:
    rng = np.random.default_rng(0)
    moves = np.cumsum(rng.standard_t(5, size=(WINDOWS, SCORED + HORIZON)) / np.sqrt(5 / 3), axis=1)
    ahead = np.arange(1, HORIZON + 1)
    outcomes = np.stack([moves[:, h : h + SCORED] - moves[:, :SCORED] for h in ahead], axis=2)
    normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILES])

    def loss(log_sigma: np.ndarray) -> np.ndarray:
        sigma = np.sqrt(ahead) * np.exp(log_sigma)[:, :, None]
        values: np.ndarray = pinball_losses(outcomes, sigma[..., None] * normal).mean(axis=(1, 2, 3))
        return values

    har = path(rng, HAR_ERROR)
    theirs = loss(har)
    print(f"share of {WINDOWS:,} windows of {SCORED} sessions whose pinball loss is over {MOST_PINBALL} of HAR's")
    for stray in STRAYS:
        lost = loss(har + path(rng, stray)) / theirs
        print(f"a sigma that strays by {stray:.0%}: {(lost > MOST_PINBALL).mean():.2%}, mean ratio {lost.mean():.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=252)
    parser.add_argument("--skill", action="store_true")
    arguments = parser.parse_args()
    if arguments.skill:
        skill()
    else:
        speed(arguments.tickers, arguments.sessions)


if __name__ == "__main__":
    main()
