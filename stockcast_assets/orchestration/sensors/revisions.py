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
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

import dagster as dg

from stockcast_assets.keys import days_of, key_day, partition_key, validate_ticker
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.assets.prices import REVISIONS, TOUCHED
from stockcast_assets.orchestration.fence import Tell, understood
from stockcast_assets.orchestration.jobs import Jobs, job_for
from stockcast_assets.orchestration.planning.ranges import known_tickers, range_tags, session_stretches, stretches
from stockcast_assets.orchestration.planning.tuned import training_run_config
from stockcast_assets.orchestration.tickers import ticker_states
from stockcast_assets.tables import (
    DRIFT_REPORT,
    FORECAST_ACCURACY,
    FORECASTS,
    INDICATORS,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
)

ATTEMPTS = 3
"""Runs of the same keys before a repair is given up and reported."""

MOST_AT_ONCE = 10
"""Tickers under repair at a time."""

_PAGE = 1000

_log = logging.getLogger(__name__)

_STAGES: tuple[tuple[str, ...], ...] = (
    (PRICE_HISTORY.name,),
    (RAW_PRICES.name,),
    (TRAINED_MODEL.name,),
    (INDICATORS.name, FORECASTS.name),
    (FORECAST_ACCURACY.name, DRIFT_REPORT.name),
)
"""Each stage is launched when the one before is materialised."""


@dataclass(frozen=True)
class RefetchRequest:
    """Keys of one ticker to materialise again, bars first.

    Attributes:
        id: storage id of the newest observation behind it.
        ticker: the symbol.
        first: first day of `raw_prices` to fetch again; None if none is.
        last: last such day.
        history: whether `price_history` is fetched again.
    """

    id: int
    ticker: str
    first: date | None
    last: date | None
    history: bool

    @property
    def since(self) -> date | None:
        """First day that is computed again, and after which models' months of use are; None: all there are."""
        return None if self.history else self.first


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


def _observation(record: dg.EventLogRecord) -> str:
    return f"The observation {record.storage_id} of {RAW_PRICES.name}"


@dataclass(frozen=True)
class Touched:
    """The keys that an observation asks to fetch again: days of `raw_prices` (None: none), and the deep past."""

    ticker: str
    first: date | None
    last: date | None
    history: bool

    @classmethod
    def parse(cls, written: Any) -> Touched:
        """From the metadata `TOUCHED`.

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
    newest = int(cursor) if cursor else 0
    filters = dg.AssetRecordsFilter(dg.AssetKey(RAW_PRICES.name), after_storage_id=newest)
    touched: dict[str, list[tuple[int, Touched]]] = defaultdict(list)
    states = ticker_states(instance, known_tickers(instance))
    present = {ticker for ticker, state in states.items() if state.state == "active"}
    for record in instance.fetch_observations(filters, limit=_PAGE, ascending=True).records:
        newest = max(newest, record.storage_id)
        keys = understood(Touched.parse, _metadata(record, TOUCHED), _observation(record), tell)
        if keys and keys.ticker in present and not _settled(instance, keys, record.timestamp):
            touched[keys.ticker].append((record.storage_id, keys))
    requests = []
    for ticker, asked in sorted(touched.items()):
        firsts = [keys.first for _, keys in asked if keys.first]
        lasts = [keys.last for _, keys in asked if keys.last]
        history = any(keys.history for _, keys in asked)
        requests.append(
            RefetchRequest(asked[-1][0], ticker, min(firsts, default=None), max(lasts, default=None), history)
        )
    return requests, str(newest) if newest else None


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


@dataclass(frozen=True)
class _Run:
    """One run of a repair: assets of one job, and the days (None: `price_history`) they are materialised for."""

    assets: tuple[str, ...]
    first: str | None = None
    last: str | None = None


@dataclass
class _Repair:
    """A request on its way. The runs of its stage are listed once, when the stage begins."""

    request: RefetchRequest
    stage: int
    runs: list[_Run]


def _stage_runs(instance: dg.DagsterInstance, request: RefetchRequest, stage: int) -> list[_Run]:
    """Exactly the keys concerned that were materialised before, in order of time."""
    assets_of: dict[tuple[date, date], list[str]] = defaultdict(list)
    for asset in _STAGES[stage]:
        if asset == PRICE_HISTORY.name:
            return [_Run((asset,))] if request.history else []
        for stretch in _stretches(instance, request, asset):
            assets_of[stretch].append(asset)
    return [
        _Run(tuple(assets), first.isoformat(), last.isoformat()) for (first, last), assets in sorted(assets_of.items())
    ]


def _stretches(instance: dg.DagsterInstance, request: RefetchRequest, asset: str) -> list[tuple[date, date]]:
    keys = instance.get_materialized_partitions(dg.AssetKey(asset))
    days = [pd.Timestamp(day) for day in days_of(keys, [request.ticker])[request.ticker]]
    if asset == RAW_PRICES.name:
        if request.first is None or request.last is None:
            return []
        days = [day for day in days if request.first <= day.date() <= request.last]
        return list(session_stretches(request.ticker, days))
    since = request.since
    if asset == TRAINED_MODEL.name:
        # A month's model knows what was before the month.
        months = [day for day in days if since is None or day.date() > since]
        return list(stretches(months, lambda earlier, later: later == earlier + pd.offsets.MonthBegin(1)))
    return list(session_stretches(request.ticker, [day for day in days if since is None or day.date() >= since]))


def _run_request(instance: dg.DagsterInstance, request: RefetchRequest, run: _Run, attempt: int) -> dg.RunRequest:
    first, last = (date.fromisoformat(day) if day else None for day in (run.first, run.last))
    days = "" if first is None else f", {first} to {last}"
    name = f"{request.id} {request.ticker} {'+'.join(run.assets)}{days}, attempt {attempt}"
    return dg.RunRequest(
        run_key=f"repair {name}",
        job_name=job_for(run.assets),
        tags={**range_tags((request.ticker, request.ticker), first, last), tags.REPAIR: name},
        asset_selection=[dg.AssetKey(asset) for asset in run.assets],
        run_config=training_run_config(instance, [request.ticker]) if TRAINED_MODEL.name in run.assets else {},
    )


def _next_run(
    instance: dg.DagsterInstance, repair: _Repair
) -> tuple[Literal["due", "under way", "done", "given up"], dg.RunRequest | None]:
    """How the repair's stage stands, and the run that is due or that failed last."""
    for run in repair.runs:
        launched: dg.DagsterRun | None = None
        for attempt in range(1, ATTEMPTS + 1):
            wanted = _run_request(instance, repair.request, run, attempt)
            found = instance.get_runs(dg.RunsFilter(tags={tags.REPAIR: wanted.tags[tags.REPAIR]}), limit=1)
            if not found:
                return "due", wanted
            launched = found[0]
            if not launched.is_finished:
                return "under way", None
            if launched.is_success:
                break
        if launched is not None and not launched.is_success:
            return "given up", wanted
    return "done", None


