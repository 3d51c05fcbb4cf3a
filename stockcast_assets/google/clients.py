"""Google's clients, each made here and nowhere else: from credentials as an object, or for an emulator.

Google's packages are imported when a client is made, not before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.credentials import ServiceAccountKey, opened

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud import bigquery, storage


@contextmanager
def bigquery_client(
    project: str | None = None,
    location: str | None = None,
    credentials: "Credentials | ServiceAccountKey | str | None" = None,
    endpoint: str | None = None,
) -> Iterator["bigquery.Client"]:
    """A BigQuery client, closed at the end.

    Args:
        project: Google Cloud project; that of the credentials if None.
        location: of jobs and new datasets.
        credentials: Application Default Credentials if None.
        endpoint: address of an emulator, which takes no credentials; BIGQUERY_EMULATOR_HOST names one, too.

    Raises:
        StockcastError: if a key is none.
    """
    try:
        from google.cloud import bigquery
    except ModuleNotFoundError as error:
        raise not_installed("BigQuery") from error

    emulator = endpoint or os.environ.get("BIGQUERY_EMULATOR_HOST")
    client = bigquery.Client(project, location=location, **_options(emulator, credentials))
    try:
        yield client
    finally:
        client.close()


def storage_client(
    project: str | None = None,
    credentials: "Credentials | ServiceAccountKey | str | None" = None,
    endpoint: str | None = None,
) -> "storage.Client":
    """A Cloud Storage client, for the caller to close; STORAGE_EMULATOR_HOST names an emulator, too.

    Raises:
        StockcastError: if a key is none.
    """
    try:
        from google.cloud import storage
    except ModuleNotFoundError as error:
        raise not_installed("Cloud Storage") from error

    named = {"project": project} if project else {}
    return storage.Client(**named, **_options(endpoint, credentials))


def not_installed(what: str) -> StockcastError:
    """The error of what needs a package of Google's that is not there."""
    remedy = "pip install 'stockcast-warehouse[gcp]'"
    return StockcastError(f"{what} needs Google's client, which is not installed: {remedy}.")


def _options(emulator: str | None, credentials: "Credentials | ServiceAccountKey | str | None") -> dict[str, Any]:
    if emulator:
        from google.auth.credentials import AnonymousCredentials

        endpoint = emulator if "://" in emulator else f"http://{emulator}"
        return {"credentials": AnonymousCredentials(), "client_options": {"api_endpoint": endpoint}}
    found = opened(credentials)
    return {"credentials": found} if found is not None else {}
