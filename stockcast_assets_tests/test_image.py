"""What the image is built from, as far as it can be read; `make image-test` builds and runs it."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = {
    found[1]: stage
    for stage in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)
    if (found := re.match(r"FROM \S+ AS (\S+)", stage))
}
IMAGES = ("services", "worker")


def test_the_image_copies_all_that_the_package_is_built_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "LICENSE"}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {source for sources in copies for source in sources.split()}
    assert needed <= copied
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []


def test_no_layer_of_the_image_holds_a_secret():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"**/.env", "**/.env.*", "**/*.pem", "**/*.key", ".stockcast", ".git"} <= set(ignored)
    # A build argument and the environment of a build stay in the image's history.
    assert re.findall(r"^ARG .*|.*(?:PASSWORD|TOKEN|CREDENTIALS|SECRET|_URI|ALERTS)=.*", DOCKERFILE, re.MULTILINE) == []
    copies = re.findall(r"^(?:COPY|ADD) (.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert not {".", "./", "*"} & {source for sources in copies for source in sources.split()}


def test_the_images_install_what_runs_and_keep_no_tool_that_installs() -> None:
    assert "--require-hashes requirements-services.lock" in STAGES["build-services"]
    assert "--require-hashes --requirement requirements-runtime.lock" in STAGES["build-worker"]
    final = "".join(STAGES[name] for name in IMAGES)
    assert not re.search(r"pip|uv |binutils|requirements", re.sub(r"^#.*", "", final, flags=re.MULTILINE))
    assert re.findall(r"^COPY (.+)", final, re.MULTILINE) == [
        *("--from=build-services /opt/stockcast /opt/stockcast", "--from=build-worker /added/ /"),
    ]


def test_the_image_that_a_build_makes_unasked_runs_everything() -> None:
    assert list(STAGES)[-1] == "worker"
    assert STAGES["worker"].startswith("FROM services AS worker")


def test_both_bases_are_one() -> None:
    """The environment points to the Python of its base."""
    bases = {re.match(r"FROM (\S+)", stage)[1] for stage in STAGES.values()}  # type: ignore[index]
    assert {base for base in bases if base not in STAGES} == {"python:3.11-slim"}


def test_it_runs_as_a_user_without_rights_and_says_whether_it_is_well() -> None:
    (user,) = re.findall(r"^USER (.+)", STAGES["services"] + STAGES["worker"], re.MULTILINE)
    assert int(user) > 0
    assert "HEALTHCHECK" in STAGES["services"]
    assert "STOCKCAST_HOME=/data" in STAGES["services"]
    for name in ("title", "description", "licenses"):
        assert f"org.opencontainers.image.{name}=" in STAGES["services"]


def test_each_image_lists_what_it_is_made_of() -> None:
    for name in ("build-services", "build-worker"):
        assert "cyclonedx-py environment" in STAGES[name]
        assert "/opt/stockcast/share/sbom.cdx.json" in STAGES[name]


def test_it_installs_with_the_uv_that_the_makefile_installs_with() -> None:
    (wanted,) = re.findall(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    tools = (ROOT / "deploy" / "image" / "tools.lock").read_text()
    assert re.findall(r"^uv==(\S+)", tools, re.MULTILINE) == [wanted]
    assert "pip install --no-cache-dir --require-hashes --requirement tools.lock" in STAGES["tools"]


@pytest.mark.parametrize("script", sorted((ROOT / "deploy" / "image").glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_of_the_build_are_shell_and_stop_at_the_first_fault(script: Path) -> None:
    text = script.read_text()
    assert "\nset -eu\n" in text
    subprocess.run(["sh", "-n", script], check=True)
    assert re.search(rf"COPY .*deploy/image/{script.name}", DOCKERFILE), script.name