def _advance(instance: dg.DagsterInstance, repair: _Repair) -> tuple[_Repair | None, dg.RunRequest | None, str | None]:
    """The repair after this tick (None: over), the run it asks for, and how it ended badly, in words."""
    while True:
        standing, run = _next_run(instance, repair)
        if standing == "given up":
            words = (
                f"The repair of {repair.request.ticker} is given up after {ATTEMPTS} failed runs "
                f"({run.tags[tags.REPAIR] if run else ''}): read their logs, then materialise these keys again by hand."
            )
            return None, None, words
        if standing != "done":
            return repair, run, None
        if repair.stage + 1 == len(_STAGES):
            return None, None, None
        stage = repair.stage + 1
        repair = _Repair(repair.request, stage, _stage_runs(instance, repair.request, stage))


def _dump(cursor: str | None, repairs: list[_Repair]) -> str:
    return json.dumps(
        {
            "cursor": cursor,
            "repairs": [
                {"request": asdict(r.request), "stage": r.stage, "runs": [asdict(run) for run in r.runs]}
                for r in repairs
            ],
        },
        default=str,
    )


def _load(text: str) -> tuple[str | None, list[_Repair]]:
    state = json.loads(text)
    repairs = []
    for entry in state["repairs"]:
        asked = entry["request"]
        bounds = {end: date.fromisoformat(asked[end]) if asked[end] else None for end in ("first", "last")}
        runs = [_Run(tuple(run["assets"]), run["first"], run["last"]) for run in entry["runs"]]
        repairs.append(_Repair(RefetchRequest(**{**asked, **bounds}), entry["stage"], runs))
    return state["cursor"], repairs


def build_revisions(jobs: Jobs, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor. Its cursor holds how far the observations were read and the repairs under way.

    New observations are read when no repair is left, so that those made meanwhile are judged after it.
    """

    @dg.sensor(
        name="revisions",
        jobs=[jobs.ingest_history, jobs.ingest_daily, jobs.monthly_training, jobs.daily_forecast],
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Fetches bars again that the source has changed (splits, corrections), then computes what depends on them "
            f"again, stage by stage. A run that fails {ATTEMPTS} times is given up and reported."
        ),
    )
    def revisions_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tell = context.log.warning
        cursor, repairs = understood(_load, context.cursor, "The cursor", tell) or (None, [])
        if not repairs:
            requests, cursor = pending_revisions(context.instance, cursor, tell)
            repairs = [_Repair(request, 0, _stage_runs(context.instance, request, 0)) for request in requests]
        left, runs, failures = [], [], []
        for repair in repairs[:MOST_AT_ONCE]:
            after, run, failure = _advance(context.instance, repair)
            if after is not None:
                left.append(after)
            if run is not None:
                runs.append(run)
            if failure is not None:
                context.log.error(failure)
                failures.append(failure)
        left += repairs[MOST_AT_ONCE:]
        idle = "Repairs are under way." if left else "No source has changed a stored bar."
        reason = None if runs else " ".join(failures) or idle
        return dg.SensorResult(run_requests=runs, skip_reason=reason, cursor=_dump(cursor, left))

    return revisions_sensor
