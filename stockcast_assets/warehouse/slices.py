"""Which rows a run owns: partition keys turned into exact conditions, and those into SQL. Knows no database.

A slice is a union of boxes; a box is one condition per partition dimension, all of which must hold. Keys
become as few boxes as stay exact: values that share the same list of time windows share a box, and
neighbouring windows become one span, so 1,000 keys of 4 tickers are one statement with one box.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, ClassVar, NamedTuple

from dagster import (
    MultiPartitionKey,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from stockcast_assets.errors import StockcastError
from stockcast_assets.schema import Table


class Span(NamedTuple):
    """Half-open time window `[start, end)`; an end that is None is open."""

    start: datetime | None
    end: datetime | None


class Values(NamedTuple):
    """`expr` is one of the keys of a static or dynamic dimension."""

    expr: str
    values: tuple[str, ...]


class Windows(NamedTuple):
    """`expr` lies in one of the spans of a time dimension."""

    expr: str
    spans: tuple[Span, ...]


Condition = Values | Windows
Box = tuple[Condition, ...]
Atom = str | Span


@dataclass(frozen=True)
class Slice:
    """The rows of a set of partition keys.

    `boxes` is the union of rows; `keys` maps each partition key to its value or span per dimension, in
    the order of `exprs`. A slice without keys is a plain range of a table, good for reading.
    """

    boxes: tuple[Box, ...]
    exprs: tuple[str, ...] = ()
    keys: Mapping[str, tuple[Atom, ...]] | None = None

    @classmethod
    def whole(cls) -> "Slice":
        """Every row of a table: what an unpartitioned asset owns."""
        return cls(boxes=((),))


def slice_of(
    keys: Iterable[str],
    partitions_def: PartitionsDefinition,
    partition_expr: str | Mapping[str, str] | None,
    asset: str,
) -> Slice:
    """The slice of `keys`, any set of them, rectangular or not.

    `partition_expr` names the column (or SQL expression) of the partition: a str, or for multi-partitions
    a mapping of dimension name to it. Raises StockcastError when it is missing or does not fit.
    """
    if isinstance(partitions_def, MultiPartitionsDefinition):
        return _multi_slice(keys, partitions_def, partition_expr, asset)
    if not isinstance(partition_expr, str):
        raise StockcastError(
            f"Asset {asset} is partitioned but its metadata 'partition_expr' is {partition_expr!r}: set it "
            'to the column that holds the partition, e.g. metadata={"partition_expr": "date"}.'
        )
    atom = _atoms_of(partitions_def)
    return _union((partition_expr,), {str(key): (atom(key),) for key in keys})


def _multi_slice(
    keys: Iterable[str],
    partitions_def: MultiPartitionsDefinition,
    partition_expr: str | Mapping[str, str] | None,
    asset: str,
) -> Slice:
    dimensions = partitions_def.partitions_defs
    names = [dimension.name for dimension in dimensions]
    if not isinstance(partition_expr, Mapping) or not all(isinstance(partition_expr.get(name), str) for name in names):
        raise StockcastError(
            f"Asset {asset} is partitioned by {' and '.join(names)} but its metadata 'partition_expr' is "
            f"{partition_expr!r}: give one column per dimension, e.g. "
            f"{ {name: name for name in names} }."
        )
    atoms = [_atoms_of(dimension.partitions_def) for dimension in dimensions]
    by_key: dict[str, tuple[Atom, ...]] = {}
    for key in keys:
        multi = key if isinstance(key, MultiPartitionKey) else partitions_def.get_partition_key_from_str(key)
        parts = multi.keys_by_dimension
        by_key[str(key)] = tuple(atom(parts[name]) for atom, name in zip(atoms, names, strict=True))
    return _union(tuple(partition_expr[name] for name in names), by_key)


def _atoms_of(partitions_def: PartitionsDefinition) -> Any:
    """A function from one dimension's key to its value or time span; cached, since cron windows are slow."""
    if not isinstance(partitions_def, TimeWindowPartitionsDefinition):
        return str
    cache: dict[str, Span] = {}

    def span(key: str) -> Span:
        if key not in cache:
            window = partitions_def.time_window_for_partition_key(key)
            cache[key] = Span(window.start, window.end)
        return cache[key]

    return span


