"""dagster-gcp's resources made fit: closed to run configuration, credentials as an object, clients that are closed.

dagster-gcp puts a key into a temporary file and an environment variable of the whole process, on which threads fail
each other, refuses it beside GOOGLE_APPLICATION_CREDENTIALS, closes no client, and knows no emulator. Importing this
module imports Google's packages: only what names BigQuery or a bucket does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster_gcp
from dagster import InitResourceContext, ResourceDependency
from pydantic import Field, PrivateAttr

from stockcast_assets.dagster_private.fixed import FixedConfiguration
from stockcast_assets.google.clients import bigquery_client, storage_client

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


class BigQueryResource(FixedConfiguration, dagster_gcp.BigQueryResource):
    """BigQuery, as dagster-gcp's resource of the same name, which it may replace anywhere.

    `credentials` are a google-auth object or a `ServiceAccountKey`; Application Default Credentials if None.
    """

    gcp_credentials: str | None = Field(default=None, repr=False, description="Base64-encoded service account key.")
    endpoint: str | None = Field(default=None, description="Address of an emulator.")
    credentials: ResourceDependency[Any] = None  # type: ignore[assignment]

    @contextmanager
    def get_client(self) -> Iterator["bigquery.Client"]:
        """A client, closed at the end."""
        with bigquery_client(
            self.project, self.location, self.credentials or self.gcp_credentials, self.endpoint
        ) as client:
            yield client


class GCSResource(FixedConfiguration, dagster_gcp.GCSResource):
    """Cloud Storage, as dagster-gcp's resource of the same name, which it may replace anywhere.

    `credentials` are a google-auth object or a `ServiceAccountKey`; Application Default Credentials if None. The client
    is one, made on first use; it is closed at the end of the run that it was made in.
    """

    endpoint: str | None = Field(default=None, description="Address of an emulator.")
    credentials: ResourceDependency[Any] = None  # type: ignore[assignment]
    _client: Any = PrivateAttr(default=None)

    def get_client(self) -> "storage.Client":
        """The client; no request is made yet."""
        if self._client is None:
            self._client = storage_client(self.project, self.credentials, self.endpoint)
        return self._client

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Closes the client."""
        if self._client is not None:
            self._client.close()
            self._client = None
