"""Real Dagster runs in processes of their own, on one instance: killed at every step, and many at a time.

A run that dies leaves the complete old or the complete new slice; a key counts as materialised only if its rows are
there; the next run makes everything right.
"""

import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from stockcast_assets.warehouse import BigQueryWarehouseIOManager, DuckDBWarehouseIOManager, Warehouse
from stockcast_assets_tests.warehouse.conftest import bigquery_store, duckdb_store
from stockcast_assets_tests.warehouse.fault_proxy import LOSE_ANSWER, STALL, FaultProxy, Request, fault_proxy
from stockcast_assets_tests.warehouse.helpers import PROCESSES, closes, of_keys, run, write
from stockcast_assets_tests.warehouse.test_io_manager import every_key

TICKERS = [f"T{number}" for number in range(8)]
DAYS_OF_RUN = [f"2024-01-{day:02}" for day in (1, 2)]
SLICE = (f"{DAYS_OF_RUN[0]}|{TICKERS[0]}", f"{DAYS_OF_RUN[-1]}|{TICKERS[1]}")
KEYS = [f"{day}|{ticker}" for ticker in TICKERS[:2] for day in DAYS_OF_RUN]
OLD, NEW = 1.0, 2.0


Stop = Callable[[], None]

pytestmark = pytest.mark.fault


