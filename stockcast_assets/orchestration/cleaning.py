"""Taking secrets out of a home that an older release stored them in.

Those stored the service-account key in Dagster's snapshots of every job, and the address of a tracking server with its
password in links and errors. Here all that is stored in a home is searched: SQLite databases of Dagster, MLflow and
Optuna, the DuckDB warehouse, logs, reports and artifacts. What was found is masked in place and wiped from the files.
"""

import base64
import binascii
import contextlib
import os
import re
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.masking import MASK, redact

_BUSY_S = 5.0
_LARGEST_TEXT = 64 * 1024 * 1024
_SQLITE, _DUCKDB = b"SQLite format 3\x00", b"DUCK"

# A key file begins with a brace, so its base64 with one of these; a release never wrapped it.
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/_-])(?:ey|ew|IHs|Cns|DQp7)[A-Za-z0-9+/_-]{100,}={0,2}")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
# JSON within JSON, at any depth of escaping; not what says that it is hidden already.
_FIELD = re.compile(r'((?:gcp_credentials|private_key(?:_id)?)\\*"\s*:\s*\\*")(?!\(hidden\)|\*\*\*)([^"]+?)(?=\\*")')


@dataclass(frozen=True)
class Cleaned:
    """A file in which secrets were found, and in how many of its values."""

    file: str
    values: int


def clean(text: str) -> str:
    """The text without keys of service accounts, passwords in addresses, and the secrets of the settings."""
    text = _ENCODED.sub(lambda found: MASK if _is_key(found[0]) else found[0], text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(MASK, text)
    if "gcp_credentials" in text or "private_key" in text:
        text = _FIELD.sub(rf"\g<1>{MASK}", text)
    return redact(text)


def _is_key(encoded: str) -> bool:
    try:
        plain = encoded.rstrip("=").translate(str.maketrans("-_", "+/"))
        return b'"private_key"' in base64.b64decode(plain[: len(plain) // 4 * 4])
    except (binascii.Error, ValueError):
        return False


def clean_home(home: Path, dry_run: bool = False) -> list[Cleaned]:
    """Mask the secrets that are stored below `home`, or only find them.

    Raises:
        StockcastError: if a database is in use.
    """
    found = []
    for file in _files(home):
        with file.open("rb") as opened:
            head = opened.read(16)
        kind = _clean_sqlite if head == _SQLITE else _clean_duckdb if head[8:12] == _DUCKDB else _clean_text
        values = kind(file, dry_run)
        if values:
            found.append(Cleaned(str(file.relative_to(home)), values))
    return found


def _files(home: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(home):
        for name in sorted(names):
            path = Path(folder) / name
            # A journal goes with its database.
            if path.is_file() and not path.is_symlink() and not name.endswith(("-wal", "-shm", "-journal", ".wal")):
                yield path


def _cleaned(value: Any) -> Any:
    """A stored value without secrets: text, text in bytes, or text that Dagster compressed."""
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, bytes):
        return value
    with contextlib.suppress(zlib.error, UnicodeDecodeError):
        text = zlib.decompress(value).decode()
        return value if (cleaned := clean(text)) == text else zlib.compress(cleaned.encode())
    with contextlib.suppress(UnicodeDecodeError):
        return clean(value.decode()).encode()
    return value


def _clean_sqlite(file: Path, dry_run: bool) -> int:
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN" if dry_run else "BEGIN IMMEDIATE")
            changes = list(_changes(connection))
            for statement, parameters in () if dry_run else changes:
                connection.execute(statement, parameters)
            connection.execute("COMMIT")
            if changes and not dry_run:
                # Else the old values stay in the log and in free pages.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return len(changes)
    except sqlite3.OperationalError as error:
        raise _in_use(file, error) from error
    except sqlite3.DatabaseError as error:
        raise StockcastError(
            f"{file} cannot be read ({error}): restore it, or remove it if it is not needed."
        ) from error


def _changes(connection: sqlite3.Connection) -> Iterator[tuple[str, tuple[Any, ...]]]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    for (table,) in tables.fetchall():
        quoted = _quoted(table)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted})")]
        for row in connection.execute(f"SELECT rowid, * FROM {quoted}"):  # noqa: S608
            for column, value in zip(columns, row[1:], strict=True):
                if (cleaned := _cleaned(value)) != value:
                    yield f"UPDATE {quoted} SET {_quoted(column)} = ? WHERE rowid = ?", (cleaned, row[0])  # noqa: S608


def _clean_duckdb(file: Path, dry_run: bool) -> int:
    import duckdb

    try:
        connection = duckdb.connect(str(file), read_only=dry_run)
    except duckdb.IOException as error:
        raise _in_use(file, error) from error
    with connection:
        columns = connection.execute(
            "SELECT schema_name, table_name, column_name FROM duckdb_columns() "
            "WHERE data_type = 'VARCHAR' AND NOT internal AND database_name = current_database()"
        ).fetchall()
        values = 0
        for schema, table, column in columns:
            name, quoted = f"{_quoted(schema)}.{_quoted(table)}", _quoted(column)
            for (value,) in connection.execute(f"SELECT DISTINCT {quoted} FROM {name}").fetchall():  # noqa: S608
                if value is None or (cleaned := clean(value)) == value:
                    continue
                values += 1
                if not dry_run:
                    connection.execute(f"UPDATE {name} SET {quoted} = ? WHERE {quoted} = ?", [cleaned, value])  # noqa: S608
    if values and not dry_run:
        _rewrite_duckdb(file)
    return values


def _rewrite_duckdb(file: Path) -> None:
    """Copy a database to a fresh file: in free blocks of its own the old values would stay."""
    import duckdb

    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        fresh = Path(folder) / file.name
        with duckdb.connect() as connection:
            for path, name in ((file, "stored"), (fresh, "fresh")):
                connection.execute(f"ATTACH '{str(path).replace(chr(39), 2 * chr(39))}' AS {name}")
            connection.execute("COPY FROM DATABASE stored TO fresh")
        fresh.chmod(0o600)
        fresh.replace(file)


def _clean_text(file: Path, dry_run: bool) -> int:
    found = file.stat()
    if found.st_size > _LARGEST_TEXT:
        return 0
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        return 0
    cleaned = clean(text)
    if cleaned == text:
        return 0
    if not dry_run:
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as fresh:
            fresh.write(cleaned.encode())
        Path(fresh.name).replace(file)
    return 1


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _in_use(file: Path, error: Exception) -> StockcastError:
    return StockcastError(
        f"{file} is in use ({str(error).partition(chr(10))[0]}): stop `stockcast ui`, `stockcast mlflow`, "
        "`stockcast dashboard` and every run, then clean again."
    )
