"""The class that the `dagster.yaml` of existing homes names; it lives in `dagster_private`."""

from stockcast_assets.dagster_private.event_log import BatchingEventLogStorage

__all__ = ["BatchingEventLogStorage"]
