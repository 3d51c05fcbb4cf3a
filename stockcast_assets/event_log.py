"""The class that the `dagster.yaml` of homes names; it lives in `dagster_private`."""

from stockcast_assets.dagster_private import fallback

BatchingEventLogStorage = fallback.event_log()
