"""`drift_report`: recent sessions against the window the month's model was trained on."""

from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import complete_bars, open_days
from stockcast_assets.assets.keys import days_by_ticker, keyed, of_table, of_ticker, same_ticker
from stockcast_assets.assets.model import stored_models
from stockcast_assets.assets.shown import newest_days, numbers, picture, report_page, show, timed
from stockcast_assets.forecasting.lifecycle import row_in_use, rows_by_ticker
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring.charts import drift_png
from stockcast_assets.monitoring.drift import CURRENT_SESSIONS, drift_features, drift_report
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.partitions import partition_key
from stockcast_assets.tables import DRIFT_REPORT, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL
from stockcast_assets.warehouse import KeyedFrame, Warehouse

_ABOUT = """
The last 60 sessions against the window that the month's model was trained on, one row per scale-free feature. A feature
has drifted where its distance is above what one in a hundred windows of the training data itself has. One drifted day
means little; the check `no_lasting_drift` looks at a month. Evidently's full report of each key is linked.
"""


def _shown(rows: pd.DataFrame, dashboard: str) -> dict[str, dict[str, Any]]:
    """The numbers and the report of each key, and a chart on each ticker's newest."""
    ratios = rows.assign(ratio=rows["score"] / rows["threshold"])
    days = ratios.groupby(["ticker", "date"], as_index=False).agg(ratio=("ratio", "max"), drifted=("drifted", "sum"))
    shown = numbers(days, {"ratio": "highest score / threshold", "drifted": "drifted features"})
    for ticker, day in zip(days["ticker"], days["date"], strict=True):
        shown[partition_key(ticker, day)]["Evidently report"] = report_page(dashboard, ticker, day)
    for ticker, day in newest_days(days).items():
        own = rows[(rows["ticker"] == ticker) & (rows["date"] == day)]
        shown[partition_key(ticker, day)]["chart"] = picture(drift_png(own), f"Drift of {ticker} on {day:%Y-%m-%d}")
    return shown


def build_drift_report(
    daily: dg.MultiPartitionsDefinition, first_daily_key: date, dashboard: str
) -> dg.AssetsDefinition:
    """Drift of returns and scale-free features, one row per feature."""

    @dg.asset(
        **of_table(
            DRIFT_REPORT, "monitoring", daily, "evidently", about=_ABOUT, links={"dashboard": f"{dashboard}/monitoring"}
        ),
        deps=[
            dg.AssetDep(TRAINED_MODEL.name, partition_mapping=same_ticker(dg.TimeWindowPartitionMapping())),
            RAW_PRICES.name,
            dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker()),
        ],
    )
    @timed
    def drift(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        reports: dg.ResourceParam[ReportStore],
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        last = max(asked[-1] for asked in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        traded, reasons = open_days(days, bars)
        rows = rows_by_ticker(stored_models(warehouse, list(traded), last))
        features = {ticker: drift_features(bars[ticker]) for ticker in traded}
        results = []
        for ticker, asked in traded.items():
            for day in asked:
                row = row_in_use(rows.get(ticker, []), ticker, day)
                reference_from, reference_to = row["trained_from"], row["trained_to"]
                if features[ticker]["date"].between(reference_from, reference_to).sum() < 2 * CURRENT_SESSIONS:
                    reasons[ticker, day] = "history too short to compare"
                    continue
                results.append(
                    drift_report(ticker, day.date(), features[ticker], reference_from.date(), reference_to.date())
                )
        if not results:
            return keyed(context, pd.DataFrame(columns=DRIFT_REPORT.column_names), reasons)
        uris = reports.save(results)
        frame = pd.concat(
            [result.rows.assign(report_uri=uris[result.ticker, result.day]) for result in results], ignore_index=True
        )
        show(context, _shown(frame, dashboard))
        return keyed(context, frame.sort_values(list(DRIFT_REPORT.primary_key), ignore_index=True), reasons)

    return drift
