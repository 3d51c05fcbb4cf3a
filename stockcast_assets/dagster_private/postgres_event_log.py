"""Dagster's event log on PostgreSQL, with the events of a range of keys written in one transaction.

Dagster's own stores a planned event per key and asset one by one, each over two connections of its own. Here the same
rows go into the same tables, in batches; Dagster hands them over if DAGSTER_EVENT_BATCH_SIZE is set, which this does
unless it was set before.
"""

import os
from collections.abc import Sequence
from typing import Any

from dagster import EventLogEntry
from dagster_postgres import PostgresEventLogStorage

from stockcast_assets.dagster_private.batches import BATCH_SIZE, last_of_each_asset, split
from stockcast_assets.dagster_private.migrations import read_migrations_once


class PostgresBatchingEventLogStorage(PostgresEventLogStorage):
    """The event log of `PostgresStorage`."""

    def __init__(self, *arguments: Any) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", BATCH_SIZE)
        read_migrations_once()
        super().__init__(*arguments)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events of one run: all that can be stored together, or none of it."""
        together, alone = split(events)
        if together:
            with self.index_transaction() as connection:
                statement = self.prepare_insert_event_batch(together)
                ids = [int(row[0]) for row in connection.execute(statement.returning(statement.table.c.id))]
                self._store_asset_event_tags(connection, together, ids)
                # In one order everywhere: two runs that write the same assets' rows wait for each other, once.
                for event, id_ in last_of_each_asset(together, ids):
                    self._store_asset_event(connection, event, id_)
        for event in alone:
            self.store_event(event)
