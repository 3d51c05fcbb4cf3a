"""CPU seconds of a month's training by one network of the universe, beside one network per ticker, in the same run.

python bench/universe.py                                                     # the sample's tickers, March 2013
python bench/universe.py --bars bars.csv.gz --earnings reports.csv --month 2017-12-01
python bench/universe.py --own 4          # one network per ticker for four of them only, scaled to all
python bench/universe.py --tickers 500 --own 2      # the same tickers under so many names

Both ways give every ticker a model with its walk-forward proof. The first month fits the Januaries of the proof too;
the months after it keep them. Then a day's forecasts of 500 tickers by the month's network. Seconds are of CPU, of this
process and all that it started, with TensorFlow's import.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from stockcast_assets.cli.evaluate_files import read_bars, read_reports, statements_of
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.npz import Reference
from stockcast_assets.forecasting.serving.forecaster import Published
from stockcast_assets.forecasting.serving.predict import forecast
from stockcast_assets.forecasting.training.train import train_many
from stockcast_assets.forecasting.universe.earnings import Reports, reports_of
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.inputs import Series, Surroundings, series_of
from stockcast_assets.forecasting.universe.market import Market, market_of
from stockcast_assets.forecasting.universe.month import MonthModel, fit_month
from stockcast_assets.forecasting.universe.proof import judge, judge_pooled
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.methods import LSTM

NOWHERE = Reference("0" * 32, "0" * 64)
COPIES = 500


def cpu_seconds() -> float:
    """Of this process and all that it started, ended or not."""
    here = psutil.Process()
    every = (here, *here.children(recursive=True))
    return sum(sum(times[:4]) for times in (process.cpu_times() for process in every))


def measured(what: str, work: Callable[[], Any]) -> tuple[Any, float]:
    cpu, wall = cpu_seconds(), time.perf_counter()
    result = work()
    spent = cpu_seconds() - cpu
    print(f"{what}: {spent:.1f} CPU seconds, {time.perf_counter() - wall:.1f} s by the clock", flush=True)
    return result, spent


def parser_of_files(description: str) -> argparse.ArgumentParser:
    """Of a benchmark on what `bars_and_reports` reads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=Path, help="CSV file of bars; the sample if it is not given")
    parser.add_argument("--earnings", type=Path, help="CSV file of their reports")
    return parser


def bars_and_reports(bars: Path | None, earnings: Path | None) -> tuple[dict[str, pd.DataFrame], dict[str, Reports]]:
    """Of the files; of the sample if there is none."""
    if bars:
        return read_bars([bars]), dict(read_reports(earnings)) if earnings else {}
    sample = SampleSource()
    of_sample = {ticker: with_total_return(sample.bars(ticker, None, date(2013, 3, 1))) for ticker in sample.tickers()}
    statements = statements_of(pd.concat([sample.earnings(ticker) for ticker in sample.tickers()]))
    return of_sample, dict(reports_of(statements))


def before(bars: dict[str, pd.DataFrame], day: date) -> dict[str, pd.DataFrame]:
    return {ticker: of[of["date"] < pd.Timestamp(day)].reset_index(drop=True) for ticker, of in bars.items()}


def placed(bars: dict[str, pd.DataFrame], reports: dict[str, Reports]) -> tuple[dict[str, Series], Market]:
    histories = {ticker: prepare(of) for ticker, of in bars.items()}
    market = market_of(histories)
    return series_of(histories, market, reports), market


def trained(
    bars: dict[str, pd.DataFrame], reports: dict[str, Reports], month: date, earlier: MonthModel | None, workers: int
) -> tuple[MonthModel, dict[str, TrainedModel]]:
    """The month's networks, judged over all tickers, and every ticker beside them with its own proof."""
    series, _ = placed(before(bars, month), reports)
    model = fit_month(series, month, earlier=earlier.vintages if earlier else (), workers=workers)
    admitted = judge_pooled(series, model).admitted
    judged = {ticker: judge(one, model, NOWHERE, admitted=admitted) for ticker, one in series.items()}
    return model, {ticker: one for ticker, one in judged.items() if one is not None}


def copied(tickers: Iterable[str], count: int) -> dict[str, str]:
    """So many names, each of one of the tickers in turn."""
    every = list(tickers)
    turns = ((number // len(every), every[number % len(every)]) for number in range(count))
    return {f"{ticker}.{turn}": ticker for turn, ticker in turns}


def main() -> None:
    parser = parser_of_files(__doc__)
    parser.add_argument("--month", type=date.fromisoformat, default=date(2013, 3, 1), help="first day of the month")
    parser.add_argument("--tickers", type=int, help="how many, under other names; as many as there are if not given")
    parser.add_argument("--own", type=int, help="tickers that get a network of their own; all if not given")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    bars, reports = bars_and_reports(arguments.bars, arguments.earnings)
    if arguments.tickers:
        names = copied(bars, arguments.tickers)
        reports = {name: reports[ticker] for name, ticker in names.items() if ticker in reports}
        bars = {name: bars[ticker].assign(ticker=name) for name, ticker in names.items()}
    month = arguments.month
    last = (pd.Timestamp(month) - pd.DateOffset(months=1)).date()
    n = len(bars)
    (first_model, _), first = measured(
        f"universe of {n} tickers, its first month, all proofs",
        lambda: trained(bars, reports, last, None, arguments.workers),
    )
    (_, judged), following = measured(
        "universe, the month after it, all proofs",
        lambda: trained(bars, reports, month, first_model, arguments.workers),
    )
    chosen = dict(list(before(bars, month).items())[: arguments.own or n])
    _, own = measured(
        f"a network per ticker, {len(chosen)} tickers, all proofs",
        lambda: train_many(chosen, workers=arguments.workers),
    )
    own *= n / len(chosen)
    print(f"universe / networks per ticker: {first / own:.2f} in the first month, {following / own:.2f} in the next")
    promoted = sum(one.decision.promoted for one in judged.values())
    print(f"the gate publishes the network for {promoted} of {len(judged)} tickers")

    _, market = placed(before(bars, month), reports)
    names = copied(judged, COPIES)
    models: dict[str, Published] = {}
    for name, ticker in names.items():
        one = judged[ticker].forecaster
        assert isinstance(one, UniverseForecaster)
        models[name] = replace(one, ticker=name, method=LSTM)
    known = before(bars, month)
    copies = {name: known[ticker].assign(ticker=name) for name, ticker in names.items()}
    days = {name: [of["date"].iloc[-1]] for name, of in copies.items()}
    told = {name: reports[ticker] for name, ticker in names.items() if ticker in reports}
    around = Surroundings(market, told)
    forecast(models, copies, days, around)
    measured(f"a day's forecasts of {len(models)} tickers", lambda: forecast(models, copies, days, around))


if __name__ == "__main__":
    main()
