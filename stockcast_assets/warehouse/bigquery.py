"""BigQuery as a warehouse: one load into a stage, one MERGE per slice, whatever the number of keys.

A MERGE is atomic, counts against no daily limit, and queues where transactions would cancel each other.
Every request has a deadline; every job has an id made from the run and its data, so that a lost answer is
looked up instead of guessed. `BIGQUERY_EMULATOR_HOST` sends everything to an emulator, without credentials.
"""

import hashlib
import io
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from stockcast_assets.errors import StockcastError
from stockcast_assets.service_account import credentials_of
from stockcast_assets.tables import Column, Table
from stockcast_assets.warehouse import frames, slices
from stockcast_assets.warehouse.base import TableRef, Warehouse
from stockcast_assets.warehouse.io_manager import WarehouseIOManager
from stockcast_assets.warehouse.slices import Slice, Windows

if TYPE_CHECKING:
    from google.cloud import bigquery

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_TYPES: Mapping[str, str] = {type_: type_ for type_ in frames.ARROW}
_STORED: Mapping[str, str] = {
    **_TYPES,
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
}
_TRANSIENT_REASONS = {
    "backendError",
    "internalError",
    "rateLimitExceeded",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "tableUnavailable",
}
_STAGE_PREFIX = "_stockcast_stage_"
_STAGE_LIFETIME = timedelta(hours=6)
_REQUEST_TIMEOUT = 60.0
_DROP_TIMEOUT = 10.0
# Rows that come with the news that a query is done: a small result needs no request of its own.
_FIRST_PAGE_ROWS = 5_000
# What the Storage Read API may take of a read's deadline before the plain API is asked instead.
_STORAGE_API_SHARE = 0.5
# Every DATE there is, for tables that refuse a statement without a bound on their partitions.
_FIRST_DATE = "0001-01-01"
# The client's own retries know neither our deadline nor our job ids; its annotations know no None.
_NO_RETRY: Any = None


class _BigQueryDialect(slices.Dialect):
    types = _TYPES

    def quote(self, name: str) -> str:
        return _quote(name)

    def among(self, expr: str, values: Sequence[Any], type_: str) -> str:
        from google.cloud import bigquery

        name = f"keys_{len(self.parameters)}"
        if len(values) == 1:
            self.parameters.append(bigquery.ScalarQueryParameter(name, type_, values[0]))
            return f"{expr} = @{name}"
        self.parameters.append(bigquery.ArrayQueryParameter(name, type_, list(values)))
        return f"{expr} IN UNNEST(@{name})"


