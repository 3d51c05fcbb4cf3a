"""The schedules: every finished day is forecast, every month gets its models, reports are asked for every evening."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from stockcast_assets.dagster_private.reads import AssetJob
from stockcast_assets.keys import key_day
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.jobs import Jobs, job_for
from stockcast_assets.orchestration.planning import planner, world
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.orchestration.planning.requests import requests
from stockcast_assets.tables import FORECASTS, SCENARIOS
from stockcast_assets.warehouse import Warehouse

_RECENT = 10
"""Daily keys, the newest ones, that are looked at each morning."""

PlanOf = Callable[[planner.World], planner.Plan]

NO_TICKER = "There is no ticker yet: add one with `stockcast tickers add MSFT`."


def build_schedules(
    jobs: Jobs,
    universe: world.Universe,
    days: dg.PartitionsDefinition[str],
    warehouse: Warehouse,
    status: dg.DefaultScheduleStatus,
) -> list[dg.ScheduleDefinition]:
    """`daily_forecast` at 00:30 UTC, when the day's last market has closed, `universe_training` and `monthly_training`
    at 02:00 UTC on the first of the month, when the last day of the month before was ingested, and `daily_earnings` at
    22:30 UTC. All launch what the planner plans at that moment; what the first three miss, the sensor `daily_catch_up`
    launches. `daily_scenarios` follows at 06:00 UTC, when all forecasts of a day are there.
    """

    def schedule(
        name: str, job: AssetJob, cron: str, plan_of: PlanOf, nothing_due: str, about: str
    ) -> dg.ScheduleDefinition:
        @dg.schedule(name=name, job=job, cron_schedule=cron, default_status=status, description=about)
        def due(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
            return _due(context, universe, warehouse, plan_of, nothing_due, job.name)

        return due

    return [
        schedule(
            "daily_forecast",
            jobs.daily_forecast,
            "30 0 * * *",
            planner.plan_daily,
            "Every finished day of every active ticker is there.",
            "The day that just ended (UTC), of all active tickers, in one run; a ticker whose market was closed gets "
            "an empty key that says so. What it misses, the sensor daily_catch_up launches.",
        ),
        schedule(
            "universe_training",
            jobs.universe_training,
            "0 2 1 * *",
            planner.plan_training,
            "The networks of every month that began are there, or not possible.",
            "The networks that all tickers share in the month that begins, trained on what was known before it. "
            "monthly_training waits for them, and the sensor daily_catch_up launches it then.",
        ),
        schedule(
            "monthly_training",
            jobs.monthly_training,
            "0 2 1 * *",
            planner.plan_training,
            "Every active ticker has the models of every month that began.",
            "The models of all active tickers for the month that begins, in one run, trained on what was known before "
            "it. What it misses, the sensor daily_catch_up launches.",
        ),
        schedule(
            "daily_earnings",
            jobs.ingest_earnings,
            "30 22 * * *",
            planner.plan_earnings,
            "Every active ticker's source was asked this evening.",
            "What is said of the earnings reports of all active tickers, in one run, after New York has closed and "
            "before the day's forecasts are made.",
        ),
        _scenarios(jobs, days, warehouse, status),
    ]


def _scenarios(
    jobs: Jobs, days: dg.PartitionsDefinition[str], warehouse: Warehouse, status: dg.DefaultScheduleStatus
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="daily_scenarios",
        job=jobs.joint_scenarios,
        cron_schedule="0 6 * * *",
        default_status=status,
        description="The joint scenarios of the last days that have forecasts and no scenarios yet, a run each.",
    )
    def due(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        now = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC").to_pydatetime()
        recent = list(days.get_partition_keys(current_time=now))[-_RECENT:]
        there = context.instance.get_materialized_partitions(dg.AssetKey(SCENARIOS.name))
        wanted = [key for key in recent if key not in there]
        if not wanted:
            return dg.SkipReason("Every recent day has its scenarios.")
        first, last = key_day(wanted[0]), key_day(wanted[-1])
        made = {f"{day:%Y-%m-%d}" for day in warehouse.read(FORECASTS, start=first, end=last, columns=["date"])["date"]}
        # A day whose run failed is asked for again the next morning.
        runs = [dg.RunRequest(f"{key} {now:%Y-%m-%d}", partition_key=key) for key in wanted if key in made]
        return runs or dg.SkipReason("No recent day without scenarios has a forecast.")

    return due


def _due(
    context: dg.ScheduleEvaluationContext,
    universe: world.Universe,
    warehouse: Warehouse,
    plan_of: PlanOf,
    nothing_due: str,
    job: str,
) -> list[dg.RunRequest] | dg.SkipReason:
    now = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
    if not known_tickers(context.instance):
        return dg.SkipReason(NO_TICKER)
    seen = world.read_world(context.instance, universe, now, warehouse)
    for line in seen.left_out:
        context.log.warning(line)
    plan = plan_of(seen)
    if runs := [launch for launch in plan.runs if job_for(launch.assets) == job]:
        return list(requests(context.instance, runs))
    return dg.SkipReason(" ".join([plan.in_words() or nothing_due, *seen.left_out]))
