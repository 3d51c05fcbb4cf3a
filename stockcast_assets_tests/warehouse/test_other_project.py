"""The IO managers in someone else's project: a wheel in an empty environment, and the example of docs/warehouse.md."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from stockcast_assets.warehouse import DuckDBWarehouse, TableRef
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.conftest import clean_env
from stockcast_assets_tests.warehouse.conftest import Store

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "packaging" / "warehouse"
DOCUMENT = (ROOT / "docs" / "warehouse.md").read_text("utf-8")
DAY = "2024-01-05"
NOT_FOR_THEM = {"tensorflow-cpu", "keras", "mlflow", "dagster-mlflow", "evidently", "streamlit", "optuna", "yfinance"}


@dataclass(frozen=True)
class Project:
    """An environment with nothing in it but what was installed."""

    environment: Path
    wheel: Path

    @property
    def python(self) -> str:
        return str(self.environment / "bin" / "python")

    def install(self, extras: str = "") -> None:
        """Install the wheel, in the versions of the lock file, and see that no package is missing."""
        uv = [sys.executable, "-m", "uv", "pip"]
        locked = ["--constraint", str(ROOT / "requirements.lock")]
        wanted = f"stockcast-warehouse{extras} @ {self.wheel.as_uri()}"
        run([*uv, "install", "--quiet", "--python", self.python, *locked, wanted])
        run([*uv, "check", "--python", self.python])

    def packages(self) -> set[str]:
        listed = run([sys.executable, "-m", "uv", "pip", "list", "--format", "json", "--python", self.python])
        return {package["name"] for package in json.loads(listed)}

    def materialise(self, folder: Path, code: str) -> None:
        """Write the day twice, in a process of this environment."""
        (folder / "project.py").write_text(code)
        twice = "materialize(defs.assets, resources=defs.resources, partition_key=day)"
        run(
            [
                self.python,
                "-c",
                f"from dagster import materialize; from project import defs; day = {DAY!r}; {twice}; {twice}",
            ],
            folder,
        )


def run(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, env=clean_env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The wheel of the IO managers built from this checkout."""
    folder = tmp_path_factory.mktemp("other")
    run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT / "packaging" / "warehouse"
    )
    (wheel,) = folder.glob("*.whl")
    run([sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(folder / "venv")])
    project = Project(folder / "venv", wheel)
    project.install()
    return project


def example() -> str:
    found = re.search(r"```python\n(.+?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_io_managers_come_without_what_they_do_not_need(installed: Project) -> None:
    assert "`pip install stockcast-warehouse`" in DOCUMENT
    there = installed.packages()
    assert {"stockcast-warehouse", "dagster", "duckdb"} <= there
    assert not there & NOT_FOR_THEM


def test_the_example_runs_on_duckdb(installed: Project, tmp_path: Path) -> None:
    installed.materialise(tmp_path, example())
    warehouse, ref = DuckDBWarehouse(str(tmp_path / "visits.duckdb"), "web"), TableRef("web", "visits")
    contract = warehouse.contract(ref)
    assert contract is not None
    assert warehouse.load(ref, Slice.whole(), contract).astype(str).values.tolist() == [[DAY, "42"]]


def test_what_is_not_installed_is_one_sentence_with_the_remedy(installed: Project, tmp_path: Path) -> None:
    """The other warehouse, and the command line of the whole platform where its packages are missing."""
    stored = "from stockcast_assets.warehouse import BigQueryWarehouse, TableRef\n"
    stored += "BigQueryWarehouse('p').stored(TableRef('d', 't'))"
    status = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from stockcast_assets.cli import main; main()"
    for remedy, code in (("'stockcast-warehouse[gcp]'", stored), ("stockcast-assets", status)):
        command = [installed.python, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=clean_env(), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1].endswith(f"pip install {remedy}.")


def test_the_example_runs_on_bigquery(installed: Project, bigquery: Store, tmp_path: Path) -> None:
    installed.install("[gcp]")
    code = example().replace("DuckDBWarehouseIOManager", "BigQueryWarehouseIOManager")
    manager = re.search(r"`(BigQueryWarehouseIOManager\(.+?\))`", DOCUMENT)
    assert manager is not None
    ours = (
        manager[1].replace('project="…"', 'project="test-project"').replace('"web"', f'"{bigquery.warehouse.schema}"')
    )
    installed.materialise(tmp_path, re.sub(r"BigQueryWarehouseIOManager\(.+?\)", ours, code))
    ref = TableRef(bigquery.warehouse.schema, "visits")
    contract = bigquery.warehouse.contract(ref)
    assert contract is not None
    assert bigquery.warehouse.load(ref, Slice.whole(), contract).astype(str).values.tolist() == [[DAY, "42"]]
    assert not installed.packages() & NOT_FOR_THEM


def test_every_module_that_is_installed_has_what_it_imports(installed: Project, tmp_path: Path) -> None:
    """Without the modules of the platform that the wheel leaves out."""
    installed.install("[gcp]")
    walk = (
        "import importlib, pkgutil, stockcast_assets as package\n"
        "names = [each.name for each in pkgutil.walk_packages(package.__path__, package.__name__ + '.')]\n"
        "print(*[name for name in names if importlib.import_module(name)])"
    )
    found = run([installed.python, "-c", walk], tmp_path).split()
    assert {"stockcast_assets.warehouse.bigquery.io_manager", "stockcast_assets.google.resources"} <= set(found)
