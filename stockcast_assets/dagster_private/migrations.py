"""Dagster's migrations: whether one is due, and that they are read once per process.

Every tick of a schedule or sensor opens the instance anew, and opening SQLite storage reads and compiles all of
Dagster's migrations to see whether one is due. That is half of a quiet tick's time, and Alembic keeps some of each
reading until the process ends: code server and daemon would grow by a gigabyte a day.
"""

from functools import cache

import dagster as dg


@cache
def read_migrations_once() -> None:
    """Let what Dagster's storages read be kept. Others that use Alembic, such as MLflow, are left as they are."""
    # Alembic takes half as long to import as Dagster, and only who opens an instance needs it.
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION

    from_config = ScriptDirectory.from_config
    # Dagster keeps one configuration for each of its storages.
    kept = cache(from_config)

    def read(config: Config) -> ScriptDirectory:
        ours = config.get_main_option("script_location") == ALEMBIC_SCRIPTS_LOCATION
        return kept(config) if ours else from_config(config)

    ScriptDirectory.from_config = read  # type: ignore[method-assign]


def is_of_an_earlier_dagster(instance: dg.DagsterInstance) -> bool:
    """Whether the tables of an instance lack what a migration of this Dagster brings."""
    for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
        version = storage.alembic_version() if storage is not None else None
        if version is not None and version[0] != version[1]:
            return True
    return False
