"""A run that is executed in this process, or put into the queue by it, and is a full run of Dagster all the same.

`JobDefinition.execute_in_process` makes a run that belongs to no code location: the timeline leaves it out, and it
cannot be executed again. And it gives the job another executor.
"""

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

LOCATION = "stockcast"
"""The code location's name in `workspace.yaml`."""

_MODULE = "stockcast_assets.definitions"

_SAYS_S = 60.0
"""Within which Dagster says whether it repeats a run; if it was killed then, its daemon makes up for it."""

_BETWEEN_STEPS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_UP_FOR_RETRY)


def create_run(
    definitions: dg.Definitions,
    job_name: str,
    instance: dg.DagsterInstance,
    assets: Collection[str],
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
) -> dg.DagsterRun:
    """Create a run of these assets of a job; nobody executes it yet.

    Args:
        definitions: of the code location.
        job_name: the job.
        instance: where the run is recorded.
        assets: what of the job to materialise.
        tags: of the run, beside the job's.
        run_config: of the run.
    """
    job = definitions.resolve_job_def(job_name)
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), definitions.get_repository_def().name)
    code = RepositoryPythonOrigin(
        sys.executable, ModuleCodePointer(_MODULE, "defs"), entry_point=DEFAULT_DAGSTER_ENTRY_POINT
    )
    return instance.create_run_for_job(
        job,
        run_config=run_config,
        tags={**job.run_tags, **tags},
        asset_selection={dg.AssetKey(name) for name in assets},
        remote_job_origin=repository.get_job_origin(job_name),
        job_code_origin=JobPythonOrigin(job_name, code),
    )


def execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    stopped: Callable[[], bool] = lambda: False,
) -> dg.DagsterRun:
    """Execute a created run here.

    Args:
        definitions: of the code location.
        instance: where the run is recorded.
        run: that of `create_run`.
        stopped: whether a signal came; Dagster raises where it does, and the run is canceled then, not failed.

    Returns:
        The run, at its end.
    """
    job = definitions.resolve_job_def(run.job_name)
    told = False
    try:
        events = execute_run_iterator(InMemoryJob(job), run, instance)
        for event in events:
            if not stopped():
                continue
            if not told:
                told = True
                instance.report_run_canceling(run)
            if event.event_type in _BETWEEN_STEPS:
                events.close()  # type: ignore[attr-defined]
                break
    finally:
        ended = instance.get_run_by_id(run.run_id)
        if (
            stopped()
            and ended is not None
            and ended.status not in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED)
        ):
            # It came where Dagster takes note of none: before the first step, or between two.
            instance.report_run_canceled(run)
    return instance.get_run_by_id(run.run_id) or run


def enqueue(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Put a created run into the queue, from which the daemon has it launched."""
    instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)


def latest_tries(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> list[dg.DagsterRun | None]:
    """Each of the runs, or the run that Dagster repeats it by; None while that is to come, or a run was deleted."""
    found = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=list(run_ids)))}
    tries: list[dg.DagsterRun | None] = []
    for run_id in run_ids:
        run = found.get(run_id) or instance.get_run_by_id(run_id)
        while run is not None and run.is_finished and run.tags.get(WILL_RETRY_TAG) == "true":
            again = run.tags.get(AUTO_RETRY_RUN_ID_TAG)
            run = instance.get_run_by_id(again) if again else None
        tries.append(None if run is not None and _is_undecided(instance, run) else run)
    return tries


def _is_undecided(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether Dagster has yet to say if it repeats a run: it does so after it has stored that the run failed."""
    if run.status != dg.DagsterRunStatus.FAILURE or WILL_RETRY_TAG in run.tags or not instance.run_retries_enabled:
        return False
    record = instance.get_run_record_by_id(run.run_id)
    return record is not None and record.end_time is not None and time.time() - record.end_time < _SAYS_S
