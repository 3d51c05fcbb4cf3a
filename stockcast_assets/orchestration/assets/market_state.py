"""`market_state`: what the tickers of a day say together, recorded once."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_today
from stockcast_assets.forecasting.features import History, Needed, prepare_many
from stockcast_assets.forecasting.universe.market import market_frame
from stockcast_assets.keys import parse_key
from stockcast_assets.libraries import pd
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.assets.bars import read_bars
from stockcast_assets.orchestration.assets.metadata import timed
from stockcast_assets.orchestration.assets.specs import of_all, table_asset
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.tables import MARKET_STATE, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL
from stockcast_assets.warehouse import Warehouse

_ABOUT = """
A row per day, and no keys: each run of `daily_forecast` and `monthly_training` **adds the days that it needs and that
are not there, and leaves the others as they are**. A day's members are the tickers that had a bar when it was added; a
ticker that joins later, or a bar that is corrected later, changes no recorded day. So a forecast's dependence on other
tickers is one stored row a day, and the same forecast can be made again.
"""


def build_market_state(index: str | None) -> dg.AssetsDefinition:
    """The days of the universe; `index` is the ticker whose series stands beside them, if it is there."""

    @table_asset(
        MARKET_STATE,
        "market",
        None,
        "pandas",
        about=_ABOUT,
        deps=[of_all(RAW_PRICES.name), of_all(PRICE_HISTORY.name)],
    )
    @timed
    # Dagster looks at what an asset returns: a frame's type would import pandas with the definitions.
    def market_state(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Any:
        stored = warehouse.read(MARKET_STATE)
        tickers = context.instance.get_dynamic_partitions(str(ticker_partitions.name))
        added = days_after(warehouse, tickers, stored["date"].iloc[-1] if len(stored) else None, _until(context), index)
        context.add_output_metadata({"days added": len(added)})
        return pd.concat([stored, added], ignore_index=True) if len(added) else stored

    return market_state


def days_after(
    warehouse: Warehouse, tickers: list[str], newest: pd.Timestamp | None, until: date, index: str | None = None
) -> pd.DataFrame:
    """The rows of `market_state` after the newest one stored, up to a day, from the bars that are there now.

    Whether days are computed alone or in a range, and beside which others, changes no bit.
    """
    bars = with_total_return(read_bars(warehouse, tickers, until))
    if bars.empty or (newest is not None and bars["date"].max() <= newest):
        return MARKET_STATE.empty()
    series = [own.reset_index(drop=True) for _, own in bars.groupby("ticker", sort=True)]
    starts = [0 if newest is None else int(own["date"].searchsorted(newest, side="right")) for own in series]
    needed = [Needed(own, first, len(own)) for own, first in zip(series, starts, strict=True) if first < len(own)]
    histories: dict[str, History] = {one.ticker: one for one in prepare_many(needed)}
    beside = histories.pop(index, None) if index and len(histories) > 1 else None
    rows = market_frame(histories, index=beside)
    return rows if newest is None else rows[rows["date"] > newest].reset_index(drop=True)


def _until(context: dg.AssetExecutionContext) -> date:
    """The last day that the run may know: that of its keys, or the one before its month."""
    end = context.run.tags.get(tags.RANGE_END) or context.run.tags.get(tags.PARTITION)
    day = None if end is None else parse_key(end).day
    if day is None:
        return utc_today()
    chosen = {key.to_user_string() for key in context.run.asset_selection or ()}
    of_month = TRAINED_MODEL.name in chosen if chosen else context.job_name == "monthly_training"
    return day - timedelta(days=1) if of_month else day
