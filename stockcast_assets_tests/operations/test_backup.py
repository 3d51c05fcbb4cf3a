"""A backup that is restored into an empty place is the same home, also one that was taken from a home at work."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.operations import backup
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


CRASHES = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE SCHEMA stockcast; CREATE TABLE stockcast.written AS SELECT 1 AS one")
os._exit(0)
"""
OPENS = """
import sys, duckdb
try:
    duckdb.connect(sys.argv[1])
except duckdb.IOException as error:
    print(error)
"""


def python(code: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True).stdout


def test_nobody_writes_the_tables_between_the_copies_of_the_file_and_of_its_log(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the rows of a log that somebody else has worked in meanwhile would be in neither."""
    settings, copy_log, tried = make_settings(), shutil.copy2, []
    settings.home.mkdir(parents=True, exist_ok=True)
    python(CRASHES, str(settings.database))
    log = Path(f"{settings.database}.wal")
    assert log.stat().st_size

    def copied(source: Path, target: str) -> None:
        if Path(source) == log:
            tried.append(python(OPENS, str(settings.database)))
        copy_log(source, target)

    monkeypatch.setattr(shutil, "copy2", copied)
    back_up(settings, tmp_path / "file.tar.gz")
    assert "lock on file" in tried[0]
    restore(tmp_path / "file.tar.gz", tmp_path / "place")
    with duckdb.connect(str(tmp_path / "place" / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT one FROM stockcast.written").fetchall() == [(1,)]


@pytest.mark.parametrize("name", ["home", "a #1 home", "100% höme;ö", "-rf"])
def test_what_comes_and_goes_meanwhile_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = Settings(home=tmp_path / name, source="sample")
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("ticker", ["IBM"])
    below = backup._below
    vanished = [settings.home / "dagster" / gone for gone in ("runs.db-wal", "runs.db-shm", "a/b.db", "x.log")]
    monkeypatch.setattr(backup, "_below", lambda folder: [*below(folder), *vanished])
    made = back_up(settings, tmp_path / "file.tar.gz")
    assert not {str(gone.relative_to(settings.home)) for gone in vanished} & set(made["files"])  # type: ignore[call-overload]
    restore(tmp_path / "file.tar.gz", tmp_path / "place")
    monkeypatch.delenv("DAGSTER_HOME")
    with open_instance(Settings(home=tmp_path / "place", source="sample")) as instance:
        assert instance.get_dynamic_partitions("ticker") == ["IBM"]


def test_of_damaged_tables_there_is_no_backup_and_nobody_waits(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.database)) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT * FROM range(100_000)")
    content = bytearray(settings.database.read_bytes())
    for place in range(3 * 4096 + 100, len(content), 1_000):
        content[place] ^= 255
    settings.database.write_bytes(content)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits for what does not change"))
    with pytest.raises(StockcastError, match=r"is damaged .* move it aside"):
        back_up(settings, tmp_path / "file.tar.gz")
    assert not [path for path in tmp_path.iterdir() if path.name != settings.home.name], "something was left"


def test_links_are_named_as_kept_elsewhere(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings()
    (tmp_path / "large disk").mkdir()
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "artifacts").symlink_to(tmp_path / "large disk")
    assert kept_elsewhere(settings)["artifacts"].startswith(str(tmp_path / "large disk"))


def test_it_says_what_is_not_in_it(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings(
        warehouse="bigquery", gcp_project="p", uploads="gs://bucket/in", mlflow_uri=Address("http://mlflow:5000")
    )
    assert set(kept_elsewhere(settings)) == {"tables", "models", "uploads"}
    with pytest.raises(StockcastError, match="There is no home"):
        back_up(settings.model_copy(update={"home": tmp_path / "none"}), tmp_path / "x")
