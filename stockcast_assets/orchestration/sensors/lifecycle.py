"""The sensors that bring tickers up and catch up with what the schedules missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.dagster_private.migrations import read_migrations_once
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.orchestration.jobs import Jobs
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.planning import planner, world
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.orchestration.planning.world import Idle, Universe
from stockcast_assets.orchestration.sensors.ticks import result
from stockcast_assets.warehouse import Warehouse

HEAD_START = timedelta(minutes=10)
"""How long after its time a schedule's work is left to the schedule."""


def build_configured_tickers(tickers: Sequence[str], status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Makes the tickers of STOCKCAST_TICKERS partitions, so that no command has to be typed in a container."""

    @dg.sensor(
        name="configured_tickers",
        minimum_interval_seconds=60,
        default_status=status,
        description="Adds the tickers of STOCKCAST_TICKERS that are not partitions yet.",
    )
    def configured_tickers(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        known = set(known_tickers(context.instance))
        new = [ticker for ticker in tickers if ticker not in known]
        if not new:
            return dg.SkipReason("Every ticker of STOCKCAST_TICKERS is there.")
        return dg.SensorResult(dynamic_partitions_requests=[ticker_partitions.build_add_request(new)])

    return configured_tickers


def build_ticker_lifecycle(jobs: Jobs, universe: Universe, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor. Its cursor is a `Idle`: while nothing changed, a tick is a few queries."""

    @dg.sensor(
        name="ticker_lifecycle",
        jobs=[jobs.ingest_history, jobs.ingest_daily, jobs.monthly_training, jobs.daily_forecast],
        minimum_interval_seconds=30,
        default_status=status,
        description=(
            "Brings up every new active ticker, however it was added: its deep past, its bars up to the newest "
            "finished session, its model, its newest forecast. Each stage is asked for when the one before is there."
        ),
    )
    def ticker_lifecycle(
        context: dg.SensorEvaluationContext,
        sources: dg.ResourceParam[Sources],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult:
        now = utc_now()
        print_now = world.fingerprint(context.instance, universe, now)
        quiet = understood(Idle.load, context.cursor, "The cursor", context.log.warning)
        if quiet is not None and quiet.holds(print_now, now):
            return dg.SensorResult(skip_reason=quiet.words, cursor=context.cursor)
        seen = world.read_world(context.instance, universe, now, (sources, warehouse))
        plan = planner.plan_bring_up(seen)
        world.record_brought_up(context.instance, seen, plan)
        if plan.brought_up:
            # The states changed, so the next tick looks again.
            print_now = world.fingerprint(context.instance, universe, now)
        return _result(context, seen, plan, print_now, now, "Every active ticker is brought up.")

    return ticker_lifecycle


def build_daily_catch_up(jobs: Jobs, universe: Universe, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor. It plans as the schedules do, and leaves them a head start."""

    @dg.sensor(
        name="daily_catch_up",
        jobs=[jobs.daily_forecast, jobs.monthly_training],
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Launches the days and the months' models that the schedules missed or whose runs failed. A day that a "
            "late source stopped is run again at once without the late tickers, and for those with growing waits."
        ),
    )
    def daily_catch_up(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # For homes whose dagster.yaml names another event log than ours.
        read_migrations_once()
        now = utc_now()
        # Retries are due on the minute; only the work of a schedule's own moment is left to it.
        planned_at = now - HEAD_START
        print_now = world.fingerprint(context.instance, universe, planned_at)
        quiet = understood(Idle.load, context.cursor, "The cursor", context.log.warning)
        if quiet is not None and quiet.holds(print_now, now):
            return dg.SensorResult(skip_reason=quiet.words, cursor=context.cursor)
        seen = world.read_world(context.instance, universe, now, keys_at=planned_at)
        plan = planner.plan_training(seen).then(planner.plan_daily(seen))
        return _result(context, seen, plan, print_now, now, "Every finished day of every active ticker is there.")

    return daily_catch_up


def _result(
    context: dg.SensorEvaluationContext,
    seen: planner.World,
    plan: planner.Plan,
    print_now: str,
    now: pd.Timestamp,
    idle: str,
) -> dg.SensorResult:
    words = plan.in_words() or idle
    asleep = not plan.runs and not plan.under_way
    return result(context, seen, plan, words, Idle(print_now, plan.wake, words).dump() if asleep else "")
