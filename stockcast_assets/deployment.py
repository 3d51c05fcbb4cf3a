"""The classes that the `dagster.yaml` files of deploy/ name; they live in `dagster_private`."""

from importlib import import_module
from typing import Any

from stockcast_assets.dagster_private.compute_logs import RunLogs
from stockcast_assets.errors import StockcastError

__all__ = ["CeleryLauncher", "PostgresStorage", "RunLogs"]  # noqa: F822  two of them by __getattr__

_PLACES = {
    "PostgresStorage": ("postgres_storage", "PostgresStorage", "keeps Dagster's storage in PostgreSQL"),
    "CeleryLauncher": ("celery_launcher", "WatchingCeleryRunLauncher", "launches runs on Celery"),
}


def __getattr__(name: str) -> Any:
    # When it is asked for: who keeps only what runs print elsewhere needs no package of PostgreSQL or Celery.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module, kind, what = _PLACES[name]
    try:
        return getattr(import_module(f"stockcast_assets.dagster_private.{module}"), kind)
    except ModuleNotFoundError as error:
        raise StockcastError(
            f"This dagster.yaml {what}, whose packages are not installed: `pip install 'stockcast-assets[deploy]'`."
        ) from error
