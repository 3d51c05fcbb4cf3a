"""What is due, as a plain function of what is there, what was tried, and the clock."""

import random
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stockcast_assets.keys import month_of
from stockcast_assets.market.calendars import calendar_for, sessions
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.launch import (
    DAILY,
    MODEL,
    REPAIR,
    RETRAINING,
    TRAINING,
    UNIVERSE,
    UPLOAD,
    Launch,
    Reason,
)
from stockcast_assets.orchestration.planning.planner import Attempt, Plan, World
from stockcast_assets.orchestration.planning.restore import plan_lost
from stockcast_assets.orchestration.tickers import TickerState

START = date(2024, 1, 2)
CODES = ("XNYS", "XLON", "24/7")


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def keys_until(last: str) -> list[date]:
    return [day.date() for day in pd.date_range(START, last)]


def done_until(tickers: Collection[str], last: str, months: Collection[str] = ("2024-01-01",)) -> dict[str, set[str]]:
    """Everything of these tickers, up to a day."""
    daily = {f"{day}|{ticker}" for day in keys_until(last) for ticker in tickers}
    models = {f"{month}|{ticker}" for month in months for ticker in tickers}
    return {"price_history": set(tickers), "trained_model": models} | {name: set(daily) for name in DAILY_ASSETS}


def world(now: str, states: dict[str, TickerState], done: dict[str, set[str]], **more: object) -> World:
    moment = at(now)
    keys = [day.date() for day in pd.date_range(START, moment.date(), inclusive="left")]
    begun = (moment - planner.TRAINED_AFTER).date()
    months = [month.date() for month in pd.date_range("2024-01-01", begun, freq="MS")]
    days = planner.due_days(keys, CODES, moment)
    return World(moment, list(states), states, START, days, months, done, **more)  # type: ignore[arg-type]


def running(last: str) -> TickerState:
    return TickerState(daily_from=date.fromisoformat(last))


def asked(plan: Plan) -> list[tuple[str, str, str | None]]:
    return [
        (run.reason.kind, "+".join(run.tickers), f"{run.first}..{run.last}" if run.first else None) for run in plan.runs
    ]


def failed(run: Launch, when: str, late: str = "", run_id: str = "") -> Attempt:
    tags = frozenset(late.split(",")) if late else frozenset()
    moment, keys = at(when), (frozenset(run.assets), run.tickers, run.first, run.last)
    return Attempt(run_id or when, *keys, moment, moment, False, tags, run.reason)


def moments(seen: World, plan_of: Callable[[World], Plan], until: str) -> Iterator[tuple[pd.Timestamp, Plan]]:
    """Every moment at which a plan has runs, with it: from one to the next as the plans' `wake` says.

    The caller adds what became of the runs to `seen.attempts`. Just before each wake nothing is due.
    """
    now = seen.now
    while now < at(until):
        plan = plan_of(replace(seen, now=now))
        if plan.runs:
            yield now, plan
            continue
        if plan.wake is None:
            return
        assert plan.wake > now
        assert plan_of(replace(seen, now=plan.wake - pd.Timedelta(seconds=1))).runs == []
        now = plan.wake


def materialise(done: dict[str, set[str]], run: Launch, order: list[str]) -> list[str]:
    """The keys a run adds, as Dagster would select them: the product of the ranges."""
    tickers = order[order.index(run.tickers[0]) : order.index(run.tickers[-1]) + 1]
    if run.first is None:
        keys = list(tickers)
    elif run.reason in (MODEL, TRAINING):
        keys = [f"{run.first}|{ticker}" for ticker in tickers]
    else:
        keys = [f"{day.date()}|{ticker}" for day in pd.date_range(run.first, run.last) for ticker in tickers]
    for asset in run.assets:
        done.setdefault(asset, set()).update(keys)
    return keys


def test_a_day_is_due_when_its_last_market_has_closed_and_settled() -> None:
    day = date(2024, 1, 10)
    assert planner.due_at(day, ("XNYS", "24/7")) == at("2024-01-11 00:30")
    assert planner.due_days([day], CODES, at("2024-01-11 00:29")) == []
    assert planner.due_days([day], CODES, at("2024-01-11 00:30")) == [day]
    # Half days and the other side of daylight saving time close earlier, never later than the day.
    for day in (date(2023, 11, 24), date(2024, 3, 11), date(2024, 11, 4)):
        assert planner.due_at(day, (*CODES, "XKRX")) == pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1, minutes=30)


