"""What a warehouse can do, whichever database it is: replace a slice, and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import ClassVar, NamedTuple

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pa, pd
from stockcast_assets.schema import Column, Table
from stockcast_assets.warehouse import frames
from stockcast_assets.warehouse.slices import Box, Condition, Newest, Slice, Span, Values, Windows


class TableRef(NamedTuple):
    """Where a table lives: its schema (BigQuery: dataset) and name."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


class Added(NamedTuple):
    """Rows to store beside those that a table has; `data` obeys `contract`, whose primary key tells them apart."""

    ref: TableRef
    data: pa.Table
    contract: Table


class AddedMeanwhileError(StockcastError):
    """A table has rows with the keys of those that were to be added."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"Rows with the same keys were added to table {table} meanwhile, and nothing was changed: run again."
        )


class Warehouse(ABC):
    """A database of slices. Every method opens what it needs, closes it, and is safe to call from threads.

    Readers get pandas frames: DATE as datetime64[ns] at midnight, TIMESTAMP as datetime64[ns, UTC], INT64 as
    int64 (Int64 where there are nulls), STRING as object. A table that does not exist reads as empty, and a column
    that its contract has but the table has not, yet, as null: so it will read once the next write has added it.
    """

    kind: str
    schema: str
    sql_types: ClassVar[Mapping[str, str]]

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the tables are, as a person would say it: a file, or a project and dataset."""

    @abstractmethod
    def stored(self, ref: TableRef) -> Table | None:
        """The columns the table has now, of whatever type, or None if it does not exist."""

    @abstractmethod
    def migration(self, ref: TableRef, column: str, stored: str, declared: Column | None) -> str:
        """The SQL that gives a stored column its declared type and nullability; drops it if `declared` is None."""

    def contract(self, ref: TableRef) -> Table | None:
        """The columns the table has now, or None if it does not exist.

        Raises StockcastError for a column of a type that cannot be read or written.
        """
        stored = self.stored(ref)
        if stored is not None:
            frames.check_types(stored, str(ref), self.sql_types)
        return stored

    @abstractmethod
    def replace(
        self,
        ref: TableRef,
        data: pa.Table,
        part: Slice,
        contract: Table,
        attempt: str | None = None,
        added: Added | None = None,
    ) -> None:
        """Make `data` (which obeys `contract`) the rows of `part`: all of it or, on any error, nothing.

        The schema and table are made on first use; a column that is new in `contract` is added. `attempt`
        names this try of a run's step: asking again under the same name does the work once. `added` is stored in the
        same transaction. Raises StockcastError when a table has other columns than its contract, and when the database
        fails; AddedMeanwhileError when a row with the primary key of an added one is there.
        """

    @abstractmethod
    def select(
        self,
        ref: TableRef,
        part: Slice,
        contract: Table,
        columns: Sequence[str],
        order_by: Sequence[str],
        newest: Newest | None = None,
    ) -> pa.Table | None:
        """The slice's rows as stored, or None if the table does not exist; columns it lacks are null."""

    def read_cost(self, ref: TableRef, part: Slice, contract: Table, columns: Sequence[str]) -> int | None:
        """Bytes that reading the slice will be billed for by its size, before it is read; None if reading is free."""
        return None

    def drop_orphans(self) -> list[str]:
        """Drop what dead runs left behind and return its names; nothing where a dead run leaves nothing."""
        return []

    @abstractmethod
    def full_name(self, ref: TableRef) -> str:
        """The table's name as a person would type it in a query."""

    def load(self, ref: TableRef, part: Slice, contract: Table, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The slice's rows, sorted by the contract's primary key; empty if the table does not exist."""
        wanted = frames.wanted_columns(contract, columns)
        data = self.select(ref, part, contract, wanted.column_names, contract.primary_key)
        return frames.to_pandas(data, wanted)

    def read(
        self,
        table: Table,
        *,
        tickers: Sequence[str] | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Rows of a declared table, for some tickers and the dates from `start` to `end`, both included.

        Sorted by primary key. A table that does not exist yet reads as an empty frame of the right dtypes.
        """
        box: list[Condition] = []
        if tickers is not None:
            if len(tickers) == 0:
                return frames.to_pandas(None, frames.wanted_columns(table, columns))
            box.append(Values("ticker", tuple(dict.fromkeys(tickers))))
        if start is not None or end is not None:
            last = _midnight(end)
            box.append(Windows("date", (Span(_midnight(start), last and last + timedelta(days=1)),)))
        boxes: tuple[Box, ...] = (tuple(box),)
        return self.load(TableRef(self.schema, table.name), Slice(boxes), table, columns)

    def newest(
        self, table: Table, by: Sequence[str], columns: Sequence[str], tickers: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Columns of each ticker's last row of a declared table, by the order of the columns `by`; one query."""
        wanted = frames.wanted_columns(table, columns)
        if tickers is not None and not tickers:
            return frames.to_pandas(None, wanted)
        part = Slice.whole() if tickers is None else Slice(((Values("ticker", tuple(tickers)),),))
        ref, last = TableRef(self.schema, table.name), Newest("ticker", tuple(by))
        return frames.to_pandas(self.select(ref, part, table, columns, ("ticker",), last), wanted)

    def count_rows(self, table: Table, by: Sequence[str], tickers: Sequence[str] | None = None) -> pa.Table:
        """How many rows of a declared table share each value of the columns `by`: these and `rows`, in no order.

        One query; a table that does not exist has none.
        """
        part = Slice.whole() if tickers is None else Slice(((Values("ticker", tuple(tickers)),),))
        ref = TableRef(self.schema, table.name)
        stored = None if tickers is not None and not tickers else self.select(ref, part, table, by, ())
        found = frames.conform(stored, frames.wanted_columns(table, by))
        return found.group_by(list(by)).aggregate([([], "count_all")]).rename_columns([*by, "rows"])

    @property
    def version(self) -> str:
        """What changes whenever another warehouse is used and, where that can be seen for nothing, with its rows."""
        return f"{self.kind} {self.place}"

    @property
    def written_at(self) -> datetime | None:
        """When anything was last written (UTC), where that can be seen for nothing; None elsewhere."""
        return None

    def content_hash(self, table: Table) -> tuple[int, str]:
        """Row count and SHA-256 of a declared table's contents, in primary key order.

        The same rows give the same digest in every warehouse, whatever the order they were written in.
        """
        return frames.digest(self.rows(table), table)

    def rows(self, table: Table) -> pa.Table:
        """Every row of a declared table in its declared columns and types, in primary key order."""
        ref = TableRef(self.schema, table.name)
        return frames.conform(self.select(ref, Slice.whole(), table, table.column_names, table.primary_key), table)


def _midnight(day: date | str | None) -> datetime | None:
    return None if day is None else pd.Timestamp(day).normalize().to_pydatetime().replace(tzinfo=None)
