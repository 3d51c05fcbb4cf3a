"""A prefix of a Cloud Storage bucket: opened on first use, with deadlines, and its failures in one sentence.

Google's client is imported when a bucket is used, not before.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.clients import storage_client
from stockcast_assets.google.credentials import ServiceAccountKey

if TYPE_CHECKING:
    from google.cloud import storage
    from google.cloud.storage import Bucket

SCHEME = "gs://"
_TIMEOUT_S = 30.0
"""Deadline of one request to Cloud Storage, and of all attempts at it."""


class CloudStorageError(StockcastError):
    """A bucket cannot be used now."""


class StorageClients(Protocol):
    """What `GCSResource` is here: dagster-gcp's, our subclass of it, or a user's."""

    def get_client(self) -> "storage.Client":
        """A client of Cloud Storage."""


class BucketPlace:
    """A prefix of a bucket.

    Args:
        location: `gs://bucket/prefix`.
        setting: the environment variable that names it, for the sentences.
        project: Google Cloud project to act for; the credentials' own if None.
        credentials: base64-encoded service-account key; Application Default Credentials if None.
        gcs: a `GCSResource` to use instead of these two, ours or dagster-gcp's.

    Raises:
        StockcastError: if the location names no bucket.
    """

    def __init__(
        self,
        location: str,
        setting: str,
        project: str | None = None,
        credentials: str | None = None,
        gcs: "StorageClients | None" = None,
    ) -> None:
        self.location = location
        self.setting = setting
        name, _, prefix = location.removeprefix(SCHEME).partition("/")
        if not name:
            raise StockcastError(f"{location!r} names no bucket: write {setting} as gs://bucket/prefix.")
        self.name = name
        self.prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        self._project = project
        self._credentials = ServiceAccountKey(credentials, "STOCKCAST_GCP_CREDENTIALS") if credentials else None
        self._gcs = gcs
        self._opened: Bucket | None = None

    def bucket(self) -> "Bucket":
        """The bucket; no request is made yet."""
        if self._opened is None:
            given = self._gcs
            client = given.get_client() if given else storage_client(self._project, self._credentials)
            self._opened = client.bucket(self.name)
        return self._opened

    @contextlib.contextmanager
    def explained(self, kind: type[StockcastError] = CloudStorageError) -> Iterator[None]:
        """Turn what Google's client raises into one sentence of `kind`."""
        from google.api_core.exceptions import GoogleAPIError, NotFound
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except NotFound as error:
            raise kind(
                f"There is no bucket {self.name!r}: create it or correct {self.setting}={self.location}."
            ) from error
        except GoogleAuthError as error:
            raise kind(
                f"There are no credentials for {self.location}: run `gcloud auth application-default login` "
                "or set STOCKCAST_GCP_CREDENTIALS."
            ) from error
        except (GoogleAPIError, OSError) as error:
            raise kind(
                f"{self.location} cannot be used ({type(error).__name__}: {_first_line(error)}): check "
                f"{self.setting} and what the credentials may do there."
            ) from error


def patience() -> dict[str, Any]:
    """Keyword arguments of every request: its deadline, and that of its repetitions."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return {"timeout": _TIMEOUT_S, "retry": DEFAULT_RETRY.with_timeout(_TIMEOUT_S)}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
