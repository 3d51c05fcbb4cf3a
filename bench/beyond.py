"""What further inputs would be worth to the universe's model, each beside the same model without, on the same cases.

python bench/beyond.py --bars bars.csv.gz --earnings reports.csv --from 2010-01-01 --to 2012-12-31
python bench/beyond.py --bars bars.csv.gz --earnings reports.csv --from 2010-01-01 --to 2012-12-31 --only FOMC

Pooled trees stand for the networks: they see the same inputs, learn the same variances beside the same start, are
within .003 of the networks' loss, and take a tenth of the time. They are refitted each January on all tickers, as in an
evaluation. The mean of --seeds fits is judged: one alone differs from the next by as much as most inputs are worth.

Every input is known at the end of its day: what is told of the sessions ahead stands in calendars published before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import NamedTuple

import exchange_calendars
import numpy as np
import pandas as pd
from universe import bars_and_reports, parser_of_files

from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import Ratio
from stockcast_assets.forecasting.evaluation.scores import Fold, pinball_losses
from stockcast_assets.forecasting.features import FEATURE_NAMES, History, prepare
from stockcast_assets.forecasting.models.volatility import ahead
from stockcast_assets.forecasting.universe.boosting import Boosted, fit_boosted
from stockcast_assets.forecasting.universe.contenders import quantiles_over
from stockcast_assets.forecasting.universe.earnings import Coming, Reports
from stockcast_assets.forecasting.universe.inputs import Series, series_of
from stockcast_assets.forecasting.universe.market import market_of
from stockcast_assets.forecasting.universe.start import Start
from stockcast_assets.forecasting.universe.training import prepare_training
from stockcast_assets.forecasting.universe.walkforward import Year, years_of
from stockcast_assets.market.indicators import Floats

ANNOUNCED_BEFORE = 10
"""Weekdays: companies say about two weeks ahead when they will report."""

FOMC = {
    2006: "0131 0328 0510 0629 0808 0920 1025 1212", 2007: "0131 0321 0509 0628 0807 0918 1031 1211",
    2008: "0130 0318 0430 0625 0805 0916 1029 1216", 2009: "0128 0318 0429 0624 0812 0923 1104 1216",
    2010: "0127 0316 0428 0623 0810 0921 1103 1214", 2011: "0126 0315 0427 0622 0809 0921 1102 1213",
    2012: "0125 0313 0425 0620 0801 0913 1024 1212", 2013: "0130 0320 0501 0619 0731 0918 1030 1218",
    2014: "0129 0319 0430 0618 0730 0917 1029 1217", 2015: "0128 0318 0429 0617 0729 0917 1028 1216",
    2016: "0127 0316 0427 0615 0727 0921 1102 1214", 2017: "0201 0315 0503 0614 0726 0920 1101 1213",
}  # fmt: skip
"""Last days of the scheduled meetings, when the decision is published (federalreserve.gov, FOMC calendars)."""


class Further(NamedTuple):
    """Inputs beside those there are: of each session [n, k], of each of the sessions ahead of it [n, HORIZON, k]."""

    sessions: Floats
    ahead: Floats


def around(days: np.ndarray, marked: np.ndarray) -> Floats:
    """[..., 3] whether the weekday itself, the next or the one before is one of the `marked` days."""
    flags = [np.isin(np.busday_offset(days, apart, roll="forward"), marked) for apart in (0, 1, -1)]
    return np.stack(flags, axis=-1).astype(np.float64)


def on_days(marked: np.ndarray) -> Callable[[History], Further]:
    """What days that are known long before tell of the sessions ahead, and of the session itself."""

    def of(history: History) -> Further:
        days = history.dates.to_numpy().astype("datetime64[D]")
        return Further(around(days, marked), around(ahead(days), marked))

    return of


def scheduled_holidays(first: date, last: date) -> np.ndarray:
    """Of the New York Stock Exchange, on weekdays; no closing that nobody had planned is among them."""
    calendar = exchange_calendars.get_calendar("XNYS", start=str(first), end=str(last))
    days = calendar.regular_holidays.holidays(pd.Timestamp(first), pd.Timestamp(last))
    return np.unique(days.to_numpy().astype("datetime64[D]"))


def nth_friday(n: int, first: date, last: date) -> np.ndarray:
    months = np.arange(np.datetime64(first, "M"), np.datetime64(last, "M") + 1)
    return np.busday_offset(months.astype("datetime64[D]"), n - 1, roll="forward", weekmask="Fri")


def overnight(history: History) -> Further:
    """Log share of the night in the variance of the last 1, 5 and 22 sessions, less its mean so far."""
    feature = dict(zip(FEATURE_NAMES, history.features.T, strict=True))
    gaps = pd.Series(feature["gap"] ** 2)
    days = pd.Series(history.variance) - gaps.fillna(0)
    shares = [
        np.log((gaps.rolling(window).mean() + 1e-7) / (days.rolling(window).mean() + 1e-7)) for window in (1, 5, 22)
    ]
    usual = shares[-1].expanding(250).mean()
    values = np.column_stack([*(share - usual for share in shares), usual])
    return Further(values, np.empty((len(history), HORIZON, 0)))


def downside(history: History) -> Further:
    """Log ratio of the mean squared falls to all, of the last 5, 22 and 66 sessions."""
    returns = pd.Series(np.diff(history.log_close, prepend=np.nan))
    falls = returns.clip(upper=0) ** 2
    values = [
        np.log((falls.rolling(window).mean() + 1e-7) / (((returns**2).rolling(window).mean()) + 1e-7))
        for window in (5, 22, 66)
    ]
    return Further(np.column_stack(values), np.empty((len(history), HORIZON, 0)))


def announced(of: Reports) -> Reports:
    """The same reports, each said for certain ANNOUNCED_BEFORE weekdays before."""
    since = np.busday_offset(of.sessions, -ANNOUNCED_BEFORE, roll="backward")
    return replace(of, coming=Coming(of.sessions, since, of.known, np.ones(len(since), bool)))


def seen_with(series: Mapping[str, Series], inputs: list[Callable[[History], Further]]) -> dict[str, Series]:
    found = {}
    for ticker, one in series.items():
        more = [of(one.history) for of in inputs]
        found[ticker] = replace(
            one,
            steps=np.column_stack([one.steps, *(np.nan_to_num(each.sessions) for each in more)]),
            ahead=np.concatenate([one.ahead, *(each.ahead for each in more)], axis=-1),
        )
    return found


def parser_of_days(description: str) -> argparse.ArgumentParser:
    """Of a benchmark on as-of days of what `bars_and_reports` reads."""
    parser = parser_of_files(description)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2010, 1, 1))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2012, 12, 31))
    return parser


def all_years(histories: Mapping[str, History], first: date, last: date) -> list[Year]:
    """Those of an evaluation in which every ticker teaches and is judged."""
    return years_of(histories, set(histories), set(histories), first, last, ModelConfig())


def loss_of(series: Series, fold: Fold, quantiles: Floats) -> pd.Series:
    """[test rows] pinball loss of `quantiles` [n, HORIZON, quantiles], the mean over horizons and quantiles."""
    each = pinball_losses(series.history.targets[fold.test], quantiles)
    return pd.Series(each.mean(axis=(1, 2)), series.history.dates[fold.test])


def loss_by(series: Series, fold: Fold, sigma: Callable[[np.ndarray], Floats], of_all: Floats | None) -> pd.Series:
    """`loss_of` a sigma times quantiles of what was known."""
    form = quantiles_over(series, fold.known, sigma(fold.known), of_all)
    return loss_of(series, fold, sigma(fold.test)[:, :, None] * form)


def averaged(fits: Sequence[Boosted], series: Series, start: Start, rows: np.ndarray) -> Floats:
    """[n, HORIZON] geometric mean of what the fits say."""
    return np.exp(np.mean([np.log(fit.sigma(series, start, rows)) for fit in fits], axis=0))


def losses(series: Mapping[str, Series], years: Sequence[Year], seeds: int) -> tuple[pd.Series, pd.Series]:
    """Mean pinball loss of each day over all tickers and horizons: of the trees, and of what they start from."""
    of_trees, of_start = [], []
    for year in years:
        prepared = prepare_training({ticker: series[ticker] for ticker in year.taught}, year.taught)
        fits = [fit_boosted(prepared, seed) for seed in range(1, seeds + 1)]
        for ticker, fold in year.judged.items():
            one, start, shape = series[ticker], prepared.starts[ticker], prepared.pooled.shape
            of_trees.append(loss_by(one, fold, partial(averaged, fits, one, start), shape))
            of_start.append(loss_by(one, fold, partial(start.sigma, one), shape))
    by_day = [pd.concat(parts).groupby(level=0).mean() for parts in (of_trees, of_start)]
    return by_day[0], by_day[1]


def main() -> None:
    parser = parser_of_days(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="of the inputs")
    arguments = parser.parse_args()
    bars, reports = bars_and_reports(arguments.bars, arguments.earnings)
    histories = {ticker: prepare(of) for ticker, of in bars.items()}
    market = market_of(histories)
    series = series_of(histories, market, reports)
    years = all_years(histories, arguments.first, arguments.last)
    begin, end = min(h.dates[0] for h in histories.values()).date(), max(h.dates[-1] for h in histories.values()).date()
    fomc = np.array(
        [f"{year}-{day[:2]}-{day[2:]}" for year, days in FOMC.items() for day in days.split()], "datetime64[D]"
    )
    inputs: dict[str, Callable[[History], Further]] = {
        "holidays": on_days(scheduled_holidays(begin, end)),
        "option expiry": on_days(nth_friday(3, begin, end)),
        "FOMC": on_days(fomc),
        "payrolls": on_days(nth_friday(1, begin, end)),
        "overnight share": overnight,
        "downside share": downside,
    }
    base, start = losses(series, years, arguments.seeds)
    print(f"{len(bars)} tickers, {len(base)} days, {arguments.seeds} fits averaged; pinball loss", flush=True)
    print(f"{'as they are, over their start':40} {Ratio.of_losses(base.to_numpy(), start.to_numpy())}", flush=True)
    again, _ = losses(series, years, 2 * arguments.seeds)
    print(f"{'twice as many fits':40} {Ratio.of_losses(again.to_numpy(), base.to_numpy())}", flush=True)
    for name, of in inputs.items():
        if not arguments.only or name in arguments.only:
            found, _ = losses(seen_with(series, [of]), years, arguments.seeds)
            print(f"{'with ' + name:40} {Ratio.of_losses(found.to_numpy(), base.to_numpy())}", flush=True)
    if not arguments.only:
        found, _ = losses(seen_with(series, list(inputs.values())), years, arguments.seeds)
        print(f"{'with all of these':40} {Ratio.of_losses(found.to_numpy(), base.to_numpy())}", flush=True)
        told = series_of(histories, market, {ticker: announced(of) for ticker, of in reports.items()})
        found, _ = losses(told, years, arguments.seeds)
        print(f"{'with reports announced two weeks before':40} {Ratio.of_losses(found.to_numpy(), base.to_numpy())}")


if __name__ == "__main__":
    main()
