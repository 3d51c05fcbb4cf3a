"""Trained models in MLflow: one run per model with its proof, one registered model per ticker.

Weights are stored as the npz of `artifact`, never as a pickle, and read back only if their SHA-256 is the one asked
for. Beside them lies what makes them a model to MLflow (`mlflow_model`); stockcast itself never runs that.
"""

import hashlib
import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockcast_assets.charts.style import own_style
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.features import History
from stockcast_assets.forecasting.npz import MAX_BYTES, ModelFileError, Reference
from stockcast_assets.forecasting.serving.forecaster import Published
from stockcast_assets.forecasting.universe.artifact import month_of_bytes
from stockcast_assets.forecasting.universe.month import MonthModel
from stockcast_assets.masking import scrub
from stockcast_assets.methods import LSTM
from stockcast_assets.spreadsheet import to_csv
from stockcast_assets.tables import TRAINED_MODEL, UNIVERSE_MODEL
from stockcast_assets.tracking import mlflow_model
from stockcast_assets.tracking.client import Tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

EXPERIMENT = "stockcast"
CHAMPION = "champion"
CHALLENGER = "challenger"
ARTIFACT = f"model/{mlflow_model.FILE}"
CARD = "card.md"
UNIVERSE = "stockcast-universe"
"""Registered model of the universe; a ticker's has capitals after the hyphen."""

_TICKER, _MONTH, _DIGEST = "stockcast.ticker", "stockcast.month", "stockcast.weights_sha256"
_TRAINED_TO = "stockcast.trained_to"


@dataclass(frozen=True)
class ModelVersion:
    """Where a published model is: registered model and version, the run that made it, its file's digest."""

    model_name: str
    model_version: str
    run_id: str
    sha256: str


@dataclass(frozen=True)
class Registered:
    """A version of a ticker's registered model: its number and run, month of use (2013-03), last session known (empty
    of one that an early release registered), and when it was registered, in milliseconds since 1970."""

    number: str
    run_id: str
    month: str
    trained_to: str
    registered_at: int


def model_name(ticker: str) -> str:
    """Registered model of a ticker: `stockcast-MSFT`; signs that MLflow or a URL may refuse are `_hex_`."""
    return "stockcast-" + re.sub(r"[^A-Z0-9.-]", lambda sign: f"_{ord(sign.group()):x}_", ticker)


