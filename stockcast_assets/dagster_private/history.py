"""What a home's Dagster remembers, moved from its files into PostgreSQL.

Rows keep their numbers: the cursors of sensors and the records of assets name events by them. The log of each run, a
file of its own, stays where it is: its lines have numbers of their own, which the table of all events gives to others.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
from sqlalchemy import Connection, MetaData, NullPool, Table, create_engine, func, insert, select, text

from stockcast_assets.errors import StockcastError

FILES = {
    "history/runs.db": ("snapshots", "runs", "run_tags", "bulk_actions", "backfill_tags", "kvs"),
    "history/runs/index.db": (
        *("event_logs", "asset_keys", "asset_event_tags", "asset_check_executions"),
        *("dynamic_partitions", "concurrency_limits"),
    ),
    "schedules/schedules.db": ("jobs", "instigators", "job_ticks", "asset_daemon_asset_evaluations"),
}
"""The tables that move, by the file they are in. The others hold what is true of one database or of this moment only:
versions, heartbeats, who waits for a pool."""

_ROWS = 1000
_UNDER_WAY = ("STARTED", "STARTING", "CANCELING", "QUEUED", "NOT_STARTED")


def move_history(source: Path, instance: dg.DagsterInstance) -> dict[str, int]:
    """Copy what the Dagster home `source` remembers into the empty PostgreSQL of `instance`, in one transaction.

    Returns:
        The number of rows of each table.

    Raises:
        StockcastError: if there is no history, runs of it are under way, or the target is no PostgreSQL or not empty.
    """
    address = getattr(instance.event_log_storage, "postgres_url", None)
    if address is None:
        raise StockcastError(
            f"The Dagster home {instance.root_directory} keeps its history in files itself: set DAGSTER_HOME to a "
            "folder whose dagster.yaml is that of deploy/, and DAGSTER_POSTGRES_URL to its database."
        )
    if not (source / "history" / "runs.db").is_file():
        raise StockcastError(f"There is no history of Dagster in {source}: name the old DAGSTER_HOME with --from.")
    moved = {}
    engine = create_engine(address, poolclass=NullPool)
    with engine.begin() as target:
        _require_empty(target)
        for file, names in FILES.items():
            with _opened(source / file) as origin:
                if file == "history/runs.db":
                    _require_rest(origin, source)
                for name in names:
                    moved[name] = _copy(origin, target, name)
    return moved


def _opened(file: Path) -> Connection:
    return create_engine(f"sqlite:///file:{file}?mode=ro&uri=true", poolclass=NullPool).connect()


def _table(connection: Connection, name: str) -> Table:
    return Table(name, MetaData(), autoload_with=connection)


def _require_empty(target: Connection) -> None:
    # The tickers of STOCKCAST_TICKERS are added by whatever opens a home, and are in the old one as well.
    for name in ("runs", "event_logs"):
        if target.execute(select(func.count()).select_from(_table(target, name))).scalar():
            raise StockcastError(
                "The database of DAGSTER_POSTGRES_URL holds runs already, and two histories cannot be one: name an "
                "empty database."
            )


def _require_rest(origin: Connection, source: Path) -> None:
    runs = _table(origin, "runs")
    busy: Sequence[str] = origin.scalars(select(runs.c.run_id).where(runs.c.status.in_(_UNDER_WAY))).all()
    if busy:
        raise StockcastError(
            f"{len(busy)} runs of {source} are under way or wait ({', '.join(busy[:3])}): let them end, or end them in "
            "the Dagster UI, stop it, and try again."
        )


def _copy(origin: Connection, target: Connection, name: str) -> int:
    old, new = _table(origin, name), _table(target, name)
    shared = [column.name for column in old.columns if column.name in new.columns]
    target.execute(new.delete())
    copied = 0
    for rows in _parts(origin, old, shared):
        target.execute(insert(new), rows)
        copied += len(rows)
    # The next row of the table gets the next number.
    sequence = target.execute(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": name}).scalar()
    if sequence is not None and copied:
        last = select(func.max(new.c.id)).scalar_subquery()
        target.execute(select(func.setval(sequence, last)))
    return copied


def _parts(origin: Connection, table: Table, columns: Sequence[str]) -> Iterator[list[dict[str, object]]]:
    rows = origin.execute(select(*(table.c[name] for name in columns)).order_by(table.c.id))
    for part in rows.mappings().partitions(_ROWS):
        yield [dict(row) for row in part]
