"""A person's path, from an empty folder on: nothing they meet is a traceback, and each advice they get helps.

What they type and read is printed as they see it (`make wheel-test` shows it), so that it can be looked at, too.
"""

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from long_tests.installed import Empty
from stockcast_assets.market.calendars import sessions
from stockcast_assets_tests.servers import free_port

COMMAND = re.compile(r"`(?:(?P<set>(?:[A-Z_]+=\S+ )*))stockcast (?P<words>[^`]+)`")
SETTING = re.compile(r"(?P<name>STOCKCAST_[A-Z_]+)=(?P<value>'[^']+'|[^\s`,;:']*[^\s`,;:.'])")
NEWEST = "2013-03-01"


@dataclass
class Person:
    """Somebody who types commands, reads what they say, and does what an error advises.

    Attributes:
        installed: the command that they type.
        folder: where they type it.
        settings: what they have set in their shell.
        told: all that they read.
    """

    installed: Empty
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def _shown(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201
        self.told.append(text)

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the shell; what it says is no traceback."""
        typed = shlex.join([*(f"{name}={value}" for name, value in self.settings.items()), "stockcast", *words])
        self._shown(f"\n{self.folder.name} $ {typed}")
        done = replace(self.installed, folder=self.folder)(*words, **self.settings)
        self._shown(done.stderr + done.stdout)
        assert "Traceback" not in done.stderr + done.stdout
        assert done.returncode in (0, 1, 2), done.returncode
        return done

    def succeeds(self, *words: str) -> str:
        """A command that works, at once or after what its error advises was done, and what it printed."""
        done = self.types(*words)
        if done.returncode == 0:
            return done.stdout
        self.does(done.stderr)
        again = self.types(*words)
        assert again.returncode == 0, f"the advice did not help: {done.stderr}"
        return again.stdout

    def does(self, advice: str) -> None:
        """What an error advises: the settings that it names, then the first command that it names."""
        flat = " ".join(advice.split())
        found = {match["name"]: shlex.split(match["value"])[0] for match in SETTING.finditer(flat)}
        commands = [match["words"] for match in COMMAND.finditer(flat)]
        assert found or commands, f"no advice that can be done: {advice}"
        self.settings |= found
        if commands:
            assert self.types(*shlex.split(commands[0])).returncode == 0, f"the advice did not work: {advice}"

    def starts(self, *words: str) -> "Started":
        """A command that is not waited for."""
        self._shown(f"\n{self.folder.name} $ stockcast {shlex.join(words)} &")
        log = self.folder / f"{words[0]}.log"
        process = replace(self.installed, folder=self.folder).start(*words, **self.settings)
        return Started(process, log)


@dataclass(frozen=True)
class Started:
    """A command that runs, and where it writes."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def says(self, words: str, seconds: float = 500) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def ends(self, number: int) -> str:
        """What it said by the end that a signal brought."""
        self.process.send_signal(number)
        self.process.wait(90)
        print(self.said(), flush=True)  # noqa: T201
        assert "Traceback" not in self.said()
        return self.said()


@pytest.fixture(scope="module")
def person(empty: Empty, tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(empty, tmp_path_factory.mktemp("person") / "first")


def hashes(said: str) -> dict[str, str]:
    tables = json.loads(said)["tables"]
    return {name: tables[name]["sha256"] for name in ("indicators", "forecasts", "drift_report", "forecast_accuracy")}


@pytest.mark.timeout(7200)
def test_a_persons_path_has_no_traceback_and_no_advice_that_does_not_help(
    person: Person, bigquery_emulator: str
) -> None:
    demo = ("demo", "--sessions", "3", "--json")

    # The first hour: nothing there yet, the demo, stopped and killed half-way, and gone on with.
    person.succeeds("status")
    stopped = person.starts("demo", "--sessions", "3")
    stopped.says("raw_prices")
    said = stopped.ends(signal.SIGINT)
    assert stopped.process.returncode == 130, said
    assert "`stockcast demo --sessions 3`" in said or "stockcast demo --sessions 3" in said
    killed = person.starts("demo", "--sessions", "3")
    killed.says("trained first")
    time.sleep(3)
    killed.ends(signal.SIGKILL)
    first = hashes(person.succeeds(*demo))
    assert "0 runs" not in person.succeeds("status")

    # A backup, and the home moved under a name with a blank.
    backup = person.folder / "yesterday.tar.gz"
    person.succeeds("backup", str(backup))
    moved = person.folder.parent / "another place" / "my home"
    moved.parent.mkdir()
    shutil.move(person.folder / ".stockcast", moved)
    person.settings["STOCKCAST_HOME"] = str(moved)
    assert hashes(person.succeeds(*demo)) == first
    person.succeeds("explain", "AAPL", NEWEST, "--replay")
    assert not (person.folder / ".stockcast").exists(), "the moved home writes where it was"

    # The web pages.
    for command, path in (("ui", "/server_info"), ("dashboard", "/"), ("mlflow", "/health")):
        port = free_port()
        server = person.starts(command, "--port", str(port))
        deadline, answer = time.monotonic() + 120, b""
        while not answer:
            with suppress(URLError, ConnectionError):
                answer = urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read()
            assert server.process.poll() is None, server.said()
            assert time.monotonic() < deadline, server.said()
            time.sleep(0.3)
        server.ends(signal.SIGTERM)

    # A ticker of one's own, by CSV: the demo's home takes none and says which does.
    days = sessions("XNYS", "2010-01-04", "2012-06-15")
    bars = ["Date,Open,High,Low,Close,Volume"]
    for n, day in enumerate(days):
        price = 10 + n % 7 / 10
        bars.append(
            f"{day:%Y-%m-%d},{price:.2f},{price + 0.2:.2f},{price - 0.2:.2f},{price + n % 3 / 10 - 0.1:.2f},1000"
        )
    own = Person(person.installed, person.folder, person.settings | {"STOCKCAST_SOURCE": "csv"})
    refused = own.types("forecast", "NEW", "2012-06-15")
    assert refused.returncode == 1
    own.does(refused.stderr)
    missing = own.types("forecast", "NEW", "2012-06-15")
    assert missing.returncode == 1, "there is no file yet"
    inbox = Path(own.settings["STOCKCAST_HOME"]) / "inbox"
    assert str(inbox) in " ".join(missing.stderr.split()), "where it has to be"
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / "NEW.csv").write_text("\n".join(bars))
    own.succeeds("inspect", str(inbox / "NEW.csv"))
    own.succeeds("forecast", "NEW", "2012-06-15")
    own.succeeds("status")

    # Yesterday's backup, back in the place of what is there: refused until that is moved aside.
    refused = person.types("restore", str(backup))
    assert refused.returncode == 1
    shutil.move(moved, moved.with_name("aside"))
    person.succeeds("restore", str(backup))
    assert hashes(person.succeeds(*demo)) == first

    # Only the tables of yesterday, beside what Dagster remembers of today.
    older = moved.parent / "yesterday.duckdb"
    shutil.copy(moved / "warehouse.duckdb", older)
    person.succeeds("forecast", "IBM", "2013-02-20")
    shutil.copy(older, moved / "warehouse.duckdb")
    person.succeeds("status")
    person.succeeds("reconcile")
    person.succeeds("explain", "IBM", "2013-02-20")
    before = hashes(person.succeeds(*demo))

    # BigQuery, and back again.
    cloud = Person(person.installed, person.folder, person.settings | {"STOCKCAST_WAREHOUSE": "bigquery"})
    refused = cloud.types("status")
    assert refused.returncode == 1
    assert "STOCKCAST_GCP_PROJECT" in refused.stderr
    cloud.settings |= {"STOCKCAST_GCP_PROJECT": "test-project", "BIGQUERY_EMULATOR_HOST": bigquery_emulator}
    cloud.succeeds("status")
    cloud.succeeds("warehouse", "copy", "--from", "duckdb", "--to", "bigquery")
    cloud.succeeds("forecast", "IBM", NEWEST)
    cloud.succeeds("warehouse", "views")
    cloud.succeeds("status")
    person.succeeds("forecast", "IBM", NEWEST)
    assert hashes(person.succeeds(*demo)) == before
    person.succeeds("doctor")
