"""Backfills as a user launches them: through GraphQL, run by the real daemon, in both warehouses."""

import uuid
from collections.abc import Callable

import pytest

from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.settings import Settings
from stockcast_assets.tables import RAW_PRICES
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.dagster_dev import dagster_dev

# Neither a rectangle nor one stretch: 2013-02-01 is a Friday, 2013-02-09 a Saturday.
ASKED = [f"2013-02-0{day}|AAPL" for day in (1, 2, 3)] + [f"2013-02-0{day}|MSFT" for day in (5, 6, 7, 8, 9)]
OPEN = [key for key in ASKED if key[:10] not in ("2013-02-02", "2013-02-03", "2013-02-09")]


@pytest.fixture(params=["duckdb", "bigquery"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings that choose the warehouse, and nothing else."""
    if request.param == "duckdb":
        return {}
    emulator = request.getfixturevalue("bigquery_emulator")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", emulator)
    return {
        "STOCKCAST_WAREHOUSE": "bigquery",
        "STOCKCAST_GCP_PROJECT": "test-project",
        "STOCKCAST_BQ_DATASET": f"backfill_{uuid.uuid4().hex[:8]}",
    }


@pytest.mark.timeout(600)
def test_a_non_rectangular_backfill_writes_exactly_its_keys(
    make_cli: Callable[..., Cli], cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample", STOCKCAST_AUTOMATION="false", **cloud)
    for name, value in cli.env.items():
        monkeypatch.setenv(name, value)
    settings = Settings(home=cli.home)
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    with open_instance(settings) as instance:
        add_tickers(instance, ["AAPL", "GOOG", "MSFT"])
    with dagster_dev(cli) as dev:
        assert dev.wait(dev.launch(["raw_prices"], ASKED)) == "COMPLETED_SUCCESS", dev.log.read_text()[-3000:]
        # What is to be written is known when it is launched; what becomes of it, without a model, is for other tests.
        of_all = dev.launch(DAILY_ASSETS, ASKED[:1])
        assert dev.targeted(of_all) == dict.fromkeys(DAILY_ASSETS, 1)

    stored = warehouse_from(settings).read(RAW_PRICES)
    assert sorted(f"{row.date:%Y-%m-%d}|{row.ticker}" for row in stored.itertuples()) == OPEN
