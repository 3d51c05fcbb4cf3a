"""Declared tables against a warehouse, and from one warehouse into another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pa
from stockcast_assets.schema import Column, Table
from stockcast_assets.warehouse import evolution, frames
from stockcast_assets.warehouse.base import TableRef, Warehouse
from stockcast_assets.warehouse.evolution import Difference
from stockcast_assets.warehouse.slices import Slice


@dataclass(frozen=True)
class Comparison:
    """A declared table as a warehouse has it: not at all, or with these differences."""

    table: str
    created: bool
    differences: Sequence[Difference]


@dataclass(frozen=True)
class Copy:
    """A table that is now the same in two warehouses; `written` is False if it already was."""

    table: str
    rows: int
    sha256: str
    written: bool


def compare(warehouse: Warehouse, tables: Iterable[Table]) -> list[Comparison]:
    """Each declared table beside the stored one. A table that was never written has no differences."""
    compared = []
    for table in tables:
        ref = TableRef(warehouse.schema, table.name)
        stored = warehouse.stored(ref)

        def migrate(column: str, type_: str, declared: Column | None, ref: TableRef = ref) -> str:
            return warehouse.migration(ref, column, type_, declared)

        differences = [] if stored is None else evolution.differences(stored, table, migrate)
        compared.append(Comparison(table.name, stored is not None, differences))
    return compared


def copy(
    source: Warehouse,
    target: Warehouse,
    tables: Sequence[Table],
    *,
    overwrite: bool = False,
    overwriting: str = "copying with overwrite=True",
    done: Callable[[Copy], None] = lambda copied: None,
) -> list[Copy]:
    """Make the target's tables the source's, one after the other, each all or nothing.

    A table is in memory while it is copied. `overwriting` says in the caller's words what replaces other rows.
    `done` hears of each table once its rows are counted and hashed in the target; tables that exist in neither
    warehouse are left out. Running again after a failure copies what is missing.

    Raises:
        StockcastError: before anything is written, if the source has no table, a table of either is not as
            declared, or the target holds other rows and `overwrite` is not set; afterwards, if what arrived
            is not what was sent.
    """
    present = _present(source, tables)
    if not present:
        raise StockcastError(f"There is nothing to copy: {source.place} holds none of these tables.")
    there = _present(target, tables)
    concerned = [table for table in tables if table in present or table in there]
    held = {table.name: target.content_hash(table) for table in there}
    if not overwrite:
        for table in there:
            if held[table.name][0] and held[table.name] != source.content_hash(table):
                raise StockcastError(
                    f"Table {table.name} of {target.place} holds {held[table.name][0]} rows that are not those of "
                    f"{source.place}, and nothing was copied: {overwriting} replaces what {target.place} holds."
                )
    copies = []
    for table in concerned:
        data = source.rows(table)
        sent = frames.digest(data, table)
        written = held.get(table.name) != sent
        if written:
            target.replace(TableRef(target.schema, table.name), data, Slice.whole(), _as_it_is(table, data))
            arrived = target.content_hash(table)
            if arrived != sent:
                raise StockcastError(
                    f"Table {table.name} has {sent[0]} rows in {source.place} (hash {sent[1][:12]}) but {arrived[0]} "
                    f"in {target.place} (hash {arrived[1][:12]}): copy again while nothing else writes."
                )
        copies.append(Copy(table.name, *sent, written))
        done(copies[-1])
    return copies


def _present(warehouse: Warehouse, tables: Sequence[Table]) -> list[Table]:
    """The declared tables that the warehouse has; StockcastError if one of them must be migrated."""
    compared = compare(warehouse, tables)
    for comparison in compared:
        for different in comparison.differences:
            if different.migration:
                raise StockcastError(
                    f"Table {comparison.table} of {warehouse.place} is not as declared (column "
                    f"{different.column!r}), and nothing was copied: run "
                    f"{different.migration} there first."
                )
    return [table for table, comparison in zip(tables, compared, strict=True) if comparison.created]


def _as_it_is(table: Table, data: pa.Table) -> Table:
    """The declaration, but a column that got its nulls when it was added may keep them."""
    return replace(
        table,
        columns=tuple(
            replace(column, required=column.required and not data[column.name].null_count) for column in table.columns
        ),
    )
