"""How often drift alarms without anything to do, per kind, on the bundled history; and what a day of it costs.

python bench/drift.py                  # naive HAR, refitted each year: a minute
python bench/drift.py --lstm           # the LSTM as published, retrained each year: minutes on two cores
python bench/drift.py --from 2009-01-01 --every 1
"""

import argparse
import time
from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.evaluation.scores import Fold, yearly
from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.training.train import fit_folds, walk_forward_cases
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.monitoring import series
from stockcast_assets.monitoring.drift import (
    CURRENT_SESSIONS,
    LEAST_NORM,
    calibrated_threshold,
    drift_report,
    promised_threshold,
)
from stockcast_assets.monitoring.series import FEATURES, KIND_OF, RESIDUALS
from stockcast_assets.orchestration.asset_checks.thresholds import DRIFTED_SHARE, WINDOW
from stockcast_assets.tables import QUANTILES

END = date(2013, 2, 28)


def said(history: History, folds: list[Fold], bars: pd.DataFrame, lstm: bool) -> Iterator[tuple[Fold, pd.DataFrame]]:
    """Each fold, and the series as a report of its days would see them."""
    config = ModelConfig()
    if lstm:
        fits = fit_folds({0: folds}, {0: bars}, config)[0]
        models = [fit.lstm for fit in fits]
        published = walk_forward_cases(history, folds, fits, config)[0].forecasts["lstm"].quantiles
    else:
        models = [fit_naive(history, fold.known)["har"] for fold in folds]
        published = np.concatenate([m.predict(history, f.test).quantiles for m, f in zip(models, folds, strict=True)])
    rows = np.concatenate([fold.test for fold in folds])
    columns = [f"close_p{round(level * 100):02d}" for level in QUANTILES]
    made = pd.DataFrame(np.exp(published[:, 0]), columns=columns).assign(date=history.dates[rows], horizon=1)
    actual = np.exp(history.outcomes(rows)[:, 0])
    scored = pd.DataFrame(
        {
            "date": history.dates[rows + 1], "as_of_date": made["date"], "horizon": 1,
            "actual_close": actual, "error": made["close_p50"] - actual,
        }
    )  # fmt: skip
    seen = series.inputs(bars).merge(series.residuals(made, scored), on="date", how="left")
    for fold, model in zip(folds, models, strict=True):
        asked = np.arange(history.first_row + config.window, fold.test[-1] + 1)
        predictions = series.predictions(history.dates[asked], model.predict(history, asked).quantiles)
        yield fold, seen.merge(predictions, on="date", how="left")


def alarms(ticker: str, fold: Fold, seen: pd.DataFrame, every: int) -> Iterator[dict[str, object]]:
    """What drifted on each day of a fold. By SciPy's distance: Evidently's is the same, and a hundred times slower."""
    # As in the report: no session is in both windows.
    reference = seen.iloc[: fold.test[0] - CURRENT_SESSIONS]
    past = {name: reference[name].dropna().to_numpy() for name in KIND_OF if KIND_OF[name] != RESIDUALS}
    thresholds = {name: calibrated_threshold(values, CURRENT_SESSIONS) for name, values in past.items()}
    uniform = (np.arange(1000) + 0.5) / 1000
    for row in range(fold.test[0], fold.test[-1] + 1, every):
        current = seen.iloc[row + 1 - CURRENT_SESSIONS : row + 1]
        found: dict[str, object] = {"ticker": ticker, "date": seen["date"].iloc[row]}
        for name, kind in KIND_OF.items():
            now = current[name].dropna().to_numpy()
            if len(now) < CURRENT_SESSIONS:
                continue
            before = uniform if kind == RESIDUALS else past[name]
            limit = promised_threshold(len(now)) if kind == RESIDUALS else thresholds[name]
            distance = wasserstein_distance(before, now) / max(float(np.std(before)), LEAST_NORM)
            found[kind] = bool(found.get(kind)) or distance >= limit
        yield found


def lasting(of_ticker: pd.Series, every: int) -> pd.Series:
    """Whether half of the last `WINDOW` reports drifted."""
    reports = max(1, WINDOW // every)
    return of_ticker.rolling(reports).mean() >= DRIFTED_SHARE


def cost(bars: pd.DataFrame, seen: pd.DataFrame) -> None:
    """CPU seconds of one report of a day, its thresholds found anew as in a nightly run."""
    day = seen.dropna()["date"].iloc[-1].date()
    first, last = seen["date"].iloc[0].date(), date(day.year - 1, 12, 31)
    inputs = series.inputs(bars)
    times: dict[str, list[float]] = {"inputs alone": [], "all kinds": []}
    for shift in range(24):
        label = list(times)[shift % 2]
        # Another reference each time, or the thresholds would be remembered.
        since = (pd.Timestamp(first) + pd.Timedelta(days=7 * shift)).date()
        began = time.process_time()
        drift_report("MSFT", day, inputs if shift % 2 == 0 else seen, since, last)
        times[label].append(time.process_time() - began)
    for label, taken in times.items():
        print(f"{label}: {np.median(taken[2:]) * 1000:.0f} ms of CPU a report")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lstm", action="store_true")
    parser.add_argument("--from", dest="start", type=date.fromisoformat, default=date(2007, 1, 1))
    parser.add_argument("--every", type=int, default=1, help="sessions between two reports")
    arguments = parser.parse_args()
    source = SampleSource()
    found = []
    for ticker in source.tickers():
        bars = source.bars(ticker, None, END)
        history = prepare(bars)
        folds = yearly(history, arguments.start, END, ModelConfig())
        for fold, seen in said(history, folds, bars, arguments.lstm):
            found += alarms(ticker, fold, seen, arguments.every)
    days = pd.DataFrame(found).astype(dict.fromkeys(FEATURES, "float"))
    kinds = list(FEATURES)
    print(f"{len(days)} reports, {days['date'].min():%Y-%m-%d} to {days['date'].max():%Y-%m-%d}, share that drifted:")
    print(days[kinds].mean().round(3).to_string(), "\n")
    print(days.groupby(days["date"].dt.year)[kinds].mean().round(3).to_string(), "\n")
    print(days.groupby("ticker")[kinds].mean().round(3).to_string(), "\n")
    lasts = days.groupby("ticker")[kinds].transform(lasting, every=arguments.every)
    print("lasting (half of the last 20):", lasts.mean().round(3).to_dict())
    begins = lasts & ~lasts.groupby(days["ticker"]).shift(fill_value=False)
    print("times that it began:", begins.sum().to_dict(), "\n")
    both = days[(days["inputs"] == 1) | (days["predictions"] == 1) | (days["residuals"] == 1)]
    print("of days with any, with one kind only:", round(float((both[kinds].sum(axis=1) == 1).mean()), 3))
    cost(bars, seen)


if __name__ == "__main__":
    main()
