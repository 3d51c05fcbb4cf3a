"""How every sensor that plans ends its tick: the runs that are due, and in words what waits or was given up."""

from __future__ import annotations

import dagster as dg

from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.planner import Plan, World
from stockcast_assets.orchestration.planning.requests import requests
from stockcast_assets.orchestration.planning.world import Idle


def result(
    context: dg.SensorEvaluationContext, seen: World, plan: Plan, words: str, cursor: str, new: list[str] | None = None
) -> dg.SensorResult:
    """The result of a tick.

    Args:
        context: the tick's, whose log is told what nobody understands, what was given up, and what waits.
        seen: the world that was planned for.
        plan: what is due in it.
        words: the reason if nothing is.
        cursor: the sensor's memory from now on.
        new: tickers to add.
    """
    for line in seen.left_out:
        context.log.warning(line)
    for line in plan.given_up.values():
        context.log.error(line)
    for line in plan.waiting.values() if plan.runs else ():
        context.log.info(line)
    return dg.SensorResult(
        run_requests=requests(context.instance, plan.runs),
        skip_reason=None if plan.runs else " ".join([words, *seen.left_out]),
        dynamic_partitions_requests=[ticker_partitions.build_add_request(new)] if new else [],
        cursor=cursor,
    )


def result_or_idle(
    context: dg.SensorEvaluationContext,
    seen: planner.World,
    plan: planner.Plan,
    print_now: str,
    now: pd.Timestamp,
    idle: str,
) -> dg.SensorResult:
    """The result of a tick whose sensor need not look again before the world changes, or a wait is over."""
    words = plan.in_words() or idle
    asleep = not plan.runs and not plan.under_way
    return result(context, seen, plan, words, Idle(print_now, plan.wake, words).dump() if asleep else "")
