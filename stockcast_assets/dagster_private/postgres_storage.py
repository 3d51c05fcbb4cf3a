"""Dagster's own tables on PostgreSQL, with the event log in batches."""

import re
from collections.abc import Mapping
from typing import Any, Self

from dagster_postgres import DagsterPostgresStorage, PostgresRunStorage, PostgresScheduleStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

from stockcast_assets.dagster_private import fallback

_NO_DRIVER = re.compile(r"postgres(ql)?://")


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's, with the same configuration: `postgres_url` or `postgres_db`, and `auth_provider`."""

    def __init__(self, postgres_url: str, autocreate: bool, inst_data: Any = None, token_provider: Any = None) -> None:
        self.postgres_url = with_driver(postgres_url)
        self.should_autocreate_tables = autocreate
        self._inst_data = inst_data
        arguments = self.postgres_url, autocreate, None, token_provider
        self._run_storage = PostgresRunStorage(*arguments)
        self._event_log_storage = fallback.postgres_event_log()(*arguments)
        self._schedule_storage = PostgresScheduleStorage(*arguments)
        # Dagster's own would open the event log that it replaces.
        super(DagsterPostgresStorage, self).__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """The storage of a dagster.yaml: Dagster's own makes one of its own class, whatever it is asked of."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )


def with_driver(url: str) -> str:
    """The address with the driver that Dagster is written for: SQLAlchemy 2.1 takes another unless it is told."""
    return _NO_DRIVER.sub("postgresql+psycopg2://", url, count=1)
