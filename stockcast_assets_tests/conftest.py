"""Fixtures for every test: an environment without the user's settings, and one finished demo to look at."""

import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import settings

from stockcast_assets.settings import PREFIX, Settings
from stockcast_assets.warehouse import DuckDBWarehouse
from stockcast_assets_tests.servers import *  # noqa: F403  fixtures of the real servers

# These tests start processes by the hundred: each would compile all it imports (TensorFlow: 8 s) if none may keep it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine is no fault: no example has a time to be ready in.
settings.register_profile("patient", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("patient")


LONGEST = (
    *("test_reconcile", "test_run", "test_remedies_help", "test_real_runs", "test_pages", "test_quarter"),
    *("test_canaries", "test_postgres", "test_yahoo_commands", "test_registry", "test_dagster_ui", "test_ledger"),
    *("test_foreign_pages", "test_backfill", "test_stopping", "test_reexecution", "test_bigquery", "test_tune"),
    *("test_evaluate_files", "test_universe", "test_cloud", "test_revised", "test_histories_bigquery", "test_compose"),
    *("test_damaged_homes", "test_yahoo", "test_universe_served", "test_light", "test_live", "test_transfer"),
    *("test_month", "test_published", "test_as_known_on", "test_demo", "test_evaluate", "test_architecture"),
)
"""The longest files, about by their time: none of them is left alone at the end of a parallel run.

The first makes the demo for the others; those that begin beside it do without.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form of tests that have two, as make test-long")


@pytest.fixture(scope="session")
def long_form(pytestconfig: pytest.Config) -> bool:
    """Whether a test that has a short and a long form runs the long one."""
    return bool(pytestconfig.getoption("--long"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many faults and random steps the warehouses stood."""
    passed = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    counts = {"faults": sum("fault" in report.keywords for report in passed)}
    counts |= {
        name: value for report in passed for name, value in report.user_properties if name.startswith("random steps")
    }
    if any(counts.values()):
        terminalreporter.section("what the warehouses stood")
        for name, count in counts.items():
            terminalreporter.line(f"{count:,} {name}")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No STOCKCAST_* or DAGSTER_HOME of the developer's shell, and no .env file, reaches a test."""
    for name in list(os.environ):
        if _is_ours(name):
            monkeypatch.delenv(name)
    # Nor what an earlier test of this process took for a secret.
    monkeypatch.setattr("stockcast_assets.masking._known", {})
    monkeypatch.chdir(tmp_path)


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) or name in ("DAGSTER_HOME", "PYTHONSAFEPATH")


@dataclass(frozen=True)
class Cli:
    """The real `stockcast` command in a process of its own."""

    home: Path
    env: Mapping[str, str]

    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("stockcast")), *arguments],
            env=clean_env() | {"STOCKCAST_HOME": str(self.home), **self.env, **env},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=550,
        )

    @property
    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(str(self.home / "warehouse.duckdb"), "stockcast")


def status_here(*arguments: str) -> int:
    """The exit status of the command in this process, which is left as it was."""
    # Not at the top: `make newest` has no command line.
    from stockcast_assets.cli.app import main

    factory, hook = logging.getLogRecordFactory(), sys.excepthook
    try:
        with (
            mock.patch.dict(os.environ),
            mock.patch.object(sys, "argv", ["stockcast", *arguments]),
            pytest.raises(SystemExit) as stopped,
        ):
            main()
    finally:
        logging.setLogRecordFactory(factory)
        sys.excepthook = hook
    if stopped.value.code in (130, 143):
        # It was meant for the tests, by whoever limits their time or wants them to end.
        raise KeyboardInterrupt(f"stopped by signal {stopped.value.code - 128} while {arguments} ran")
    return int(stopped.value.code or 0)


class CliHere(Cli):
    """The `stockcast` command in the test's own process, where what is heavy to import is imported once."""

    def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in filter(_is_ours, list(os.environ)):
                patch.delenv(name)
            for name, value in {"STOCKCAST_HOME": str(self.home), **self.env, **env}.items():
                patch.setenv(name, value)
            patch.chdir(self.home.parent)
            status = status_here(*arguments)
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def clean_env() -> dict[str, str]:
    """This process's environment without settings."""
    return {name: value for name, value in os.environ.items() if not _is_ours(name)}


@pytest.fixture
def make_cli(tmp_path: Path) -> Callable[..., Cli]:
    """`make_cli(STOCKCAST_SOURCE="csv")` is a stockcast with an empty home of its own, in this process."""

    def make(**env: str) -> Cli:
        return CliHere(tmp_path / "home", env)

    return make


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]
Shared = Callable[[str], AbstractContextManager[Path]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`run("tickers", "list")` is that command in this process: on the sample, with an empty home of its own.

    A file with other settings has a fixture of the same name that takes this one and sets them.
    """
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")

    def command(*arguments: str) -> Ended:
        capfd.readouterr()
        return Ended(status_here(*arguments), *capfd.readouterr())

    return command


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """`with shared_folder("demo") as folder` is a folder that the processes of a parallel test run share.

    One at a time is within: whoever needs what is made there first makes it, the others find it.
    """
    base = tmp_path_factory.getbasetemp()

    @contextmanager
    def within(name: str) -> Iterator[Path]:
        folder = (base if worker_id == "master" else base.parent) / name
        folder.mkdir(exist_ok=True)
        with FileLock(folder / "lock"):
            yield folder

    return within


@pytest.fixture(scope="session")
def demo(shared_folder: Shared) -> Cli:
    """A home in which `stockcast demo --sessions 3` has run, in a process of its own. Tests must not change it."""
    with shared_folder("demo") as folder:
        cli = Cli(folder / "home", {"STOCKCAST_SOURCE": "sample"})
        if not (cli.home / "demo.json").exists():
            result = cli("demo", "--sessions", "3", "--json")
            assert result.returncode == 0, result.stderr
            shutil.copytree(cli.home, folder / "untouched")
            (cli.home / "demo.json").write_text(result.stdout)
    return CliHere(cli.home, cli.env)


@pytest.fixture(scope="session")
def demo_as_made(demo: Cli) -> Path:
    """The demo's home to copy: nobody opens it, so that no file comes or goes while it is copied."""
    return demo.home.parent / "untouched"


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of the sample source with an empty home; keyword arguments win."""

    def make(**values: object) -> Settings:
        return Settings(**({"home": tmp_path / "home", "source": "sample"} | values))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def sample_bars() -> dict[str, pd.DataFrame]:
    """The bundled history, per ticker."""
    from stockcast_assets.market.sources.sample import SampleSource

    source = SampleSource()
    return {ticker: source.bars(ticker, None, pd.Timestamp("2013-03-01").date()) for ticker in source.tickers()}
