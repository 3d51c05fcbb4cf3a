"""The universe's models in MLflow: one run per month and file, one registered model for all.

Its file is read back by run id and digest alone (`ModelRegistry.universe`), as the tickers' parts refer to it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from stockcast_assets import __version__
from stockcast_assets.forecasting.universe.artifact import month_bytes
from stockcast_assets.forecasting.universe.month import MonthModel
from stockcast_assets.tracking.registry import ARTIFACT, EXPERIMENT, UNIVERSE, ModelRegistry, ModelVersion

_UNIVERSE, _MONTH, _DIGEST = "stockcast.universe", "stockcast.month", "stockcast.weights_sha256"


def publish_month(
    registry: ModelRegistry,
    month: date,
    model: MonthModel,
    tags: Mapping[str, str] | None = None,
    parent: Callable[[str], str] | None = None,
) -> ModelVersion:
    """Record a universe's model of a month and register it.

    Doing it again for the same month and bytes changes nothing, unless the file is gone or damaged: then it is written
    anew, in the same run if that is still there, so that the tickers' parts that name it serve again.

    Args:
        registry: where to.
        month: first day of the month of use.
        model: the networks.
        tags: further tags of the run.
        parent: gives the id of the run that a new run is a child of; called only if there is something new.

    Raises:
        StockcastError: if MLflow cannot be reached or refuses.
    """
    from mlflow.exceptions import MlflowException

    content = month_bytes(model)
    digest = hashlib.sha256(content).hexdigest()
    identity = {_UNIVERSE: "true", _MONTH: f"{month:%Y-%m}", _DIGEST: digest}
    try:
        for known in registry.client.search_model_versions(f"name = '{UNIVERSE}'"):
            run_id = known.run_id or ""
            if not identity.items() <= known.tags.items():
                continue
            if registry.has(run_id, digest) or registry.mend(run_id, content):
                return ModelVersion(UNIVERSE, str(known.version), run_id, digest)
        run_id = _record(registry, identity, model, content, tags or {}, parent)
        return registry.register(UNIVERSE, run_id, {_UNIVERSE: "true"}, identity)
    except MlflowException as error:
        raise registry.trouble("publish the universe's model", error) from error


def _record(
    registry: ModelRegistry,
    identity: Mapping[str, str],
    model: MonthModel,
    content: bytes,
    tags: Mapping[str, str],
    parent: Callable[[str], str] | None,
) -> str:
    from mlflow.entities import Param

    client, newest = registry.client, model.newest
    child_of = {} if parent is None else {"mlflow.parentRunId": parent(EXPERIMENT)}
    told = {**tags, **child_of, **identity, "stockcast.code_version": __version__}
    with registry.new_run(registry.experiment_id(EXPERIMENT), f"universe {identity[_MONTH]}", told) as run_id:
        params = {
            "tickers": len(newest.members),
            "n_samples": newest.n_samples,
            "networks": len(newest.model.networks),
            "vintages": ", ".join(str(vintage.origin) for vintage in model.vintages),
        }
        client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])
        client.log_text(run_id, "\n".join(newest.members) + "\n", "tickers.txt")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(ARTIFACT).name
            file.write_bytes(content)
            client.log_artifact(run_id, str(file), str(Path(ARTIFACT).parent))
    return run_id
