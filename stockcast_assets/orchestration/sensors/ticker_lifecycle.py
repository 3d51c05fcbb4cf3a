"""The sensor `ticker_lifecycle`: brings every new ticker up."""

from __future__ import annotations

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.orchestration.jobs import Jobs
from stockcast_assets.orchestration.planning import planner, world
from stockcast_assets.orchestration.planning.world import Idle, Universe
from stockcast_assets.orchestration.sensors.ticks import result_or_idle
from stockcast_assets.orchestration.ticker_space import enrol
from stockcast_assets.warehouse import Warehouse


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
        print_now = world.fingerprint(context.instance, universe, now, warehouse)
        quiet = understood(Idle.load, context.cursor, "The cursor", context.log.warning)
        if quiet is not None and quiet.holds(print_now, now):
            return dg.SensorResult(skip_reason=quiet.words, cursor=context.cursor)
        enrol(context.instance, now)
        seen = world.read_world(context.instance, universe, now, warehouse, sources)
        plan = planner.plan_bring_up(seen)
        world.record_brought_up(context.instance, seen, plan)
        if plan.brought_up:
            # The states changed, so the next tick looks again.
            print_now = world.fingerprint(context.instance, universe, now, warehouse)
        return result_or_idle(context, seen, plan, print_now, now, "Every active ticker is brought up.")

    return ticker_lifecycle
