"""Pages of strangers in the browser of the person who runs stockcast: what they send, and that nothing comes of it.

A page of another origin, one of another port of this machine, and one under a name that its owner has pointed to this
machine (DNS rebinding) try on the three web pages all that a browser lets them. That the attacks are real is shown on
a server without the guard, which all of them reach.
"""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import dagster as dg
import psutil
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import HTMLResponse
from starlette.routing import Route as Serve
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from stockcast_assets_tests.conftest import clean_env
from stockcast_assets_tests.integration.dagster_dev import LAUNCH, LAUNCH_RUN
from stockcast_assets_tests.servers import free_port, wait_for_http

SCRIPT = Path(__file__).with_name("foreign_page.js").read_text()
STOCKCAST = str(Path(sys.executable).with_name("stockcast"))
NAMES = ("dagster", "dashboard", "mlflow")
FOREIGN = ("http://evil.example", "http://localhost", "http://127.0.0.1")
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "stockcast"}
ADD = """
mutation Add($key: String!, $repository: RepositorySelector!) {
  addDynamicPartition(partitionsDefName: "ticker", partitionKey: $key, repositorySelector: $repository) {
    __typename
  }
}
"""
EVIL = """
mutation {
  addDynamicPartition(partitionsDefName: "ticker", partitionKey: "EVIL", repositorySelector: REPOSITORY) { __typename }
  launchRun(executionParams: {
    selector: {repositoryName: "__repository__", repositoryLocationName: "stockcast", pipelineName: "ingest_history"},
    executionMetadata: {tags: [{key: "dagster/partition", value: "MSFT"}]}
  }) { __typename }
}
""".replace("REPOSITORY", '{repositoryName: "__repository__", repositoryLocationName: "stockcast"}')
STATE = """
{
  runsOrError { ... on Runs { results { runId } } }
  partitionBackfillsOrError { ... on PartitionBackfills { results { id } } }
  assetNodes(assetKeys: [{path: ["price_history"]}]) { partitionKeys }
}
"""
RUN_LOGS = "subscription Logs($id: ID!) { pipelineRunLogs(runId: $id) { __typename } }"
SUBSCRIBE = """([query, id]) => new Promise((resolve, reject) => {
  const socket = new WebSocket(`ws://${location.host}/graphql`, 'graphql-ws');
  const say = (message) => socket.send(JSON.stringify(message));
  socket.onerror = reject;
  socket.onopen = () => say({type: 'connection_init'});
  socket.onmessage = ({data}) => {
    const {type, payload} = JSON.parse(data);
    if (type === 'connection_ack') say({type: 'start', id: '1', payload: {query, variables: {id}}});
    if (type === 'data' || type === 'error') resolve(payload);
  };
})"""
POST = """async ([query, variables]) => (await fetch('/graphql', {
  method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({query, variables})})).json()"""
# What the servers themselves write while nobody asks them for anything.
OWN_FILES = (".db", ".db-wal", ".db-shm", ".db-journal", ".log", ".pid", ".lock")


@dataclass(frozen=True)
class Target:
    """A web page to attack: its address, what would change something there, and its WebSocket."""

    base: str
    path: str
    body: Mapping[str, str]
    socket: str
    subprotocol: str

    def seen_from(self, base: str | None = None) -> dict[str, Any]:
        """For the script, under another address of the same server."""
        base = base or self.base
        start = {"type": "start", "id": "1", "payload": {"query": self.body.get("query")}}
        say = [json.dumps({"type": "connection_init"}), json.dumps(start)]
        return {**vars(self), "base": base, "socket": f"ws{base.removeprefix('http')}{self.socket}", "say": say}


