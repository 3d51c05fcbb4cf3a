"""What is due: the runs to launch now, from what is materialised, what was tried, and the clock. Pure.

Schedules and sensors read a `World` from the instance (`world.py`), ask for a `Plan` here and launch it. Asked again
about the same world, the plan is the same, and so are its run keys.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.universe.month import FEWEST
from stockcast_assets.keys import month_of, parse_key, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.graph import DAILY_ASSETS, DERIVED_ASSETS
from stockcast_assets.orchestration.planning.launch import (
    ASSETS_OF,
    BARS,
    COMMAND,
    DAILY,
    EARNINGS,
    HISTORY,
    KINDS,
    MODEL,
    NEWEST,
    REPAIR,
    RESTORE,
    RETRAINING,
    TRAINING,
    UNIVERSE,
    UPLOAD,
    Launch,
    Reason,
)
from stockcast_assets.orchestration.planning.ranges import session_stretches, shards
from stockcast_assets.orchestration.tickers import TickerState
from stockcast_assets.tables import EARNINGS_DATES, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL, UNIVERSE_MODEL

LATE_WAITS = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 240, 1440))
"""Waits after the first, second, … run that a late source stopped; the last one repeats."""

BROKEN_WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 15, 60, 240, 1440))
"""Waits after a run that failed for another reason: the first may just have been killed."""

LATE_DAYS = 10
"""Days on which the run of a day has failed after which it is not asked for again."""

ATTEMPTS = 3
"""Failed runs of a bring-up stage or a training, of this ticker alone, before it is given up."""

REMEDY: Mapping[str, str] = dict.fromkeys(KINDS, "`stockcast tickers resume {}`, or pause or delist it") | {
    REPAIR: "`stockcast backfill --tickers {}`",
    RESTORE: "`stockcast reconcile`",
    UPLOAD: "upload the file again",
    RETRAINING: "wait for the next finished day, which decides again",
    EARNINGS: "wait for the next evening, which asks again",
}
"""What to do about a ticker that was given up, by the reason's kind."""

UNIVERSE_ATTEMPTS = 2
"""Failed runs of a month's shared networks after which its tickers get networks of their own: nothing waits longer."""

MOST_SHARED_FAILURES = 10
"""Failed runs shared with other tickers before a ticker is given up."""

RECENT = 5
"""A new ticker with a forecast of one of its last sessions needs no bring-up: its days are caught up from there."""

SETTLING = timedelta(minutes=30)
"""Time from the end of a day (UTC, and of its last session) to its run."""

TRAINED_AFTER = timedelta(hours=2)
"""Time from the beginning of a month (UTC) to its training: the last day before it is ingested by then."""

DEAD_AFTER = timedelta(hours=24)
"""Age from which a run without an end is taken for dead: its process was killed and nobody told the instance."""


@dataclass(frozen=True)
class Attempt:
    """A run that was launched: `ended` is None while it is under way, `late` are the tickers that stopped it.

    Whatever no plan asked for has the reason `COMMAND`.
    """

    run_id: str
    assets: frozenset[str]
    tickers: tuple[str, ...]
    first: date | None
    last: date | None
    created: pd.Timestamp
    ended: pd.Timestamp | None = None
    ok: bool = False
    late: frozenset[str] = frozenset()
    reason: Reason = COMMAND

    def covers(self, ticker: str, day: date | None) -> bool:
        within = day is None or self.first is None or (self.last is not None and self.first <= day <= self.last)
        return ticker in self.tickers and within


@dataclass(frozen=True)
class World:
    """All a plan depends on.

    Attributes:
        now: the moment of the plan, UTC.
        order: every ticker partition, in insertion order.
        states: the state of each.
        first_daily_key: STOCKCAST_START_DATE.
        days: the daily keys that are due by now, ascending; see `due_days`.
        months: the months of use whose training is due by now, ascending; see `TRAINED_AFTER`.
        done: by asset, the keys that were made once.
        lost: by asset, those of them whose rows are gone, with the run that had stored them.
        attempts: the runs of the last weeks, in order of creation.
        networks: the months of use whose shared networks were trained, or found impossible; None where each ticker has
            its own.
        uploaded: the tickers whose bars come by CSV, with the days of `raw_prices` they have, ascending.
        left_out: what others wrote and nobody understands, a sentence each.
        tickers_per_run: STOCKCAST_TICKERS_PER_RUN.
    """

    now: pd.Timestamp
    order: Sequence[str]
    states: Mapping[str, TickerState]
    first_daily_key: date = date.min
    days: Sequence[date] = ()
    months: Sequence[date] = ()
    done: Mapping[str, Collection[str]] = field(default_factory=dict)
    lost: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attempts: Sequence[Attempt] = ()
    networks: Collection[date] | None = None
    uploaded: Mapping[str, Sequence[date]] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    tickers_per_run: int = sys.maxsize

    @cached_property
    def with_losses(self) -> Collection[str]:
        """The tickers that nothing new is made of before their lost rows are back."""
        return {parse_key(key).ticker for keys in self.lost.values() for key in keys}

    def has(self, asset: str, ticker: str, day: date | pd.Timestamp) -> bool:
        return partition_key(ticker, day) in self.done.get(asset, ())


