"""Each test that takes `store` runs on DuckDB and on BigQuery (the emulator), in a database of its own."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from stockcast_assets.warehouse import (
    BigQueryWarehouse,
    BigQueryWarehouseIOManager,
    DuckDBWarehouse,
    DuckDBWarehouseIOManager,
    Warehouse,
)
from stockcast_assets.warehouse.io_manager import WarehouseIOManager

_DATASETS = itertools.count()


@dataclass(frozen=True)
class Store:
    """One warehouse, and an IO manager that writes to it."""

    warehouse: Warehouse
    io_manager: WarehouseIOManager


def duckdb_store(folder: Path) -> Store:
    database = str(folder / "warehouse.duckdb")
    return Store(
        DuckDBWarehouse(database, lock_timeout=20),
        DuckDBWarehouseIOManager(database=database, schema="stockcast", lock_timeout=20),
    )


def bigquery_store(deadline: float = 30) -> Store:
    dataset = f"stockcast_{next(_DATASETS)}"
    return Store(
        BigQueryWarehouse("test-project", dataset, deadline=deadline),
        BigQueryWarehouseIOManager(project="test-project", dataset=dataset, deadline=deadline),
    )


@pytest.fixture
def bigquery(bigquery_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_emulator)
    return bigquery_store()


@pytest.fixture(params=["duckdb", "bigquery"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return duckdb_store(tmp_path) if request.param == "duckdb" else request.getfixturevalue("bigquery")
