"""Metadata for single partition keys of a run that has many."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetExecutionContext, OutputContext
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator


def add_key_metadata(context: AssetExecutionContext | OutputContext, by_key: Mapping[str, Mapping[str, Any]]) -> None:
    """Put metadata on the materialisations of keys, on top of what earlier calls put there.

    Dagster's own `add_asset_metadata` takes one key, and each call lists the keys of the whole run and copies the
    metadata of all of them. This does it once.
    """
    step = context.step_context if isinstance(context, OutputContext) else context.get_step_execution_context()
    known = dict(step._metadata_accumulator.per_output_metadata)
    for key, metadata in by_key.items():
        handle = AssetMetadataHandle(asset_key=context.asset_key, partition_key=key)
        known[handle] = {**known.get(handle, {}), **metadata}
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=known)