@dataclass(frozen=True)
class Doors:
    """The three web pages of one home, as their commands serve them."""

    home: Path
    targets: Mapping[str, Target]
    environment: Mapping[str, str]
    processes: Mapping[str, subprocess.Popen]

    def asked_of_mlflow(self, path: str, body: object) -> dict[str, Any]:
        return post(f"{self.targets['mlflow'].base}/api/2.0/mlflow/{path}", body)

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = post(f"{self.targets['dagster'].base}/graphql", {"query": query, "variables": variables})
        assert "errors" not in answer, answer
        return answer["data"]

    def state(self) -> dict[str, Any]:
        """All that an attack could change: runs, backfills, tickers, experiments, files (of the user as well)."""
        found = self.asked_of_mlflow("experiments/search", {"max_results": 100})
        files = (path for path in self.home.parent.rglob("*") if not path.name.endswith(OWN_FILES))
        return {
            "dagster": self.graphql(STATE),
            "mlflow": sorted(each["name"] for each in found["experiments"]),
            "files": sorted(str(path) for path in files),
        }


def post(address: str, body: object) -> dict[str, Any]:
    """As a program that is no browser."""
    request = Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    settings = {"STOCKCAST_SOURCE": "sample", "STOCKCAST_TICKERS": "MSFT", "STOCKCAST_AUTOMATION": "false"}
    # DuckDB keeps extensions in the user's home.
    environment = clean_env() | settings | {"STOCKCAST_HOME": str(folder / "home"), "HOME": str(folder)}
    bases, processes = {}, {}
    with ExitStack() as stack:
        started = []
        for name, command in zip(NAMES, ("ui", "dashboard", "mlflow"), strict=True):
            port = free_port()
            log = folder / f"{command}.log"
            process = subprocess.Popen(
                [STOCKCAST, command, "--port", str(port)],
                env=environment,
                cwd=folder,
                stdout=stack.enter_context(log.open("wb")),
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.wait, 90)
            stack.callback(process.terminate)
            bases[name], processes[name] = f"http://127.0.0.1:{port}", process
            started.append((f"{bases[name]}/", process, log))
        for each in started:
            wait_for_http(*each, seconds=240)
        made = {
            "dagster": Target(bases["dagster"], "/graphql", {"query": EVIL}, "/graphql", "graphql-ws"),
            "dashboard": Target(bases["dashboard"], "/_stcore/upload_file/1/2", {}, "/_stcore/stream", "streamlit"),
            "mlflow": Target(
                bases["mlflow"], "/ajax-api/2.0/mlflow/experiments/create", {"name": "evil"}, "/graphql", "any"
            ),
        }
        here = Doors(folder / "home", made, environment, processes)
        deadline = time.monotonic() + 120
        while not here.graphql(STATE)["assetNodes"] and time.monotonic() < deadline:
            time.sleep(0.5)
        yield here


@contextmanager
def stranger_s_server(reached: list[str]) -> Iterator[int]:
    """A server without the guard, which serves an empty page to everybody and notes what it is asked; its port."""

    async def answer(request: Asked) -> HTMLResponse:
        reached.append(f"{request.method} {request.headers.get('content-type', '').split(';')[0]}".strip())
        return HTMLResponse("<title>stranger</title>", headers={"Access-Control-Allow-Headers": "Content-Type"})

    async def talk(socket: WebSocket) -> None:
        await socket.accept(socket.scope["subprotocols"][0])
        reached.append(f"WebSocket {await socket.receive_text()}")
        await socket.close()

    methods = ["GET", "POST", "DELETE", "OPTIONS"]
    app = Starlette(routes=[WebSocketRoute("/graphql", talk), Serve("/{path:path}", answer, methods=methods)])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield port
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def stranger() -> Iterator[int]:
    """The port of the server from which the strangers' pages come."""
    with stranger_s_server([]) as port:
        yield port


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """A browser to which every name that ends in .example is this machine."""
    chromium = browser.browser_type.launch(
        executable_path="/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None,
        args=["--no-sandbox", "--disable-background-networking", "--host-resolver-rules=MAP *.example 127.0.0.1"],
    )
    yield chromium.new_page()
    chromium.close()


def attack(page: Page, address: str, target: dict[str, Any]) -> dict[str, str]:
    """Open a stranger's page and let it try everything; what it could see of the answers."""
    page.goto(address)
    told = page.evaluate(SCRIPT, target)
    framed = page.frame("framed")
    assert framed is not None
    told["frame"] = "read" if framed.url.startswith(target["base"]) else "refused"
    return told


