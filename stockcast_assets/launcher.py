"""The class that the `dagster.yaml` of existing homes names; it lives in `dagster_private`."""

from stockcast_assets.dagster_private.launcher import WatchingRunLauncher

__all__ = ["WatchingRunLauncher"]
