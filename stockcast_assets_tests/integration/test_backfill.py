"""Backfills as a user launches them, through GraphQL: by the real daemon on DuckDB, by its functions on BigQuery."""

import logging
import sys
import uuid
from collections.abc import Callable, Mapping

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster_graphql.test.utils import execute_dagster_graphql

from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.settings import Settings, load_settings
from stockcast_assets.tables import RAW_PRICES
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.dagster_dev import LAUNCH, STATUS, dagster_dev
from stockcast_assets_tests.integration.simulated_daemon import instance_config

# Neither a rectangle nor one stretch: 2013-02-01 is a Friday, 2013-02-09 a Saturday.
ASKED = [f"2013-02-0{day}|AAPL" for day in (1, 2, 3)] + [f"2013-02-0{day}|MSFT" for day in (5, 6, 7, 8, 9)]
OPEN = [key for key in ASKED if key[:10] not in ("2013-02-02", "2013-02-03", "2013-02-09")]


def stored(settings: Settings) -> list[str]:
    rows = warehouse_from(settings).read(RAW_PRICES)
    return sorted(f"{row.date:%Y-%m-%d}|{row.ticker}" for row in rows.itertuples())


@pytest.mark.timeout(600)
def test_a_non_rectangular_backfill_writes_exactly_its_keys(
    make_cli: Callable[..., Cli], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample", STOCKCAST_AUTOMATION="false")
    settings = Settings(home=cli.home, source="sample")
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    with open_instance(settings) as instance:
        add_tickers(instance, ["AAPL", "GOOG", "MSFT"])
    with dagster_dev(cli) as dev:
        assert dev.wait(dev.launch(["raw_prices"], ASKED)) == "COMPLETED_SUCCESS", dev.log.read_text()[-3000:]
        # What is to be written is known when it is launched; what becomes of it, without a model, is for other tests.
        of_all = dev.launch(DAILY_ASSETS, ASKED[:1])
        assert dev.targeted(of_all) == dict.fromkeys(DAILY_ASSETS, 1)
    assert stored(settings) == OPEN


@dg.definitions
def code_location() -> dg.Definitions:
    return build_definitions(load_settings())


def test_a_backfill_on_bigquery_writes_exactly_its_keys(
    bigquery_emulator: str, make_cli: Callable[..., Cli], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_cli().home
    for name, value in {
        "STOCKCAST_HOME": str(home),
        "STOCKCAST_SOURCE": "sample",
        "STOCKCAST_WAREHOUSE": "bigquery",
        "STOCKCAST_GCP_PROJECT": "test-project",
        "STOCKCAST_BQ_DATASET": f"backfill_{uuid.uuid4().hex[:8]}",
        "BIGQUERY_EMULATOR_HOST": bigquery_emulator,
        "DAGSTER_HOME": str(home / "dagster"),
    }.items():
        monkeypatch.setenv(name, value)
    (home / "dagster").mkdir(parents=True)
    (home / "dagster" / "dagster.yaml").write_text(instance_config())
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name=__name__, attribute="code_location"),
        location_name="stockcast",
    )
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
    ):
        add_tickers(instance, ["AAPL", "GOOG", "MSFT"])

        def answer(query: str, **variables: object) -> Mapping[str, Mapping[str, object]]:
            return execute_dagster_graphql(workspace.create_request_context(), query, variables).data

        params = {"assetSelection": [{"path": ["raw_prices"]}], "partitionNames": ASKED}
        backfill, queue = (
            answer(LAUNCH, params=params)["launchPartitionBackfill"]["backfillId"],
            QueuedRunCoordinatorDaemon(5),
        )

        def status() -> object:
            return answer(STATUS, id=backfill)["partitionBackfillOrError"]["status"]

        # Asked for, launched, executed here, found to be done: with room for a look in vain.
        for _ in range(6):
            errors = [
                *execute_backfill_iteration(workspace, logging.getLogger("dagster")),
                *queue.run_iteration(workspace),
            ]
            assert not any(errors), errors
            if status() not in ("REQUESTED", "COMPLETING"):
                break
        assert status() == "COMPLETED_SUCCESS"
        assert len(instance.get_runs()) == 2
    assert stored(load_settings()) == OPEN