def nothing_was_seen(told: Mapping[str, str]) -> None:
    """No answer was shown to the stranger's page. What it sent unseen is judged by what became of it."""
    assert {way for way, outcome in told.items() if outcome == "read"} == set()
    assert told["socket"] == "refused"


def hostile(port: int) -> str:
    """What somebody may write into a name, a note or a tag, so that a page that shows it asks `port` or runs it."""
    evil = f"http://evil.example:{port}"
    return (
        f'<img src="{evil}/a" onerror="document.title=1"> ![b]({evil}/b) <script>document.title=2</script> '
        f'<iframe src="{evil}/c"></iframe> [d](javascript:document.title=3) <style>@import "{evil}/e"</style>'
    )


@pytest.mark.parametrize("origin", FOREIGN[:2])
def test_all_that_is_tried_reaches_a_server_without_the_guard(tab: Page, stranger: int, origin: str) -> None:
    reached: list[str] = []
    with stranger_s_server(reached) as port:
        target = Target(f"http://127.0.0.1:{port}", "/any", {"query": "x"}, "/graphql", "graphql-ws")
        told = attack(tab, f"{origin}:{stranger}/", target.seen_from())
        assert told["frame"] == told["socket"] == "read"
        sent = set(reached)
    assert {
        "GET",
        "POST text/plain",
        "POST application/x-www-form-urlencoded",
        "POST multipart/form-data",
        "OPTIONS",
        'WebSocket {"type": "connection_init"}',
    } <= sent


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_changes_nothing(
    doors: Doors, tab: Page, stranger: int, origin: str, name: str
) -> None:
    before = doors.state()
    nothing_was_seen(attack(tab, f"{origin}:{stranger}/", doors.targets[name].seen_from()))
    assert doors.state() == before


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_was_pointed_to_this_machine_changes_nothing(doors: Doors, tab: Page, name: str) -> None:
    target = doors.targets[name]
    base = target.base.replace("127.0.0.1", "rebound.example")

    def before_it_was_rebound(route: Route) -> None:
        route.fulfill(body="<title>stranger</title>", content_type="text/html")

    tab.route(f"{base}/stranger", before_it_was_rebound)
    before = doors.state()
    told = attack(tab, f"{base}/stranger", target.seen_from(base))
    # To the browser the answer is the page's own: what it reads is a refusal.
    assert {way for way, outcome in told.items() if outcome == "read"} <= {"frame"}
    framed = tab.frame("framed")
    assert framed is None or "does not answer" in framed.content() or framed.url.startswith("chrome-error")
    assert doors.state() == before


