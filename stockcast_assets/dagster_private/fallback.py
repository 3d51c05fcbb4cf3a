"""What existing homes name in their dagster.yaml, even where Dagster moved what ours stands on.

A home must open. So a class of ours that cannot work gives way to Dagster's own, and says so once.
"""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from stockcast_assets.dagster_private.home_log import HomeLog
from stockcast_assets.dagster_private.names import EVENT_LOG, LAUNCHER, MIGRATIONS, POSTGRES_EVENT_LOG, gone


def event_log() -> type[Any]:
    """The batching event log, or Dagster's own in the same files."""
    missing = gone({**EVENT_LOG, **MIGRATIONS})
    if not missing:
        from stockcast_assets.dagster_private.event_log import BatchingEventLogStorage

        return BatchingEventLogStorage
    _warn("event log, which takes longer for many keys", missing)
    # Asked for, not imported: its module may be what was moved.
    with TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        own = type(instance.event_log_storage)
    return type("BatchingEventLogStorage", (HomeLog, own), {"__doc__": own.__doc__})


def postgres_event_log() -> type[Any]:
    """The batching event log on PostgreSQL, or Dagster's own in the same tables."""
    missing = gone({**POSTGRES_EVENT_LOG, **MIGRATIONS})
    if not missing:
        from stockcast_assets.dagster_private.postgres_event_log import PostgresBatchingEventLogStorage

        return PostgresBatchingEventLogStorage
    _warn("event log, which takes longer for many keys", missing)
    from dagster_postgres import PostgresEventLogStorage

    return PostgresEventLogStorage


def launcher() -> type[dg.DefaultRunLauncher]:
    """The watching launcher, or Dagster's own."""
    missing = gone(LAUNCHER)
    if not missing:
        from stockcast_assets.dagster_private.launcher import WatchingRunLauncher

        return WatchingRunLauncher
    _warn("run launcher, which does not notice when a run's process was killed", missing)
    return dg.DefaultRunLauncher


def _warn(own: str, missing: Sequence[str]) -> None:
    warnings.warn(
        f"Dagster {version('dagster')} has no {', '.join(missing)}: this home works with Dagster's own {own}. "
        "Install the version of Dagster that stockcast asks for to get ours back.",
        RuntimeWarning,
        stacklevel=3,
    )
