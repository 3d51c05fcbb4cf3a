"""Dynamic partitions with the order in which they were added, over all definitions."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

import dagster as dg


class PartitionRow(NamedTuple):
    """A key of a dynamic partitions definition. Of two keys, of whatever definitions, the later has the higher `id`."""

    definition: str
    key: str
    id: int


def partition_rows(instance: dg.DagsterInstance, definitions: Collection[str]) -> list[PartitionRow]:
    """The keys of the definitions in the order in which they were added, in one query.

    Dagster's own question answers for one definition, without the order between two of them.
    """
    from dagster._core.storage.event_log.schema import DynamicPartitionsTable
    from sqlalchemy import select

    columns = DynamicPartitionsTable.c
    query = select(columns.partitions_def_name, columns.partition, columns.id)
    wanted = query.where(columns.partitions_def_name.in_(definitions)).order_by(columns.id)
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        return [PartitionRow(*row) for row in connection.execute(wanted)]


def add_unless_there(instance: dg.DagsterInstance, definition: str, keys: Sequence[str]) -> None:
    """Add keys; another process may add the same at the same moment."""
    from sqlalchemy.exc import IntegrityError

    with suppress(IntegrityError):
        instance.add_dynamic_partitions(definition, keys)
