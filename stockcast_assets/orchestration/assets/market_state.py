"""`market_state`: what the tickers of a day say together, recorded once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_today
from stockcast_assets.forecasting.features import History, Needed, prepare_many
from stockcast_assets.forecasting.universe.market import market_frame
from stockcast_assets.keys import key_day, parse_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.orchestration import tags, ticker_space
from stockcast_assets.orchestration.assets.bars import read_bars
from stockcast_assets.orchestration.assets.metadata import timed
from stockcast_assets.orchestration.assets.specs import of_all, table_asset
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.ticker_space import DAILY, STATE
from stockcast_assets.tables import MARKET_STATE, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL, UNIVERSE_MODEL
from stockcast_assets.warehouse import Warehouse

_ABOUT = """
A row per day, and no keys: each run of `daily_forecast` and `monthly_training` **adds the days that it needs and that
are not there, and leaves the others as they are**. A day's members are the tickers that had a bar when it was added; a
ticker that joins later, or a bar that is corrected later, changes no recorded day. So a forecast's dependence on other
tickers is one stored row a day, and the same forecast can be made again.

Where the tickers of a day are made by several runs, a day is added once all that are forecast every day and trade on it
have their bar; after ten days, without those that lack it.
"""

_PATIENCE = timedelta(days=10)


def build_market_state(index: str | None, tickers_per_run: int) -> dg.AssetsDefinition:
    """The days of the universe; `index` is the ticker whose series stands beside them, if it is there.

    More tickers than `tickers_per_run` are made by several runs, which wait for each other's bars of a day.
    """

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
        newest = stored["date"].iloc[-1] if len(stored) else None
        awaited = _of_every_day(context.instance) if len(tickers) > tickers_per_run else []
        added = days_after(warehouse, tickers, newest, _until(context), index, awaited)
        context.add_output_metadata({"days added": len(added)})
        return pd.concat([stored, added], ignore_index=True) if len(added) else stored

    return market_state


def days_after(
    warehouse: Warehouse,
    tickers: list[str],
    newest: pd.Timestamp | None,
    until: date,
    index: str | None = None,
    awaited: Collection[str] = (),
) -> pd.DataFrame:
    """The rows of `market_state` after the newest one stored, up to a day, from the bars that are there now.

    Up to the last day of which all `awaited` tickers that trade on it have their bar.

    Whether days are computed alone or in a range, and beside which others, changes no bit.
    """
    bars = with_total_return(read_bars(warehouse, tickers, until))
    if awaited and len(bars):
        bars = bars[bars["date"] < _first_day_to_come(bars, awaited)]
    if bars.empty or (newest is not None and bars["date"].max() <= newest):
        return MARKET_STATE.empty()
    series = [own.reset_index(drop=True) for _, own in bars.groupby("ticker", sort=True)]
    starts = [0 if newest is None else int(own["date"].searchsorted(newest, side="right")) for own in series]
    needed = [Needed(own, first, len(own)) for own, first in zip(series, starts, strict=True) if first < len(own)]
    histories: dict[str, History] = {one.ticker: one for one in prepare_many(needed)}
    beside = histories.pop(index, None) if index and len(histories) > 1 else None
    rows = market_frame(histories, index=beside)
    return rows if newest is None else rows[rows["date"] > newest].reset_index(drop=True)


def _first_day_to_come(bars: pd.DataFrame, awaited: Collection[str]) -> pd.Timestamp:
    """The first day of which a ticker that trades on it still lacks its bar; the day after the last if none does."""
    last = pd.Timestamp(bars["date"].max())
    after: pd.Timestamp = last + pd.Timedelta(days=1)
    ends = bars.groupby("ticker")["date"].max()
    for ticker, end in ends[(ends >= last - _PATIENCE) & (ends < last)].items():
        if ticker in awaited:
            lacking = calendars.sessions(calendars.calendar_for(str(ticker)), end + pd.Timedelta(days=1), last)
            after = min([after, *lacking[:1]])
    return after


def _of_every_day(instance: dg.DagsterInstance) -> list[str]:
    """The tickers that are forecast every day, and so have a bar of every session."""
    recorded = ticker_space.read(instance).values()
    return [
        ticker
        for ticker, values in recorded.items()
        if values.get(STATE, {}).get("state", "active") == "active"
        and not values.get(DAILY, {"uploaded": True})["uploaded"]
    ]


def _until(context: dg.AssetExecutionContext) -> date:
    """The last day that the run may know: that of its keys, or the one before its month."""
    end = context.run.tags.get(tags.RANGE_END) or context.run.tags.get(tags.PARTITION)
    chosen = {key.to_user_string() for key in context.run.asset_selection or ()}
    if end is not None and (UNIVERSE_MODEL.name in chosen or context.job_name == "universe_training"):
        return key_day(end) - timedelta(days=1)
    day = None if end is None else parse_key(end).day
    if day is None:
        return utc_today()
    of_month = TRAINED_MODEL.name in chosen if chosen else context.job_name == "monthly_training"
    return day - timedelta(days=1) if of_month else day
