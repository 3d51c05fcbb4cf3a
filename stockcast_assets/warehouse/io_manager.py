"""Dagster's side of a warehouse: what a run's output or input means as a slice and a contract.

The conventions are those of Dagster's own database IO managers (`schema`, `partition_expr` and `columns`
metadata, the asset key's last part as table name), so any asset can use these instead.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any

from dagster import AssetMaterialization, ConfigurableIOManager, InputContext, OutputContext

from stockcast_assets.dagster_private.fixed import FixedConfiguration
from stockcast_assets.dagster_private.key_metadata import add_key_metadata
from stockcast_assets.dagster_private.reads import attempts_before
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pa, pd
from stockcast_assets.schema import Table
from stockcast_assets.warehouse import frames
from stockcast_assets.warehouse.base import Added, AddedMeanwhileError, TableRef, Warehouse
from stockcast_assets.warehouse.frames import Addition, KeyedFrame
from stockcast_assets.warehouse.slices import Slice, slice_of
from stockcast_assets.warehouse.table_metadata import COLUMN_SCHEMA, declared_table, plain, table_schema

_LISTED_KEYS = 5
# How often rows are made anew because others added some of the same keys meanwhile.
_TRIES = 5


class WarehouseIOManager(FixedConfiguration, ConfigurableIOManager):
    """Stores DataFrames as slices of tables and loads slices as DataFrames.

    An asset returns a DataFrame with rows for every partition key of the run, or a `KeyedFrame` that says
    why some keys are empty; definition metadata `allow_empty: True` lifts that. Its contract is what its
    metadata declares (see `tables_metadata.asset_metadata`), else the columns the table has, else the
    frame's own. A frame that breaks the contract fails the run and leaves the table as it was.

    Where it writes is told in code: a run's configuration cannot change it, so a run that is green has its data where
    it belongs.
    """

    @abstractmethod
    def warehouse(self) -> Warehouse:
        """The warehouse this IO manager writes to."""

    def default_schema(self) -> str | None:
        """The schema of every table that names none itself."""
        return None

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Replaces exactly the run's slice; raises StockcastError with nothing written otherwise."""
        warehouse = self.warehouse()
        ref = self._table_ref(context, context.definition_metadata)
        if obj is None:
            raise StockcastError(
                f"Table {ref} got None, so there is nothing to store: return a DataFrame, or annotate the "
                "asset with "
                "'-> None' if it stores its own result."
            )
        part = self._slice(context, context.definition_metadata)
        keyed = obj if isinstance(obj, KeyedFrame) else KeyedFrame(obj)
        contract = declared_table(ref.name, context.definition_metadata) or warehouse.contract(ref)
        data, contract = frames.to_arrow(keyed.frame, ref.name, contract)
        counts = frames.rows_per_key(data, part, contract, ref.name)
        _check_complete(obj, part, counts, data.num_rows, ref, context.definition_metadata)
        addition = replace_with_addition(warehouse, ref, data, part, contract, _attempt(context), keyed)
        metadata = _output_metadata(warehouse, ref, data.num_rows, counts, keyed)
        if addition is not None:
            metadata |= addition.metadata
            context.log_event(
                AssetMaterialization(addition.table.name, metadata={**addition.metadata, **addition.event})
            )
            addition.stored()
        if COLUMN_SCHEMA not in context.definition_metadata:
            metadata[COLUMN_SCHEMA] = table_schema(contract)
        if counts is None:
            context.add_output_metadata(metadata)
            return
        # Of each key and not of the output: that would stand first on its page, before what the asset says of it.
        rows = {key: {"dagster/row_count": n, "dagster/partition_row_count": n} for key, n in counts.items()}
        add_key_metadata(context, {key: own | {**metadata, **own} for key, own in rows.items()})

    def load_input(self, context: InputContext) -> pd.DataFrame:
        """The upstream slice that the run maps to; keys that were never stored simply have no rows."""
        expected = context.dagster_type.typing_type
        if expected not in (Any, pd.DataFrame):
            raise StockcastError(
                f"Input {context.name!r} is annotated {expected!r}, but a warehouse loads a pandas "
                "DataFrame: "
                "annotate it pd.DataFrame."
            )
        upstream = context.upstream_output
        metadata: Mapping[str, Any] = (upstream.definition_metadata if upstream else None) or {}
        ref = self._table_ref(context if context.has_asset_key or upstream is None else upstream, metadata)
        part = self._slice(context, metadata)
        warehouse = self.warehouse()
        contract = declared_table(ref.name, metadata) or warehouse.contract(ref)
        if contract is None and part.keys is None:
            raise StockcastError(
                f"Table {ref} does not exist yet, so input {context.name!r} cannot be loaded: materialise "
                "its asset "
                "first."
            )
        if contract is None:
            return pd.DataFrame()
        columns = plain((context.definition_metadata or {}).get("columns"))
        cost = warehouse.read_cost(ref, part, contract, frames.wanted_columns(contract, columns).column_names)
        if cost is not None:
            _tell_cost(context, warehouse.full_name(ref), cost)
        return warehouse.load(ref, part, contract, columns)

    def _table_ref(self, context: InputContext | OutputContext, metadata: Mapping[str, Any]) -> TableRef:
        schema = plain(metadata.get("schema")) or self.default_schema()
        if context.has_asset_key:
            path = context.asset_key.path
            return TableRef(schema or (path[-2] if len(path) > 1 else "public"), path[-1])
        return TableRef(schema or "public", plain(metadata.get("table")) or context.name)

    def _slice(self, context: InputContext | OutputContext, metadata: Mapping[str, Any]) -> Slice:
        if not (context.has_asset_key and context.has_asset_partitions):
            return Slice.whole()
        return slice_of(
            sorted(context.asset_partition_keys),
            context.asset_partitions_def,
            plain(metadata.get("partition_expr")),
            context.asset_key.to_user_string(),
        )