def _union(exprs: tuple[str, ...], keys: Mapping[str, tuple[Atom, ...]]) -> Slice:
    return Slice(tuple(_boxes(exprs, list(keys.values()))), exprs, keys)


def _boxes(exprs: tuple[str, ...], points: Sequence[tuple[Atom, ...]]) -> Iterable[Box]:
    """Disjoint boxes whose union is exactly `points`, by merging along one dimension after the other."""
    boxes: list[tuple[tuple[Atom, ...], ...]] = [tuple((atom,) for atom in point) for point in points]
    # Time first: neighbouring days become a span, and then tickers with the same spans share a box.
    time_first = sorted(range(len(exprs)), key=lambda i: not (points and isinstance(points[0][i], Span)))
    for dimension in time_first:
        groups: dict[Hashable, set[Atom]] = {}
        for box in boxes:
            groups.setdefault(box[:dimension] + box[dimension + 1 :], set()).update(box[dimension])
        boxes = [
            (*rest[:dimension], _merge(atoms), *rest[dimension:])  # type: ignore[index]
            for rest, atoms in groups.items()
        ]
    for box in boxes:
        yield tuple(
            Windows(expr, atoms) if isinstance(atoms[0], Span) else Values(expr, atoms)  # type: ignore[arg-type]
            for expr, atoms in zip(exprs, box, strict=True)
        )


def _merge(atoms: set[Atom]) -> tuple[Atom, ...]:
    spans = sorted(atom for atom in atoms if isinstance(atom, Span))
    if not spans:
        return tuple(sorted(atom for atom in atoms if isinstance(atom, str)))
    merged = [spans[0]]
    for span in spans[1:]:
        if merged[-1].end is not None and span.start == merged[-1].end:
            merged[-1] = Span(merged[-1].start, span.end)
        else:
            merged.append(span)
    return tuple(merged)


class Newest(NamedTuple):
    """One row for each value of the column `of`: the last one by the columns `by`."""

    of: str
    by: tuple[str, ...]


