"""DuckDB as a warehouse: one file, one short transaction per slice, never a connection left open."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from stockcast_assets.databases import Database
from stockcast_assets.errors import StockcastError, WarehouseBusyError
from stockcast_assets.libraries import duckdb, pa
from stockcast_assets.schema import Column, Table
from stockcast_assets.warehouse import evolution, frames, slices
from stockcast_assets.warehouse.base import Added, AddedMeanwhileError, TableRef, Warehouse
from stockcast_assets.warehouse.io_manager import WarehouseIOManager
from stockcast_assets.warehouse.slices import Slice

_TYPES: Mapping[str, str] = {
    "STRING": "VARCHAR",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATETIME": "TIMESTAMP",
    "FLOAT64": "DOUBLE",
    "INT64": "BIGINT",
    "BOOL": "BOOLEAN",
}
_STORED = {
    **{duckdb_type: type_ for type_, duckdb_type in _TYPES.items()},
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    **dict.fromkeys(("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "DATETIME"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER"), "INT64"),
    "FLOAT": "FLOAT64",
}
# DuckDB hands out Arrow tables to its threads batch by batch, and stores rows in groups of so many.
_ROW_GROUP = 122_880
# No code but DuckDB's own, and no file but the database and what it spills: whatever a query says.
_CONFINED: Mapping[str, Any] = {
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "allow_unsigned_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
    "python_enable_replacements": False,
}
ALLOWED_SETTINGS = frozenset(
    {
        "checkpoint_threshold",
        "max_memory",
        "max_temp_directory_size",
        "memory_limit",
        "preserve_insertion_order",
        "temp_directory",
        "threads",
        "wal_autocheckpoint",
        "worker_threads",
    }
)
"""DuckDB settings that say how much it may use, and nothing about what it may load or reach."""
# Settings are those of all of a process's connections to a file: one at a time is opened and locks them.
_OPENING: dict[str, threading.Lock] = defaultdict(threading.Lock)
# Connections of this process to each file.
_OPEN: Counter[str] = Counter()
# Two writers of one process share DuckDB's file lock, so they queue here instead of failing on each other.
_WRITERS: dict[str, threading.Lock] = defaultdict(threading.Lock)


class _DuckDBDialect(slices.Dialect):
    types = _TYPES

    def quote(self, name: str) -> str:
        return _quote(name)

    def among(self, expr: str, values: Sequence[Any], type_: str) -> str:
        self.parameters.extend(values)
        return f"{expr} IN ({', '.join('?' * len(values))})" if len(values) != 1 else f"{expr} = ?"


class DuckDBWarehouse(Warehouse):
    """Slices in a DuckDB file.

    `lock_timeout` bounds in seconds how long to wait while another process or thread has the file open; then
    StockcastError names the holder. `connection_config` is DuckDB settings out of `allowed_settings`.
    Connections load no extension, reach no other file and no network, and lock their settings.
    """

    kind = "duckdb"
    sql_types = _TYPES

    def __init__(
        self,
        database: str,
        schema: str = "stockcast",
        *,
        lock_timeout: float = 60.0,
        connection_config: Mapping[str, Any] | None = None,
        allowed_settings: Collection[str] = ALLOWED_SETTINGS,
    ) -> None:
        if database.startswith(":memory:") or not database:
            raise StockcastError(
                f"DuckDB database {database!r} would be lost with each connection: give the path of a file."
            )
        self.database = str(Path(database).expanduser().resolve())
        self.schema = schema
        self.lock_timeout = lock_timeout
        self.connection_config = dict(connection_config or {})
        _check_settings(self.connection_config, allowed_settings)

    def full_name(self, ref: TableRef) -> str:
        return str(ref)

    @property
    def place(self) -> str:
        return self.database

    @property
    def version(self) -> str:
        seen = [(file.st_ino, file.st_size, file.st_mtime_ns) for file in self._files()]
        return f"{super().version} {seen}"

    @property
    def written_at(self) -> datetime | None:
        times = [file.st_mtime for file in self._files()]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def _files(self) -> list[os.stat_result]:
        """The file and its log, without what is not there."""
        found = []
        for file in (self.database, f"{self.database}.wal"):
            with suppress(FileNotFoundError):
                found.append(Path(file).stat())
        return found

    def migration(self, ref: TableRef, column: str, stored: str, declared: Column | None) -> str:
        return _migration(ref, column, stored, declared)

    def stored(self, ref: TableRef) -> Table | None:
        with self._reader(ref) as connection:
            return None if connection is None else _stored_table(connection, ref)

    def replace(
        self,
        ref: TableRef,
        data: pa.Table,
        part: Slice,
        contract: Table,
        attempt: str | None = None,
        added: Added | None = None,
    ) -> None:
        dialect = _DuckDBDialect()
        condition = slices.where(part, contract, dialect)
        with self._writer(ref) as connection:
            connection.execute("BEGIN")
            _ensure_table(connection, ref, contract)
            connection.register("incoming", pa.Table.from_batches(data.to_batches(_ROW_GROUP), data.schema))
            _check_inside(connection, part, contract, condition, dialect.parameters)
            name = _name(connection, ref)
            connection.execute(f"DELETE FROM {name} WHERE {condition}", dialect.parameters)  # noqa: S608
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")  # noqa: S608
            if added is not None:
                _add(connection, added)
            connection.execute("COMMIT")

    def select(
        self,
        ref: TableRef,
        part: Slice,
        contract: Table,
        columns: Sequence[str],
        order_by: Sequence[str],
        newest: slices.Newest | None = None,
    ) -> pa.Table | None:
        dialect = _DuckDBDialect()
        condition = slices.where(part, contract, dialect)
        with self._reader(ref) as connection:
            if connection is None:
                return None
            name = _name(connection, ref)

            def rows(lacking: Collection[str]) -> pa.Table:
                query = slices.select(name, condition, contract, columns, dialect, order_by, lacking, newest)
                return connection.execute(query, dialect.parameters).to_arrow_table()

            try:
                return rows(lacking=())
            except duckdb.CatalogException:
                return None
            except duckdb.BinderException:
                stored = _stored_table(connection, ref)
                lacking = set() if stored is None else set(contract.column_names) - set(stored.column_names)
                if not lacking:
                    raise
                return rows(lacking)

    @contextmanager
    def _reader(self, ref: TableRef) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """A read-only connection, or None if there is no file yet."""
        if not Path(self.database).exists():
            yield None
            return
        connection = self._connect(read_only=True)
        try:
            yield connection
        except duckdb.Error as error:
            if _is_damage(error):
                raise self._damaged(error) from error
            raise StockcastError(
                f"DuckDB could not read table {ref} in {self.database}: {_first_line(error)}"
            ) from error
        finally:
            self._close(connection)

    @contextmanager
    def _writer(self, ref: TableRef) -> Iterator[duckdb.DuckDBPyConnection]:
        deadline = time.monotonic() + self.lock_timeout
        lock = _WRITERS[self.database]
        if not lock.acquire(timeout=self.lock_timeout):
            raise WarehouseBusyError(self._locked("another thread of this process"))
        try:
            Path(self.database).parent.mkdir(parents=True, exist_ok=True)
            connection = self._connect(read_only=False, timeout=max(0.0, deadline - time.monotonic()))
            try:
                yield connection
            finally:
                # Closing an open transaction rolls it back.
                self._close(connection)
        except (duckdb.Error, OSError) as error:
            raise StockcastError(
                f"DuckDB could not write table {ref} in {self.database} and left it as it was: {_first_line(error)}"
            ) from error
        finally:
            lock.release()

    def _connect(self, *, read_only: bool, timeout: float | None = None) -> duckdb.DuckDBPyConnection:
        retrying = Retrying(
            retry=retry_if_exception(is_busy),
            stop=stop_after_delay(self.lock_timeout if timeout is None else timeout),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            reraise=True,
        )
        try:
            return retrying(self._open, read_only)
        except duckdb.Error as error:
            if is_busy(error):
                raise WarehouseBusyError(self._locked(_holder(error))) from None
            raise StockcastError(
                f"DuckDB cannot open {self.database}: {_first_line(error)} Restore it, and {self.database}.wal if "
                "there is one, from a backup, or move both aside."
            ) from None

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        with _OPENING[self.database]:
            if not _OPEN[self.database]:
                warehouse_file(Path(self.database)).check()
            connection = duckdb.connect(
                self.database, read_only=read_only, config={**_CONFINED, **self.connection_config}
            )
            try:
                (locked,) = connection.execute("SELECT current_setting('lock_configuration')").fetchone()  # type: ignore[misc]
                if not locked:
                    connection.execute("SET GLOBAL TimeZone = 'UTC'")
                    connection.execute("SET lock_configuration = true")
            except BaseException:
                connection.close()
                raise
            _OPEN[self.database] += 1
            return connection

    def _close(self, connection: duckdb.DuckDBPyConnection) -> None:
        with _OPENING[self.database]:
            connection.close()
            _OPEN[self.database] -= 1

    def _damaged(self, error: duckdb.Error) -> StockcastError:
        words = " ".join(_first_line(error).rstrip(".").split())
        return warehouse_file(Path(self.database)).damaged(f"is damaged ({words[:160]})")

    def _locked(self, holder: str) -> str:
        return (
            f"DuckDB file {self.database} is held by {holder} and was not released within "
            f"{self.lock_timeout:g} s: close that program or try again when it is done."
        )


def _check_settings(settings: Mapping[str, Any], allowed: Collection[str]) -> None:
    refused = sorted(set(settings) - set(allowed))
    if refused:
        raise StockcastError(
            f"The DuckDB setting {refused[0]!r} is none that 'connection_config' may change: use "
            f"{', '.join(sorted(allowed))}, or widen 'allowed_settings' in code."
        )


def warehouse_file(path: Path) -> Database:
    """The file of a warehouse."""
    return Database(path, "duckdb", "the tables", "they are empty, and a backfill fills them again")


def _is_damage(error: BaseException) -> bool:
    """Whether DuckDB found something in the file that it did not write."""
    return isinstance(error, duckdb.IOException | duckdb.SerializationException | duckdb.FatalException)


def is_busy(error: BaseException) -> bool:
    """Whether someone else has the file open: another process, or a connection of this one in another mode."""
    busy = (
        (duckdb.IOException, "lock on file"),
        (duckdb.ConnectionException, "different configuration"),
        (duckdb.BinderException, "Unique file handle conflict"),
    )
    return any(isinstance(error, kind) and text in str(error) for kind, text in busy)


def _holder(error: BaseException) -> str:
    match = re.search(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)", str(error))
    return f"{match['program']} (PID {match['pid']})" if match else "another connection of this process"


def _first_line(error: BaseException) -> str:
    line = str(error).strip().splitlines()[0]
    return line if line.endswith((".", "!")) else f"{line}."


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _name(connection: duckdb.DuckDBPyConnection, ref: TableRef) -> str:
    """The table with its catalog: a file named like the schema would make a shorter name ambiguous."""
    (catalog,) = connection.execute("SELECT current_database()").fetchone()  # type: ignore[misc]
    return ".".join(map(_quote, (catalog, *ref)))


def _stored_table(connection: duckdb.DuckDBPyConnection, ref: TableRef) -> Table | None:
    rows = connection.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE database_name = "
        "current_database() "
        "AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [ref.schema, ref.name],
    ).fetchall()
    if not rows:
        return None
    columns = [
        frames.stored_column(name, _STORED.get(type_, type_), required=not nullable) for name, type_, nullable in rows
    ]
    return Table(ref.name, "", tuple(columns), ())


def _migration(ref: TableRef, column: str, stored: str, declared: Column | None) -> str:
    table, quoted = f"{_quote(ref.schema)}.{_quote(ref.name)}", _quote(column)
    if declared is None:
        return f"ALTER TABLE {table} DROP COLUMN {quoted}"
    if declared.type == stored:
        return f"ALTER TABLE {table} ALTER COLUMN {quoted} DROP NOT NULL"
    return f"ALTER TABLE {table} ALTER COLUMN {quoted} SET DATA TYPE {_TYPES[declared.type]}"


def _ensure_table(connection: duckdb.DuckDBPyConnection, ref: TableRef, contract: Table) -> None:
    stored, name = _stored_table(connection, ref), _name(connection, ref)
    if stored is None:
        definitions = ", ".join(
            f"{_quote(column.name)} {_TYPES[column.type]}{' NOT NULL' if column.required else ''}"
            for column in contract.columns
        )
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name.removesuffix('.' + _quote(ref.name))}")
        connection.execute(f"CREATE TABLE {name} ({definitions})")
        for target, text in [
            (f"TABLE {name}", contract.description),
            *((f"COLUMN {name}.{_quote(c.name)}", c.description) for c in contract.columns),
        ]:
            if text:
                escaped = text.replace("'", "''")
                connection.execute(f"COMMENT ON {target} IS '{escaped}'")
        return
    for column in evolution.new_columns(stored, contract, str(ref), partial(_migration, ref)):
        connection.execute(f"ALTER TABLE {name} ADD COLUMN {_quote(column.name)} {_TYPES[column.type]}")


def _add(connection: duckdb.DuckDBPyConnection, added: Added) -> None:
    _ensure_table(connection, added.ref, added.contract)
    name, keys = _name(connection, added.ref), ", ".join(map(_quote, added.contract.primary_key))
    connection.register("added", added.data)
    taken = f"SELECT 1 FROM {name} SEMI JOIN added USING ({keys}) LIMIT 1"  # noqa: S608
    if connection.execute(taken).fetchone() is not None:
        raise AddedMeanwhileError(str(added.ref))
    connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM added")  # noqa: S608


def _check_inside(
    connection: duckdb.DuckDBPyConnection,
    part: Slice,
    contract: Table,
    condition: str,
    parameters: Sequence[Any],
) -> None:
    """Rows against a `partition_expr` that is SQL: only the database can tell where they belong."""
    if set(part.exprs) <= set(contract.column_names):
        return
    query = f"SELECT * FROM incoming WHERE ({condition}) IS NOT TRUE LIMIT 1"  # noqa: S608
    outside = connection.execute(query, list(parameters)).fetchone()
    if outside is not None:
        values = dict(zip(contract.column_names, outside, strict=True))
        raise StockcastError(frames.outside_message(contract.name, part, values))


class DuckDBWarehouseIOManager(WarehouseIOManager):
    """Stores assets in a DuckDB file, slice by slice, all or nothing.

    A table's schema is the asset's metadata `schema`, else `schema` here, else the asset key's prefix, else
    "public".

    `connection_config` is DuckDB settings out of `allowed_settings`. A project that needs others names them in a
    subclass: `allowed_settings = DuckDBWarehouseIOManager.allowed_settings | {"…"}`.
    """

    allowed_settings: ClassVar[frozenset[str]] = ALLOWED_SETTINGS
    database: str = Field(description="Path of the DuckDB file; made on first use.")
    schema_: str | None = Field(default=None, alias="schema", description="Schema of the tables.")
    lock_timeout: float = Field(default=60.0, description="Seconds to wait while the file is in use elsewhere.")
    connection_config: dict[str, Any] = Field(default={}, description="DuckDB settings, e.g. memory_limit.")

    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(
            self.database,
            self.schema_ or "public",
            lock_timeout=self.lock_timeout,
            connection_config=self.connection_config,
            allowed_settings=self.allowed_settings,
        )

    @field_validator("connection_config")
    @classmethod
    def _allowed(cls, value: dict[str, Any]) -> dict[str, Any]:
        _check_settings(value, cls.allowed_settings)
        return value

    def default_schema(self) -> str | None:
        return self.schema_