@dataclass
class Plan:
    """What to do now.

    Attributes:
        runs: runs to launch, in order.
        waiting: why a ticker that needs something gets no run now, in words.
        given_up: why a ticker gets no run any more until a person does something, in words.
        brought_up: tickers that now have all, with the session they were brought up to.
        wake: when the next run is due if nothing else happens; None if only an event can make one due.
        under_way: whether a run that the plan waits for is under way.
        left: of the needs that were handed over, those that are neither met nor given up.
    """

    runs: list[Launch] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    brought_up: dict[str, date] = field(default_factory=dict)
    wake: pd.Timestamp | None = None
    under_way: bool = False
    left: list[Launch] = field(default_factory=list)

    def then(self, other: Plan) -> Plan:
        """Both plans as one, this one's runs first."""
        wakes = [wake for wake in (self.wake, other.wake) if wake is not None]
        return Plan(
            runs=[*self.runs, *other.runs],
            waiting={**self.waiting, **other.waiting},
            given_up={**self.given_up, **other.given_up},
            brought_up={**self.brought_up, **other.brought_up},
            wake=min(wakes, default=None),
            under_way=self.under_way or other.under_way,
            left=[*self.left, *other.left],
        )

    def in_words(self) -> str:
        """The waiting and the given up, for a tick's reason."""
        return " ".join(dict.fromkeys([*self.given_up.values(), *self.waiting.values()]))


def due_days(keys: Iterable[date], codes: Sequence[str], now: pd.Timestamp) -> list[date]:
    """The daily keys whose day, and whose session on every enabled calendar, ended `SETTLING` before `now`."""
    days = sorted(keys)
    while days and due_at(days[-1], codes) > now:
        days.pop()
    return days


def due_at(day: date, codes: Sequence[str]) -> pd.Timestamp:
    """When a day's run is due (UTC). Half days and daylight saving time are in the calendars' closes."""
    ends = [pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)]
    ends += [calendars.session_close(code, day) for code in codes if calendars.is_session(code, day)]
    return max(ends) + SETTLING


def plan_bring_up(world: World) -> Plan:
    """Every new ticker, stage by stage: deep past, bars up to the newest session, model, newest forecast."""
    plan, needs = Plan(), []
    new = [ticker for ticker in world.order if world.states[ticker].is_new and ticker not in world.with_losses]
    for ticker in traded(new, plan):
        needs += _bring_up_needs(world, ticker, plan)
    ingesting = [need for need in needs if need.reason in (HISTORY, BARS)]
    _decide(world, _after_networks(world, needs, ingesting, plan), plan, most_days=None)
    return plan


def plan_daily(world: World) -> Plan:
    """Every finished day of every ticker that was brought up, missed ones first, each in order and once.

    A run covers the missed days of one month at most, so that the next month's model comes in between; after a
    failure it covers the first missed day alone.
    """
    plan, needs = Plan(), []
    running = _running(world, plan)
    trainings = {need.tickers[0]: need for need in _training_needs(world, running)}
    for ticker, missing in _missing_days(world, running).items():
        first = missing[0]
        training = trainings.get(ticker)
        if training is not None and training.first == month_of(first) and not _failed(world, training):
            plan.under_way = True
            plan.waiting[ticker] = f"{ticker}: the days of {first:%Y-%m} wait for the month's model."
            continue
        need = _need(ticker, DAILY, first, _end_of_stretch(missing))
        if _failed(world, need):
            need = replace(need, last=first)
        needs.append(need)
    _decide(world, needs, plan, most_days=LATE_DAYS)
    return plan


def plan_training(world: World) -> Plan:
    """The models of every month that began, as soon as the last session before it is ingested; missed ones first."""
    plan = Plan()
    running = _running(world, plan)
    needs = list(_training_needs(world, running))
    # Only what trains waits for bars: in most ticks nothing does.
    missing = _missing_days(world, running) if needs else {}
    before = [_need(ticker, DAILY, days[0], days[0]) for ticker, days in missing.items()]
    _decide(world, _after_networks(world, needs, before, plan), plan, most_days=None)
    return plan


