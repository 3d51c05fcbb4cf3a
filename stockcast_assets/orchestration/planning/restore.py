"""The runs that bring lost rows back: exactly the keys that had rows and have none now. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial

from stockcast_assets.keys import parse_daily_key, parse_key
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.graph import KEY_OF, STAGES
from stockcast_assets.orchestration.planning.launch import RESTORE, Launch, Reason
from stockcast_assets.orchestration.planning.planner import Plan, World, plan_needs, traded
from stockcast_assets.orchestration.planning.ranges import month_stretches, session_stretches
from stockcast_assets.tables import TRAINED_MODEL

Lost = Mapping[str, Mapping[str, str]]


def plan_lost(world: World) -> Plan:
    """The lost keys of every active ticker, stage by stage: what others are computed from comes back first."""
    plan = Plan()
    tickers = traded((ticker for ticker in world.order if ticker in world.with_losses), plan)
    return plan.then(plan_needs(world, [need for needs in restoring(world.lost, tickers).values() for need in needs]))


def restoring(lost: Lost, tickers: list[str]) -> dict[str, list[Launch]]:
    """What the first stage of each ticker that has lost keys needs, a launch per stretch and assets.

    Args:
        lost: by asset, the lost keys with the run that had stored them, as `Stored.lost`.
        tickers: of whom.
    """
    keys_of: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for asset, runs in lost.items():
        for key, run in runs.items():
            keys_of[parse_key(key).ticker].setdefault(asset, {})[key] = run
    return {ticker: list(_needs(ticker, keys_of[ticker])) for ticker in tickers if ticker in keys_of}


def _needs(ticker: str, lost: Mapping[str, Mapping[str, str]]) -> Iterator[Launch]:
    stage = next(stage for stage in STAGES if not lost.keys().isdisjoint(stage))
    own = {asset: lost[asset] for asset in stage if asset in lost}
    # Lost again after it was restored, it is another need.
    reason = Reason(RESTORE, max((key, run) for runs in own.values() for key, run in runs.items())[1])
    if KEY_OF[stage[0]] == "ticker":
        yield Launch(stage, (ticker,), reason=reason)
        return
    assets_of: dict[pd.Timestamp, tuple[str, ...]] = defaultdict(tuple)
    for asset in stage:
        for key in own.get(asset, ()):
            assets_of[pd.Timestamp(parse_daily_key(key)[1])] += (asset,)
    days_of: dict[tuple[str, ...], list[pd.Timestamp]] = defaultdict(list)
    for day, assets in assets_of.items():
        days_of[assets].append(day)
    adjacent = month_stretches if stage == (TRAINED_MODEL.name,) else partial(session_stretches, ticker)
    for assets, days in days_of.items():
        for first, last in adjacent(days):
            yield Launch(assets, (ticker,), first, last, reason)