class BigQueryWarehouse(Warehouse):
    """Slices in BigQuery tables, partitioned by month on `date` and clustered by `ticker` if they have them.

    `deadline` bounds each operation in seconds, retries included; `maximum_bytes_billed` bounds each query. With
    `require_partition_filter` new tables refuse, from anyone, a query without a bound on `date`.
    Credentials are Application Default Credentials, or `gcp_credentials`: a service account key in base64.
    """

    kind = "bigquery"
    sql_types = _TYPES

    def __init__(
        self,
        project: str,
        dataset: str = "stockcast",
        location: str | None = None,
        gcp_credentials: str | None = None,
        *,
        deadline: float = 300.0,
        maximum_bytes_billed: int | None = None,
        require_partition_filter: bool = False,
    ) -> None:
        self.project = project
        self.schema = dataset
        self.location = location
        self.gcp_credentials = gcp_credentials
        self.deadline = deadline
        self.maximum_bytes_billed = maximum_bytes_billed
        self.require_partition_filter = require_partition_filter

    def full_name(self, ref: TableRef) -> str:
        return f"{self.project}.{ref}"

    @property
    def place(self) -> str:
        return f"{self.project}.{self.schema}"

    def migration(self, ref: TableRef, column: str, stored: str, declared: Column | None) -> str:
        return _migration(self.full_name(ref), column, stored, declared)

    def stored(self, ref: TableRef) -> Table | None:
        with self._session(f"read table {self.full_name(ref)}") as session:
            table = session.get_table(self.full_name(ref))
            return None if table is None else _stored_table(table, ref)

    def replace(self, ref: TableRef, data: pa.Table, part: Slice, contract: Table, attempt: str | None = None) -> None:
        dialect = _BigQueryDialect()
        condition, parameters = self._condition(part, contract, dialect), dialect.parameters
        name = self.full_name(ref)
        target = _quote(name)
        content = _parquet(data)
        job = _job_name(ref, attempt, condition, parameters, content)
        with self._session(f"write table {name}") as session:
            session.ensure_table(ref, contract, self.location, self.require_partition_filter)
            if data.num_rows == 0:
                session.query(f"DELETE FROM {target} WHERE {condition}", parameters, job)  # noqa: S608
                return
            with session.stage(ref, contract, content, data.num_rows) as stage:
                if not set(part.exprs) <= set(contract.column_names):
                    session.check_inside(stage, part, contract, condition, parameters)
                session.query(_merge(target, stage, condition, contract), parameters, job)

    def select(
        self, ref: TableRef, part: Slice, contract: Table, columns: Sequence[str], order_by: Sequence[str]
    ) -> pa.Table | None:
        return self._ask(_Session.query_arrow, ref, part, contract, columns, order_by)

    def read_cost(self, ref: TableRef, part: Slice, contract: Table, columns: Sequence[str]) -> int | None:
        """Bytes that reading the slice will process, by a dry run; 0 if the table does not exist."""
        return self._ask(_Session.dry_run, ref, part, contract, columns) or 0

    def _ask(
        self,
        how: Callable[["_Session", str, Sequence[Any]], _Answer],
        ref: TableRef,
        part: Slice,
        contract: Table,
        columns: Sequence[str],
        order_by: Sequence[str] = (),
    ) -> _Answer | None:
        """What a session answers to the query for a slice's columns, or None if the table does not exist."""
        from google.api_core.exceptions import BadRequest, NotFound

        dialect = _BigQueryDialect()
        condition = self._condition(part, contract, dialect)
        name = self.full_name(ref)
        with self._session(f"read table {name}") as session:

            def answer(lacking: Collection[str]) -> _Answer:
                query = slices.select(_quote(name), condition, contract, columns, dialect, order_by, lacking)
                return how(session, query, dialect.parameters)

            try:
                return answer(lacking=())
            except (NotFound, BadRequest):
                stored = session.get_table(name)
                if stored is None:
                    return None
                lacking = set(contract.column_names) - {field.name for field in stored.schema}
                if not lacking:
                    raise
                return answer(lacking)

    def _condition(self, part: Slice, contract: Table, dialect: _BigQueryDialect) -> str:
        condition = slices.where(part, contract, dialect)
        bounded = all(any(isinstance(c, Windows) and c.expr == "date" for c in box) for box in part.boxes)
        if self.require_partition_filter and _filters(contract) and not bounded:
            return f"({condition}) AND `date` >= DATE '{_FIRST_DATE}'"
        return condition

    def drop_orphans(self, older_than: timedelta | None = None) -> list[str]:
        """Drop stages that dead runs left behind and return their names; BigQuery expires them as well.

        A stage younger than `older_than` (default: the six hours after which it expires) is left alone: its run may
        be alive.
        """
        age = _STAGE_LIFETIME if older_than is None else older_than
        with self._session(f"sweep dataset {self.schema}") as session:
            return session.drop_stages(f"{self.project}.{self.schema}", datetime.now(UTC) - age)

    def put_view(self, name: str, sql: str, description: str) -> str:
        """Create a view in the dataset, or make the one there is this one; its full name."""
        full_name = self.full_name(TableRef(self.schema, name))
        with self._session(f"create view {full_name}") as session:
            session.put_view(full_name, sql, description)
        return full_name

    @contextmanager
    def _session(self, doing: str) -> Iterator["_Session"]:
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        try:
            with self._client() as client:
                yield _Session(client, self.deadline, self.maximum_bytes_billed)
        except GoogleAuthError as error:
            raise StockcastError(
                f"BigQuery could not {doing} for want of valid Google credentials ({_text(error).rstrip('.')}): run "
                "'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS or "
                "STOCKCAST_GCP_CREDENTIALS to a valid key."
            ) from error
        except (RequestException, RetryError, ConnectionError, TimeoutError) as error:
            raise StockcastError(
                f"BigQuery could not {doing} within {self.deadline:g} s ({_text(error).rstrip('.')}): check the "
                "network and run again, which is safe."
            ) from error
        except GoogleAPICallError as error:
            raise StockcastError(f"BigQuery could not {doing}: {_text(error)} {_advice(error)}") from error

    @contextmanager
    def _client(self) -> Iterator["bigquery.Client"]:
        from google.cloud import bigquery

        options: dict[str, Any] = {}
        emulator = os.environ.get("BIGQUERY_EMULATOR_HOST")
        if emulator:
            from google.auth.credentials import AnonymousCredentials

            endpoint = emulator if "://" in emulator else f"http://{emulator}"
            options = {"credentials": AnonymousCredentials(), "client_options": {"api_endpoint": endpoint}}
        elif self.gcp_credentials:
            # Not by Dagster's resource: it sets an environment variable meanwhile, on which threads fail each other.
            options = {"credentials": credentials_of(self.gcp_credentials)}
        client = bigquery.Client(self.project, location=self.location, **options)
        try:
            yield client
        finally:
            client.close()


