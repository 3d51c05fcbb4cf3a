"""The main job, end to end: `stockcast demo` on the bundled history, then what a user does next."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from stockcast_assets.keys import partition_key
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.asset_checks.declared import faults
from stockcast_assets.orchestration.build import registry_from
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import (
    ALL_TABLES,
    DRIFT_REPORT,
    FORECAST_ACCURACY,
    FORECASTS,
    INDICATORS,
    MARKET_STATE,
    PRICE_HISTORY,
    RAW_PRICES,
    SCENARIOS,
    STORED_TABLES,
    TRAINED_MODEL,
)
from stockcast_assets.tracking.registry import CARD
from stockcast_assets_tests.conftest import Cli

TICKERS = ["AAPL", "GOOG", "IBM", "MSFT"]
DAYS = list(calendars.sessions("XNYS", "2013-01-01", "2013-03-01"))


def keys(frame: pd.DataFrame) -> set[tuple[str, pd.Timestamp]]:
    return set(zip(frame["ticker"], frame["date"], strict=True))


def product(days: list[pd.Timestamp]) -> set[tuple[str, pd.Timestamp]]:
    return {(ticker, day) for ticker in TICKERS for day in days}


def hashes(cli: Cli) -> dict[str, tuple[int, str]]:
    return {table.name: cli.warehouse.content_hash(table) for table in STORED_TABLES}


@pytest.fixture
def copied_demo(demo_as_made: Path, make_cli: Callable[..., Cli]) -> Cli:
    """The demo's home, copied, for tests that change it."""
    cli = make_cli(STOCKCAST_SOURCE="sample")
    shutil.copytree(demo_as_made, cli.home)
    config = cli.home / "dagster" / "dagster.yaml"
    assert config.exists()
    return cli


@pytest.mark.timeout(600)
def test_every_asset_holds_exactly_its_keys_and_obeys_its_declaration(demo: Cli) -> None:
    read = demo.warehouse.read
    assert keys(read(RAW_PRICES)) == product(DAYS)
    assert read(PRICE_HISTORY)["date"].max() < pd.Timestamp("2013-01-01")
    assert keys(read(TRAINED_MODEL)) == product([pd.Timestamp("2013-02-01"), pd.Timestamp("2013-03-01")])
    for table in (INDICATORS, FORECASTS, DRIFT_REPORT):
        assert keys(read(table)) == product(DAYS[-3:]), table.name
    assert sorted(read(SCENARIOS)["date"]) == list(DAYS[-3:])
    # Forecasts of the first two days have met their first target sessions.
    assert keys(read(FORECAST_ACCURACY)) == product(DAYS[-2:])
    for table in ALL_TABLES:
        assert faults(table, read(table)) == [], table.name


def test_forecasts_are_for_the_next_ten_sessions_under_an_honest_name(demo: Cli) -> None:
    forecasts, models = demo.warehouse.read(FORECASTS), demo.warehouse.read(TRAINED_MODEL)
    for (_, day), rows in forecasts.groupby(["ticker", "date"]):
        assert list(rows["horizon"]) == list(range(1, 11))
        assert list(rows["target_date"]) == list(calendars.next_sessions("XNYS", day, 10))
    champion_serves = models["serving_version"] != models["model_version"]
    assert ((models["method"] == "lstm") == (models["promoted"] | champion_serves)).all()
    assert (models["trained_to"] < models["date"]).all()
    for _, model in models.iterrows():
        assert any(character.isdigit() for character in model["reason"])


def test_doing_it_again_changes_nothing_and_is_faster(demo: Cli) -> None:
    first = json.loads((demo.home / "demo.json").read_text())
    again = demo("demo", "--sessions", "3", "--json")
    assert again.returncode == 0, again.stderr
    second = json.loads(again.stdout)
    assert second["tables"] == first["tables"]
    assert second["forecasts"] == first["forecasts"]
    assert second["runs"] == 0
    assert second["seconds"] < first["seconds"]


@pytest.mark.timeout(600)
def test_materialising_the_same_keys_again_changes_no_bit(copied_demo: Cli) -> None:
    before = hashes(copied_demo)
    result = copied_demo("backfill", "--tickers", "IBM", "--from", "2013-02-27", "--to", "2013-03-01")
    assert result.returncode == 0, result.stderr
    assert hashes(copied_demo) == before


