"""What a declared table is in BigQuery: its schema, partitions, labels and names, and the SQL that migrates it."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from stockcast_assets.errors import StockcastError
from stockcast_assets.schema import Column, ColumnType, Table
from stockcast_assets.warehouse import frames
from stockcast_assets.warehouse.base import TableRef

if TYPE_CHECKING:
    from google.cloud import bigquery

TYPES: Mapping[str, str] = {type_: type_ for type_ in (*get_args(ColumnType), "DATETIME")}
_STORED: Mapping[str, str] = {
    **TYPES,
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
}


def new_table(name: str, contract: Table, filtered: bool, labels: Mapping[str, str]) -> "bigquery.Table":
    """The table to make: by month on `date` and by `ticker` if it has them; `filtered`: it demands bounds on `date`."""
    from google.cloud import bigquery

    types = {column.name: column.type for column in contract.columns}
    table = bigquery.Table(name, schema=[field(column) for column in contract.columns])
    table.description = contract.description or None
    table.labels = dict(labels)
    if types.get("date") == "DATE":
        table.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="date")
        table.require_partition_filter = filtered and can_demand_bounds(contract)
    if types.get("ticker") == "STRING":
        table.clustering_fields = ["ticker"]
    return table


def field(column: Column) -> "bigquery.SchemaField":
    """A column as BigQuery describes it."""
    from google.cloud import bigquery

    mode = "REQUIRED" if column.required else "NULLABLE"
    described: dict[str, Any] = {"description": column.description} if column.description else {}
    return bigquery.SchemaField(column.name, column.type, mode, **described)


def stored_table(table: "bigquery.Table", ref: TableRef) -> Table:
    """The columns of BigQuery's table, of whatever type."""
    columns = []
    for found in table.schema:
        type_ = f"{found.mode} {found.field_type}" if found.mode == "REPEATED" else found.field_type
        columns.append(frames.stored_column(found.name, _STORED.get(type_, type_), required=found.mode == "REQUIRED"))
    return Table(ref.name, "", tuple(columns), ())


def migration(name: str, column: str, stored: str, declared: Column | None) -> str:
    """The SQL that gives a stored column its declared type and nullability; drops it if `declared` is None."""
    table, quoted = quote(name), quote(column)
    if declared is None:
        return f"ALTER TABLE {table} DROP COLUMN {quoted}"
    if declared.type == stored:
        return f"ALTER TABLE {table} ALTER COLUMN {quoted} DROP NOT NULL"
    if (stored, declared.type) == ("INT64", "FLOAT64"):
        return f"ALTER TABLE {table} ALTER COLUMN {quoted} SET DATA TYPE FLOAT64"
    # BigQuery changes the type of a column only where every value of the old type is one of the new.
    cast = quote(f"{column}_as_{declared.type.lower()}")
    return "; ".join(
        (
            f"ALTER TABLE {table} ADD COLUMN {cast} {declared.type}",
            f"UPDATE {table} SET {cast} = CAST({quoted} AS {declared.type}) WHERE TRUE",  # noqa: S608
            f"ALTER TABLE {table} DROP COLUMN {quoted}",
            f"ALTER TABLE {table} RENAME COLUMN {cast} TO {quoted}",
        )
    )


def table_label(table: str) -> dict[str, str]:
    """The label of a job, or stage, that works for a table."""
    return {"table": re.sub(r"[^a-z0-9_-]", "_", table.lower())[:63]}


def quote(name: str) -> str:
    """An identifier, quoted; StockcastError for one that could end its quotes."""
    if re.search(r"[`\\\n]", name):
        raise StockcastError(f"BigQuery cannot have the name {name!r}: leave out backticks and backslashes.")
    return f"`{name}`"


def can_demand_bounds(contract: Table) -> bool:
    """Whether a table can demand a bound on `date`: a row without a date would be out of every bound."""
    return any(column.name == "date" and column.type == "DATE" and column.required for column in contract.columns)