def test_a_new_ticker_is_brought_up_stage_by_stage_and_each_stage_is_asked_for_once() -> None:
    done: dict[str, set[str]] = {}
    states = {"AAPL": TickerState(), "ETH-USD": TickerState()}
    told = []
    for _ in range(4):
        plan = planner.plan_bring_up(world("2024-02-05 01:00", states, done))
        told += asked(plan)
        under_way = tuple(replace(failed(run, "2024-02-05"), ended=None) for run in plan.runs)
        assert planner.plan_bring_up(world("2024-02-05 01:00", states, done, attempts=under_way)).runs == []
        for run in plan.runs:
            materialise(done, run, list(states))
    # Monday the 5th: New York's newest session is Friday's, Ethereum's is Sunday's.
    assert told == [
        ("history", "AAPL+ETH-USD", None),
        ("bars", "AAPL", "2024-01-02..2024-02-02"),
        ("bars", "ETH-USD", "2024-01-02..2024-02-04"),
        ("model", "AAPL+ETH-USD", "2024-02-01..2024-02-01"),
        ("newest", "AAPL", "2024-02-02..2024-02-02"),
        ("newest", "ETH-USD", "2024-02-04..2024-02-04"),
    ]
    plan = planner.plan_bring_up(world("2024-02-05 01:00", states, done))
    assert (plan.runs, plan.brought_up) == ([], {"AAPL": date(2024, 2, 2), "ETH-USD": date(2024, 2, 4)})


def test_an_uploaded_ticker_waits_for_its_file_and_ends_where_it_ends() -> None:
    states = {"NEW": TickerState()}
    plan = planner.plan_bring_up(world("2024-02-05 01:00", states, {}, uploaded={"NEW": []}))
    assert plan.runs == []
    assert "CSV" in plan.waiting["NEW"]
    days = [day.date() for day in sessions("XNYS", "2024-01-08", "2024-01-12")]
    done = {"price_history": {"NEW"}, "raw_prices": {f"{day}|NEW" for day in days}, "trained_model": {"2024-01-01|NEW"}}
    plan = planner.plan_bring_up(world("2024-02-05 01:00", states, done, uploaded={"NEW": days}))
    assert asked(plan) == [("newest", "NEW", "2024-01-12..2024-01-12")]


def test_paused_and_delisted_tickers_get_no_run() -> None:
    states = {"A": TickerState("paused"), "B": TickerState("delisted", "acquired"), "C": running("2024-01-09")}
    seen = world("2024-01-11 00:30", states, done_until("ABC", "2024-01-09"))
    assert asked(planner.plan_daily(seen)) == [("daily", "C", "2024-01-10..2024-01-10")]
    assert planner.plan_bring_up(seen).runs == planner.plan_training(seen).runs == []


def test_one_run_for_all_tickers_and_never_a_bounding_rectangle() -> None:
    states = {name: running("2024-01-09") for name in "ABCDE"} | {"C": TickerState("paused")}
    states = {name: states[name] for name in "ABCDE"}
    plan = planner.plan_daily(world("2024-01-11 00:30", states, done_until("ABCDE", "2024-01-09")))
    assert [run[1] for run in asked(plan)] == ["A+B", "D+E"]


def test_missed_days_are_caught_up_month_by_month_with_the_model_between() -> None:
    states, order = {"A": running("2024-01-29"), "B": running("2024-01-29")}, ["A", "B"]
    done = done_until("AB", "2024-01-29")
    told = []
    for _ in range(3):
        seen = world("2024-02-05 09:00", states, done)
        runs = planner.plan_training(seen).runs + planner.plan_daily(seen).runs
        told += [(run.reason.kind, f"{run.first}..{run.last}") for run in runs]
        for run in runs:
            materialise(done, run, order)
    assert told == [
        ("daily", "2024-01-30..2024-01-31"),
        ("training", "2024-02-01..2024-02-01"),
        ("daily", "2024-02-01..2024-02-04"),
    ]


def test_a_failed_training_does_not_hold_the_days_up() -> None:
    states, done = {"A": running("2024-01-31")}, done_until("A", "2024-01-31")
    seen = world("2024-02-02 02:30", states, done)
    training = planner.plan_training(seen).runs[0]
    assert planner.plan_daily(seen).runs == []
    seen = replace(seen, attempts=[failed(training, "2024-02-02 02:30")])
    assert asked(planner.plan_daily(seen)) == [("daily", "A", "2024-02-01..2024-02-01")]


