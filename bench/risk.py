"""Is a portfolio's value at risk true: equal weights of some tickers, a day ahead, by three ways to put them together.

python bench/risk.py                        # the sample's four tickers, 2009-01 to 2013-02
python bench/risk.py --bars FOLDER --from 2010-01-01 --to 2017-12-31

Each ticker's quantiles are those of linear HAR, fitted anew every year on what was known then; residuals likewise are
those known at the end of each day. `joint` is what `stockcast risk` does. `independent` draws each ticker's scenarios
apart from the others', and `comonotonic` lets all have their worst day together: the sum of their values at risk.
"""

import argparse
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from stockcast_assets.cli import evaluate_files
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.tails import beyond
from stockcast_assets.forecasting.risk.portfolio import LEVELS, Backtest, gains_of, judged, tail
from stockcast_assets.forecasting.risk.scenarios import Residuals, draws, sessions_drawn
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.methods import HAR

Said = Mapping[np.datetime64, np.ndarray]


def read_bars(folder: Path | None) -> dict[str, pd.DataFrame]:
    if folder is None:
        source = SampleSource()
        return {one: with_total_return(source.bars(one, None, date(2013, 3, 1))) for one in source.tickers()}
    # Of a folder whatever holds bars: a file of reports beside them has other columns.
    files = sorted(folder.glob("*.csv*")) if folder.is_dir() else [folder]
    return evaluate_files.read_bars([file for file in files if "close" in map(str.lower, pd.read_csv(file, nrows=0))])


def said(history: History, first: pd.Timestamp, last: pd.Timestamp) -> tuple[Said, Said]:
    """By as-of day the quantiles [quantiles] and the tails [2] of the next session, refitted every year."""
    quantiles, tails = {}, {}
    for year in range(first.year, last.year + 1):
        begin = max(first, pd.Timestamp(year, 1, 1))
        rows = np.flatnonzero((history.dates >= begin) & (history.dates < pd.Timestamp(year + 1, 1, 1)))
        rows = rows[(history.dates[rows] <= last) & (rows + HORIZON < len(history))]
        if not len(rows):
            continue
        naive = fit_naive(history, np.arange(history.first_row, rows[0] - HORIZON))[HAR]
        made = naive.predict(history, rows).quantiles
        for day, own, outer in zip(days_of(history)[rows], made, beyond(made, naive.tails), strict=True):
            quantiles[day], tails[day] = own[0], outer[0]
    return quantiles, tails


def days_of(history: History) -> np.ndarray:
    return history.dates.to_numpy().astype("datetime64[D]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=Path, help="folder of CSV files of bars, or one file")
    parser.add_argument("--from", dest="start", type=pd.Timestamp, default=pd.Timestamp("2009-01-01"))
    parser.add_argument("--to", dest="end", type=pd.Timestamp, default=pd.Timestamp("2013-02-28"))
    arguments = parser.parse_args()
    histories = {ticker: prepare(bars) for ticker, bars in read_bars(arguments.bars).items()}
    residuals = {ticker: Residuals.of(history) for ticker, history in histories.items()}
    both = {ticker: said(history, arguments.start, arguments.end) for ticker, history in histories.items()}
    quantiles = {ticker: own for ticker, (own, _) in both.items()}
    outcome = {
        ticker: dict(zip(days_of(history), history.targets[:, 0], strict=True)) for ticker, history in histories.items()
    }
    days = sorted(set.intersection(*({*own} for own in quantiles.values())))
    print(f"{len(histories)} tickers in equal weights, {len(days)} days, {days[0]} to {days[-1]}")

    below, above = [], []
    for ticker, (_, tails) in both.items():
        for day, (lowest, highest) in tails.items():
            below.append(outcome[ticker][day] < lowest)
            above.append(outcome[ticker][day] > highest)
    print(f"of single closes {np.mean(below):.2%} were below their 1 % quantile, {np.mean(above):.2%} above their 99 %")

    generator, weight = np.random.default_rng(1), 1 / len(histories)
    ways: dict[str, list[np.ndarray]] = {"joint": [], "independent": [], "comonotonic": []}
    losses, started = [], time.perf_counter()
    for day in days:
        sessions = sessions_drawn(residuals.values(), day)
        each = np.stack(
            [
                gains_of(weight, draws(residuals[one], sessions, quantiles[one][day][None], day)[:, 0])
                for one in histories
            ]
        )
        each = each[:, np.isfinite(each).all(axis=0)]
        ways["joint"].append(each.sum(axis=0))
        ways["independent"].append(generator.permuted(each, axis=1).sum(axis=0))
        ways["comonotonic"].append(np.sort(each, axis=1).sum(axis=0))
        losses.append(-sum(weight * np.expm1(outcome[one][day]) for one in histories))
    print(f"scenarios of all days: {time.perf_counter() - started:.1f} s")
    lost = np.array(losses)
    for name, scenarios in ways.items():
        for level in LEVELS:
            show(name, judged(lost, scenarios, level), np.mean([tail(gains, level)[1:] for gains in scenarios], axis=0))


def show(name: str, found: Backtest, mean: np.ndarray) -> None:
    test = found.test
    print(
        f"{name:12} {found.level:.0%}: VaR {mean[0]:.2%}, ES {mean[1]:.2%} on average; exceeded on "
        f"{test.misses} days = {test.misses / test.n:.2%}, Kupiec p {test.kupiec_p:.3f}, Christoffersen p "
        f"{test.christoffersen_p:.3f}; loss / ES {found.shortfall_ratio:.2f}, Z2 {found.shortfall_z:+.2f}, p "
        f"{found.shortfall_p:.3f}"
    )


if __name__ == "__main__":
    main()
