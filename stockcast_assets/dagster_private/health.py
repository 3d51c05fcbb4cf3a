"""Whether a run lives, where the instance is shared: it holds its own lock, on whatever machine."""

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

from stockcast_assets.dagster_private.shared_turns import lives


def health_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> CheckRunHealthResult:
    """Not found if no process holds the run's lock."""
    if lives(instance, run.run_id):
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "No process has the run's lock in the database any more.")
