"""The `revisions` sensor: what a provider changed in the past is fetched again, and what was computed from it.

`raw_prices` and `price_history` record what the source says otherwise as observations of `raw_prices`; the event
log is the only place where they are kept. An observation asks for keys; it is settled as soon as each of them
was materialised after it. So the same split, seen by several runs or on several days, is repaired once, and what
the repair's own runs see asks for nothing.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.keys import days_of, key_day, partition_key, validate_ticker
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.assets.earnings_dates import SINCE
from stockcast_assets.orchestration.assets.prices import REVISIONS, TOUCHED
from stockcast_assets.orchestration.fence import Tell, understood
from stockcast_assets.orchestration.graph import STAGES
from stockcast_assets.orchestration.jobs import Jobs
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.launch import REPAIR, Launch, Reason
from stockcast_assets.orchestration.planning.planner import World
from stockcast_assets.orchestration.planning.ranges import known_tickers, month_stretches, session_stretches
from stockcast_assets.orchestration.planning.world import Universe, read_runs
from stockcast_assets.orchestration.sensors.ticks import result
from stockcast_assets.orchestration.tickers import ticker_states
from stockcast_assets.tables import EARNINGS_DATES, FORECASTS, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL

MOST_AT_ONCE = 10
"""Tickers under repair at a time."""

_PAGE = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefetchRequest:
    """Keys of one ticker to materialise again, bars first.

    Attributes:
        id: storage id of the newest observation behind it.
        ticker: the symbol.
        first: first day of `raw_prices` to fetch again; None if none is.
        last: last such day.
        history: whether `price_history` is fetched again.
        reports_since: first day from which on what is known of its earnings reports is another; None if none is.
    """

    id: int
    ticker: str
    first: date | None
    last: date | None
    history: bool
    reports_since: date | None = None

    @property
    def since(self) -> date | None:
        """First day that is computed again, and after which models' months of use are; None: all there are."""
        if self.history:
            return None
        return min((day for day in (self.first, self.reports_since) if day is not None), default=None)


