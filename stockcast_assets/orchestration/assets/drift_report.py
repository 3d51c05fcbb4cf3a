"""`drift_report`: recent sessions against what the month's model was trained on and what its forecasts promised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import cache, partial
from typing import Any

import dagster as dg

from stockcast_assets.charts.png import drift_png
from stockcast_assets.forecasting.serving.predict import hindcast, looks_around
from stockcast_assets.forecasting.universe.inputs import Surroundings
from stockcast_assets.keys import partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring import series
from stockcast_assets.monitoring.drift import CURRENT_SESSIONS, LEAST_TRAINED, DriftResult, drift_report
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.orchestration.assets.bars import complete_bars, open_days, stored_models, surroundings
from stockcast_assets.orchestration.assets.metadata import picture, report_page, show_days, timed
from stockcast_assets.orchestration.assets.specs import (
    days_by_ticker,
    keyed,
    of_period,
    of_ticker,
    same_ticker,
    table_asset,
)
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.tables import (
    DRIFT_REPORT,
    EARNINGS_DATES,
    FORECAST_ACCURACY,
    FORECASTS,
    MARKET_STATE,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
)
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.tracking.serving import ModelServer, Row, row_in_use, rows_by_ticker
from stockcast_assets.warehouse import KeyedFrame, Warehouse

_ABOUT = """
The last 60 sessions against what they are to be like, one row per scale-free feature: inputs against the window that
the month's model was trained on, its predictions against those of that window, residuals against what the published
forecasts promised. A feature has drifted where its distance is above what one in a hundred ordinary windows has. One
drifted day means little; the check `no_lasting_drift` looks at a month. Evidently's full report of each key is linked.
"""


# The current window spans at most this many calendar days: twelve weeks of five sessions, and holidays.
LONGEST_WINDOW = 2 * CURRENT_SESSIONS

SHOWN = {"ratio": "highest score / threshold", "drifted": "drifted features"}
"""The numbers that are plotted, and what they are called."""


def stored_residuals(
    warehouse: Warehouse, tickers: Sequence[str], first: date | pd.Timestamp, last: date | pd.Timestamp
) -> dict[str, pd.DataFrame]:
    """`series.residuals` of each ticker for the target sessions that reports of `first` to `last` look at."""
    start, end = (pd.Timestamp(first) - pd.Timedelta(days=LONGEST_WINDOW)).date(), pd.Timestamp(last).date()
    made, scored = (
        warehouse.read(table, tickers=tickers, start=start, end=end, columns=columns)
        for table, columns in ((FORECASTS, series.FORECAST_COLUMNS), (FORECAST_ACCURACY, series.ACCURACY_COLUMNS))
    )
    return {
        ticker: series.residuals(made[made["ticker"] == ticker], scored[scored["ticker"] == ticker])
        for ticker in tickers
    }


def observed(bars: pd.DataFrame, residuals: pd.DataFrame) -> pd.DataFrame:
    """Inputs and residuals of one ticker, a row per bar."""
    return series.inputs(bars).merge(residuals, on="date", how="left")


def _reports_of_ticker(
    ticker: str,
    asked: Sequence[pd.Timestamp],
    rows: Sequence[Row],
    server: ModelServer,
    residuals: pd.DataFrame,
    reasons: dict[tuple[str, pd.Timestamp], str],
    around: Callable[[], Surroundings],
) -> list[DriftResult]:
    """The reports of one ticker's days; `reasons` gets why a day has none, `around` is what some models look at."""
    seen = observed(server.bars, residuals)
    windows = {}
    for day in asked:
        row = row_in_use(rows, ticker, day)
        if seen["date"].between(row["trained_from"], row["trained_to"]).sum() < LEAST_TRAINED:
            reasons[ticker, day] = "history too short to compare"
        else:
            windows[day] = row["trained_from"].date(), row["trained_to"].date()
    results = []
    for serving, days in server.by_model(list(windows)):
        beside = around() if looks_around([serving.forecaster]) else None
        said = series.predictions(*hindcast(serving.forecaster, server.bars, beside))
        compared = seen.merge(said, on="date", how="left")
        results += [drift_report(ticker, day.date(), compared, *windows[day], serving.version) for day in days]
    return results