@pytest.mark.timeout(600)
def test_truncating_the_future_changes_no_bit(demo: Cli, copied_demo: Cli) -> None:
    """Without what came after the day, the day and its month's model are what they were with it."""
    day, month = "2013-02-27", "2013-02-01"
    with duckdb.connect(str(copied_demo.home / "warehouse.duckdb")) as database:
        for later in ("raw_prices", "market_state", "universe_model"):
            database.execute(f"delete from stockcast.{later} where date > '{day}'")  # noqa: S608
        database.execute(f"delete from stockcast.earnings_dates where known_on > '{day}'")  # noqa: S608
        for made in ("indicators", "forecasts", "drift_report", "trained_model"):
            database.execute(f"delete from stockcast.{made} where ticker = 'MSFT'")  # noqa: S608
    again = ("backfill", "--tickers", "MSFT", "--from", day, "--to", day, "--assets")
    for assets in ("trained_model", "indicators,forecasts,drift_report"):
        result = copied_demo(*again, assets)
        assert result.returncode == 0, result.stderr
    for table in (INDICATORS, TRAINED_MODEL, FORECASTS, DRIFT_REPORT):
        then = copied_demo.warehouse.read(table, tickers=["MSFT"])
        later = demo.warehouse.read(table, tickers=["MSFT"], start=month, end=day)
        shared = [name for name in table.column_names if name != "report_uri"]
        pd.testing.assert_frame_equal(then[shared], later[shared], check_exact=True)
        assert len(then), table.name


def test_one_command_forecasts_from_what_is_there(demo: Cli) -> None:
    result = demo("forecast", "MSFT", "2013-03-01", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["ticker"], document["as_of"], len(document["forecasts"])) == ("MSFT", "2013-03-01", 10)
    table = demo("forecast", "MSFT", "2013-03-01").stdout
    assert "2013-03-15" in table
    assert document["method"] in table


def test_status_counts_what_is_stored(demo: Cli) -> None:
    document = json.loads(demo("status", "--json").stdout)
    assert [ticker["ticker"] for ticker in document["tickers"]] == TICKERS
    assert {row["table"]: row["rows"] for row in document["tables"]} == {
        name: count for name, (count, _) in hashes(demo).items()
    }


def test_the_instance_shows_runs_charts_and_passed_checks(demo: Cli) -> None:
    with open_instance(Settings(home=demo.home)) as instance:
        assert all(run.is_success for run in instance.get_runs())
        newest = dg.AssetRecordsFilter(dg.AssetKey(FORECASTS.name), asset_partitions=["2013-03-01|AAPL"])
        record = instance.fetch_materializations(newest, limit=1).records[0]
        assert record.asset_materialization is not None
        metadata = record.asset_materialization.metadata
        assert str(metadata["chart"].value).startswith("![Forecast of AAPL as of 2013-03-01](data:image/png;base64,")
        assert metadata["dagster/row_count"].value
        for table in ALL_TABLES:
            if table is MARKET_STATE:
                # The step market_days recorded its days; the check runs where its keys are asked for.
                continue
            check = dg.AssetCheckKey(dg.AssetKey(table.name), "obeys_its_declaration")
            execution = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
            assert execution.status.value == "SUCCEEDED", table.name


def test_a_model_has_one_card_wherever_it_is_shown(demo: Cli) -> None:
    """In MLflow, in the Dagster UI and by the command; what was scored since is in the command's alone."""

    def without_scores(card: str) -> str:
        before, _, live = card.partition("## Live scores so far")
        return before + live[live.index("## Known limits") :]

    settings = Settings(home=demo.home, source="sample")
    registry = registry_from(settings)
    models = demo.warehouse.read(TRAINED_MODEL)
    assert len(models)
    with open_instance(settings) as instance:
        for row in models.to_dict("records"):
            printed = demo("card", row["ticker"], f"{row['date']:%Y-%m}").stdout
            assert printed.startswith(f"# Model card: {row['ticker']}, {row['date']:%B %Y}\n")
            assert f"learnt from {len(TICKERS)} tickers" in printed, "the networks of the month"
            key = partition_key(row["ticker"], row["date"])
            wanted = dg.AssetRecordsFilter(dg.AssetKey(TRAINED_MODEL.name), asset_partitions=[key])
            made = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
            note = registry.client.get_run(row["run_id"]).data.tags["mlflow.note.content"]
            (file,) = settings.artifacts.rglob(f"{row['run_id']}/artifacts/{CARD}")
            assert made is not None
            assert note == file.read_text() == made.metadata["model card"].value
            assert without_scores(note) == without_scores(printed)
    assert "Forecasts as of | March 2013" not in printed, "no session after its first is over"
    assert "Forecasts as of | February 2013 |" in demo("card", "MSFT", "2013-02").stdout