MARCH = date(2024, 3, 1)


def networks(when: str, ended: str | None, ok: bool, run_id: str) -> Attempt:
    """A run of March's shared networks."""
    keys = frozenset({"universe_model", "market_days"}), (), MARCH, MARCH
    return Attempt(run_id, *keys, at(when), at(ended) if ended else None, ok, reason=UNIVERSE)


def test_a_months_networks_are_trained_once_before_its_tickers_models() -> None:
    states = {"A": running("2024-02-01"), "B": running("2024-02-01")}
    done = done_until(states, "2024-02-29", ["2024-02-01"])
    seen = world("2024-03-01 02:30", states, done, networks={date(2024, 2, 1)})
    plan = planner.plan_training(seen)
    assert asked(plan) == [("universe", "", f"{MARCH}..{MARCH}")]
    assert "waits for the networks of all tickers" in plan.waiting["A"]
    next_day = world("2024-03-02 01:00", states, done, networks={date(2024, 2, 1)})
    assert "wait for the month's model" in planner.plan_daily(next_day).waiting["B"]
    # Asked again, the run is the same; while it is under way nothing else is.
    assert [run.run_key for run in planner.plan_training(seen).runs] == [run.run_key for run in plan.runs]
    under_way = replace(seen, attempts=[networks("2024-03-01 02:30", None, False, "one")])
    assert (planner.plan_training(under_way).runs, planner.plan_training(under_way).under_way) == ([], True)
    trained = replace(seen, networks={date(2024, 2, 1), MARCH})
    assert asked(planner.plan_training(trained)) == [("training", "A+B", f"{MARCH}..{MARCH}")]
    # Who has networks of their own, or is alone, waits for none.
    assert asked(planner.plan_training(replace(seen, networks=None))) == asked(planner.plan_training(trained))
    alone = world(
        "2024-03-01 02:30", {"A": states["A"]}, done_until(["A"], "2024-02-29", ["2024-02-01"]), networks=set()
    )
    assert asked(planner.plan_training(alone)) == [("training", "A", f"{MARCH}..{MARCH}")]


def test_networks_that_fail_hold_nobody_up() -> None:
    states = {"A": running("2024-02-01"), "B": running("2024-02-01")}
    seen = world("2024-03-01 02:30", states, done_until(states, "2024-02-29", ["2024-02-01"]), networks=set())
    once = [networks("2024-03-01 02:30", "2024-03-01 02:31", False, "one")]
    waits = planner.plan_training(replace(seen, now=at("2024-03-01 02:31"), attempts=once))
    assert (waits.runs, waits.wake) == ([], at("2024-03-01 02:32"))
    again = planner.plan_training(replace(seen, now=at("2024-03-01 02:32"), attempts=once))
    assert asked(again) == [("universe", "", f"{MARCH}..{MARCH}")]
    assert again.runs[0].run_key != planner.plan_training(seen).runs[0].run_key
    twice = [*once, networks("2024-03-01 02:32", "2024-03-01 02:33", False, "two")]
    assert asked(planner.plan_training(replace(seen, now=at("2024-03-01 02:33"), attempts=twice))) == [
        ("training", "A+B", f"{MARCH}..{MARCH}")
    ]


def test_networks_wait_for_bars_that_were_not_tried_in_vain() -> None:
    states = {"A": running("2024-02-01"), "B": running("2024-02-01")}
    done = done_until(["A"], "2024-02-29", ["2024-02-01"])
    for asset, keys in done_until(["B"], "2024-02-28", ["2024-02-01"]).items():
        done[asset] |= keys
    seen = world("2024-03-01 02:30", states, done, networks=set())
    plan = planner.plan_training(seen)
    assert (plan.runs, plan.under_way) == ([], True)
    day = planner.plan_daily(seen).runs[0]
    assert (day.tickers, day.first) == (("B",), date(2024, 2, 29))
    late = replace(seen, attempts=[failed(day, "2024-03-01 02:20", late="B")])
    assert asked(planner.plan_training(late)) == [("universe", "", f"{MARCH}..{MARCH}")]


