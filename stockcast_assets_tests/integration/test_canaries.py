"""Secrets are planted in every setting that can hold one, and looked for in all that is stored, shown, logged or sent.

The searches know a secret in every form in which texts, URLs, JSON, UTF-16, base64 and compression write it; a control
shows that they would find it.
"""

import base64
import gzip
import json
import shutil
import socket
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import apprise
import duckdb
import psutil
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dagster import serialize_value
from dagster._core.remote_representation.external_data import RepositorySnap

from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.sensors.alerts import Problem, send
from stockcast_assets.settings import Settings
from stockcast_assets.tracking.client import Tracking
from stockcast_assets_tests.canaries import forms, found_in, stored_in
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.dagster_dev import dagster_dev

MLFLOW = "canary,word/of mlflow"
PROXY = "canary-word-of-the-proxy"
HOOK, HEADER, TOKEN = "canary,word of the hook", "canary-header-of-the-hook", "canary-token-1a2b3c4d5e6f"
DASHBOARD = "canary-word-of-the-dashboard"
KEY = "canary-private-key-id"

QUERIES = {
    "the instance": """{instance {info daemonHealth {allDaemonStatuses {daemonType lastHeartbeatErrors {message}}}}}""",
    "the resources": """{repositoriesOrError {... on RepositoryConnection {nodes {
        allTopLevelResourceDetails {name description resourceType configFields {name defaultValueAsJson}
        configuredValues {key value type}}}}}}""",
    "the runs": """{runsOrError {... on Runs {results {runId runConfigYaml tags {key value}
        eventConnection(limit: 1000) {events {... on MessageEvent {message} ... on ExecutionStepFailureEvent {
        error {message stack causes {message stack} errorChain {error {message stack}}}}
        ... on MaterializationEvent {metadataEntries {label ... on UrlMetadataEntry {url}
        ... on TextMetadataEntry {text}
        ... on MarkdownMetadataEntry {mdStr}}}}}}}}}""",
    "the code location": """{workspaceOrError {... on Workspace {locationEntries {displayMetadata {key value}
        locationOrLoadError {... on PythonError {message stack}}}}}}""",
    "the sensors": """{repositoriesOrError {... on RepositoryConnection {nodes {sensors {name description sensorState {
        ticks(limit: 20) {skipReason error {message stack} cursor}}}}}}}""",
}


@dataclass
class Recorder:
    """A server that keeps what it is sent and refuses it, repeating the headers: a hostile tracking server."""

    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    found = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.requests.append((self.path, dict(self.headers), body))
            told = json.dumps({"error_code": "PERMISSION_DENIED", "message": f"refused {dict(self.headers)}"}).encode()
            self.send_response(200 if self.path.startswith("/hook") else 403)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def key(recorder: Recorder) -> dict[str, str]:
    """A service account whose tokens come from the recorder."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    written = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {
        "type": "service_account",
        "private_key_id": KEY,
        "private_key": written,
        "client_email": "robot@example.com",
        "token_uri": f"http://127.0.0.1:{recorder.port}/token",
    }


@pytest.fixture(scope="module")
def secrets(key: dict[str, str]) -> list[str]:
    lines = key["private_key"].splitlines()
    encoded = base64.b64encode(json.dumps(key).encode()).decode()
    # A line of the key is enough to know it by.
    return [MLFLOW, PROXY, HOOK, HEADER, TOKEN, DASHBOARD, KEY, lines[5], encoded[200:280]]


@pytest.fixture(scope="module")
def env(recorder: Recorder, key: dict[str, str]) -> dict[str, str]:
    """Every setting that can hold a secret, holding one."""
    from urllib.parse import quote

    return {
        "STOCKCAST_SOURCE": "sample",
        "STOCKCAST_GCP_CREDENTIALS": base64.b64encode(json.dumps(key).encode()).decode(),
        "STOCKCAST_GCP_PROJECT": "project",
        "STOCKCAST_MLFLOW_URI": f"http://anna:{quote(MLFLOW, safe='')}@127.0.0.1:{recorder.port}",
        "STOCKCAST_ALERTS": (
            f"json://anna:{HOOK}@127.0.0.1:{recorder.port}/hook/{TOKEN}?+X-Token={HEADER},slack://{TOKEN}/{TOKEN}/{TOKEN}"
        ),
        "STOCKCAST_DASHBOARD_URL": f"https://anna:{DASHBOARD}@stocks.example.com",
        "HTTPS_PROXY": f"http://anna:{PROXY}@127.0.0.1:1",
        "NO_PROXY": "127.0.0.1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }


@pytest.fixture(scope="module")
def cli(demo_as_made: Path, tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Cli:
    """The demo's home, from now on with secrets in every setting."""
    folder = tmp_path_factory.mktemp("canaries")
    shutil.copytree(demo_as_made, folder / "home")
    return Cli(folder / "home", env)


