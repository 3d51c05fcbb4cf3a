"""`stockcast tune`: a real Dagster run of the asset `tuning`, continued by a second call."""

import json
import sqlite3
from collections.abc import Callable

import dagster as dg
import pytest
from mlflow import MlflowClient

from stockcast_assets.orchestration.assets.tuning import FED, TUNING
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import ALL_TABLES
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.test_evaluate import drop_csv


@pytest.mark.timeout(400)
def test_a_second_call_goes_on_and_everything_is_there_to_look_at(make_cli: Callable[..., Cli]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="csv", STOCKCAST_START_DATE="2012-06-01", STOCKCAST_END_DATE="2012-06-29")
    drop_csv(cli, "NEW", 400)
    found = []
    for trials in ("2", "1"):
        result = cli("tune", "NEW", "--trials", trials, "--json")
        assert result.returncode == 0, result.stderr
        (row,) = json.loads(result.stdout)["tickers"]
        found.append(row)
    assert [row["trials"] for row in found] == [2, 3]
    assert found[1]["ratio"] <= found[0]["ratio"] <= 1
    assert found[1]["fed"] == (found[1]["best"] if found[1]["ratio"] < 1 else {})

    with sqlite3.connect(cli.home / "optuna.db") as database:
        states = [state for (state,) in database.execute("select state from trials")]
    assert len(states) == 3
    assert set(states) <= {"COMPLETE", "PRUNED"}

    with open_instance(Settings(home=cli.home)) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name="tune"))
        assert [run.run_config["ops"][TUNING]["config"]["trials"] for run in runs] == [1, 2]
        assert all(run.is_success for run in runs)
        wanted = dg.AssetRecordsFilter(dg.AssetKey(TUNING), asset_partitions=["NEW"])
        record = instance.fetch_materializations(wanted, limit=1).records[0]
        metadata = record.asset_materialization.metadata
    assert metadata[FED].value == found[1]["fed"]
    for name in ("loss vs epochs", "loss vs units", "loss vs learning rate", "parallel coordinates"):
        assert str(metadata[name].value).startswith("![")
    assert metadata["MLflow"].value == found[1]["mlflow"] == found[0]["mlflow"]

    client = MlflowClient(f"sqlite:///{cli.home / 'mlflow.db'}")
    parent = found[1]["mlflow"].rsplit("/", 1)[1]
    experiment = client.get_experiment_by_name("stockcast-tuning").experiment_id
    assert len(client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'")) == 3

    stored = {table.name for table in ALL_TABLES if len(cli.warehouse.read(table))}
    assert stored == {"price_history", "raw_prices"}