def plan_earnings(world: World) -> Plan:
    """What is said of the reports of every active ticker, once an evening."""
    reason = Reason(EARNINGS, world.now.date().isoformat())
    active = [ticker for ticker in world.order if world.states[ticker].state == "active"]
    return plan_needs(world, [Launch((EARNINGS_DATES.name,), (ticker,), reason=reason) for ticker in active])


def plan_needs(world: World, needs: Sequence[Launch]) -> Plan:
    """What others need: repairs, uploads, trainings within a month. Each is a launch of one ticker, with its cause.

    A need is met by a green run of its cause, and given up by the same law as any other; `left` are the rest. Of a
    ticker that is gone nothing is left, and of one that is paused only what a person uploads.
    """
    plan = Plan()
    open_ = [need for need in needs if _is_wanted(world, need) and not is_met(world, need)]
    given_up = _decide(world, open_, plan, most_days=None)
    plan.left = [need for need in open_ if need not in given_up]
    return plan


def is_met(world: World, need: Launch) -> bool:
    """Whether a run of the need's cause has made all its keys."""
    return any(attempt.ok and attempt.covers(need.tickers[0], need.last) for attempt in _history(world, need))


def _is_wanted(world: World, need: Launch) -> bool:
    state = world.states.get(need.tickers[0])
    return state is not None and (state.state == "active" or need.reason.kind == UPLOAD)


def _need(ticker: str, reason: Reason, first: date | None = None, last: date | None = None) -> Launch:
    return Launch(ASSETS_OF[reason], (ticker,), first, last, reason)


def _bring_up_needs(world: World, ticker: str, plan: Plan) -> list[Launch]:
    if ticker in world.uploaded and not world.uploaded[ticker]:
        plan.waiting[ticker] = f"{ticker}: waits for the run that reads its CSV file."
        return []
    if ticker not in world.done.get(PRICE_HISTORY.name, ()):
        return [_need(ticker, HISTORY)]
    sessions = _sessions_due(world, ticker)
    if not len(sessions):
        plan.waiting[ticker] = f"{ticker}: its calendar has no finished session since {world.first_daily_key}."
        return []
    for day in reversed(sessions[-RECENT:]):
        # A new day may have begun since its newest forecast was made: that one follows as a daily run.
        if all(world.has(asset, ticker, day) for asset in DERIVED_ASSETS):
            plan.brought_up[ticker] = day.date()
            return []
    missing = [day for day in sessions if not world.has(RAW_PRICES.name, ticker, day)]
    if missing:
        return [_need(ticker, BARS, first, last) for first, last in session_stretches(ticker, missing)]
    newest = sessions[-1].date()
    month = month_of(newest)
    if not world.has(TRAINED_MODEL.name, ticker, month):
        return [_need(ticker, MODEL, month, month)]
    return [_need(ticker, NEWEST, newest, newest)]


def _sessions_due(world: World, ticker: str) -> pd.DatetimeIndex:
    """The ticker's sessions among the due days; of an uploaded ticker, from its first daily bar to its last."""
    first, last = world.first_daily_key, world.days[-1] if world.days else None
    if last is None:
        return pd.DatetimeIndex([])
    if ticker in world.uploaded:
        first, last = world.uploaded[ticker][0], min(world.uploaded[ticker][-1], last)
    return calendars.sessions(calendars.calendar_for(ticker), first, last)


def traded(tickers: Iterable[str], plan: Plan) -> list[str]:
    """The tickers of which somebody knows where they trade; of the others the plan says what to do."""
    known = []
    for ticker in tickers:
        try:
            calendars.known_calendar_for(ticker)
        except StockcastError as error:
            plan.given_up[ticker] = str(error)
        else:
            known.append(ticker)
    return known


def _running(world: World, plan: Plan) -> dict[str, date]:
    """The active tickers that were brought up, each with the session up to which.

    Of those that have lost rows the plan says that they wait.
    """
    for ticker in traded((ticker for ticker in world.order if ticker in world.with_losses), plan):
        plan.waiting[ticker] = (
            f"{ticker}: what is new waits for rows that the warehouse has lost, which daily_catch_up makes again."
        )
    active = ((ticker, world.states[ticker]) for ticker in world.order if world.states[ticker].state == "active")
    up = {ticker: state.daily_from for ticker, state in active if state.daily_from is not None}
    return {ticker: up[ticker] for ticker in traded(up, plan) if ticker not in world.with_losses}


