"""Random histories in which writers die: a writer of its own process, killed by SIGKILL at a moment, on each warehouse.

What is written is said by an act, a function of a module that takes the warehouse first: it goes to the other process
by its name.
"""

import os
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from stockcast_assets.warehouse import BigQueryWarehouse, DuckDBWarehouse
from stockcast_assets_tests.warehouse.conftest import Store, bigquery_store, duckdb_store
from stockcast_assets_tests.warehouse.fault_proxy import LOSE_ANSWER, STALL, FaultProxy, Request
from stockcast_assets_tests.warehouse.helpers import PROCESSES
from stockcast_assets_tests.warehouse.test_real_runs import stop_at_statement

Act = Callable[..., Any]


class Writers(RuleBasedStateMachine):
    """A history of one warehouse, whose writers may be killed.

    Attributes:
        moments: when a writer may be killed.
        commits: those of them at which what it wrote is there.
        steps: how many steps were lived so far.
    """

    store: Store
    moments: ClassVar[tuple[str, ...]]
    commits: ClassVar[tuple[str, ...]]
    steps: ClassVar[int] = 0

    def kill(self, moment: str, act: Act, *what: Any) -> None:
        """Let another process act, and kill it at the moment."""
        raise NotImplementedError


def _act_on_duckdb(act: Act, database: str, moment: str, told: Connection, *what: Any) -> None:
    def stop() -> None:
        told.send("stopped")
        told.recv()

    when, statement = moment.split()
    stop_at_statement(statement, when == "after", stop)
    act(DuckDBWarehouse(database), *what)


def _act_on_bigquery(act: Act, address: str, dataset: str, *what: Any) -> None:
    """The proxy at the address stops it."""
    os.environ["BIGQUERY_EMULATOR_HOST"] = address
    act(BigQueryWarehouse("test-project", dataset), *what)


def _kill_when_told(listener: Connection, target: Act, *arguments: Any) -> None:
    writer = PROCESSES.Process(target=target, args=arguments, daemon=True)
    writer.start()
    assert listener.recv() == "stopped"
    writer.kill()
    writer.join()


class OnDuckDB(Writers):
    """In a database of its own. A moment is before or after a statement."""

    folder: ClassVar[Path]
    moments = ("before BEGIN", "after DELETE", "after INSERT", "before COMMIT", "after COMMIT")
    commits = ("after COMMIT",)

    def __init__(self) -> None:
        super().__init__()
        self.store = duckdb_store(Path(tempfile.mkdtemp(dir=self.folder)))

    def kill(self, moment: str, act: Act, *what: Any) -> None:
        listener, told = PROCESSES.Pipe()
        _kill_when_told(listener, _act_on_duckdb, act, self.store.warehouse.place, moment, told, *what)


class OnBigQuery(Writers):
    """In a dataset of its own, through a proxy. A moment is before or after a job was done whose answer is lost."""

    proxy: ClassVar[FaultProxy]
    moments = ("before load", "after load", "before merge", "after merge")
    commits = ("after merge",)

    def __init__(self) -> None:
        super().__init__()
        self.store = bigquery_store()
        self.proxy.fault = lambda request: None

    def kill(self, moment: str, act: Act, *what: Any) -> None:
        when, job = moment.split()
        listener, reached = PROCESSES.Pipe(duplex=False)

        def stall(request: Request) -> str:
            reached.send("stopped")
            return STALL

        def decide(request: Request) -> str | None:
            if not (request.is_load if job == "load" else request.is_merge):
                return None
            if when == "before":
                return stall(request)
            self.proxy.fault = stall
            return LOSE_ANSWER

        self.proxy.fault = decide
        _kill_when_told(listener, _act_on_bigquery, act, self.proxy.address, self.store.warehouse.schema, *what)
        self.proxy.fault = lambda request: None


def live(history: type[Writers], steps: int, length: int) -> None:
    """Random histories, each of so many steps, until there were so many of them in all."""
    history.steps = 0
    # Some histories end early, so there may have to be more of them.
    while (missing := steps - history.steps) > 0:
        run_state_machine_as_test(
            history,
            settings=settings(
                max_examples=-(-missing // length),
                stateful_step_count=length,
                suppress_health_check=list(HealthCheck),
                deadline=None,
            ),
        )
