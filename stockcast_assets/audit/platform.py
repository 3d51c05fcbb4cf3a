"""The platform's own assets, made by real Dagster runs in a home of its own for every world."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from stockcast_assets.audit.compare import Moved, moved
from stockcast_assets.audit.worlds import LATER, RESTATED, World, attacks
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.earnings import SAID
from stockcast_assets.market.sources.base import Source, select
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.graph import KEY_OF
from stockcast_assets.orchestration.planning.launch import MODEL, Launch
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.orchestration.planning.runner import Runner
from stockcast_assets.settings import SAMPLE, Settings
from stockcast_assets.tables import (
    ALL_TABLES,
    EARNINGS_DATES,
    INDICATORS,
    MARKET_STATE,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
    Table,
)
from stockcast_assets.warehouse import Warehouse

INPUT_TABLES = (PRICE_HISTORY.name, RAW_PRICES.name, EARNINGS_DATES.name)
AUDITED = tuple(table for table in ALL_TABLES if table is not EARNINGS_DATES)
"""The tables whose rows carry a day; what is said of reports carries the day on which it was known, and is an input."""

OF_BARS_ALONE = {PRICE_HISTORY.name, RAW_PRICES.name, INDICATORS.name, MARKET_STATE.name}

OF_THE_HOME = ("run_id", "serving_run_id", "report_uri")
"""Columns that name a run or a place, other ones in each home."""

LEFT_OUT = ("half of the later sessions have no bar",)
"""A world that the platform refuses to store: a missing session is an error there."""

AS_IT_IS = "the world as it is"

SESSIONS, AHEAD = 3, 15
"""Sessions up to the cut that are forecast, and sessions after it that are stored before anything is computed."""


class WorldSource:
    """A world as a source of bars and reports, see `market.sources.base.Source`."""

    name = SAMPLE

    def __init__(self, world: World) -> None:
        self._world = world
        self._now = world.bars["date"].max().tz_localize("UTC") + pd.Timedelta(days=30)

    def bars(self, ticker: str, start: date | None, end: date, overlap: date | None = None) -> pd.DataFrame:
        """See `Source.bars`."""
        return select(self._own(ticker), ticker, start, end, self._now, "the world ends there", overlap)

    def first_session(self, ticker: str) -> date | None:
        """See `Source.first_session`."""
        day: date = self._own(ticker)["date"].iloc[0].date()
        return day

    def tickers(self) -> list[str]:
        """See `Source.tickers`."""
        return self._world.tickers

    def earnings(self, ticker: str) -> pd.DataFrame:
        """See `TellsReports.earnings`."""
        own = self._world.earnings[self._world.earnings["ticker"] == ticker]
        return own[list(SAID)].reset_index(drop=True)

    def _own(self, ticker: str) -> pd.DataFrame:
        own: pd.DataFrame = self._world.bars[self._world.bars["ticker"] == ticker]
        return own.assign(source=SAMPLE).reset_index(drop=True)


class WorldSources(Sources):
    """A world as the default source."""

    def __init__(self, world: World, uploads: Path) -> None:
        super().__init__(SAMPLE, uploads)
        self._world = WorldSource(world)

    def get(self, name: str | None = None) -> Source:
        """See `Sources.get`."""
        return self._world if name in (None, SAMPLE) else super().get(name)


def cut_of(world: World) -> pd.Timestamp:
    """The last session of the last month but one: the model of the month after it is trained on that day."""
    days = world.bars["date"]
    ends = days.groupby(days.dt.to_period("M")).max()
    if len(ends) < 3:
        raise StockcastError("The bars span less than three months: give a longer history.")
    # A month that the bars leave unfinished has not ended.
    return pd.Timestamp(ends.iloc[-3])


def tables(world: World, cut: pd.Timestamp, assets: Collection[str]) -> dict[str, pd.DataFrame]:
    """The rows of some assets, made for days up to a cut where the days after it are stored already.

    Args:
        world: what the source has.
        cut: the last day that is asked for.
        assets: which are needed; all that they are computed from is made as well.
    """
    with TemporaryDirectory(prefix="stockcast-audit-") as folder:
        home = Path(folder)
        start = (cut - pd.Timedelta(days=45)).replace(day=1).date()
        settings = Settings(
            _env_file=None,
            home=home,
            source=SAMPLE,
            warehouse="duckdb",
            start_date=start,
            end_date=(cut + pd.Timedelta(days=2 * AHEAD)).date(),
            tickers=(),
            automation=False,
        )
        warehouse = warehouse_from(settings)
        sources = WorldSources(world, home / "inbox")
        with dg.DagsterInstance.ephemeral(str(home / "dagster")) as instance:
            definitions = build_definitions(settings, sources=sources, warehouse=warehouse)
            runner = Runner(
                definitions,
                instance,
                start,
                warehouse,
                observe=lambda launch: nullcontext(),
                shared_network=settings.shared_network,
            )
            _bring_up(runner, world, cut, assets)
        return {table.name: _of_days(warehouse, table, cut) for table in AUDITED if table.name in assets}


def _bring_up(runner: Runner, world: World, cut: pd.Timestamp, assets: Collection[str]) -> None:
    last = world.bars.groupby("ticker")["date"].max().to_dict()
    tickers = [ticker for ticker in world.tickers if ticker != LATER] + ([LATER] if LATER in last else [])
    add_tickers(runner.instance, tickers)
    ahead = calendars.next_sessions(calendars.calendar_for(tickers[0]), cut, AHEAD)[-1]
    runner.ingest({ticker: min(last[ticker], ahead) for ticker in tickers})
    there = [ticker for ticker in tickers if ticker != LATER]
    days = {
        ticker: list(calendars.sessions(calendars.calendar_for(ticker), runner.first_daily_key, cut)[-SESSIONS:])
        for ticker in there
    }
    if set(assets) <= {*INPUT_TABLES, INDICATORS.name}:
        if INDICATORS.name in assets:
            runner.run(Launch((INDICATORS.name,), tuple(there), days[there[0]][0].date(), cut.date()))
        return
    runner.bring_up(days)
    month = (cut + pd.offsets.MonthBegin()).date()
    runner.train_networks([pd.Timestamp(month)])
    runner.run(Launch((TRAINED_MODEL.name,), tuple(there), month, month, MODEL))


def _of_days(warehouse: Warehouse, table: Table, cut: pd.Timestamp) -> pd.DataFrame:
    rows = warehouse.read(table)
    moments = [column.name for column in table.columns if column.type == "TIMESTAMP"]
    rows = rows.drop(columns=[*moments, *(name for name in OF_THE_HOME if name in rows)])
    if KEY_OF.get(table.name) in ("ticker-month", "month"):
        # Known when the month began: at the end of the day before.
        rows = rows.assign(date=rows["date"] - pd.Timedelta(days=1))
    if "horizon" not in rows and (extra := [name for name in table.primary_key if name not in ("ticker", "date")]):
        rows = rows.sort_values(list(table.primary_key))
        rows = rows.rename(columns={extra[0]: "feature"}) if extra[0] != "trained_to" else rows
    return rows[rows["date"] <= cut].reset_index(drop=True)


def examine(
    world: World, assets: Collection[str], cut: pd.Timestamp | None = None, seed: int = 0
) -> Iterator[tuple[str, Mapping[str, list[Moved]]]]:
    """What moves of the platform's assets, world by world: what was done, and what moved of each asset.

    Args:
        world: bars and reports.
        assets: names of tables of AUDITED.
        cut: the day; `cut_of` if None.
        seed: of what is drawn.

    Raises:
        StockcastError: if there is no such asset, or one cannot be made of the world as it is.
    """
    names = [table.name for table in AUDITED]
    strange = [name for name in assets if name not in names]
    if strange:
        raise StockcastError(f"There is no asset {strange[0]!r} to audit: there are {shortlist(names, len(names))}.")
    cut = cut or cut_of(world)
    truth = tables(world, cut, assets)
    yield AS_IT_IS, {name: [] for name in truth}
    inputs = {"bars"} if set(assets) <= OF_BARS_ALONE else {"bars", "earnings"}
    for attack, other in attacks(world, cut, inputs, seed):
        if attack in LEFT_OUT:
            continue
        made = tables(other, cut, assets)
        yield attack, {asset: moved(truth[asset], made[asset], cut, attack, _skipped(asset, attack)) for asset in truth}


def _skipped(asset: str, attack: str) -> tuple[Any, ...]:
    """A provider's adjusted close is stored as it was told; nothing is computed from it."""
    return ("adj_close",) if attack == RESTATED and asset in INPUT_TABLES else ()
