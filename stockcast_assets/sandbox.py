"""Work on bytes that strangers wrote, in a process of its own that cannot take more than it is given.

A process that keeps something running must not stand or fall with what somebody uploads. Code that is meant to be
linear and bounded can have a mistake; here such a mistake costs one answer, some seconds and some memory.
"""

import contextlib
import pickle
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from stockcast_assets.errors import StockcastError

P = ParamSpec("P")
T = TypeVar("T")

MEMORY_BYTES = 2**30
"""What the process may take beside what it has when it begins."""

CPU_S = 20
"""What one call may compute. A busy machine may take longer for it, by no more than `_PATIENCE` times."""

_PATIENCE = 3
_START_S = 60.0
_ANSWER_BYTES = 256 * 2**20


class SandboxExceeded(StockcastError):
    """The work took more time or memory than it may; the words complete "reading it …"."""


class SandboxUnavailable(StockcastError):
    """The process did not begin, which is not the fault of any work."""


@dataclass(frozen=True)
class _Failed:
    error: Exception


class Sandbox:
    """A process that calls functions one after another, started by the first call and again after a failure.

    Functions, arguments and results are pickled; what a function raises is raised here. The results are those of our
    own code: this bounds what it takes, it is no prison for code of others.

    Args:
        prepare: called once in the new process, before any work.
        cpu_s: seconds of computing that one call may take.
        memory_bytes: what the process may take beside its own beginning.
    """

    def __init__(
        self, prepare: Callable[[], object] | None = None, cpu_s: int = CPU_S, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._prepare = prepare
        self._cpu_s = cpu_s
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args, **kwargs)`, made there.

        Raises:
            SandboxExceeded: if it took too much time or memory.
            SandboxUnavailable: if the process cannot be had.
        """
        connection = self._connection or self._start()
        try:
            connection.send_bytes(pickle.dumps((function, args, kwargs)))
            if not connection.poll(_PATIENCE * self._cpu_s):
                raise EOFError
            answer = pickle.loads(connection.recv_bytes(_ANSWER_BYTES))  # noqa: S301  our own process wrote it
        except (EOFError, OSError) as error:
            self.close()
            raise self._exceeded() from error
        except BaseException:
            self.close()
            raise
        if not isinstance(answer, _Failed):
            return cast(T, answer)
        if isinstance(answer.error, MemoryError):
            self.close()
            raise self._exceeded() from answer.error
        raise answer.error

    def _exceeded(self) -> SandboxExceeded:
        return SandboxExceeded(
            f"took more than {self._cpu_s} s of computing or {self._memory_bytes / 2**20:,.0f} MB of memory"
        )

    def close(self) -> None:
        """End the process, whatever it does."""
        connection, process = self._connection, self._process
        self._connection = self._process = None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            # With -P the folder that one stands in offers no modules.
            code = f"from {__name__} import main; main()"
            numbers = (theirs.fileno(), self._memory_bytes, self._cpu_s)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *map(str, numbers)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._connection.send_bytes(pickle.dumps(self._prepare))
        try:
            if not self._connection.poll(_START_S):
                raise TimeoutError
            ready = pickle.loads(self._connection.recv_bytes(_ANSWER_BYTES))  # noqa: S301  our own process wrote it
        except (EOFError, OSError) as error:
            self.close()
            raise SandboxUnavailable("The process that reads uploads did not begin: try again later.") from error
        if isinstance(ready, _Failed):
            self.close()
            raise SandboxUnavailable(f"The process that reads uploads did not begin: {ready.error}") from ready.error
        return self._connection


def _serve(connection: Connection, memory_bytes: int, cpu_s: int) -> None:
    prepare = pickle.loads(connection.recv_bytes())  # noqa: S301  our own process wrote it
    connection.send_bytes(_outcome(prepare or (lambda: None), (), {}))
    with contextlib.suppress(EOFError):
        while True:
            function, args, kwargs = pickle.loads(connection.recv_bytes())  # noqa: S301  our own process wrote it
            _limit(memory_bytes, cpu_s)
            connection.send_bytes(_outcome(function, args, kwargs))


def _limit(memory_bytes: int, cpu_s: int) -> None:
    """Bound this process from now on; what the kernel holds to outlives the one who would have to watch it."""
    if sys.platform == "linux" and resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory_bytes, resource.RLIM_INFINITY))
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + cpu_s, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> bytes:
    try:
        return pickle.dumps(function(*args, **kwargs))
    except Exception as error:  # whatever it is belongs to the caller
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301  the same object
            return pickle.dumps(_Failed(error))
        except Exception:
            return pickle.dumps(_Failed(RuntimeError(f"{type(error).__name__}: {error}")))


def main() -> None:
    """What the process does; see `Sandbox`."""
    # The terminal's Ctrl-C is for the one who asked.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(Connection(int(sys.argv[1])), *map(int, sys.argv[2:]))
