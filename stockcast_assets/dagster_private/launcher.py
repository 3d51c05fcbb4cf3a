"""Dagster's run launcher, which also tells the daemon when the process of a run is gone.

Dagster's own cannot tell. A run whose process was killed together with the code server (a power cut, a container
that was stopped) would stay "started" for ever, and its pools would admit no other run.
"""

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
import psutil
from dagster import DefaultRunLauncher
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

from stockcast_assets.dagster_private.health import health_of
from stockcast_assets.dagster_private.machine import MACHINE_TAG
from stockcast_assets.dagster_private.shared_turns import is_shared

if TYPE_CHECKING:
    from dagster._grpc.client import DagsterGrpcClient

_CLOCKS_DIFFER_S = 60.0


class WatchingRunLauncher(DefaultRunLauncher):
    """The default launcher, for which run monitoring works on one machine."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Not found if the run is of this machine and none of its processes is left; else taken to be running.

        Where machines share the instance the database knows of all of them.
        """
        if is_shared(self._instance):
            return health_of(self._instance, run)
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if not _is_here(client) and run.tags.get(MACHINE_TAG) != socket.gethostname():
            return CheckRunHealthResult(WorkerStatus.RUNNING, "It is not a run of this machine.")
        pids = list(_pids(self._instance, run.run_id))
        if not pids or any(_lives(pid, at) for pid, at in pids):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        gone = ", ".join(str(pid) for pid, _ in pids)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"No process of the run is left (pid {gone}).")


def _is_here(client: "DagsterGrpcClient | None") -> bool:
    return client is not None and (client.port is None or client.host in ("localhost", "127.0.0.1", "::1"))


def _pids(instance: dg.DagsterInstance, run_id: str) -> Iterator[tuple[int, float]]:
    """The processes that told the run's log that they execute it, and when."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if pid is not None:
            yield int(str(pid.value)), entry.timestamp


def _lives(pid: int, at: float) -> bool:
    """Whether the process is still the one of that moment: a number is given out again."""
    try:
        process = psutil.Process(pid)
        alive: bool = process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= at + _CLOCKS_DIFFER_S
        return alive
    except psutil.NoSuchProcess:
        return False
