"""`forecast_accuracy`: what became of the forecasts whose target session has closed."""

from datetime import date

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import complete_bars, open_days
from stockcast_assets.assets.keys import days_by_ticker, keyed, of_table, same_ticker
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring.accuracy import score
from stockcast_assets.tables import FORECAST_ACCURACY, FORECASTS, RAW_PRICES
from stockcast_assets.warehouse import KeyedFrame, Warehouse

# Ten sessions span at most this many calendar days: two weeks, and a long holiday between them.
LONGEST_LOOK_BACK = 30


def build_forecast_accuracy(daily: dg.MultiPartitionsDefinition, first_daily_key: date) -> dg.AssetsDefinition:
    """Scores by target session, not by as-of date: so a day's rows depend on nothing later than the day,
    and are never touched again."""
    earlier = dg.TimeWindowPartitionMapping(
        start_offset=-LONGEST_LOOK_BACK, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        **of_table(FORECAST_ACCURACY, "monitoring", daily, "pandas"),
        deps=[RAW_PRICES.name, dg.AssetDep(FORECASTS.name, partition_mapping=same_ticker(earlier))],
    )
    def forecast_accuracy(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], sources: dg.ResourceParam[Sources]
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        first, last = min(d[0] for d in days.values()), max(d[-1] for d in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        made = warehouse.read(
            FORECASTS, tickers=list(days), start=(first - pd.Timedelta(days=LONGEST_LOOK_BACK)).date(), end=last.date()
        )
        frames: list[pd.DataFrame] = []
        traded, reasons = open_days(days, bars)
        for ticker, asked in traded.items():
            own = made[made["ticker"] == ticker]
            for day in asked:
                scored = score(own, bars[ticker], day.date())
                if scored.empty:
                    reasons[ticker, day] = "no forecast was made for this session"
                else:
                    frames.append(scored)
        frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=FORECAST_ACCURACY.column_names)
        return keyed(context, frame[FORECAST_ACCURACY.column_names], reasons)

    return forecast_accuracy
