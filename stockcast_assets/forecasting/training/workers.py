"""The processes that train: one thread each, forked from a process that has imported TensorFlow and done nothing else.

The import takes longer than most trainings. Forking shares it between all workers of a process, its memory too, and
between its trainings. TensorFlow starts no thread before its first operation, which makes that safe.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, forkserver, get_context, parent_process, resource_tracker
from multiprocessing.context import BaseContext

from threadpoolctl import threadpool_limits

from stockcast_assets.stopping import shield_children

CALM = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
"""oneDNN picks its kernels, and with them the last bits, by processor."""

_NURSERY = "stockcast_assets.forecasting.training.forkserver_preload"


def import_tensorflow() -> None:
    """Import what training needs, for a process that does nothing else."""
    os.environ.update(CALM)
    # Keras imports it, and with it scipy.stats, for wrappers that nobody uses here: a sixth of the whole import.
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
    import keras  # noqa: F401
    import tensorflow  # noqa: F401


def start_worker() -> None:
    """Set a fresh process up for training: one thread, deterministic operations."""
    # The terminal's Ctrl-C is for the one who asked, and ends this one with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    threadpool_limits(1)
    end_with_the_parent()


def end_with_the_parent() -> None:
    """Watch the process that waits for this one's results, and end when it dies, however it does.

    A pool's process would otherwise wait for its next job for ever, with its memory.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def training_context() -> BaseContext:
    """How training processes are started here."""
    if sys.platform != "linux":
        # Elsewhere system libraries start threads on import, or there is no fork.
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([_NURSERY])
    try:
        # It undoes the shield when it starts, and comes before the first server.
        resource_tracker.ensure_running()
        shield_children()
        forkserver.ensure_running()
    except ChildProcessError:
        # This process was forked from one whose server it inherited but cannot use.
        return get_context("spawn")
    return context


@contextmanager
def training_pool(size: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of `size` processes set up by `start_worker`; if the work is broken off, so are they."""
    others = set(active_children())
    pool = ProcessPoolExecutor(size, mp_context=training_context(), initializer=start_worker)
    try:
        yield pool
    except Exception:
        raise
    except BaseException:
        # A study may take hours, and nobody waits for its result any more.
        for process in set(active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
