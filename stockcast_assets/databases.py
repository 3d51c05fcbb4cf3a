"""Whether a database file can be used, seen without opening it.

A library that opens a damaged file may repair it, empty it, or make another one beside it, and tells what is wrong in
its own words. Here a file is only read, and what is wrong is one sentence with the way back.
"""

import contextlib
import fcntl
import os
import shlex
import sqlite3
import stat
import struct
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from stockcast_assets.errors import StockcastError

_SQLITE = b"SQLite format 3\0"
_DUCKDB = b"DUCK"
_DUCKDB_HEADER = 4096
_NOWHERE = 2**64 - 1
_BLOCK = 2**56 - 1
_CHECKED_BYTES = 16 * 2**20
"""Up to this size every page of a SQLite file is looked at, in some hundredths of a second; beyond it the first."""

_BEING_MADE_S = 2.0
"""How long a file that was written a moment ago may be unfinished."""


class DamagedFileError(StockcastError):
    """A file of a database cannot be used."""


@dataclass(frozen=True)
class Database:
    """A file that holds something.

    Attributes:
        path: the file.
        kind: what wrote it.
        holds: what is in it, in words.
        back: what follows when it is moved aside, in words after "without it".
    """

    path: Path
    kind: Literal["sqlite", "duckdb"]
    holds: str
    back: str

    def check(self, thoroughly: bool = False) -> None:
        """Do nothing if the file can be used or is not there.

        Not for a file that this process has open: closing it here would drop the process's locks on it (POSIX).

        Args:
            thoroughly: look at every page, however large the file is.

        Raises:
            DamagedFileError: if it cannot be used, with the way back.
        """
        for folder in reversed(self.path.parents):
            if folder.exists() and not folder.is_dir():
                raise replace(self, path=folder).damaged("is a file instead of a folder")
        if (fault := _fault(self.path, self.kind, thoroughly)) is not None:
            raise self.damaged(fault)

    def damaged(self, fault: str) -> DamagedFileError:
        """The error that says what is wrong with the file (`is empty`), and the way back."""
        place = shlex.quote(str(self.path))
        return DamagedFileError(
            f"{self.path} {fault}. It holds {self.holds}: restore it from a backup, or move it aside "
            f"(`mv {place} {place}.damaged`); without it {self.back}."
        )


def _fault(path: Path, kind: str, thoroughly: bool) -> str | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return "is a link to nothing" if path.is_symlink() else None
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return "is a folder instead of a file" if stat.S_ISDIR(found.st_mode) else "is no plain file"
    if not os.access(path, os.R_OK | os.W_OK):
        return "may not be read and written by this account"
    find = partial(_sqlite_fault, thoroughly=thoroughly) if kind == "sqlite" else _duckdb_fault
    fault, until = find(path), time.monotonic() + _BEING_MADE_S
    # Whoever makes or grows a file has it unfinished for a moment.
    while fault is not None and time.time() - path.stat().st_mtime < _BEING_MADE_S and time.monotonic() < until:
        time.sleep(0.1)
        fault = find(path)
    return fault


def _sqlite_fault(path: Path, thoroughly: bool) -> str | None:
    with path.open("rb") as file:
        head, size = file.read(100), os.fstat(file.fileno()).st_size
    log = path.with_name(f"{path.name}-wal")
    if size == 0:
        return None if _has_bytes(log) else "is empty"
    if head[:16] != _SQLITE or len(head) < 100:
        return "is damaged (it is no SQLite database)"
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(head[28:32], "big")
    if page < 512 or page & (page - 1):
        return "is damaged (its first page is no SQLite database's)"
    # With a log beside it, or a writer at work, the file alone may be between two states.
    if _has_bytes(log) or _has_bytes(path.with_name(f"{path.name}-journal")):
        return None
    if head[24:28] == head[92:96] and pages * page > size:
        return f"is damaged (it was cut off at {size:,} of {pages * page:,} bytes)"
    return _pages_fault(path) if thoroughly or size <= _CHECKED_BYTES else None


def _pages_fault(path: Path) -> str | None:
    """What SQLite finds when it looks at every page, in a way that writes nothing and waits for nobody."""
    for attempt in range(3):
        before = path.stat().st_mtime_ns
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)) as connection:
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            found = str(error)
        # Somebody who wrote meanwhile may have been seen half-way.
        if found == "ok":
            return None
        if path.stat().st_mtime_ns == before and not _has_bytes(path.with_name(f"{path.name}-wal")):
            words = " ".join(str(found).replace("*", "").split())[:100]
            return f"is damaged ({words})"
        time.sleep(0.1 * (attempt + 1))
    return None


def _duckdb_fault(path: Path) -> str | None:
    log = path.with_name(f"{path.name}.wal")
    if log.is_dir():
        return f"has a folder in the place of its log {log.name}"
    with path.open("rb") as file:
        try:
            # While this is held no other process writes; who writes now knows better what it holds.
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return None
        head, size = file.read(3 * _DUCKDB_HEADER), os.fstat(file.fileno()).st_size
    if not head:
        return "is empty"
    if head[8:12] != _DUCKDB:
        return "is damaged (it is no DuckDB database)"
    # Two headers take turns: checksum, iteration, places of the catalog and of the list of free blocks, count and size
    # of blocks. Blocks are counted that need not be there: free ones at the end. So only the two places are asked for.
    _, *places, _, block = max(
        struct.unpack_from("<5Q", head.ljust(3 * _DUCKDB_HEADER, b"\0"), turn * _DUCKDB_HEADER + 8) for turn in (1, 2)
    )
    last = max((place & _BLOCK for place in places if place != _NOWHERE), default=-1)
    whole = 3 * _DUCKDB_HEADER + (last + 1) * block
    return f"is damaged (it was cut off at {size:,} of {whole:,} bytes or more)" if size < whole else None


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
