"""`pip install` of the wheel into an empty environment, README's commands in an empty folder: `make wheel-test`."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from long_tests.installed import Empty
from stockcast_assets import __version__
from stockcast_assets_tests.servers import free_port

pytestmark = pytest.mark.timeout(3000)  # The first one installs everything, and does the demo.


def test_the_command_is_there_and_says_its_version(empty: Empty) -> None:
    assert empty("--version").stdout == f"stockcast {__version__}\n"


@pytest.fixture(scope="module")
def demo(empty: Empty) -> dict[str, object]:
    done = empty("demo", "--sessions", "3", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_demo_runs_in_an_empty_folder(empty: Empty, demo: dict[str, object]) -> None:
    rows = demo["forecasts"]
    assert isinstance(rows, list)
    assert [row["ticker"] for row in rows] == ["AAPL", "GOOG", "IBM", "MSFT"]
    assert [path.name for path in empty.folder.iterdir() if path.suffix != ".log"] == [".stockcast"]


@pytest.fixture
def stopped() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Servers started by a test: told to stop at its end, and looked at whether they did."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(60)


@pytest.mark.parametrize(
    ("command", "path", "words"),
    [
        ("ui", "/server_info", b"dagster_webserver_version"),
        ("dashboard", "/", b"<title>"),
        ("mlflow", "/health", b"OK"),
    ],
)
@pytest.mark.usefixtures("demo")
def test_each_page_is_served_from_an_empty_folder(
    command: str, path: str, words: bytes, empty: Empty, stopped: list[subprocess.Popen[bytes]]
) -> None:
    port = free_port()
    stopped.append(empty.start(command, "--port", str(port), STOCKCAST_SOURCE="sample"))
    deadline = time.monotonic() + 120
    answer = None
    while answer is None:
        with contextlib.suppress(URLError, ConnectionError):
            answer = urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read()
        told = (empty.folder / f"{command}.log").read_text()
        assert stopped[0].poll() is None, told
        assert time.monotonic() < deadline, told
        time.sleep(0.3)
    assert words in answer


@pytest.mark.usefixtures("demo")
def test_the_views_of_looker_come_from_the_wheel(empty: Empty, bigquery_emulator: str) -> None:
    """On an emulator; without BigQuery it is one sentence."""
    done = empty("warehouse", "views", STOCKCAST_SOURCE="sample")
    assert done.returncode == 1
    assert "STOCKCAST_WAREHOUSE=bigquery" in done.stderr
    address = {"BIGQUERY_EMULATOR_HOST": bigquery_emulator}
    # A dataset of its own: the emulator is shared, and a person's first copy finds none.
    cloud = {
        "STOCKCAST_WAREHOUSE": "bigquery",
        "STOCKCAST_GCP_PROJECT": "test-project",
        "STOCKCAST_BQ_DATASET": "wheel",
        "STOCKCAST_SOURCE": "sample",
    }
    copied = empty("warehouse", "copy", "--from", "duckdb", "--to", "bigquery", **cloud, **address)
    assert copied.returncode == 0, copied.stderr
    made = empty("warehouse", "views", **cloud, **address)
    assert made.returncode == 0, made.stderr
    assert "looker_forecasts" in made.stdout
