"""A real `stockcast ui` (webserver, daemon, code server) on a home, and the GraphQL a user's browser would send."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockcast_assets_tests.conftest import Cli, clean_env
from stockcast_assets_tests.servers import free_port, wait_for_http

REPOSITORY = Path(__file__).parents[2]

LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on PartitionKeysNotFoundError { message }
  }
}
"""
TARGETED = """
query Targeted($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { assetBackfillData { assetBackfillStatuses {
      ... on AssetPartitionsStatusCounts { assetKey { path } numPartitionsTargeted }
    } } }
  }
}
"""
LAUNCH_RUN = """
mutation LaunchRun($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
RUN_STATUS = """
query RunStatus($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }
"""
STATUS = """
query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } }
  }
}
"""


@dataclass(frozen=True)
class DagsterDev:
    """A running instance."""

    url: str
    log: Path
    pid: int

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def launch(self, assets: Sequence[str], keys: Sequence[str]) -> str:
        """Launch a backfill of exactly these keys of the assets; returns its id."""
        params = {"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": list(keys)}
        launched = self.graphql(LAUNCH, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def targeted(self, backfill: str) -> dict[str, int]:
        """How many keys of each asset a backfill is to materialise."""
        data = self.graphql(TARGETED, id=backfill)["partitionBackfillOrError"]["assetBackfillData"]
        return {each["assetKey"]["path"][-1]: each["numPartitionsTargeted"] for each in data["assetBackfillStatuses"]}

    def launch_run(self, job: str, first: str, last: str) -> str:
        """Launch one run of a job over the product of tickers and days between two keys; returns its id."""
        range_of = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        params = {
            "selector": {
                "repositoryLocationName": "stockcast",
                "repositoryName": "__repository__",
                "pipelineName": job,
            },
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in range_of.items()]},
        }
        launched = self.graphql(LAUNCH_RUN, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def wait_for_run(self, run: str, seconds: float = 450) -> str:
        """Wait for a run's end; returns its final status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.graphql(RUN_STATUS, id=run)["runOrError"]["status"]
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return status
            time.sleep(0.5)
        raise TimeoutError(f"The run {run} did not end: {self.log.read_text()[-3000:]}")

    def wait(self, backfill: str, seconds: float = 450) -> str:
        """Wait for a backfill's end; returns its final status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.graphql(STATUS, id=backfill)["partitionBackfillOrError"]["status"]
            if status not in ("REQUESTED", "COMPLETING"):
                return status
            time.sleep(0.5)
        raise TimeoutError(f"The backfill {backfill} did not end: {self.log.read_text()[-3000:]}")


@contextmanager
def dagster_dev(cli: Cli, cwd: Path = REPOSITORY) -> Iterator[DagsterDev]:
    """`stockcast ui` on the CLI's home, called in `cwd`; stopped with everything it started."""
    with _started(cli, cli.home / "dagster-dev.log", cwd=cwd) as dev:
        yield dev


@contextmanager
def dagster_webserver(cli: Cli, log: Path) -> Iterator[DagsterDev]:
    """The Dagster UI on the CLI's home without a daemon and read-only, so that the home stays as it is."""
    with _started(cli, log, "--read-only") as dev:
        yield dev


@contextmanager
def _started(cli: Cli, log: Path, *options: str, cwd: Path = REPOSITORY) -> Iterator[DagsterDev]:
    port = free_port()
    home = {"STOCKCAST_HOME": str(cli.home), "DAGSTER_HOME": str(cli.home / "dagster")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("stockcast")), "ui", "--port", str(port), *options],
            cwd=cwd,
            env=clean_env() | home | cli.env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_http(f"http://127.0.0.1:{port}/server_info", process, log, seconds=120)
        yield DagsterDev(f"http://127.0.0.1:{port}", log, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
