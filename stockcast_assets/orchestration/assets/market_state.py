"""`market_state`: what the tickers of a day say together, a key per day, and `market_days`, which records new days."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_today
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.features import History, Needed, prepare_many
from stockcast_assets.forecasting.universe.market import market_frame, members_of
from stockcast_assets.keys import key_day, parse_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.orchestration import tags, ticker_space
from stockcast_assets.orchestration.assets.bars import read_bars
from stockcast_assets.orchestration.assets.metadata import timed
from stockcast_assets.orchestration.assets.run_config import NOTHING
from stockcast_assets.orchestration.assets.specs import Decorator, kinds, of_all, of_period, table_asset
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.stored import ROW_COUNTS
from stockcast_assets.orchestration.ticker_space import DAILY, STATE
from stockcast_assets.tables import MARKET_STATE, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL, UNIVERSE_MODEL
from stockcast_assets.warehouse import KeyedFrame, TableRef, Warehouse, frames
from stockcast_assets.warehouse.slices import Slice, Span, Windows

_ABOUT = """
A key per day, of all tickers together. **The members of a day are the tickers that had a bar when the day was
recorded**, which the first run that needed it did (`market_days`). A key that is made again has the members that it
had: a ticker that joins later changes no day, and a bar that was corrected changes the days that it touches. The days
before the first daily key are rows of the table, too, and have no keys.
"""
_ABOUT_DAYS = """
Records the days of the market that a run reads and that are not there yet, as keys of `market_state`: up to the day of
the run, or up to the one before its month. The days of the run's own keys are computed again, by the members that they
have: so a repair of bars repairs them. Runs of `daily_forecast` and `monthly_training` have it as a step, before
whatever reads the market. It has no keys and no table of its own.

