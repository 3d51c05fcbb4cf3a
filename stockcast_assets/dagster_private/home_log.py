"""Where the event log of a home lies, whichever class keeps it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import dagster as dg

from stockcast_assets.errors import StockcastError


class HomeLog:
    """Configuration of an event log on SQLite: `history/runs` in DAGSTER_HOME, unless `base_dir` says otherwise.

    Dagster keeps it there by default, but only where no dagster.yaml names a class.
    """

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)  # type: ignore[call-arg]

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """The fields of `event_log_storage.config` in dagster.yaml."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """The event log of a dagster.yaml.

        Raises:
            StockcastError: if neither the file nor the environment says where it lies.
        """
        base_dir = config_value.get("base_dir")
        if not base_dir:
            if "DAGSTER_HOME" not in os.environ:
                raise StockcastError(
                    "The event log of this dagster.yaml lies in DAGSTER_HOME, which is not set: set it to the folder "
                    "of the file, or name event_log_storage.config.base_dir there."
                )
            base_dir = str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs")
        return cls(base_dir, inst_data)
