"""MLflow as a deployment has it: `stockcast mlflow` on PostgreSQL, artifacts in a bucket, both of them real servers."""

import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stockcast_assets.forecasting.artifact import ModelFileError, TrainedModel
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets_tests.conftest import clean_env
from stockcast_assets_tests.forecasting.test_registry import promoted
from stockcast_assets_tests.servers import free_port

if TYPE_CHECKING:
    from google.cloud import storage

FEBRUARY = date(2013, 2, 1)


@pytest.fixture
def bucket(storage_client: "storage.Client") -> "storage.Bucket":
    return storage_client.create_bucket(f"models-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def server(bucket: "storage.Bucket", new_database: Callable[[], str], tmp_path: Path) -> Iterator[str]:
    port = free_port()
    env = clean_env() | {
        "STOCKCAST_HOME": str(tmp_path / "home"),
        "STOCKCAST_MLFLOW_URI": new_database(),
        "MLFLOW_ARTIFACTS_DESTINATION": f"gs://{bucket.name}/mlflow",
    }
    command = [str(Path(sys.executable).with_name("stockcast")), "mlflow", "--port", str(port)]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=env)
    deadline = time.monotonic() + 180
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            break
        except OSError:
            time.sleep(0.3)
    else:
        pytest.fail(log.read_text()[-3000:])
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, 15)
    process.wait(20)


def test_models_are_in_the_bucket_and_loaded_by_their_digest(
    server: str, bucket: "storage.Bucket", trained: dict[str, TrainedModel], tmp_path: Path
) -> None:
    registry, model = ModelRegistry(server), promoted(trained["AAPL"], True)
    version = registry.publish("AAPL", FEBRUARY, model)
    assert registry.champion("AAPL") == version
    files = {blob.name.rpartition("/")[2]: blob for blob in bucket.list_blobs(prefix="mlflow/")}
    assert files["model.npz"].download_as_bytes() == model.to_bytes()
    assert not list((tmp_path / "home").rglob("*.npz")), "models beside the server"

    load = registry.load_model
    assert load(version.model_name, version.model_version, version.sha256).to_bytes() == model.to_bytes()
    # Whoever may write to the bucket cannot give stockcast another model.
    files["model.npz"].upload_from_string(promoted(trained["MSFT"], True).to_bytes())
    with pytest.raises(ModelFileError):
        ModelRegistry(server).load_model(version.model_name, version.model_version, version.sha256)
