"""Training processes share one import, can be had in any process, and do not outlive who waits for them."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psutil

from stockcast_assets.forecasting.training.workers import training_context, training_pool

IMPATIENT = """
from concurrent.futures import ProcessPoolExecutor
import os, time
from stockcast_assets.forecasting.training.workers import end_with_the_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, initializer=end_with_the_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_pools_are_forked_from_one_process(worker: ProcessPoolExecutor) -> None:
    with training_pool(1) as another:
        assert another.submit(os.getppid).result() == worker.submit(os.getppid).result() != os.getpid()


def test_a_forked_process_cannot_use_its_parents_server_and_does_without(worker: ProcessPoolExecutor) -> None:
    """As a run that the tests fork, or a server that forks its workers."""
    assert worker.submit(int).result() == 0
    assert training_context().get_start_method() == "forkserver"
    child = get_context("fork").Process(target=lambda: sys.exit(training_context().get_start_method() != "spawn"))
    child.start()
    child.join()
    assert child.exitcode == 0


def test_a_worker_ends_when_the_process_that_waits_for_it_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", IMPATIENT], stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        worker = psutil.Process(int(waiting.stdout.readline()))
        assert worker.is_running()
        waiting.send_signal(signal.SIGKILL)
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
