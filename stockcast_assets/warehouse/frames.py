"""A frame against its contract: into Arrow strictly, back into pandas predictably. Knows no database.

The contract is a `tables.Table`: what the asset declares, else what the stored table has, else what the
frame itself shows. Besides the declared types a stored column may be a DATETIME, a time of day without zone:
what other people's assets have in `datetime64[ns]` columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np, pa, pc, pd
from stockcast_assets.schema import Column, ColumnType, Table
from stockcast_assets.warehouse.slices import Slice, Span, time_bound, typed_key


@cache
def arrow_types() -> Mapping[str, pa.DataType]:
    """The Arrow type of every type a column may have."""
    return {
        "STRING": pa.string(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us", tz="UTC"),
        "DATETIME": pa.timestamp("us"),
        "FLOAT64": pa.float64(),
        "INT64": pa.int64(),
        "BOOL": pa.bool_(),
    }


@cache
def _nanoseconds() -> Mapping[str, pa.DataType]:
    return {
        "DATE": pa.timestamp("ns"),
        "DATETIME": pa.timestamp("ns"),
        "TIMESTAMP": pa.timestamp("ns", tz="UTC"),
    }


@dataclass(frozen=True)
class KeyedFrame:
    """A frame that accounts for every partition key of its run.

    `empty_keys` maps each key that rightly has no rows to the reason, e.g. "market closed". Every other key
    must have rows, and no key may have both.

    `adding` gives rows of another table that are stored in the same transaction: both are there, or neither. It is
    asked when the frame is about to be written, and again if somebody else stored rows of the same keys meanwhile.
    """

    frame: pd.DataFrame
    empty_keys: Mapping[str, str] = field(default_factory=dict)
    adding: Callable[[], Addition | None] | None = None


@dataclass(frozen=True)
class Addition:
    """New rows of a declared table, beside those that are there, which stay as they are.

    Attributes:
        table: the table; it has a primary key.
        frame: its new rows.
        metadata: what the keys of the run and the table's asset show of them.
        event: what the table's asset alone shows.
        stored: what is to be done once they are stored.
    """

    table: Table
    frame: pd.DataFrame
    metadata: Mapping[str, Any] = field(default_factory=dict)
    event: Mapping[str, Any] = field(default_factory=dict)
    stored: Callable[[], None] = lambda: None


def to_arrow(frame: object, name: str, contract: Table | None) -> tuple[pa.Table, Table]:
    """The frame as Arrow, exactly in the contract's columns and types, and that contract.

    Columns go by their names: a DataFrame's order has no meaning. Without a contract it is inferred. Raises
    StockcastError, one sentence naming table and column, for: not a DataFrame, a column missing, extra or there twice,
    a value of another type, a null where none may be, a duplicate primary key. Timestamps are stored to the
    microsecond.
    """
    if not isinstance(frame, pd.DataFrame):
        raise StockcastError(
            f"Table {name} takes a pandas DataFrame, not {type(frame).__name__}: return a DataFrame from the asset."
        )
    if contract is None:
        contract = _inferred(frame, name)
    if len(frame) == 0 and len(frame.columns) == 0:
        return conform(None, contract), contract
    places = {str(label): place for place, label in enumerate(frame.columns)}
    _check_columns([str(label) for label in frame.columns], name, contract)
    arrays = []
    for column in contract.columns:
        array = _array(frame.iloc[:, places[column.name]], column, name)
        if column.required and array.null_count:
            row = pc.index(array.is_null(), True).as_py()
            raise StockcastError(
                f"Column {column.name!r} of table {name} has a null in row {row} and may have none: "
                "fill it or leave the row out."
            )
        arrays.append(array)
    data = pa.table(arrays, schema=_schema(contract))
    _check_primary_key(data, contract, name)
    return data, contract


def _inferred(frame: pd.DataFrame, name: str) -> Table:
    columns = []
    for position, label in enumerate(frame.columns):
        source = _from_pandas(frame.iloc[:, position])
        type_ = None if source is None else _type_of(source.type)
        if type_ is None:
            raise StockcastError(
                f"Column {str(label)!r} of table {name} has no type that can be told from its values: "
                "declare the "
                "asset's columns in its metadata 'dagster/column_schema'."
            )
        columns.append(stored_column(str(label), type_))
    if not columns:
        raise StockcastError(f"Table {name} got a DataFrame without columns: return at least one column.")
    return Table(name, "", tuple(columns), ())


def stored_column(name: str, type_: str, *, required: bool = False, description: str = "") -> Column:
    """A column of a table that nobody declared; `type_` may be DATETIME."""
    return Column(name, cast(ColumnType, type_), description, required)


def _type_of(source: pa.DataType) -> str | None:
    if pa.types.is_dictionary(source):
        source = source.value_type
    if pa.types.is_timestamp(source):
        return "TIMESTAMP" if source.tz else "DATETIME"
    families = {
        "STRING": (pa.types.is_string, pa.types.is_large_string),
        "INT64": (pa.types.is_integer,),
        "FLOAT64": (pa.types.is_floating,),
        "BOOL": (pa.types.is_boolean,),
        "DATE": (pa.types.is_date,),
    }
    return next((type_ for type_, tests in families.items() if any(test(source) for test in tests)), None)


# What may become what without changing a value; the cast itself is checked as well.
_TAKES = {
    "FLOAT64": {"FLOAT64", "INT64"},
    "INT64": {"INT64", "FLOAT64"},
    "DATE": {"DATE", "DATETIME"},
}


def _check_columns(found: Sequence[str], name: str, contract: Table) -> None:
    declared = contract.column_names
    lacking = [column for column in declared if column not in found]
    if lacking:
        raise StockcastError(
            f"The frame for table {name} lacks column {lacking[0]!r}: return the columns {', '.join(declared)}."
        )
    extra = [column for column in found if column not in declared]
    if extra:
        raise StockcastError(
            f"The frame for table {name} has the extra column {extra[0]!r}: drop it, or declare it in the "
            "asset's metadata 'dagster/column_schema'."
        )
    if len(found) > len(declared):
        twice = next(column for column in declared if found.count(column) > 1)
        raise StockcastError(f"The frame for table {name} has column {twice!r} twice: drop one of them.")


def _from_pandas(series: pd.Series) -> pa.Array | None:
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return None
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _array(series: pd.Series, column: Column, name: str) -> pa.Array:
    array = _cast(series, column.type)
    if array is None:
        row = next((i for i in range(len(series)) if _cast(series.iloc[i : i + 1], column.type) is None), 0)
        value = series.iloc[row] if len(series) else None
        raise StockcastError(
            f"Column {column.name!r} of table {name} is {column.type} but row {row} holds {value!r} "
            f"({type(value).__name__}): convert the column before returning it."
        )
    return array


def _cast(series: pd.Series, type_: str) -> pa.Array | None:
    """The series as the Arrow type of a column, or None if any value does not fit exactly."""
    source = _from_pandas(series)
    if source is None:
        return None
    if pa.types.is_null(source.type) or len(source) == 0:
        return pa.nulls(len(source), arrow_types()[type_])
    if _type_of(source.type) not in _TAKES.get(type_, {type_}):
        return None
    try:
        if type_ in _nanoseconds():
            # Readers get nanoseconds, so a moment they cannot hold (before 1678, after 2262) is refused here.
            exact = source.cast(_nanoseconds()[type_])
            array = pc.floor_temporal(exact, unit="microsecond").cast(arrow_types()[type_])
            return None if type_ == "DATE" and not array.cast(exact.type).equals(exact) else array
        return source.cast(arrow_types()[type_])
    except pa.ArrowInvalid:
        return None


def _schema(contract: Table) -> pa.Schema:
    return pa.schema(
        [pa.field(column.name, arrow_types()[column.type], nullable=not column.required) for column in contract.columns]
    )


def _check_primary_key(data: pa.Table, contract: Table, name: str) -> None:
    if not contract.primary_key:
        return
    keys = data.select(list(contract.primary_key))
    if keys.group_by(list(contract.primary_key), use_threads=False).aggregate([]).num_rows == data.num_rows:
        return
    row = int(np.flatnonzero(keys.to_pandas().duplicated().to_numpy())[0])
    repeated = _describe(keys.slice(row, 1).to_pylist()[0])
    raise StockcastError(
        f"Row {row} of the frame for table {name} repeats the primary key {repeated}: return each key once."
    )


def rows_per_key(data: pa.Table, part: Slice, contract: Table, name: str) -> dict[str, int] | None:
    """How many rows each partition key of the slice has; None where only the database can tell.

    That is when `partition_expr` is a SQL expression. Raises StockcastError naming the first row that
    belongs to none of the keys.
    """
    if part.keys is None or not set(part.exprs) <= set(contract.column_names):
        return None
    keys = list(part.keys)
    row_codes: np.ndarray = np.zeros(data.num_rows, dtype=np.int64)
    key_codes: np.ndarray = np.zeros(len(keys), dtype=np.int64)
    outside = np.zeros(data.num_rows, dtype=bool)
    for dimension, expr in enumerate(part.exprs):
        column = contract.columns[contract.column_names.index(expr)]
        atoms = list(dict.fromkeys(of_key[dimension] for of_key in part.keys.values()))
        codes = _codes(data[expr], atoms, column, name)
        number = {atom: code for code, atom in enumerate(atoms)}
        outside |= codes < 0
        row_codes = row_codes * len(atoms) + codes
        key_codes = key_codes * len(atoms) + np.array(
            [number[of_key[dimension]] for of_key in part.keys.values()], dtype=np.int64
        )
    positions = pd.Index(key_codes).get_indexer(pd.Index(row_codes))
    positions[outside] = -1
    if (positions < 0).any():
        row = int(np.flatnonzero(positions < 0)[0])
        values = data.select(list(dict.fromkeys(part.exprs))).slice(row, 1).to_pylist()[0]
        raise StockcastError(outside_message(name, part, values, row))
    counts = np.bincount(positions, minlength=len(keys))
    return dict(zip(keys, counts.tolist(), strict=True))


def _codes(values: pa.ChunkedArray, atoms: Sequence[Any], column: Column, name: str) -> np.ndarray:
    """For each row the position of its key among `atoms`, -1 for none."""
    if atoms and isinstance(atoms[0], Span):
        bounds = [
            [_microseconds(time_bound(moment, column.type, column.name, name)) for moment in atom] for atom in atoms
        ]
        order = np.argsort([start for start, _ in bounds])
        starts, ends = np.array(bounds, dtype=np.int64)[order].T
        moments = values.cast(pa.timestamp("us", tz="UTC" if column.type == "TIMESTAMP" else None))
        at = moments.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
        found = np.searchsorted(starts, at, side="right") - 1
        inside = (found >= 0) & (at < ends[found])
        return np.where(inside, order[found], -1)
    typed = pa.array([typed_key(atom, column.type, name) for atom in atoms], arrow_types()[column.type])
    if len(typed.unique()) < len(typed):
        raise StockcastError(
            f"Two partition keys of table {name} mean the same {column.type} in column {column.name!r}: keep one."
        )
    places: np.ndarray = pc.index_in(values, value_set=typed, skip_nulls=True).fill_null(-1).to_numpy().astype(np.int64)
    return places


def _microseconds(bound: Any) -> int:
    return pd.Timestamp(bound).value // 1000


def outside_message(name: str, part: Slice, values: Mapping[str, Any], row: int | None = None) -> str:
    """The sentence for a row that belongs to none of the run's partition keys."""
    keys = list(part.keys or ())
    shown = ", ".join(repr(key) for key in keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
    which = "A row" if row is None else f"Row {row}"
    return (
        f"{which} of the frame for table {name} ({_describe(values)}) lies outside the run's partition keys "
        f"({shown or 'none'}): return only rows of the keys asked for."
    )


def _describe(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{label}={value!r}" if isinstance(value, str) else f"{label}={value}" for label, value in values.items()
    )


def check_keys(counts: Mapping[str, int], empty_keys: Mapping[str, str], name: str) -> None:
    """Every key has rows or a reason to have none, never both; StockcastError names the first that fails."""
    for key in empty_keys:
        if key not in counts:
            raise StockcastError(
                f"Table {name} got a reason for the empty key {key!r}, which is not among the run's "
                "partition keys: "
                "give reasons only for keys of the run."
            )
        if counts[key]:
            raise StockcastError(
                f"Table {name} got {counts[key]} rows for key {key!r}, which is also said to be empty "
                f"({empty_keys[key]}): drop one of the two."
            )
    for key, count in counts.items():
        if not count and key not in empty_keys:
            raise StockcastError(
                f"The frame for table {name} has no rows for partition key {key!r}: return its rows, or a "
                "KeyedFrame that says why it is empty, or set the asset's metadata 'allow_empty' to True."
            )


def check_types(stored: Table, sql_name: str, sql_types: Mapping[str, str]) -> None:
    """StockcastError for a stored column of a type that cannot be read or written."""
    for column in stored.columns:
        if column.type not in arrow_types():
            raise StockcastError(
                f"Column {column.name!r} of table {sql_name} is {column.type}, which cannot be read or "
                f"written: cast it to one of {', '.join(sql_types.values())}."
            )


def wanted_columns(contract: Table, columns: Sequence[str] | None) -> Table:
    """The contract cut down to `columns`, in that order; StockcastError for one it does not have."""
    if columns is None:
        return contract
    by_name = {column.name: column for column in contract.columns}
    for column in columns:
        if column not in by_name:
            raise StockcastError(f"Table {contract.name} has no column {column!r}: choose among {', '.join(by_name)}.")
    return replace(contract, columns=tuple(by_name[column] for column in columns))


def conform(data: pa.Table | None, contract: Table) -> pa.Table:
    """Stored rows in the contract's columns and types; None means no rows.

    Raises StockcastError for a value that a column of the contract's type cannot have: its stored type is another.
    """
    if data is None:
        return _schema(contract).empty_table()
    columns = []
    for column in contract.columns:
        try:
            columns.append(data[column.name].cast(arrow_types()[column.type]))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise StockcastError(
                f"Column {column.name!r} of table {contract.name} is declared as {column.type} but stored as "
                f"{data[column.name].type} ({str(error).splitlines()[0]}): declare it as it is stored, or migrate the "
                "table."
            ) from error
    return pa.table(columns, names=contract.column_names)


def to_pandas(data: pa.Table | None, contract: Table) -> pd.DataFrame:
    """Stored rows as pandas, in the dtypes that `Warehouse` promises."""
    table = conform(data, contract)
    return pd.DataFrame({column.name: _series(table[column.name], column) for column in contract.columns})


def _series(values: pa.ChunkedArray, column: Column) -> pd.Series:
    series: pd.Series
    if column.type in _nanoseconds():
        series = values.cast(_nanoseconds()[column.type]).to_pandas()
    elif values.null_count and column.type == "INT64":
        series = values.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    elif values.null_count and column.type == "BOOL":
        series = values.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    else:
        series = values.to_pandas().astype(object) if column.type == "STRING" else values.to_pandas()
    return series


def _hash_column(digest: Any, column: Column, values: pa.ChunkedArray) -> None:
    """Feed one column to a hash: name, type, where the nulls are, and the values' bytes."""
    digest.update(f"{column.name}:{column.type}:{len(values)};".encode())
    digest.update(np.packbits(values.is_valid().to_numpy()).tobytes())
    if column.type == "STRING":
        filled = values.fill_null("")
        digest.update(pc.binary_length(filled).cast(pa.int64()).to_numpy().tobytes())
        digest.update("".join(filled.to_pylist()).encode())
    elif column.type == "FLOAT64":
        digest.update(values.fill_null(0.0).to_numpy().tobytes())
    elif column.type == "BOOL":
        digest.update(np.packbits(values.fill_null(False).to_numpy()).tobytes())
    else:
        width = pa.int32() if column.type == "DATE" else pa.int64()
        digest.update(values.cast(width).fill_null(0).to_numpy().tobytes())


def digest(data: pa.Table, contract: Table) -> tuple[int, str]:
    """Row count and SHA-256 of rows in the contract's columns and types, in the order they have."""
    sha256 = hashlib.sha256()
    for column in contract.columns:
        _hash_column(sha256, column, data[column.name])
    return data.num_rows, sha256.hexdigest()
