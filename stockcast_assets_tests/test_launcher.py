"""A run whose process was killed is failed by Dagster's own monitor; any other is left alone."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher.default_run_launcher import GRPC_INFO_TAG
from dagster._daemon.monitoring import execute_run_monitoring_iteration

from stockcast_assets.dagster_private.machine import MACHINE_TAG, this_machine
from stockcast_assets.orchestration.home import default_config

HERE = {GRPC_INFO_TAG: '{"host": "localhost", "port": 1}'}
ELSEWHERE = {GRPC_INFO_TAG: '{"host": "code.example", "port": 1}'}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text(default_config())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            yield instance


@pytest.fixture
def killed() -> int:
    """The number of a process that was killed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    process.wait()
    return process.pid


def monitored(instance: dg.DagsterInstance, tags: dict[str, str], pid: int | None) -> dg.DagsterRunStatus:
    """The status of a run of this process after the monitor looked at it."""

    @dg.job
    def job() -> None: ...

    run = instance.create_run_for_job(job, tags=tags)
    if pid is not None:
        instance.report_engine_event("Started process for run.", run, EngineEventData.in_process(pid))
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job.name), run_id=run.run_id)
    context = SimpleNamespace(instance=instance, create_request_context=lambda: None)
    assert [error for error in execute_run_monitoring_iteration(context, logging.getLogger()) if error] == []  # type: ignore[arg-type]
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize("tags", [HERE, this_machine()], ids=["the daemon's", "a command's"])
def test_a_run_whose_process_is_gone_is_failed(instance: dg.DagsterInstance, killed: int, tags: dict[str, str]) -> None:
    assert monitored(instance, tags, killed) == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    "tags", [ELSEWHERE, {MACHINE_TAG: "another"}, {}], ids=["another server's", "another machine's", "unknown"]
)
def test_a_run_of_another_machine_is_left_alone(
    instance: dg.DagsterInstance, killed: int, tags: dict[str, str]
) -> None:
    assert monitored(instance, tags, killed) == dg.DagsterRunStatus.STARTED


def test_a_run_whose_process_lives_or_is_not_known_is_left_alone(instance: dg.DagsterInstance) -> None:
    assert monitored(instance, HERE, os.getpid()) == dg.DagsterRunStatus.STARTED
    assert monitored(instance, HERE, None) == dg.DagsterRunStatus.STARTED


OF_CELERYS_POOL = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import billiard
from celery.signals import worker_process_init

from stockcast_assets.dagster_private.celery_launcher import WatchingCeleryRunLauncher, worker_app


def executes_a_run():
    worker_process_init.send(sender=None)
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        print(pool.submit(abs, -4).result(), flush=True)


if __name__ == "__main__":
    launcher = WatchingCeleryRunLauncher(default_queue="dagster", broker="memory://")
    assert worker_app(SimpleNamespace(run_launcher=launcher)) is launcher.celery
    process = billiard.get_context("fork").Process(target=executes_a_run)
    process.daemon = True
    process.start()
    process.join(60)
    sys.exit(process.exitcode)
"""


def test_a_run_on_a_celery_worker_starts_processes_as_training_does(tmp_path: Path) -> None:
    """Those of Celery's pool are daemonic, and Python lets such a one have no children."""
    script = tmp_path / "worker.py"
    script.write_text(OF_CELERYS_POOL)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
