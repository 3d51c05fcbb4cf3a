"""`indicators`: SMA, EMA, MACD, RSI, returns and volatility of each session."""

from datetime import date

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import closed_or_unlisted, complete_bars
from stockcast_assets.assets.keys import SINGLE_RUN, days_by_ticker, keyed, kinds, of_ticker, rows_of_keys
from stockcast_assets.market import indicators as core
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.tables import INDICATORS, PRICE_HISTORY, RAW_PRICES
from stockcast_assets.warehouse import KeyedFrame, Warehouse, asset_metadata


def build_indicators(daily: dg.MultiPartitionsDefinition, first_daily_key: date) -> dg.AssetsDefinition:
    """Indicators of the close.

    The declared lineage is the same (ticker, day) of `raw_prices`: recursive indicators read every earlier
    bar too, but mapping each key to all its predecessors makes Dagster compute seconds per thousand keys for
    a graph nobody can read.
    """

    @dg.asset(
        name=INDICATORS.name,
        description=INDICATORS.description,
        group_name="market",
        partitions_def=daily,
        backfill_policy=SINGLE_RUN,
        deps=[RAW_PRICES.name, dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker())],
        metadata=asset_metadata(INDICATORS, partition_expr={"ticker": "ticker", "date": "date"}),
        pool=INDICATORS.name,
        **kinds("pandas"),
    )
    def indicators(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], sources: dg.ResourceParam[Sources]
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        last = max(asked[-1] for asked in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        computed = core.compute(pd.concat(bars.values(), ignore_index=True))
        reasons: dict[tuple[str, pd.Timestamp], str] = {}
        for ticker, asked in days.items():
            first_bar = bars[ticker]["date"].iloc[0] if len(bars[ticker]) else None
            reasons |= closed_or_unlisted(ticker, asked, first_bar)
        return keyed(context, rows_of_keys(computed, days), reasons)

    return indicators