def _show(
    context: dg.AssetExecutionContext, rows: pd.DataFrame, results: Sequence[DriftResult], dashboard: str
) -> None:
    """Show how far each key drifted, of what, why a kind was not compared, and the report."""
    ratios = rows.assign(ratio=rows["score"] / rows["threshold"])
    days = ratios.groupby(["ticker", "date"], as_index=False).agg(ratio=("ratio", "max"), drifted=("drifted", "sum"))
    result_of = {partition_key(result.ticker, result.day): result for result in results}

    def said(row: Any) -> dict[str, Any]:
        result = result_of[partition_key(row.ticker, row.date)]
        drifted = ", ".join(dict.fromkeys(result.rows.loc[result.rows["drifted"], "kind"]))
        return {
            **({"drift of": drifted} if drifted else {}),
            **{f"{kind} not compared": words for kind, words in result.too_few.items()},
            "Evidently report": report_page(dashboard, row.ticker, row.date),
        }

    def chart(ticker: str, day: pd.Timestamp) -> dg.MetadataValue:
        own = rows[(rows["ticker"] == ticker) & (rows["date"] == day)]
        return picture(drift_png(own), f"Drift of {ticker} on {day:%Y-%m-%d}")

    show_days(context, days, SHOWN, said, chart)


def build_drift_report(
    daily: dg.MultiPartitionsDefinition, first_daily_key: date, max_age_days: int, dashboard: str
) -> dg.AssetsDefinition:
    """Drift of inputs, predictions and residuals, one row per feature.

    The declared lineage is the same (ticker, day), although the forecasts and scores of the 60 sessions before are read
    too: Dagster would let a backfill of a day report on the weeks after it as well, and take longer to map each key to
    all of them than the report takes.
    """

    @table_asset(
        DRIFT_REPORT,
        "monitoring",
        daily,
        "evidently",
        "mlflow",
        about=_ABOUT,
        links={"dashboard": f"{dashboard}/monitoring"},
        deps=[
            dg.AssetDep(TRAINED_MODEL.name, partition_mapping=same_ticker(dg.TimeWindowPartitionMapping())),
            RAW_PRICES.name,
            dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker()),
            FORECASTS.name,
            FORECAST_ACCURACY.name,
            dg.AssetDep(EARNINGS_DATES.name, partition_mapping=of_ticker()),
            MARKET_DAYS,
            dg.AssetDep(MARKET_STATE.name, partition_mapping=of_period()),
        ],
    )
    @timed
    def drift(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        registry: dg.ResourceParam[ModelRegistry],
        reports: dg.ResourceParam[ReportStore],
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        first, last = min(asked[0] for asked in days.values()), max(asked[-1] for asked in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        traded, reasons = open_days(days, bars)
        rows = rows_by_ticker(stored_models(warehouse, list(traded), last))
        residuals = stored_residuals(warehouse, list(traded), first, last)
        around = cache(partial(surroundings, warehouse, list(traded), last))
        results = [
            result
            for ticker, asked in traded.items()
            for result in _reports_of_ticker(
                ticker,
                asked,
                rows.get(ticker, []),
                ModelServer(ticker, rows.get(ticker, []), bars[ticker], registry, max_age_days),
                residuals[ticker],
                reasons,
                around,
            )
        ]
        if not results:
            return keyed(context, pd.DataFrame(columns=DRIFT_REPORT.column_names), reasons)
        uris = reports.save(results)
        frame = pd.concat(
            [result.rows.assign(report_uri=uris[result.ticker, result.day]) for result in results], ignore_index=True
        )[DRIFT_REPORT.column_names]
        _show(context, frame, results, dashboard)
        return keyed(context, frame.sort_values(list(DRIFT_REPORT.primary_key), ignore_index=True), reasons)

    return drift
