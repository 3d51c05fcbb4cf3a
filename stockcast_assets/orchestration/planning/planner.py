"""What is due: the runs to launch now, from what is materialised, what was tried, and the clock. Pure.

Schedules and sensors read a `World` from the instance (`world.py`), ask for a `Plan` here and launch it. Asked again
about the same world, the plan is the same, and so are its run keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.jobs import DAILY_ASSETS
from stockcast_assets.orchestration.planning.ranges import session_stretches, ticker_ranges
from stockcast_assets.orchestration.tickers import TickerState
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL

HISTORY, BARS, MODEL, NEWEST, DAILY, TRAINING = "history", "bars", "model", "newest", "daily", "training"

DERIVED_ASSETS = tuple(name for name in DAILY_ASSETS if name != RAW_PRICES.name)

ASSETS_OF: Mapping[str, tuple[str, ...]] = {
    HISTORY: (PRICE_HISTORY.name,),
    BARS: (RAW_PRICES.name,),
    MODEL: (TRAINED_MODEL.name,),
    NEWEST: DERIVED_ASSETS,
    DAILY: DAILY_ASSETS,
    TRAINING: (TRAINED_MODEL.name,),
}

LATE_WAITS = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 240, 1440))
"""Waits after the first, second, … run that a late source stopped; the last one repeats."""

BROKEN_WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 15, 60, 240, 1440))
"""Waits after a run that failed for another reason: the first may just have been killed."""

LATE_DAYS = 10
"""Days on which the run of a day has failed after which it is not asked for again."""

ATTEMPTS = 3
"""Failed runs of a bring-up stage or a training, of this ticker alone, before it is given up."""

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
    """A run that was launched: `ended` is None while it is under way, `late` are the tickers that stopped it."""

    run_id: str
    assets: frozenset[str]
    tickers: tuple[str, ...]
    first: date | None
    last: date | None
    created: pd.Timestamp
    ended: pd.Timestamp | None = None
    ok: bool = False
    late: frozenset[str] = frozenset()
    automatic: bool = True

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
        done: materialised keys by asset.
        attempts: the runs of the last weeks, in order of creation.
        uploaded: the tickers whose bars come by CSV, with the days of `raw_prices` they have, ascending.
        left_out: what others wrote and nobody understands, a sentence each.
    """

    now: pd.Timestamp
    order: Sequence[str]
    states: Mapping[str, TickerState]
    first_daily_key: date
    days: Sequence[date]
    months: Sequence[date]
    done: Mapping[str, Collection[str]]
    attempts: Sequence[Attempt] = ()
    uploaded: Mapping[str, Sequence[date]] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    def has(self, asset: str, ticker: str, day: date | pd.Timestamp) -> bool:
        return partition_key(ticker, day) in self.done.get(asset, ())


@dataclass(frozen=True)
class DueRun:
    """A run to launch: assets over a stretch of neighbouring tickers and, except for `price_history`, of days."""

    stage: str
    tickers: tuple[str, ...]
    first: date | None
    last: date | None
    run_key: str

    @property
    def assets(self) -> tuple[str, ...]:
        return ASSETS_OF[self.stage]


@dataclass
class Plan:
    """What to do now.

    Attributes:
        runs: runs to launch, in order.
        waiting: why a ticker that needs something gets no run now, in words.
        given_up: why a ticker gets no run any more until a person resumes it, in words.
        brought_up: tickers that now have all, with the session they were brought up to.
        wake: when the next run is due if nothing else happens; None if only an event can make one due.
        under_way: whether a run that the plan waits for is under way.
    """

    runs: list[DueRun] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    brought_up: dict[str, date] = field(default_factory=dict)
    wake: pd.Timestamp | None = None
    under_way: bool = False

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
        )

    def in_words(self) -> str:
        """The waiting and the given up, for a tick's reason."""
        return " ".join(dict.fromkeys([*self.given_up.values(), *self.waiting.values()]))


@dataclass(frozen=True)
class _Need:
    """What one ticker needs next."""

    ticker: str
    stage: str
    first: date | None = None
    last: date | None = None


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
    for ticker in world.order:
        if world.states[ticker].is_new:
            needs += _bring_up_needs(world, ticker, plan)
    _decide(world, needs, plan, most_days=None)
    return plan


