"""How every sensor that plans ends its tick: the runs that are due, and in words what waits or was given up."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.planning import world
from stockcast_assets.orchestration.planning.planner import Plan, World
from stockcast_assets.orchestration.planning.requests import requests
from stockcast_assets.orchestration.planning.world import Idle, Universe
from stockcast_assets.warehouse import Warehouse


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


def tick_unless_idle(
    context: dg.SensorEvaluationContext,
    universe: Universe,
    warehouse: Warehouse,
    keys_at: pd.Timestamp,
    look: Callable[[], tuple[World, Plan]],
    nothing_due: str,
) -> dg.SensorResult:
    """The tick of a sensor whose cursor is an `Idle`: it looks only if the world has changed, or a wait is over.

    What a look itself changes, as the states of tickers, makes the next tick look again.

    Args:
        context: the tick's.
        universe: what the settings say about keys.
        warehouse: whose rows count.
        keys_at: the moment whose due days and months count.
        look: reads the world and plans for it.
        nothing_due: the reason if nothing waits, either.
    """
    now = utc_now()
    before = world.fingerprint(context.instance, universe, keys_at, warehouse)
    idle = understood(Idle.load, context.cursor, "The cursor", context.log.warning)
    if idle is not None and idle.holds(before, now):
        return dg.SensorResult(skip_reason=idle.words, cursor=context.cursor)
    seen, plan = look()
    words = plan.in_words() or nothing_due
    asleep = not plan.runs and not plan.under_way
    return result(context, seen, plan, words, Idle(before, plan.wake, words).dump() if asleep else "")
