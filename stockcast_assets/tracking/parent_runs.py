"""One parent MLflow run per Dagster run, by dagster-mlflow: MLflow's page then groups what a Dagster run recorded.

dagster-mlflow's `mlflow_tracking` starts its run when the resource is made, and importing it imports MLflow. Here both
wait until the first child is recorded, so a Dagster run that publishes nothing new leaves no empty parent.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from stockcast_assets.tracking.client import Tracking

DAGSTER_RUN = "dagster_run_id"
"""Tag of a parent, by dagster-mlflow: the Dagster run."""

_PARENT = "stockcast.parent"
_ENDED = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}


class ParentRun:
    """The parent MLflow run of a Dagster run; there is none until `begin` is called.

    Attributes:
        succeeded: whether a step of the Dagster run that records here has succeeded.
    """

    def __init__(self, tracking: Tracking, context: dg.InitResourceContext) -> None:
        self._tracking = tracking
        self._context = context
        self._resource: Iterator[Any] | None = None
        self._begun: tuple[str, Any] | None = None
        self.succeeded = False

    @property
    def begun(self) -> bool:
        """Whether there is one that has not ended."""
        return self._begun is not None

    def begin(self, experiment: str) -> str:
        """The id of the parent, made in this experiment at the first call.

        Raises:
            StockcastError: if MLflow cannot be reached or refuses.
        """
        if self._begun is not None:
            return self._begun[0]
        tracking, context = self._tracking, self._context
        experiment_id = tracking.experiment_id(experiment)
        end_abandoned(tracking, context.instance, experiment_id)  # type: ignore[arg-type]
        with warnings.catch_warnings():
            # It is in beta as a whole, and says so with every use.
            warnings.simplefilter("ignore", dg.BetaWarning)
            run_id, started = self._started(experiment)
        self._begun = run_id, started
        return run_id

    def _started(self, experiment: str) -> tuple[str, Any]:
        from dagster_mlflow import mlflow_tracking
        from mlflow.exceptions import MlflowException

        tracking, context = self._tracking, self._context
        config = {
            "experiment_name": experiment,
            "mlflow_tracking_uri": tracking.tracking_uri,
            "extra_tags": {_PARENT: "true", "mlflow.runName": f"{_name(context)}"},
        }
        try:
            self._resource = mlflow_tracking.resource_fn(context.replace_config(config))  # type: ignore[call-arg]
            started = next(self._resource)
        except MlflowException as error:
            raise tracking.trouble("begin the run of a Dagster run", error) from error
        return started.active_run().info.run_id, started

    def end_run(self, status: str = "FINISHED") -> None:
        """End the parent, if there is one: what dagster-mlflow's hook calls."""
        if self._begun is not None:
            (_, started), self._begun = self._begun, None
            started.end_run(status)

    def close(self) -> None:
        """End what is left at the end of the Dagster run: nothing was told of a run that was interrupted."""
        self.end_run("FINISHED" if self.succeeded else "KILLED")
        if self._resource is not None:
            next(self._resource, None)


def parent_run(tracking: Tracking) -> dg.ResourceDefinition:
    """The resource `mlflow`: a `ParentRun` for each Dagster run."""

    def of_run(context: dg.InitResourceContext) -> Iterator[ParentRun]:
        run = ParentRun(tracking, context)
        try:
            yield run
        finally:
            run.close()

    return dg.ResourceDefinition(
        of_run,
        {"tracking_uri": dg.Field(str, default_value=tracking.tracking_uri)},
        "One parent MLflow run per Dagster run that publishes something, by dagster-mlflow.",
    )


_HOOK = "end_mlflow"


def _end(context: dg.HookContext, events: Sequence[dg.DagsterEvent]) -> Any:
    parent: ParentRun = context.resources.mlflow
    parent.succeeded = parent.succeeded or any(event.is_step_success for event in events)
    if not parent.begun:
        return dg.HookExecutionResult(_HOOK, is_skipped=True)
    from dagster_mlflow import end_mlflow_on_run_finished

    return end_mlflow_on_run_finished.hook_fn(context, events)


end_parent = dg.HookDefinition(name=_HOOK, hook_fn=_end, required_resource_keys={"mlflow"})
"""dagster-mlflow's `end_mlflow_on_run_finished`, imported when a step has ended: give it to assets that record."""


def end_abandoned(tracking: Tracking, instance: dg.DagsterInstance, experiment_id: str) -> None:
    """End the parents whose Dagster run is over without having ended them: its process was killed."""
    found = tracking.client.search_runs([experiment_id], f"tags.{_PARENT} = 'true' and attributes.status = 'RUNNING'")
    for left in found:
        run = instance.get_run_by_id(left.data.tags.get(DAGSTER_RUN, ""))
        if run is None or run.is_finished:
            status = "KILLED" if run is None else _ENDED.get(run.status, "KILLED")
            tracking.client.set_terminated(left.info.run_id, status)


def _name(context: dg.InitResourceContext) -> str:
    run = context.dagster_run
    return "Dagster run" if run is None else f"{run.job_name} {run.run_id[:8]}"