def plan_daily(world: World) -> Plan:
    """Every finished day of every ticker that was brought up, missed ones first, each in order and once.

    A run covers the missed days of one month at most, so that the next month's model comes in between; after a
    failure it covers the first missed day alone.
    """
    plan, needs = Plan(), []
    trainings = {need.ticker: need for need in _training_needs(world)}
    for ticker, missing in _missing_days(world).items():
        first = missing[0]
        training = trainings.get(ticker)
        if training is not None and training.first == month_of(first) and not _failed(world, training):
            plan.under_way = True
            plan.waiting[ticker] = f"{ticker}: the days of {first:%Y-%m} wait for the month's model."
            continue
        need = _Need(ticker, DAILY, first, _end_of_stretch(missing))
        if _failed(world, need):
            need = _Need(ticker, DAILY, first, first)
        needs.append(need)
    _decide(world, needs, plan, most_days=LATE_DAYS)
    return plan


def plan_training(world: World) -> Plan:
    """The models of every month that began, as soon as the last session before it is ingested; missed ones first."""
    plan = Plan()
    _decide(world, list(_training_needs(world)), plan, most_days=None)
    return plan


def _bring_up_needs(world: World, ticker: str, plan: Plan) -> list[_Need]:
    if ticker in world.uploaded and not world.uploaded[ticker]:
        plan.waiting[ticker] = f"{ticker}: waits for the run that reads its CSV file."
        return []
    if ticker not in world.done.get(PRICE_HISTORY.name, ()):
        return [_Need(ticker, HISTORY)]
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
        return [_Need(ticker, BARS, first, last) for first, last in session_stretches(ticker, missing)]
    newest = sessions[-1].date()
    month = month_of(newest)
    if not world.has(TRAINED_MODEL.name, ticker, month):
        return [_Need(ticker, MODEL, month, month)]
    return [_Need(ticker, NEWEST, newest, newest)]


def _sessions_due(world: World, ticker: str) -> pd.DatetimeIndex:
    """The ticker's sessions among the due days; of an uploaded ticker, from its first daily bar to its last."""
    first, last = world.first_daily_key, world.days[-1] if world.days else None
    if last is None:
        return pd.DatetimeIndex([])
    if ticker in world.uploaded:
        first, last = world.uploaded[ticker][0], min(world.uploaded[ticker][-1], last)
    return calendars.sessions(calendars.calendar_for(ticker), first, last)


def _missing_days(world: World) -> dict[str, list[date]]:
    """The due days after its bring-up that each active ticker lacks an asset of, if there are any."""
    found = {}
    for ticker in world.order:
        state = world.states[ticker]
        if state.state != "active" or state.daily_from is None:
            continue
        days = [day for day in world.days if day > state.daily_from]
        if ticker in world.uploaded:
            newest = max(world.uploaded[ticker], default=state.daily_from)
            days = [day for day in days if day <= newest]
        missing = [day for day in days if not all(world.has(asset, ticker, day) for asset in DAILY_ASSETS)]
        if missing:
            found[ticker] = missing
    return found


def _end_of_stretch(missing: Sequence[date]) -> date:
    """The last of the missing days in the month of the first."""
    return max(day for day in missing if month_of(day) == month_of(missing[0]))


def _training_needs(world: World) -> Iterator[_Need]:
    """The first month that each ticker has no model of, if everything before it is ingested."""
    missing_days = _missing_days(world)
    for ticker in world.order:
        state = world.states[ticker]
        if state.state != "active" or state.daily_from is None:
            continue
        reach = missing_days[ticker][0] if ticker in missing_days else None
        for month in world.months:
            if month < month_of(state.daily_from) or world.has(TRAINED_MODEL.name, ticker, month):
                continue
            uploaded = ticker not in world.uploaded or max(world.uploaded[ticker], default=month) >= month
            if uploaded and (reach is None or reach >= month):
                yield _Need(ticker, TRAINING, month, month)
            break


