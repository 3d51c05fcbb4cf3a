"""Dagster's migrations, read once per process.

Every tick of a schedule or sensor opens the instance anew, and opening SQLite storage reads and compiles all of
Dagster's migrations to see whether one is due. That is half of a quiet tick's time, and Alembic keeps some of each
reading until the process ends: code server and daemon would grow by a gigabyte a day.
"""

from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION

_from_config = ScriptDirectory.from_config
_read: dict[Config, ScriptDirectory] = {}


def read_migrations_once() -> None:
    """Let what Dagster's storages read be kept. Others that use Alembic, such as MLflow, are left as they are."""
    ScriptDirectory.from_config = _kept  # type: ignore[method-assign, assignment]


def _kept(config: Config) -> ScriptDirectory:
    if config.get_main_option("script_location") != ALEMBIC_SCRIPTS_LOCATION:
        return _from_config(config)
    # Dagster keeps one configuration for each of its storages.
    if config not in _read:
        _read[config] = _from_config(config)
    return _read[config]
