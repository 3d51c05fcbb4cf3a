"""`forecast_accuracy`: what became of the forecasts whose target session has closed."""

from datetime import date

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import closed_or_unlisted, complete_bars
from stockcast_assets.assets.keys import SINGLE_RUN, days_by_ticker, keyed, kinds, same_ticker
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.monitoring.accuracy import score
from stockcast_assets.tables import FORECAST_ACCURACY, FORECASTS, RAW_PRICES
from stockcast_assets.warehouse import KeyedFrame, Warehouse, asset_metadata

# Ten sessions span at most this many calendar days: two weeks, and a long holiday between them.
LONGEST_LOOK_BACK = 30


def build_forecast_accuracy(daily: dg.MultiPartitionsDefinition, first_daily_key: date) -> dg.AssetsDefinition:
    """Scores by target session, not by as-of date: so a day's rows depend on nothing later than the day,
    and are never touched again."""
    earlier = dg.TimeWindowPartitionMapping(
        start_offset=-LONGEST_LOOK_BACK, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        name=FORECAST_ACCURACY.name,
        description=FORECAST_ACCURACY.description,
        group_name="monitoring",
        partitions_def=daily,
        backfill_policy=SINGLE_RUN,
        deps=[RAW_PRICES.name, dg.AssetDep(FORECASTS.name, partition_mapping=same_ticker(earlier))],
        metadata=asset_metadata(FORECAST_ACCURACY, partition_expr={"ticker": "ticker", "date": "date"}),
        pool=FORECAST_ACCURACY.name,
        **kinds("pandas"),
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
        reasons: dict[tuple[str, pd.Timestamp], str] = {}
        for ticker, asked in days.items():
            first_bar = bars[ticker]["date"].iloc[0] if len(bars[ticker]) else None
            closed = closed_or_unlisted(ticker, asked, first_bar)
            reasons |= closed
            own = made[made["ticker"] == ticker]
            for day in asked:
                if (ticker, day) in closed:
                    continue
                scored = score(own, bars[ticker], day.date())
                if scored.empty:
                    reasons[ticker, day] = "no forecast was made for this session"
                else:
                    frames.append(scored)
        frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=FORECAST_ACCURACY.column_names)
        return keyed(context, frame[FORECAST_ACCURACY.column_names], reasons)

    return forecast_accuracy
