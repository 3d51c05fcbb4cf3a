"""A backup that is restored into an empty place is the same home, also one that was taken from a home at work."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.operations.backup import MANIFEST, back_up, kept_elsewhere, restore
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Address, Settings
from stockcast_assets.tables import ALL_TABLES
from stockcast_assets.warehouse import DuckDBWarehouse
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.documented import differences

WRITES = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE OR REPLACE TABLE stockcast.written AS SELECT 1 AS one")
print("writing", flush=True)
sys.stdin.readline()
connection.execute("INSERT INTO stockcast.written VALUES (2)")
connection.close()
"""


def told(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What a home holds."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    warehouse = DuckDBWarehouse(str(home / "warehouse.duckdb"), "stockcast")
    with open_instance(Settings(home=home, source="sample")) as instance:
        return {
            "tables": {table.name: warehouse.content_hash(table) for table in ALL_TABLES},
            "runs": sorted((run.run_id, run.status.value) for run in instance.get_runs()),
            "logs": {run.run_id: len(instance.all_logs(run.run_id)) for run in instance.get_runs()},
            "keys": {t.name: sorted(instance.get_materialized_partitions(dg.AssetKey(t.name))) for t in ALL_TABLES},
            "files": sorted(str(path.relative_to(home)) for path in home.rglob("*.npz")),
        }


@pytest.fixture(scope="module")
def archive(demo: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("backup") / "stockcast.tar.gz"
    done = demo("backup", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["elsewhere"] == {}
    return file


def test_a_restored_home_holds_what_the_home_held(
    demo: Cli, archive: Path, make_cli: Callable[..., Cli], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    cli = make_cli(STOCKCAST_SOURCE="sample")
    done = cli("restore", str(archive), "--json")
    assert done.returncode == 0, done.stderr
    assert differences("restore", json.loads(done.stdout)) == []
    assert told(cli.home, monkeypatch) == told(demo.home, monkeypatch)
    assert not [path for path in cli.home.rglob("*") if path.stat().st_mode & 0o077]
    assert len(told(cli.home, monkeypatch)["files"]) >= 4  # type: ignore[arg-type]
    refused = cli("restore", str(archive))
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr


def test_a_file_that_lacks_or_changes_something_restores_nothing(archive: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-2000])
    changed, planted = tmp_path / "changed.tar.gz", tmp_path / "planted.tar.gz"
    with tarfile.open(archive) as old, tarfile.open(changed, "w:gz") as new, tarfile.open(planted, "w:gz") as more:
        for entry in old:
            content = old.extractfile(entry).read()  # type: ignore[union-attr]
            for target in (new, more):
                spoiled = content[:-1] + b"\\0" if target is new and entry.name == "mlflow.db" else content
                copied = tarfile.TarInfo(entry.name)
                copied.size = len(spoiled)
                target.addfile(copied, io.BytesIO(spoiled))
        outside = tarfile.TarInfo("../outside")
        more.addfile(outside, io.BytesIO())
    for wrong in (cut, changed, planted, tmp_path / "none"):
        with pytest.raises(StockcastError, match=r"is no whole backup|is damaged"):
            restore(wrong, tmp_path / "place")
        assert not (tmp_path / "place").exists()
    assert not (tmp_path / "outside").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".place")], "something was left"


def test_a_home_at_work_is_waited_for(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings()
    with open_instance(settings):
        database = settings.database
    import duckdb

    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA stockcast")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdin is not None
    assert writer.stdout.readline() == "writing\n"
    writer.stdin.write("\n")
    writer.stdin.close()
    back_up(settings, tmp_path / "file.tar.gz")
    writer.wait(20)
    place = tmp_path / "place"
    assert MANIFEST not in restore(tmp_path / "file.tar.gz", place)["files"]  # type: ignore[operator]
    with duckdb.connect(str(place / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT one FROM stockcast.written ORDER BY one").fetchall() == [(1,), (2,)]


def test_it_says_what_is_not_in_it(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings(
        warehouse="bigquery", gcp_project="p", uploads="gs://bucket/in", mlflow_uri=Address("http://mlflow:5000")
    )
    assert set(kept_elsewhere(settings)) == {"tables", "models", "uploads"}
    with pytest.raises(StockcastError, match="There is no home"):
        back_up(settings.model_copy(update={"home": tmp_path / "none"}), tmp_path / "x")
