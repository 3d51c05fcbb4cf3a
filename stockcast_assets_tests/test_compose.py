"""deploy/compose.yaml and its proxy, as far as they can be seen without containers; `make compose-test` runs them."""

import contextlib
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import yaml

from stockcast_assets_tests.servers import free_port, valkey_command

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
RUNNING = sorted(set(SERVICES) - {"migrations"})
PAGES = ("dagster", "mlflow", "viewer", "dashboard")
BIN = Path(sys.executable).parent


def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / command[0], *command[1:]], capture_output=True, text=True, check=False, cwd=DEPLOY.parent
    )


def test_it_is_a_compose_file(tmp_path: Path) -> None:
    check = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    done = tool(*check, DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("read_only:", "readonly:"))
    assert tool(*check, wrong).returncode == 1


@pytest.mark.parametrize("file", ["Dockerfile", *sorted(str(each) for each in DEPLOY.rglob("Dockerfile*"))])
def test_a_dockerfile_keeps_the_rules_of_its_kind(file: str) -> None:
    done = tool("hadolint", file)
    assert done.returncode == 0, done.stdout


def test_the_workflow_keeps_the_rules_of_its_kind() -> None:
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml")
    assert done.returncode == 0, done.stdout
    done = tool("zizmor", "--offline", "--no-progress", ".github/workflows")
    assert done.returncode == 0, done.stdout


def test_only_the_proxy_publishes_a_port_and_that_to_this_machine() -> None:
    assert {name: each["ports"] for name, each in SERVICES.items() if "ports" in each} == {
        "proxy": ["${LISTEN:-127.0.0.1}:${HTTPS_PORT:-443}:8443"]
    }
    assert not [name for name, each in SERVICES.items() if each.get("network_mode") or each.get("privileged")]


