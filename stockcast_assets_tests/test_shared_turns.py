"""Where machines share an instance, its PostgreSQL says whose turn it is and which runs live."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from stockcast_assets.dagster_private import shared_turns
from stockcast_assets.dagster_private.health import health_of
from stockcast_assets.dagster_private.shared_turns import SharedTurns, is_shared, run_lock
from stockcast_assets.dagster_private.turns import turn
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.planning.ranges import add_tickers, range_tags
from stockcast_assets.orchestration.slices import slices, slices_of_run

HOLDER = """
import sys, dagster as dg
from stockcast_assets.dagster_private.turns import turn
with dg.DagsterInstance.get() as instance, turn(instance, (), sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[dg.DagsterInstance]:
    """An instance on a PostgreSQL of its own."""
    home = tmp_path_factory.mktemp("shared")
    (home / "dagster.yaml").write_text(
        "storage:\n  custom:\n    module: stockcast_assets.deployment\n    class: PostgresStorage\n"
        "    config:\n      postgres_url:\n        env: DAGSTER_POSTGRES_URL\n"
        "telemetry:\n  enabled: false\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("DAGSTER_POSTGRES_URL", new_database())
        patch.setattr(shared_turns, "_GRACE_S", 3.0)
        with dg.DagsterInstance.get() as instance:
            yield instance


@contextmanager
def elsewhere(instance: dg.DagsterInstance, *names: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the turn of these names."""
    env = {**os.environ, "DAGSTER_HOME": str(instance.root_directory)}
    command = [sys.executable, "-c", HOLDER, *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class Waits:
    """Notes what is waited for, and ends the other process then."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.told = process, list[str]()

    def __call__(self, name: str) -> Any:
        self.told.append(name)
        self.process.send_signal(signal.SIGKILL)
        return nullcontext()


def test_a_turn_binds_machines_that_share_nothing_but_the_database(shared: dg.DagsterInstance) -> None:
    assert is_shared(shared)
    with elsewhere(shared, "the days of B") as other:
        # Slices that nobody has are not waited for.
        with turn(shared, ["raw_prices"], ["the days of A"], Waits(other)):
            assert other.poll() is None
        waits = Waits(other)
        with turn(shared, ["raw_prices"], ["the days of B", "the days of A"], waits):
            assert waits.told == ["the days of B"]
            # Whoever has it goes on.
            with turn(shared, ["raw_prices"], ["the days of A"]):
                pass
    assert not (Path(shared.root_directory) / "turns").exists()


@dg.job
def nothing() -> None: ...


def test_a_run_lives_as_long_as_the_process_that_executes_it_wherever_that_is(shared: dg.DagsterInstance) -> None:
    run = shared.create_run_for_job(nothing)
    with elsewhere(shared, run_lock(run.run_id)) as process:
        assert health_of(shared, run).status == WorkerStatus.RUNNING
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert health_of(shared, run).status == WorkerStatus.NOT_FOUND


def cut(instance: dg.DagsterInstance) -> None:
    """End all other connections of the database, as a restart does."""
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_turn_is_taken_again_when_the_database_is_back(shared: dg.DagsterInstance) -> None:
    run = shared.create_run_for_job(nothing)
    with elsewhere(shared, run_lock(run.run_id)) as process:
        cut(shared)
        time.sleep(shared_turns._BEAT_S + 1)
        assert health_of(shared, run).status == WorkerStatus.RUNNING
        assert process.poll() is None


def test_who_lost_its_turn_to_another_ends(shared: dg.DagsterInstance) -> None:
    own = SharedTurns(shared)
    with elsewhere(shared, "the models of A") as process:
        cut(shared)
        deadline = time.monotonic() + 10
        # Whoever is first: either takes it before the other notices, or is refused.
        while not own._take("the models of A"):
            cut(shared)
            assert time.monotonic() < deadline
        assert process.wait(10) == shared_turns._TAKEN_AWAY
        own._give("the models of A")


def test_the_slices_of_a_run_are_the_tickers_of_its_range(shared: dg.DagsterInstance, make_settings) -> None:
    add_tickers(shared, ["A", "B", "C"])
    defs = build_definitions(make_settings())
    tags = range_tags(("A", "B"), date(2013, 1, 2), date(2013, 1, 2))
    run = shared.create_run_for_job(defs.resolve_job_def("daily_forecast"), tags=tags)
    assert run.run_op_concurrency is not None
    pools = run.run_op_concurrency.all_pools
    assert slices_of_run(shared, run, pools) == ["the days of A", "the days of B"]
    # What a command locks for the same is the same.
    assert slices(pools, ["A", "B"]) == ["the days of A", "the days of B"]
    of_one = shared.create_run_for_job(
        defs.resolve_job_def("monthly_training"), tags={"dagster/partition": "2013-01-01|C"}
    )
    assert slices_of_run(shared, of_one, ["trained_model", "market_state"]) == ["the models of C"]
