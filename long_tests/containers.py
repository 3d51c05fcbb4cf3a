"""Images built and containers run without a registry: buildah and podman in a store of their own (Debian, as root)."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORE = Path(os.environ.get("IMAGE_STORE", "/var/tmp/stockcast-image"))
"""Kept between runs: layers of an unchanged lock are not built again."""
PYTHON = "docker.io/library/python:3.11-slim"
WORKER, SERVICES = "localhost/stockcast:latest", "localhost/stockcast-services:latest"
USER = 10001

PACKAGES = "buildah podman runc iptables mmdebstrap netavark aardvark-dns"
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""What works also where the machine is a container itself."""

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


def environment() -> dict[str, str]:
    """What lets `buildah`, `podman` and `podman-compose` use the store, whoever calls them."""
    return {
        **os.environ,
        "CONTAINERS_CONF": str(STORE / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(STORE / "storage.conf"),
        # Where an image is named only, nobody is asked for it.
        "BUILDAH_FORMAT": "docker",
    }


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return str(done.stdout)


def build(name: str, folder: Path, *options: str | Path) -> None:
    # Docker's format: the other has no place for a HEALTHCHECK.
    how = ("--layers", "--format", "docker", "--isolation", "chroot", "--network", "host", "--pull=missing")
    run("buildah", "bud", *how, "-t", name, *options, folder)


def prepare() -> None:
    """The store, and in it the stand-in of `python:3.11-slim`.

    Debian bookworm's packages, whose Python is 3.11, without what Debian's slim images leave out. It says so in a
    label. A real one that is there is taken.
    """
    for tool in ("buildah", "podman", "runc", "iptables", "mmdebstrap"):
        assert shutil.which(tool), f"no {tool}: apt-get install {PACKAGES}"
    STORE.mkdir(parents=True, exist_ok=True)
    (STORE / "containers.conf").write_text(CONFIGURATION)
    storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{STORE}/store"\nrunroot = "/run/containers/storage"\n'
    (STORE / "storage.conf").write_text(storage)
    if PYTHON in run("buildah", "images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    base = STORE / "base"
    base.mkdir(exist_ok=True)
    hook = " ".join(f'"$1"/{folder}' for folder in LEFT_OUT)
    packages = "--include=usr-is-merged,python3,python3-pip,python3-venv,ca-certificates"
    run(
        # The slim images have no Perl beside dpkg's.
        *("mmdebstrap", "--variant=minbase", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", packages),
        # A connection that says nothing is given up and opened again.
        *('--aptopt=Acquire::http::Timeout "30"', '--aptopt=Acquire::Retries "3"'),
        f"--customize-hook=rm -rf {hook}",
        *("bookworm", base / "base.tar"),
    )
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", base)
    (base / "Dockerfile").write_text(DEBIAN)
    build(PYTHON, base)


def copy_of_the_project(folder: Path, planted: Mapping[str, str] | None = None) -> Path:
    """What git knows of the project, and beside it files that are none of its own."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name, text in (planted or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
