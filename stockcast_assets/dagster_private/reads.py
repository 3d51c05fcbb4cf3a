"""What Dagster knows and has no public name for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as AssetJob

__all__ = ["AssetJob", "attempts_before", "check_summaries", "function_of"]


def function_of(asset: dg.AssetsDefinition) -> Callable[..., Any]:
    """The function that an asset was made of."""
    return asset.op.compute_fn.decorated_fn  # type: ignore[union-attr]


def attempts_before(context: dg.OutputContext) -> int:
    """How often the step was tried before in this run."""
    return context.step_context.previous_attempt_count


def check_summaries(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> Mapping[dg.AssetCheckKey, Any]:
    """The last evaluation of each check, in one query."""
    return instance.event_log_storage.get_asset_check_summary_records(list(checks))
