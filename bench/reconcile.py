"""What it costs to compare the warehouse with what Dagster remembers, beside a tick that finds nothing new.

    python bench/reconcile.py [--tickers 4 500] [--days 20] [--times 5]

Makes homes with every table filled with as many keys, each remembered by Dagster as a run leaves it, and measures: a
tick of `daily_catch_up` whose cursor says that nothing changed (its fingerprint), what Dagster remembers alone, the
comparison (`stored.look`), and the same after a table has lost all of its rows.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd

from stockcast_assets.clock import utc_now
from stockcast_assets.keys import partition_key
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.graph import KEY_OF, ORDER
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.partitions import daily_partitions, monthly_partitions
from stockcast_assets.orchestration.planning import world
from stockcast_assets.orchestration.planning.world import Universe
from stockcast_assets.orchestration.stored import look
from stockcast_assets.settings import Settings
from stockcast_assets.tables import ALL_TABLES, FORECASTS, PRICE_HISTORY, Table
from stockcast_assets.warehouse import TableRef, Warehouse, frames
from stockcast_assets.warehouse.slices import Slice

FIRST = "2026-01-02"
PAST = 2_500
"""Bars of a ticker's deep past."""


def table_of(table: Table, tickers: list[str], days: pd.DatetimeIndex) -> pd.DataFrame:
    """Rows of made-up values that obey the declaration's types."""
    if table is PRICE_HISTORY:
        days = pd.bdate_range(end=days[0] - pd.Timedelta(days=1), periods=PAST)
    elif KEY_OF[table.name] == "ticker-month":
        days = days[:1].to_period("M").to_timestamp()
    times = 10 if table is FORECASTS else 1
    rows = pd.MultiIndex.from_product([tickers, days, range(1, times + 1)], names=["ticker", "date", "horizon"])
    frame = rows.to_frame(index=False)
    blank = {"STRING": "x", "DATE": days[0], "FLOAT64": 1.0, "INT64": 1, "BOOL": True}
    blank["TIMESTAMP"] = pd.Timestamp(days[0], tz="UTC")
    for column in table.columns:
        if column.name not in frame:
            frame[column.name] = blank[column.type]
    return frame[table.column_names]


def fill(warehouse: Warehouse, instance: dg.DagsterInstance, tickers: list[str], days: pd.DatetimeIndex) -> int:
    """A home as the runs of these days leave it; returns how many keys Dagster remembers."""
    instance.add_dynamic_partitions("ticker", tickers)
    keys = 0
    for table in ALL_TABLES:
        data, contract = frames.to_arrow(table_of(table, tickers, days), table.name, table)
        warehouse.replace(TableRef(warehouse.schema, table.name), data, Slice.whole(), contract)
    for name in ORDER:
        kind = KEY_OF[name]
        times = [None] if kind == "ticker" else days[:1].to_period("M").to_timestamp() if "month" in kind else days
        count = PAST if kind == "ticker" else 10 if name == FORECASTS.name else 1
        for ticker in tickers:
            for day in times:
                key = ticker if day is None else partition_key(ticker, day)
                told = {"dagster/partition_row_count": count}
                instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key, metadata=told))
                keys += 1
    return keys


def median_ms(times: int, work: Callable[[], object]) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def measure(count: int, days: int, times: int) -> None:
    tickers = [f"T{number:04d}" for number in range(count)]
    sessions = calendars.sessions("XNYS", FIRST, "2026-12-31")[:days]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home", source="sample", start_date=sessions[0].date(), end_date=None)
        warehouse = warehouse_from(settings)
        with open_instance(settings) as instance:
            keys = fill(warehouse, instance, tickers, sessions)
            universe = Universe(
                settings.start_date,
                settings.calendars,
                False,
                daily_partitions(settings.start_date, None, ()),
                monthly_partitions(settings.start_date, None),
            )
            now = utc_now()
            quiet = median_ms(times, lambda: world.fingerprint(instance, universe, now, warehouse))
            remembered = median_ms(
                times, lambda: [instance.get_materialized_partitions(dg.AssetKey(name)) for name in ORDER]
            )
            compared = median_ms(times, lambda: look(instance, warehouse))
            assert not any(look(instance, warehouse).lost.values())
            empty = frames.to_arrow(table_of(FORECASTS, tickers, sessions).iloc[:0], FORECASTS.name, FORECASTS)
            warehouse.replace(TableRef(warehouse.schema, FORECASTS.name), empty[0], Slice.whole(), FORECASTS)
            lost = median_ms(times, lambda: look(instance, warehouse))
            assert len(look(instance, warehouse).lost[FORECASTS.name]) == count * days
    print(f"| {count} | {keys:,} | {quiet:.0f} ms | {remembered:.0f} ms | {compared:.0f} ms | {lost:.0f} ms | "
          f"{compared / quiet:.1f} | {compared / remembered:.1f} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, nargs="+", default=[4, 500])
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    print("| tickers | keys | quiet tick | what Dagster remembers | compared | with a table lost | compared / quiet | "
          "compared / remembered |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for count in given.tickers:
        measure(count, given.days, given.times)


if __name__ == "__main__":
    main()