class _Session:
    """A client for one operation: its deadline, its retries and its jobs."""

    def __init__(self, client: "bigquery.Client", deadline: float, maximum_bytes_billed: int | None) -> None:
        self._client = client
        self._ends = time.monotonic() + deadline
        self._maximum_bytes_billed = maximum_bytes_billed

    def get_table(self, name: str) -> "bigquery.Table | None":
        from google.api_core.exceptions import NotFound

        try:
            return self._call(self._client.get_table, name)
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
            self._call(self._client.create_table, _new_table(name, contract, filtered), exists_ok=True)
            return
        added = frames.new_columns(_stored_table(stored, ref), contract, name, partial(_migration, name))
        for column in added:
            # Rows already stored have no value for it, so an added column is never REQUIRED.
            described = f" OPTIONS (description = {json.dumps(column.description)})" if column.description else ""
            self.query(
                f"ALTER TABLE {_quote(name)} ADD COLUMN IF NOT EXISTS {_quote(column.name)} {column.type}{described}",
                [],
            )

    def put_view(self, name: str, sql: str, description: str) -> None:
        from google.cloud import bigquery

        view = bigquery.Table(name)
        view.view_query, view.description, view.labels = sql, description, {"app": "stockcast"}
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
        table = bigquery.Table(name, schema=[_field(column) for column in contract.columns])
        table.expires = datetime.now(UTC) + _STAGE_LIFETIME
        table.labels = _labels(ref.name)
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
                        labels=_labels(ref.name),
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
            f"SELECT * FROM {_quote(stage)} WHERE ({condition}) IS NOT TRUE LIMIT 1",  # noqa: S608
            parameters,
        )
        if outside.num_rows:
            raise StockcastError(frames.outside_message(contract.name, part, outside.to_pylist()[0]))

    def query(self, sql: str, parameters: Sequence[Any], job: str | None = None, **result: Any) -> "bigquery.QueryJob":
        """Run one statement, once, under its job name; `result` says how to wait for it."""
        from google.cloud import bigquery

        def begin(job_id: str) -> bigquery.QueryJob:
            config = bigquery.QueryJobConfig(
                query_parameters=list(parameters), labels={"app": "stockcast"}, use_query_cache=False
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

        return self._run(job or f"stockcast-{uuid.uuid4().hex}", begin, **result)

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


class BigQueryWarehouseIOManager(WarehouseIOManager):
    """Stores assets in BigQuery, slice by slice, all or nothing.

    A table's dataset is the asset's metadata `schema`, else `dataset` here, else the asset key's prefix, else
    "public". Datasets and tables are made on first use.
    """

    project: str = Field(description="Google Cloud project.")
    dataset: str | None = Field(default=None, description="Dataset of the tables.")
    location: str | None = Field(default=None, description="Location of jobs and new datasets.")
    gcp_credentials: str | None = Field(default=None, description="Base64-encoded service account key.")
    deadline: float = Field(default=300.0, description="Seconds that one read or write may take.")
    maximum_bytes_billed: int | None = Field(default=None, description="Bytes that one query may bill.")
    require_partition_filter: bool = Field(
        default=False, description="Whether new tables refuse queries without a bound on their partitions."
    )

    def warehouse(self) -> BigQueryWarehouse:
        return BigQueryWarehouse(
            self.project,
            self.dataset or "public",
            self.location,
            self.gcp_credentials,
            deadline=self.deadline,
            maximum_bytes_billed=self.maximum_bytes_billed,
            require_partition_filter=self.require_partition_filter,
        )

    def default_schema(self) -> str | None:
        return self.dataset


def _merge(target: str, stage: str, condition: str, contract: Table) -> str:
    # ON FALSE is what BigQuery documents to prune by the literals of the WHEN clauses. Joined on the primary key, a
    # row may match one outside the slice, so BigQuery would have to read the whole table (docs/warehouse.md).
    columns = ", ".join(map(_quote, contract.column_names))
    return (
        f"MERGE {target} AS target USING {_quote(stage)} AS stage ON FALSE "  # noqa: S608
        f"WHEN NOT MATCHED BY SOURCE AND {condition} THEN DELETE "
        f"WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({columns})"
    )


def _parquet(data: pa.Table) -> bytes:
    buffer = io.BytesIO()
    # Prices hardly repeat: a dictionary of them costs time and makes the file larger.
    pq.write_table(data, buffer, compression="zstd", use_dictionary=False)
    return buffer.getvalue()


def _job_name(ref: TableRef, attempt: str | None, condition: str, parameters: Sequence[Any], content: bytes) -> str:
    # The data is part of the name: a step that resumes with other data must not find its predecessor's job.
    digest = hashlib.sha256(content)
    keys = [parameter.to_api_repr() for parameter in parameters]
    digest.update(repr((attempt or uuid.uuid4().hex, str(ref), condition, keys)).encode())
    return f"stockcast-merge-{re.sub(r'[^A-Za-z0-9_-]', '_', ref.name)[:64]}-{digest.hexdigest()}"


def _filters(contract: Table) -> bool:
    """Whether a table can demand a bound on `date`: a row without a date would be out of every bound."""
    return any(column.name == "date" and column.type == "DATE" and column.required for column in contract.columns)


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
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    with grpc.insecure_channel(address) as channel:
        yield {"bqstorage_client": BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))}


