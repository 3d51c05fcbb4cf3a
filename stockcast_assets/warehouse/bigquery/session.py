"""One operation on BigQuery: its deadline, its retries, its jobs, and its errors as one sentence."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.clients import not_installed
from stockcast_assets.libraries import pa
from stockcast_assets.schema import Table
from stockcast_assets.warehouse import evolution, frames
from stockcast_assets.warehouse.base import TableRef
from stockcast_assets.warehouse.bigquery.schema import field, migration, new_table, quote, stored_table, table_label
from stockcast_assets.warehouse.slices import Slice

if TYPE_CHECKING:
    from google.cloud import bigquery

_log = logging.getLogger(__name__)

STAGE_LIFETIME = timedelta(hours=6)
_STAGE_PREFIX = "_stockcast_stage_"
_TRANSIENT_REASONS = {
    "backendError",
    "internalError",
    "rateLimitExceeded",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "tableUnavailable",
}
# What statements, and transactions, say that gave way to another one.
_CANCELLED = ("could not serialize access", "aborted due to concurrent update")
_REQUEST_TIMEOUT = 60.0
_DROP_TIMEOUT = 10.0
# Rows that come with the news that a query is done: a small result needs no request of its own.
_FIRST_PAGE_ROWS = 5_000
# What the Storage Read API may take of a read's deadline before the plain API is asked instead.
_STORAGE_API_SHARE = 0.5
# The client's own retries know neither our deadline nor our job ids; its annotations know no None.
_NO_RETRY: Any = None


@contextmanager
def explained(doing: str, deadline: float) -> Iterator[None]:
    """Turn what Google's client raises into one StockcastError that says what could not be done, and why."""
    try:
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException
    except ModuleNotFoundError as error:
        raise not_installed("BigQuery") from error

    try:
        yield
    except GoogleAuthError as error:
        raise StockcastError(
            f"BigQuery could not {doing} for want of valid Google credentials ({_text(error).rstrip('.')}): run "
            "'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS to "
            "the file of a valid key, or give one as 'gcp_credentials'."
        ) from error
    except (RequestException, RetryError, ConnectionError, TimeoutError) as error:
        raise StockcastError(
            f"BigQuery could not {doing} within {deadline:g} s ({_text(error).rstrip('.')}): check the "
            "network and run again, which is safe."
        ) from error
    except GoogleAPICallError as error:
        raise StockcastError(f"BigQuery could not {doing}: {_text(error)} {_advice(error)}") from error


