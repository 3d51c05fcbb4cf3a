"""A home in which an older release stored secrets is cleaned, and goes on working."""

import base64
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from stockcast_assets.orchestration.cleaning import clean, clean_home
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets_tests.canaries import stored_in
from stockcast_assets_tests.conftest import Run

CANARY, WORD = "canary-of-a-key-2481", "canary-word-5573"
DOCUMENT = json.dumps({"type": "service_account", "private_key": f"-----BEGIN x {CANARY * 9}", "client_email": "x"})
KEY = base64.b64encode(DOCUMENT.encode()).decode()
LINK = f"https://anna:{WORD}@mlflow.example.com/#/experiments/1"
SECRETS = [CANARY, WORD, KEY]


class OldIOManager(dg.ConfigurableIOManager):
    """As it was: its fields are part of every job's snapshot, with the values as defaults."""

    project: str = "p"
    gcp_credentials: str

    def handle_output(self, context: dg.OutputContext, obj: object) -> None: ...

    def load_input(self, context: dg.InputContext) -> None: ...


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as an older release left it: a key in snapshots, a password in links, errors, rows and logs."""
    home = tmp_path / "home"

    @dg.asset
    def forecasts(context: dg.AssetExecutionContext) -> None:
        context.add_output_metadata({"MLflow": dg.MetadataValue.url(LINK)})
        context.log.info(f"logged to {LINK}")

    with open_instance(Settings(home=home)) as instance:
        defs = dg.Definitions(assets=[forecasts], resources={"io_manager": OldIOManager(gcp_credentials=KEY)})
        assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("CREATE TABLE tags (key TEXT, value TEXT)")
        connection.execute("INSERT INTO tags VALUES ('note', ?)", (f"from {LINK}",))
    connection.close()
    with duckdb.connect(str(home / "warehouse.duckdb")) as warehouse:
        warehouse.execute("CREATE SCHEMA stockcast")
        warehouse.execute("CREATE TABLE stockcast.forecasts (ticker VARCHAR NOT NULL, fallback VARCHAR)")
        warehouse.execute("COMMENT ON COLUMN stockcast.forecasts.ticker IS 'a symbol'")
        rows = [["MSFT", f"MLflow at {LINK} could not load"], ["IBM", None]]
        warehouse.executemany("INSERT INTO stockcast.forecasts VALUES (?, ?)", rows)
    log = home / "dagster" / "storage" / "run.err"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"error at {LINK}\n{DOCUMENT}\n")
    return home


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch, home: Path) -> Callable[..., str]:
    """What a command prints on that home."""
    monkeypatch.setenv("STOCKCAST_HOME", str(home))
    monkeypatch.delenv("STOCKCAST_SOURCE")
    return lambda *arguments: "".join(run(*arguments)[1:])


def test_a_home_of_an_older_release_is_cleaned_and_works(home: Path, run: Callable[..., str]) -> None:
    before = {file for file, _ in stored_in(home, SECRETS)}
    assert {"dagster/history/runs.db", "mlflow.db", "warehouse.duckdb", "dagster/storage/run.err"} <= before
    assert any(file.startswith("dagster/history/runs/") for file in before)
    told = run("home", "clean-secrets", "--dry-run", "--json")
    assert {each["file"] for each in json.loads(told)["files"]} == before
    assert stored_in(home, SECRETS)
    shown = run("home", "clean-secrets")
    assert "make new keys and passwords" in shown
    assert "canary" not in shown
    assert stored_in(home, SECRETS) == []
    assert "No secret is stored" in run("home", "clean-secrets")
    # Dagster reads what it stored, and the rows are the same but for the password.
    with open_instance(Settings(home=home)) as instance:
        (stored,) = instance.get_runs()
        assert stored.job_snapshot_id is not None
        snapshot = instance.get_job_snapshot(stored.job_snapshot_id)
        assert "gcp_credentials" in str(snapshot)
        (record,) = instance.fetch_materializations(dg.AssetKey("forecasts"), limit=10).records
        assert record.asset_materialization.metadata["MLflow"].value == LINK.replace(WORD, "***")
    with duckdb.connect(str(home / "warehouse.duckdb")) as warehouse:
        rows = warehouse.execute("SELECT * FROM stockcast.forecasts ORDER BY ticker").fetchall()
        comments = warehouse.execute("SELECT comment FROM duckdb_columns() WHERE column_name = 'ticker'").fetchall()
    assert rows == [("IBM", None), ("MSFT", f"MLflow at {LINK.replace(WORD, '***')} could not load")]
    assert comments == [("a symbol",)]


def test_a_database_in_use_is_said_and_nothing_is_lost(home: Path, run: Callable[..., str]) -> None:
    connection = sqlite3.connect(home / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        assert "mlflow.db is in use" in run("home", "clean-secrets")
    finally:
        connection.close()
    assert clean_home(home)
    assert stored_in(home, SECRETS) == []


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (
            f'{{"default": "{{\\"gcp_credentials\\": \\"{KEY}\\"}}"}}',
            '{"default": "{\\"gcp_credentials\\": \\"***\\"}"}',
        ),
        (json.dumps({"private_key": "a\nb", "type": "x"}), '{"private_key": "***", "type": "x"}'),
        ('{"gcp_credentials": "no key at all"}', '{"gcp_credentials": "***"}'),
        ('{"gcp_credentials": "(hidden)", "x": null}', '{"gcp_credentials": "(hidden)", "x": null}'),
        ('{"gcp_credentials": {"env": "KEY"}}', '{"gcp_credentials": {"env": "KEY"}}'),
        (f"{'e' * 300} and {'a1' * 100}", f"{'e' * 300} and {'a1' * 100}"),
        (LINK, LINK.replace(WORD, "***")),
        ("https://mlflow.example.com/#/experiments/1@2", "https://mlflow.example.com/#/experiments/1@2"),
    ],
)
def test_what_is_masked_and_what_stays(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned
