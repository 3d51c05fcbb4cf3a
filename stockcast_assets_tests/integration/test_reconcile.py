"""A home whose warehouse, Dagster and MLflow parted: every command sees it, and `stockcast reconcile` ends it."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from stockcast_assets.orchestration.graph import ORDER
from stockcast_assets.tables import ALL_TABLES, TRAINED_MODEL
from stockcast_assets.warehouse import DuckDBWarehouse, frames
from stockcast_assets_tests.conftest import Run

LAST = "2013-03-01"
FETCHED = ("ingested_at", "recorded_at")


def hashes(home: Path) -> dict[str, tuple[int, str]]:
    """What every table holds, without the moments at which bars and reports were fetched."""
    warehouse, found = DuckDBWarehouse(str(home / "warehouse.duckdb"), "stockcast"), {}
    for table in ALL_TABLES:
        rows, kept = warehouse.rows(table), [column for column in table.columns if column.name not in FETCHED]
        cut = replace(table, columns=tuple(kept))
        found[table.name] = frames.digest(rows.select(cut.column_names), cut)
    return found


@pytest.fixture
def home(demo_as_made: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "a moved home"
    shutil.copytree(demo_as_made, home)
    monkeypatch.setenv("STOCKCAST_HOME", str(home))
    return home


def execute(home: Path, *statements: str) -> None:
    with duckdb.connect(str(home / "warehouse.duckdb")) as database:
        for statement in statements:
            database.execute(statement)


LOSSES = {
    "a few sessions of one table": ["DELETE FROM stockcast.raw_prices WHERE ticker = 'IBM' AND date >= '2013-02-27'"],
    "some rows of a key": ["DELETE FROM stockcast.forecasts WHERE ticker = 'IBM' AND horizon > 7"],
    "the past": ["DELETE FROM stockcast.price_history WHERE ticker = 'IBM' AND date < '2005-01-01'"],
    "a table": ["DELETE FROM stockcast.drift_report"],
    "all of a ticker": [f"DELETE FROM stockcast.{name} WHERE ticker = 'IBM'" for name in ORDER],  # noqa: S608
}


SLOWER = ("some rows of a key", "a table")
"""The same ways, by another road."""


@pytest.mark.parametrize(
    "loss", [pytest.param(loss, marks=pytest.mark.long if loss in SLOWER else ()) for loss in LOSSES]
)
def test_lost_rows_are_seen_everywhere_and_come_back_bit_for_bit(home: Path, run: Run, loss: str) -> None:
    before = hashes(home)
    execute(home, *LOSSES[loss])
    assert hashes(home) != before
    status, out, told = run("status", "--json")
    assert status == 0, told
    assert any("has lost rows that Dagster remembers" in sentence for sentence in json.loads(out)["parted"])
    status, out, _ = run("reconcile", "--dry-run", "--json")
    assert (status, json.loads(out)["runs"]) == (0, [])
    status, out, told = run("reconcile", "--json")
    assert status == 0, told
    assert json.loads(out)["runs"]
    assert hashes(home) == before
    # Which is the whole of it: asked again, nothing is found.
    status, out, _ = run("reconcile", "--json")
    assert (status, json.loads(out)) == (0, {"found": [], "told": 0, "runs": []})
    assert "lost" not in run("status")[2]


def test_without_its_warehouse_a_home_forecasts_and_fills_itself(home: Path, run: Run) -> None:
    before = hashes(home)
    (home / "warehouse.duckdb").unlink()
    status, out, told = run("backfill", "--tickers", "IBM", "--missing-only", "--dry-run", "--json")
    assert status == 0, told
    assert json.loads(out)["estimate"]["keys"] > 0
    status, _, told = run("explain", "IBM", LAST)
    assert (status, "stockcast forecast IBM 2013-03-01" in told) == (1, True)
    status, _, told = run("forecast", "IBM", LAST)
    assert status == 0, told
    assert run("explain", "IBM", LAST, "--replay")[0] == 0
    # Yesterday's backup is put back over it.
    assert hashes(home)["raw_prices"] != before["raw_prices"]


def test_deleted_runs_lose_no_key(home: Path, run: Run) -> None:
    before = hashes(home)
    from stockcast_assets.orchestration.home import open_instance
    from stockcast_assets.settings import load_settings

    with open_instance(load_settings()) as instance:
        for finished in instance.get_runs():
            instance.delete_run(finished.run_id)
        assert not instance.get_materialized_partitions(dg.AssetKey("forecasts"))
    status, out, told = run("demo", "--sessions", "3", "--json")
    assert (status, json.loads(out)["runs"]) == (0, 0), told
    status, out, _ = run("reconcile", "--json")
    assert json.loads(out)["told"] > 0
    with open_instance(load_settings()) as instance:
        assert f"{LAST}|IBM" in instance.get_materialized_partitions(dg.AssetKey("forecasts"))
    assert hashes(home) == before
    # What was told is remembered as any other key is.
    execute(home, f"DELETE FROM stockcast.indicators WHERE date = '{LAST}'")  # noqa: S608
    assert run("reconcile")[0] == 0
    assert hashes(home) == before


def test_without_dagsters_storage_the_tickers_are_named(home: Path, run: Run) -> None:
    before = hashes(home)
    shutil.rmtree(home / "dagster")
    _, _, told = run("status")
    assert "`stockcast tickers add AAPL GOOG IBM MSFT`" in told
    assert run("tickers", "add", "AAPL", "GOOG", "IBM", "MSFT")[0] == 0
    assert run("reconcile")[0] == 0
    assert "warning" not in run("status")[2]
    status, out, told = run("demo", "--sessions", "3", "--json")
    assert (status, json.loads(out)["runs"]) == (0, 0), told
    assert hashes(home) == before


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "lost", [*(pytest.param(lost, marks=pytest.mark.long) for lost in ("the database", "the files")), "a file"]
)
def test_lost_models_are_trained_again(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """With the files those of the shared networks are lost, too, and come back into the run that the model names."""
    for ticker in ("AAPL", "GOOG", "MSFT"):
        assert run("tickers", "remove", ticker)[0] == 0
    if lost == "the database":
        monkeypatch.setenv("STOCKCAST_NETWORK", "ticker")
        (home / "mlflow.db").unlink()
    elif lost == "the files":
        shutil.rmtree(home / "artifacts")
    else:
        models = DuckDBWarehouse(str(home / "warehouse.duckdb"), "stockcast").read(TRAINED_MODEL, tickers=["IBM"])
        for run_id in models["run_id"]:
            (file,) = (home / "artifacts").rglob(f"{run_id}/artifacts/model/model.npz")
            file.write_bytes(file.read_bytes()[:500])
    status, _, told = run("explain", "IBM", LAST)
    assert status == 1
    assert told.count("\n") == 1
    status, _, told = run("reconcile")
    assert status == 0, told
    assert "The newest model of IBM cannot be read" in told
    assert run("reconcile", "--json")[1].count("cannot be read") == 0
    if lost != "the database":
        assert run("explain", "IBM", LAST, "--replay")[0] == 0


def test_the_paths_of_the_home_are_its_own(home: Path, run: Run) -> None:
    assert run("explain", "IBM", LAST, "--replay")[0] == 0
    with sqlite3.connect(home / "mlflow.db") as database:
        places = {place for (place,) in database.execute("SELECT artifact_uri FROM runs")}
    database.close()
    assert all(place.startswith((home / "artifacts").as_uri()) for place in places)
