"""What is there: the warehouse's rows beside what Dagster remembers, and the runs that bring lost rows back."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.keys import partition_key
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration import stored as module
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.graph import DAILY_ASSETS, KEY_OF, STAGES
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.launch import RESTORE, Reason
from stockcast_assets.orchestration.planning.planner import Attempt, World
from stockcast_assets.orchestration.planning.reconcile import survey, tell_dagster
from stockcast_assets.orchestration.planning.restore import plan_lost
from stockcast_assets.orchestration.stored import look
from stockcast_assets.orchestration.tickers import TickerState
from stockcast_assets.settings import Settings
from stockcast_assets.tables import FORECAST_ACCURACY, PRICE_HISTORY, RAW_PRICES
from stockcast_assets_tests.dashboard.home import write

FIRST, LAST = date(2013, 1, 2), date(2013, 1, 31)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def remember(instance: dg.DagsterInstance, asset: str, key: str, rows: int | None) -> None:
    """An event as a run leaves it, or, without a number of rows, as a person reports it in the UI."""
    metadata = {} if rows is None else {"dagster/partition_row_count": rows}
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key, metadata=metadata))


def test_a_key_is_there_lost_or_untold(make_settings: Callable[..., Settings], instance: dg.DagsterInstance) -> None:
    settings = make_settings()
    bars = SampleSource().bars("IBM", FIRST, LAST)
    days = [f"{day:%Y-%m-%d}" for day in bars["date"]]
    for day in days[:-1]:
        remember(instance, RAW_PRICES.name, f"{day}|IBM", 1)
    remember(instance, RAW_PRICES.name, "2013-01-05|IBM", 0)
    remember(instance, RAW_PRICES.name, "2013-01-02|BY-HAND", None)
    remember(instance, RAW_PRICES.name, "no key at all", 7)
    remember(instance, FORECAST_ACCURACY.name, f"{days[0]}|IBM", 0)
    remember(instance, PRICE_HISTORY.name, "IBM", 20)
    write(settings.home, RAW_PRICES, bars[~bars["date"].isin(["2013-01-08", "2013-01-09"])])
    write(settings.home, PRICE_HISTORY, bars.iloc[:19])

    found = look(instance, warehouse_from(settings))
    assert found.lost[RAW_PRICES.name].keys() == {"2013-01-08|IBM", "2013-01-09|IBM"}
    assert found.lost_days(RAW_PRICES.name) == {"IBM": [date(2013, 1, 8), date(2013, 1, 9)]}
    assert found.lost[PRICE_HISTORY.name].keys() == {"IBM"}, "a row of twenty is gone"
    assert found.lost[FORECAST_ACCURACY.name] == {}, "its event says that it rightfully has no row"
    assert found.untold(RAW_PRICES.name) == {f"{days[-1]}|IBM"}
    there = found.there(RAW_PRICES.name)
    assert {"2013-01-05|IBM", "2013-01-02|BY-HAND", f"{days[-1]}|IBM"} <= there
    assert not there & found.lost[RAW_PRICES.name].keys()
    assert found.known(RAW_PRICES.name) == there | found.lost[RAW_PRICES.name].keys()
    # Of other tickers nothing is read.
    assert look(instance, warehouse_from(settings), [RAW_PRICES.name], ["AAPL"]).known(RAW_PRICES.name) == set()


def test_what_a_run_stores_and_records_during_a_look_is_never_lost(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the rows of a growing key, and then their record, come between the questions that a look asks."""
    settings, bars = make_settings(), SampleSource().bars("IBM", FIRST, LAST)
    questions = ["_counts", "get_materialized_partitions", "_events", "_counts again"]
    moments = ["before _counts", *(f"after {question}" for question in questions)]
    orders = [(rows, record) for n, rows in enumerate(moments) for record in {moments[n], moments[-1], "never"}]
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for n, (rows_come, record_comes) in enumerate(orders):
            before = len(bars) - 2 - n % 2
            write(settings.home, PRICE_HISTORY, bars.iloc[:before])
            remember(instance, PRICE_HISTORY.name, "IBM", before)
            asked: list[str] = []

            def now(moment: str, due: tuple[str, str] = (rows_come, record_comes)) -> None:
                if moment == due[0]:
                    write(settings.home, PRICE_HISTORY, bars)
                if moment == due[1]:
                    remember(instance, PRICE_HISTORY.name, "IBM", len(bars))

            def between(
                of: object, name: str, patch: pytest.MonkeyPatch, asked: list[str] = asked, now: Callable = now
            ) -> None:
                question = getattr(of, name)

                def asking(*arguments: object) -> object:
                    said = f"{name} again" if name in asked else name
                    asked.append(name)
                    now(f"before {said}")
                    answer = question(*arguments)
                    now(f"after {said}")
                    return answer

                patch.setattr(of, name, asking)

            with monkeypatch.context() as patch:
                between(module, "_counts", patch)
                between(module, "_events", patch)
                between(instance, "get_materialized_partitions", patch)
                found = look(instance, warehouse_from(settings), [PRICE_HISTORY.name])
            assert found.lost[PRICE_HISTORY.name] == {}, (rows_come, record_comes)
            assert found.there(PRICE_HISTORY.name) == {"IBM"}


