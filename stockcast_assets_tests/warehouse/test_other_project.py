"""The IO managers in someone else's project: the example of docs/warehouse.md, and the parts that it says it needs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from stockcast_assets.warehouse import DuckDBWarehouse, TableRef
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.conftest import clean_env
from stockcast_assets_tests.warehouse.conftest import Store

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "warehouse.md").read_text("utf-8")
DAY = "2024-01-05"


def project(folder: Path) -> str:
    """The example, and beside it in `folder` the parts of the package that the document names."""
    (folder / "stockcast_assets").mkdir()
    sentence = re.search(r"They need (.+?) of this package", DOCUMENT, re.DOTALL)
    assert sentence is not None
    for part in ["__init__.py", *re.findall(r"`(.+?)`", sentence[1])]:
        place = ROOT / "stockcast_assets" / part
        copy = shutil.copytree if place.is_dir() else shutil.copy
        copy(place, folder / "stockcast_assets" / part)
    example = re.search(r"```python\n(.+?)```", DOCUMENT, re.DOTALL)
    assert example is not None
    return example[1]


def materialise(folder: Path, code: str) -> None:
    """Write the day twice, in a process that knows the copied parts only."""
    (folder / "project.py").write_text(code)
    run = "materialize(defs.assets, resources=defs.resources, partition_key=day)"
    script = f"from dagster import materialize; from project import defs; day = {DAY!r}; {run}; {run}"
    env = clean_env() | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_example_runs_on_duckdb(tmp_path: Path) -> None:
    materialise(tmp_path, project(tmp_path))
    warehouse, ref = DuckDBWarehouse(str(tmp_path / "visits.duckdb"), "web"), TableRef("web", "visits")
    contract = warehouse.contract(ref)
    assert contract is not None
    assert warehouse.load(ref, Slice.whole(), contract).astype(str).values.tolist() == [[DAY, "42"]]


def test_the_example_runs_on_bigquery(bigquery: Store, tmp_path: Path) -> None:
    code = project(tmp_path).replace("DuckDBWarehouseIOManager", "BigQueryWarehouseIOManager")
    manager = re.search(r"`(BigQueryWarehouseIOManager\(.+?\))`", DOCUMENT)
    assert manager is not None
    ours = (
        manager[1].replace('project="…"', 'project="test-project"').replace('"web"', f'"{bigquery.warehouse.schema}"')
    )
    materialise(tmp_path, re.sub(r"BigQueryWarehouseIOManager\(.+?\)", ours, code))
    ref = TableRef(bigquery.warehouse.schema, "visits")
    contract = bigquery.warehouse.contract(ref)
    assert contract is not None
    assert bigquery.warehouse.load(ref, Slice.whole(), contract).astype(str).values.tolist() == [[DAY, "42"]]
