"""A stored table against its declaration: what the next write adds, and what only its owner can migrate."""

from collections.abc import Callable
from dataclasses import dataclass

from stockcast_assets.errors import StockcastError
from stockcast_assets.schema import Column, Table


@dataclass(frozen=True)
class Difference:
    """A column that is not stored as it is declared; `migration` is the SQL that makes it so.

    A column that is not stored yet needs none: the next write adds it.
    """

    column: str
    stored: str | None
    declared: str | None
    migration: str | None


Migrate = Callable[[str, str, Column | None], str]


def differences(stored: Table, contract: Table, migrate: Migrate) -> list[Difference]:
    """What keeps a stored table from being as declared, the stored columns first.

    `migrate(column name, stored type, declaration)` is the SQL that gives a stored column its declared type and
    nullability, or drops it where the declaration is None. That a stored column allows nulls which the
    declaration forbids is no difference: a column that was added has none in older rows.
    """
    declared = {column.name: column for column in contract.columns}
    found = []
    for column in stored.columns:
        wanted = declared.get(column.name)
        was: str = column.type
        must: str | None = None if wanted is None else wanted.type
        if wanted is not None and was == must:
            if wanted.required or not column.required:
                continue
            was, must = f"{was} NOT NULL", f"{must} NULL"
        found.append(Difference(column.name, was, must, migrate(column.name, column.type, wanted)))
    known = set(stored.column_names)
    return found + [Difference(c.name, None, c.type, None) for c in contract.columns if c.name not in known]


def new_columns(stored: Table, contract: Table, sql_name: str, migrate: Migrate) -> list[Column]:
    """The columns that the contract adds to a stored table.

    Raises StockcastError with the SQL that migrates the table when a column was removed or retyped, or may now
    be null and could not.
    """
    new = set()
    for different in differences(stored, contract, migrate):
        if different.declared is None:
            raise StockcastError(
                f"Table {sql_name} still has column {different.column!r}, which is no longer declared: declare it "
                f"again, or run {different.migration}."
            )
        if different.stored is not None:
            raise StockcastError(
                f"Column {different.column!r} of table {sql_name} is stored as {different.stored} but declared as "
                f"{different.declared}: declare it as it is stored, or run {different.migration}."
            )
        new.add(different.column)
    return [column for column in contract.columns if column.name in new]
