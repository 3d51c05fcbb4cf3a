"""What a bar must look like, whichever source it comes from: the bounds of `tables.RAW_PRICES` and the rules
that tie open, high, low and close together."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError

if TYPE_CHECKING:
    from pandera.errors import SchemaError
    from pandera.pandas import DataFrameSchema

COLUMNS = tables.RAW_PRICES.column_names
PRICES = ("open", "high", "low", "close", "adj_close")
TOLERANCE = 1e-4
"""Relative room for rounding in `low <= open, close <= high`: providers round each price on its own."""

_DTYPES: dict[tables.ColumnType, object] = {
    "STRING": str,
    "DATE": "datetime64[ns]",
    "TIMESTAMP": pd.DatetimeTZDtype("ns", "UTC"),
    "FLOAT64": "float64",
    "INT64": "int64",
    "BOOL": "bool",
}


def empty_bars() -> pd.DataFrame:
    """A bars frame with no row and the right dtypes."""
    dtypes = {
        column.name: object if column.type == "STRING" else _DTYPES[column.type] for column in tables.RAW_PRICES.columns
    }
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()})  # type: ignore[call-overload]


def first_fault(bars: pd.DataFrame) -> tuple[int | None, str] | None:
    """The first thing wrong with a bars frame: its row position and words that complete "the bar has …".

    The position is None, and the words a clause of their own, if the fault is a column's (missing, unexpected
    or of a wrong type). Returns None for a good frame.
    """
    from pandera.errors import SchemaErrors

    positioned = bars.reset_index(drop=True)
    try:
        _schema().validate(positioned, lazy=True)
    except SchemaErrors as errors:
        faults = [_describe(error, positioned) for error in errors.schema_errors]
        return min(faults, key=lambda fault: -1 if fault[0] is None else fault[0])
    return None


def _describe(error: "SchemaError", bars: pd.DataFrame) -> tuple[int | None, str]:
    from pandera.errors import SchemaErrorReason

    reason, cases, column = error.reason_code, error.failure_cases, getattr(error.schema, "name", None)
    if reason == SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
        return None, f"the column {cases} is missing"
    if reason == SchemaErrorReason.COLUMN_NOT_IN_SCHEMA:
        return None, f"the column {cases} is none of a bar's"
    if reason == SchemaErrorReason.WRONG_DATATYPE:
        return None, f"the column {column} must hold {error.schema.dtype}, not {bars[column].dtype}"
    if reason == SchemaErrorReason.SERIES_CONTAINS_NULLS:
        return int(cases["index"].min()), f"no {column}"
    if reason == SchemaErrorReason.DUPLICATES:
        return int(cases["index"].max()), "a second row for that day"
    if reason != SchemaErrorReason.DATAFRAME_CHECK:
        return None, f"the columns must be {', '.join(COLUMNS)}"
    row = int(cases["index"].min())
    if column is not None:
        return row, f"{column} {bars[column].iloc[row]:g}, which {error.check.error}"
    low, high = error.check.name.split("|")
    return row, f"{low} {bars[low].iloc[row]:g} above {high} {bars[high].iloc[row]:g}"


def validate_bars(
    bars: pd.DataFrame, where: str, remedy: str = "correct or remove that row at its origin"
) -> pd.DataFrame:
    """Return `bars` unchanged if every row is a possible bar.

    Raises:
        StockcastError: naming `where`, the first bad row and what is wrong with it, and the `remedy`.
    """
    fault = first_fault(bars)
    if fault is None:
        return bars
    row, words = fault
    if row is None:
        raise StockcastError(f"{where}: {words}.")
    bar = bars.iloc[row]
    day = "an unknown day" if pd.isna(bar["date"]) else f"{bar['date']:%Y-%m-%d}"
    label = f"{bar['ticker']} on {day}"
    raise StockcastError(f"{where}: the bar of {label} has {words}; {remedy}.")


@lru_cache(maxsize=1)
def _schema() -> "DataFrameSchema":
    import pandera.pandas as pa

    def column(declared: tables.Column) -> pa.Column:
        checks = []
        if declared.type == "FLOAT64":
            checks.append(pa.Check(np.isfinite, error="must be a finite number"))
        if declared.gt is not None:
            checks.append(pa.Check.gt(declared.gt, error=f"must be greater than {declared.gt:g}"))
        if declared.ge is not None:
            checks.append(pa.Check.ge(declared.ge, error=f"must be at least {declared.ge:g}"))
        if declared.le is not None:
            checks.append(pa.Check.le(declared.le, error=f"must be at most {declared.le:g}"))
        return pa.Column(_DTYPES[declared.type], checks, nullable=not declared.required)

    def ordered(low: str, high: str) -> pa.Check:
        return pa.Check(lambda bars: ~(bars[low] > bars[high] * (1 + TOLERANCE)), name=f"{low}|{high}")

    return pa.DataFrameSchema(
        {declared.name: column(declared) for declared in tables.RAW_PRICES.columns},
        checks=[
            ordered("low", "high"),
            ordered("open", "high"),
            ordered("close", "high"),
            ordered("low", "open"),
            ordered("low", "close"),
        ],
        unique=list(tables.RAW_PRICES.primary_key),
        strict=True,
        ordered=True,
    )
