"""`drift_report`: recent sessions against what the month's model was trained on and what its forecasts promised."""

from collections.abc import Mapping, Sequence
from datetime import date

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import complete_bars, open_days
from stockcast_assets.assets.keys import days_by_ticker, keyed, of_table, of_ticker, same_ticker
from stockcast_assets.assets.model import stored_models
from stockcast_assets.forecasting.lifecycle import Row, Servant, row_in_use, rows_by_ticker
from stockcast_assets.forecasting.predict import hindcast
from stockcast_assets.forecasting.registry import ModelRegistry
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring import series
from stockcast_assets.monitoring.drift import CURRENT_SESSIONS, LEAST_REFERENCE, DriftResult, drift_report
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.partitions import partition_key
from stockcast_assets.tables import (
    DRIFT_REPORT,
    FORECAST_ACCURACY,
    FORECASTS,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
)
from stockcast_assets.warehouse import KeyedFrame, Warehouse

# The current window spans at most this many calendar days: twelve weeks of five sessions, and holidays.
LONGEST_WINDOW = 2 * CURRENT_SESSIONS


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
    servant: Servant,
    residuals: pd.DataFrame,
    reasons: dict[tuple[str, pd.Timestamp], str],
) -> list[DriftResult]:
    """The reports of one ticker's days; `reasons` gets why a day has none."""
    seen = observed(servant.bars, residuals)
    windows = {}
    for day in asked:
        row = row_in_use(rows, ticker, day)
        if seen["date"].between(row["trained_from"], row["trained_to"]).sum() < LEAST_REFERENCE:
            reasons[ticker, day] = "history too short to compare"
        else:
            windows[day] = row["trained_from"].date(), row["trained_to"].date()
    results = []
    for serving, days in servant.by_model(list(windows)):
        said = series.predictions(*hindcast(serving.forecaster, servant.bars))
        compared = seen.merge(said, on="date", how="left")
        results += [drift_report(ticker, day.date(), compared, *windows[day], serving.version) for day in days]
    return results


def _show_kinds(context: dg.AssetExecutionContext, results: Sequence[DriftResult]) -> None:
    """Say on each key what drifted, and why a kind was not compared."""
    for result in results:
        kinds = list(dict.fromkeys(result.rows.loc[result.rows["drifted"], "kind"]))
        said: Mapping[str, str] = {f"{kind} not compared": words for kind, words in result.too_few.items()}
        if kinds or said:
            context.add_asset_metadata(
                {**({"drift of": ", ".join(kinds)} if kinds else {}), **said},
                partition_key=partition_key(result.ticker, result.day),
            )


def build_drift_report(
    daily: dg.MultiPartitionsDefinition, first_daily_key: date, max_age_days: int
) -> dg.AssetsDefinition:
    """Drift of inputs, predictions and residuals, one row per feature."""
    window = dg.TimeWindowPartitionMapping(
        start_offset=-LONGEST_WINDOW, end_offset=0, allow_nonexistent_upstream_partitions=True
    )
    before = dg.TimeWindowPartitionMapping(
        start_offset=-LONGEST_WINDOW, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        **of_table(DRIFT_REPORT, "monitoring", daily, "evidently", "mlflow"),
        deps=[
            dg.AssetDep(TRAINED_MODEL.name, partition_mapping=same_ticker(dg.TimeWindowPartitionMapping())),
            RAW_PRICES.name,
            dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker()),
            dg.AssetDep(FORECASTS.name, partition_mapping=same_ticker(before)),
            dg.AssetDep(FORECAST_ACCURACY.name, partition_mapping=same_ticker(window)),
        ],
    )
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
        results = [
            result
            for ticker, asked in traded.items()
            for result in _reports_of_ticker(
                ticker,
                asked,
                rows.get(ticker, []),
                Servant(ticker, rows.get(ticker, []), bars[ticker], registry, max_age_days),
                residuals[ticker],
                reasons,
            )
        ]
        if not results:
            return keyed(context, pd.DataFrame(columns=DRIFT_REPORT.column_names), reasons)
        uris = reports.save(results)
        frame = pd.concat(
            [result.rows.assign(report_uri=uris[result.ticker, result.day]) for result in results], ignore_index=True
        )[DRIFT_REPORT.column_names]
        _show_kinds(context, results)
        context.add_output_metadata(
            {
                "drifted days": sum(result.drifted for result in results),
                "highest score / threshold": float((frame["score"] / frame["threshold"]).max()),
                "reports": dg.MetadataValue.path(reports.location),
            }
        )
        return keyed(context, frame.sort_values(list(DRIFT_REPORT.primary_key), ignore_index=True), reasons)

    return drift
