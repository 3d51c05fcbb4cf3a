"""`price_history` and `raw_prices`: the bars, as the source reports them."""

from datetime import date, timedelta

import dagster as dg
import pandas as pd

from stockcast_assets.assets.bars import closed_or_unlisted
from stockcast_assets.assets.keys import (
    SINGLE_RUN,
    days_by_ticker,
    keyed,
    kinds,
    missing_days,
    rows_of_keys,
    shown_days,
)
from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.market.tickers import validate_ticker
from stockcast_assets.partitions import ticker_partitions
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES
from stockcast_assets.warehouse import KeyedFrame, Warehouse, asset_metadata


class IngestConfig(dg.Config):
    """Where this run fetches from; the CSV inbox asks for `csv`, everything else for STOCKCAST_SOURCE."""

    source: str | None = None


def keep_first_seen(fetched: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Give bars whose values did not change the `ingested_at` they were first stored with.

    So fetching the same bars again changes no bit of the table.
    """
    values = [name for name in RAW_PRICES.column_names if name != "ingested_at"]
    known = stored[[*values, "ingested_at"]].rename(columns={"ingested_at": "first_seen"})
    merged = fetched.merge(known, on=values, how="left")
    return fetched.assign(ingested_at=merged["first_seen"].fillna(merged["ingested_at"]).to_numpy())


def build_price_history(first_daily_key: date) -> dg.AssetsDefinition:
    """Every bar before the first daily key, one key per ticker."""

    @dg.asset(
        name=PRICE_HISTORY.name,
        description=PRICE_HISTORY.description,
        group_name="market",
        partitions_def=ticker_partitions,
        backfill_policy=SINGLE_RUN,
        metadata=asset_metadata(PRICE_HISTORY, partition_expr="ticker"),
        pool=PRICE_HISTORY.name,
        **kinds("pandas"),
    )
    def price_history(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
    ) -> KeyedFrame:
        source = sources.get(config.source)
        end = first_daily_key - timedelta(days=1)
        tickers = [validate_ticker(key) for key in context.partition_keys]
        frames, empty = [], {}
        for ticker in tickers:
            bars = source.bars(ticker, None, end)
            context.log.info(f"{ticker}: {len(bars)} bars up to {end} from {source.name}")
            if bars.empty:
                empty[ticker] = f"no bars before {first_daily_key}"
            frames.append(bars)
        fetched = pd.concat(frames, ignore_index=True)
        return KeyedFrame(keep_first_seen(fetched, warehouse.read(PRICE_HISTORY, tickers=tickers, end=end)), empty)

    return price_history


def build_raw_prices(daily: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """One bar per ticker and session."""

    @dg.asset(
        name=RAW_PRICES.name,
        description=RAW_PRICES.description,
        group_name="market",
        partitions_def=daily,
        backfill_policy=SINGLE_RUN,
        metadata=asset_metadata(RAW_PRICES, partition_expr={"ticker": "ticker", "date": "date"}),
        pool=RAW_PRICES.name,
        **kinds("pandas"),
    )
    def raw_prices(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
    ) -> KeyedFrame:
        source = sources.get(config.source)
        days = days_by_ticker(context.partition_keys)
        frames: list[pd.DataFrame] = []
        closed: dict[tuple[str, pd.Timestamp], str] = {}
        for ticker, asked in days.items():
            bars = source.bars(ticker, asked[0].date(), asked[-1].date())
            bars = rows_of_keys(bars, {ticker: asked})
            absent = missing_days(bars, {ticker: asked}).get(ticker, [])
            reasons = closed_or_unlisted(ticker, absent, source.first_session(ticker))
            unexplained = [day for day in absent if (ticker, day) not in reasons]
            if unexplained:
                raise StockcastError(
                    f"The source {source.name} has no bar of {ticker} for {shown_days(unexplained)}, although the "
                    "market was open: nothing was written; try again later or supply the bars as CSV."
                )
            closed |= reasons
            frames.append(bars)
        fetched = pd.concat(frames, ignore_index=True)
        first, last = min(d[0] for d in days.values()), max(d[-1] for d in days.values())
        stored = warehouse.read(RAW_PRICES, tickers=list(days), start=first.date(), end=last.date())
        return keyed(context, keep_first_seen(fetched, stored), closed)

    return raw_prices
