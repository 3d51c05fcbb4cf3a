"""The sensor `ticker_lifecycle`: brings every new ticker up."""

from __future__ import annotations

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.jobs import Jobs
from stockcast_assets.orchestration.planning import planner, world
from stockcast_assets.orchestration.planning.planner import Plan, World
from stockcast_assets.orchestration.planning.world import Universe
from stockcast_assets.orchestration.sensors.ticks import tick_unless_idle
from stockcast_assets.orchestration.ticker_space import enrol
from stockcast_assets.warehouse import Warehouse


def build_ticker_lifecycle(jobs: Jobs, universe: Universe, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor. Its cursor is a `Idle`: while nothing changed, a tick is a few queries."""

    @dg.sensor(
        name="ticker_lifecycle",
        jobs=[
            jobs.ingest_history,
            jobs.ingest_daily,
            jobs.universe_training,
            jobs.monthly_training,
            jobs.daily_forecast,
        ],
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

        def look() -> tuple[World, Plan]:
            enrol(context.instance, now)
            seen = world.read_world(context.instance, universe, now, warehouse, sources)
            plan = planner.plan_bring_up(seen)
            world.record_brought_up(context.instance, seen, plan)
            return seen, plan

        return tick_unless_idle(context, universe, warehouse, now, look, "Every active ticker is brought up.")

    return ticker_lifecycle