def replace_with_addition(
    warehouse: Warehouse, ref: TableRef, data: pa.Table, part: Slice, contract: Table, attempt: str, keyed: KeyedFrame
) -> Addition | None:
    """Store a slice, with what comes in its transaction; the latter if there is something."""
    for left in reversed(range(_TRIES)):
        addition = keyed.adding() if keyed.adding else None
        if addition is None:
            warehouse.replace(ref, data, part, contract, attempt)
            return None
        rows, declared = frames.to_arrow(addition.frame, addition.table.name, addition.table)
        added = Added(TableRef(ref.schema, addition.table.name), rows, declared)
        try:
            warehouse.replace(ref, data, part, contract, attempt, added)
            return addition
        except AddedMeanwhileError:
            if not left:
                raise
    raise AssertionError


def _tell_cost(context: InputContext, table: str, cost: int) -> None:
    # Dagster keeps an input's metadata with one partition key; an input of none or of many has the log.
    if context.has_asset_partitions and len(list(context.asset_partition_keys)) != 1:
        context.log.info(f"Reading {table} will process {cost} bytes.")
    else:
        context.add_input_metadata({"table": table, "bytes to read": cost})


def _check_complete(
    obj: Any,
    part: Slice,
    counts: Mapping[str, int] | None,
    rows: int,
    ref: TableRef,
    metadata: Mapping[str, Any],
) -> None:
    if isinstance(obj, KeyedFrame):
        if counts is None:
            raise StockcastError(
                f"Table {ref} got a KeyedFrame, but its partition keys cannot be told from its rows: name "
                "plain columns in the asset's 'partition_expr', or return a DataFrame."
            )
        frames.check_keys(counts, obj.empty_keys, ref.name)
        return
    if plain(metadata.get("allow_empty")) is True:
        return
    if rows == 0:
        raise StockcastError(
            f"The frame for table {ref} is empty, which would delete what is stored: return rows, or a "
            "KeyedFrame that "
            "says why each key is empty, or set the asset's metadata 'allow_empty' to True."
        )
    if counts is not None:
        frames.check_keys(counts, {}, ref.name)


def _attempt(context: OutputContext) -> str:
    return f"{context.run_id}/{context.step_key}/{context.name}/{attempts_before(context)}"


def _output_metadata(
    warehouse: Warehouse,
    ref: TableRef,
    rows: int,
    counts: Mapping[str, int] | None,
    keyed: KeyedFrame,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/row_count": rows,
        "dagster/table_name": warehouse.full_name(ref),
        "dagster/storage_kind": warehouse.kind,
    }
    if counts is not None and len(counts) > 1:
        metadata["rows of the run"] = rows
    if keyed.empty_keys:
        # Dagster repeats this on every key of the run, so a long list would grow with the square of the keys.
        metadata["empty_keys"] = dict(Counter(keyed.empty_keys.values()))
        if len(keyed.empty_keys) <= _LISTED_KEYS:
            metadata["empty_keys"] = dict(keyed.empty_keys)
    return metadata