class Session:
    """A client for one operation: its deadline, its retries and its jobs."""

    def __init__(
        self,
        client: bigquery.Client,
        deadline: float,
        maximum_bytes_billed: int | None,
        labels: Mapping[str, str],
    ) -> None:
        self._client = client
        self._ends = time.monotonic() + deadline
        self._maximum_bytes_billed = maximum_bytes_billed
        self._labels = dict(labels)

    def get_table(self, name: str) -> bigquery.Table | None:
        """The table, or None if there is none."""
        from google.api_core.exceptions import NotFound

        try:
            found: bigquery.Table | None = self._call(self._client.get_table, name)
            return found
        except NotFound:
            return None

    def ensure_table(self, ref: TableRef, contract: Table, location: str | None, filtered: bool) -> None:
        """Make the dataset and table, or add the columns that are new in the contract."""
        from google.cloud import bigquery

        name = f"{self._client.project}.{ref}"
        stored = self.get_table(name)
        if stored is None:
            dataset = bigquery.Dataset(f"{self._client.project}.{ref.schema}")
            if location:
                dataset.location = location
            self._call(self._client.create_dataset, dataset, exists_ok=True)
            self._call(self._client.create_table, new_table(name, contract, filtered, self._labels), exists_ok=True)
            return
        added = evolution.new_columns(stored_table(stored, ref), contract, name, partial(migration, name))
        for column in added:
            # Rows already stored have no value for it, so an added column is never REQUIRED.
            described = f" OPTIONS (description = {json.dumps(column.description)})" if column.description else ""
            self.query(
                f"ALTER TABLE {quote(name)} ADD COLUMN IF NOT EXISTS {quote(column.name)} {column.type}{described}",
                [],
            )

    def put_view(self, name: str, sql: str, description: str) -> None:
        """Make a view, or make the one there is this one."""
        from google.cloud import bigquery

        view = bigquery.Table(name)
        view.view_query, view.description, view.labels = sql, description, self._labels
        if self.get_table(name) is None:
            self._call(self._client.create_table, view, exists_ok=True)
        else:
            self._call(self._client.update_table, view, ["view_query", "description", "labels"])

    @contextmanager
    def stage(self, ref: TableRef, contract: Table, content: bytes, rows: int) -> Iterator[str]:
        """A table of its own that holds the new rows, dropped at the end; it expires if this process dies."""
        from google.api_core.exceptions import GoogleAPICallError
        from google.cloud import bigquery
        from requests.exceptions import RequestException

        short = f"{_STAGE_PREFIX}{ref.name[:64]}_{uuid.uuid4().hex}"
        name = f"{self._client.project}.{ref.schema}.{short}"
        table = bigquery.Table(name, schema=[field(column) for column in contract.columns])
        table.expires = datetime.now(UTC) + STAGE_LIFETIME
        table.labels = self._labels | table_label(ref.name)
        self._call(self._client.create_table, table, exists_ok=True)
        try:
            loaded = self._run(
                f"stockcast-load-{short}",
                lambda job_id: self._client.load_table_from_file(
                    io.BytesIO(content),
                    name,
                    size=len(content),
                    num_retries=0,
                    job_id=job_id,
                    job_config=bigquery.LoadJobConfig(
                        source_format="PARQUET",
                        write_disposition="WRITE_TRUNCATE",
                        schema=table.schema,
                        labels=self._labels | table_label(ref.name),
                    ),
                    timeout=self._timeout(),
                ),
            )
            if loaded.output_rows not in (None, rows):
                raise StockcastError(
                    f"BigQuery loaded {loaded.output_rows} of {rows} rows for table {ref}: run again, "
                    "nothing was changed."
                )
            yield name
        finally:
            with suppress(GoogleAPICallError, RequestException, ConnectionError, TimeoutError):
                self._client.delete_table(name, not_found_ok=True, retry=_NO_RETRY, timeout=_DROP_TIMEOUT)

    def check_inside(self, stage: str, part: Slice, contract: Table, condition: str, parameters: Sequence[Any]) -> None:
        """Rows against a `partition_expr` that is SQL: only BigQuery can tell where they belong."""
        outside = self.query_arrow(
            f"SELECT * FROM {quote(stage)} WHERE ({condition}) IS NOT TRUE LIMIT 1",  # noqa: S608
            parameters,
        )
        if outside.num_rows:
            raise StockcastError(frames.outside_message(contract.name, part, outside.to_pylist()[0]))

    def query(self, sql: str, parameters: Sequence[Any], job: str | None = None, **result: Any) -> bigquery.QueryJob:
        """Run one statement, once, under its job name; `result` says how to wait for it."""
        from google.cloud import bigquery

        def begin(job_id: str) -> bigquery.QueryJob:
            config = bigquery.QueryJobConfig(
                query_parameters=list(parameters), labels=self._labels, use_query_cache=False
            )
            if self._maximum_bytes_billed is not None:
                config.maximum_bytes_billed = self._maximum_bytes_billed
            # So that a job nobody waits for any more cannot overwrite what a later run writes.
            config.job_timeout_ms = int(1000 * self._left())
            return self._client.query(
                sql,
                job_config=config,
                job_id=job_id,
                job_retry=None,
                retry=_NO_RETRY,
                timeout=self._timeout(),
            )

        found: bigquery.QueryJob = self._run(job or f"stockcast-{uuid.uuid4().hex}", begin, **result)
        return found

    def query_arrow(self, sql: str, parameters: Sequence[Any]) -> pa.Table:
        """The rows of a query: by the Storage Read API if it is there and within reach, else page by page."""
        from google.api_core.exceptions import GoogleAPICallError, RetryError

        job = self.query(sql, parameters, page_size=_FIRST_PAGE_ROWS)
        _log.info("%s processed %s bytes", sql, job.total_bytes_processed)
        rows = job.result(retry=_NO_RETRY, timeout=self._left())
        with _storage() as options:
            try:
                return rows.to_arrow(timeout=_STORAGE_API_SHARE * self._left(), **options)
            except (GoogleAPICallError, RetryError, TimeoutError) as error:
                _log.warning("The Storage Read API is out of reach (%s); reading page by page.", _text(error))
        return job.result(retry=_NO_RETRY, timeout=self._left()).to_arrow(create_bqstorage_client=False)

    def dry_run(self, sql: str, parameters: Sequence[Any]) -> int:
        """Bytes that a query would process."""
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(query_parameters=list(parameters), dry_run=True, use_query_cache=False)
        job = self._call(self._client.query, sql, job_config=config, job_retry=None)
        return int(job.total_bytes_processed or 0)

    def drop_stages(self, dataset: str, created_before: datetime) -> list[str]:
        """Drop the stages made before a moment and return their names."""
        dropped = []
        for item in list(self._call(self._client.list_tables, dataset)):
            if not item.table_id.startswith(_STAGE_PREFIX):
                continue
            table = self.get_table(f"{dataset}.{item.table_id}")
            if table is not None and table.created < created_before:
                self._call(self._client.delete_table, table, not_found_ok=True)
                dropped.append(item.table_id)
        return dropped

    def _run(self, name: str, begin: Callable[[str], Any], **result: Any) -> Any:
        """Begin a job and wait for it, with these arguments of its `result`.

        A request whose answer was lost is repeated under the same id: BigQuery then says 409, and the job it
        already has is looked up. A job that failed for a passing reason is begun again under the next id.
        """
        from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound, ServiceUnavailable

        failed = 0

        def once() -> Any:
            nonlocal failed
            job_id = f"{name}-{failed}"
            try:
                job = begin(job_id)
            except Conflict:
                try:
                    job = self._client.get_job(job_id, retry=_NO_RETRY, timeout=self._timeout())
                except NotFound as error:
                    raise ServiceUnavailable(f"job {job_id} is said to exist but is not found") from error
            try:
                job.result(retry=_NO_RETRY, timeout=self._left(), **result)
            except GoogleAPICallError:
                failed += job.error_result is not None
                raise
            return job

        return self._retrying()(once)

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._retrying()(lambda: function(*args, retry=_NO_RETRY, timeout=self._timeout(), **kwargs))

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_after_delay(self._left()),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            reraise=True,
        )

    def _left(self) -> float:
        return max(0.1, self._ends - time.monotonic())

    def _timeout(self) -> float:
        return min(_REQUEST_TIMEOUT, self._left())