def _missing_days(world: World, running: Mapping[str, date]) -> dict[str, list[date]]:
    """The due days after its bring-up that each running ticker lacks an asset of, if there are any."""
    found = {}
    for ticker, daily_from in running.items():
        days = [day for day in world.days if day > daily_from]
        if ticker in world.uploaded:
            newest = max(world.uploaded[ticker], default=daily_from)
            days = [day for day in days if day <= newest]
        missing = [day for day in days if not all(world.has(asset, ticker, day) for asset in DAILY_ASSETS)]
        if missing:
            found[ticker] = missing
    return found


def _end_of_stretch(missing: Sequence[date]) -> date:
    """The last of the missing days in the month of the first."""
    return max(day for day in missing if month_of(day) == month_of(missing[0]))


def _training_needs(world: World, running: Mapping[str, date]) -> Iterator[Launch]:
    """The first month that each running ticker has no model of, if everything before it is ingested."""
    missing_days = _missing_days(world, running)
    for ticker, daily_from in running.items():
        reach = missing_days[ticker][0] if ticker in missing_days else None
        for month in world.months:
            if month < month_of(daily_from) or world.has(TRAINED_MODEL.name, ticker, month):
                continue
            uploaded = ticker not in world.uploaded or max(world.uploaded[ticker], default=month) >= month
            if uploaded and (reach is None or reach >= month):
                yield _need(ticker, TRAINING, month, month)
            break


def _after_networks(world: World, needs: list[Launch], ingesting: Sequence[Launch], plan: Plan) -> list[Launch]:
    """The needs without the trainings of months whose shared networks come first; the plan launches those.

    Networks wait for bars before their month that were not tried in vain yet, and nothing waits for networks that
    failed UNIVERSE_ATTEMPTS times.

    Args:
        world: the world.
        needs: of one ticker each.
        ingesting: needs of bars.
        plan: gets the runs, and why tickers wait.
    """
    months = sorted({need.first for need in needs if need.assets == ASSETS_OF[MODEL] and need.first is not None})
    with_past = sum(ticker in world.done.get(PRICE_HISTORY.name, ()) for ticker in world.order)
    if world.networks is None or with_past < FEWEST:
        return needs
    held = set()
    for month in months:
        coming = [need for need in ingesting if need.first is None or need.first < month]
        if month not in world.networks and not _networks_stand_aside(world, month, coming, plan):
            held.add(month)
    for need in needs:
        if need.assets == ASSETS_OF[MODEL] and need.first in held:
            words = f"{need.tickers[0]}: its model of {need.first:%Y-%m} waits for the networks of all tickers."
            plan.waiting[need.tickers[0]] = words
    return [need for need in needs if need.assets != ASSETS_OF[MODEL] or need.first not in held]


def _networks_stand_aside(world: World, month: date, coming: Sequence[Launch], plan: Plan) -> bool:
    """Whether a month's tickers go on without shared networks; if not, these are launched or waited for."""
    tries = [
        attempt
        for attempt in world.attempts
        if UNIVERSE_MODEL.name in attempt.assets
        and attempt.first is not None
        and attempt.last is not None
        and attempt.first <= month <= attempt.last
    ]
    if any(attempt.ended is None for attempt in tries):
        plan.under_way = True
        return False
    failures = [attempt for attempt in tries if not attempt.ok]
    if len(failures) >= UNIVERSE_ATTEMPTS:
        return True
    if any(not _failed(world, need) for need in coming):
        plan.under_way = True
        return False
    if failures:
        ended = failures[-1].ended
        assert ended is not None
        if (due := ended + BROKEN_WAITS[0]) > world.now:
            plan.wake = due if plan.wake is None else min(plan.wake, due)
            return False
    after = tries[-1].run_id if tries else "the start"
    plan.runs.append(Launch(ASSETS_OF[UNIVERSE], (), month, month, UNIVERSE, after))
    return False


def _history(world: World, need: Launch) -> list[Attempt]:
    """The runs so far that wanted the first of the keys needed, since a person last set the ticker's state.

    Of a need with a cause, those of the same cause; else all that the state of the world asked for.
    """
    ticker = need.tickers[0]
    since = world.states[ticker].began
    alike = (need.reason,) if need.reason.cause else tuple(ASSETS_OF)
    return [
        attempt
        for attempt in world.attempts
        if any((attempt.reason.kind, attempt.reason.cause) == (reason.kind, reason.cause) for reason in alike)
        and attempt.covers(ticker, need.first)
        and attempt.assets.issuperset(need.assets)
        and (not since or attempt.created >= pd.Timestamp(since))
    ]


