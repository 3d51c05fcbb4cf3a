"""Runs of commands are full runs of Dagster: the first page shows them, and a click executes one again."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from stockcast_assets_tests.conftest import Cli, CliHere, clean_env
from stockcast_assets_tests.integration.dagster_dev import DagsterDev, dagster_dev
from stockcast_assets_tests.servers import free_port

RUNS = """
query Runs { runsOrError { ... on Runs { results {
  runId status rootRunId repositoryOrigin { repositoryName repositoryLocationName } tags { key value } } } } }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A home in which a command has made one run."""
    cli = Cli(
        tmp_path_factory.mktemp("reexecution") / "home", {"STOCKCAST_SOURCE": "sample", "STOCKCAST_AUTOMATION": "false"}
    )
    made = cli("backfill", "MSFT", "--assets", "price_history")
    assert made.returncode == 0, made.stderr
    return cli


def wanting_a_daemon(home: Cli) -> dict[str, str]:
    """What the commands say that want one, by command."""
    here = CliHere(home.home, home.env)
    queued = here("backfill", "MSFT", "--assets", "price_history", "--missing-only", "--queued")
    parts = json.loads(here("doctor", "--json", STOCKCAST_AUTOMATION="true").stdout)["parts"]
    queue = next(part for part in parts if part["part"] == "queue")
    return {"backfill": " ".join(queued.stderr.split()), "doctor": f"{queue['found']}; {queue['mend']}"}


@pytest.fixture(scope="module")
def without(home: Cli) -> dict[str, str]:
    """What was said before there was a daemon."""
    return wanting_a_daemon(home)


@pytest.fixture(scope="module")
def ui(home: Cli, without: dict[str, str]) -> Iterator[DagsterDev]:
    with dagster_dev(home) as dev:
        yield dev


@pytest.mark.timeout(400)
def test_a_command_s_run_is_on_the_first_page_and_a_click_executes_it_again(ui: DagsterDev, browser: Browser) -> None:
    (run,) = ui.graphql(RUNS)["runsOrError"]["results"]
    assert run["repositoryOrigin"] == {"repositoryName": "__repository__", "repositoryLocationName": "stockcast"}
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(ui.url)
    expect(page.get_by_text("ingest_history").filter(visible=True).first).to_be_visible(timeout=60_000)
    page.goto(f"{ui.url}/runs/{run['runId']}")
    button = page.get_by_role("button", name="Re-execute all")
    expect(button.first).to_be_enabled(timeout=60_000)
    button.first.click()
    page.wait_for_url(lambda url: run["runId"] not in url, timeout=60_000)
    page.close()
    again = next(each for each in ui.graphql(RUNS)["runsOrError"]["results"] if each["runId"] != run["runId"])
    assert again["rootRunId"] == run["runId"]
    assert ui.wait_for_run(again["runId"], seconds=200) == "SUCCESS"


def test_whoever_wants_a_daemon_says_how_to_start_one_and_is_content_then(
    ui: DagsterDev, home: Cli, without: dict[str, str]
) -> None:
    assert "nobody would launch the runs: start `stockcast ui`" in without["backfill"]
    assert "the daemon does not run; nothing runs by itself: start `stockcast ui`" in without["doctor"]
    until = time.monotonic() + 60
    while "does not run" in (with_one := wanting_a_daemon(home))["doctor"] and time.monotonic() < until:
        time.sleep(1)
    assert "launch the runs" not in with_one["backfill"]
    assert "the daemon runs" in with_one["doctor"]
    assert "start" not in with_one["doctor"]


def test_a_second_daemon_and_a_port_that_is_none_start_nothing(ui: DagsterDev, home: Cli) -> None:
    def refused(*options: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("stockcast")), "ui", *options],
            env=clean_env() | {"STOCKCAST_HOME": str(home.home), **home.env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "80000 is no port" in refused("--port", "80000")
    assert "choose another port" in refused("--port", ui.url.rpartition(":")[2])
    second = refused("--port", str(free_port()))
    assert f"already running on {home.home / 'dagster'} (process {ui.pid})" in second


def test_what_the_ui_starts_takes_sigint_by_which_dagster_terminates_a_run(ui: DagsterDev) -> None:
    blocked = {
        process.pid: int(line.split()[1], 16)
        for process in psutil.Process(ui.pid).children(recursive=True)
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("SigBlk:")
    }
    assert len(blocked) >= 3
    assert [pid for pid, mask in blocked.items() if mask & 1 << (signal.SIGINT - 1)] == []