def _history(world: World, need: _Need) -> list[Attempt]:
    """The runs so far that wanted the first of the keys needed, since a person last set the ticker's state."""
    since = world.states[need.ticker].since
    assets = set(ASSETS_OF[need.stage])
    return [
        attempt
        for attempt in world.attempts
        if attempt.automatic
        and attempt.covers(need.ticker, need.first)
        and assets <= attempt.assets
        and (not since or attempt.created >= pd.Timestamp(since))
    ]


def _counts(attempt: Attempt, ticker: str) -> bool:
    """Whether a finished run failed because of this ticker, as far as anyone can tell."""
    return attempt.ended is not None and not (attempt.late and ticker not in attempt.late)


def _failed(world: World, need: _Need) -> bool:
    return any(_counts(attempt, need.ticker) for attempt in _history(world, need))


def _decide(world: World, needs: Sequence[_Need], plan: Plan, most_days: int | None) -> None:
    """Group the needs that are due now into runs; say of the others why they wait."""
    pending: dict[tuple[str, date | None], set[str]] = defaultdict(set)
    for need in needs:
        pending[need.stage, need.first].add(need.ticker)
    groups: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for need in needs:
        if _is_under_way(world, need):
            plan.under_way = True
            plan.waiting.setdefault(need.ticker, f"{_named(need)} is under way.")
            continue
        history = _history(world, need)
        failures = [attempt for attempt in history if _counts(attempt, need.ticker)]
        split: tuple[object, ...] = ()
        if failures:
            words = _giving_up(need, failures, most_days)
            if words:
                plan.given_up[need.ticker] = words
                continue
            shared = {ticker for failure in failures for ticker in failure.tickers}
            others_went_on = bool(shared - pending[need.stage, need.first])
            due, split = _next_try(need.ticker, failures, others_went_on)
            if due > world.now:
                plan.waiting[need.ticker] = f"{_named(need)} {_why(failures[-1])}; again at {due:%Y-%m-%d %H:%M} UTC."
                plan.wake = due if plan.wake is None else min(plan.wake, due)
                continue
        groups[need.stage, need.first, need.last, split].append(need.ticker)
    for key in sorted(groups, key=lambda key: (list(ASSETS_OF).index(str(key[0])), str(key[1]), str(key[3]))):
        stage, first, last, _ = key
        plan.runs += _runs(world, str(stage), first, last, groups[key])  # type: ignore[arg-type]


def _is_under_way(world: World, need: _Need) -> bool:
    assets = set(ASSETS_OF[need.stage])
    return any(
        attempt.ended is None and need.ticker in attempt.tickers and assets & attempt.assets
        for attempt in world.attempts
    )


def _giving_up(need: _Need, failures: Sequence[Attempt], most_days: int | None) -> str | None:
    alone = [failure for failure in failures if len(failure.tickers) == 1 or failure.late]
    remedy = f"read the run's log, then `stockcast tickers resume {need.ticker}`, or pause or delist it."
    if most_days is not None:
        # Days on which it was tried: while the machine was down nothing failed.
        if len({failure.created.date() for failure in failures}) >= most_days:
            return f"{_named(need)} failed on {most_days} days and is given up: {remedy}"
        return None
    if len(alone) >= ATTEMPTS or len(failures) >= MOST_SHARED_FAILURES:
        return f"{_named(need)} failed {len(failures)} times and is given up: {remedy}"
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


def _runs(world: World, stage: str, first: date | None, last: date | None, tickers: list[str]) -> Iterator[DueRun]:
    for start, end in ticker_ranges(world.order, tickers):
        chosen = tuple(world.order[world.order.index(start) : world.order.index(end) + 1])
        tried = [attempt.run_id for attempt in world.attempts if attempt.covers(start, first)]
        after = tried[-1] if tried else world.states[start].since or "the start"
        days = "" if first is None else f" {first} to {last}"
        yield DueRun(stage, chosen, first, last, f"{stage}{days} {start} to {end}, after {after}")


def _named(need: _Need) -> str:
    if need.first is None:
        return f"{need.ticker}: {need.stage}"
    return (
        f"{need.ticker}: {need.stage} of {need.first:%Y-%m}"
        if need.stage in (MODEL, TRAINING)
        else (f"{need.ticker}: {need.stage} of {need.first}")
    )


def _why(failure: Attempt) -> str:
    return "is late at the source" if failure.late else f"failed (run {failure.run_id[:8]})"
