"""Runs on Celery workers, for which the daemon's question whether a run lives is answered by the shared database.

Dagster's launcher asks Celery's result backend, where a task whose worker was killed is "started" for ever, and one
whose record a restarted broker has lost is unknown, though its run is under way.
"""

from __future__ import annotations

import logging
import multiprocessing
from multiprocessing.reduction import ForkingPickler
from typing import Any

import dagster as dg
from celery import Celery
from celery.signals import setup_logging, worker_process_init
from dagster._core.launcher import CheckRunHealthResult
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from stockcast_assets.dagster_private.health import health_of


class WatchingCeleryRunLauncher(CeleryRunLauncher):
    """Dagster's, with the same configuration."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Not found if no process holds the run's lock."""
        return health_of(self._instance, run)

    def terminate(self, run_id: str) -> bool:
        """As Dagster's; a run of a command, or one that was not handed on yet, has no task that could be told."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        # It ends a run that a worker executes, and keeps one that still waits from being begun.
        self.celery.control.revoke(run.tags[DAGSTER_CELERY_TASK_ID_TAG], terminate=True)
        return True

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """The task, for those who look into the broker."""
        return f"Celery task {run.tags.get(DAGSTER_CELERY_TASK_ID_TAG, 'none')}"


def worker_app(instance: dg.DagsterInstance) -> Celery | None:
    """The Celery application whose worker executes the runs of an instance; None if its launcher is another."""
    launcher: Any = instance.run_launcher
    if not isinstance(launcher, CeleryRunLauncher):
        return None
    worker_process_init.connect(let_children_be_started, weak=False)
    create_execute_job_task(launcher.celery)
    create_resume_job_task(launcher.celery)
    return launcher.celery


def let_children_be_started(**_: object) -> None:
    """Let this process of Celery's pool start processes, as training does.

    Celery's are daemonic, and Python lets such a process have no children. Their key is of a class that refuses to
    be handed to a child that Python's own `multiprocessing` starts.
    """
    process = multiprocessing.current_process()
    process.daemon = False
    ForkingPickler.register(type(process.authkey), _plain)


def _plain(key: bytes) -> tuple[type[bytes], tuple[bytes]]:
    return bytes, (bytes(key),)


def log_as_this_process() -> None:
    """Let a worker log as this process does. Celery has lines of its own, and puts those of runs into them."""
    setup_logging.connect(_set_level, weak=False)


def _set_level(loglevel: int, **_: object) -> None:
    logging.getLogger().setLevel(loglevel)
