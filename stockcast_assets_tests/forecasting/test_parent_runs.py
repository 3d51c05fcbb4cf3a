"""One parent MLflow run per Dagster run that records something, ended as the Dagster run ended."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.sensors.mlflow_runs import build_mlflow_runs
from stockcast_assets.settings import Settings
from stockcast_assets.tracking import registry, studies
from stockcast_assets.tracking.client import Tracking
from stockcast_assets.tracking.parent_runs import DAGSTER_RUN, ParentRun, end_abandoned, end_parent, parent_run
from stockcast_assets_tests.conftest import Cli, clean_env

EXPERIMENT = "some"


def recording(tracking: Tracking) -> dg.JobDefinition:
    """A job that records as many children as it is told, and then does what it is told, before a step of another."""

    @dg.asset(hooks={end_parent}, config_schema={"children": int, "then": str})
    def recorded(context: dg.AssetExecutionContext, mlflow: dg.ResourceParam[ParentRun]) -> None:
        config = context.op_execution_context.op_config
        for number in range(config["children"]):
            parent = mlflow.begin(EXPERIMENT)
            tags = {"mlflow.parentRunId": parent, "number": str(number)}
            experiment = tracking.experiment_id(EXPERIMENT)
            child = tracking.client.create_run(experiment, tags=tags).info.run_id
            tracking.client.set_terminated(child)
        if config["then"] == "fail":
            raise ValueError("on purpose")
        if config["then"] == "interrupt":
            raise dg.DagsterExecutionInterruptedError
        if config["then"] == "die":
            os.kill(os.getpid(), 9)

    @dg.asset(deps=[recorded])
    def later() -> None: ...

    resources = {"mlflow": parent_run(tracking)}
    return dg.Definitions([recorded, later], resources=resources).resolve_implicit_global_asset_job_def()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")


def runs(tracking: Tracking) -> list[Run]:
    return list(tracking.client.search_runs([tracking.experiment_id(EXPERIMENT)]))


def config(children: int, then: str) -> dict[str, object]:
    return {"ops": {"recorded": {"config": {"children": children, "then": then}}}}


@pytest.mark.parametrize(
    ("then", "status"), [("nothing", "FINISHED"), ("fail", "FAILED"), ("interrupt", "KILLED")], ids=str
)
def test_a_dagster_run_has_one_parent_that_ends_as_it_does(tracking: Tracking, then: str, status: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        try:
            result = recording(tracking).execute_in_process(config(3, then), instance=instance, raise_on_error=False)
            assert result.success == (then == "nothing")
        except dg.DagsterExecutionInterruptedError:
            assert then == "interrupt"
        (run,) = instance.get_runs()
    (parent,) = [each for each in runs(tracking) if each.data.tags.get(DAGSTER_RUN) == run.run_id]
    children = [each for each in runs(tracking) if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert parent.info.status == status
    assert parent.info.run_name.startswith("__ASSET_JOB")
    assert sorted(each.data.tags["number"] for each in children) == ["0", "1", "2"]


def test_a_dagster_run_that_records_nothing_has_no_parent(tracking: Tracking) -> None:
    before = len(runs(tracking))
    assert recording(tracking).execute_in_process(config(0, "nothing")).success
    assert len(runs(tracking)) == before


DIE = """
import sys
import dagster as dg
from stockcast_assets.tracking.client import Tracking
from stockcast_assets_tests.forecasting.test_parent_runs import config, recording
with dg.DagsterInstance.from_ref(dg.DagsterInstance.local_temp(sys.argv[2]).get_ref()) as instance:
    recording(Tracking(sys.argv[1])).execute_in_process(config(1, "die"), instance=instance)
"""


@pytest.mark.fault
def test_the_parent_of_a_killed_dagster_run_ends_once_dagster_knows(tracking: Tracking, tmp_path: Path) -> None:
    uri = tracking.tracking_uri
    done = subprocess.run([sys.executable, "-c", DIE, uri, str(tmp_path)], env=clean_env(), cwd=tmp_path, check=False)
    assert done.returncode == -9
    experiment = tracking.experiment_id(EXPERIMENT)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        (run,) = instance.get_runs()

        def status() -> str:
            (parent,) = [each for each in runs(tracking) if each.data.tags.get(DAGSTER_RUN) == run.run_id]
            return parent.info.status

        end_abandoned(tracking, instance, experiment)
        assert status() == "RUNNING", "Dagster does not know of its death yet, so it may be alive"
        instance.report_run_failed(run)
        assert recording(tracking).execute_in_process(config(1, "nothing"), instance=instance).success
        assert status() == "FAILED"


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.SkipReason | None:
    failed = dg.DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, run.job_name, message="killed")
    with dg.build_run_status_sensor_context(sensor.name, failed, instance, run) as context:
        return sensor(context.for_run_failure())  # type: ignore[no-any-return]


@pytest.mark.parametrize("job", ["monthly_training", "tune", "__ASSET_JOB", "daily_forecast"])
def test_the_sensor_ends_the_parent_of_a_run_that_failed(tracking: Tracking, job: str) -> None:
    sensor = build_mlflow_runs(tracking, dg.DefaultSensorStatus.STOPPED)
    name = studies.EXPERIMENT if job == "tune" else registry.EXPERIMENT
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.DagsterRun(job, status=dg.DagsterRunStatus.FAILURE)
        instance.add_run(run)
        tags = {"stockcast.parent": "true", DAGSTER_RUN: run.run_id}
        parent = tracking.client.create_run(tracking.experiment_id(name), tags=tags).info.run_id
        assert tick(sensor, instance, run) is None
        # The daily forecast records nothing there, so nothing is asked.
        expected = "RUNNING" if job == "daily_forecast" else "FAILED"
        assert tracking.client.get_run(parent).info.status == expected
        tracking.client.set_terminated(parent)


def test_every_model_of_the_demo_is_a_child_of_the_run_of_its_training(demo: Cli) -> None:
    client = MlflowClient(f"sqlite:///{demo.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("stockcast")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = {run.info.run_id: run for run in found if DAGSTER_RUN in run.data.tags}
    children = Counter(run.data.tags["mlflow.parentRunId"] for run in found if run.info.run_id not in parents)
    assert set(children) == set(parents)
    assert {parent.info.status for parent in parents.values()} == {"FINISHED"}
    with open_instance(Settings(home=demo.home, source="sample")) as instance:
        for parent in parents.values():
            trained = instance.get_run_by_id(parent.data.tags[DAGSTER_RUN])
            assert trained is not None
            assert trained.job_name in ("monthly_training", "universe_training")