class ModelRegistry(Tracking):
    """Publishes to and loads from an MLflow tracking server or database."""

    @cached_property
    def _universes(self) -> dict[Reference, MonthModel]:
        # One: the tickers of a month share it, and a month of many takes some megabytes.
        return {}

    @property
    def _experiment_id(self) -> str:
        return self.experiment_id(EXPERIMENT)

    def publish(
        self,
        ticker: str,
        month: date,
        trained: TrainedModel,
        tags: Mapping[str, str] | None = None,
        parent: Callable[[str], str] | None = None,
        learnt_from: History | None = None,
    ) -> ModelVersion:
        """Record a model and register it; doing it again for the same month and bytes changes nothing, unless its file
        is gone or another by now: then it is stored again, in the same run.

        The run holds the hyperparameters, the metrics against every baseline, the loss curve, the table per
        horizon and a plot (unless nothing was judged) and the reason in words. It is named `MSFT 2013-03 champion` and
        tagged with ticker, month, method and whether it was crowned, so that one search finds a month's champion. The
        alias `champion` moves to the version if it is promoted and no later champion exists; `challenger` is the
        latest model if that was not promoted.

        Args:
            ticker: the model's ticker.
            month: first day of the month of use.
            trained: the model.
            tags: further tags of the run, such as fingerprints of the data.
            parent: gives the id of the run that a new run is a child of, for an experiment; called only if there is
                something new.
            learnt_from: what the model was trained on, which becomes the run's data input.

        Raises:
            StockcastError: if MLflow cannot be reached or refuses.
        """
        from mlflow.exceptions import MlflowException

        name = model_name(ticker)
        identity = {_TICKER: ticker, _MONTH: f"{month:%Y-%m}", _DIGEST: trained.sha256}
        try:
            version = self._find_version(name, identity)
            run_id = self._find_run(identity) if version is None else version.run_id
            if run_id is None:
                run_id = self._record(identity, trained, tags or {}, parent, learnt_from)
            elif not self._holds(run_id, trained.sha256):
                self._store(run_id, trained, _run_name(identity, trained))
            if version is None:
                reason, told = trained.decision.reason, {**identity, **_life(trained)}
                version = self.register(name, run_id, {_TICKER: ticker}, told, reason)
            self._set_aliases(name, version.model_version, _rank(identity | _life(trained)), trained.decision.promoted)
            return version
        except MlflowException as error:
            raise self._trouble(f"publish the model of {ticker}", error) from error

    def describe(self, run_id: str, card: str) -> None:
        """Make a model's card the note of its run, which MLflow shows first, and a file beside its other files.

        Raises:
            StockcastError: if MLflow cannot be reached or refuses.
        """
        from mlflow.exceptions import MlflowException

        try:
            self.client.set_tag(run_id, "mlflow.note.content", card)
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / CARD).write_text(card, encoding="utf-8")
                self._files(run_id).log_artifacts(folder)
        except MlflowException as error:
            raise self._trouble(f"describe the model of run {run_id}", error) from error

    def load(self, model_name: str, version_or_run_id: str, sha256: str) -> Published:
        """The forecaster of a published model.

        Raises:
            ModelFileError: if the file is missing, or its digest is not `sha256`.
            StockcastError: if MLflow does not answer.
        """
        return self.load_model(model_name, version_or_run_id, sha256).forecaster

    def load_model(self, model_name: str, version_or_run_id: str, sha256: str) -> TrainedModel:
        """As `load`, with the evaluation, the decision and the loss curve."""
        return TrainedModel.from_bytes(self.fetch(model_name, version_or_run_id), sha256, self.universe)

    def universe(self, reference: Reference) -> MonthModel:
        """The universe's model that a run holds, read once.

        Raises:
            ModelFileError: if the file is missing, or its digest is not the one referred to.
            StockcastError: if MLflow does not answer.
        """
        if reference not in self._universes:
            self._universes.clear()
            self._universes[reference] = month_of_bytes(self.fetch(UNIVERSE, reference.run_id), reference.sha256)
        return self._universes[reference]

    def fetch(self, model_name: str, version_or_run_id: str) -> bytes:
        """The stored file of a published model, unchecked: give it to `TrainedModel.from_bytes`.

        Args:
            model_name: the registered model.
            version_or_run_id: a version number, or the id of the run.

        Raises:
            ModelFileError: if there is no such model or file.
            StockcastError: if MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        asset = UNIVERSE_MODEL.name if model_name == UNIVERSE else TRAINED_MODEL.name
        try:
            run_id = version_or_run_id
            if version_or_run_id.isdecimal() and len(version_or_run_id) < 10:
                run_id = self.client.get_model_version(model_name, version_or_run_id).run_id or ""
            self.client.get_run(run_id)
        except MlflowException as error:
            kind = ModelFileError if error.error_code == "RESOURCE_DOES_NOT_EXIST" else StockcastError
            raise self._trouble(f"load {model_name} ({version_or_run_id})", error, kind, asset) from error
        # MLflow answers and knows the run: what fails from here on is the file.
        try:
            return self._file(run_id)
        except (MlflowException, OSError) as error:
            raise self._trouble(f"load {model_name} ({version_or_run_id})", error, ModelFileError, asset) from error

    def _file(self, run_id: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(self._files(run_id).download_artifacts(ARTIFACT, folder))
            # One byte more than a model may have, so that a larger file is refused by its digest.
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)

    def has(self, run_id: str, sha256: str) -> bool:
        """Whether the file of a run is there, and the one with this digest.

        Raises:
            StockcastError: if MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self._is_run(run_id) and self._holds(run_id, sha256)
        except MlflowException as error:
            raise self._trouble(f"look for the model of run {run_id}", error) from error

    def mend(self, run_id: str, content: bytes) -> bool:
        """Write a run's file anew; returns whether there is such a run.

        Raises:
            MlflowException: if MLflow cannot be reached or refuses.
        """
        if not self._is_run(run_id):
            return False
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / ARTIFACT
            file.parent.mkdir()
            file.write_bytes(content)
            self._files(run_id).log_artifacts(folder)
        return True

    def _holds(self, run_id: str, sha256: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return hashlib.sha256(self._file(run_id)).hexdigest() == sha256
        except (MlflowException, OSError):
            return False

    def version(self, ticker: str, number: str) -> ModelVersion:
        """What is registered of a ticker's model under a version number.

        Raises:
            ModelFileError: if there is no such version.
            StockcastError: if MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            return _version(self.client.get_model_version(model_name(ticker), number))
        except MlflowException as error:
            kind = ModelFileError if error.error_code == "RESOURCE_DOES_NOT_EXIST" else StockcastError
            raise self._trouble(f"find version {number} of {model_name(ticker)}", error, kind) from error

    def versions(self, ticker: str) -> list[Registered]:
        """Every version of a ticker's model that has a month of use, in no order.

        Raises:
            StockcastError: if MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.search_model_versions(f"name = '{model_name(ticker)}'")
        except MlflowException as error:
            raise self._trouble(f"list the models of {ticker}", error) from error
        return [
            Registered(
                str(one.version),
                one.run_id or "",
                one.tags[_MONTH],
                one.tags.get(_TRAINED_TO, ""),
                int(one.creation_timestamp),
            )
            for one in found
            if _MONTH in one.tags
        ]

    def run_tags(self, run_id: str) -> Mapping[str, str]:
        """The tags of a model's run.

        Raises:
            ModelFileError: if there is no such run.
            StockcastError: if MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            return dict(self.client.get_run(run_id).data.tags)
        except MlflowException as error:
            kind = ModelFileError if error.error_code == "RESOURCE_DOES_NOT_EXIST" else StockcastError
            raise self._trouble(f"find run {run_id}", error, kind) from error

    def card(self, run_id: str) -> str | None:
        """The card of a run's model, as `describe` wrote it; None if it has none.

        Raises:
            StockcastError: if MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            with tempfile.TemporaryDirectory() as folder:
                files = self._files(run_id)
                if CARD not in {file.path for file in files.list_artifacts()}:
                    return None
                return Path(files.download_artifacts(CARD, folder)).read_text("utf-8")
        except (MlflowException, OSError, UnicodeDecodeError) as error:
            raise self._trouble(f"read the card of run {run_id}", error) from error

    def of_run(self, ticker: str, run_id: str) -> ModelVersion:
        """What is registered of the model that a run made.

        Raises:
            ModelFileError: if nothing is.
            StockcastError: if MLflow does not answer.
        """
        from mlflow.exceptions import MlflowException

        name = model_name(ticker)
        try:
            found = self.client.search_model_versions(f"run_id = '{run_id}'")
        except MlflowException as error:
            raise self._trouble(f"find the model of run {run_id}", error) from error
        own = [version for version in found if version.name == name]
        if not own:
            raise self._trouble(
                f"find the model of run {run_id} in {name}", LookupError("it is not registered"), ModelFileError
            )
        return _version(own[0])

    def run_link(self, run_id: str) -> str:
        """The page of a model's run."""
        return self.link(self._experiment_id, run_id)

    def champion(self, ticker: str) -> ModelVersion | None:
        """The version with the alias `champion`, or None."""
        return self._named(ticker, CHAMPION)

    def challenger(self, ticker: str) -> ModelVersion | None:
        """The version with the alias `challenger`, or None."""
        return self._named(ticker, CHALLENGER)

    def _named(self, ticker: str, alias: str) -> ModelVersion | None:
        found = self._by_alias(model_name(ticker), alias)
        return None if found is None else _version(found)

    def _trouble(
        self,
        action: str,
        error: Exception,
        kind: type[StockcastError] = StockcastError,
        asset: str = TRAINED_MODEL.name,
    ) -> StockcastError:
        scrub(error)
        cause = " ".join(str(error).split())[:300]
        return kind(
            f"MLflow at {self.tracking_uri} could not {action} ({cause}): check STOCKCAST_MLFLOW_URI, "
            f"or materialise {asset} for that month again."
        )

    def _find_version(self, name: str, identity: Mapping[str, str]) -> ModelVersion | None:
        found = [
            version
            for version in self.client.search_model_versions(f"name = '{name}'")
            if identity.items() <= version.tags.items()
        ]
        in_order = sorted(found, key=lambda version: int(version.version))
        return next((_version(one) for one in in_order if self._is_run(one.run_id)), None)

    def _is_run(self, run_id: str | None) -> bool:
        """Whether MLflow knows the run: its versions stay in the registry when it is purged."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_run(run_id or "")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def _find_run(self, identity: Mapping[str, str]) -> str | None:
        """A run that was recorded in full but not registered, because something died in between."""
        wanted = [f"tags.`{key}` = '{value}'" for key, value in identity.items()]
        runs = self.client.search_runs(
            [self._experiment_id], " and ".join([*wanted, "attributes.status = 'FINISHED'"]), max_results=1
        )
        return runs[0].info.run_id if runs else None

    def _record(
        self,
        identity: Mapping[str, str],
        trained: TrainedModel,
        tags: Mapping[str, str],
        parent: Callable[[str], str] | None,
        learnt_from: History | None,
    ) -> str:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        child_of = {} if parent is None else {"mlflow.parentRunId": parent(EXPERIMENT)}
        name = _run_name(identity, trained)
        told = {
            **tags,
            **child_of,
            **identity,
            **_life(trained),
            "stockcast.method": trained.decision.published,
            "stockcast.champion": str(trained.decision.promoted).lower(),
            "stockcast.code_version": trained.code_version,
            "mlflow.note.content": trained.decision.reason,
        }
        known = {"trained_from": trained.trained_from, "trained_to": trained.trained_to}
        params = {**trained.config.to_dict(), **known, "n_samples": trained.n_samples}
        curves = [
            Metric(f"{name}_loss", row[name], now, int(row["epoch"]))
            for row in trained.history
            for name in ("train", "validation")
        ]
        measured = [Metric(name, value, now, 0) for name, value in trained.summary().items() if math.isfinite(value)]
        with self.new_run(self._experiment_id, name, told) as run_id:
            self.client.log_batch(
                run_id,
                metrics=[*measured, *curves],
                params=[Param(name, str(value)) for name, value in params.items()],
                tags=[RunTag("stockcast.reason", trained.decision.reason)],
            )
            self._store(run_id, trained, name)
            if learnt_from is not None:
                self.client.log_inputs(run_id, [mlflow_model.training_data(learnt_from)])
        return run_id

    def _store(self, run_id: str, trained: TrainedModel, title: str) -> None:
        """Write the run's files, over what is there of them."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if trained.evaluation.contenders:
                (folder / "evaluation.csv").write_text(to_csv(trained.evaluation.table()), encoding="utf-8")
                proof_figure(trained, title).savefig(folder / "proof.png")
            mlflow_model.write(trained, (folder / ARTIFACT).parent, run_id)
            self._files(run_id).log_artifacts(name)

    def _files(self, run_id: str) -> "ArtifactRepository":
        """The place of a run's files. MLflow's client remembers it by the run alone, which a copied home has, too."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        place = self.client.get_run(run_id).info.artifact_uri
        return get_artifact_repository(place, tracking_uri=self.client.tracking_uri)

    def register(
        self, name: str, run_id: str, model_tags: Mapping[str, str], tags: Mapping[str, str], about: str | None = None
    ) -> ModelVersion:
        """Make the model of a run a version of the registered model `name`, which is made on first use.

        Args:
            name: of the registered model.
            run_id: the run that holds the file.
            model_tags: of the registered model.
            tags: of the version, with the digest of its file.
            about: what people read of the version.

        Raises:
            MlflowException: if MLflow cannot be reached or refuses.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        try:
            self.client.create_registered_model(name, dict(model_tags))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        source = f"{self.client.get_run(run_id).info.artifact_uri}/{Path(ARTIFACT).parent}"
        return _version(self.client.create_model_version(name, source, run_id, tags=dict(tags), description=about))

    def _by_alias(self, name: str, alias: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version_by_alias(name, alias)
        except MlflowException:
            return None

    def _set_aliases(self, name: str, version: str, rank: tuple[str, str], promoted: bool) -> None:
        champion, challenger = (
            None if found is None else _rank(found.tags)
            for found in (self._by_alias(name, CHAMPION), self._by_alias(name, CHALLENGER))
        )
        if promoted and (champion is None or champion <= rank):
            self.client.set_registered_model_alias(name, CHAMPION, version)
            if challenger is not None and challenger <= rank:
                self.client.delete_registered_model_alias(name, CHALLENGER)
        elif not promoted and all(other is None or other <= rank for other in (champion, challenger)):
            self.client.set_registered_model_alias(name, CHALLENGER, version)


def _life(trained: TrainedModel) -> dict[str, str]:
    return {_TRAINED_TO: trained.trained_to.isoformat()}


def _rank(tags: Mapping[str, str]) -> tuple[str, str]:
    """Later models rank higher: by month of use, and within it by what they know."""
    return tags.get(_MONTH, ""), tags.get(_TRAINED_TO, "")


def _run_name(identity: Mapping[str, str], trained: TrainedModel) -> str:
    """`MSFT 2013-03 champion` (or `challenger`), so that `run_name = 'MSFT 2013-03 champion'` finds it; for a model
    that was trained again within its month `MSFT 2013-03 champion (known to 2013-03-15)`."""
    role = CHAMPION if trained.decision.promoted else CHALLENGER
    name = f"{identity[_TICKER]} {identity[_MONTH]} {role}"
    within_month = f"{trained.trained_to:%Y-%m}" == identity[_MONTH]
    return f"{name} (known to {trained.trained_to})" if within_month else name


def _version(found: Any) -> ModelVersion:
    return ModelVersion(found.name, str(found.version), found.run_id, found.tags[_DIGEST])


def proof_figure(trained: TrainedModel, title: str) -> "Figure":
    """Loss curve of the final fit, and pinball loss against the baselines per horizon."""
    from matplotlib.figure import Figure

    own_style()
    figure = Figure(figsize=(11, 4), layout="constrained")
    figure.suptitle(f"{title}: {trained.decision.method}")
    loss, skill = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in trained.history]
    for name in ("train", "validation"):
        loss.plot(epochs, [row[name] for row in trained.history], marker="o", label=name)
    loss.set(xlabel="epoch (0: the baseline's interval)", ylabel="mean pinball loss, in sigmas", title="Final fit")
    loss.legend()
    table = trained.evaluation.table().query("horizon > 0").pivot_table("pinball", "horizon", "contender", sort=False)
    for name in table.columns.drop(LSTM):
        skill.plot(table.index, table[LSTM] / table[name], label=name)
    skill.axhline(1, color="black", linewidth=0.8)
    skill.set(xlabel="sessions ahead", ylabel="pinball, LSTM / baseline", title="Walk-forward: below 1 is better")
    skill.legend(ncols=2)
    return figure
