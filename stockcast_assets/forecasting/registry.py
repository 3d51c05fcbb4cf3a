"""Trained models in MLflow: one run per model with its proof, one registered model per ticker.

Weights are stored as the npz of `artifact`, never as a pickle or an MLflow flavour, and read back only if
their SHA-256 is the one asked for.
"""

import logging
import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.forecaster import LSTM, Forecaster

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

EXPERIMENT = "stockcast"
CHAMPION = "champion"
ARTIFACT = "model/model.npz"

_TICKER, _MONTH, _DIGEST = "stockcast.ticker", "stockcast.month", "stockcast.weights_sha256"
_QUIET = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class ModelVersion:
    """Where a published model is: registered model and version, the run that made it, its file's digest."""

    model_name: str
    model_version: str
    run_id: str
    sha256: str


def model_name(ticker: str) -> str:
    """Registered model of a ticker: `stockcast-MSFT`; signs that MLflow or a URL may refuse are `_hex_`."""
    return "stockcast-" + re.sub(r"[^A-Z0-9.-]", lambda sign: f"_{ord(sign.group()):x}_", ticker)


class ModelRegistry:
    """Publishes to and loads from an MLflow tracking server or database.

    Args:
        tracking_uri: `sqlite:///….db`, `http://…` or any other MLflow tracking URI.
        artifact_root: where files of runs go; None leaves it to the server.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | Path | None = None) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root

    @cached_property
    def _client(self) -> "MlflowClient":
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.ERROR)
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri, self.tracking_uri)

    @cached_property
    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            root = self.artifact_root
            location = root.absolute().as_uri() if isinstance(root, Path) else root
            try:
                return self._client.create_experiment(EXPERIMENT, artifact_location=location)
            except MlflowException:
                # Another process was faster; if it was anything else, the next line says so.
                found = self._client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        return found.experiment_id

    def publish(
        self, ticker: str, month: date, trained: TrainedModel, tags: Mapping[str, str] | None = None
    ) -> ModelVersion:
        """Record a model and register it; doing it again for the same month and bytes changes nothing.

        The run holds the hyperparameters, the metrics against every baseline, the loss curve, the table per
        horizon and a plot (unless nothing was judged) and the reason in words. The alias `champion` moves to the
        version if it is promoted and no champion of a later month exists.

        Args:
            ticker: the model's ticker.
            month: first day of the month of use.
            trained: the model.
            tags: further tags of the run, such as fingerprints of the data.

        Raises:
            StockcastError: if MLflow cannot be reached or refuses.
        """
        from mlflow.exceptions import MlflowException

        name = model_name(ticker)
        identity = {_TICKER: ticker, _MONTH: f"{month:%Y-%m}", _DIGEST: trained.sha256}
        try:
            version = self._find_version(name, identity)
            if version is None:
                run_id = self._find_run(identity) or self._record(identity, trained, tags or {})
                version = self._register(name, run_id, identity, trained)
            if trained.decision.promoted:
                self._crown(name, version.model_version, identity[_MONTH])
            return version
        except MlflowException as error:
            raise self._trouble(f"publish the model of {ticker}", error) from error

    def load(self, model_name: str, version_or_run_id: str, sha256: str) -> Forecaster:
        """The forecaster of a published model.

        Raises:
            StockcastError: if the file is missing, or its digest is not `sha256`.
        """
        return TrainedModel.from_bytes(self.fetch(model_name, version_or_run_id), sha256).forecaster

    def load_model(self, model_name: str, version_or_run_id: str, sha256: str) -> TrainedModel:
        """As `load`, with the evaluation, the decision and the loss curve."""
        return TrainedModel.from_bytes(self.fetch(model_name, version_or_run_id), sha256)

    def fetch(self, model_name: str, version_or_run_id: str) -> bytes:
        """The stored file of a published model, unchecked: give it to `TrainedModel.from_bytes`.

        Args:
            model_name: the registered model.
            version_or_run_id: a version number, or the id of the run.

        Raises:
            StockcastError: if there is no such model or file.
        """
        from mlflow.exceptions import MlflowException

        try:
            run_id = version_or_run_id
            if version_or_run_id.isdecimal() and len(version_or_run_id) < 10:
                run_id = self._client.get_model_version(model_name, version_or_run_id).run_id or ""
            with tempfile.TemporaryDirectory() as folder:
                return Path(self._client.download_artifacts(run_id, ARTIFACT, folder)).read_bytes()
        except (MlflowException, OSError) as error:
            raise self._trouble(f"load {model_name} ({version_or_run_id})", error) from error

    def champion(self, ticker: str) -> ModelVersion | None:
        """The version with the alias `champion`, or None."""
        found = self._champion_version(model_name(ticker))
        return None if found is None else _version(found)

    def _trouble(self, action: str, error: Exception) -> StockcastError:
        cause = " ".join(str(error).split())[:300]
        return StockcastError(
            f"MLflow at {self.tracking_uri} could not {action} ({cause}): check STOCKCAST_MLFLOW_URI, "
            "or materialise trained_model for that month again."
        )

    def _find_version(self, name: str, identity: Mapping[str, str]) -> ModelVersion | None:
        found = [
            version
            for version in self._client.search_model_versions(f"name = '{name}'")
            if identity.items() <= version.tags.items()
        ]
        return _version(min(found, key=lambda version: int(version.version))) if found else None

    def _find_run(self, identity: Mapping[str, str]) -> str | None:
        """A run that was recorded in full but not registered, because something died in between."""
        wanted = [f"tags.`{key}` = '{value}'" for key, value in identity.items()]
        runs = self._client.search_runs(
            [self._experiment_id], " and ".join([*wanted, "attributes.status = 'FINISHED'"]), max_results=1
        )
        return runs[0].info.run_id if runs else None

    def _record(self, identity: Mapping[str, str], trained: TrainedModel, tags: Mapping[str, str]) -> str:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        run = self._client.create_run(
            self._experiment_id,
            run_name=f"{identity[_TICKER]} {identity[_MONTH]}",
            tags={
                **tags,
                **identity,
                "stockcast.method": trained.decision.method,
                "stockcast.promoted": str(trained.decision.promoted).lower(),
                "stockcast.code_version": trained.code_version,
                "mlflow.note.content": trained.decision.reason,
            },
        )
        run_id = run.info.run_id
        try:
            known = {"trained_from": trained.trained_from, "trained_to": trained.trained_to}
            params = {**trained.config.to_dict(), **known, "n_samples": trained.n_samples}
            curves = [
                Metric(f"{name}_loss", row[name], now, int(row["epoch"]))
                for row in trained.history
                for name in ("train", "validation")
            ]
            self._client.log_batch(
                run_id,
                metrics=[
                    *(Metric(name, value, now, 0) for name, value in trained.summary().items() if math.isfinite(value)),
                    *curves,
                ],
                params=[Param(name, str(value)) for name, value in params.items()],
                tags=[RunTag("stockcast.reason", trained.decision.reason)],
            )
            if trained.evaluation.contenders:
                self._client.log_text(run_id, trained.evaluation.table().to_csv(index=False), "evaluation.csv")
                self._client.log_figure(run_id, proof_figure(trained, run.info.run_name), "proof.png")
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / Path(ARTIFACT).name
                file.write_bytes(trained.to_bytes())
                self._client.log_artifact(run_id, str(file), str(Path(ARTIFACT).parent))
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def _register(self, name: str, run_id: str, identity: Mapping[str, str], trained: TrainedModel) -> ModelVersion:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        try:
            self._client.create_registered_model(name, {_TICKER: identity[_TICKER]})
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{Path(ARTIFACT).parent}"
        created = self._client.create_model_version(
            name, source, run_id, tags=dict(identity), description=trained.decision.reason
        )
        return _version(created)

    def _champion_version(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException:
            return None

    def _crown(self, name: str, version: str, month: str) -> None:
        reigning = self._champion_version(name)
        if reigning is None or reigning.tags.get(_MONTH, "") <= month:
            self._client.set_registered_model_alias(name, CHAMPION, version)


def _version(found: Any) -> ModelVersion:
    return ModelVersion(found.name, str(found.version), found.run_id, found.tags[_DIGEST])


def proof_figure(trained: TrainedModel, title: str) -> "Figure":
    """Loss curve of the final fit, and pinball loss against the baselines per horizon."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    figure.suptitle(f"{title}: {trained.decision.method}")
    loss, skill = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in trained.history]
    for name in ("train", "validation"):
        loss.plot(epochs, [row[name] for row in trained.history], marker="o", label=name)
    loss.set(xlabel="epoch (0: the HAR interval)", ylabel="mean pinball loss, in sigmas", title="Final fit")
    loss.legend()
    table = trained.evaluation.table().query("horizon > 0").pivot_table("pinball", "horizon", "contender", sort=False)
    for name in table.columns.drop(LSTM):
        skill.plot(table.index, table[LSTM] / table[name], label=name)
    skill.axhline(1, color="black", linewidth=0.8)
    skill.set(xlabel="sessions ahead", ylabel="pinball, LSTM / baseline", title="Walk-forward: below 1 is better")
    skill.legend(ncols=2)
    return figure
