"""`forecast_accuracy`: what became of the forecasts whose target session has closed."""

from __future__ import annotations

from datetime import date

import dagster as dg

from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.methods import HAR, HAR_EARNINGS, LABELS
from stockcast_assets.monitoring.accuracy import ENTRY_COLUMNS, promised, score
from stockcast_assets.orchestration.assets.bars import complete_bars, open_days
from stockcast_assets.orchestration.assets.metadata import show_days, timed
from stockcast_assets.orchestration.assets.specs import days_by_ticker, keyed, table_asset
from stockcast_assets.tables import FORECAST_ACCURACY, FORECASTS, PINBALL_COLUMNS, PUBLISHED_FORECASTS, RAW_PRICES
from stockcast_assets.warehouse import KeyedFrame, Warehouse

# Ten sessions span at most this many calendar days: two weeks, and a long holiday between them.
LONGEST_LOOK_BACK = 30

SHOWN = {
    "inside": "inside the 80 % interval, share",
    "error": "absolute error, % of close",
    "naive_error": "absolute error of the random walk, % of close",
    "beside_har": f"pinball loss / {LABELS[HAR]}",
    "beside_reports": f"pinball loss / {LABELS[HAR_EARNINGS]}",
    "pit": "probability given to less, next session",
}
"""The numbers that are plotted, and what they are called."""

BESIDE_SHOWN = {"beside_har": HAR, "beside_reports": HAR_EARNINGS}

_ABOUT = """
Keyed by the target session: the ten forecasts that were made for this day, each scored once, when its close is known.
So a day's rows depend on nothing later and are never touched again. What is scored is what the ledger says was
published before the session opened, whatever was repaired since; `late` rows came after it and are no forecasts.
Compare `pinball` with `pinball_har`: a forecast that loses to HAR turns the check `keeps_its_skill` red, lost coverage
turns `interval_covers` red.
"""


def summary(scored: pd.DataFrame) -> pd.DataFrame:
    """One row per (ticker, date) of the table's rows, with the columns of SHOWN; null where nothing was stored beside.

    Share inside the interval, mean absolute errors in % of close, ratios of the day's pinball losses, and the
    probability that the forecast of the session before gave to closes below the one that came.
    """
    close = scored["actual_close"]
    parts = scored.assign(
        inside=scored["inside_80"].astype(float),
        error=scored["error"].abs() / close * 100,
        naive_error=scored["naive_error"].abs() / close * 100,
        pit=scored["pit"].where(scored["horizon"] == 1),
    )
    losses = ["pinball", *PINBALL_COLUMNS.values()]
    sums = parts.groupby(["ticker", "date"], as_index=False)[losses].sum()
    means = parts.groupby(["ticker", "date"], as_index=False)[["inside", "error", "naive_error", "pit"]].mean()
    ratio = {name: _ratio(parts, sums, PINBALL_COLUMNS[other]) for name, other in BESIDE_SHOWN.items()}
    return means.assign(**ratio)[["ticker", "date", *SHOWN]]


def _ratio(parts: pd.DataFrame, sums: pd.DataFrame, column: str) -> pd.Series:
    """The days' pinball losses over those of a baseline; null on a day of which one is missing."""
    known = parts[column].notna().groupby([parts["ticker"], parts["date"]]).all().to_numpy()
    return (sums["pinball"] / sums[column]).where(known & (sums[column] > 0).to_numpy())


def build_forecast_accuracy(
    daily: dg.MultiPartitionsDefinition, first_daily_key: date, dashboard: str
) -> dg.AssetsDefinition:
    """Scores by target session, not by as-of date: so a day's rows depend on nothing later than the day,
    and are never touched again.

    The declared lineage is the same (ticker, day), although the forecasts that are read were made before it: Dagster
    would let a backfill of a day's forecasts score the thirty days after it as well, which nobody asked for.
    """

    @table_asset(
        FORECAST_ACCURACY,
        "monitoring",
        daily,
        "pandas",
        about=_ABOUT,
        links={"dashboard": f"{dashboard}/trust"},
        deps=[RAW_PRICES.name, FORECASTS.name],
    )
    @timed
    def forecast_accuracy(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], sources: dg.ResourceParam[Sources]
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        first, last = min(d[0] for d in days.values()), max(d[-1] for d in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        since = (first - pd.Timedelta(days=LONGEST_LOOK_BACK)).date()
        made = promised(
            warehouse.read(FORECASTS, tickers=list(days), start=since, end=last.date()),
            warehouse.read(
                PUBLISHED_FORECASTS, tickers=list(days), start=since, end=last.date(), columns=ENTRY_COLUMNS
            ),
        )
        frames: list[pd.DataFrame] = []
        traded, reasons = open_days(days, bars)
        for ticker, asked in traded.items():
            scored = score(made[made["ticker"] == ticker], bars[ticker], [day.date() for day in asked])
            frames.append(scored)
            there = set(scored["date"])
            reasons |= {(ticker, day): "no forecast was made for this session" for day in asked if day not in there}
        frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=FORECAST_ACCURACY.column_names)
        if len(frame):
            show_days(context, summary(frame), SHOWN)
        return keyed(context, frame[FORECAST_ACCURACY.column_names], reasons)

    return forecast_accuracy