def leaks(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if found_in(text.encode(errors="surrogateescape"), secret)]


@pytest.mark.parametrize("secret", [MLFLOW, TOKEN, KEY])
def test_the_search_would_find_it(tmp_path: Path, secret: str) -> None:
    written = {
        **{f"form {position}": form for position, form in enumerate(forms(secret))},
        "base64 within": base64.b64encode(f"xy{secret}z".encode()),
        "compressed": zlib.compress(f"<{secret}>".encode()),
        "gzip": gzip.compress(f"<{secret}>".encode()),
        "json in json": json.dumps(json.dumps({"x": secret})).encode(),
        "log": f"error at http://anna:{secret}@host".encode(),
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    with sqlite3.connect(tmp_path / "snapshots.db") as connection:
        connection.execute("CREATE TABLE snapshots (body BLOB)")
        connection.execute("INSERT INTO snapshots VALUES (?)", (zlib.compress(f"{{{secret}}}".encode() * 3),))
    connection.close()
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        warehouse.execute("CREATE TABLE t AS SELECT ? AS reason FROM range(5000)", [f"because {secret}"])
    (tmp_path / f"a {secret.replace('/', '')}.txt").touch()
    found = {file for file, _ in stored_in(tmp_path, [secret])}
    assert found >= {*written, "snapshots.db", "warehouse.duckdb"}
    (tmp_path / "clean").write_text("nothing")
    assert "clean" not in found


COMMANDS = {
    "a run": ("--debug", "backfill", "--tickers", "MSFT", "--assets", "forecasts", "--from", "2013-03-01", "--yes"),
    "an explanation": ("--debug", "explain", "MSFT", "2013-03-01"),
    "MLflow's pages": ("mlflow",),
}


def test_no_command_shows_one_and_nothing_stores_one(cli: Cli, secrets: list[str], recorder: Recorder) -> None:
    shown = {name: cli(*arguments) for name, arguments in COMMANDS.items()}
    bucket = cli("--debug", "reports", "prune", STOCKCAST_REPORTS="gs://bucket/reports")
    for result in (shown["an explanation"], shown["MLflow's pages"], bucket):
        assert result.returncode == 1, result.stdout
    # The secrets were used: what was sent to those they are for.
    sent = {request: headers.get("Authorization", "") for request, headers, _ in recorder.requests}
    assert any(base64.b64encode(f"anna:{MLFLOW}".encode()).decode() in told for told in sent.values())
    assert "/token" in sent
    for name, result in {**shown, "a bucket": bucket}.items():
        assert leaks(result.stdout + result.stderr, secrets) == [], name
    assert stored_in(cli.home, secrets) == []


def test_no_page_of_dagster_and_no_process_shows_one(cli: Cli, secrets: list[str], tmp_path: Path) -> None:
    hijacked = tmp_path / "hijacked"
    for name in ("yaml", "dagster", "duckdb", "pandas", "sitecustomize", "usercustomize", "stockcast_assets", "numpy"):
        marker = f"open({str(hijacked)!r}, 'a').write({name!r})\nraise ImportError({name!r})\n"
        (tmp_path / f"{name}.py").write_text(marker)
    with dagster_dev(cli, cwd=tmp_path) as dev:
        assert dev.wait_for_run(dev.launch_run("daily_forecast", "2013-03-01|MSFT", "2013-03-01|MSFT")) == "FAILURE"
        for name, query in QUERIES.items():
            answer = json.dumps(dev.graphql(query))
            assert len(answer) > 100, (name, answer)
            assert leaks(answer, secrets) == [], name
        processes = [psutil.Process(dev.pid), *psutil.Process(dev.pid).children(recursive=True)]
        assert len(processes) >= 3
        for process in processes:
            assert leaks("\0".join(process.cmdline()), secrets) == []
        assert leaks(dev.log.read_text(), secrets) == []
    assert stored_in(cli.home, secrets) == []
    # What lies beside the command has no part in it.
    assert not hijacked.exists()


def test_what_a_code_location_tells_dagster_has_none(env: dict[str, str], secrets: list[str], tmp_path: Path) -> None:
    values = {name.removeprefix("STOCKCAST_").lower(): value for name, value in env.items() if "STOCKCAST" in name}
    for warehouse in ("duckdb", "bigquery"):
        settings = Settings(**values | {"home": tmp_path / "home", "warehouse": warehouse})  # type: ignore[arg-type]
        defs = build_definitions(settings)
        snapshot = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
        assert len(snapshot) > 100_000
        assert leaks(snapshot, secrets) == []
        assert leaks(f"{settings!r} {defs!r} {settings.model_dump()}", secrets) == []


URLS = [
    "slack://{}/{}/{}/#general", "discord://4174216298/{}", "tgram://123456789:{}/chat", "mailto://anna:{}@example.com",
    "mailtos://example.com?user=anna&pass={}&smtp=smtp.example.com", "json://anna:{}@example.com/{}?+X-Key={}",
    "xml://example.com/{}", "form://anna:{}@example.com/{}?-x={}", "ntfy://anna:{}@example.com/topic", "gotify://example.com/{}",
    "pover://anna1234567890123456789012345678@{}", "matrix://anna:{}@example.com/#room", "rocket://anna:{}@example.com/#room",
    "mmost://example.com/{}", "pagerduty://{}@{}", "opsgenie://{}", "signal://anna:{}@example.com/+15551234567",
    "sns://AHIAJGNT76XIMXDBIJYA/{}/us-west-2/+15551234567", "twilio://AC{}:{}@15551234567", "workflows://example.com/{}/{}",
    "msteams://{}/{}/{}", "webexteams://{}", "hassio://example.com/{}", "schan://{}", "pbul://{}", "ifttt://{}@event",
]  # fmt: skip


def refusal(url: str, words: str) -> str:
    """What is said when an alert does not get through."""
    try:
        send([Problem("x", words)], [url])
    except StockcastError as error:
        return str(error)
    return ""


def test_no_kind_of_alert_tells_its_token_when_it_cannot_be_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    caplog.set_level("DEBUG")
    token = "canary7a8b9c0d1e2f3a4b5c6d7e8f90a1b2c3"
    known = told = 0
    for url in URLS:
        filled = url.replace("{}", token)
        known += apprise.Apprise.instantiate(filled) is not None
        for wrong in (filled, filled.replace("://", ":/", 1), filled.partition("://")[2], f"no{filled}"):
            words = refusal(wrong, f"could not reach {filled}")
            told += bool(words)
            assert not found_in(words.encode(), token), wrong
    assert known >= 15
    assert told > 3 * len(URLS)
    assert not found_in(caplog.text.encode(), token)


def test_what_an_alert_says_has_none(recorder: Recorder, env: dict[str, str], secrets: list[str]) -> None:
    settings = Settings(mlflow_uri=env["STOCKCAST_MLFLOW_URI"], alerts=env["STOCKCAST_ALERTS"])  # type: ignore[arg-type]
    recorder.requests.clear()
    words = f"MLflow at {env['STOCKCAST_MLFLOW_URI']} said {MLFLOW}, then {TOKEN}."
    send([Problem("run x", words)], [settings.alerts[0].get_secret_value()])
    ((path, headers, body),) = recorder.requests
    assert headers["X-Token"] == HEADER
    assert TOKEN in path
    assert b"MLflow at http://anna:***@127.0.0.1" in body
    assert leaks(body.decode(), secrets) == []


def test_links_to_mlflow_have_no_password(env: dict[str, str], secrets: list[str]) -> None:
    tracking = Tracking(env["STOCKCAST_MLFLOW_URI"])
    links = [tracking.server, tracking.link("1", "2"), tracking.version_link("msft", "3"), tracking.tracking_uri]
    assert leaks(" ".join(links), secrets) == []
    assert links[1].startswith("http://127.0.0.1:")
