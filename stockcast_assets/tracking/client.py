"""MLflow's client and experiments: of models, evaluations and tuning, each in one of its own."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from stockcast_assets.databases import Database
from stockcast_assets.errors import StockcastError
from stockcast_assets.masking import credentials, scrub, without_credentials
from stockcast_assets.tracking.rehome import follow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

DEFAULT_UI = "http://127.0.0.1:5000"

_QUIET = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def sqlite_database(tracking_uri: str) -> Database | None:
    """The file that an address names, if it is one of SQLite."""
    path = tracking_uri.removeprefix("sqlite:///")
    if path == tracking_uri:
        return None
    return Database(
        Path(path),
        "sqlite",
        "the list of the trained models",
        "forecasts are naive until `stockcast reconcile` has trained the newest ones again",
    )


class Tracking:
    """An MLflow tracking server or database. Its `tracking_uri` is the address without user and password.

    Args:
        tracking_uri: `sqlite:///….db`, `http://…` or any other MLflow tracking URI, also with user and password.
        artifact_root: where files of runs go; None leaves it to the server.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | Path | None = None) -> None:
        self._address = tracking_uri
        self.tracking_uri = without_credentials(tracking_uri)
        self.artifact_root = artifact_root
        self._experiments: dict[str, str] = {}

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client, with its telemetry, progress bars and pickles off."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.ERROR)
        from mlflow import MlflowClient

        if (database := sqlite_database(self._address)) is not None:
            database.check()
            if isinstance(self.artifact_root, Path):
                follow(database.path, self.artifact_root)
        address = self._address
        found = credentials(address)
        if found is not None and address.startswith("http"):
            # MLflow repeats the address in its errors; from its own variables it takes them without a word.
            os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = found
            address = self.tracking_uri
        return MlflowClient(address, address)

    def experiment_id(self, name: str) -> str:
        """The experiment called `name`, made on first use.

        Raises:
            StockcastError: if MLflow cannot be reached or refuses.
        """
        from mlflow.exceptions import MlflowException

        if name in self._experiments:
            return self._experiments[name]
        try:
            found = self.client.get_experiment_by_name(name)
            if found is None:
                found = self._created(name)
        except MlflowException as error:
            raise self.trouble(f"open the experiment {name}", error) from error
        self._experiments[name] = found.experiment_id
        return found.experiment_id

    def _created(self, name: str) -> "Experiment":
        from mlflow.exceptions import MlflowException

        root = self.artifact_root
        location = root.absolute().as_uri() if isinstance(root, Path) else root
        try:
            return self.client.get_experiment(self.client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another process was faster; if it was anything else, the next lines say so.
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return found

    @contextmanager
    def new_run(self, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
        """A run for the time of a block, finished after it or failed if it raises; gives its id."""
        run_id: str = self.client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id
        try:
            yield run_id
        except BaseException:
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    @property
    def server(self) -> str:
        """The address of MLflow's UI: the tracking server's, else the one that `make mlflow` has."""
        return self.tracking_uri.rstrip("/") if self.tracking_uri.startswith("http") else DEFAULT_UI

    def link(self, experiment_id: str, run_id: str) -> str:
        """The page of a run."""
        return f"{self.server}/#/experiments/{experiment_id}/runs/{run_id}"

    def version_link(self, model_name: str, version: str) -> str:
        """The page of a version of a registered model."""
        return f"{self.server}/#/models/{quote(model_name, safe='')}/versions/{version}"

    def trouble(self, action: str, error: Exception) -> StockcastError:
        scrub(error)
        cause = " ".join(str(error).split())[:300]
        return StockcastError(
            f"MLflow at {self.tracking_uri} could not {action} ({cause}): check STOCKCAST_MLFLOW_URI and try again."
        )