def test_what_a_run_at_work_has_stored_is_not_told_for_it_unless_it_is_dead(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    """Between storing rows and recording them a run has rows of which Dagster knows nothing."""
    settings = make_settings()
    instance.add_dynamic_partitions("ticker", ["IBM", "MSFT"])
    write(settings.home, PRICE_HISTORY, SampleSource().bars("IBM", FIRST, LAST))
    run = dg.DagsterRun(
        job_name="backfill",
        run_id="11111111-1111-4111-8111-111111111111",
        tags={tags.PARTITION: "IBM"},
        asset_selection={dg.AssetKey(PRICE_HISTORY.name)},
        status=dg.DagsterRunStatus.STARTED,
    )
    warehouse = warehouse_from(settings)
    instance.add_run(run)
    assert survey(instance, warehouse).sentences() == []
    assert tell_dagster(instance, survey(instance, warehouse)) == 0
    # Whoever has the turn of the table knows that nobody writes it.
    in_turn = survey(instance, warehouse, in_turn=True)
    assert in_turn.written == ({PRICE_HISTORY.name}, {"IBM"})
    assert "Dagster does not know of rows in" in in_turn.sentences()[0]
    write(settings.home, PRICE_HISTORY, SampleSource().bars("MSFT", FIRST, LAST))
    assert survey(instance, warehouse).untold == {PRICE_HISTORY.name: ["MSFT"]}, "of others it is told"


def test_of_many_lost_keys_some_tell_of_all(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_ASKED", 5)
    monkeypatch.setattr(module, "_SAMPLE", 2)
    keys = {partition_key("IBM", day) for day in sessions("XNYS", FIRST, LAST)}
    for key in keys:
        remember(instance, RAW_PRICES.name, key, 1)
    assert look(instance, warehouse_from(make_settings()), [RAW_PRICES.name]).lost[RAW_PRICES.name].keys() == keys


def test_the_warehouse_has_another_version_once_its_rows_are_others(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    warehouse = warehouse_from(settings)
    seen = [warehouse.version]
    for end in (date(2013, 1, 10), LAST):
        write(settings.home, RAW_PRICES, SampleSource().bars("IBM", FIRST, end))
        seen.append(warehouse.version)
    assert warehouse.read(RAW_PRICES).shape[0] > 0
    assert warehouse.version == seen[-1], "reading changes nothing"
    (settings.home / "warehouse.duckdb").unlink()
    seen.append(warehouse.version)
    assert len(set(seen)) == 3
    assert seen[0] == seen[-1]


TICKERS = ("AAPL", "ETH-USD")
KEYS = [
    (asset, ticker, day)
    for ticker in TICKERS
    for stage in STAGES
    for asset in stage
    for day in (
        [None]
        if KEY_OF[asset] == "ticker"
        else [date(2024, 1, 1)]
        if KEY_OF[asset] == "ticker-month"
        else [day.date() for day in sessions("24/7" if ticker == "ETH-USD" else "XNYS", "2024-01-02", "2024-01-12")]
    )
]


def world_of(lost: dict[str, dict[str, str]], attempts: tuple[Attempt, ...] = ()) -> World:
    states = {ticker: TickerState(daily_from=date(2024, 1, 5)) for ticker in TICKERS}
    days = [day.date() for day in pd.date_range("2024-01-02", "2024-01-12")]
    done = {asset: {partition_key(t, d) if d else t for a, t, d in KEYS if a == asset} for asset, _, _ in KEYS}
    # What no session is of is done, too.
    for asset in DAILY_ASSETS:
        done[asset] |= {partition_key("AAPL", day) for day in days}
    now = pd.Timestamp("2024-01-13 01:00", tz="UTC")
    return World(now, TICKERS, states, date(2024, 1, 2), days, [date(2024, 1, 1)], done, lost, attempts)


@given(st.sets(st.sampled_from(KEYS), max_size=12), st.integers())
def test_exactly_the_lost_keys_come_back_each_after_what_it_is_made_of(
    gone: set[tuple[str, str, date | None]], seed: int
) -> None:
    left = {(asset, partition_key(ticker, day) if day else ticker): "run 1" for asset, ticker, day in gone}
    stage_of = {asset: number for number, stage in enumerate(STAGES) for asset in stage}
    made: list[tuple[str, str]] = []
    for _ in range(len(STAGES) + 1):
        lost: dict[str, dict[str, str]] = {}
        for (asset, key), run in random.Random(seed).sample(sorted(left.items()), len(left)):
            lost.setdefault(asset, {})[key] = run
        world = world_of(lost)
        plan = plan_lost(world)
        assert bool(plan.runs) == bool(left)
        with_losses = {key.rpartition("|")[2] for _, key in left}
        for other in (planner.plan_daily(world), planner.plan_training(world)):
            assert not other.runs
            assert other.waiting.keys() == with_losses
        for run in plan.runs:
            assert run.reason == Reason(RESTORE, "run 1")
            for asset in run.assets:
                for ticker in run.tickers:
                    monthly = KEY_OF[asset] == "ticker-month"
                    keys = (
                        [ticker]
                        if run.first is None
                        else [
                            partition_key(ticker, day)
                            for day in pd.date_range(run.first, run.last, freq="MS" if monthly else "D")
                            if monthly or (asset, ticker, day.date()) in KEYS
                        ]
                    )
                    for key in keys:
                        assert left.pop((asset, key), None), f"{asset} {key} was not lost"
                        assert not any(stage_of[a] < stage_of[asset] and k.endswith(ticker) for a, k in left)
                        made.append((asset, key))
    assert not left
    assert len(set(made)) == len(made)


def test_what_fails_to_come_back_is_given_up_with_a_remedy_and_lost_again_is_another_need() -> None:
    lost = {RAW_PRICES.name: {"2024-01-09|AAPL": "run 1"}}
    (need,) = plan_lost(world_of(lost)).runs
    failed = tuple(
        Attempt(str(n), frozenset(need.assets), need.tickers, need.first, need.last, at, at, False, reason=need.reason)
        for n, at in enumerate(pd.date_range("2024-01-13", periods=planner.ATTEMPTS, freq="1min", tz="UTC"))
    )
    plan = plan_lost(world_of(lost, failed))
    assert plan.runs == []
    assert "`stockcast reconcile`" in plan.given_up["AAPL"]
    restored = (*failed, replace(failed[-1], ok=True))
    again = plan_lost(world_of({RAW_PRICES.name: {"2024-01-09|AAPL": "run 2"}}, restored))
    assert [(run.first, run.reason.cause) for run in again.runs] == [(date(2024, 1, 9), "run 2")]
