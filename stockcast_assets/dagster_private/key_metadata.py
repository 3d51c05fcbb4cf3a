"""Metadata for single partition keys of a run that has many."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetKey
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator
from dagster._core.execution.context.system import StepExecutionContext


def add_key_metadata(step: StepExecutionContext, asset: AssetKey, by_key: Mapping[str, Mapping[str, Any]]) -> None:
    """Put metadata on the materialisations of keys, on top of what earlier calls put there.

    Dagster's own `add_asset_metadata` takes one key, and each call lists the keys of the whole run and copies the
    metadata of all of them. This does it once.
    """
    known = dict(step._metadata_accumulator.per_output_metadata)
    for key, metadata in by_key.items():
        handle = AssetMetadataHandle(asset_key=asset, partition_key=key)
        known[handle] = {**known.get(handle, {}), **metadata}
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=known)
