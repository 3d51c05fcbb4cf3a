"""How good are the forecasts, and how fast: yearly retrains on the sample's tickers, scored 2009-01 to 2013-02.

python bench/forecast.py                     # the table with 95 % intervals, about a minute on two cores
python bench/forecast.py --with-statistical  # AutoETS and Theta too (extra `stats`), half a minute more
python bench/forecast.py --from 2005-01-01 --to 2008-12-31 --tickers AAPL IBM MSFT
python bench/forecast.py --bars prices.csv   # tickers of your own
python bench/forecast.py --set units=200     # another configuration
python bench/forecast.py --universe          # one network for all tickers, and the steps that it is built from
python bench/forecast.py --speed             # seconds to forecast 500 tickers with 500 models

The protocol is `stockcast_assets.forecasting.evaluation.walkforward`, which `stockcast evaluate` runs on stored bars.
"""

import argparse
import dataclasses
import os
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from stockcast_assets.cli import evaluate_files
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.evaluation.scores import POOLED, SCORES, coverage_by_day
from stockcast_assets.forecasting.evaluation.walkforward import WalkForward, walk_forward
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.serving.predict import forecast
from stockcast_assets.forecasting.training.train import train_many
from stockcast_assets.forecasting.universe.earnings import Reports, reports_of
from stockcast_assets.forecasting.universe.walkforward import walk_forward_universe
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.methods import LSTM

GATES = {
    ("rmse", "random_walk"): 1.00,
    ("rmse", "drift"): 1.00,
    ("pinball", "random_walk"): 0.91,
    ("pinball", "vol60"): 0.99,
    ("pinball", "vol250"): 1.00,
    ("pinball", "fhs"): 1.00,
    ("pinball", "har"): 1.00,
}
"""The highest ratio of the LSTM to a contender that is good enough."""


def read_bars(arguments: argparse.Namespace) -> dict[str, pd.DataFrame]:
    if arguments.bars:
        return evaluate_files.read_bars([arguments.bars])
    source = SampleSource()
    tickers = arguments.tickers or source.tickers()
    return {ticker: with_total_return(source.bars(ticker, None, date(2013, 3, 1))) for ticker in tickers}


def sample_reports() -> dict[str, Reports]:
    source = SampleSource()
    said = pd.concat([source.earnings(ticker) for ticker in source.tickers()])
    return reports_of(evaluate_files.statements_of(said))


def read_config(pairs: list[str]) -> ModelConfig:
    values = {}
    for name, _, value in (pair.partition("=") for pair in pairs):
        values[name] = type(getattr(ModelConfig(), name, value))(value)
    return ModelConfig.from_dict(values)


def headline(walk: WalkForward) -> pd.DataFrame:
    rows = []
    for _, row in walk.against().iterrows():
        for metric in ("rmse", "pinball"):
            ratio, gate = row[f"{metric}_ratio"], GATES.get((metric, row["contender"]))
            rows.append(
                {
                    "LSTM against": row["contender"],
                    "metric": metric,
                    "ratio": ratio,
                    "low": row[f"{metric}_low"],
                    "high": row[f"{metric}_high"],
                    "gate": gate,
                    "passed": "" if gate is None else ratio <= gate,
                }
            )
    return pd.DataFrame(rows).sort_values("metric", ascending=False, kind="stable")


def quality(arguments: argparse.Namespace) -> None:
    config = read_config(arguments.set)
    started = time.perf_counter()
    walk = walk_forward(
        read_bars(arguments), arguments.start, arguments.end, config, statistical=arguments.with_statistical
    )
    seconds = time.perf_counter() - started
    pooled = walk.pooled
    print(f"{dataclasses.asdict(config)}")
    print(
        f"{sum(walk.retrains.values())} fits in {seconds:.1f} s on {os.cpu_count()} cores, TensorFlow's import "
        f"included; {int(pooled.cases.sum())} as-of days x 10 horizons, {walk.first_day} to {walk.last_day}\n"
    )
    show(headline(walk))
    columns = ["contender", *SCORES, "dm_squared_vs_random_walk", "dm_pinball_vs_har"]
    show(walk.scores()[columns])
    table = pooled.table()
    show(table[(table["contender"] == LSTM) & (table["horizon"] != POOLED)][["horizon", *columns[1:]]])
    years = pooled.dates.year
    ratios = {
        name: [pooled.pinball[LSTM][years == y].sum() / pooled.pinball[name][years == y].sum() for y in years.unique()]
        for name in pooled.contenders
        if name != LSTM
    }
    print("Pinball ratio by year\n", pd.DataFrame(ratios, years.unique()).round(4).to_string(), "\n")
    coverage = {}
    for ticker, cases in walk.cases.items():
        by_day = coverage_by_day([cases], LSTM)
        coverage[ticker] = by_day.groupby(by_day.index.year).mean()
    by_year = pd.DataFrame(coverage)
    print("80 % coverage by year\n", by_year.assign(all=by_year.mean(axis=1)).round(4).to_string(), "\n")
    by_ticker = {ticker: walk.headline(ticker) for ticker in walk.tickers}
    print("By ticker\n", pd.DataFrame(by_ticker).round(4).to_string())


def universe(arguments: argparse.Namespace) -> None:
    given = evaluate_files.read_reports(arguments.earnings) if arguments.earnings else {}
    reports = given if arguments.bars else given or sample_reports()
    started = time.perf_counter()
    walk = walk_forward_universe(
        read_bars(arguments), reports, arguments.start, arguments.end, statistical=arguments.with_statistical,
        workers=os.cpu_count() or 1,
    )  # fmt: skip
    print(f"{time.perf_counter() - started:.1f} s on {os.cpu_count()} cores, TensorFlow's import included\n")
    evaluate_files.show(evaluate_files.document(walk))


def show(frame: pd.DataFrame) -> None:
    print(frame.to_string(index=False, float_format="{:.4f}".format), "\n")


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
    parser.add_argument("--bars", type=Path, help="CSV file of bars")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="fields of ModelConfig")
    parser.add_argument("--with-statistical", action="store_true", help="AutoETS and Theta as well")
    parser.add_argument("--universe", action="store_true", help="one network for all tickers")
    parser.add_argument("--earnings", type=Path, help="with --universe: CSV file of reports; the sample's own else")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    run = speed if arguments.speed else universe if arguments.universe else quality
    run(arguments)


if __name__ == "__main__":
    main()