def test_new_tickers_come_in_together_before_their_networks() -> None:
    states = {"A": TickerState(), "B": TickerState()}
    with_bars = done_until(["A"], "2024-03-04")
    done = with_bars | {"price_history": {"A", "B"}}
    for asset in ("trained_model", *(name for name in DAILY_ASSETS if name != "raw_prices")):
        done[asset] = set()
    seen = world("2024-03-05 03:00", states, done, networks=set())
    plan = planner.plan_bring_up(seen)
    assert {run.reason.kind for run in plan.runs} == {"bars"}
    bars = plan.runs[0]
    assert "waits for the networks" in plan.waiting["A"]
    failing = replace(seen, attempts=[failed(bars, "2024-03-05 02:59")])
    assert [run.reason.kind for run in planner.plan_bring_up(failing).runs] == ["universe", "bars"]
    done["raw_prices"] |= done_until(["B"], "2024-03-04")["raw_prices"]
    assert asked(planner.plan_bring_up(seen)) == [("universe", "", f"{MARCH}..{MARCH}")]
    trained = planner.plan_bring_up(replace(seen, networks={MARCH}))
    assert asked(trained) == [("model", "A+B", f"{MARCH}..{MARCH}")]


def test_the_punctual_are_run_at_once_and_the_late_with_growing_waits() -> None:
    names = ["A", "B", "C"]
    states, done = {name: running("2024-01-09") for name in names}, done_until(names, "2024-01-09")
    seen = world("2024-01-11 00:31", states, done)
    first = planner.plan_daily(seen).runs[0]
    seen = replace(seen, attempts=[failed(first, "2024-01-11 00:31", late="B")])
    plan = planner.plan_daily(seen)
    assert [run[1] for run in asked(plan)] == ["A", "C"]
    assert plan.wake == at("2024-01-11 00:46")
    assert plan.in_words() == "B: daily of 2024-01-10 is late at the source; again at 2024-01-11 00:46 UTC."
    for run in plan.runs:
        materialise(done, run, names)
    tries, attempts = [], list(seen.attempts)
    for now, later in moments(replace(seen, attempts=attempts), planner.plan_daily, "2024-01-23"):
        assert asked(later) == [("daily", "B", "2024-01-10..2024-01-10")]
        tries.append(f"{now:%d %H:%M}")
        attempts.append(failed(later.runs[0], str(now.tz_localize(None)), late="B"))
    plan = planner.plan_daily(replace(seen, now=now, attempts=attempts))
    assert tries[:5] == ["11 00:46", "11 01:46", "11 05:46", "12 05:46", "13 05:46"]
    assert len(tries) == 12
    assert "stockcast tickers resume B" in plan.given_up["B"]
    resumed = {**states, "B": replace(states["B"], since="2024-01-22T00:00:00+00:00")}
    assert [run[1] for run in asked(planner.plan_daily(replace(seen, now=now, attempts=attempts, states=resumed)))] == [
        "B"
    ]


def test_downtime_is_no_failure() -> None:
    states, done = {"B": running("2024-01-09")}, done_until("B", "2024-01-09")
    seen = world("2024-01-11 00:31", states, done)
    run = planner.plan_daily(seen).runs[0]
    attempts = [failed(run, moment, late="B") for moment in ("2024-01-11 00:31", "2024-01-11 00:46")]
    back = planner.plan_daily(replace(seen, now=at("2024-02-05 09:00"), attempts=attempts))
    assert not back.given_up
    assert asked(back) == [("daily", "B", "2024-01-10..2024-01-10")]


def test_a_killed_run_is_repeated_within_minutes() -> None:
    states, done = {name: running("2024-01-09") for name in "AB"}, done_until("AB", "2024-01-09")
    seen = world("2024-01-11 00:31", states, done)
    first = planner.plan_daily(seen).runs[0]
    killed = [failed(first, "2024-01-11 00:31")]
    assert planner.plan_daily(replace(seen, attempts=killed)).runs == []
    plan = planner.plan_daily(replace(seen, now=at("2024-01-11 00:32"), attempts=killed))
    assert asked(plan) == [("daily", "A+B", "2024-01-10..2024-01-10")]
    assert plan.runs[0].run_key != first.run_key


@pytest.mark.parametrize("bad", range(8))
def test_one_bad_ticker_is_found_by_halving_and_the_others_go_on(bad: int) -> None:
    names = [f"T{number}" for number in range(8)]
    states, done = {name: running("2024-01-09") for name in names}, done_until(names, "2024-01-09")
    attempts: list[Attempt] = []
    runs = 0
    seen = world("2024-01-11 00:31", states, done, attempts=attempts)
    for now, plan in moments(seen, planner.plan_daily, "2024-01-11 02:00"):
        for run in plan.runs:
            runs += 1
            if names[bad] in run.tickers:
                attempts.append(failed(run, str(now.tz_localize(None)), run_id=f"run {runs}"))
            else:
                materialise(done, run, names)
    lacking = [name for name in names if f"2024-01-10|{name}" not in done["forecasts"]]
    assert lacking == [names[bad]]
    assert runs <= 12


