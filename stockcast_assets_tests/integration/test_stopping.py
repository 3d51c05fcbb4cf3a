"""Ctrl-C and SIGTERM end every long command; two commands at once do nothing twice."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pytest
from filelock import FileLock

from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import RAW_PRICES, TRAINED_MODEL
from stockcast_assets_tests.conftest import Cli, clean_env

STOCKCAST = str(Path(sys.executable).with_name("stockcast"))


def started(cli: Cli, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal has it."""
    return subprocess.Popen(
        [STOCKCAST, *arguments],
        env=clean_env() | {"STOCKCAST_HOME": str(cli.home), **cli.env},
        cwd=cli.home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def runs(cli: Cli) -> list[dg.DagsterRun]:
    """Every run of the home, the oldest first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(cli.home / "dagster"))
        with open_instance(Settings(home=cli.home, source="sample")) as instance:
            return list(instance.get_runs())[::-1]


def wait_until(true: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)


def left_of(group: int) -> list[str]:
    """What runs still in a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found


def training_began(process: subprocess.Popen[str]) -> Callable[[], bool]:
    """Whether the process has workers that train."""

    def began() -> bool:
        try:
            children = psutil.Process(process.pid).children(recursive=True)
            return sum(child.cpu_times().user for child in children) > 2
        except psutil.NoSuchProcess:
            return False

    return began


def ended(process: subprocess.Popen[str]) -> bool:
    """Whether nothing is left of a command; Python's tracker of resources cleans up once it is gone."""
    deadline = time.monotonic() + 5
    while left_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left_of(process.pid)


def resume(err: str) -> list[str]:
    """The words of the command line that a stopped one says goes on."""
    found = re.search(r"Go on with:\n  stockcast (.*)\n", err)
    assert found is not None, err
    return shlex.split(found[1])


ASKED = ("AAPL", "MSFT", "--from", "2013-01-02", "--to", "2013-01-31")


def test_ctrl_c_ends_a_training_with_all_its_processes_and_its_run_is_canceled(make_cli: Callable[..., Cli]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample", STOCKCAST_TRAIN_WORKERS="1")
    process = started(cli, "backfill", *ASKED, "--assets", "price_history,raw_prices,trained_model")
    wait_until(training_began(process), process)
    # As a terminal sends it: to all of them.
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped by SIGINT: 2 runs of it are done and stored" in err
    assert "Traceback" not in err
    assert ended(process)
    assert [run.status.value for run in runs(cli)] == ["SUCCESS", "SUCCESS", "CANCELED"]
    assert resume(err) == ["backfill", *ASKED, "--assets", "trained_model"]


def test_sigterm_ends_a_command_that_waits_and_what_it_prints_does_the_rest(
    make_cli: Callable[..., Cli],
) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample")
    turns = cli.home / "dagster" / "turns"
    turns.mkdir(parents=True)
    with FileLock(turns / "raw_prices.lock"):
        process = started(cli, "backfill", *ASKED, "--assets", "price_history,raw_prices")
        assert process.stderr is not None
        while "writes raw_prices: waiting" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "1 run of it is done and stored" in err
    assert ended(process)
    words = resume(err)
    assert words == ["backfill", *ASKED, "--assets", "raw_prices"]
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert [run.asset_selection for run in runs(cli)] == [
        {dg.AssetKey("price_history")},
        {dg.AssetKey("raw_prices")},
    ]
    assert set(cli.warehouse.read(RAW_PRICES)["ticker"]) == {"AAPL", "MSFT"}


def test_two_commands_at_once_do_nothing_twice(make_cli: Callable[..., Cli]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample")
    both = [started(cli, "forecast", "MSFT", "2013-01-04") for _ in range(2)]
    ends = [process.communicate(timeout=400)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert any("Another command or run writes" in end for end in ends)
    assert any(
        re.search(r"A model is trained first: about \d+ (s|minutes)( \(this machine is .*\))?\.", end) for end in ends
    )
    made = [run.asset_selection for run in runs(cli) if run.is_success]
    assert len(made) == len(set(map(frozenset, made)))
    assert len(cli.warehouse.read(TRAINED_MODEL)) == 1
