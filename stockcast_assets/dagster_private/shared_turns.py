"""Turns on an instance that several machines share: advisory locks of its PostgreSQL.

They are the database's counterpart of locked files: held by a connection, so that they end with the process that has
it, wherever that runs. A run holds the lock of its own name while it is executed, which tells the daemon that it lives.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from typing import Any

import dagster as dg

_BEAT_S = 2.0
_POLL_S = 0.5
_GRACE_S = 15.0
_TAKEN_AWAY = 75
"""The status of a process whose turn another one has: that of sysexits' "try again later"."""

# Of a machine that lost its power PostgreSQL hears nothing: after half a minute of silence it lets go.
_SETTINGS = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"


def is_shared(instance: dg.DagsterInstance) -> bool:
    """Whether the instance's storage is a PostgreSQL."""
    # By its name: whoever keeps it in files needs no package of PostgreSQL.
    return any(kind.__module__.startswith("dagster_postgres.") for kind in type(instance.event_log_storage).__mro__)


def run_lock(run_id: str) -> str:
    """The name that a run's own lock has."""
    return f"the run {run_id}"


def lives(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a process holds the run's lock. Who lost it with its connection has some seconds to take it again."""
    deadline = time.monotonic() + _GRACE_S
    while True:
        if _is_held(instance, run_lock(run_id)):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(1)


def _is_held(instance: dg.DagsterInstance, name: str) -> bool:
    from sqlalchemy import text

    query = text(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND classid::bigint = :high AND objid::bigint = :low)"
    )
    number = _number(name) & (2**64 - 1)
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        return bool(connection.execute(query, {"high": number >> 32, "low": number & (2**32 - 1)}).scalar())


def _number(name: str) -> int:
    """What PostgreSQL knows a name by: 64 bits with a sign."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


class SharedTurns:
    """The locks that this process holds on one instance. Whoever has one already in this process goes on."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._storage: Any = instance.event_log_storage
        self._guard = threading.RLock()
        self._held: Counter[str] = Counter()
        self._open: ExitStack | None = None
        self._connection: Any = None
        self._is_kept = False

    @contextmanager
    def held(self, names: Iterable[str], waiting: Callable[[str], Any]) -> Iterator[None]:
        """Hold the locks of these names, one after the other in one order, so that nobody waits in a circle."""
        with ExitStack() as stack:
            for name in sorted(set(names)):
                if not self._take(name):
                    with waiting(name):
                        while not self._take(name):
                            time.sleep(_POLL_S)
                stack.callback(self._give, name)
            yield

    def _take(self, name: str) -> bool:
        with self._guard:
            if not self._held[name] and not self._ask("pg_try_advisory_lock", name):
                return False
            self._held[name] += 1
            return True

    def _give(self, name: str) -> None:
        with self._guard:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
                if self._connection is not None:
                    # A connection that is gone has let go of it already.
                    with suppress(Exception):
                        self._ask("pg_advisory_unlock", name)
            if not self._held:
                self._close()

    def _ask(self, function: str, name: str) -> bool:
        from sqlalchemy import text

        if self._connection is None:
            self._connect()
        try:
            return bool(self._connection.execute(text(f"SELECT {function}(:key)"), {"key": _number(name)}).scalar())
        except Exception:
            self._close()
            raise

    def _connect(self) -> None:
        from sqlalchemy import text

        self._open = ExitStack()
        self._connection = self._open.enter_context(self._storage.index_connection())
        self._connection.execute(text(_SETTINGS))
        for name in sorted(self._held):
            if not self._ask("pg_try_advisory_lock", name):
                # Two would do the same: the other one does, and the daemon repeats what this one has not stored.
                sys.stderr.write(f"stockcast: another process has {name} now, so this one ends.\n")
                sys.stderr.flush()
                os._exit(_TAKEN_AWAY)
        if not self._is_kept:
            self._is_kept = True
            threading.Thread(target=self._keep, name="turns", daemon=True).start()

    def _close(self) -> None:
        opened, self._open, self._connection = self._open, None, None
        if opened is not None:
            with suppress(Exception):
                opened.close()

    def _keep(self) -> None:
        """Hold on: a database that was started again knows nothing of the locks."""
        while True:
            time.sleep(_BEAT_S)
            with self._guard:
                if not self._held:
                    self._close()
                    self._is_kept = False
                    return
                try:
                    if self._connection is None:
                        self._connect()
                    else:
                        self._connection.exec_driver_sql("SELECT 1")
                except Exception:
                    # There again by a later beat: while it is not, nobody else takes a turn either.
                    self._close()


_turns: dict[str, SharedTurns] = {}


def shared_turns(instance: dg.DagsterInstance) -> SharedTurns:
    """Those of this process."""
    address = str(instance.event_log_storage.postgres_url)  # type: ignore[attr-defined]
    key = f"{os.getpid()} {address}"
    return _turns.setdefault(key, SharedTurns(instance))
