"""Seconds and GFLOP/s of training, beside the machine's matmul peak and the loop that stockcast replaces.

python bench/training.py                  # 4 tickers and 32, against one plain Keras fit per ticker: some minutes
python bench/training.py --tickers 4      # without the 32
python bench/training.py --without-loop   # without the plain loop

A model is three walk-forward fits and the final one. GFLOP/s count the multiplications and additions of the matrix
products of the LSTM and its head, forward and backward, of the epochs that were run; TensorFlow's import, features,
baselines and the proof are in the seconds.
"""

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context

import numpy as np
import pandas as pd

from stockcast_assets.forecasting.baselines import fit_har, fit_naive
from stockcast_assets.forecasting.config import HORIZON, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation import Fold, plan
from stockcast_assets.forecasting.features import FEATURE_NAMES, prepare
from stockcast_assets.forecasting.network import fit_scaler, pooled_shape
from stockcast_assets.forecasting.training import Candidate, fit_folds, fit_many
from stockcast_assets.forecasting.workers import CALM
from stockcast_assets.market.sources.sample import SampleSource

TRAINED_TO = pd.Timestamp("2013-01-31")
PLAIN = {"batch_size": 10, "epochs": 20}
"""What the predecessor's loop did."""


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
    """Of this process and of those it has waited for: what a busy machine cannot stretch as it does the clock."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def flops(config: ModelConfig, learnt: int, judged: int, epochs: int) -> float:
    """Of the matrix products of one fit: `epochs` over `learnt` samples, and the losses before and after."""
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


def ours(tickers: int, config: ModelConfig, peak: float) -> None:
    bars = known_bars(tickers)
    started, cpu = time.perf_counter(), cpu_seconds()
    candidates = fit_many(bars, config)
    for candidate in candidates.values():
        candidate.judged()
    seconds = time.perf_counter() - started
    rate = sum(map(flops_of, candidates.values())) / seconds / 1e9
    fits = sum(len(candidate.fits) for candidate in candidates.values())
    print(
        f"{tickers:3} tickers x 1 month ({fits} fits): {seconds:6.1f} s ({cpu_seconds() - cpu:.0f} s of CPU), "
        f"{rate:5.1f} GFLOP/s, "
        f"{rate / peak:.0%} of the peak",
        flush=True,
    )


def plain_fit(bars: pd.DataFrame, fold: Fold, config: ModelConfig) -> float:
    """One plain `fit` of the same network on the same samples and loss; its validation loss in the end."""
    import keras

    history = prepare(bars)
    har = fit_har(history, fold.known)
    shape = pooled_shape(fit_naive(history, fold.known, har)["har"].shape).astype(np.float32)
    scaler = fit_scaler(history, fold.train)
    levels = np.array(QUANTILES, np.float32)

    def pinball(y, scale):
        below = y[:, :, None] - keras.ops.exp(scale)[:, :, None] * shape
        return keras.ops.mean(keras.ops.maximum(levels * below, (levels - 1) * below), axis=(1, 2))

    def samples(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = scaler.apply(history.windows(rows, config.window))
        return inputs.astype(np.float32), (history.targets[rows] / har.sigma(history, rows)).astype(np.float32)

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
    bars: dict[str, pd.DataFrame], folds: dict[str, Sequence[Fold]], config: ModelConfig
) -> tuple[float, dict[str, float]]:
    """One fit after the other in one process that imports TensorFlow first: seconds, and validation losses."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", CALM["TF_CPP_MIN_LOG_LEVEL"])
    started = time.perf_counter()
    losses = {name: plain_fit(bars[name], folds[name][0], config) for name in bars}
    return time.perf_counter() - started, losses


def against_the_loop(config: ModelConfig) -> None:
    """The final fit of each of four tickers, both ways."""
    bars = known_bars(4)
    folds = {name: [plan(prepare(of), config)[1]] for name, of in bars.items()}
    started, cpu = time.perf_counter(), cpu_seconds()
    fits = fit_folds(folds, bars, config)
    seconds, used = time.perf_counter() - started, cpu_seconds() - cpu
    cpu = cpu_seconds()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        plain_seconds, plain = alone.submit(plain_loop, bars, folds, config).result()
    stopped = {name: min(epoch["validation"] for epoch in fits[name][0].curve) for name in bars}
    print(
        f"\nfinal fits of 4 tickers: {seconds:.1f} s; plain Keras, batch {PLAIN['batch_size']}, {PLAIN['epochs']} "
        f"epochs, one process: {plain_seconds:.1f} s, {plain_seconds / seconds:.1f} times as long; "
        f"CPU {used:.0f} s and {cpu_seconds() - cpu:.0f} s"
    )
    table = pd.DataFrame({"stockcast": stopped, "plain": plain})
    table.loc["mean"] = table.mean()
    print("validation pinball, in sigmas (the lower the better)")
    print(table.assign(ratio=table["stockcast"] / table["plain"]).round(4).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--units", type=int, default=ModelConfig.units)
    parser.add_argument("--without-loop", action="store_true")
    arguments = parser.parse_args()
    config = ModelConfig(units=arguments.units)
    peak = matmul_peak()
    print(f"{config.units} units, {os.cpu_count()} cores, matmul peak {peak:.0f} GFLOP/s (float32, all cores)")
    for tickers in arguments.tickers:
        ours(tickers, config, peak)
    if not arguments.without_loop:
        against_the_loop(config)


if __name__ == "__main__":
    main()
