"""Dagster's own webserver behind the guard, in this process: what it would execute, and what reaches it."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from starlette.applications import Starlette
from starlette.testclient import TestClient

from stockcast_assets.dagster_private.webserver import webserver
from stockcast_assets.errors import StockcastError
from stockcast_assets.web.dagster_ui import POLICY, only_daemon
from stockcast_assets.web.guard import Guard

OWN = "http://localhost:3000"
CHANGE = 'mutation { setConcurrencyLimit(concurrencyKey: "evil", limit: 3) }'


@pytest.fixture(scope="module")
def one_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.fixture
def instance(one_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance without a code location, in which nothing was changed."""
    one_instance.event_log_storage.delete_concurrency_limit("evil")
    return one_instance


@pytest.fixture
def serve(instance: dg.DagsterInstance, tmp_path: Path) -> Callable[..., AbstractContextManager[Starlette]]:
    """`serve(read_only=True)` is Dagster's application on it."""
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text("load_from: []\n")
    return lambda read_only=False: webserver(instance, workspace, read_only)


def changed(instance: dg.DagsterInstance) -> bool:
    return "evil" in instance.event_log_storage.get_concurrency_keys()


ATTACKS = {
    "get": lambda client: client.get(f"/graphql?query={quote(CHANGE)}"),
    "get with json": lambda client: client.request("GET", f"/graphql?query={quote(CHANGE)}", json={"query": CHANGE}),
    "post of a form": lambda client: client.post(f"/graphql?query={quote(CHANGE)}", data={"a": "b"}),
    "post without a type": lambda client: client.post(f"/graphql?query={quote(CHANGE)}"),
    "post of text that Dagster takes for JSON": lambda client: client.post(
        "/graphql",
        content=json.dumps({"query": CHANGE}),
        headers={"Content-Type": "text/plain; x=application/json"},
    ),
    "post of a file": lambda client: client.post(f"/graphql?query={quote(CHANGE)}", files={"a": b"b"}),
    "json from another port": lambda client: client.post(
        "/graphql", json={"query": CHANGE}, headers={"Origin": "http://localhost:8501"}
    ),
    "json under a rebound name": lambda client: client.post(
        "/graphql", json={"query": CHANGE}, headers={"Host": "evil.example:3000", "Origin": "http://evil.example:3000"}
    ),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_what_dagster_alone_executes_does_not_reach_it(
    serve: Callable, instance: dg.DagsterInstance, attack: str
) -> None:
    with serve() as app:
        ATTACKS[attack](TestClient(Guard(app, [], POLICY), OWN))
        assert not changed(instance)
        ATTACKS[attack](TestClient(app, OWN))
        assert changed(instance), "it is an attack: Dagster alone obeys it"


def test_its_own_page_may_change_things(serve: Callable, instance: dg.DagsterInstance) -> None:
    with serve() as app:
        answer = TestClient(Guard(app, [], POLICY), OWN).post(
            "/graphql", json={"query": CHANGE}, headers={"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
        )
    assert answer.json() == {"data": {"setConcurrencyLimit": True}}
    assert changed(instance)


@pytest.mark.parametrize(
    "document",
    [
        CHANGE,
        'query A { version } mutation B { setConcurrencyLimit(concurrencyKey: "evil", limit: 3) }',
        "mutation { setNuxSeen }",
        "mutation { logTelemetry(action: a, clientTime: b, clientId: c, metadata: d) { __typename } }",
    ],
)
def test_read_only_takes_no_document_that_changes_something(
    serve: Callable, instance: dg.DagsterInstance, document: str
) -> None:
    with serve(read_only=True) as app:
        client = TestClient(Guard(app, [], POLICY), OWN)
        answer = client.post("/graphql", json={"query": document, "operationName": "B"})
        assert "This Dagster UI is read-only." in answer.text
        assert client.post("/graphql", json={"query": "{ version }"}).json() == {"data": {"version": dg.__version__}}
        reported = client.post("/report_asset_materialization/evil", json={})
        assert reported.status_code == 401
    assert not changed(instance)


def test_no_notebook_of_this_machine_is_shown(serve: Callable, tmp_path: Path) -> None:
    (tmp_path / "evil.ipynb").write_text("{}")
    with serve() as app:
        client = TestClient(Guard(app, [], POLICY), OWN)
        for path in ("/notebook", "/dagit/notebook"):
            assert client.get(f"{path}?path={tmp_path}/evil.ipynb&repoLocName=stockcast").status_code == 404


@pytest.mark.parametrize("path", ["/logs/..%2f..%2fwarehouse/duckdb", "/logs/%2e%2e/%2e%2e/%2e%2e/etc/passwd"])
def test_no_log_is_read_outside_its_folder(serve: Callable, path: str) -> None:
    with serve() as app:
        assert TestClient(Guard(app, [], POLICY), OWN).get(path).status_code == 400


def test_the_page_is_dagster_s_with_both_policies(serve: Callable) -> None:
    with serve() as app:
        answer = TestClient(Guard(app, [], POLICY), OWN).get("/", headers={"Accept": "text/html"})
    policies = answer.headers.get_list("content-security-policy")
    assert "'nonce-" in policies[0]
    assert "img-src 'self' data: blob:" in policies[1]
    assert answer.headers.get_list("referrer-policy") == ["same-origin"]


def beat(instance: dg.DagsterInstance) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "by hand"))


def test_a_daemon_started_by_hand_is_found_by_its_signs_of_life(instance: dg.DagsterInstance) -> None:
    beat(instance)
    sign = threading.Timer(1, beat, [instance])
    sign.start()
    with pytest.raises(StockcastError, match="started by hand"), only_daemon(instance, 20):
        pass
    sign.join()


def test_a_daemon_that_has_ended_stands_in_nobody_s_way(instance: dg.DagsterInstance) -> None:
    beat(instance)
    with only_daemon(instance, 1):
        with (
            pytest.raises(StockcastError, match=rf"already running .* \(`kill {os.getpid()}`\)"),
            only_daemon(instance),
        ):
            pass
        beat(instance)

    def stop_when_told() -> None:
        with only_daemon(instance, 60):
            beat(instance)
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        stop_when_told()
    started = time.monotonic()
    with only_daemon(instance, 60):
        assert time.monotonic() - started < 30, "its end was noted"
