"""Where what runs print is kept: in a folder, or in a bucket where machines come and go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

_BUCKET = "gs://"
_SEEN_WHILE_RUNNING_S = 30


class RunLogs(LocalComputeLogManager):
    """Dagster's own, in the `location` of dagster.yaml: a folder, or `gs://bucket/prefix` by dagster-gcp."""

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """The fields of `compute_logs.config` in dagster.yaml."""
        return {"location": dg.Field(dg.StringSource)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> "RunLogs":
        location = config_value["location"]
        if not location.startswith(_BUCKET):
            return cls(base_dir=str(Path(location).expanduser()), inst_data=inst_data)
        from dagster_gcp.gcs import GCSComputeLogManager

        bucket, _, prefix = location.removeprefix(_BUCKET).partition("/")
        kept = GCSComputeLogManager(
            bucket, inst_data=inst_data, prefix=prefix or "dagster", upload_interval=_SEEN_WHILE_RUNNING_S
        )
        # Dagster asks for a manager of logs, of whatever class.
        return cast(RunLogs, kept)
