"""From laptop to cloud by settings alone: the same command on DuckDB and on BigQuery stores the same rows."""

import uuid
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import PRICE_REVISIONS, SCENARIOS, STORED_TABLES, UNIVERSE_MODEL
from stockcast_assets.warehouse import Warehouse
from stockcast_assets_tests.conftest import Cli, CliHere
from stockcast_assets_tests.csvfiles import write_csv

DAYS = ("2013-02-27", "2013-02-28")
# Two days: a forecast, and another on the day that closes its first target session. A history of months is too short
# for the LSTM, so nothing trains for minutes; that training repeats itself bit for bit is for other tests to show.
HISTORY = pd.Timestamp("2012-03-01")
# The clock at ingestion and publication, the id that MLflow draws for a run, and a report's path in its own home.
OF_THE_RUN = {
    *("ingested_at", "recorded_at", "published_at", "digest"),
    *("run_id", "serving_run_id", "universe_run_id", "report_uri"),
}


@pytest.fixture
def cloud(bigquery_emulator: str) -> dict[str, str]:
    """What a user sets to move to BigQuery; the emulator's address stands for credentials and Google."""
    return {
        "STOCKCAST_WAREHOUSE": "bigquery",
        "STOCKCAST_GCP_PROJECT": "test-project",
        "STOCKCAST_BQ_DATASET": f"cloud_{uuid.uuid4().hex[:8]}",
        "BIGQUERY_EMULATOR_HOST": bigquery_emulator,
    }


def stored(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> tuple[Warehouse, dict[str, pd.DataFrame]]:
    """The warehouse that the command's settings choose, and every table in it."""
    for name, value in cli.env.items():
        monkeypatch.setenv(name, value)
    warehouse = warehouse_from(Settings(home=cli.home))
    return warehouse, {table.name: warehouse.read(table) for table in STORED_TABLES}


@pytest.mark.timeout(600)
def test_settings_alone_move_the_whole_graph_to_bigquery(
    cloud: Mapping[str, str],
    sample_bars: Mapping[str, pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    csv = {"STOCKCAST_SOURCE": "csv", "STOCKCAST_START_DATE": "2013-02-01", "STOCKCAST_END_DATE": DAYS[-1]}
    laptop, in_cloud = CliHere(tmp_path / "laptop", csv), CliHere(tmp_path / "cloud", {**csv, **cloud})
    bars = sample_bars["MSFT"]
    for cli in (laptop, in_cloud):
        recent = bars[(bars["date"] >= HISTORY) & (bars["date"] <= DAYS[-1])]
        write_csv(cli.home / "inbox", "MSFT", recent, actions=True)
        (cli.home / "inbox" / "reports.csv").write_text("Ticker,Date,When\nMSFT,2013-01-24,after close\n")
    for day in DAYS:
        here, there = (cli("forecast", "MSFT", day, "--json") for cli in (laptop, in_cloud))
        assert here.returncode == 0, here.stderr
        assert there.returncode == 0, there.stderr
        assert there.stdout == here.stdout

    duckdb, tables = stored(laptop, monkeypatch)
    bigquery, same = stored(in_cloud, monkeypatch)
    assert (duckdb.kind, bigquery.kind) == ("duckdb", "bigquery")
    assert not (in_cloud.home / "warehouse.duckdb").exists()
    for table in STORED_TABLES:
        shared = [name for name in table.column_names if name not in OF_THE_RUN]
        # One ticker has no universe, no bar was revised, and no schedule has run.
        assert len(tables[table.name]) or table in (UNIVERSE_MODEL, PRICE_REVISIONS, SCENARIOS), table.name
        pd.testing.assert_frame_equal(same[table.name][shared], tables[table.name][shared], check_exact=True)
    assert in_cloud("warehouse", "check").returncode == 0
