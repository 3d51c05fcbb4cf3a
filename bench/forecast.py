"""How good are the forecasts, and how fast: yearly retrains on the sample's tickers, scored 2009-01 to 2013-02.

python bench/forecast.py                     # the table with 95 % intervals, about a minute on two cores
python bench/forecast.py --from 2005-01-01 --to 2008-12-31 --tickers AAPL IBM MSFT
python bench/forecast.py --bars prices.csv   # one ticker of your own, columns as in raw_prices
python bench/forecast.py --set units=200     # another configuration
python bench/forecast.py --speed             # seconds to forecast 500 tickers with 500 models
"""

import argparse
import dataclasses
import os
import time
from datetime import date

import numpy as np
import pandas as pd

from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.evaluation import POOLED, Evaluation, evaluate, yearly
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.forecaster import LSTM
from stockcast_assets.forecasting.predict import forecast
from stockcast_assets.forecasting.training import fit_folds, train_many, walk_forward_cases
from stockcast_assets.market.sources.sample import SampleSource

GATES = {
    "rmse_ratio_rw": 1.00,
    "rmse_ratio_drift": 1.00,
    "pinball_ratio_constant_vol": 0.91,
    "pinball_ratio_vol60": 0.99,
    "pinball_ratio_vol250": 1.00,
    "pinball_ratio_fhs": 1.00,
    "pinball_ratio_har": 1.00,
}
BASELINE = {"rw": "random_walk", "constant_vol": "random_walk"}


def read_bars(arguments: argparse.Namespace) -> dict[str, pd.DataFrame]:
    if arguments.bars:
        bars = pd.read_csv(arguments.bars, parse_dates=["date"])
        return {str(ticker): of_ticker.reset_index(drop=True) for ticker, of_ticker in bars.groupby("ticker")}
    source = SampleSource()
    return {ticker: source.bars(ticker, None, date(2013, 3, 1)) for ticker in arguments.tickers or source.tickers()}


def read_config(pairs: list[str]) -> ModelConfig:
    values = {}
    for name, _, value in (pair.partition("=") for pair in pairs):
        values[name] = type(getattr(ModelConfig(), name, value))(value)
    return ModelConfig.from_dict(values)


def headline(evaluation: Evaluation) -> pd.DataFrame:
    rows = []
    summary = evaluation.summary()
    for key, gate in GATES.items():
        other = BASELINE.get(key.split("ratio_")[1], key.split("ratio_")[1])
        interval = evaluation.rmse_ratio_interval if key.startswith("rmse") else evaluation.pinball_ratio_interval
        low, high = interval(LSTM, other)
        rows.append({"metric": key, "value": summary[key], "low": low, "high": high, "gate": gate})
    return pd.DataFrame(rows).assign(passed=lambda frame: frame["value"] <= frame["gate"])


def quality(arguments: argparse.Namespace) -> None:
    bars, config = read_bars(arguments), read_config(arguments.set)
    histories = {ticker: prepare(of_ticker) for ticker, of_ticker in bars.items()}
    folds = {ticker: yearly(history, arguments.start, arguments.end, config) for ticker, history in histories.items()}
    started = time.perf_counter()
    fits = fit_folds(folds, bars, config)
    seconds = time.perf_counter() - started
    cases = {ticker: walk_forward_cases(histories[ticker], folds[ticker], fits[ticker], config)[0] for ticker in bars}
    pooled = evaluate(list(cases.values()))
    print(f"{dataclasses.asdict(config)}")
    print(
        f"{sum(map(len, folds.values()))} fits in {seconds:.1f} s on {os.cpu_count()} cores, TensorFlow's import "
        f"included; {int(pooled.cases.sum())} as-of days x 10 horizons, {pooled.dates[0]:%Y-%m-%d} to "
        f"{pooled.dates[-1]:%Y-%m-%d}\n"
    )
    print(headline(pooled).to_string(index=False, float_format="{:.4f}".format), "\n")
    table = pooled.table()
    columns = ["contender", "rmse", "mae", "mase", "pinball", "crps", "coverage_50", "coverage_80", "coverage_90",
               "directional_accuracy", "dm_squared_vs_random_walk", "dm_pinball_vs_har"]  # fmt: skip
    print(table[table["horizon"] == POOLED][columns].to_string(index=False, float_format="{:.4f}".format), "\n")
    lstm = table[(table["contender"] == LSTM) & (table["horizon"] != POOLED)]
    print(lstm[["horizon", *columns[1:]]].to_string(index=False, float_format="{:.4f}".format), "\n")
    years = pooled.dates.year
    ratios = {
        name: [pooled.pinball[LSTM][years == y].sum() / pooled.pinball[name][years == y].sum() for y in years.unique()]
        for name in pooled.contenders
        if name != LSTM
    }
    print("Pinball ratio by year\n", pd.DataFrame(ratios, years.unique()).round(4).to_string(), "\n")
    coverage = {
        ticker: pd.Series(
            (
                (one.targets >= one.forecasts[LSTM].quantiles[:, :, 1])
                & (one.targets <= one.forecasts[LSTM].quantiles[:, :, 5])
            ).mean(axis=1)
        ).groupby(one.dates.year).mean()
        for ticker, one in cases.items()
    }  # fmt: skip
    by_year = pd.DataFrame(coverage)
    print("80 % coverage by year\n", by_year.assign(all=by_year.mean(axis=1)).round(4).to_string(), "\n")
    by_ticker = {ticker: evaluate([one]).summary() for ticker, one in cases.items()}
    print("By ticker\n", pd.DataFrame(by_ticker).round(4).to_string())


def speed(arguments: argparse.Namespace) -> None:
    bars = read_bars(arguments)
    started = time.perf_counter()
    trained = train_many(bars, read_config(arguments.set))
    print(f"training {len(bars)} tickers: {time.perf_counter() - started:.1f} s on {os.cpu_count()} cores")
    copies = {f"{ticker}.{n}": ticker for n in range(500 // len(bars)) for ticker in bars}
    models, histories, days = {}, {}, {}
    for name, ticker in copies.items():
        forecaster = trained[ticker].forecaster
        models[name] = dataclasses.replace(forecaster, ticker=name, method=LSTM)
        histories[name] = bars[ticker].assign(ticker=name)
        days[name] = [bars[ticker]["date"].iloc[-1]]
    started = time.perf_counter()
    frame = forecast(models, histories, days)
    print(f"forecasting {len(models)} tickers with their own models: {time.perf_counter() - started:.2f} s")
    rows = {name: np.array([len(histories[name]) - 1]) for name in models}
    prepared = {name: prepare(histories[name]) for name in models}
    started = time.perf_counter()
    for name, model in models.items():
        model.quantiles(prepared[name], rows[name])
    print(f"of which networks and calibration: {time.perf_counter() - started:.2f} s; {len(frame)} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="start", type=date.fromisoformat, default=date(2009, 1, 1))
    parser.add_argument("--to", dest="end", type=date.fromisoformat, default=date(2013, 2, 28))
    parser.add_argument("--tickers", nargs="+")
    parser.add_argument("--bars", help="CSV file with the columns of raw_prices")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="fields of ModelConfig")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    speed(arguments) if arguments.speed else quality(arguments)


if __name__ == "__main__":
    main()
