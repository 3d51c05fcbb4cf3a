"""The image, built and run without a registry: `make image-test` (Debian, as root).

`python:3.11-slim` cannot be pulled everywhere. The stand-in of that name is made here of Debian bookworm's packages,
whose Python is 3.11, without what Debian's slim images leave out. It says so in a label. Everything else is the
Dockerfile, as it is.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from stockcast_assets_tests.conftest import Cli

ROOT = Path(__file__).parents[1]
STORE = Path(os.environ.get("IMAGE_STORE", "/var/tmp/stockcast-image"))
"""Kept between runs: layers of an unchanged lock are not built again."""
BASE, IMAGE = "docker.io/library/python:3.11-slim", "localhost/stockcast:test"
LIMIT = 2_100_000_000
"""Bytes of the whole image, its base included, as `podman images` counts them."""
USER = 10001
OUTCOMES = ("indicators", "forecasts", "drift_report", "forecast_accuracy")
"""The tables whose content hash depends on neither time nor place."""

DEBIAN = """
FROM scratch
LABEL stockcast.stand-in="Debian bookworm's python3 in place of python:3.11-slim, for tests without a registry"
ADD base.tar /
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -sf python3 /usr/bin/python \\
    && mkdir -p /var/lib/apt/lists /var/cache/apt \\
    && echo 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache ""; Dir::Cache::Archives "/tmp";' \\
        > /etc/apt/apt.conf.d/docker-clean
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt UV_NATIVE_TLS=1
"""
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt")


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return str(done.stdout)


def buildah(*arguments: str | Path) -> str:
    return run("buildah", "--root", STORE / "store", "--storage-driver", "overlay", *arguments)


def podman(*arguments: str | Path) -> list[str | Path]:
    storage = ("--root", STORE / "store", "--storage-driver", "overlay")
    return ["podman", *storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs", *arguments]


@pytest.fixture(scope="module")
def image() -> str:
    """The image of the Dockerfile, on the stand-in unless the real base is in the store already."""
    for tool in ("buildah", "podman", "runc", "mmdebstrap"):
        assert shutil.which(tool), f"no {tool}: apt-get install buildah podman runc mmdebstrap netavark aardvark-dns"
    STORE.mkdir(parents=True, exist_ok=True)
    if BASE not in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        base = STORE / "base"
        base.mkdir(exist_ok=True)
        hook = " ".join(f'"$1"/{folder}' for folder in LEFT_OUT)
        packages = "--include=python3,python3-pip,python3-venv,ca-certificates"
        run(
            *("mmdebstrap", "--variant=minbase", packages, f"--customize-hook=rm -rf {hook}"),
            *("bookworm", base / "base.tar"),
        )
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", base)
        (base / "Dockerfile").write_text(DEBIAN)
        buildah("bud", "--isolation", "chroot", "-t", BASE, base)
    # Docker's format: the other has no place for a HEALTHCHECK.
    buildah("bud", "--layers", "--format", "docker", "--isolation", "chroot", "--network", "host", "-t", IMAGE, ROOT)
    return IMAGE


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume for /data that belongs to the image's user."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, USER, USER)
    tmp_path.chmod(0o755)
    return folder


def started(data: Path, *command: str, options: Sequence[str] = ()) -> list[str | Path]:
    """A container as it is to be run: no writable root, no rights, one folder."""
    limits = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096")
    closed = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")
    return podman("run", "--network", "host", *closed, *limits, "-v", f"{data}:/data", *options, IMAGE, *command)


def hashes(printed: str) -> dict[str, str]:
    tables = json.loads(printed)["tables"]
    return {name: tables[name]["sha256"] for name in OUTCOMES}


def test_the_image_is_no_larger_than_it_was_promised(image: str) -> None:
    size = int(run(*podman("image", "inspect", "--format", "{{.Size}}", image)))
    sys.stdout.write(f"\nthe image has {size / 1e9:.2f} GB\n")
    assert size <= LIMIT


def test_the_image_says_what_it_is_and_runs_as_nobody_special(image: str) -> None:
    config = json.loads(run(*podman("image", "inspect", image)))[0]
    assert config["User"] == str(USER)
    assert config["Labels"]["org.opencontainers.image.title"] == "stockcast"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["HealthCheck"]["Test"][0] == "CMD"
    # No tool that builds or fetches, and no cache of one.
    listed = run(*podman("run", "--rm", image, "sh", "-c", "ls /opt/stockcast/bin; command -v uv strip gcc || true"))
    assert "stockcast" in listed.split()
    assert not {"uv", "pip", "strip", "pytest", "mypy"} & {Path(name).name for name in listed.split()}


def test_the_demo_inside_computes_what_it_computes_outside(image: str, data: Path, tmp_path: Path) -> None:
    inside = run(*started(data, "stockcast", "demo", "--json", options=("--rm", "-e", "STOCKCAST_SOURCE=sample")))
    cli = Cli(tmp_path / "home", {"STOCKCAST_SOURCE": "sample"})
    outside = cli("demo", "--json")
    assert outside.returncode == 0, outside.stderr
    assert hashes(inside) == hashes(outside.stdout)
    stored = {path.stat().st_uid for path in data.rglob("*")}
    assert stored == {USER}


def test_nothing_but_the_volume_can_be_written(image: str, data: Path) -> None:
    probe = (
        "for place in / /app /opt/stockcast /usr /data /tmp; do touch $place/x 2>/dev/null && echo $place; done; id -u"
    )
    assert run(*started(data, "sh", "-c", probe, options=("--rm",))).split() == ["/data", "/tmp", str(USER)]


@pytest.fixture
def served(image: str, data: Path) -> Iterator[str]:
    """The image's own command, on a home of the sample."""
    name = f"stockcast-test-{os.getpid()}"
    settings = ("-e", "STOCKCAST_SOURCE=sample", "-e", "STOCKCAST_ALLOWED_HOSTS=localhost")
    run(*started(data, options=("--detach", "--name", name, *settings)))
    try:
        yield name
    finally:
        subprocess.run(podman("rm", "--force", "--time", "20", name), check=False, capture_output=True)


def test_the_ui_becomes_healthy_on_a_read_only_root_and_stops_when_it_is_told(served: str) -> None:
    deadline = time.monotonic() + 180
    probe = podman("healthcheck", "run", served)
    while subprocess.run(probe, check=False, capture_output=True).returncode:
        logs = subprocess.run(podman("logs", served), check=False, capture_output=True, text=True)
        assert time.monotonic() < deadline, logs.stdout + logs.stderr
        time.sleep(3)
    begun = time.monotonic()
    run(*podman("stop", "--time", "60", served))
    assert time.monotonic() - begun < 50, "it had to be killed"
