"""What runs print is kept where DAGSTER_RUN_LOGS says: in a folder, or in a bucket where machines come and go."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from stockcast_assets_tests.servers import DEPLOYED, POSTGRES_URL
from stockcast_assets_tests.test_event_log import instance_of

if TYPE_CHECKING:
    from google.cloud import storage

PRINTED = "what the run printed"


@dg.op
def printing() -> None:
    print(PRINTED)  # noqa: T201


@dg.job(executor_def=dg.in_process_executor)
def prints() -> None:
    printing()


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_what_a_run_prints_is_where_it_is_said(
    place: str,
    storage_client: "storage.Client",
    new_database: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = storage_client.create_bucket(f"logs-{uuid.uuid4().hex[:8]}")
    folder = tmp_path / "logs"
    monkeypatch.setenv("DAGSTER_RUN_LOGS", str(folder) if place == "folder" else f"gs://{bucket.name}/of/runs")
    monkeypatch.setenv(POSTGRES_URL, new_database())
    with instance_of(tmp_path, DEPLOYED.read_text()) as instance:
        assert prints.execute_in_process(instance=instance).success
    if place == "folder":
        kept = [file.read_text() for file in folder.rglob("*.out")]
        assert not list(bucket.list_blobs())
    else:
        kept = [blob.download_as_text() for blob in bucket.list_blobs(prefix="of/runs/") if blob.name.endswith(".out")]
        assert not folder.exists()
    assert [text.strip() for text in kept] == [PRINTED]
