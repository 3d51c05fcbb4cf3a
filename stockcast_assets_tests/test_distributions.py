"""What `pip install` brings: the platform as a whole, and the IO managers as a distribution of their own."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from trove_classifiers import classifiers

from stockcast_assets import __version__

ROOT = Path(__file__).parents[1]
PLATFORM, WAREHOUSE = ROOT, ROOT / "packaging" / "warehouse"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def built(source: Path, folder: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(name))


def modules(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    return {name: wheel.read(name) for name in wheel.namelist() if name.startswith("stockcast_assets/")}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return built(PLATFORM, tmp_path_factory.mktemp("platform"))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return built(WAREHOUSE, tmp_path_factory.mktemp("warehouse"))


def test_the_wheel_of_the_platform_holds_every_file_of_the_package_and_no_test(platform: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "stockcast_assets"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert set(tracked) <= set(platform.namelist())
    for beside in ("dagster.yaml", "workspace.yaml", "looker/trust.sql"):
        assert f"stockcast_assets/{beside}" in platform.namelist()
    assert {name.split("/")[0] for name in platform.namelist()} == {
        "stockcast_assets",
        f"stockcast_assets-{__version__}.dist-info",
    }


def test_the_wheel_of_the_platform_requires_what_its_commands_need(platform: zipfile.ZipFile) -> None:
    required = [Requirement(text) for text in metadata(platform).get_all("Requires-Dist") or []]
    always = {each.name.lower() for each in required if each.marker is None}
    assert {"tensorflow-cpu", "mlflow", "evidently", "streamlit", "dagster-webserver", "dagster-gcp"} <= always


def test_both_wheels_have_one_version_and_the_same_modules(
    platform: zipfile.ZipFile, warehouse: zipfile.ZipFile
) -> None:
    assert [metadata(each)["Version"] for each in (platform, warehouse)] == [__version__, __version__]
    thin = modules(warehouse)
    assert "stockcast_assets/warehouse/bigquery/io_manager.py" in thin
    assert not any(name.startswith("stockcast_assets/cli") for name in thin)
    assert thin.items() <= modules(platform).items()


def test_the_io_managers_know_nothing_of_the_platform(warehouse: zipfile.ZipFile) -> None:
    word = re.compile(rb"[Ff]orecast|[Ll]ooker|[Yy]ahoo|indicators|raw_prices|\bSTOCKCAST_")
    said = {
        name: word.findall(text) for name, text in modules(warehouse).items() if name != "stockcast_assets/__init__.py"
    }
    assert {name: words for name, words in said.items() if words} == {}
    reached = {
        line.split()[1].replace(".", "/")
        for text in modules(warehouse).values()
        for line in text.decode().splitlines()
        if line.strip().startswith("from stockcast_assets.")
    }
    there = {name.removesuffix(".py").removesuffix("/__init__") for name in modules(warehouse)}
    assert reached <= there


def test_the_io_managers_ask_for_the_versions_that_the_platform_asks_for() -> None:
    thin = tomllib.loads((WAREHOUSE / "pyproject.toml").read_text())["project"]
    asked = [*thin["dependencies"], *thin["optional-dependencies"]["gcp"]]
    assert set(asked) <= set(PROJECT["dependencies"])
    assert thin["requires-python"] == PROJECT["requires-python"]


@pytest.mark.parametrize("source", [PLATFORM, WAREHOUSE], ids=["platform", "warehouse"])
def test_what_the_index_will_show_is_valid(source: Path) -> None:
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    assert set(project["classifiers"]) <= classifiers
    assert list(project["classifiers"]) == sorted(project["classifiers"])
    assert project["name"] != "stockcast", "another package's name on the index"
    assert str(Version(__version__)) == __version__


def test_the_licence_of_both_is_one() -> None:
    assert (WAREHOUSE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