def _new_table(name: str, contract: Table, filtered: bool) -> "bigquery.Table":
    from google.cloud import bigquery

    types = {column.name: column.type for column in contract.columns}
    table = bigquery.Table(name, schema=[_field(column) for column in contract.columns])
    table.description = contract.description or None
    table.labels = {"app": "stockcast"}
    if types.get("date") == "DATE":
        table.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="date")
        table.require_partition_filter = filtered and _filters(contract)
    if types.get("ticker") == "STRING":
        table.clustering_fields = ["ticker"]
    return table


def _field(column: Column) -> "bigquery.SchemaField":
    from google.cloud import bigquery

    mode = "REQUIRED" if column.required else "NULLABLE"
    described: dict[str, Any] = {"description": column.description} if column.description else {}
    return bigquery.SchemaField(column.name, column.type, mode, **described)


def _stored_table(table: "bigquery.Table", ref: TableRef) -> Table:
    columns = []
    for field in table.schema:
        type_ = f"{field.mode} {field.field_type}" if field.mode == "REPEATED" else field.field_type
        columns.append(frames.stored_column(field.name, _STORED.get(type_, type_), required=field.mode == "REQUIRED"))
    return Table(ref.name, "", tuple(columns), ())


def _migration(name: str, column: str, stored: str, declared: Column | None) -> str:
    table, quoted = _quote(name), _quote(column)
    if declared is None:
        return f"ALTER TABLE {table} DROP COLUMN {quoted}"
    if declared.type == stored:
        return f"ALTER TABLE {table} ALTER COLUMN {quoted} DROP NOT NULL"
    if (stored, declared.type) == ("INT64", "FLOAT64"):
        return f"ALTER TABLE {table} ALTER COLUMN {quoted} SET DATA TYPE FLOAT64"
    # BigQuery changes the type of a column only where every value of the old type is one of the new.
    cast = _quote(f"{column}_as_{declared.type.lower()}")
    return "; ".join(
        (
            f"ALTER TABLE {table} ADD COLUMN {cast} {declared.type}",
            f"UPDATE {table} SET {cast} = CAST({quoted} AS {declared.type}) WHERE TRUE",  # noqa: S608
            f"ALTER TABLE {table} DROP COLUMN {quoted}",
            f"ALTER TABLE {table} RENAME COLUMN {cast} TO {quoted}",
        )
    )


def _labels(table: str) -> dict[str, str]:
    return {"app": "stockcast", "table": re.sub(r"[^a-z0-9_-]", "_", table.lower())[:63]}


def _quote(name: str) -> str:
    if re.search(r"[`\\\n]", name):
        raise StockcastError(f"BigQuery cannot have the name {name!r}: leave out backticks and backslashes.")
    return f"`{name}`"


def _is_transient(error: BaseException) -> bool:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import TransportError
    from requests.exceptions import ChunkedEncodingError, SSLError, Timeout
    from requests.exceptions import ConnectionError as RequestsConnectionError

    if isinstance(error, GoogleAPICallError):
        reasons = {item.get("reason") for item in error.errors if isinstance(item, Mapping)}
        if "quotaExceeded" in reasons:
            return False
        serialization = "could not serialize access" in str(error).lower()
        return error.code in (429, 500, 502, 503, 504) or bool(reasons & _TRANSIENT_REASONS) or serialization
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
        return "Read fewer days or columns, or raise maximum_bytes_billed (STOCKCAST_BQ_MAXIMUM_BYTES_BILLED)."
    if error.code in (401, 403):
        return "Give the account the roles BigQuery Data Editor and BigQuery Job User on the project."
    if error.code == 404:
        return "Check the project, the dataset and its location."
    return "Nothing was changed unless BigQuery did it after answering; running again is safe."