def revisions(instance: dg.DagsterInstance, limit: int = 500) -> pd.DataFrame:
    """The newest revisions on record, newest first: what the dashboard shows.

    Returns:
        ticker, date, kind, column, before, after, found_at (UTC), run_id.
    """
    found = instance.fetch_observations(dg.AssetKey(RAW_PRICES.name), limit=limit).records
    rows = [
        {**revision, "found_at": pd.Timestamp(record.timestamp, unit="s", tz="UTC"), "run_id": record.run_id}
        for record in found
        for revision in understood(_revisions, _metadata(record, REVISIONS), _observation(record)) or ()
    ]
    columns = ["ticker", "date", "kind", "column", "before", "after", "found_at", "run_id"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(columns[:6], ignore_index=True)


def _revisions(written: Any) -> list[dict[str, Any]]:
    for revision in written:
        validate_ticker(revision["ticker"])
        key_day(revision["date"])
        if not {"kind", "column", "before", "after"} <= set(revision):
            raise ValueError("a revision lacks a field")
    return list(written)


def _observation(record: dg.EventLogRecord, asset: str = RAW_PRICES.name) -> str:
    return f"The observation {record.storage_id} of {asset}"


def _reports_since(written: Any) -> tuple[str, date] | None:
    return None if written is None else (validate_ticker(written["ticker"]), key_day(written["first"]))


def _forecast_since(instance: dg.DagsterInstance, ticker: str, first: date, moment: float) -> bool:
    """Whether no forecast of the days from `first` on is older than a moment; the first one stands for all."""
    keys = instance.get_materialized_partitions(dg.AssetKey(FORECASTS.name))
    day = next((day for day in days_of(keys, [ticker])[ticker] if day >= first), None)
    if day is None:
        return True
    key = dg.AssetKey(FORECASTS.name)
    later = dg.AssetRecordsFilter(key, asset_partitions=[partition_key(ticker, day)], after_timestamp=moment)
    return bool(instance.fetch_materializations(later, limit=1).records)


@dataclass(frozen=True)
class Touched:
    """The keys that an observation asks to fetch again: days of `raw_prices` (None: none), and the deep past."""

    ticker: str
    first: date | None
    last: date | None
    history: bool

    @classmethod
    def parse(cls, written: Any) -> Touched:
        """From the metadata `TOUCHED`, of bars.

        Raises:
            Exception: if it is not of that form.
        """
        first, last = (None if written[end] is None else key_day(written[end]) for end in ("first", "last"))
        if (first is None) != (last is None) or (first and last and first > last):
            raise ValueError("first and last are no range")
        return cls(validate_ticker(written["ticker"]), first, last, written["history"] is True)


def pending_revisions(
    instance: dg.DagsterInstance, cursor: str | None, tell: Tell = _log.warning
) -> tuple[list[RefetchRequest], str | None]:
    """What the observations since `cursor` ask to materialise again, one request per ticker.

    Args:
        instance: whose event log is read.
        cursor: as returned by the call before; None for the beginning.
        tell: is told of observations that cannot be understood.

    Returns:
        Requests by ticker, without those settled already, and the cursor for the next call.
    """
    pages, read_to = _pages(instance, (RAW_PRICES.name, EARNINGS_DATES.name), int(cursor) if cursor else 0)
    touched: dict[str, list[tuple[int, Touched]]] = defaultdict(list)
    states = ticker_states(instance, known_tickers(instance))
    present = {ticker for ticker, state in states.items() if state.state == "active"}
    for record in pages[RAW_PRICES.name]:
        keys = understood(Touched.parse, _metadata(record, TOUCHED), _observation(record), tell)
        if keys and keys.ticker in present and not _settled(instance, keys, record.timestamp):
            touched[keys.ticker].append((record.storage_id, keys))
    told: dict[str, list[tuple[int, date]]] = defaultdict(list)
    for record in pages[EARNINGS_DATES.name]:
        since = understood(_reports_since, _metadata(record, SINCE), _observation(record, EARNINGS_DATES.name), tell)
        if since and since[0] in present and not _forecast_since(instance, *since, record.timestamp):
            told[since[0]].append((record.storage_id, since[1]))
    requests = []
    for ticker in sorted({*touched, *told}):
        asked, days = touched[ticker], told[ticker]
        firsts = [keys.first for _, keys in asked if keys.first]
        lasts = [keys.last for _, keys in asked if keys.last]
        history = any(keys.history for _, keys in asked)
        requests.append(
            RefetchRequest(
                max(id for id, _ in [*asked, *days]),
                ticker,
                min(firsts, default=None),
                max(lasts, default=None),
                history,
                min((day for _, day in days), default=None),
            )
        )
    return requests, str(read_to) if read_to else None


def _pages(
    instance: dg.DagsterInstance, assets: Sequence[str], after: int
) -> tuple[dict[str, list[dg.EventLogRecord]], int]:
    """The next observations of each asset, and the storage id up to which there are no others.

    Where a page is full, more of its asset may lie before what the other pages end with: that is left for next time.
    """
    found: dict[str, list[dg.EventLogRecord]] = {}
    full = []
    for asset in assets:
        filters = dg.AssetRecordsFilter(dg.AssetKey(asset), after_storage_id=after)
        answer = instance.fetch_observations(filters, limit=_PAGE, ascending=True)
        found[asset] = list(answer.records)
        if answer.has_more:
            full.append(answer.records[-1].storage_id)
    ends = [records[-1].storage_id for records in found.values() if records]
    read_to = min(full) if full else max(ends, default=after)
    return {asset: [one for one in records if one.storage_id <= read_to] for asset, records in found.items()}, read_to


def _metadata(record: dg.EventLogRecord, name: str) -> Any:
    observation = record.event_log_entry.dagster_event.event_specific_data.asset_observation  # type: ignore[union-attr]
    value = observation.metadata.get(name) if isinstance(observation, dg.AssetObservation) else None
    return None if value is None else value.value


def _settled(instance: dg.DagsterInstance, keys: Touched, moment: float) -> bool:
    """Whether every key asked for was materialised after the observation; of a range, its ends stand for all."""
    wanted = [(PRICE_HISTORY.name, keys.ticker)] if keys.history else []
    wanted += [(RAW_PRICES.name, partition_key(keys.ticker, day)) for day in (keys.first, keys.last) if day]
    for asset, key in wanted:
        later = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key], after_timestamp=moment)
        if not instance.fetch_materializations(later, limit=1).records:
            return False
    return True


@dataclass
class _Repair:
    """A request on its way. What its stage needs is listed once, when the stage begins."""

    request: RefetchRequest
    stage: int
    needs: list[Launch]

    def next_need(self, instance: dg.DagsterInstance, seen: World) -> Launch | None:
        """The first need that is not met, in the order of the graph; None if all are."""
        while True:
            for need in self.needs:
                if not planner.is_met(seen, need):
                    return need
            if self.stage + 1 >= len(STAGES):
                return None
            self.stage += 1
            self.needs = list(_needs(instance, self.request, STAGES[self.stage]))

    def dump(self) -> dict[str, Any]:
        return {"request": asdict(self.request), "stage": self.stage, "runs": [need.dump() for need in self.needs]}

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> _Repair:
        asked = stored["request"]
        # Earlier releases knew no reports.
        bounds = {end: asked.get(end) and key_day(asked[end]) for end in ("first", "last", "reports_since")}
        request = RefetchRequest(**{**asked, **bounds})
        # Earlier releases kept only what differs between the runs of a repair, and had one stage more.
        common = Launch((), (request.ticker,), reason=Reason(REPAIR, str(request.id))).dump()
        needs = [Launch.load({**common, **run}) for run in stored["runs"]]
        return cls(request, min(int(stored["stage"]), len(STAGES) - 1), needs)


