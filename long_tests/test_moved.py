"""A laptop's home goes on in the cloud, by the commands of docs/deploy.md: `make move-test`."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import FORECASTS, STORED_TABLES, TRAINED_MODEL
from stockcast_assets_tests.conftest import Cli, clean_env
from stockcast_assets_tests.servers import DEPLOYED, POSTGRES_URL, free_port

if TYPE_CHECKING:
    from google.cloud import storage

DOCS = (Path(__file__).parents[1] / "docs" / "deploy.md").read_text()
DAY = "2013-02-25"
"""It has no forecast in the demo's home, whose networks are of its month."""


@pytest.fixture
def bucket(storage_client: "storage.Client") -> "storage.Bucket":
    return storage_client.create_bucket(f"moved-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def cloud(
    bucket: "storage.Bucket", new_database: Callable[[], str], bigquery_emulator: str, tmp_path: Path
) -> dict[str, str]:
    """What a person sets who moves; the emulators' addresses stand for credentials and Google."""
    dagster_home = tmp_path / "deployed"
    dagster_home.mkdir()
    shutil.copy(DEPLOYED, dagster_home / "dagster.yaml")
    return {
        "STOCKCAST_SOURCE": "sample",
        "DAGSTER_HOME": str(dagster_home),
        POSTGRES_URL: new_database(),
        "DAGSTER_RUN_LOGS": f"gs://{bucket.name}/logs",
        "STOCKCAST_WAREHOUSE": "bigquery",
        "STOCKCAST_GCP_PROJECT": "test-project",
        "STOCKCAST_BQ_DATASET": f"moved_{uuid.uuid4().hex[:8]}",
        "BIGQUERY_EMULATOR_HOST": bigquery_emulator,
    }


@pytest.fixture
def served(bucket: "storage.Bucket", new_database: Callable[[], str]) -> dict[str, str]:
    """The variables of MLflow's server."""
    return {
        "STOCKCAST_MLFLOW_URI": new_database(),
        "MLFLOW_ARTIFACTS_DESTINATION": f"gs://{bucket.name}/mlflow",
    }


@pytest.fixture
def server(served: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Starts it, and gives its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        port, log = free_port(), tmp_path / "server.log"
        env = clean_env() | {"STOCKCAST_HOME": str(tmp_path / "server")} | served
        command = [str(Path(sys.executable).with_name("stockcast")), "mlflow", "--port", str(port)]
        with log.open("wb") as output:
            started.append(subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=env))
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                return f"http://127.0.0.1:{port}"
            except OSError:
                assert started[-1].poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.3)

    yield start
    for process in started:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.mark.timeout(1500)
def test_a_home_that_was_moved_goes_on_in_the_cloud(
    demo: Cli,
    cloud: dict[str, str],
    served: dict[str, str],
    server: Callable[[], str],
    bucket: "storage.Bucket",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laptop = Cli(tmp_path / "laptop" / "home", {"STOCKCAST_SOURCE": "sample"})
    moved = Cli(tmp_path / "moved" / "home", cloud)
    for each in (laptop, moved):
        shutil.copytree(demo.home, each.home)
    section = re.search(r"### Moving a home there\n(.*?)\n## ", DOCS, re.S)[1]  # type: ignore[index]
    commands = re.findall(r"^(stockcast [^#\n]+?) *(?:#.*)?$", section, re.M)
    assert [line.split()[1:3] for line in commands] == [
        ["home", "move-history"],
        ["warehouse", "copy"],
        ["home", "move-models"],
    ]
    for line in commands:
        done = moved(*line.split()[1:], **served)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    cloud["STOCKCAST_MLFLOW_URI"] = server()

    # Nothing is left on the laptop that is read: what goes on reads the database, the warehouse and the bucket.
    for name in ("warehouse.duckdb", "mlflow.db", "artifacts", "dagster"):
        path = moved.home / name
        path.rename(path.with_name(f"{name}-before"))
    outcomes = []
    for each in (laptop, moved):
        done = each("forecast", "MSFT", DAY, "--json")
        assert done.returncode == 0, done.stderr
        outcomes.append(json.loads(done.stdout))
    assert outcomes[0] == outcomes[1]
    for name, value in cloud.items():
        monkeypatch.setenv(name, value)
    there = warehouse_from(Settings(home=moved.home))
    for table in STORED_TABLES:
        shared = [name for name in table.column_names if name not in OF_THE_RUN]
        found, expected = (
            warehouse.read(table)[shared].sort_values(shared[:2], kind="stable", ignore_index=True)
            for warehouse in (there, laptop.warehouse)
        )
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=table.name)
    made = there.read(FORECASTS, tickers=["MSFT"], start=DAY, end=DAY)
    assert len(made) == 10
    # A network of the demo's was loaded from the bucket, and none was trained.
    assert made["fallback"].isna().all()
    assert there.content_hash(TRAINED_MODEL) == demo.warehouse.content_hash(TRAINED_MODEL)
    assert [blob.name for blob in bucket.list_blobs(prefix="mlflow/home/") if blob.name.endswith(".npz")]
    assert [blob.name for blob in bucket.list_blobs(prefix="logs/")]
    with open_instance(Settings(home=moved.home)) as instance:
        keys = instance.get_materialized_partitions(dg.AssetKey("forecasts"))
    assert {f"{DAY}|MSFT", "2013-03-01|MSFT", "2013-03-01|AAPL"} <= keys


OF_THE_RUN = {"ingested_at", "recorded_at", "published_at", "digest", "run_id", "serving_run_id", "report_uri"}
"""The clock at ingestion and publication, ids, and where a report lies."""
