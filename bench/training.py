"""Seconds and GFLOP/s of training, beside the machine's matmul peak and the loop that stockcast replaces.

python bench/training.py                     # 4 tickers and 32, against one plain Keras fit per ticker: some minutes
python bench/training.py --tickers 4         # without the 32
python bench/training.py --plain-tickers 0   # without the plain loop

A model is three walk-forward fits and the final one. GFLOP/s count the multiplications and additions of the matrix
products of the LSTM and its head, forward and backward, of the epochs that were run; TensorFlow's import, features,
baselines and the proof are in the seconds. Against the loop only the final fits count, because it had no other. It
runs over a few tickers, is scaled to all, and is given the same samples, loss and network, and the predecessor's size.
"""

import argparse
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil

from stockcast_assets.forecasting.config import HORIZON, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import Fold, plan
from stockcast_assets.forecasting.features import FEATURE_NAMES, prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.network import BASE, fit_scaler, pooled_shape
from stockcast_assets.forecasting.training.train import Candidate, fit_folds, fit_many
from stockcast_assets.forecasting.training.workers import CALM, training_pool
from stockcast_assets.market.sources.sample import SampleSource

TRAINED_TO = pd.Timestamp("2013-01-31")
PLAIN = {"batch_size": 10, "epochs": 20}
"""What the predecessor's loop did."""
PREDECESSORS_UNITS = 200


