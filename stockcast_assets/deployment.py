"""The classes that deploy/dagster.yaml names; they live in `dagster_private`."""

from typing import Any

from stockcast_assets.dagster_private.compute_logs import RunLogs
from stockcast_assets.errors import StockcastError

__all__ = ["PostgresStorage", "RunLogs"]  # noqa: F822  the first by __getattr__


def __getattr__(name: str) -> Any:
    # When it is asked for: who keeps only what runs print elsewhere needs no package of PostgreSQL.
    if name != "PostgresStorage":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    try:
        from stockcast_assets.dagster_private.postgres_storage import PostgresStorage
    except ModuleNotFoundError as error:
        raise StockcastError(
            "This dagster.yaml keeps Dagster's storage in PostgreSQL, whose packages are not installed: "
            "`pip install 'stockcast-assets[deploy]'`."
        ) from error
    return PostgresStorage
