"""BigQuery as a warehouse: one load into a stage, one MERGE per slice, whatever the number of keys.

A MERGE is atomic, counts against no daily limit, and queues where transactions would cancel each other. Only where
rows of another table must come with a slice, or not at all, is it part of a transaction.
Its job's id is made from the run and its data, so that a lost answer is looked up instead of guessed.
`BIGQUERY_EMULATOR_HOST` sends everything to an emulator, without credentials.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from stockcast_assets.google.clients import bigquery_client
from stockcast_assets.google.credentials import ServiceAccountKey
from stockcast_assets.libraries import pa, pq
from stockcast_assets.schema import Column, Table
from stockcast_assets.warehouse import slices
from stockcast_assets.warehouse.base import Added, AddedMeanwhileError, TableRef, Warehouse
from stockcast_assets.warehouse.bigquery.schema import TYPES, can_demand_bounds, migration, quote, stored_table
from stockcast_assets.warehouse.bigquery.session import STAGE_LIFETIME, Session, explained
from stockcast_assets.warehouse.slices import Slice, Windows

if TYPE_CHECKING:
    from google.cloud import bigquery

_Answer = TypeVar("_Answer")
LABELS: Mapping[str, str] = {"app": "stockcast"}
"""Labels of jobs, tables and views, unless others are given."""

# Every DATE there is, for tables that refuse a statement without a bound on their partitions.
_FIRST_DATE = "0001-01-01"
_TAKEN = "rows with these keys are there"


class _BigQueryDialect(slices.Dialect):
    types = TYPES

    def quote(self, name: str) -> str:
        return quote(name)

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
    Credentials are Application Default Credentials, or `gcp_credentials`: a service account key in base64, or as an
    object. `clients` makes clients another way, such as `BigQueryResource.get_client`. `labels` are those of every job,
    table and view.
    """

    kind = "bigquery"
    sql_types = TYPES

    def __init__(
        self,
        project: str,
        dataset: str = "stockcast",
        location: str | None = None,
        gcp_credentials: ServiceAccountKey | str | None = None,
        *,
        deadline: float = 300.0,
        maximum_bytes_billed: int | None = None,
        require_partition_filter: bool = False,
        labels: Mapping[str, str] = LABELS,
        clients: Callable[[], AbstractContextManager[bigquery.Client]] | None = None,
    ) -> None:
        self.project = project
        self.schema = dataset
        self.location = location
        self._client = clients or partial(bigquery_client, project, location, gcp_credentials)
        self.deadline = deadline
        self.maximum_bytes_billed = maximum_bytes_billed
        self.require_partition_filter = require_partition_filter
        self.labels = dict(labels)

    def full_name(self, ref: TableRef) -> str:
        return f"{self.project}.{ref}"

    @property
    def place(self) -> str:
        return f"{self.project}.{self.schema}"

    def migration(self, ref: TableRef, column: str, stored: str, declared: Column | None) -> str:
        return migration(self.full_name(ref), column, stored, declared)

    def stored(self, ref: TableRef) -> Table | None:
        with self._session(f"read table {self.full_name(ref)}") as session:
            table = session.get_table(self.full_name(ref))
            return None if table is None else stored_table(table, ref)

    def replace(
        self,
        ref: TableRef,
        data: pa.Table,
        part: Slice,
        contract: Table,
        attempt: str | None = None,
        added: Added | None = None,
    ) -> None:
        from google.api_core.exceptions import GoogleAPICallError

        dialect = _BigQueryDialect()
        condition, parameters = self._condition(part, contract, dialect), dialect.parameters
        name = self.full_name(ref)
        target = quote(name)
        content = _parquet(data)
        more = b"" if added is None else _parquet(added.data)
        job = _job_name(ref, attempt, condition, parameters, content + more)
        with self._session(f"write table {name}") as session, ExitStack() as stages:
            session.ensure_table(ref, contract, self.location, self.require_partition_filter)
            if data.num_rows:
                stage = stages.enter_context(session.stage(ref, contract, content, data.num_rows))
                if not set(part.exprs) <= set(contract.column_names):
                    session.check_inside(stage, part, contract, condition, parameters)
                statement = _merge(target, stage, condition, contract)
            else:
                statement = f"DELETE FROM {target} WHERE {condition}"  # noqa: S608
            if added is None:
                session.query(statement, parameters, job)
                return
            session.ensure_table(added.ref, added.contract, self.location, self.require_partition_filter)
            beside = stages.enter_context(session.stage(added.ref, added.contract, more, added.data.num_rows))
            try:
                session.query(_together(statement, self.full_name(added.ref), beside, added.contract), parameters, job)
            except GoogleAPICallError as error:
                if _TAKEN in str(error):
                    raise AddedMeanwhileError(self.full_name(added.ref)) from error
                raise

    def select(
        self,
        ref: TableRef,
        part: Slice,
        contract: Table,
        columns: Sequence[str],
        order_by: Sequence[str],
        newest: slices.Newest | None = None,
    ) -> pa.Table | None:
        return self._ask(Session.query_arrow, ref, part, contract, columns, order_by, newest)

    def read_cost(self, ref: TableRef, part: Slice, contract: Table, columns: Sequence[str]) -> int | None:
        """Bytes that reading the slice will process, by a dry run; 0 if the table does not exist."""
        return self._ask(Session.dry_run, ref, part, contract, columns) or 0

    def _ask(
        self,
        how: Callable[[Session, str, Sequence[Any]], _Answer],
        ref: TableRef,
        part: Slice,
        contract: Table,
        columns: Sequence[str],
        order_by: Sequence[str] = (),
        newest: slices.Newest | None = None,
    ) -> _Answer | None:
        """What a session answers to the query for a slice's columns, or None if the table does not exist."""
        from google.api_core.exceptions import BadRequest, NotFound

        dialect = _BigQueryDialect()
        condition = self._condition(part, contract, dialect)
        name = self.full_name(ref)
        with self._session(f"read table {name}") as session:

            def answer(lacking: Collection[str]) -> _Answer:
                query = slices.select(quote(name), condition, contract, columns, dialect, order_by, lacking, newest)
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
        if self.require_partition_filter and can_demand_bounds(contract) and not bounded:
            return f"({condition}) AND `date` >= DATE '{_FIRST_DATE}'"
        return condition

    def drop_orphans(self, older_than: timedelta | None = None) -> list[str]:
        """Drop stages that dead runs left behind and return their names; BigQuery expires them as well.

        A stage younger than `older_than` (default: the six hours after which it expires) is left alone: its run may
        be alive.
        """
        age = STAGE_LIFETIME if older_than is None else older_than
        with self._session(f"sweep dataset {self.schema}") as session:
            return session.drop_stages(f"{self.project}.{self.schema}", datetime.now(UTC) - age)

    def put_view(self, name: str, sql: str, description: str) -> str:
        """Create a view in the dataset, or make the one there is this one; its full name."""
        full_name = self.full_name(TableRef(self.schema, name))
        with self._session(f"create view {full_name}") as session:
            session.put_view(full_name, sql, description)
        return full_name

    @contextmanager
    def _session(self, doing: str) -> Iterator[Session]:
        with explained(doing, self.deadline), self._client() as client:
            yield Session(client, self.deadline, self.maximum_bytes_billed, self.labels)


