"""Every `--json` document has the keys that docs/cli.md lists, and no other; numbers are numbers."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stockcast_assets.cli.app import app
from stockcast_assets_tests.conftest import Cli, Run
from stockcast_assets_tests.documented import DOC, differences, documented

LINES = {
    "forecast": "forecast msft",
    "backfill --dry-run": "backfill MSFT --from 2013-02-26 --dry-run",
    "status": "status",
    "reconcile": "reconcile --dry-run",
    "explain": "explain MSFT 2013-03-01 --replay",
    "risk": "risk holdings.csv",
    "card": "card MSFT 2013-03",
    "compare": "compare MSFT",
    "inspect": "inspect NEW.csv",
    "tickers list": "tickers list",
    "tickers add": "tickers add MSFT",
    "warehouse check": "warehouse check",
    "warehouse sweep": "warehouse sweep",
    "reports prune": "reports prune --dry-run",
    "home clean-secrets": "home clean-secrets --dry-run",
    "ledger verify": "ledger verify",
    "ledger head": "ledger head",
    "doctor": "doctor",
    "backup": "backup stockcast.tar.gz",
    "audit": "audit --mine features.py:momentum --cuts 1",
}
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
NAMES = {"model_version", "version"}
"""What is written in digits and is a name."""


def printed_numbers(document: Any, key: str = "") -> Iterator[str]:
    """The keys of texts that are numbers."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from printed_numbers(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from printed_numbers(value, key)
    elif isinstance(document, str) and NUMBER.fullmatch(document):
        yield key


@pytest.fixture
def document(demo: Cli, monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path) -> Callable[[str], Any]:
    """What a command prints on the demo's home, of which it changes nothing."""
    monkeypatch.setenv("STOCKCAST_HOME", str(demo.home))
    monkeypatch.setenv("STOCKCAST_SECOND_SOURCE", "sample")
    (tmp_path / "NEW.csv").write_text("Date,Open,High,Low,Close,Volume\n2012-01-04,9,9,9,9,5\n2012-01-05,9,9,9,9,5\n")

    (tmp_path / "features.py").write_text("def momentum(bars):\n    return bars.groupby('ticker')['close'].shift(20)\n")

    (tmp_path / "holdings.csv").write_text("ticker,quantity\nMSFT,10\nAAPL,-1\n")
    monkeypatch.chdir(tmp_path)

    def printed(line: str) -> Any:
        status, out, err = run(*line.split(), "--json")
        assert status == 0, err
        assert "\x1b" not in out
        return json.loads(out)

    return printed


@pytest.mark.parametrize("command", LINES)
def test_its_keys_are_those_of_the_page(document: Callable[[str], Any], command: str) -> None:
    found = document(LINES[command])
    assert differences(command, found) == []
    assert set(printed_numbers(found)) <= NAMES


def test_the_demo_s_keys_are_those_of_the_page(demo: Cli) -> None:
    found = json.loads((demo.home / "demo.json").read_text())
    assert differences("demo", found) == []


def test_a_key_that_one_side_lacks_is_found_out() -> None:
    known = {"warehouse": "x", "dropped": [], "more": 1}
    assert differences("warehouse sweep", known) == ["printed, not documented: more"]
    assert differences("warehouse sweep", {"warehouse": "x"}) == ["documented, not printed: dropped[]"]
    assert "tickers[].best.<parameter>" in documented("tune")


def test_every_command_is_on_the_page() -> None:
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    commands = [
        *(str(command.name or command.callback.__name__) for command in app.registered_commands if command.callback),
        *(f"{name} {command.name}" for name, group in groups.items() for command in group.registered_commands if group),
    ]
    text = DOC.read_text()
    assert [command for command in commands if f"`{command}`" not in text and f"{command} " not in text] == []
