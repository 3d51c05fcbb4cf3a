"""Dagster's event log on SQLite, with the events of a range of keys written in one transaction.

Dagster writes two events per key and asset. Its own SQLite event log makes an engine, opens a database and waits for
the disk for each event, twice. Here the same rows go into the same files, in batches. Dagster hands batches to the
event log if DAGSTER_EVENT_BATCH_SIZE is set, which this does unless it was set before.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from dagster import EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, NullPool, create_engine

from stockcast_assets.dagster_private.batches import BATCH_SIZE, last_of_each_asset, split
from stockcast_assets.dagster_private.home_log import HomeLog
from stockcast_assets.dagster_private.migrations import read_migrations_once

_CHECKED: set[str] = set()
"""Files of this process whose schema is known to be there."""


@lru_cache(maxsize=32)
def _engine(url: str) -> Engine:
    # No pool: a process that is forked inherits no connection.
    return create_engine(url, poolclass=NullPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})


class BatchingEventLogStorage(HomeLog, SqliteEventLogStorage):
    """Where Dagster keeps it by default: `history/runs` in DAGSTER_HOME, unless `base_dir` says otherwise."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", BATCH_SIZE)
        read_migrations_once()
        self._one_at_a_time = Lock()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """As Dagster's own, with one engine per file and process, and one look at each file's schema.

        An engine remembers the statements it compiled; every tick of a sensor opens the event log anew.
        """
        file = self.path_for_shard(shard)
        engine = _engine(self.conn_string_for_shard(shard))
        with self._one_at_a_time:
            if file not in _CHECKED or not Path(file).exists():
                self._initdb(engine)
                _CHECKED.add(file)
            with engine.connect() as connection, connection.begin():
                yield connection

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events of one run."""
        together, alone = split(events)
        if together:
            self._store_together(together)
        for event in alone:
            self.store_event(event)

    def _store_together(self, together: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in together]
        insert = SqlEventLogStorageTable.insert()
        # First the index, which other processes write too: if it is busy for too long, nothing is written twice
        # when Dagster then stores the events one by one.
        with self.index_transaction() as connection:
            keys = [connection.execute(insert.values(**row)).inserted_primary_key for row in rows]
            ids = [int(key[0]) for key in keys if key is not None]
            self._store_asset_event_tags(connection, together, ids)
            for event, id_ in last_of_each_asset(together, ids):
                self._store_asset_event(connection, event, id_)
        with self.run_connection(together[0].run_id) as connection:
            connection.execute(insert, rows)