def test_the_ui_itself_launches_backfills_adds_and_subscribes_through_the_guard(doors: Doors, tab: Page) -> None:
    base = doors.targets["dagster"].base
    failed: list[str] = []
    tab.on("pageerror", lambda error: failed.append(str(error)))
    tab.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    tab.goto(f"{base}/assets/price_history?view=partitions")
    expect(tab.get_by_text("MSFT").first).to_be_visible(timeout=60_000)

    def asked(query: str, **variables: Any) -> dict[str, Any]:
        return tab.evaluate(POST, [query, variables])["data"]

    added = asked(ADD, key="IBM", repository=REPOSITORY)["addDynamicPartition"]
    assert added["__typename"] == "AddDynamicPartitionSuccess"
    selector = {**REPOSITORY, "pipelineName": "ingest_history"}
    tags = [{"key": "dagster/partition", "value": "MSFT"}]
    params = {"selector": selector, "executionMetadata": {"tags": tags}}
    launched = asked(LAUNCH_RUN, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess"
    wanted = {"assetSelection": [{"path": ["price_history"]}], "partitionNames": ["IBM"]}
    assert asked(LAUNCH, params=wanted)["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess"
    logs = tab.evaluate(SUBSCRIBE, [RUN_LOGS, launched["run"]["runId"]])
    assert logs["data"]["pipelineRunLogs"]["__typename"] == "PipelineRunLogsSubscriptionSuccess"
    tab.goto(f"{base}/runs")
    expect(tab.get_by_text(launched["run"]["runId"][:8]).first).to_be_visible(timeout=60_000)
    tab.goto(f"{base}/assets/price_history?view=partitions")
    expect(tab.get_by_text("IBM").first).to_be_visible(timeout=60_000)
    assert failed == []


def test_what_others_wrote_is_no_live_part_of_dagster_s_pages(
    doors: Doors, tab: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(doors.home / "dagster"))
    reached: list[str] = []
    with stranger_s_server(reached) as port:
        doors.graphql(ADD, key=hostile(port), repository=REPOSITORY)
        metadata = {
            "note": dg.MetadataValue.md(hostile(port)),
            "link": dg.MetadataValue.url("javascript:document.title=4"),
        }
        with dg.DagsterInstance.get() as instance:
            instance.report_runless_asset_event(
                dg.AssetMaterialization("price_history", hostile(port), metadata, partition="MSFT")
            )
        base = doors.targets["dagster"].base
        tab.goto(f"{base}/assets/price_history?view=partitions&partition=MSFT")
        # Dagster shows Markdown as Markdown: the picture is an element, and the policy keeps it from being fetched.
        expect(tab.get_by_text("document.title=2").filter(visible=True).first).to_be_visible(timeout=60_000)
        for link in (tab.get_by_text("javascript:document.title=4"), tab.get_by_role("link", name="d", exact=True)):
            link.filter(visible=True).first.click()
        tab.goto(f"{base}/assets/price_history?view=partitions")
        expect(tab.get_by_text("evil.example").first).to_be_attached(timeout=60_000)
        tab.goto(f"{base}/assets/price_history?view=events")
        expect(tab.get_by_text("MSFT").first).to_be_visible(timeout=60_000)
        assert [each.title() for each in tab.context.pages if each.title() in "1234"] == []
    assert reached == []


def test_what_others_wrote_is_no_live_part_of_mlflow_s_pages(doors: Doors, tab: Page) -> None:
    reached: list[str] = []
    with stranger_s_server(reached) as port:
        text = hostile(port)
        note = [{"key": "mlflow.note.content", "value": text}, {"key": "tag", "value": text}]
        experiment = doors.asked_of_mlflow("experiments/create", {"name": "hostile", "tags": note})["experiment_id"]
        made = {"experiment_id": experiment, "run_name": text, "tags": note}
        run = doors.asked_of_mlflow("runs/create", made)["run"]["info"]["run_id"]
        model = {"name": "hostile", "description": text, "tags": note}
        doors.asked_of_mlflow("registered-models/create", model)
        base = doors.targets["mlflow"].base
        for page in (f"experiments/{experiment}/runs/{run}", "models/hostile"):
            tab.goto(f"{base}/#/{page}")
            tab.reload()
            # The page shows the text, and so it had the chance to run it.
            expect(tab.get_by_text("[d]").or_(tab.get_by_text("<script>")).first).to_be_attached(timeout=60_000)
            assert tab.title() not in "1234"
    assert reached == []


def test_a_second_daemon_is_refused_and_the_first_stops_with_all_it_started(doors: Doors) -> None:
    second = subprocess.run(
        [STOCKCAST, "ui", "--port", str(free_port())],
        env=doors.environment,
        cwd=doors.home.parent,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert second.returncode == 1
    found = re.search(r"already running on .* stop it \(`kill (\d+)`\)", second.stderr)
    assert found, second.stderr
    first = doors.processes["dagster"]
    assert int(found.group(1)) == first.pid
    started = psutil.Process(first.pid).children(recursive=True)
    assert len(started) >= 4, "webserver, daemon, code server and its keeper"
    subprocess.run(["kill", found.group(1)], check=True)
    assert first.wait(90) == 128 + signal.SIGTERM
    assert [process for process in started if process.is_running()] == []
    assert not (doors.home / "dagster" / "daemon.pid").exists()


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_other_pages_stop_with_all_they_started(doors: Doors, name: str) -> None:
    server = doors.processes[name]
    started = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    server.terminate()
    server.wait(60)
    assert psutil.wait_procs(started, 20)[1] == []
