"""Between a table's declaration and Dagster's metadata, both ways."""

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from dagster import (
    AssetKey,
    TableColumn,
    TableColumnConstraints,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
    TableSchemaMetadataValue,
)

from stockcast_assets.errors import StockcastError
from stockcast_assets.schema import Column, ColumnType, Table

COLUMN_SCHEMA = "dagster/column_schema"
COLUMN_LINEAGE = "dagster/column_lineage"
STORED_TYPES = (*get_args(ColumnType), "DATETIME")


def table_schema(table: Table) -> TableSchema:
    """The table's columns as Dagster shows them: BigQuery's type names, bounds as constraints."""
    return TableSchema(columns=[_table_column(column, table.lineage.get(column.name, ())) for column in table.columns])


def column_lineage(table: Table) -> TableColumnLineage:
    """What each column comes from, as Dagster has it."""
    return TableColumnLineage(
        {
            column: [TableColumnDep(AssetKey(origin.split(".")[0]), origin.split(".")[1]) for origin in origins]
            for column, origins in table.lineage.items()
        }
    )


def _in_words(origins: Sequence[str]) -> str:
    """`sales.amount, refunds.amount, items.count` → `amount of sales and refunds; count of items`."""
    tables: dict[str, list[str]] = {}
    for origin in origins:
        table, column = origin.split(".")
        tables.setdefault(table, []).append(column)
    same: dict[str, list[str]] = {}
    for table, columns in tables.items():
        same.setdefault(", ".join(columns), []).append(table)
    return "; ".join(f"{columns} of {' and '.join(names)}" for columns, names in same.items())


def _table_column(column: Column, origins: Sequence[str]) -> TableColumn:
    bounds = {">=": column.ge, ">": column.gt, "<=": column.le}
    return TableColumn(
        column.name,
        column.type,
        column.description or None,
        TableColumnConstraints(
            nullable=not column.required,
            other=[f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None],
        ),
        # Dagster's own webserver draws no column lineage, but it shows the tags of columns.
        {"from": _in_words(origins)} if origins else None,
    )


def asset_metadata(
    table: Table, partition_expr: str | Mapping[str, str] | None = None, schema: str = "stockcast"
) -> dict[str, Any]:
    """Definition metadata of the asset that a table stores: the contract its IO manager holds it to."""
    metadata: dict[str, Any] = {
        COLUMN_SCHEMA: table_schema(table),
        "dagster/table_name": f"{schema}.{table.name}",
        "primary_key": list(table.primary_key),
    }
    if table.lineage:
        metadata[COLUMN_LINEAGE] = column_lineage(table)
    if partition_expr is not None:
        metadata["partition_expr"] = partition_expr
    return metadata


def plain(value: Any) -> Any:
    """A metadata value without Dagster's wrapper, if it has one."""
    return getattr(value, "data", getattr(value, "value", value))


def declared_table(name: str, metadata: Mapping[str, Any]) -> Table | None:
    """The contract that an asset declares in its metadata, or None if it declares no columns.

    Reads `dagster/column_schema` (types are BigQuery's names; a constraint `nullable=False` forbids nulls)
    and `primary_key`. Raises StockcastError for a type or key column that does not exist.
    """
    schema = metadata.get(COLUMN_SCHEMA)
    if isinstance(schema, TableSchemaMetadataValue):
        schema = schema.schema
    if schema is None:
        return None
    if not isinstance(schema, TableSchema):
        raise StockcastError(f"The metadata {COLUMN_SCHEMA!r} of table {name} is no TableSchema: give it one.")
    for column in schema.columns:
        if column.type not in STORED_TYPES:
            raise StockcastError(
                f"Column {column.name!r} of table {name} is declared as {column.type!r}: use one of "
                f"{', '.join(STORED_TYPES)}."
            )
    columns = tuple(
        Column(
            column.name,
            cast(ColumnType, column.type),
            column.description or "",
            not column.constraints.nullable,
        )
        for column in schema.columns
    )
    primary_key = tuple(plain(metadata.get("primary_key")) or ())
    unknown = set(primary_key) - {column.name for column in columns}
    if unknown:
        raise StockcastError(
            f"The primary key of table {name} names column {min(unknown)!r}, which is not declared: add the "
            "column or correct 'primary_key'."
        )
    return Table(name, "", columns, primary_key)