def known_bars(tickers: int) -> dict[str, pd.DataFrame]:
    """The sample's tickers; beyond four, again under other names, each time with a later first session."""
    source = SampleSource()
    real = {ticker: source.bars(ticker, None, date(2013, 3, 1)) for ticker in source.tickers()}
    bars = {}
    for number in range(tickers):
        of = list(real)[number % len(real)]
        known = real[of][real[of]["date"] <= TRAINED_TO].iloc[50 * (number // len(real)) :]
        bars[f"{of}.{number}"] = known.assign(ticker=f"{of}.{number}").reset_index(drop=True)
    return bars


def matmul_peak(size: int = 2048) -> float:
    """GFLOP/s of one large product of float32 matrices on all cores, the best of a few."""
    one = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        one @ one
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds) / 1e9


def cpu_seconds() -> float:
    """Of this process and all that it started, ended or not: what a busy machine stretches less than the clock."""
    here = psutil.Process()
    started = here.children(recursive=True)
    return sum(sum(times[:4]) for times in (process.cpu_times() for process in (here, *started)))


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and of CPU."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def __mul__(self, times: float) -> "Spent":
        return Spent(self.wall * times, self.cpu * times)

    def __str__(self) -> str:
        return f"{self.wall:7.1f} s ({self.cpu:6.1f} s of CPU)"

    @classmethod
    def by(cls, work: Callable[[], Any]) -> "tuple[Spent, Any]":
        wall, cpu = time.perf_counter(), cpu_seconds()
        result = work()
        return cls(time.perf_counter() - wall, cpu_seconds() - cpu), result


def flops(config: ModelConfig, learnt: int, judged: int, epochs: int) -> float:
    """Of the matrix products of one fit: `epochs` over `learnt` samples, and the losses before and after."""
    assert config.layers == 1
    inputs, recurrent = len(FEATURE_NAMES) * 4 * config.units, config.units * 4 * config.units
    head = config.units * HORIZON
    forward = 2 * (config.window * (inputs + recurrent) + head)
    # The gradient of the weights, and of what they were multiplied with unless that is data.
    backward = 2 * (config.window * (inputs + 2 * recurrent) + 2 * head)
    return epochs * learnt * (forward + backward) + (learnt + (epochs + 1) * judged) * forward


def flops_of(candidate: Candidate) -> float:
    return sum(
        flops(candidate.config, len(fold.train), len(fold.validation), len(fit.curve) - 1)
        for fold, fit in zip(candidate.folds, candidate.fits, strict=True)
    )


def import_once() -> Spent:
    """What importing TensorFlow costs, which the first training of a process pays for all of them."""

    def work() -> None:
        with training_pool(1) as pool:
            pool.submit(os.getpid).result()

    return Spent.by(work)[0]


def models(bars: dict[str, pd.DataFrame], config: ModelConfig, imported: Spent, peak: float) -> None:
    """Whole models: walk-forward, final fit and proof."""

    def work() -> list[Candidate]:
        candidates = list(fit_many(bars, config).values())
        for candidate in candidates:
            candidate.judged()
        return candidates

    spent, candidates = Spent.by(work)
    spent += imported
    rate = sum(map(flops_of, candidates)) / spent.wall / 1e9
    fits = sum(len(candidate.fits) for candidate in candidates)
    print(
        f"{len(bars):3} tickers x 1 month ({fits} fits): {spent}, {rate:5.1f} GFLOP/s, {rate / peak:.0%} of the peak",
        flush=True,
    )


def plain_fit(bars: pd.DataFrame, fold: Fold, config: ModelConfig) -> float:
    """One plain `fit` of the same network on the same samples and loss; its validation loss in the end."""
    import keras

    history = prepare(bars)
    base = fit_naive(history, fold.known)[BASE]
    shape = pooled_shape(base.shape).astype(np.float32)
    scaler = fit_scaler(history, fold.train)
    levels = np.array(QUANTILES, np.float32)

    def pinball(y, scale):
        below = y[:, :, None] - keras.ops.exp(scale)[:, :, None] * shape
        return keras.ops.mean(keras.ops.maximum(levels * below, (levels - 1) * below), axis=(1, 2))

    def samples(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = scaler.apply(history.windows(rows, config.window))
        return inputs.astype(np.float32), (history.targets[rows] / base.volatility.sigma(history, rows)).astype(
            np.float32
        )

    keras.utils.set_random_seed(config.seed)
    network = keras.Sequential(
        [
            keras.Input((config.window, len(FEATURE_NAMES))),
            keras.layers.LSTM(config.units),
            keras.layers.Dropout(config.dropout),
            keras.layers.Dense(HORIZON),
        ]
    )
    network.compile(optimizer=keras.optimizers.Adam(), loss=pinball, jit_compile=False)
    network.fit(*samples(fold.train), validation_data=samples(fold.validation), verbose=0, **PLAIN)
    return float(network.evaluate(*samples(fold.validation), verbose=0))


def plain_loop(
    bars: dict[str, pd.DataFrame], folds: Mapping[str, Sequence[Fold]], config: ModelConfig
) -> tuple[Spent, Spent, dict[str, float]]:
    """One fit after the other in this process: the import, the fits, and the validation losses."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", CALM["TF_CPP_MIN_LOG_LEVEL"])
    imported, _ = Spent.by(lambda: importlib.import_module("keras"))
    fits, losses = Spent.by(lambda: {name: plain_fit(bars[name], folds[name][0], config) for name in bars})
    return imported, fits, losses


class Plain(NamedTuple):
    """The plain loop's networks, and what a few of its fits took and reached."""

    units: int
    imported: Spent
    fits: Spent
    losses: dict[str, float]


def measure_plain(tickers: int, units: int, config: ModelConfig) -> Plain:
    bars = known_bars(tickers)
    folds = {name: [plan(prepare(of), config)[1]] for name, of in bars.items()}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return Plain(units, *alone.submit(plain_loop, bars, folds, replace(config, units=units)).result())


def against_the_loop(tickers: int, config: ModelConfig, imported: Spent, plain: list[Plain]) -> None:
    """The final fit of each ticker, both ways; the plain loop is scaled from a few tickers to all."""
    bars = known_bars(tickers)
    folds = {name: [plan(prepare(of), config)[1]] for name, of in bars.items()}
    spent, fits = Spent.by(lambda: fit_folds(folds, bars, config))
    total = imported + spent
    print(f"\nfinal fits of {tickers} tickers\nstockcast, {config.units} units: import {imported}, fits {spent}")
    best = {name: min(row["validation"] for row in of_ticker[0].curve) for name, of_ticker in fits.items()}
    for loop in plain:
        scaled = loop.fits * (tickers / len(loop.losses))
        whole = loop.imported + scaled
        print(
            f"plain loop, {loop.units} units: import {loop.imported}, fits {scaled}, scaled from {len(loop.losses)}\n"
            f"    times as long: {whole.wall / total.wall:.1f} (CPU {whole.cpu / total.cpu:.1f}), "
            f"import apart {scaled.wall / spent.wall:.1f} (CPU {scaled.cpu / spent.cpu:.1f})"
        )
    table = pd.DataFrame({f"plain, {loop.units} units": loop.losses for loop in plain}).assign(
        stockcast=pd.Series(best)
    )
    table.loc["mean"] = table.mean()
    print("validation pinball, in sigmas (the lower the better)")
    print(table.round(4).to_string(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--units", type=int, default=ModelConfig.units)
    parser.add_argument("--plain-tickers", type=int, default=2, help="fits that the plain loop is measured on; 0: none")
    parser.add_argument("--plain-units", type=int, nargs="+", default=[ModelConfig.units, PREDECESSORS_UNITS])
    arguments = parser.parse_args()
    config = ModelConfig(units=arguments.units)
    peak = matmul_peak()
    print(f"{config.units} units, {os.cpu_count()} cores, matmul peak {peak:.0f} GFLOP/s (float32, all cores)")
    imported = import_once()
    for tickers in arguments.tickers:
        models(known_bars(tickers), config, imported, peak)
    if arguments.plain_tickers:
        plain = [measure_plain(arguments.plain_tickers, units, config) for units in arguments.plain_units]
        for tickers in arguments.tickers:
            against_the_loop(tickers, config, imported, plain)


if __name__ == "__main__":
    main()