def test_a_shard_that_fails_blocks_no_other_and_many_of_them_are_one_run_each() -> None:
    names = [f"T{number}" for number in range(250)]
    states, done = {name: running("2024-01-09") for name in names}, done_until(names, "2024-01-09")
    seen = replace(world("2024-01-11 00:31", states, done), tickers_per_run=100)
    plan = planner.plan_daily(seen)
    assert [len(run.tickers) for run in plan.runs] == [83, 83, 84]
    assert len({run.run_key for run in plan.runs}) == 3
    first, second, third = plan.runs
    materialise(done, third, names)
    under_way = replace(failed(second, "2024-01-11 00:31"), ended=None, run_id="2")
    attempts = [failed(first, "2024-01-11 00:31"), under_way]
    again = planner.plan_daily(replace(seen, now=at("2024-01-11 00:33"), attempts=attempts))
    # The others went on, so its halves are looked at.
    assert [len(run.tickers) for run in again.runs] == [83]
    assert again.runs[0].tickers == first.tickers
    attempts.append(failed(again.runs[0], "2024-01-11 00:33", run_id="3"))
    halves = planner.plan_daily(replace(seen, now=at("2024-01-11 00:49"), attempts=attempts))
    assert [len(run.tickers) for run in halves.runs] == [42, 41]


def test_a_failing_stage_is_tried_three_times_then_reported() -> None:
    states = {"A": TickerState()}
    attempts: list[Attempt] = []
    seen = world("2024-01-11 00:31", states, {}, attempts=attempts)
    for now, plan in moments(seen, planner.plan_bring_up, "2024-01-13"):
        attempts += [failed(run, str(now.tz_localize(None))) for run in plan.runs]
    plan = planner.plan_bring_up(seen)
    assert len(attempts) == planner.ATTEMPTS
    assert plan.given_up["A"].startswith("A: history failed 3 times and is given up")


TICKERS = ("AAPL", "VOD.L", "ETH-USD", "MSFT")


def needs_of(ticker: str) -> list[Launch]:
    """A repair, an upload of two stretches, and a training within the month."""
    january = date(2024, 1, 1)
    upload = Reason(UPLOAD, f"{ticker}.csv 1", (("source", "csv"),))
    return [
        Launch(("raw_prices",), (ticker,), date(2024, 1, 9), date(2024, 1, 11), Reason(REPAIR, "7")),
        Launch(("raw_prices",), (ticker,), date(2024, 1, 3), date(2024, 1, 3), upload),
        Launch(("raw_prices",), (ticker,), date(2024, 1, 16), date(2024, 1, 18), upload),
        Launch(("trained_model",), (ticker,), january, january, Reason(RETRAINING, f"2024-01-22: {ticker} drifts")),
    ]


