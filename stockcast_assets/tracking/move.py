"""A home's models, moved from its files to the database and the bucket of a tracking server.

Runs and versions keep their names: tables, forecasts and the ledger refer to them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.tracking.client import Tracking
from stockcast_assets.tracking.rehome import PLACES

FOLDER = "home"
"""Below the server's artifacts, where the files of a home come to lie."""

_SERVED = f"mlflow-artifacts:/{FOLDER}"
_VERSION = "alembic_version"
_ROWS = 1000


def move_models(database: Path, artifacts: Path, target: str, destination: str) -> dict[str, int]:
    """Copy MLflow's records of a home, in one transaction, into a database that has none, and before them its files.

    Args:
        database: the home's file of MLflow.
        artifacts: the home's folder of its files, absolute.
        target: address of the tracking server's own database.
        destination: where that server keeps its files: `gs://bucket/prefix` or a folder.

    Returns:
        The number of rows of each table, and of `files`.

    Raises:
        StockcastError: if there is nothing to move, or models are there already.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from sqlalchemy import MetaData, NullPool, create_engine, func, insert, select, text

    if not database.is_file():
        raise StockcastError(
            f"There is no model of a home in {database}: set STOCKCAST_HOME to the home that has some."
        )
    source = f"sqlite:///{database}"
    for address, root in ((source, artifacts), (target, None)):
        # MLflow makes its tables, and refuses those of another release of its.
        Tracking(address, root).experiment_id("Default")
    old, new = MetaData(), MetaData()
    moved: dict[str, int] = {}
    reader, writer = (create_engine(address, poolclass=NullPool) for address in (source, target))
    with reader.connect() as origin, writer.begin() as there:
        old.reflect(origin)
        new.reflect(there)
        for name in ("runs", "registered_models"):
            if there.scalar(select(func.count()).select_from(new.tables[name])):
                raise StockcastError(
                    "The database of STOCKCAST_MLFLOW_URI holds models already, and two lists of versions cannot be "
                    "one: name an empty database."
                )
        moved["files"] = sum(path.is_file() for path in artifacts.rglob("*"))
        if moved["files"]:
            get_artifact_repository(f"{destination.rstrip('/')}/{FOLDER}").log_artifacts(str(artifacts))
        tables = [table for table in new.sorted_tables if table.name in old.tables and table.name != _VERSION]
        for table in reversed(tables):
            # MLflow's first experiment, which both have.
            there.execute(table.delete())
        for table in tables:
            rows = list(
                _rows(origin.execute(select(old.tables[table.name])).mappings(), table.name, artifacts.as_uri())
            )
            for first in range(0, len(rows), _ROWS):
                there.execute(insert(table), rows[first : first + _ROWS])
            moved[table.name] = len(rows)
            for column in table.primary_key.columns if writer.dialect.name == "postgresql" and rows else ():
                # The next row gets the next number.
                name = there.scalar(
                    text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
                )
                if name is not None:
                    there.execute(select(func.setval(name, select(func.max(column)).scalar_subquery())))
    return moved


def _rows(found: Any, table: str, place: str) -> Iterator[dict[str, Any]]:
    """Rows whose files are where the server has them."""
    columns = [column for name, column in PLACES if name == table]
    for row in map(dict, found):
        for column in columns:
            value = row.get(column)
            if value == place or str(value).startswith(f"{place}/"):
                row[column] = _SERVED + str(value)[len(place) :]
        yield row