def _begin(instance: dg.DagsterInstance, request: RefetchRequest) -> _Repair:
    return _Repair(request, 0, list(_needs(instance, request, STAGES[0])))


def _needs(instance: dg.DagsterInstance, request: RefetchRequest, stage: tuple[str, ...]) -> Iterator[Launch]:
    """Exactly the keys concerned that were materialised before, in order of time, each with its assets of the stage."""
    need = Launch(stage, (request.ticker,), reason=Reason(REPAIR, str(request.id)))
    if stage == (PRICE_HISTORY.name,):
        if request.history:
            yield need
        return
    if stage == (EARNINGS_DATES.name,):
        return
    assets_of: dict[pd.Timestamp, tuple[str, ...]] = defaultdict(tuple)
    for asset in stage:
        keys = instance.get_materialized_partitions(dg.AssetKey(asset))
        for day in filter(partial(_concerns, request, asset), days_of(keys, [request.ticker])[request.ticker]):
            assets_of[pd.Timestamp(day)] += (asset,)
    by_assets: dict[tuple[str, ...], list[pd.Timestamp]] = defaultdict(list)
    for day, assets in assets_of.items():
        by_assets[assets].append(day)
    adjacent = month_stretches if stage == (TRAINED_MODEL.name,) else partial(session_stretches, request.ticker)
    found = [(first, last, assets) for assets, days in by_assets.items() for first, last in adjacent(days)]
    for first, last, assets in sorted(found):
        yield replace(need, assets=assets, first=first, last=last)


def _concerns(request: RefetchRequest, asset: str, day: date) -> bool:
    if asset == RAW_PRICES.name:
        return request.first is not None and request.last is not None and request.first <= day <= request.last
    # A month's model knows what was before the month.
    return request.since is None or day > request.since or (day == request.since and asset != TRAINED_MODEL.name)


def _load(text: str) -> tuple[str | None, list[_Repair]]:
    state = json.loads(text)
    return state["cursor"] and str(int(state["cursor"])), [_Repair.load(entry) for entry in state["repairs"]]


def build_revisions(jobs: Jobs, universe: Universe, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor. Its cursor holds how far the observations were read and the repairs under way.

    What is observed of a ticker under repair is judged after the repair.
    """

    @dg.sensor(
        name="revisions",
        jobs=[jobs.ingest_history, jobs.ingest_daily, jobs.monthly_training, jobs.daily_forecast],
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Fetches bars again that the source has changed (splits, corrections), then computes what depends on them "
            f"again, stage by stage. A run that fails {planner.ATTEMPTS} times is given up and reported."
        ),
    )
    def revisions_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        instance, tell = context.instance, context.log.warning
        cursor, repairs = understood(_load, context.cursor, "The cursor", tell) or (None, [])
        busy = {repair.request.ticker for repair in repairs}
        requests, cursor = pending_revisions(instance, cursor, tell)
        repairs += [_begin(instance, request) for request in requests if request.ticker not in busy]
        if not repairs:
            idle = json.dumps({"cursor": cursor, "repairs": []})
            return dg.SensorResult(skip_reason="No source has changed a stored bar.", cursor=idle)
        seen = read_runs(instance, utc_now(), universe.tickers_per_run)
        wanted, left = [], repairs[MOST_AT_ONCE:]
        for repair in repairs[:MOST_AT_ONCE]:
            need = repair.next_need(instance, seen)
            if need is not None:
                wanted.append((repair, need))
            else:
                # Now whatever was observed meanwhile can be judged.
                later, _ = pending_revisions(instance, str(repair.request.id), tell)
                left += [_begin(instance, again) for again in later if again.ticker == repair.request.ticker]
        plan = planner.plan_needs(seen, [need for _, need in wanted])
        left = [repair for repair, need in wanted if need in plan.left] + left
        idle = "Repairs are under way." if left else "No source has changed a stored bar."
        words = plan.in_words() if plan.given_up or plan.wake else idle
        memory = {"cursor": cursor, "repairs": [repair.dump() for repair in left]}
        return result(context, seen, plan, words, json.dumps(memory, default=str))

    return revisions_sensor
