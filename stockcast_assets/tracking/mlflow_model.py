"""A trained model as an MLflow model: the npz, the code that loads it, signature and requirements, and no pickle."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from stockcast_assets import __version__
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import History
from stockcast_assets.forecasting.serving.forecaster import Forecaster
from stockcast_assets.forecasting.serving.own_bars import PRICES
from stockcast_assets.libraries import np
from stockcast_assets.tables import PRICE_HISTORY, QUANTILE_COLUMNS, RAW_PRICES, TAIL_COLUMNS

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.models import ModelSignature

FILE = "model.npz"
DISTRIBUTION = "stockcast-assets"

_CODE = "model_code.py"
_REQUIREMENTS, _PYTHON, _CONDA = "requirements.txt", "python_env.yaml", "conda.yaml"


def signature() -> ModelSignature:
    """Bars as in `raw_prices` in, rows as in `forecasts` out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    bars: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.datetime, "date"),
        *(ColSpec(DataType.double, name) for name in PRICES),
        ColSpec(DataType.long, "volume"),
        ColSpec(DataType.string, "ticker", required=False),
        *(ColSpec(DataType.double, name, required=False) for name in ("adj_close", "dividend")),
    ]
    rows: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "ticker"),
        ColSpec(DataType.datetime, "date"),
        ColSpec(DataType.long, "horizon"),
        *(ColSpec(DataType.double, name) for name in ("last_close", *QUANTILE_COLUMNS, "naive_close")),
        ColSpec(DataType.string, "method"),
        *(ColSpec(DataType.double, name, required=False) for name in TAIL_COLUMNS),
        ColSpec(DataType.datetime, "target_date"),
    ]
    return ModelSignature(Schema(bars), Schema(rows))


def write(trained: TrainedModel, folder: Path, run_id: str) -> None:
    """Write what `mlflow.pyfunc.load_model` loads: MLmodel, the model's file, its code and what that requires.

    Every path in it is relative to the folder. A ticker's part of a universe's model is the file alone: it looks at the
    market and at reports, which no frame of its bars holds.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import add_to_model
    from mlflow.pyfunc.loaders import code_model

    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(trained.to_bytes())
    if not isinstance(trained.forecaster, Forecaster):
        return
    shutil.copyfile(Path(__file__).with_name(_CODE), folder / _CODE)
    _write_environment(folder)
    model = Model(
        artifact_path=folder.name,
        run_id=run_id,
        signature=signature(),
        metadata={"ticker": trained.forecaster.ticker, "method": trained.decision.method, "horizon": HORIZON},
    )
    add_to_model(
        model,
        loader_module=code_model.__name__,
        model_code_path=_CODE,
        conda_env=_CONDA,
        python_env=_PYTHON,
        model_config={"weights_sha256": trained.sha256},
        artifacts={"model": {"path": FILE, "uri": FILE}},
    )
    model.save(str(folder / "MLmodel"))


def _write_environment(folder: Path) -> None:
    import yaml

    requirements = [f"mlflow=={version('mlflow')}", f"{DISTRIBUTION}=={__version__}"]
    python = platform.python_version()
    (folder / _REQUIREMENTS).write_text("\n".join(requirements) + "\n")
    documents = {
        _PYTHON: {"python": python, "build_dependencies": ["pip"], "dependencies": [f"-r {_REQUIREMENTS}"]},
        _CONDA: {
            "name": "mlflow-env",
            "channels": ["conda-forge"],
            "dependencies": [f"python={python}", "pip", {"pip": requirements}],
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))


def training_data(history: History) -> DatasetInput:
    """What a model learnt from, as the input of its run: whose bars, which sessions, and a digest of them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = hashlib.sha256(history.dates.to_numpy().astype("datetime64[D]").astype(np.int64).tobytes())
    for values in (history.close, history.log_close, history.features):
        digest.update(np.ascontiguousarray(values, np.float64).tobytes())
    first, last = history.dates[0].date(), history.dates[-1].date()
    dataset = Dataset(
        name=f"{history.ticker} {first} to {last}",
        digest=digest.hexdigest()[:16],
        source_type="stockcast",
        source=json.dumps({"tables": [PRICE_HISTORY.name, RAW_PRICES.name], "ticker": history.ticker}),
        schema=json.dumps({"mlflow_colspec": signature().inputs.to_dict()}),
        profile=json.dumps({"sessions": len(history), "first": str(first), "last": str(last)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
