"""What comes with a run's bars: those that they replace or remove, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.libraries import pd
from stockcast_assets.market.known import new_revisions, superseded
from stockcast_assets.orchestration.assets.specs import table_beside
from stockcast_assets.tables import PRICE_HISTORY, PRICE_REVISIONS, RAW_PRICES, Table
from stockcast_assets.warehouse import KeyedFrame, Warehouse
from stockcast_assets.warehouse.frames import Addition

_ABOUT = """
Nobody makes it: **a bar that is replaced or removed is kept here, in the same transaction**. So the bars of any past
day are there as they were known: `stockcast status --as-known-on 2026-05-31`, and so for `explain`, `evaluate` and the
dashboard. What was revised before this table existed is not known.
"""


def price_revisions_spec() -> dg.AssetSpec:
    """The revisions in the graph: nobody makes them, they grow with the bars."""
    return table_beside(PRICE_REVISIONS, "market", [PRICE_HISTORY.name, RAW_PRICES.name], with_price_revisions, _ABOUT)


def with_price_revisions(
    warehouse: Warehouse,
    table: Table,
    made: KeyedFrame,
    stored: Callable[[], pd.DataFrame],
    clock: Callable[[], pd.Timestamp] = utc_now,
) -> KeyedFrame:
    """The bars of a run as they are to be stored: with those that are so no more.

    Args:
        warehouse: where both are stored.
        table: `raw_prices` or `price_history`.
        made: the bars.
        stored: reads the bars whose place they take.
        clock: tells the moment, UTC.
    """

    def addition() -> Addition | None:
        gone = superseded(stored(), made.frame)
        if gone.empty:
            return None
        tickers, days = sorted(gone["ticker"].unique()), gone["date"]
        before = warehouse.read(
            PRICE_REVISIONS,
            tickers=tickers,
            start=days.min(),
            end=days.max(),
            columns=list(PRICE_REVISIONS.primary_key),
        )
        rows = new_revisions(gone, before, clock(), table.name)
        # Dagster plots numbers, and these are of the run, not of a key.
        return Addition(PRICE_REVISIONS, rows, event={"bars revised": len(rows), "tickers": ", ".join(tickers)})

    return replace(made, adding=addition)
