"""A Dagster daemon in one process whose clock is moved by whoever started it.

`dagster-daemon` keeps schedules and sensors, the code location and the runs in processes of their own, whose clocks
nobody can move. Here the daemon's own functions work through the same instance, in the order of its threads, on the
same definitions loaded in this process; its runs are executed in this process too. Killing it kills the run.
"""

import json
import logging
import os
import sys
from importlib import import_module
from typing import Any, TextIO

import dagster as dg
import pandas as pd
import time_machine
import yaml
import yfinance
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.daemon import MonitoringDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._time import get_current_datetime
from pyrate_limiter import Duration, Limiter, Rate

from stockcast_assets.market.calendars import closed_days
from stockcast_assets.market.sources import rate_limit, yahoo
from stockcast_assets.market.sources.base import Source
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.assets import metadata as shown
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.home import default_config
from stockcast_assets.settings import Settings, load_settings

BETWEEN_ROUNDS = pd.Timedelta(seconds=61)
"""Longer than the shortest interval of most sensors, and than the wait before a run that was killed is repeated."""

MOST_ROUNDS = 60

IMPORTED_ONCE = ("mlflow.store.tracking.sqlalchemy_store", "pandera.pandas", "stockcast_assets.charts.png")
"""What every daemon would import for itself."""


class OneAttempt(Sources):
    """The sources of production, but a Yahoo that is asked once: an outage lasts longer than any pause."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.source, settings.uploads_location)
        self.yahoo = yahoo.YahooSource(attempts=1, pause_s=0.01)

    def get(self, name: str | None = None) -> Source:
        return super().get(name) if name == "csv" else self.yahoo


class Launcher(SyncInMemoryRunLauncher):
    """Executes runs in this process. Whatever is under way when the monitor asks was so when the daemon died."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND)


@dg.definitions
def code_location() -> dg.Definitions:
    settings = load_settings()
    return build_definitions(settings, sources=OneAttempt(settings))


class Daemon:
    """The daemon's threads, one after the other."""

    def __init__(self, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> None:
        self.instance, self.workspace = instance, workspace
        self.logger = logging.getLogger("dagster.daemon")
        self.schedules: dict[str, Any] = {}
        self.queue, self.monitor = QueuedRunCoordinatorDaemon(5), MonitoringDaemon(120)

    def round(self) -> None:
        """What each thread does when it is its turn."""
        for work in (
            launch_scheduled_runs(self.workspace, self.logger, get_current_datetime(), self.schedules),
            execute_sensor_iteration(self.workspace, self.logger, None, None),
            self.queue.run_iteration(self.workspace),
            self.monitor.run_iteration(self.workspace),
        ):
            for error in work:
                if error is not None:
                    raise RuntimeError(error.to_string())

    def settle(self, clock: time_machine.Traveller) -> None:
        """Rounds until one launches nothing and leaves nothing under way."""
        for _ in range(MOST_ROUNDS):
            before = self.instance.get_runs_count()
            self.round()
            if self.instance.get_runs_count() == before and not self.instance.get_runs(
                dg.RunsFilter(statuses=NOT_FINISHED_STATUSES), limit=1
            ):
                return
            clock.move_to((pd.Timestamp.now("UTC") + BETWEEN_ROUNDS).to_pydatetime())
        raise RuntimeError("The daemon does not come to rest.")


def _as_of_the_moved_clock() -> None:
    """SQLite fills in when a run was created, by a clock that cannot be moved."""

    def add_run(self: SqliteRunStorage, run: dg.DagsterRun) -> dg.DagsterRun:
        return self.add_historical_run(run, get_current_datetime().replace(tzinfo=None))

    SqliteRunStorage.add_run = add_run  # type: ignore[method-assign]


def serve() -> None:
    """Start a daemon in a process of its own, and another whenever it was killed.

    The daemons are forked off, so that imports and calendars are paid once; this process never opens the instance.
    """
    yfinance.set_tz_cache_location(os.environ["DAGSTER_HOME"])
    rate_limit.own_limiter = lambda: Limiter(Rate(1000, Duration.SECOND))  # type: ignore[assignment]
    # Drawing them would take as long as everything else together.
    shown.MOST_CHARTS = 1
    _as_of_the_moved_clock()
    settings = load_settings()
    closed_days(settings.calendars, settings.start_date, settings.end_date or settings.start_date)
    for library in IMPORTED_ONCE:
        import_module(library)
    # What a run prints must not be taken for an answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    while True:
        daemon = os.fork()
        if daemon == 0:
            with os.fdopen(answers, "w") as told:
                _obey(told)
            os._exit(0)
        _, status = os.waitpid(daemon, 0)
        if not os.WIFSIGNALED(status):
            return


def _obey(answers: TextIO) -> None:
    """Say who this is, then come to rest at each moment that is read from standard input, and say so."""
    print(os.getpid(), file=answers, flush=True)
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name=__name__, attribute="code_location"),
        location_name="stockcast",
    )
    with (
        time_machine.travel(sys.argv[1], tick=True) as clock,
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
    ):
        daemon = Daemon(instance, workspace)
        for line in sys.stdin:
            clock.move_to(pd.Timestamp(json.loads(line), tz="UTC").to_pydatetime())
            daemon.settle(clock)
            print("at rest", file=answers, flush=True)


def instance_config() -> str:
    """The `dagster.yaml` of a new home, with this module's launcher."""
    config = yaml.safe_load(default_config())
    return yaml.safe_dump(config | {"run_launcher": {"module": __name__, "class": Launcher.__name__}})
