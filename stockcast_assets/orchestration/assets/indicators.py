"""`indicators`: SMA, EMA, MACD, RSI, returns and volatility of each session."""

from __future__ import annotations

from datetime import date

import dagster as dg

from stockcast_assets.libraries import pd
from stockcast_assets.market import indicators as core
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.assets.bars import complete_bars, open_days
from stockcast_assets.orchestration.assets.metadata import show_days, timed
from stockcast_assets.orchestration.assets.specs import days_by_ticker, keyed, of_ticker, rows_of_keys, table_asset
from stockcast_assets.tables import INDICATORS, PRICE_HISTORY, RAW_PRICES, RSI, RSI_LABEL, VOLATILITY, VOLATILITY_WINDOW
from stockcast_assets.warehouse import KeyedFrame, Warehouse

SHOWN = {"close": "close", RSI: RSI_LABEL, VOLATILITY: f"volatility {VOLATILITY_WINDOW}"}
"""The columns that are plotted, and what they are called."""

_ABOUT = """
EMA, MACD and Wilder's RSI depend on where a series starts, so they are always computed from the ticker's first stored
bar: the same bits whether a day is computed alone, in a range, or years later. A missing session fails the run and is
named. Null while an average warms up.
"""


def build_indicators(daily: dg.MultiPartitionsDefinition, first_daily_key: date) -> dg.AssetsDefinition:
    """Indicators of the close.

    The declared lineage is the same (ticker, day) of `raw_prices`: recursive indicators read every earlier
    bar too, but mapping each key to all its predecessors makes Dagster compute seconds per thousand keys for
    a graph nobody can read.
    """

    @table_asset(
        INDICATORS,
        "market",
        daily,
        "pandas",
        about=_ABOUT,
        deps=[RAW_PRICES.name, dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker())],
    )
    @timed
    def indicators(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], sources: dg.ResourceParam[Sources]
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        last = max(asked[-1] for asked in days.values())
        bars = complete_bars(warehouse, context.instance, list(days), last, first_daily_key, sources)
        computed = core.compute(pd.concat(bars.values(), ignore_index=True))
        _, reasons = open_days(days, bars)
        rows = rows_of_keys(computed, days)
        show_days(context, rows, SHOWN)
        return keyed(context, rows, reasons)

    return indicators
