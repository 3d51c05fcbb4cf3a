"""The sensor `daily_catch_up`: launches what the schedules missed, and again what failed."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.dagster_private.migrations import read_migrations_once
from stockcast_assets.orchestration.jobs import Jobs
from stockcast_assets.orchestration.planning import planner, world
from stockcast_assets.orchestration.planning.planner import Plan, World
from stockcast_assets.orchestration.planning.reconcile import left_behind
from stockcast_assets.orchestration.planning.restore import plan_lost
from stockcast_assets.orchestration.planning.world import Universe
from stockcast_assets.orchestration.sensors.ticks import tick_unless_idle
from stockcast_assets.warehouse import Warehouse

HEAD_START = timedelta(minutes=10)
"""How long after its time a schedule's work is left to the schedule."""


def build_daily_catch_up(
    jobs: Jobs, universe: Universe, other: Warehouse | None, status: dg.DefaultSensorStatus
) -> dg.SensorDefinition:
    """The sensor. It plans as the schedules do, and leaves them a head start.

    Rows that are all in the `other` warehouse are not made anew: a person brings them, or begins elsewhere.
    """

    @dg.sensor(
        name="daily_catch_up",
        jobs=[job for job in jobs.all() if job is not jobs.tune],
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Launches the days and the months' models that the schedules missed or whose runs failed. A day that a "
            "late source stopped is run again at once without the late tickers, and for those with growing waits. Rows "
            "that the warehouse has lost are made again before anything new."
        ),
    )
    def daily_catch_up(context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.SensorResult:
        # For homes whose dagster.yaml names another event log than ours.
        read_migrations_once()
        # Retries are due on the minute; only the work of a schedule's own moment is left to it.
        planned_at = utc_now() - HEAD_START

        def look() -> tuple[World, Plan]:
            seen = world.read_world(context.instance, universe, utc_now(), warehouse, keys_at=planned_at)
            lost, new = plan_lost(seen), planner.plan_training(seen).then(planner.plan_daily(seen))
            if lost.runs and (told := left_behind(context.instance, warehouse, other)) is not None:
                # Said last: that what is new waits for them is no news then.
                return seen, new.then(Plan(waiting=dict.fromkeys(seen.with_losses, told)))
            return seen, lost.then(new)

        nothing_due = "Every finished day of every active ticker is there."
        return tick_unless_idle(context, universe, warehouse, planned_at, look, nothing_due)

    return daily_catch_up
