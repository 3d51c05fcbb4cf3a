"""The two images, built and run without a registry: `make image-test` (Debian, as root)."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from long_tests.containers import SERVICES, USER, WORKER, build, copy_of_the_project, prepare, run
from stockcast_assets_tests.conftest import Cli

pytestmark = pytest.mark.timeout(3000)  # The first one builds both images, the worker's with a demo in it.

LIMITS = {WORKER: 1_900_000_000, SERVICES: 1_100_000_000}
"""Bytes of each image, its base included, as `podman images` counts them."""
OUTCOMES = ("indicators", "forecasts", "drift_report", "forecast_accuracy")
"""The tables whose content hash depends on neither time nor place."""
CANARY = "canary-of-the-build-1f0c9d2e"
_PLACES = (
    *(".env", "deploy/.env", "deploy/secrets/alerts", "deploy/secrets/dagster_postgres_url"),
    *("key.pem", "stockcast_assets/service.key", "stockcast_assets/.env", ".stockcast/dagster/dagster.yaml"),
)
PLANTED = dict.fromkeys(_PLACES, f"secret={CANARY}\n")
"""Where a person may have put a secret before the image is built."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The images of the Dockerfile, from a folder in which secrets lie about."""
    prepare()
    context = copy_of_the_project(tmp_path_factory.mktemp("context"), PLANTED)
    build(SERVICES, context, "--target", "services")
    build(WORKER, context)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume for /data that belongs to the image's user."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, USER, USER)
    tmp_path.chmod(0o755)
    return folder


def started(data: Path, *command: str, options: Sequence[str] = (), image: str = WORKER) -> list[str | Path]:
    """A container as it is to be run: no writable root, no rights, one folder."""
    closed = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")
    return ["podman", "run", "--network", "host", *closed, "-v", f"{data}:/data", *options, image, *command]


def hashes(printed: str) -> dict[str, str]:
    tables = json.loads(printed)["tables"]
    return {name: tables[name]["sha256"] for name in OUTCOMES}


@pytest.mark.usefixtures("images")
def test_no_image_is_larger_than_it_was_promised() -> None:
    sizes = {name: int(run("podman", "image", "inspect", "--format", "{{.Size}}", name)) for name in LIMITS}
    sys.stdout.write("".join(f"\n{name} has {size / 1e9:.2f} GB" for name, size in sizes.items()) + "\n")
    assert all(size <= LIMITS[name] for name, size in sizes.items()), sizes


@pytest.mark.usefixtures("images")
def test_the_worker_is_the_services_with_a_layer_on_top() -> None:
    layers = {
        name: json.loads(run("podman", "image", "inspect", name))[0]["RootFS"]["Layers"] for name in (SERVICES, WORKER)
    }
    assert layers[WORKER][: len(layers[SERVICES])] == layers[SERVICES]


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("image", list(LIMITS))
def test_an_image_says_what_it_is_and_runs_as_nobody_special(image: str) -> None:
    config = json.loads(run("podman", "image", "inspect", image))[0]
    assert config["User"] == str(USER)
    assert config["Labels"]["org.opencontainers.image.title"].startswith("stockcast")
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    # No tool that builds or fetches, and no cache of one.
    listed = run("podman", "run", "--rm", image, "sh", "-c", "ls /opt/stockcast/bin; command -v uv strip gcc || true")
    assert "stockcast" in listed.split()
    assert not {"uv", "pip", "strip", "pytest", "mypy"} & {Path(name).name for name in listed.split()}


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("image", list(LIMITS))
def test_an_image_lists_what_it_is_made_of(image: str) -> None:
    bill = json.loads(run("podman", "run", "--rm", image, "cat", "/opt/stockcast/share/sbom.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {canonicalize_name(part["name"]): part["version"] for part in bill["components"]}
    script = "from importlib.metadata import distributions as d; print(*(f'{p.name}=={p.version}' for p in d()))"
    said = run("podman", "run", "--rm", image, "python", "-c", script).split()
    installed = {canonicalize_name(name): version for name, version in (each.split("==") for each in said)}
    assert {"dagster", "mlflow", "stockcast-assets"} <= installed.keys()
    assert listed == installed
    assert ("tensorflow-cpu" in installed) == (image == WORKER)


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("image", list(LIMITS))
def test_no_layer_and_no_line_of_the_history_holds_a_secret(image: str) -> None:
    place = run("podman", "image", "mount", image).strip()
    try:
        found = subprocess.run(
            ["grep", "--recursive", "--files-with-matches", "--fixed-strings", CANARY, place],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        # The control: the search finds what is there.
        there = subprocess.run(
            ["grep", "--recursive", "--files-with-matches", "STOCKCAST_ALLOWED_HOSTS", f"{place}/opt/stockcast/lib"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        run("podman", "image", "unmount", image)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "address.py" in there.stdout
    told = run("podman", "image", "inspect", image) + run("podman", "history", "--no-trunc", image)
    assert CANARY not in told


@pytest.mark.usefixtures("images")
def test_the_demo_inside_computes_what_it_computes_outside(data: Path, tmp_path: Path) -> None:
    inside = run(*started(data, "stockcast", "demo", "--json", options=("--rm", "-e", "STOCKCAST_SOURCE=sample")))
    cli = Cli(tmp_path / "home", {"STOCKCAST_SOURCE": "sample"})
    outside = cli("demo", "--json")
    assert outside.returncode == 0, outside.stderr
    assert hashes(inside) == hashes(outside.stdout)
    stored = {path.stat().st_uid for path in data.rglob("*")}
    assert stored == {USER}


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("image", list(LIMITS))
def test_nothing_but_the_volume_can_be_written(image: str, data: Path) -> None:
    probe = (
        "for place in / /app /opt/stockcast /usr /data /tmp; do touch $place/x 2>/dev/null && echo $place; done; id -u"
    )
    said = run(*started(data, "sh", "-c", probe, options=("--rm",), image=image))
    assert said.split() == ["/data", "/tmp", str(USER)]


@pytest.fixture
def served(images: None, data: Path) -> Iterator[str]:
    """The image's own command, on a home of the sample."""
    name = f"stockcast-test-{os.getpid()}"
    settings = ("-e", "STOCKCAST_SOURCE=sample", "-e", "STOCKCAST_ALLOWED_HOSTS=localhost")
    run(*started(data, options=("--detach", "--name", name, *settings)))
    try:
        yield name
    finally:
        run("podman", "rm", "--force", "--time", "20", name)


def test_the_ui_becomes_healthy_on_a_read_only_root_and_stops_when_it_is_told(served: str) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            run("podman", "healthcheck", "run", served)
            break
        except AssertionError:
            assert time.monotonic() < deadline, run("podman", "logs", served)
            time.sleep(3)
    begun = time.monotonic()
    run("podman", "stop", "--time", "60", served)
    assert time.monotonic() - begun < 50, "it had to be killed"