@contextmanager
def _storage() -> Iterator[dict[str, Any]]:
    """How rows are to be downloaded: the client makes one of the Storage Read API itself, for results that are large
    enough, but knows nothing of an emulator's."""
    if not os.environ.get("BIGQUERY_EMULATOR_HOST"):
        yield {}
        return
    address = os.environ.get("BIGQUERY_STORAGE_EMULATOR_HOST")
    if not address:
        yield {"create_bqstorage_client": False}
        return
    import grpc
    from google.cloud.bigquery_storage import BigQueryReadClient

    transport = BigQueryReadClient.get_transport_class("grpc")
    with grpc.insecure_channel(address) as channel:
        yield {"bqstorage_client": BigQueryReadClient(transport=transport(channel=channel))}


def _is_transient(error: BaseException) -> bool:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import TransportError
    from requests.exceptions import ChunkedEncodingError, SSLError, Timeout
    from requests.exceptions import ConnectionError as RequestsConnectionError

    if isinstance(error, GoogleAPICallError):
        reasons = {item.get("reason") for item in error.errors if isinstance(item, Mapping)}
        if "quotaExceeded" in reasons:
            return False
        cancelled = any(words in str(error).lower() for words in _CANCELLED)
        return error.code in (429, 500, 502, 503, 504) or bool(reasons & _TRANSIENT_REASONS) or cancelled
    if isinstance(error, SSLError):
        return False
    passing = (RequestsConnectionError, ChunkedEncodingError, Timeout, TransportError, ConnectionError)
    return isinstance(error, passing)


def _text(error: BaseException) -> str:
    # An error of google-auth is a sentence and the answer it is about.
    said = getattr(error, "message", None) or next((part for part in error.args if isinstance(part, str)), error)
    text = str(said).strip().splitlines()
    line = re.sub(r"^[A-Z]+ https?://\S+: ", "", text[0]) if text else type(error).__name__
    line = line if len(line) <= 300 else line[:300] + "…"
    return line if line.endswith((".", "!", "…")) else f"{line}."


def _advice(error: Any) -> str:
    reasons = {item.get("reason") for item in error.errors if isinstance(item, Mapping)}
    if "quotaExceeded" in reasons:
        return "The project's quota is used up: wait for it to refill or ask for more, then run again."
    if "bytesBilledLimitExceeded" in reasons:
        return "Read fewer days or columns, or raise maximum_bytes_billed."
    if error.code in (401, 403):
        return "Give the account the roles BigQuery Data Editor and BigQuery Job User on the project."
    if error.code == 404:
        return "Check the project, the dataset and its location."
    return "Nothing was changed unless BigQuery did it after answering; running again is safe."
