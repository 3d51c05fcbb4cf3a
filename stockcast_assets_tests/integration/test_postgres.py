"""stockcast on deploy/dagster.yaml: a real PostgreSQL instead of files, by DAGSTER_HOME alone."""

import json
import lzma
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pandas as pd
import psycopg2
import pytest

from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.tickers import ticker_states
from stockcast_assets.settings import Settings
from stockcast_assets.tables import FORECASTS, TRAINED_MODEL
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.documented import differences
from stockcast_assets_tests.servers import DEPLOYED, POSTGRES_URL

LAST, EARLIER = "2013-03-01", "2013-02-25"


@pytest.fixture
def deployment(tmp_path: Path, new_database: Callable[[], str]) -> dict[str, str]:
    """The environment of a deployment whose database is empty."""
    home = tmp_path / "deployed"
    home.mkdir()
    shutil.copy(DEPLOYED, home / "dagster.yaml")
    return {"DAGSTER_HOME": str(home), POSTGRES_URL: new_database(), "DAGSTER_RUN_LOGS": str(tmp_path / "logs")}


def test_a_day_runs_on_postgresql_as_on_files(make_cli: Callable[..., Cli], deployment: dict[str, str]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample", **deployment)
    on_files = replace(make_cli(STOCKCAST_SOURCE="sample"), home=cli.home.with_name("files"))
    for each in (on_files, cli):
        forecast = each("forecast", "MSFT", LAST, "--json")
        assert forecast.returncode == 0, forecast.stderr
    stored, expected = (each.warehouse.read(FORECASTS) for each in (cli, on_files))
    assert len(stored) == 10
    pd.testing.assert_frame_equal(stored, expected)
    assert not list((Path(deployment["DAGSTER_HOME"])).rglob("*.db")), "a history in files"
    assert not (cli.home / "dagster").exists()
    # What the run printed is where the deployment says.
    assert [file for file in Path(deployment["DAGSTER_RUN_LOGS"]).rglob("*") if file.is_file()]
    status = cli("status", "--json")
    assert status.returncode == 0, status.stderr
    assert "MSFT" in status.stdout


def test_a_home_goes_on_where_its_history_was_moved(
    demo: Cli,
    demo_as_made: Path,
    make_cli: Callable[..., Cli],
    deployment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample", **deployment)
    shutil.copytree(demo_as_made, cli.home)
    settings = Settings(home=cli.home, source="sample")

    def told() -> dict[str, object]:
        with open_instance(settings) as instance:
            keys = {
                name: sorted(instance.get_materialized_partitions(dg.AssetKey(name)))
                for name in ("raw_prices", "forecasts", "trained_model")
            }
            last = {name: instance.get_latest_materialization_event(dg.AssetKey(name)) for name in keys}
            return {
                "keys": keys,
                "runs": sorted((run.run_id, run.status.value) for run in instance.get_runs()),
                "states": ticker_states(instance, ["AAPL", "MSFT"]),
                "tickers": instance.get_dynamic_partitions("ticker"),
                "last": {name: event and event.run_id for name, event in last.items()},
                "records": [
                    (record.storage_id, record.partition_key)
                    for record in instance.fetch_materializations(dg.AssetKey("forecasts"), limit=50).records
                ],
            }

    monkeypatch.setenv("DAGSTER_HOME", str(cli.home / "dagster"))
    before = told()
    moved = cli("home", "move-history", "--json")
    assert moved.returncode == 0, moved.stderr
    assert differences("home move-history", json.loads(moved.stdout)) == []
    rows = json.loads(moved.stdout)["rows"]
    with sqlite3.connect(cli.home / "dagster" / "history" / "runs" / "index.db") as index:
        assert rows["event_logs"] == index.execute("SELECT count(*) FROM event_logs").fetchone()[0] > 100

    for name, value in deployment.items():
        monkeypatch.setenv(name, value)
    assert told() == before
    # The day before is there; the one before that is not, and is made there with the model that is there.
    more = cli("forecast", "MSFT", EARLIER, "--json")
    assert more.returncode == 0, more.stderr
    assert len(cli.warehouse.read(FORECASTS, tickers=["MSFT"], start=EARLIER, end=EARLIER)) == 10
    assert cli.warehouse.content_hash(TRAINED_MODEL) == demo.warehouse.content_hash(TRAINED_MODEL)
    after = told()
    assert set(before["runs"]) < set(after["runs"])  # type: ignore[call-overload]
    old_records, new_records = set(before["records"]), set(after["records"])  # type: ignore[call-overload]
    assert old_records < new_records
    # Numbers go on: a sensor whose cursor is the newest old event sees the new ones, and no old one again.
    assert min(number for number, _ in new_records - old_records) > max(number for number, _ in old_records)

    refused = cli("home", "move-history")
    assert refused.returncode == 1
    assert "name an empty database" in refused.stderr


@dg.job
def nothing() -> None: ...


def test_the_history_of_a_home_that_is_at_work_stays(make_cli: Callable[..., Cli], deployment: dict[str, str]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample", **deployment)
    empty = cli("home", "move-history")
    assert empty.returncode == 1
    assert "There is no history of Dagster in" in empty.stderr
    old = cli.home / "dagster"
    old.mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(old)) as instance:
        instance.create_run_for_job(nothing)
    busy = cli("home", "move-history")
    assert busy.returncode == 1
    assert "1 runs of" in busy.stderr
    to_files = cli("home", "move-history", DAGSTER_HOME=str(old))
    assert to_files.returncode == 1
    assert "set DAGSTER_HOME" in to_files.stderr


def test_a_database_that_does_not_answer_is_named_without_its_password(
    make_cli: Callable[..., Cli], deployment: dict[str, str]
) -> None:
    away = {POSTGRES_URL: "postgresql://anna:hunter2-canary@127.0.0.1:9/dagster"}
    cli = make_cli(STOCKCAST_SOURCE="sample", **{**deployment, **away})
    result = cli("status")
    assert result.returncode == 1
    assert "see that it runs" in result.stderr
    assert "Connection refused" in result.stderr
    assert "hunter2" not in result.stderr + result.stdout
    without = make_cli(STOCKCAST_SOURCE="sample", DAGSTER_HOME=deployment["DAGSTER_HOME"])("status")
    assert without.returncode == 1
    assert f"takes {POSTGRES_URL} from the environment" in without.stderr


EARLIER_DAGSTER = Path(__file__).parents[1] / "fixtures" / "dagster-1.8-postgres.sql.xz"
"""What dagster-postgres 0.24.13 made, whose last migration is of July 2024, as `pg_dump --inserts` writes it: two
tickers, and two days of `raw_prices` and `indicators` of each, with a check."""


def test_a_database_of_an_earlier_dagster_is_brought_up_to_date_and_goes_on(
    make_cli: Callable[..., Cli], deployment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with lzma.open(EARLIER_DAGSTER, "rt") as file:
        statements = "".join(line for line in file if not line.startswith("\\"))
    with psycopg2.connect(deployment[POSTGRES_URL]) as connection, connection.cursor() as cursor:
        cursor.execute(statements)
    connection.close()
    cli = make_cli(STOCKCAST_SOURCE="sample", **deployment)

    def instance_is() -> dict[str, str]:
        told = json.loads(cli("doctor", "--json").stdout)["parts"]
        return next(each for each in told if each["part"] == "instance")

    behind = instance_is()
    assert behind["state"] == "warning"
    assert "of an earlier Dagster" in behind["found"]
    # The remedy, as it is printed.
    for name, value in deployment.items():
        monkeypatch.setenv(name, value)
    home, command = re.search(r"`DAGSTER_HOME=(\S+) (dagster instance migrate)`", behind["mend"]).groups()  # type: ignore[union-attr]
    assert home == deployment["DAGSTER_HOME"]
    program, *arguments = command.split()
    migrated = subprocess.run([Path(sys.executable).with_name(program), *arguments], capture_output=True, text=True)
    assert migrated.returncode == 0, migrated.stderr
    assert instance_is()["state"] == "ok"

    with open_instance(Settings(home=cli.home, source="sample")) as instance:
        assert instance.get_dynamic_partitions("ticker") == ["AAPL", "MSFT"]
        old = {f"{day}|{ticker}" for day in ("2013-02-25", "2013-02-26") for ticker in ("AAPL", "MSFT")}
        assert instance.get_materialized_partitions(dg.AssetKey("raw_prices")) == old
        runs = {run.run_id for run in instance.get_runs()}
        assert len(runs) == 4
    # Bars of a day that is not there come after those that are.
    more = cli("backfill", "MSFT", "--from", "2013-02-27", "--to", "2013-02-28", "--assets", "raw_prices")
    assert more.returncode == 0, more.stderr
    with open_instance(Settings(home=cli.home, source="sample")) as instance:
        found = instance.get_materialized_partitions(dg.AssetKey("raw_prices"))
        assert found >= old | {"2013-02-27|MSFT", "2013-02-28|MSFT"}
        assert runs < {run.run_id for run in instance.get_runs()}


def test_the_models_of_a_home_are_those_of_the_server_s_database(
    demo: Cli, make_cli: Callable[..., Cli], new_database: Callable[[], str], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    bucket, address = tmp_path / "bucket", new_database()
    cli = make_cli(STOCKCAST_SOURCE="sample")
    served = {"STOCKCAST_MLFLOW_URI": address, "MLFLOW_ARTIFACTS_DESTINATION": str(bucket)}
    for env, remedy in (
        ({}, "set STOCKCAST_MLFLOW_URI"),
        ({"STOCKCAST_MLFLOW_URI": "http://127.0.0.1:9"}, "set STOCKCAST_MLFLOW_URI"),
        ({"STOCKCAST_MLFLOW_URI": address}, "set MLFLOW_ARTIFACTS_DESTINATION"),
        (served, "set STOCKCAST_HOME"),
    ):
        refused = cli("home", "move-models", **env)
        assert refused.returncode == 1
        assert remedy in " ".join(refused.stderr.split())
    shutil.copytree(demo.home, cli.home, dirs_exist_ok=True)
    moved = cli("home", "move-models", "--json", **served)
    assert moved.returncode == 0, moved.stderr
    assert differences("home move-models", json.loads(moved.stdout)) == []

    before = MlflowClient(f"sqlite:///{cli.home / 'mlflow.db'}")
    after = MlflowClient(Settings(home=cli.home, source="sample", mlflow_uri=address).mlflow_tracking_uri)

    def told(client: MlflowClient) -> tuple[object, ...]:
        experiments = {each.experiment_id: each.name for each in client.search_experiments()}
        runs = client.search_runs(list(experiments))
        models = client.search_registered_models()
        return (
            experiments,
            {run.info.run_id: (run.data.metrics, run.data.params, run.data.tags) for run in runs},
            {(each.name, each.version, each.run_id) for each in client.search_model_versions()},
            {each.name: each.aliases for each in models},
        )

    assert told(after) == told(before)
    assert len(told(after)[2]) > 2  # type: ignore[arg-type]
    # As the server serves them: below its own place, and there they are.
    artifacts = cli.home / "artifacts"
    for version in after.search_model_versions():
        path = version.source.removeprefix("mlflow-artifacts:/home/")
        assert (bucket / "home" / path).is_dir(), version.source
    for file in artifacts.rglob("*"):
        if file.is_file():
            assert (bucket / "home" / file.relative_to(artifacts)).read_bytes() == file.read_bytes()
    # Numbers go on.
    new = after.create_run(after.create_experiment("another"))
    assert new.info.experiment_id not in told(before)[0]  # type: ignore[operator]
    again = cli("home", "move-models", **served)
    assert again.returncode == 1
    assert "name an empty database" in " ".join(again.stderr.split())
