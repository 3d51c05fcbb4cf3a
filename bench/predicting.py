"""Seconds to forecast one day of 500 tickers with 500 different networks, at once and one by one, in the same run.

python bench/predicting.py
python bench/predicting.py --tickers 100 --units 200 --day 2013-01-31
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.features import FEATURE_NAMES, prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.network import BASE, Layer, Lstm, Weights, fit_scaler, pooled_shape
from stockcast_assets.forecasting.serving.calibration import Calibration
from stockcast_assets.forecasting.serving.forecaster import CalibratedLstm, Forecaster
from stockcast_assets.forecasting.serving.predict import QUANTILE_COLUMNS, forecast
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.methods import LSTM

TRAINED_TO = date(2013, 1, 31)
TIMES = 3


def random_weights(units: int, seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    shapes = (len(FEATURE_NAMES), 4 * units), (units, 4 * units), (4 * units,), (units, HORIZON), (HORIZON,)
    *layer, head, head_bias = (rng.normal(size=shape, scale=0.1).astype(np.float32) for shape in shapes)
    return Weights((Layer(*layer),), head, head_bias)


def template(bars: pd.DataFrame, config: ModelConfig) -> Forecaster:
    """A ticker's model as training leaves it, except that its network learnt nothing: speed is all the same."""
    history = prepare(bars[bars["date"] <= pd.Timestamp(TRAINED_TO)])
    rows = np.arange(history.first_row + config.window, len(history) - HORIZON)
    naive = fit_naive(history, rows)
    base = naive[BASE]
    lstm = Lstm(
        random_weights(config.units, 0),
        fit_scaler(history, rows),
        base.volatility,
        pooled_shape(base.shape),
        config.window,
        config.lstm_weight,
    )
    network = CalibratedLstm(lstm, Calibration.start(config.aci_step))
    return Forecaster(history.ticker, LSTM, TRAINED_TO, naive, network)


def with_own_network(model: Forecaster, ticker: str, units: int, seed: int) -> Forecaster:
    assert model.network is not None
    lstm = dataclasses.replace(model.network.lstm, weights=random_weights(units, seed))
    return dataclasses.replace(model, ticker=ticker, network=dataclasses.replace(model.network, lstm=lstm))


def fastest(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the fastest of a few times, by the clock and of this process, and what the last one returned."""
    seconds, of_cpu, result = [], [], None
    for _ in range(TIMES):
        started, used = time.perf_counter(), time.process_time()
        result = work()
        seconds.append(time.perf_counter() - started)
        of_cpu.append(time.process_time() - used)
    return min(seconds), min(of_cpu), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, default=500)
    parser.add_argument("--units", type=int, default=ModelConfig.units)
    parser.add_argument("--day", type=date.fromisoformat, default=date(2013, 2, 28))
    arguments = parser.parse_args()

    source = SampleSource()
    real = {ticker: source.bars(ticker, None, date(2013, 3, 1)) for ticker in source.tickers()}
    templates = {ticker: template(bars, ModelConfig(units=arguments.units)) for ticker, bars in real.items()}
    models, histories = {}, {}
    for number in range(arguments.tickers):
        of = list(real)[number % len(real)]
        name = f"{of}.{number}"
        models[name] = with_own_network(templates[of], name, arguments.units, number)
        histories[name] = real[of].assign(ticker=name)
    days = {name: [arguments.day] for name in models}

    together, together_cpu, frame = fastest(lambda: forecast(models, histories, days))
    one_by_one, one_by_one_cpu, frames = fastest(
        lambda: [forecast({name: models[name]}, {name: histories[name]}, {name: days[name]}) for name in sorted(models)]
    )
    alone = pd.concat(frames, ignore_index=True)
    difference = np.abs(alone[QUANTILE_COLUMNS].to_numpy() / frame[QUANTILE_COLUMNS].to_numpy() - 1).max()
    sessions = sum(map(len, histories.values())) / len(histories)
    print(
        f"{len(models)} tickers with {len(models)} networks of {arguments.units} units, as of {arguments.day}, "
        f"{sessions:,.0f} sessions each, on {os.cpu_count()} cores (fastest of {TIMES}):\n"
        f"at once     {together:.2f} s ({together_cpu:.2f} s of CPU)\n"
        f"one by one  {one_by_one:.2f} s ({one_by_one_cpu:.2f} s of CPU)\n"
        f"largest relative difference between the two: {difference:.1e}"
    )


if __name__ == "__main__":
    main()