def _counts(attempt: Attempt, ticker: str) -> bool:
    """Whether a finished run failed because of this ticker, as far as anyone can tell."""
    return attempt.ended is not None and not attempt.ok and not (attempt.late and ticker not in attempt.late)


def _failed(world: World, need: Launch) -> bool:
    return any(_counts(attempt, need.tickers[0]) for attempt in _history(world, need))


def _decide(world: World, needs: Sequence[Launch], plan: Plan, most_days: int | None) -> list[Launch]:
    """Group the needs that are due now into runs; say of the others why they wait. Returns those given up."""
    given_up = []
    pending: dict[tuple[Reason, date | None], set[str]] = defaultdict(set)
    for need in needs:
        pending[need.reason, need.first].add(need.tickers[0])
    groups: dict[tuple[Launch, tuple[object, ...]], list[str]] = defaultdict(list)
    for need in needs:
        (ticker,) = need.tickers
        if is_under_way(world, need):
            plan.under_way = True
            plan.waiting.setdefault(ticker, f"{need.words} is under way.")
            continue
        failures = [attempt for attempt in _history(world, need) if _counts(attempt, ticker)]
        split: tuple[object, ...] = ()
        if failures:
            words = _giving_up(need, failures, most_days)
            if words:
                plan.given_up[ticker] = words
                given_up.append(need)
                continue
            shared = {ticker for failure in failures for ticker in failure.tickers}
            others_went_on = bool(shared - pending[need.reason, need.first])
            due, split = _next_try(ticker, failures, others_went_on)
            if due > world.now:
                plan.waiting[ticker] = f"{need.words} {_why(failures[-1])}; again at {due:%Y-%m-%d %H:%M} UTC."
                plan.wake = due if plan.wake is None else min(plan.wake, due)
                continue
        groups[replace(need, tickers=()), split].append(ticker)
    for (launch, _), tickers in sorted(groups.items(), key=_place):
        plan.runs += _runs(world, launch, tickers)
    return given_up


def _place(group: tuple[tuple[Launch, tuple[object, ...]], list[str]]) -> tuple[int, str, str, str]:
    (launch, split), _ = group
    return KINDS.index(launch.reason.kind), str(launch.first), launch.reason.cause, str(split)


def is_under_way(world: World, need: Launch) -> bool:
    """Whether a run is under way that makes one of the assets for the ticker."""
    return any(
        attempt.ended is None and need.tickers[0] in attempt.tickers and not attempt.assets.isdisjoint(need.assets)
        for attempt in world.attempts
    )


def _giving_up(need: Launch, failures: Sequence[Attempt], most_days: int | None) -> str | None:
    alone = [failure for failure in failures if len(failure.tickers) == 1 or failure.late]
    remedy = f"read the run's log, then {REMEDY[need.reason.kind].format(need.tickers[0])}."
    if most_days is not None:
        # Days on which it was tried: while the machine was down nothing failed.
        if len({failure.created.date() for failure in failures}) >= most_days:
            return f"{need.words} failed on {most_days} days and is given up: {remedy}"
        return None
    if len(alone) >= ATTEMPTS or len(failures) >= MOST_SHARED_FAILURES:
        return f"{need.words} failed {len(failures)} times and is given up: {remedy}"
    return None


def _next_try(
    ticker: str, failures: Sequence[Attempt], others_went_on: bool
) -> tuple[pd.Timestamp, tuple[object, ...]]:
    """When a ticker is tried again, and with which half of the tickers that shared its failed run.

    A run of several tickers that failed without naming one is halved, so that a single bad ticker is found in a few
    runs; at once if some of its tickers went on without the others, else as slowly as any failure, since all failed.
    """
    last = failures[-1]
    assert last.ended is not None
    waits = LATE_WAITS if last.late else BROKEN_WAITS
    same = [failure for failure in failures if bool(failure.late) == bool(last.late)]
    due = last.ended + waits[min(len(same), len(waits)) - 1]
    if last.late or len(last.tickers) == 1 or (len(same) == 1 and not others_went_on):
        return due, ()
    half = last.tickers.index(ticker) * 2 // len(last.tickers)
    return last.ended if others_went_on else due, (last.run_id, half)


def _runs(world: World, launch: Launch, tickers: list[str]) -> Iterator[Launch]:
    for chosen in shards(world.order, tickers, world.tickers_per_run):
        tried = [attempt.run_id for attempt in world.attempts if attempt.covers(chosen[0], launch.first)]
        after = tried[-1] if tried else world.states[chosen[0]].began or "the start"
        yield replace(launch, tickers=chosen, after=after)


def _why(failure: Attempt) -> str:
    return "is late at the source" if failure.late else f"failed (run {failure.run_id[:8]})"
