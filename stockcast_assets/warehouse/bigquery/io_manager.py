"""The IO manager of BigQuery. Its annotations are not postponed: Dagster reads the one of a nested resource."""

from typing import Any

from dagster import ResourceDependency
from pydantic import Field

from stockcast_assets.errors import StockcastError
from stockcast_assets.warehouse.bigquery.warehouse import LABELS, BigQueryWarehouse
from stockcast_assets.warehouse.io_manager import WarehouseIOManager


class BigQueryWarehouseIOManager(WarehouseIOManager):
    """Stores assets in BigQuery, slice by slice, all or nothing.

    A table's dataset is the asset's metadata `schema`, else `dataset` here, else the asset key's prefix, else
    "public". Datasets and tables are made on first use. `bigquery` may be a `BigQueryResource`, ours or dagster-gcp's,
    whose clients are used then.
    """

    project: str | None = Field(default=None, description="Google Cloud project; that of `bigquery` if left out.")
    dataset: str | None = Field(default=None, description="Dataset of the tables.")
    location: str | None = Field(default=None, description="Location of jobs and new datasets.")
    gcp_credentials: str | None = Field(default=None, repr=False, description="Base64-encoded service account key.")
    deadline: float = Field(default=300.0, description="Seconds that one read or write may take.")
    maximum_bytes_billed: int | None = Field(default=None, description="Bytes that one query may bill.")
    require_partition_filter: bool = Field(
        default=False, description="Whether new tables refuse queries without a bound on their partitions."
    )
    labels: dict[str, str] = Field(default=dict(LABELS), description="Labels of every job, table and view.")
    bigquery: ResourceDependency[Any] = None  # type: ignore[assignment]

    def warehouse(self) -> BigQueryWarehouse:
        project = self.project or getattr(self.bigquery, "project", None)
        if not project:
            raise StockcastError(
                "The BigQuery IO manager has no project: give it 'project', or a BigQueryResource with one."
            )
        return BigQueryWarehouse(
            project,
            self.dataset or "public",
            self.location or getattr(self.bigquery, "location", None),
            self.gcp_credentials,
            deadline=self.deadline,
            maximum_bytes_billed=self.maximum_bytes_billed,
            require_partition_filter=self.require_partition_filter,
            labels=self.labels,
            clients=None if self.bigquery is None else self.bigquery.get_client,
        )

    def default_schema(self) -> str | None:
        return self.dataset
