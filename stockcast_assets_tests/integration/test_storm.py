"""A worker, its child and the broker are killed during a backfill: every row is there once, and right, in the end.

The short form of `make storm`, which has every part of a deployment. Here the daemon's threads take turns in this
process, and nothing is trained.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.daemon import MonitoringDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.types import DaemonHeartbeat

from stockcast_assets.dagster_private import shared_turns
from stockcast_assets.dagster_private.execution import latest_tries
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import INDICATORS, PRICE_HISTORY, RAW_PRICES
from stockcast_assets_tests.conftest import CliHere, clean_env
from stockcast_assets_tests.csvfiles import write_csv
from stockcast_assets_tests.integration.cluster import Cluster, storm

if TYPE_CHECKING:
    from google.cloud import storage

TABLES = (PRICE_HISTORY, RAW_PRICES, INDICATORS)
FIRST, LAST = "2013-02-26", "2013-02-28"
PARTS = ("child of worker-0", "broker", "worker-0")


class Daemon:
    """The daemon's threads that have to do with runs, one after the other."""

    def __init__(self, workspace: WorkspaceProcessContext) -> None:
        self.workspace = workspace
        self.threads = QueuedRunCoordinatorDaemon(1), MonitoringDaemon(1), EventLogConsumerDaemon()

    def round(self) -> None:
        for thread in self.threads:
            beat = DaemonHeartbeat(time.time(), thread.daemon_type(), "the storm's", [])
            self.workspace.instance.add_daemon_heartbeat(beat)
            for error in thread.run_iteration(self.workspace):
                if error is not None:
                    # It goes on at its next turn, as the daemon itself does: a broker that was killed just now.
                    logging.getLogger(__name__).warning(error.to_string())


@pytest.fixture
def cluster(storage_client: "storage.Client", tmp_path: Path) -> Iterator[Cluster]:
    settings = {
        "STOCKCAST_SOURCE": "csv",
        "STOCKCAST_START_DATE": FIRST,
        "STOCKCAST_END_DATE": LAST,
    }
    with Cluster(tmp_path, storage_client, settings, ("broker", "worker-0")) as cluster:
        yield cluster


@dg.job
def nothing() -> None: ...


def test_a_run_that_failed_is_not_given_up_before_dagster_has_said_whether_it_repeats_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says so after it has stored the failure: whoever looks between the two must wait."""
    with dg.instance_for_test(overrides={"run_retries": {"enabled": True, "max_retries": 1}}) as instance:
        seen: list[tuple[str, object]] = []
        add_run_tags = type(instance).add_run_tags

        def between(self: dg.DagsterInstance, run_id: str, new_tags: dict[str, str]) -> None:
            run = self.get_run_by_id(run_id)
            assert run is not None
            seen.append((run.status.value, *latest_tries(self, [run_id])))
            add_run_tags(self, run_id, new_tags)

        monkeypatch.setattr(type(instance), "add_run_tags", between)
        run = instance.create_run_for_job(nothing)
        instance.report_run_failed(run)
        # And after it, until the other run is there.
        assert [*seen, latest_tries(instance, [run.run_id])] == [("FAILURE", None), [None]]
        # A run that is not repeated has ended.
        instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
        (ended,) = latest_tries(instance, [run.run_id])
        assert ended is not None
        assert ended.run_id == run.run_id


@pytest.mark.long
def test_a_backfill_in_a_storm_stores_what_a_quiet_one_does(
    cluster: Cluster, sample_bars: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_turns, "_GRACE_S", 2.0)
    laptop = CliHere(tmp_path / "laptop" / "home", cluster.settings)
    for ticker in ("AAPL", "MSFT"):
        bars = sample_bars[ticker]
        write_csv(laptop.home / "inbox", ticker, bars[bars["date"].between("2012-12-01", LAST)], actions=True)
        file = laptop.home / "inbox" / f"{ticker}.csv"
        cluster.bucket.blob(f"inbox/{file.name}").upload_from_filename(file)
    names = ",".join(table.name for table in TABLES)
    asked = ("backfill", "AAPL", "MSFT", "--from", FIRST, "--to", LAST, "--assets", names)
    quiet = laptop(*asked)
    assert quiet.returncode == 0, quiet.stderr

    for name, value in cluster.env("daemon").items():
        monkeypatch.setenv(name, value)
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name="stockcast_assets.definitions"),
        location_name="stockcast",
    )
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
        cluster.log("client").open("wb") as output,
    ):
        daemon = Daemon(workspace)
        daemon.round()
        client = subprocess.Popen(
            [str(Path(sys.executable).with_name("stockcast")), *asked, "--queued"],
            env=clean_env() | cluster.env("client"), cwd=tmp_path, stdout=output, stderr=output,
        )  # fmt: skip
        deadline = time.monotonic() + 240

        def busy() -> bool:
            daemon.round()
            assert time.monotonic() < deadline, cluster.log("client").read_text()
            return client.poll() is None

        storm(cluster, PARTS, seed=16, kills=3, apart=(0.0, 1.0), busy=busy)
        while busy():
            time.sleep(0.2)
        assert client.returncode == 0, cluster.log("client").read_text()
        assert sorted(cluster.kills) == sorted(PARTS)
        assert all(run.is_finished for run in instance.get_runs())
        assert any(run.status == dg.DagsterRunStatus.FAILURE for run in instance.get_runs())

    there = warehouse_from(Settings())
    for table in TABLES:
        shared = [name for name in table.column_names if name != "ingested_at"]
        found, expected = (
            warehouse.read(table)[shared].sort_values(["ticker", "date"], ignore_index=True)
            for warehouse in (there, laptop.warehouse)
        )
        assert len(expected)
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=table.name)
