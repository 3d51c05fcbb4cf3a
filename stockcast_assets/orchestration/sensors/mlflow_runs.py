"""`mlflow_runs`: a parent run in MLflow ends with its Dagster run, also when that was killed and could not say so."""

import dagster as dg

from stockcast_assets.errors import StockcastError
from stockcast_assets.tracking import registry, studies
from stockcast_assets.tracking.client import Tracking
from stockcast_assets.tracking.parent_runs import end_abandoned


def build_mlflow_runs(tracking: Tracking, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor; MLflow is imported only when such a Dagster run has failed."""
    trained = dict.fromkeys(("universe_training", "monthly_training"), registry.EXPERIMENT)
    recorded = {**trained, "tune": studies.EXPERIMENT}

    @dg.run_failure_sensor(
        name="mlflow_runs",
        default_status=status,
        minimum_interval_seconds=60,
        description=(
            "Ends the parent run in MLflow of a training or a tuning whose process was killed, once Dagster knows that "
            "it failed; whatever ends by itself has ended its parent before."
        ),
    )
    def mlflow_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        experiments = (
            recorded.values()
            if context.dagster_run.job_name.startswith("__")
            else [recorded[name] for name in recorded if name == context.dagster_run.job_name]
        )
        try:
            for experiment in experiments:
                end_abandoned(tracking, context.instance, tracking.experiment_id(experiment))
        except StockcastError as error:
            return dg.SkipReason(str(error))
        return None

    return mlflow_runs
