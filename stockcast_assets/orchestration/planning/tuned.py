"""From what tuning found to the run configuration of the next training: the only way parameters get there."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from stockcast_assets.orchestration.assets.tuning import FED, TUNING
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.tables import TRAINED_MODEL


def tuned_parameters(instance: dg.DagsterInstance, tickers: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Hyper-parameters over the defaults by ticker, from each ticker's latest tuning; only tickers that have some."""
    key = dg.AssetKey(TUNING)
    tuned = instance.get_materialized_partitions(key)
    found: dict[str, dict[str, Any]] = {}
    for ticker in tickers:
        if ticker not in tuned:
            continue
        wanted = dg.AssetRecordsFilter(key, asset_partitions=[ticker])
        materialization = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
        if materialization is not None and FED in materialization.metadata:
            written = materialization.metadata[FED].value
            parameters = understood(_hyperparameters, written, f"What the tuning of {ticker} found")
            if parameters:
                found[ticker] = parameters
    return found


def _hyperparameters(written: Any) -> dict[str, Any]:
    from stockcast_assets.forecasting.config import ModelConfig

    ModelConfig.from_dict(written)
    return dict(written)


def training_run_config(instance: dg.DagsterInstance, tickers: Iterable[str], **config: Any) -> dict[str, Any]:
    """Run configuration for every launcher of `trained_model`: what was tuned, and further fields of `config`."""
    if tuned := tuned_parameters(instance, tickers):
        config["tuned"] = tuned
    return {"ops": {TRAINED_MODEL.name: {"config": config}}} if config else {}
