"""`stockcast explain`: the chain behind a stored forecast, and the forecast made again."""

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from stockcast_assets.tables import FORECASTS, PUBLISHED_FORECASTS, TRAINED_MODEL
from stockcast_assets_tests.conftest import Cli

DAY = "2013-02-28"


@pytest.fixture
def copied(demo_as_made: Path, make_cli: Callable[..., Cli]) -> Cli:
    cli = make_cli(STOCKCAST_SOURCE="sample")
    shutil.copytree(demo_as_made, cli.home)
    return cli


def test_the_chain_agrees_with_the_tables_and_a_replay_is_identical(demo: Cli) -> None:
    result = demo("explain", "AAPL", DAY, "--replay", "--json")
    assert result.returncode == 0, result.stderr
    chain = json.loads(result.stdout)
    rows = demo.warehouse.read(FORECASTS, tickers=["AAPL"], start=DAY, end=DAY)
    models = demo.warehouse.read(TRAINED_MODEL, tickers=["AAPL"])
    model = models[models["model_version"] == rows["model_version"].iloc[0]].iloc[0]
    assert chain["forecast"]["rows"] == len(rows) == 10
    assert chain["forecast"]["method"] == rows["method"].iloc[0]
    assert chain["model"]["version"] == model["model_version"]
    assert chain["model"]["mlflow_run_id"] == model["run_id"]
    assert chain["model"]["reason"] == model["reason"]
    assert chain["model"]["weights"]["sha256"] == model["weights_sha256"]
    assert chain["model"]["weights"]["verified"] is True
    assert chain["model"]["trained_to"] == str(model["trained_to"].date())
    assert chain["model"]["training_bars"]["sources"] == ["sample"]
    assert chain["model"]["training_bars"]["last"] == chain["model"]["trained_to"]
    assert chain["forecast"]["bars"]["last"] == DAY
    assert chain["revised"] == {"bars_stored_after_the_forecast": [], "reported_by_the_source": []}
    assert chain["replay"] == {"identical": True, "differences": [], "possible_causes": []}

    told = demo("explain", "AAPL", DAY, "--replay")
    assert told.returncode == 0
    for words in (model["run_id"], model["weights_sha256"], "identical"):
        assert words in told.stdout


def test_bars_stored_after_the_forecast_make_a_replay_differ_and_are_named(copied: Cli) -> None:
    with duckdb.connect(str(copied.home / "warehouse.duckdb")) as database:
        database.execute(
            "update stockcast.raw_prices set close = close * 1.02, high = high * 1.02, ingested_at = now() "
            "where ticker = 'MSFT' and date = '2013-02-20'"
        )
    result = copied("explain", "MSFT", DAY, "--replay", "--json")
    assert result.returncode == 1, result.stderr
    chain = json.loads(result.stdout)
    assert chain["replay"]["identical"] is False
    assert {each["column"] for each in chain["replay"]["differences"]} >= {"close_p05", "close_p95"}
    assert chain["revised"]["bars_stored_after_the_forecast"] == ["2013-02-20"]
    assert any("2013-02-20" in cause for cause in chain["replay"]["possible_causes"])
    assert copied("explain", "MSFT", DAY).returncode == 0


def test_a_stored_number_changed_by_hand_is_found_to_the_last_bit(copied: Cli) -> None:
    stored = copied.warehouse.read(FORECASTS, tickers=["IBM"], start=DAY, end=DAY)
    nudged = float(pd.Series(stored["close_p50"]).iloc[3]) * (1 + 2**-51)
    with duckdb.connect(str(copied.home / "warehouse.duckdb")) as database:
        database.execute(
            "update stockcast.forecasts set close_p50 = ? where ticker = 'IBM' and date = ? and horizon = 4",
            [nudged, DAY],
        )
    result = copied("explain", "IBM", DAY, "--replay")
    assert result.returncode == 1
    assert "1 values differ" in result.stdout
    assert repr(nudged) in result.stdout
    assert "changed by hand" in result.stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the BLAS of this processor has no kernels of another one")
def test_another_processor_makes_the_same_forecast_but_for_rounding_and_no_repair_is_told_of(
    copied: Cli,
) -> None:
    # The kernels of processors of 2008, and of 2013, in a process of its own.
    there = [Cli(copied.home, {**copied.env, "OPENBLAS_CORETYPE": name}) for name in ("Nehalem", "Haswell")]
    replays = [each("explain", "AAPL", DAY, "--replay", "--json") for each in there]
    told = {each.returncode: json.loads(each.stdout)["replay"]["possible_causes"] for each in replays}
    assert any("round otherwise" in cause for cause in told[1])
    assert there[0]("ledger", "verify").returncode == 0

    before = [copied.warehouse.read(table, tickers=["AAPL"]) for table in (PUBLISHED_FORECASTS, FORECASTS)]
    first = str(before[0]["date"].min().date())
    for each in there:
        again = each("backfill", "AAPL", "--assets", "forecasts", "--from", first, "--to", DAY, "--yes")
        assert again.returncode == 0, again.stderr
    after = [copied.warehouse.read(table, tickers=["AAPL"]) for table in (PUBLISHED_FORECASTS, FORECASTS)]
    for one, other in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert copied("ledger", "verify").returncode == 0


def test_a_model_file_that_is_not_the_published_one_is_refused(copied: Cli) -> None:
    with duckdb.connect(str(copied.home / "warehouse.duckdb")) as database:
        database.execute("update stockcast.trained_model set weights_sha256 = repeat('0', 64) where ticker = 'GOOG'")
    result = copied("explain", "GOOG", DAY)
    assert result.returncode == 1
    assert result.stderr.startswith("error: The model file has the digest")
