"""Where the pages listen, and that nobody serves a page without a login to everybody by mistake."""

import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stockcast_assets.cli import servers
from stockcast_assets.dashboard.run import own_hosts
from stockcast_assets.errors import StockcastError
from stockcast_assets.settings import Settings, load_settings
from stockcast_assets.web.address import is_loopback, require_address, url
from stockcast_assets_tests.conftest import clean_env
from stockcast_assets_tests.servers import free_port

ROOT = Path(__file__).parents[2]
COMMANDS: dict[str, Callable[[str, int], None]] = {
    "ui": lambda host, port: servers.ui(host, port, read_only=True),
    "dashboard": servers.dashboard,
    "mlflow": servers.mlflow,
}


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")


@pytest.mark.parametrize("command", list(COMMANDS))
def test_an_address_that_cannot_be_used_is_one_sentence_of_every_command(command: str, taken: int) -> None:
    start = COMMANDS[command]
    with pytest.raises(StockcastError, match=f"cannot listen on 127.0.0.1:{taken} .* --port"):
        start("127.0.0.1", taken)
    for port in (0, 65536, 80000, -1):
        with pytest.raises(StockcastError, match=f"{port} is no port: choose one from 1 to 65535 .*{command} --port"):
            start("127.0.0.1", port)
    with pytest.raises(StockcastError, match=r"'no\.invalid' is no address of this machine"):
        start("no.invalid", free_port())


@pytest.mark.parametrize("command", list(COMMANDS))
def test_no_command_serves_a_page_without_a_login_to_everybody(command: str) -> None:
    with pytest.raises(StockcastError, match=r"On 0\.0\.0\.0 other machines .* STOCKCAST_ALLOWED_HOSTS"):
        COMMANDS[command]("0.0.0.0", free_port())


def test_with_a_named_host_it_is_served_and_the_warning_says_that_there_is_no_login() -> None:
    warning = require_address("ui", "0.0.0.0", free_port(), ["stockcast.example.com"])
    assert warning is not None
    assert "as stockcast.example.com can do everything on this page: it has no login" in warning
    assert require_address("ui", "127.0.0.1", free_port(), ["stockcast.example.com"]) is None


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.4", False), ("localhost.example.com", False)],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_the_address_that_is_told_can_be_opened() -> None:
    assert url("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert url("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert url("::", 1) == "http://[::1]:1"


@pytest.mark.parametrize("name", ["*", "*.example.com", "http://example.com", "a b", "example.com/", "", "a..b", "x:y"])
def test_an_allowed_host_is_a_name_and_nothing_else(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("STOCKCAST_ALLOWED_HOSTS", f"ok.example.com,{name or '/'}")
    with pytest.raises(StockcastError, match="STOCKCAST_ALLOWED_HOSTS"):
        load_settings()


def test_the_dashboard_answers_under_the_name_that_links_carry(make_settings: Callable[..., Settings]) -> None:
    named = make_settings(dashboard_url="https://charts.example.com/x", allowed_hosts="a.example.com, localhost:9000")
    assert own_hosts(named) == ("a.example.com", "localhost:9000", "charts.example.com")
    assert own_hosts(make_settings()) == ()


def test_the_image_serves_nobody_before_a_host_is_named(tmp_path: Path) -> None:
    found = re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    program, *arguments = shlex.split(found.group(1).strip("[]").replace(",", " "))
    assert program == "stockcast"
    said = subprocess.run(
        [str(Path(sys.executable).with_name("stockcast")), *arguments],
        env=clean_env() | {"STOCKCAST_HOME": str(tmp_path / "data"), "STOCKCAST_SOURCE": "sample"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "STOCKCAST_ALLOWED_HOSTS" in said.stderr
