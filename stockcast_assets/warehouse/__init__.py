"""The warehouse: tables written slice by slice, all or nothing, in DuckDB or BigQuery.

The IO managers work in any Dagster project; see docs/warehouse.md.
"""

from stockcast_assets.warehouse.base import TableRef, Warehouse
from stockcast_assets.warehouse.bigquery.io_manager import BigQueryWarehouseIOManager
from stockcast_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from stockcast_assets.warehouse.duckdb import DuckDBWarehouse, DuckDBWarehouseIOManager
from stockcast_assets.warehouse.frames import KeyedFrame
from stockcast_assets.warehouse.table_metadata import asset_metadata

__all__ = [
    "BigQueryWarehouse",
    "BigQueryWarehouseIOManager",
    "DuckDBWarehouse",
    "DuckDBWarehouseIOManager",
    "KeyedFrame",
    "TableRef",
    "Warehouse",
    "asset_metadata",
]
