"""The BigQuery views that Looker Studio reads: `deploy/looker/*.sql`, one view per file, `looker_` before its name."""

import re
from dataclasses import dataclass
from pathlib import Path

from stockcast_assets.errors import StockcastError
from stockcast_assets.warehouse import TableRef, Warehouse
from stockcast_assets.warehouse.bigquery.warehouse import BigQueryWarehouse

PREFIX = "looker_"
_TABLE = re.compile(r"`\{dataset\}\.(\w+)`")


@dataclass(frozen=True)
class View:
    """A view: its name, what it shows, its query with `{dataset}` for project and dataset, the tables it reads."""

    name: str
    description: str
    sql: str
    tables: tuple[str, ...]


def _folder() -> Path:
    """Beside the package in a wheel's install, at the top in a checkout."""
    packaged = Path(__file__).parent.parent / "looker"
    return packaged if packaged.exists() else Path(__file__).parents[2] / "deploy" / "looker"


def declared_views() -> list[View]:
    """The views by name. The first line of a file is a comment: the view's description."""
    views = []
    for file in sorted(_folder().glob("*.sql")):
        first, _, sql = file.read_text("utf-8").partition("\n")
        tables = tuple(sorted(set(_TABLE.findall(sql))))
        views.append(View(PREFIX + file.stem, first.removeprefix("--").strip(), sql.strip(), tables))
    return views


def create_views(warehouse: Warehouse) -> list[str]:
    """Create the views, or make those there are what they are declared to be. Doing it again changes nothing.

    Returns:
        Their names, project and dataset included.

    Raises:
        StockcastError: the warehouse is not BigQuery, a table that a view reads does not exist yet (then no view is
            made), or BigQuery fails.
    """
    if not isinstance(warehouse, BigQueryWarehouse):
        raise StockcastError(
            "Looker Studio reads BigQuery, and these tables are in DuckDB: copy them there and use that warehouse."
        )
    views = declared_views()
    for table in sorted({table for view in views for table in view.tables}):
        if warehouse.stored(TableRef(warehouse.schema, table)) is None:
            raise StockcastError(
                f"Table {warehouse.place}.{table} does not exist yet, and no view was made: materialise {table} once."
            )
    return [warehouse.put_view(view.name, view.sql.format(dataset=warehouse.place), view.description) for view in views]