class Dialect(ABC):
    """How one SQL dialect quotes a name, writes a time literal and takes keys as query parameters.

    One instance renders one statement: `parameters` collects what to pass with it.
    """

    types: ClassVar[Mapping[str, str]]
    """The SQL name of each column type."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []

    @abstractmethod
    def quote(self, name: str) -> str:
        """An identifier, quoted."""

    @abstractmethod
    def among(self, expr: str, values: Sequence[Any], type_: str) -> str:
        """SQL for `expr` being one of `values`, each passed as a query parameter of `type_`."""


def select(
    table: str,
    condition: str,
    contract: Table,
    columns: Sequence[str],
    dialect: Dialect,
    order_by: Sequence[str] = (),
    lacking: Collection[str] = (),
    newest: Newest | None = None,
) -> str:
    """The query for columns of the rows where `condition` holds; those that the table is `lacking` read as null.

    Of several rows of one `newest.of`, only the last one by `newest.by`.
    """
    types = {column.name: column.type for column in contract.columns}
    listed = [
        f"CAST(NULL AS {dialect.types[types[name]]}) AS {dialect.quote(name)}"
        if name in lacking
        else dialect.quote(name)
        for name in columns
    ]
    query = f"SELECT {', '.join(listed)} FROM {table} WHERE {condition}"  # noqa: S608
    if newest is not None:
        by = ", ".join(f"{dialect.quote(name)} DESC" for name in newest.by)
        query += f" QUALIFY ROW_NUMBER() OVER (PARTITION BY {dialect.quote(newest.of)} ORDER BY {by}) = 1"
    return f"{query} ORDER BY {', '.join(map(dialect.quote, order_by))}" if order_by else query


def where(part: Slice, contract: Table, dialect: Dialect) -> str:
    """The slice as a SQL condition over the columns of `contract`.

    Keys travel as query parameters (collected in `dialect.parameters`); time bounds are literals made from
    datetimes, typed by the column, because literals prune partitions.
    """
    boxes = [_box_sql(box, contract, dialect) for box in part.boxes]
    if not boxes:
        return "FALSE"
    if len(boxes) == 1:
        return boxes[0]
    union = "(" + " OR ".join(f"({box})" for box in boxes) + ")"
    hull = [_windows_sql(hull, contract, dialect) for hull in _hulls(part)]
    return " AND ".join([*hull, union])


def _hulls(part: Slice) -> Iterable[Windows]:
    """The bounds around all boxes, per time dimension: redundant, but it prunes where an OR might not."""
    for conditions in zip(*part.boxes, strict=True):
        spans = [span for condition in conditions if isinstance(condition, Windows) for span in condition.spans]
        starts = [span.start for span in spans if span.start is not None]
        ends = [span.end for span in spans if span.end is not None]
        if spans and len(starts) == len(ends) == len(spans):
            yield Windows(conditions[0].expr, (Span(min(starts), max(ends)),))


def _box_sql(box: Box, contract: Table, dialect: Dialect) -> str:
    conditions = [
        _windows_sql(condition, contract, dialect)
        if isinstance(condition, Windows)
        else _values_sql(condition, contract, dialect)
        for condition in box
    ]
    return " AND ".join(conditions) or "TRUE"


def _values_sql(condition: Values, contract: Table, dialect: Dialect) -> str:
    expr, type_ = _expression(condition.expr, contract, dialect)
    type_ = type_ or "STRING"
    return dialect.among(expr, [typed_key(value, type_, contract.name) for value in condition.values], type_)


def _windows_sql(condition: Windows, contract: Table, dialect: Dialect) -> str:
    expr, type_ = _expression(condition.expr, contract, dialect)
    spans = []
    for start, end in condition.spans:
        bounds = []
        if start is not None:
            bounds.append(f"{expr} >= {_literal(start, type_, condition.expr, contract.name, dialect)}")
        if end is not None:
            bounds.append(f"{expr} < {_literal(end, type_, condition.expr, contract.name, dialect)}")
        spans.append(" AND ".join(bounds) or "TRUE")
    return spans[0] if len(spans) == 1 else "(" + " OR ".join(f"({span})" for span in spans) + ")"


def _expression(expr: str, contract: Table, dialect: Dialect) -> tuple[str, str | None]:
    """`expr` as SQL and its column type, None for an expression that is not a plain column."""
    for column in contract.columns:
        if column.name == expr:
            return dialect.quote(expr), column.type
    if expr.isidentifier():
        raise StockcastError(
            f"The 'partition_expr' of table {contract.name} names column {expr!r}, which it does not have; "
            f"its columns are {', '.join(contract.column_names)}."
        )
    return f"({expr})", None


def _literal(moment: datetime, type_: str | None, expr: str, table: str, dialect: Dialect) -> str:
    bound = time_bound(moment, type_, expr, table)
    text = bound.isoformat(sep=" ") if isinstance(bound, datetime) else bound.isoformat()
    # An untyped string takes the type of whatever expression it is compared with.
    return f"'{text}'" if type_ is None else f"{dialect.types[type_]} '{text}'"


def time_bound(moment: datetime, type_: str | None, expr: str, table: str) -> date | datetime:
    """A window's bound as a value of the column's type: a date, a UTC datetime or a wall-clock datetime.

    Raises StockcastError for a column that holds no time and for windows that split the days of a DATE.
    """
    if type_ == "TIMESTAMP":
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    wall_clock = moment.replace(tzinfo=None)
    if type_ in ("DATETIME", None):
        return wall_clock
    if type_ != "DATE":
        raise StockcastError(
            f"The 'partition_expr' of table {table} names column {expr!r} of type {type_}, but its "
            f"partitions are time windows: name a DATE or TIMESTAMP column, or an expression such as CAST({expr} AS "
            "DATE)."
        )
    if wall_clock.time() != datetime.min.time():
        raise StockcastError(
            f"The 'partition_expr' of table {table} names the DATE column {expr!r}, but its partitions begin "
            f"within a day ({wall_clock}): name a TIMESTAMP column."
        )
    return wall_clock.date()


_PARSE: Mapping[str, Any] = {
    "STRING": str,
    "INT64": int,
    "FLOAT64": float,
    "BOOL": lambda text: {"true": True, "false": False}[text.lower()],
    "DATE": date.fromisoformat,
    "DATETIME": datetime.fromisoformat,
    "TIMESTAMP": lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
}


def typed_key(key: str, type_: str, table: str) -> Any:
    """A static or dynamic partition key as a value of its column's type; StockcastError if it is none."""
    try:
        return _PARSE[type_](key)
    except (ValueError, KeyError):
        raise StockcastError(
            f"Partition key {key!r} of table {table} is no {type_}, which its column is: "
            "rename the key or change the column's type."
        ) from None