Where the tickers of a day are made by several runs, a day is recorded once all that are forecast every day and trade on
it have their bar; after ten days, without those that lack it.
"""

_PATIENCE = timedelta(days=10)


@dataclass(frozen=True)
class _Asked:
    """Which days a run asks for: `first` to `last` again, and whatever is new up to `last`; `first` None for none."""

    first: date | None
    last: date


def build_market_state(
    days: dg.PartitionsDefinition[str], index: str | None, tickers_per_run: int
) -> list[dg.AssetsDefinition]:
    """The market's days and the step that records them.

    Args:
        days: the daily keys.
        index: the ticker whose series stands beside each day, if it is there.
        tickers_per_run: more tickers are made by several runs, which wait for each other's bars of a day.
    """

    @table_asset(
        MARKET_STATE,
        "market",
        days,
        "pandas",
        about=_ABOUT,
        # The step that records days writes the same table: one at a time.
        pool=MARKET_DAYS,
        deps=[
            dg.AssetDep(RAW_PRICES.name, partition_mapping=of_period()),
            of_all(PRICE_HISTORY.name),
        ],
    )
    @timed
    # Dagster looks at what an asset returns: a frame's type would import pandas with the definitions.
    def market_state(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Any:
        asked = [pd.Timestamp(key) for key in context.partition_keys]
        tickers = context.instance.get_dynamic_partitions(str(ticker_partitions.name))
        rows = days_of_market(warehouse, tickers, asked[-1].date(), asked[0].date(), index, only_asked=True)
        return KeyedFrame(
            rows, {f"{day:%Y-%m-%d}": "no member traded" for day in asked if day not in set(rows["date"])}
        )

    decorator: Decorator = dg.asset(
        name=MARKET_DAYS,
        description=f"The step that records the market's days.\n{_ABOUT_DAYS}".strip(),
        group_name="market",
        tags={tags.KEY: "none"},
        pool=MARKET_DAYS,
        config_schema=NOTHING,
        deps=[of_all(RAW_PRICES.name), of_all(PRICE_HISTORY.name)],
        **kinds("pandas"),
    )

    @decorator
    @timed
    def market_days(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult[None]:
        asked = _asked(context)
        tickers = context.instance.get_dynamic_partitions(str(ticker_partitions.name))
        awaited = _of_every_day(context.instance) if len(tickers) > tickers_per_run else []
        rows = days_of_market(warehouse, tickers, asked.last, asked.first, index, awaited)
        store(warehouse, rows, f"{context.run_id}/{MARKET_DAYS}/{context.retry_number}")
        _report(context, rows, set(days.get_partition_keys()))
        return dg.MaterializeResult(metadata={"days recorded": len(rows)})

    return [market_state, market_days]


def days_of_market(
    warehouse: Warehouse,
    tickers: Sequence[str],
    until: date,
    again: date | None = None,
    index: str | None = None,
    awaited: Collection[str] = (),
    *,
    only_asked: bool = False,
) -> pd.DataFrame:
    """Rows of `market_state`: the days after the newest recorded one, and recorded ones again.

    Whether days are computed alone or in a range, and beside which others, changes no bit.

    Args:
        warehouse: where the bars and the recorded days are.
        tickers: the members of new days, those that have a bar.
        until: the last day.
        again: the first day that is computed again, by its recorded members, if it is recorded; None for none.
        index: the ticker whose series stands beside, and which is a member only where it is alone.
        awaited: new days end with the last of which all of these that trade on it have their bar.
        only_asked: no day before `again` may be added.

    Raises:
        StockcastError: if there is such a day and `only_asked`: the days after it would be recorded without it.
    """
    recorded = warehouse.read(MARKET_STATE, columns=["date", "members"])
    newest = recorded["date"].max() if len(recorded) else None
    members = {}
    if again is not None:
        within = recorded["date"].between(pd.Timestamp(again), pd.Timestamp(until))
        members = members_of(recorded[within])
    added = _new_days(warehouse, tickers, newest, until, awaited)
    if only_asked and again is not None and added and added[0] < pd.Timestamp(again):
        raise StockcastError(
            f"market_state has no day from {added[0].date()} on, and {again} cannot be recorded before those: "
            "materialise market_days, which records them all."
        )
    days = sorted({*members, *added})
    if not days:
        return MARKET_STATE.empty()
    named = {ticker for names in members.values() for ticker in names}
    histories = _histories(warehouse, {*named, *(tickers if added else ()), *filter(None, [index])}, days)
    if not histories:
        return MARKET_STATE.empty()
    beside = histories.get(index) if index and len(histories) > 1 else None
    counted = members | {day: [ticker for ticker in tickers if beside is None or ticker != index] for day in added}
    rows = market_frame(histories, counted, beside)
    names_of = {day: " ".join(names) for day, names in members.items()}
    listed = zip(rows["date"], rows["members"], strict=True)
    rows = rows[[day in counted and names_of.get(day, names) == names for day, names in listed]]
    if lost := sorted({*members} - {*rows["date"]}):
        # A day of which a member has no bar any more stays what it was.
        stored = warehouse.read(MARKET_STATE, start=lost[0], end=lost[-1])
        rows = pd.concat([rows, stored[stored["date"].isin(lost)]]).sort_values("date")
    return rows.reset_index(drop=True)


def _histories(warehouse: Warehouse, tickers: Collection[str], days: Sequence[pd.Timestamp]) -> dict[str, History]:
    """Each ticker that has a bar on one of the days or between them, from its first bar on."""
    # The total return begins with the first bar, so no shorter series has its bits.
    bars = with_total_return(read_bars(warehouse, sorted(tickers), days[-1]))
    needed = []
    for _, own in bars.groupby("ticker", sort=True):
        first = int(own["date"].searchsorted(days[0]))
        if first < len(own):
            needed.append(Needed(own.reset_index(drop=True), first, len(own)))
    return {one.ticker: one for one in prepare_many(needed)}


def _new_days(
    warehouse: Warehouse,
    tickers: Sequence[str],
    newest: pd.Timestamp | None,
    until: date,
    awaited: Collection[str],
) -> list[pd.Timestamp]:
    """The days after the newest recorded one on which a ticker has a bar, ascending.

    A day before it without a row had no member: a row in between would change the averages of all days after it.
    """
    since = None if newest is None else (newest - _PATIENCE).date()
    found = [
        warehouse.read(table, tickers=tickers, start=since, end=until, columns=["ticker", "date"])
        for table in (RAW_PRICES, PRICE_HISTORY)
    ]
    bars = pd.concat(found, ignore_index=True)
    new = bars["date"] if newest is None else bars["date"][bars["date"] > newest]
    if awaited and len(new):
        new = new[new < _first_day_to_come(bars, awaited)]
    return sorted({*new})


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


def store(warehouse: Warehouse, rows: pd.DataFrame, attempt: str | None = None) -> None:
    """Make rows of neighbouring days the ones of those days, all or nothing; no other row is touched."""
    if rows.empty:
        return
    data, contract = frames.to_arrow(rows, MARKET_STATE.name, MARKET_STATE)
    first, last = (moment.to_pydatetime() for moment in (rows["date"].min(), rows["date"].max()))
    part = Slice(((Windows("date", (Span(first, last + timedelta(days=1)),)),),))
    warehouse.replace(TableRef(warehouse.schema, MARKET_STATE.name), data, part, contract, attempt)


def _report(context: dg.AssetExecutionContext, rows: pd.DataFrame, keys: Collection[str]) -> None:
    for day, members in zip(rows["date"], rows["n_members"], strict=True):
        if (key := f"{day:%Y-%m-%d}") in keys:
            metadata: Mapping[str, Any] = {**dict.fromkeys(ROW_COUNTS, 1), "members": int(members)}
            context.log_event(dg.AssetMaterialization(MARKET_STATE.name, partition=key, metadata=metadata))


def _asked(context: dg.AssetExecutionContext) -> _Asked:
    """The days of the run's keys, or those before its month; all there are if it has none."""
    start, end = (context.run.tags.get(tag) for tag in (tags.RANGE_START, tags.RANGE_END))
    if start is None or end is None:
        start = end = context.run.tags.get(tags.PARTITION)
    chosen = {key.to_user_string() for key in context.run.asset_selection or ()}
    if end is not None and (UNIVERSE_MODEL.name in chosen or context.job_name == "universe_training"):
        return _Asked(None, key_day(end) - timedelta(days=1))
    first, last = (None if text is None else parse_key(text).day for text in (start, end))
    if first is None or last is None:
        return _Asked(None, utc_today())
    of_month = TRAINED_MODEL.name in chosen or context.job_name == "monthly_training"
    return _Asked(None, last - timedelta(days=1)) if of_month else _Asked(first, last)
