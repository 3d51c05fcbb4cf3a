"""What a declaration of a table is made of: columns of BigQuery's standard types, and what identifies a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stockcast_assets.libraries import pd

ColumnType = Literal["STRING", "DATE", "TIMESTAMP", "FLOAT64", "INT64", "BOOL"]
DTYPES: Mapping[ColumnType, str] = {
    "STRING": "object",
    "DATE": "datetime64[ns]",
    "TIMESTAMP": "datetime64[ns, UTC]",
    "FLOAT64": "float64",
    "INT64": "int64",
    "BOOL": "bool",
}
"""What a column without nulls is in a frame."""


@dataclass(frozen=True)
class Column:
    """A column: `required` forbids nulls, `ge`/`gt`/`le` bound the non-null values."""

    name: str
    type: ColumnType
    description: str
    required: bool = False
    ge: float | None = None
    gt: float | None = None
    le: float | None = None


@dataclass(frozen=True)
class Table:
    """A table: its columns in stored order, the columns that identify a row, and what the columns come from.

    Attributes:
        lineage: the columns of other tables (`orders.amount`) that each column's values are computed from.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    lineage: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False, compare=False)

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def empty(self) -> pd.DataFrame:
        """A frame with no row, and every column in its dtype."""
        return pd.DataFrame({column.name: pd.Series(dtype=DTYPES[column.type]) for column in self.columns})
