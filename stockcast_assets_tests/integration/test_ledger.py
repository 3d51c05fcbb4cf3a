"""`stockcast ledger`, on a home that forecasts were published in: what it proves, and what it finds."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from stockcast_assets.settings import Settings
from stockcast_assets.tables import FORECASTS, PUBLISHED_FORECASTS
from stockcast_assets.warehouse import DuckDBWarehouse
from stockcast_assets_tests.conftest import Run
from stockcast_assets_tests.csvfiles import write_csv

# A history of months is too short for the LSTM, so nothing trains for minutes.
HISTORY, DAYS = pd.Timestamp("2012-08-01"), ("2013-02-27", "2013-02-28")


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """A git repository for the heads."""
    folder = tmp_path / "heads"
    for words in (["init", "-q", "."], ["config", "user.name", "A"], ["config", "user.email", "a@example.com"]):
        folder.mkdir(exist_ok=True)
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a home and its heads are once forecasts were published; tests copy it."""
    return tmp_path_factory.mktemp("ledger") / "published"


@pytest.fixture
def run(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    sample_bars: Mapping[str, pd.DataFrame],
    tmp_path: Path,
    heads: Path,
    published: Path,
) -> Run:
    for name, value in {
        "SOURCE": "csv",
        "START_DATE": "2013-02-01",
        "END_DATE": DAYS[-1],
        "LEDGER_HEADS": str(heads),
    }.items():
        monkeypatch.setenv(f"STOCKCAST_{name}", value)
    if published.exists():
        shutil.copytree(published, tmp_path, dirs_exist_ok=True)
        return run
    bars = sample_bars["MSFT"]
    recent = bars[(bars["date"] >= HISTORY) & (bars["date"] <= DAYS[-1])]
    write_csv(tmp_path / "home" / "inbox", "MSFT", recent, actions=True)
    for day in DAYS:
        status, _, err = run("forecast", "MSFT", day, "--json")
        assert status == 0, err
    shutil.copytree(tmp_path, published)
    return run


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(str(Settings(home=tmp_path / "home").database))


def document(run: Run, *words: str) -> tuple[int, Any]:
    status, out, err = run("ledger", *words, "--json")
    return status, json.loads(out or json.dumps(err))


@pytest.mark.timeout(300)
def test_what_was_published_stands_and_no_row_can_be_changed_unseen(
    run: Run, warehouse: DuckDBWarehouse, heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = warehouse.read(PUBLISHED_FORECASTS)
    assert list(rows["entry"]) == [1] * 10 + [2] * 10
    shared = FORECASTS.column_names
    pd.testing.assert_frame_equal(rows[shared], warehouse.read(FORECASTS)[shared], check_exact=True)
    # A backfill makes only late ones: their target sessions are over.
    assert rows["late"].all()
    assert (rows["model_digest"].notna() == (rows["model_version"] != "none")).all()

    status, told = document(run, "verify")
    assert (status, told["rows"], told["forecasts_without_entry"], told["faults"]) == (0, 20, 0, [])
    # Dagster's runs and the repository, of two publications each.
    assert told["heads_remembered"] == 4
    log = subprocess.run(["git", "log", "--format=%s"], cwd=heads, check=True, capture_output=True, text=True).stdout
    assert log.splitlines()[0] == f"Head of the ledger {told['head']}"
    assert document(run, "head")[1]["head"] == told["head"]

    # Made again, the same is said, and nothing is added.
    assert run("backfill", "MSFT", "--from", DAYS[0], "--to", DAYS[1], "--yes")[0] == 0
    pd.testing.assert_frame_equal(warehouse.read(PUBLISHED_FORECASTS), rows, check_exact=True)

    for sql, words in {
        "UPDATE {} SET close_p50 = close_p50 + 1e-12 WHERE entry = 1 AND horizon = 4": "2013-02-27, revision 0, horiz",
        "DELETE FROM {} WHERE entry = 2 AND horizon = 10": "2013-02-28, revision 0, horizon 9",
        "DELETE FROM {} WHERE entry = 2": "MSFT: entry 2, of which",
        "INSERT INTO {} SELECT * REPLACE (3 AS entry) FROM {} WHERE entry = 1": "2013-02-27, revision 0, horizon 1",
    }.items():
        kept = (tmp_path / "home" / "warehouse.duckdb").read_bytes()
        with duckdb.connect(warehouse.place) as connection:
            connection.execute(sql.format(*["stockcast.published_forecasts"] * 2))
        status, out, _ = run("ledger", "verify")
        assert status == 1
        assert words in out
        (tmp_path / "home" / "warehouse.duckdb").write_bytes(kept)
    assert document(run, "verify")[0] == 0

    # Without the repository, Dagster's own memory tells of an end that was cut off.
    monkeypatch.delenv("STOCKCAST_LEDGER_HEADS")
    with duckdb.connect(warehouse.place) as connection:
        connection.execute("DELETE FROM stockcast.published_forecasts WHERE entry = 2")
    assert document(run, "verify")[1]["faults"][0]["why"].startswith("entry 2, of which run ")
    status, _, err = run("ledger", "head", "--write")
    assert status == 1
    assert "set STOCKCAST_LEDGER_HEADS to a folder" in err


@pytest.mark.timeout(300)
def test_a_repaired_forecast_is_a_further_entry(
    run: Run, warehouse: DuckDBWarehouse, sample_bars: Mapping[str, pd.DataFrame], tmp_path: Path, heads: Path
) -> None:
    before = warehouse.read(PUBLISHED_FORECASTS)
    bars = sample_bars["MSFT"]
    bars = bars[(bars["date"] >= HISTORY) & (bars["date"] <= DAYS[-1])].copy()
    bars.loc[bars["date"] == DAYS[-1], ["close", "adj_close"]] *= 0.999
    write_csv(tmp_path / "home" / "inbox", "MSFT", bars, actions=True)
    status, _, err = run("backfill", "MSFT", "--from", DAYS[1], "--to", DAYS[1], "--yes")
    assert status == 0, err
    rows = warehouse.read(PUBLISHED_FORECASTS)
    pd.testing.assert_frame_equal(rows.head(20), before, check_exact=True)
    new = rows.tail(10)
    assert (set(new["date"]), set(new["revision"]), set(new["entry"])) == ({pd.Timestamp(DAYS[1])}, {1}, {3})
    assert set(new["data_digest"]).isdisjoint(before["data_digest"])
    assert document(run, "verify")[0] == 0
    # A head that cannot be kept stops no forecast; the sentence names what keeps it later.
    (heads / ".git" / "index.lock").touch()
    bars.loc[bars["date"] == DAYS[-1], ["close", "adj_close"]] *= 0.999
    write_csv(tmp_path / "home" / "inbox", "MSFT", bars, actions=True)
    status, _, err = run("backfill", "MSFT", "--from", DAYS[1], "--to", DAYS[1], "--yes")
    assert status == 0, err
    assert warehouse.read(PUBLISHED_FORECASTS)["entry"].max() == 4
    (heads / ".git" / "index.lock").unlink()
    assert run("ledger", "head", "--write")[0] == 0
    assert document(run, "verify")[0] == 0