def test_the_proxy_meets_pages_alone_and_the_database_nobody_from_outside() -> None:
    of = {name: set(each["networks"]) for name, each in SERVICES.items()}
    assert {name for name, networks in of.items() if networks & of["proxy"]} == {
        *("proxy", "webserver", "viewer", "dashboard", "mlflow")
    }
    assert of["postgres"] == of["broker"] == {"storage"}
    assert all(COMPOSE["networks"][name]["internal"] for name in ("storage", "pages"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_closed_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert all(service[limit] for limit in ("mem_limit", "cpus", "pids_limit"))
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    if name in RUNNING:
        assert service["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "start_period"} == service["healthcheck"].keys()
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", ()))


def test_secrets_are_files_that_neither_git_nor_an_image_takes() -> None:
    files = {name: each["file"] for name, each in COMPOSE["secrets"].items()}
    assert all(file == f"./secrets/{name}" for name, file in files.items())
    used = {name for service in SERVICES.values() for name in service.get("secrets", ())}
    assert used == set(files)
    assert "deploy/secrets/" in (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert "deploy/secrets" in (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET|CREDENTIALS|ALERTS|POSTGRES_URL|BROKER", name):
                assert name.endswith("_FILE"), name
                assert value.removeprefix("/run/secrets/") in service["secrets"], name
            assert not re.search(r"://[^/\s]*:[^/\s]*@", str(value))


def test_every_variable_is_in_the_example_with_its_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / ".env.example").read_text(), re.M))
    asked = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert len(re.findall(r"\$\{", text)) == len(re.findall(r"\$\{\w+:-", text)), "one has no default"
    of_images = {"SERVICES_IMAGE", "WORKER_IMAGE"}
    assert asked.keys() - of_images <= example.keys()
    assert {name: example[name] for name in ("DOMAIN", "LISTEN", "HTTPS_PORT", "MODELS")} == {
        name: asked[name] for name in ("DOMAIN", "LISTEN", "HTTPS_PORT", "MODELS")
    }
    from stockcast_assets.settings import Settings

    known = {f"STOCKCAST_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in example if name.startswith("STOCKCAST_")} <= known


def test_services_that_stockcast_is_are_told_where_everything_is() -> None:
    from stockcast_assets.settings import Settings

    known = {f"STOCKCAST_{name.upper()}" for name in Settings.model_fields}
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            if variable.startswith("STOCKCAST_"):
                assert variable.removesuffix("_FILE") in known, (name, variable)
    workspace = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    command = SERVICES["code"]["command"]
    assert workspace["host"] in SERVICES
    assert str(workspace["port"]) == command[command.index("--port") + 1]
    assert workspace["location_name"] == command[command.index("--location-name") + 1] == "stockcast"


def test_the_database_makes_a_role_for_each_address() -> None:
    script = (DEPLOY / "postgres" / "databases.sh").read_text()
    made = set(re.search(r"for name in ([\w ]+);", script)[1].split())  # type: ignore[index]
    assert made == {name.removesuffix("_postgres_url") for name in COMPOSE["secrets"] if name.endswith("_postgres_url")}
    for file in DEPLOY.rglob("*.sh"):
        subprocess.run(["sh", "-n", file], check=True)
        assert "\nset -eu\n" in file.read_text()


def entrypoint(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", DEPLOY / "image" / "entrypoint.sh", *command],
        env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_setting_comes_from_the_file_that_its_variable_names(tmp_path: Path) -> None:
    word = 'pass\'word $HOME `id` "x" %s'
    (tmp_path / "url").write_text(f"{word}\n")
    (tmp_path / "empty").write_text("")
    script = "import os; print(os.environ.get('STOCKCAST_ALERTS'), os.environ['DAGSTER_POSTGRES_URL'], *os.environ)"
    env = {"DAGSTER_POSTGRES_URL_FILE": str(tmp_path / "url"), "STOCKCAST_ALERTS_FILE": str(tmp_path / "empty")}
    done = entrypoint(env, sys.executable, "-c", script)
    assert done.stdout.startswith(f"None {word} "), done.stderr
    assert "_FILE" not in done.stdout
    missing = entrypoint({"STOCKCAST_ALERTS_FILE": str(tmp_path / "none")}, "true")
    assert missing.returncode == 1
    assert "STOCKCAST_ALERTS_FILE" in missing.stderr


def make_secrets(tmp_path: Path) -> tuple[str, str]:
    """What secrets.sh says the first and the second time."""
    for name in ("secrets.sh", "compose.yaml"):
        (tmp_path / name).write_text((DEPLOY / name).read_text())
    # In the place of `docker run … caddy hash-password`.
    engine = tmp_path / "engine"
    engine.write_text(f"#!/bin/sh\nexec {BIN / 'caddy'} hash-password --bcrypt-cost 4\n")
    engine.chmod(0o755)
    made, again = (
        subprocess.run(["sh", tmp_path / "secrets.sh", engine], capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    return made.stdout, again.stdout


def test_secrets_are_made_once_closed_and_shown_once(tmp_path: Path) -> None:
    made, again = make_secrets(tmp_path)
    assert re.findall(r"The password of (\w+),", made) == ["admin", "viewer"]
    assert again == ""
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in folder.iterdir()} == set(COMPOSE["secrets"])
    modes = {file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {0o400 if os.geteuid() == 0 else 0o444}
    word = re.findall(r"once: (\w+)", made)[0]
    assert len(word) == 48
    assert not [file for file in folder.iterdir() if word in file.read_text()], "kept in clear"


def test_the_broker_takes_its_configuration_and_who_has_its_address_only(tmp_path: Path) -> None:
    """As compose.yaml starts it: `valkey-server` with the secret as its configuration."""
    make_secrets(tmp_path)
    address = (tmp_path / "secrets" / "celery_broker").read_text().strip()
    host, port = urlsplit(address).hostname, free_port()
    assert host in SERVICES
    server, *_ = valkey_command(port)
    assert SERVICES["broker"]["command"] == ["valkey-server", "/run/secrets/broker"]
    command = [server, tmp_path / "secrets" / "broker", "--port", str(port), "--bind", "127.0.0.1"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until = time.monotonic() + 30
            while b"Ready to accept" not in (tmp_path / "log").read_bytes():
                assert time.monotonic() < until, (tmp_path / "log").read_text()
                time.sleep(0.05)
            with redis.Redis("127.0.0.1", port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
            with redis.Redis.from_url(address.replace(f"{host}:6379", f"127.0.0.1:{port}")) as known:
                assert known.ping()
        finally:
            process.terminate()


@dataclass(frozen=True)
class Proxy:
    port: int
    seen: list[dict[str, str]]

    def ask(self, host: str, login: str | None = None, path: str = "/x") -> tuple[int, str]:
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60)
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        connection.sock = trust.wrap_socket(plain, server_hostname=host)
        headers = {"Host": f"{host}:{self.port}"}
        if login is not None:
            headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The Caddy of the Caddyfile on this machine, before one server that stands for all pages."""
    folder = tmp_path_factory.mktemp("proxy")
    seen: list[dict[str, str]] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a page")

        def log_message(self, *_: object) -> None: ...

    page = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=page.serve_forever, args=(0.05,), daemon=True).start()
    for file, user in (("admins", "admin"), ("viewers", "viewer")):
        command = [BIN / "caddy", "hash-password", "--bcrypt-cost", "4", "--plaintext", f"word-of-{user}"]
        hashed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        (folder / file).write_text(f"{user} {hashed}")
    port, health = free_port(), free_port()
    text = (DEPLOY / "proxy" / "Caddyfile").read_text()
    for old, new in (
        *(("/run/secrets/", f"{folder}/"), ("8443", str(port)), ("8081", str(health))),
        *((f"{name}:{number}", f"127.0.0.1:{page.server_port}") for name, number in UPSTREAMS.items()),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (folder / "Caddyfile").write_text(text)
    env = {**os.environ, "DOMAIN": "localhost", "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        command = [BIN / "caddy", "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    made = Proxy(port, seen)
    until = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            if all(made.ask(f"{name}.localhost")[0] == 401 for name in PAGES):
                break
        assert time.monotonic() < until, (folder / "log").read_text()[-3000:]
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        time.sleep(0.2)
    try:
        yield made
    finally:
        process.terminate()
        process.wait(20)
        page.shutdown()
        page.server_close()


UPSTREAMS = {"webserver": 3000, "viewer": 3000, "mlflow": 5000, "dashboard": 8501}


@pytest.mark.parametrize("page", PAGES)
def test_the_proxy_asks_for_a_login_before_every_page(proxy: Proxy, page: str) -> None:
    host = f"{page}.localhost"
    proxy.seen.clear()
    for path in ("/", "/graphql", "/_stcore/health", "/health", "/../health", "//health"):
        for login in (None, "admin:wrong"):
            assert proxy.ask(host, login, path) == (401, "")
    # Once each: for a name it does not know, Caddy computes a hash as dear as any.
    for login in ("admin:", "viewer:word-of-admin"):
        assert proxy.ask(host, login) == (401, "")
    assert proxy.seen == []
    assert proxy.ask(host, "admin:word-of-admin") == (200, "a page")
    # The page's guard compares the host that the browser asked for; the password is not its business.
    assert proxy.seen[-1]["Host"] == f"{host}:{proxy.port}"
    assert "Authorization" not in proxy.seen[-1]
    let_in = page in ("viewer", "dashboard")
    assert proxy.ask(host, "viewer:word-of-viewer")[0] == (200 if let_in else 401)


def test_another_name_and_plain_text_lead_nowhere(proxy: Proxy) -> None:
    proxy.seen.clear()
    with pytest.raises(ssl.SSLError):
        proxy.ask("evil.example.com", "admin:word-of-admin")
    plain = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    plain.request("GET", "/", headers={"Host": "dagster.localhost"})
    assert plain.getresponse().status == 400
    assert proxy.seen == []
