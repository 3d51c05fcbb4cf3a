"""`drift_report`: recent sessions against the window the month's model was trained on."""

from datetime import date

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import closed_or_unlisted, complete_bars
from stockcast_assets.assets.forecasts import month_models
from stockcast_assets.assets.keys import SINGLE_RUN, days_by_ticker, keyed, kinds, of_ticker, same_ticker
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring.drift import CURRENT_SESSIONS, drift_features, drift_report
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.tables import DRIFT_REPORT, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL
from stockcast_assets.warehouse import KeyedFrame, Warehouse, asset_metadata


def build_drift_report(daily: dg.MultiPartitionsDefinition, first_daily_key: date) -> dg.AssetsDefinition:
    """Drift of returns and scale-free features, one row per feature."""

    @dg.asset(
        name=DRIFT_REPORT.name,
        description=DRIFT_REPORT.description,
        group_name="monitoring",
        partitions_def=daily,
        backfill_policy=SINGLE_RUN,
        ins={
            "trained_model": dg.AssetIn(
                TRAINED_MODEL.name, partition_mapping=same_ticker(dg.TimeWindowPartitionMapping())
            )
        },
        deps=[RAW_PRICES.name, dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker())],
        metadata=asset_metadata(DRIFT_REPORT, partition_expr={"ticker": "ticker", "date": "date"}),
        pool=DRIFT_REPORT.name,
        **kinds("evidently"),
    )
    def drift(
        context: dg.AssetExecutionContext,
        trained_model: pd.DataFrame,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        reports: dg.ResourceParam[ReportStore],
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        last = max(asked[-1] for asked in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        row_of = {(row["ticker"], row["date"]): row for row in trained_model.to_dict("records")}
        reasons: dict[tuple[str, pd.Timestamp], str] = {}
        for ticker, asked in days.items():
            first_bar = bars[ticker]["date"].iloc[0] if len(bars[ticker]) else None
            reasons |= closed_or_unlisted(ticker, asked, first_bar)
        open_days = {t: [day for day in asked if (t, day) not in reasons] for t, asked in days.items()}
        features = {ticker: drift_features(bars[ticker]) for ticker, asked in open_days.items() if asked}
        results = []
        for month, month_days in month_models(trained_model, open_days).items():
            for ticker, asked in month_days.items():
                row = row_of[ticker, month]
                reference_from, reference_to = row["trained_from"], row["trained_to"]
                for day in asked:
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
        context.add_output_metadata(
            {
                "drifted days": sum(result.drifted for result in results),
                "highest score / threshold": float((frame["score"] / frame["threshold"]).max()),
                "reports": dg.MetadataValue.path(str(reports.root)),
            }
        )
        return keyed(context, frame.sort_values(list(DRIFT_REPORT.primary_key), ignore_index=True), reasons)

    return drift