def open_instance(folder: Path) -> dg.DagsterInstance:
    """The instance whose event log and runs lie in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").touch()
    return dg.DagsterInstance.from_config(str(folder))


def stop_at_statement(statement: str, after: bool, stop: Stop) -> None:
    """Make this process stop before or after the DuckDB statement that begins so."""
    connect = duckdb.connect

    class Stopping:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self._connection = connection

        def execute(self, sql: str, *args: Any) -> Any:
            if sql.startswith(statement) and not after:
                stop()
            done = self._connection.execute(sql, *args)
            if sql.startswith(statement) and after:
                stop()
            return done

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

    duckdb.connect = lambda *args, **kwargs: Stopping(connect(*args, **kwargs))  # type: ignore[assignment]


def stop_at_event(instance: dg.DagsterInstance, after: bool, stop: Stop) -> None:
    """Make this process stop before or after it records the materialisation of the last key."""
    record, left = instance.handle_new_event, [len(KEYS)]

    def handle(event: Any, **options: Any) -> None:
        kind = event.dagster_event.event_type_value if event.is_dagster_event else None
        left[0] -= kind == "ASSET_MATERIALIZATION"
        last = kind == "ASSET_MATERIALIZATION" and left[0] == 0
        if last and not after:
            stop()
        record(event, **options)
        if last and after:
            stop()

    instance.handle_new_event = handle  # type: ignore[method-assign]


def work(
    folder: Path, place: str, address: str | None, close: float, between: tuple[str, str], moment: str, told: Connection
) -> None:
    """One Dagster run in this process; stops for good at `moment`, else tells whether it was green."""
    if address is None:
        io_manager: Any = DuckDBWarehouseIOManager(database=place, schema="stockcast")
    else:
        os.environ["BIGQUERY_EMULATOR_HOST"] = address
        io_manager = BigQueryWarehouseIOManager(project="test-project", dataset=place, deadline=60)
    instance = open_instance(folder)

    def stop() -> None:
        told.send("stopped")
        time.sleep(600)

    when, _, what = moment.partition(" ")
    if what == "the event":
        stop_at_event(instance, when == "after", stop)
    elif what.isupper():
        stop_at_statement(what, when == "after", stop)
    told.send(run(every_key(close), io_manager, instance, between=between).success)


class Bench:
    """A warehouse that holds OLD for the keys of SLICE, and an instance, for runs in processes of their own."""

    def __init__(self, folder: Path, warehouse: Warehouse, proxy: FaultProxy | None) -> None:
        self.folder, self.warehouse, self.proxy = folder, warehouse, proxy
        self.instance = open_instance(folder)
        self.instance.add_dynamic_partitions("ticker", TICKERS)
        write(warehouse, of_keys(KEYS, OLD))

    def start(self, close: float, between: tuple[str, str] = SLICE, moment: str = "") -> tuple[Any, Connection]:
        listener, told = PROCESSES.Pipe(duplex=False)
        address = self.proxy and self.proxy.address
        place = self.warehouse.schema if self.proxy else str(self.warehouse.place)
        arguments = (self.folder, place, address, close, between, moment, told)
        process = PROCESSES.Process(target=work, args=arguments, daemon=True)
        process.start()
        told.close()
        return process, listener

    def values(self) -> set[float]:
        """The closes of the keys of SLICE, each of which must be there once."""
        stored = closes(self.warehouse)
        assert len(stored) == len(KEYS)
        return set(stored.values())

    def recorded(self) -> set[str]:
        return set(self.instance.get_materialized_partitions(dg.AssetKey("prices")))


@pytest.fixture
def on_duckdb(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "dagster", duckdb_store(tmp_path).warehouse, None)


@pytest.fixture
def on_bigquery(bigquery_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with fault_proxy(bigquery_emulator) as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.address)
        yield Bench(tmp_path / "dagster", bigquery_store(deadline=60).warehouse, proxy)


def check_dead_run_then_repeat(bench: Bench, value: float) -> None:
    """The run that was killed is not green, and what it recorded is stored; the next run is green and right."""
    (dead,) = bench.instance.get_runs()
    assert dead.status != dg.DagsterRunStatus.SUCCESS
    assert bench.values() == {value}
    assert not bench.recorded() or value == NEW
    process, told = bench.start(NEW)
    assert told.recv() is True
    process.join()
    assert bench.values() == {NEW}
    assert bench.recorded() == set(KEYS)


@pytest.mark.parametrize(
    ("moment", "value"),
    [
        ("before BEGIN", OLD),
        ("before DELETE", OLD),
        ("after DELETE", OLD),
        ("after INSERT", OLD),
        ("before COMMIT", OLD),
        ("after COMMIT", NEW),
        ("before the event", NEW),
        ("after the event", NEW),
    ],
)
def test_a_killed_run_on_duckdb_is_whole_and_not_green(on_duckdb: Bench, moment: str, value: float) -> None:
    process, told = on_duckdb.start(NEW, moment=moment)
    assert told.recv() == "stopped"
    process.kill()
    process.join()
    check_dead_run_then_repeat(on_duckdb, value)


@pytest.mark.parametrize(
    ("moment", "value"),
    [
        ("before the load", OLD),
        ("after the load", OLD),
        ("before the merge", OLD),
        ("after the merge", NEW),
        ("before the event", NEW),
        ("after the event", NEW),
    ],
)
def test_a_killed_run_on_bigquery_is_whole_and_not_green(on_bigquery: Bench, moment: str, value: float) -> None:
    proxy = on_bigquery.proxy
    assert proxy is not None
    listener, reached = PROCESSES.Pipe(duplex=False)

    def stall(request: Request) -> str:
        reached.send("stopped")
        return STALL

    def decide(request: Request) -> Any:
        if not (request.is_load if "load" in moment else request.is_merge):
            return None
        if moment.startswith("before"):
            return stall(request)
        # The server does its work; the client is stopped at whatever it asks next.
        proxy.fault = stall
        return LOSE_ANSWER

    if "event" not in moment:
        proxy.fault = decide
    process, told = on_bigquery.start(NEW, moment=moment)
    assert (told if "event" in moment else listener).recv() == "stopped"
    process.kill()
    process.join()
    proxy.fault = lambda request: None
    check_dead_run_then_repeat(on_bigquery, value)


@pytest.fixture(params=["on_duckdb", "on_bigquery"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("runs", [2, 8])
def test_runs_at_once_on_one_slice_leave_the_value_of_one_of_them(bench: Bench, runs: int) -> None:
    started = [bench.start(NEW + number) for number in range(runs)]
    assert [told.recv() for _, told in started] == [True] * runs
    (value,) = bench.values()
    assert value in {NEW + number for number in range(runs)}
    assert bench.recorded() == set(KEYS)


def test_runs_at_once_on_other_tickers_of_one_month_lose_nothing(bench: Bench) -> None:
    started = [
        bench.start(10.0 + number, (f"{DAYS_OF_RUN[0]}|{ticker}", f"{DAYS_OF_RUN[-1]}|{ticker}"))
        for number, ticker in enumerate(TICKERS)
    ]
    assert [told.recv() for _, told in started] == [True] * len(TICKERS)
    expected = {(ticker, day): 10.0 + number for number, ticker in enumerate(TICKERS) for day in DAYS_OF_RUN}
    assert closes(bench.warehouse) == expected
