"""The schedules: every finished day is forecast, every month gets its models."""

from datetime import timedelta

import dagster as dg

from stockcast_assets.automation.jobs import Jobs
from stockcast_assets.automation.ranges import known_tickers, range_tags
from stockcast_assets.partitions import month_of


def build_schedules(
    jobs: Jobs, daily: dg.MultiPartitionsDefinition, monthly: dg.MultiPartitionsDefinition
) -> list[dg.ScheduleDefinition]:
    """`daily_forecast` at 00:30 UTC, once the day's last market has closed, and `monthly_training` at 02:00 UTC
    on the first of the month, after the last day of the month before was ingested."""

    @dg.schedule(
        name="daily_forecast",
        job=jobs.daily_forecast,
        cron_schedule="30 0 * * *",
        description="One run for all tickers and the day that just ended (UTC), a market-closed ticker included.",
    )
    def daily_forecast(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.date() - timedelta(days=1)
        tickers = known_tickers(context.instance)
        if not tickers:
            return dg.SkipReason("There is no ticker yet: add one with `stockcast tickers add MSFT`.")
        if day.isoformat() not in daily.time_window_dimension.partitions_def.get_partition_keys(
            current_time=context.scheduled_execution_time
        ):
            return dg.SkipReason(f"{day} is no daily key: no enabled calendar trades, or it is outside the dates set.")
        return dg.RunRequest(
            run_key=f"daily_forecast {day}", tags=dict(range_tags((tickers[0], tickers[-1]), day, day))
        )

    @dg.schedule(
        name="monthly_training",
        job=jobs.monthly_training,
        cron_schedule="0 2 1 * *",
        description="One run that trains the models of all tickers for the month that begins.",
    )
    def monthly_training(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        month = month_of(context.scheduled_execution_time.date())
        tickers = known_tickers(context.instance)
        if not tickers:
            return dg.SkipReason("There is no ticker yet: add one with `stockcast tickers add MSFT`.")
        if month.isoformat() not in monthly.time_window_dimension.partitions_def.get_partition_keys(
            current_time=context.scheduled_execution_time
        ):
            return dg.SkipReason(f"{month:%Y-%m} is outside the months set.")
        return dg.RunRequest(
            run_key=f"monthly_training {month}", tags=dict(range_tags((tickers[0], tickers[-1]), month, month))
        )

    return [daily_forecast, monthly_training]
