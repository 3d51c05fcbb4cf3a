"""The Dagster UI behind the guard: the webserver as a process of its own, and with it all that it needs."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import dagster as dg
import psutil
import uvicorn
from filelock import FileLock, Timeout

from stockcast_assets.dagster_private.webserver import code_server, webserver
from stockcast_assets.errors import StockcastError
from stockcast_assets.json_logs import write_json
from stockcast_assets.settings import load_settings
from stockcast_assets.web.guard import Guard, Policy

POLICY = Policy(
    # Dagster's own policy says which scripts run. Metadata and descriptions are Markdown, whose pictures are fetched.
    csp=(
        "default-src 'self' 'unsafe-inline' 'unsafe-eval'; img-src 'self' data: blob:; font-src 'self' data:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'"
    ),
    post_types=frozenset({"application/json"}),
    # Dagster executes what the query says, mutations included.
    post_only=frozenset({"/graphql"}),
    # It renders any notebook of this machine as a page, and stockcast has none.
    closed=("/notebook", "/dagit/notebook"),
)
PATIENCE_S = 20.0
_LOOK_S = 0.5
# Dagster's daemon gives a sign of life this often.
_BEAT_S = 30.0


@contextmanager
def dagster_ui(
    instance: dg.DagsterInstance,
    workspace: Path,
    host: str,
    port: int,
    hosts: Sequence[str],
    read_only: bool,
    alone: bool = False,
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Dagster's webserver, code location and, unless it is read-only, daemon; stopped with all they started.

    Args:
        instance: of the home in DAGSTER_HOME.
        workspace: the file that names the code location.
        host: interface to listen on.
        port: of the page.
        hosts: names under which it answers, besides loopback's.
        read_only: whether to show only; another process may hold the daemon.
        alone: whether code location and daemon run elsewhere, and the workspace names where.

    Yields:
        The processes that must go on, by their names.

    Raises:
        StockcastError: if a daemon of this home is running.
    """
    with ExitStack() as stack:
        with_daemon = not read_only and not alone
        if with_daemon:
            stack.enter_context(only_daemon(instance))
        left: list[psutil.Process] = []
        stack.callback(_end_left, left)
        file = str(workspace if alone else stack.enter_context(code_server(instance, workspace)))
        stack.callback(lambda: left.extend(psutil.Process().children(recursive=True)))
        listen = ["--host", host, "--port", str(port), *(f"--allow={name}" for name in hosts)]
        started = {"webserver": _start(__name__, file, *listen, *(["--read-only"] if read_only else []))}
        if with_daemon:
            started["daemon"] = _start("dagster._daemon", "run", "--workspace", file)
        stack.callback(_end, started.values())
        yield started


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    follower = [sys.executable, "-m", "stockcast_assets.web.follower", module, *arguments]
    return subprocess.Popen(follower, stdin=subprocess.PIPE)


def wait(started: Mapping[str, subprocess.Popen[bytes]]) -> NoReturn:
    """Wait until a signal ends it all.

    Raises:
        Stopped: if a signal came.
        StockcastError: if one of the processes ends by itself.
    """
    while True:
        time.sleep(_LOOK_S)
        for name, process in started.items():
            if (status := process.poll()) is not None:
                raise StockcastError(
                    f"Dagster's {name} ended by itself (status {status}), and the rest was stopped: what it said "
                    "stands above; `stockcast ui` starts them again."
                )


@contextmanager
def only_daemon(instance: dg.DagsterInstance, patience_s: float = _BEAT_S + 5) -> Iterator[None]:
    """Be the only one who runs a daemon on this home: two would start every run twice.

    Args:
        instance: of the home.
        patience_s: seconds to wait for a sign of life of a daemon that was alive just now.

    Raises:
        StockcastError: if another daemon is alive, of `stockcast ui` or started by hand.
    """
    home = Path(instance.root_directory)
    note = home / "daemon.pid"
    lock = FileLock(home / "daemon.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = note.read_text() if note.exists() else "?"
        raise StockcastError(
            f"`stockcast ui` is already running on {home} (process {pid}), and a second daemon would start every run "
            f"twice: stop it (`kill {pid}`), or look on with `stockcast ui --read-only` on another --port."
        ) from None
    try:
        # One that was started by hand knows nothing of the lock.
        if _beats(instance, patience_s):
            raise StockcastError(
                f"A Dagster daemon that was started by hand (`dagster dev` or `dagster-daemon`) is alive on {home}, "
                "and a second one would start every run twice: stop it, or look on with `stockcast ui --read-only`."
            )
        note.write_text(str(os.getpid()))
        try:
            yield
        finally:
            # Whoever starts the next need not wait to see whether this one is alive.
            instance.wipe_daemon_heartbeats()
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _beats(instance: dg.DagsterInstance, patience_s: float) -> bool:
    """Whether a daemon gives signs of life. One that has just ended left a fresh one, but gives no other."""

    def last() -> float:
        return max((beat.timestamp for beat in instance.get_daemon_heartbeats().values()), default=0.0)

    found, until = last(), time.time() + patience_s
    if found < time.time() - 2 * _BEAT_S:
        return False
    while time.time() < until:
        time.sleep(_LOOK_S)
        if last() > found:
            return True
    return False


def _end(processes: Collection[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_left(processes: Collection[psutil.Process]) -> None:
    """End what the code server leaves behind: the processes of runs, which tell Dagster that they were interrupted."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, PATIENCE_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, PATIENCE_S)


def main() -> None:
    """Serve the webserver alone until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--allow", action="append", default=[])
    parser.add_argument("--read-only", action="store_true")
    asked = parser.parse_args()
    with (
        dg.DagsterInstance.get() as instance,
        webserver(instance, asked.workspace, asked.read_only) as app,
    ):
        server = uvicorn.Config(Guard(app, asked.allow, POLICY), host=asked.host, port=asked.port, log_level="warning")
        if load_settings().log_format == "json":
            write_json()
        uvicorn.Server(server).run()


if __name__ == "__main__":
    main()