def _merge(target: str, stage: str, condition: str, contract: Table) -> str:
    # ON FALSE is what BigQuery documents to prune by the literals of the WHEN clauses. Joined on the primary key, a
    # row may match one outside the slice, so BigQuery would have to read the whole table (docs/warehouse.md).
    columns = ", ".join(map(quote, contract.column_names))
    return (
        f"MERGE {target} AS target USING {quote(stage)} AS stage ON FALSE "  # noqa: S608
        f"WHEN NOT MATCHED BY SOURCE AND {condition} THEN DELETE "
        f"WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({columns})"
    )


def _together(statement: str, table: str, stage: str, contract: Table) -> str:
    """A statement and the rows of a stage added to another table, in one transaction; it fails if they are there."""
    columns = ", ".join(map(quote, contract.column_names))
    same = " AND ".join(f"there.{quote(key)} = stage.{quote(key)}" for key in contract.primary_key)
    # A bound that holds for every row, for tables that refuse a statement without one.
    bound = f" WHERE there.`date` >= DATE '{_FIRST_DATE}'" if can_demand_bounds(contract) else ""
    taken = f"SELECT 1 FROM {quote(table)} AS there JOIN {quote(stage)} AS stage ON {same}{bound}"  # noqa: S608
    insert = f"INSERT INTO {quote(table)} ({columns}) SELECT {columns} FROM {quote(stage)}"  # noqa: S608
    guard = f"IF EXISTS ({taken}) THEN RAISE USING MESSAGE = '{_TAKEN}'; END IF"
    return f"BEGIN TRANSACTION; {guard}; {statement}; {insert}; COMMIT TRANSACTION;"


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
