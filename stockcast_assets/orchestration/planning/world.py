"""What a plan depends on, read from the Dagster instance, and the record that a ticker was brought up."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.keys import NotAKey, days_of, key_day, parse_key, ticker_of
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration import tags, ticker_space
from stockcast_assets.orchestration.assets.bars import first_sources
from stockcast_assets.orchestration.fence import Tell, understood
from stockcast_assets.orchestration.graph import ORDER
from stockcast_assets.orchestration.jobs import ASSETS_OF_JOB
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.launch import ASSETS_OF, KINDS
from stockcast_assets.orchestration.planning.planner import Attempt, Plan, World
from stockcast_assets.orchestration.planning.requests import reason_of
from stockcast_assets.orchestration.stored import look, trained_months
from stockcast_assets.orchestration.ticker_space import TickerSpace
from stockcast_assets.orchestration.tickers import TickerState, set_daily_from, states_in
from stockcast_assets.tables import RAW_PRICES, UNIVERSE_MODEL
from stockcast_assets.warehouse import Warehouse

_UNFINISHED = [
    status
    for status in dg.DagsterRunStatus
    if status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]
_MEMORY = timedelta(days=45)


@dataclass(frozen=True)
class Universe:
    """What the settings say about keys: the first daily key, the calendars, whether every ticker's bars come by CSV,
    the partitions themselves, how many tickers a run makes at most, and whether the tickers share networks."""

    first_daily_key: date
    calendars: tuple[str, ...]
    uploads_only: bool
    daily: dg.MultiPartitionsDefinition
    monthly: dg.MultiPartitionsDefinition
    tickers_per_run: int = sys.maxsize
    shared_network: bool = False

    def days(self, now: pd.Timestamp) -> list[date]:
        """The daily keys that are due at `now`."""
        return planner.due_days(_keys(self.daily, now), self.calendars, now)

    def months(self, now: pd.Timestamp) -> list[date]:
        """The months of use whose training is due at `now`."""
        begun = (now - planner.TRAINED_AFTER).date()
        return [month for month in _keys(self.monthly, now) if month <= begun]


def _keys(partitions: dg.MultiPartitionsDefinition, now: pd.Timestamp) -> list[date]:
    keys = partitions.time_window_dimension.partitions_def.get_partition_keys(current_time=now.to_pydatetime())
    return [date.fromisoformat(key) for key in keys]


def fingerprint(instance: dg.DagsterInstance, universe: Universe, now: pd.Timestamp, warehouse: Warehouse) -> str:
    """Changes whenever a plan may: a ticker, a state, a new due day, a new materialisation, other rows.

    The user's calendar table counts, too, and is read again if it has changed.
    """
    states = states_in(ticker_space.read(instance))
    records = instance.get_asset_records([dg.AssetKey(name) for name in (*ORDER, UNIVERSE_MODEL.name)])
    newest = sorted(
        (record.asset_entry.asset_key.to_user_string(), record.asset_entry.last_materialization_storage_id)
        for record in records
    )
    seen = [
        calendars.refreshed(),
        warehouse.version,
        states,
        newest,
        universe.days(now)[-1:],
        universe.months(now)[-1:],
    ]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def read_world(
    instance: dg.DagsterInstance,
    universe: Universe,
    now: pd.Timestamp,
    warehouse: Warehouse,
    sources: Sources | None = None,
    keys_at: pd.Timestamp | None = None,
) -> World:
    """The world at `now`. Whether a new ticker's bars come by CSV is known only with `sources`.

    `keys_at` is the moment whose due days and months count; default `now`.
    """
    keys_at = keys_at or now
    runs = read_runs(instance, now, universe.tickers_per_run)
    order, states = runs.order, runs.states
    stored = look(instance, warehouse)
    done = {name: stored.known(name) for name in ORDER}
    uploaded = [ticker for ticker in order if universe.uploads_only or states[ticker].uploaded]
    if sources is not None and not universe.uploads_only:
        uploaded += _new_uploaded([ticker for ticker in order if states[ticker].is_new], sources, warehouse)
    return replace(
        runs,
        first_daily_key=universe.first_daily_key,
        days=universe.days(keys_at),
        months=universe.months(keys_at),
        done=done,
        lost=_of_active(stored.lost, states),
        networks={month.date() for month in trained_months(instance, warehouse)} if universe.shared_network else None,
        uploaded=days_of(done[RAW_PRICES.name], uploaded) if uploaded else {},
    )


def _of_active(lost: Mapping[str, Mapping[str, str]], states: Mapping[str, TickerState]) -> dict[str, dict[str, str]]:
    active = {ticker for ticker, state in states.items() if state.state == "active"}
    return {asset: {key: run for key, run in runs.items() if ticker_of(key) in active} for asset, runs in lost.items()}


def read_runs(instance: dg.DagsterInstance, now: pd.Timestamp, tickers_per_run: int = sys.maxsize) -> World:
    """The tickers, their states and the runs: all that needs of others depend on, without what is materialised."""
    space, left_out = ticker_space.read(instance), list[str]()
    runs = attempts(instance, space, now, left_out.append)
    return World(
        now,
        list(space.tickers),
        states_in(space),
        attempts=runs,
        left_out=left_out,
        tickers_per_run=tickers_per_run,
    )


def _new_uploaded(new: Sequence[str], sources: Sources, warehouse: Warehouse) -> list[str]:
    """The new tickers whose first stored bar came by CSV, or that have no bar yet but a file."""
    if not new:
        return []
    stored = first_sources(warehouse, new)
    without = [ticker for ticker in new if ticker not in stored]
    waiting = set(sources.get("csv").tickers()) if without else set()
    return [ticker for ticker in new if stored.get(ticker) == "csv" or (ticker in without and ticker in waiting)]


def attempts(
    instance: dg.DagsterInstance, space: TickerSpace, now: pd.Timestamp, tell: Tell = lambda line: None
) -> list[Attempt]:
    """The planned runs of the last weeks, and whatever else is under way, in order of creation.

    `tell` is told of each run whose tags cannot be understood; it counts as no run of ours.
    """
    since = (now - _MEMORY).to_pydatetime()
    records = {
        record.storage_id: record
        for filters in (
            dg.RunsFilter(tags={tags.STAGE: list(KINDS)}, created_after=since),
            dg.RunsFilter(statuses=_UNFINISHED, created_after=since),
        )
        for record in instance.get_run_records(filters)
    }
    found = [
        understood(
            lambda record: _attempt(record, space, now), record, f"The run {record.dagster_run.run_id[:8]}", tell
        )
        for _, record in sorted(records.items())
    ]
    return [attempt for attempt in found if attempt is not None]


def at_work(instance: dg.DagsterInstance) -> list[Attempt]:
    """The runs that are being executed, as far as Dagster knows: of one that was killed it may not know."""
    executed = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    space, now = ticker_space.read(instance), pd.Timestamp(utc_now())
    records = instance.get_run_records(dg.RunsFilter(statuses=executed))
    found = [
        understood(lambda record: _attempt(record, space, now), record, "", lambda line: None) for record in records
    ]
    return [attempt for attempt in found if attempt is not None and attempt.ended is None]


def _attempt(record: dg.RunRecord, space: TickerSpace, now: pd.Timestamp) -> Attempt | None:
    """None for a run without a range of tickers of which some still exist.

    Raises:
        Exception: if its tags are none of ours, though they should be.
    """
    run = record.dagster_run
    start, end = (run.tags.get(tag) for tag in (tags.RANGE_START, tags.RANGE_END))
    if start is None or end is None:
        start = end = run.tags.get(tags.PARTITION)
    if not start or not end:
        return None
    if UNIVERSE_MODEL.name in _assets(run):
        return _attempt_of(record, (), key_day(start), key_day(end), now)
    first, last = parse_key(start), parse_key(end)
    tickers = tuple(ticker_space.between(list(space.tickers), first.ticker, last.ticker, space.places))
    backwards = not tickers and first.ticker in space.tickers and last.ticker in space.tickers
    if backwards or (first.day is None) != (last.day is None) or (first.day and last.day and first.day > last.day):
        raise NotAKey(f"{start} to {end} is no range of keys")
    return _attempt_of(record, tickers, first.day, last.day, now) if tickers else None


def _attempt_of(
    record: dg.RunRecord, tickers: tuple[str, ...], first: date | None, last: date | None, now: pd.Timestamp
) -> Attempt:
    run = record.dagster_run
    created = pd.Timestamp(record.create_timestamp)
    created = created.tz_localize("UTC") if created.tzinfo is None else created
    dead = not run.is_finished and now - created > planner.DEAD_AFTER
    ended = pd.Timestamp(record.end_time, unit="s", tz="UTC") if record.end_time else None
    return Attempt(
        run_id=run.run_id,
        assets=_assets(run),
        tickers=tickers,
        first=first,
        last=last,
        created=created,
        ended=(ended or created) if run.is_finished or dead else None,
        ok=run.is_success,
        # A run that names nobody of its own failed for all.
        late=frozenset(run.tags.get(tags.LATE, "").split(",")) & set(tickers),
        reason=reason_of(run.tags),
    )


def _assets(run: dg.DagsterRun) -> frozenset[str]:
    if run.asset_selection:
        return frozenset(key.to_user_string() for key in run.asset_selection)
    if (reason := reason_of(run.tags)) in ASSETS_OF:
        return frozenset(ASSETS_OF[reason])
    return frozenset(ASSETS_OF_JOB.get(run.job_name, ()))


def record_brought_up(instance: dg.DagsterInstance, world: World, plan: Plan) -> None:
    """Let the days of the tickers that have all be forecast from now on."""
    for ticker, day in plan.brought_up.items():
        set_daily_from(instance, ticker, world.states[ticker].since, day, ticker in world.uploaded)


@dataclass(frozen=True)
class Idle:
    """A sensor's cursor when nothing was due: what the world looked like, and until when that stays so."""

    fingerprint: str
    until: pd.Timestamp | None
    words: str

    @classmethod
    def load(cls, cursor: str) -> Idle:
        stored = json.loads(cursor)
        until = stored["until"]
        return cls(stored["fingerprint"], pd.Timestamp(until) if until else None, stored["words"])

    def dump(self) -> str:
        until = self.until.isoformat() if self.until is not None else None
        return json.dumps({"fingerprint": self.fingerprint, "until": until, "words": self.words})

    def holds(self, fingerprint: str, now: pd.Timestamp) -> bool:
        return self.fingerprint == fingerprint and (self.until is None or now < self.until)