@settings(max_examples=6, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32), shard=st.sampled_from((1, 2, 3, 100)))
def test_whatever_is_late_or_dies_every_expected_key_is_there_exactly_once_in_the_end(seed: int, shard: int) -> None:
    """Ticks at random moments of six weeks over a month's end, runs that fail at random, tickers that pause."""
    rng, order = random.Random(seed), list(TICKERS)
    states: dict[str, TickerState] = dict.fromkeys(order, TickerState())
    done: dict[str, set[str]] = {}
    attempts: list[Attempt] = []
    wrote: list[tuple[str, str]] = []
    needs = [need for ticker in order for need in needs_of(ticker) if rng.random() < 0.7]
    left, met = list(needs), []
    end, fails_until = at("2024-03-08 12:00"), at("2024-02-20")
    moments = [at("2024-01-20 00:31")]
    while moments[-1] < end:
        moments.append(moments[-1] + pd.Timedelta(minutes=rng.choice((7, 60, 360, 1440))))
    for now in [*moments, *[moments[-1]] * 4]:
        here = world(str(now.tz_localize(None)), states, done)
        seen = replace(here, attempts=list(attempts), tickers_per_run=shard)
        bring_up = planner.plan_bring_up(seen)
        for ticker, day in bring_up.brought_up.items():
            states[ticker] = replace(states[ticker], daily_from=day)
        others = planner.plan_needs(seen, left)
        met += [need for need in left if planner.is_met(seen, need)]
        left = others.left
        for run in bring_up.runs + planner.plan_training(seen).runs + planner.plan_daily(seen).runs + others.runs:
            # Failures stop early enough for the longest wait to pass, and are too few to be given up.
            fate = rng.choice(("ok",) * 5 + ("late", "killed")) if now < fails_until else "ok"
            if run.reason != DAILY and sum(not attempt.ok for attempt in attempts) >= 2:
                fate = "ok"
            assert len(run.tickers) <= shard
            late = rng.choice(run.tickers) if fate == "late" and run.reason == DAILY else ""
            if run.reason.cause:
                asked_for = [need for need in needs if need.reason == run.reason and need.assets == run.assets]
                assert {(need.first, need.last) for need in asked_for} >= {(run.first, run.last)}
                assert set(run.tickers) <= {need.tickers[0] for need in asked_for}
            elif fate == "ok":
                wrote += [(asset, key) for key in materialise(done, run, order) for asset in run.assets]
            ended = failed(run, str(now.tz_localize(None)), late, run_id=str(len(attempts)))
            attempts.append(replace(ended, ok=fate == "ok"))
    last = seen.days[-1]
    for ticker in order:
        start = states[ticker].daily_from
        assert start is not None
        expected = {f"{day.date()}|{ticker}" for day in pd.date_range(start, last)}
        own = {name: {key for key in done[name] if key.endswith(f"|{ticker}")} for name in DAILY_ASSETS}
        assert own["forecasts"] == own["drift_report"] == expected
        bars = {f"{day.date()}|{ticker}" for day in sessions(calendar_for(ticker), START, start)}
        assert bars <= own["raw_prices"]
        months = {f"{month.date()}|{ticker}" for month in pd.date_range(month_of(start), last, freq="MS")}
        assert {key for key in done["trained_model"] if key.endswith(f"|{ticker}")} == months
    assert len(wrote) == len(set(wrote))
    # Whatever others needed was done once, each by itself, and nothing of it is left.
    assert left == []
    assert sorted(met, key=str) == sorted(needs, key=str)
    done_once = [
        (attempt.reason.cause, ticker, attempt.assets, attempt.first)
        for attempt in attempts
        if attempt.reason.cause and attempt.ok
        for ticker in attempt.tickers
    ]
    assert len(done_once) == len(set(done_once)) == len(needs)


def test_planning_grows_no_faster_than_the_tickers() -> None:
    def seconds(tickers: int) -> float:
        names = [f"T{number}" for number in range(tickers)]
        states = dict.fromkeys(names, running("2024-01-05"))
        months = [f"{month:%Y-%m-%d}" for month in pd.date_range("2024-01-01", "2024-12-01", freq="MS")]
        seen = world("2024-12-31 02:31", states, done_until(names, "2024-12-30", months))
        taken = []
        for _ in range(3):
            started = time.process_time()
            assert planner.plan_daily(seen).runs == []
            taken.append(time.process_time() - started)
        return min(taken)

    assert seconds(200) < 20 * seconds(20)


def test_a_ticker_of_which_nobody_knows_where_it_trades_is_told_and_stops_no_other() -> None:
    states = {"NEW.QQ": TickerState(), "OLD.QQ": running("2024-01-09"), "A": running("2024-01-09"), "B": TickerState()}
    done = {"trained_model": {f"2024-01-01|{ticker}" for ticker in ("OLD.QQ", "A")}}
    seen = world("2024-02-02 03:00", states, done)
    new, old = planner.plan_bring_up(seen), planner.plan_daily(seen)
    for plan, launched, told in ((new, {("B",)}, {"NEW.QQ"}), (old, {("A",)}, {"OLD.QQ"})):
        assert {launch.tickers for launch in plan.runs} == launched
        assert set(plan.given_up) == told
        assert "calendars.toml" in plan.in_words()
        assert plan.wake is None
    assert set(planner.plan_training(seen).given_up) == {"OLD.QQ"}
    # Nor are its lost rows asked for in vain.
    lost = {"raw_prices": {"2024-01-09|OLD.QQ": "run 1", "2024-01-09|A": "run 1"}}
    back = plan_lost(replace(seen, lost=lost))
    assert ({launch.tickers for launch in back.runs}, set(back.given_up)) == ({("A",)}, {"OLD.QQ"})
    waiting = planner.plan_daily(replace(seen, lost=lost))
    assert (waiting.runs, set(waiting.waiting), set(waiting.given_up)) == ([], {"A"}, {"OLD.QQ"})
