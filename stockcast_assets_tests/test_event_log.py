"""The batching event log stores what Dagster's own stores, at once and never twice."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from stockcast_assets.dagster_private.event_log import BatchingEventLogStorage
from stockcast_assets.dagster_private.postgres_event_log import PostgresBatchingEventLogStorage
from stockcast_assets.orchestration.home import default_config
from stockcast_assets_tests.servers import DEPLOYED, POSTGRES_URL

DAYS = [f"2024-01-{day:02}" for day in range(1, 13)]
ASSETS = ("first", "second")


class Nothing(dg.IOManager):
    def handle_output(self, context: dg.OutputContext, obj: object) -> None: ...

    def load_input(self, context: dg.InputContext) -> None: ...


def definitions() -> dg.Definitions:
    daily = dg.DailyPartitionsDefinition(DAYS[0], end_date="2024-02-01")

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=daily, backfill_policy=dg.BackfillPolicy.single_run())
        def made(context: dg.AssetExecutionContext) -> None:
            for day in context.partition_keys:
                context.add_asset_metadata({"day": day}, partition_key=day)

        return made

    @dg.asset_check(asset=ASSETS[0])
    def checked() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return dg.Definitions(
        assets=[asset(name) for name in ASSETS],
        asset_checks=[checked],
        jobs=[dg.define_asset_job("both", list(ASSETS))],
        resources={"io_manager": Nothing()},
        executor=dg.in_process_executor,
    )


@contextmanager
def instance_of(home: Path, config: str) -> Iterator[dg.DagsterInstance]:
    """A new instance with this `dagster.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        # Set by the storage, in this process; undone after it.
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "")
        patch.delenv("DAGSTER_EVENT_BATCH_SIZE")
        (home / "dagster.yaml").write_text(config)
        with dg.DagsterInstance.get() as instance:
            yield instance


@pytest.fixture
def batching(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_of(tmp_path, default_config()) as instance:
        yield instance


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Dagster's own event log tells of the run."""
    with instance_of(tmp_path_factory.mktemp("own"), "telemetry: {enabled: false}") as own:
        return told(own, run(own))


def run(instance: dg.DagsterInstance) -> str:
    tags = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job = definitions().resolve_job_def("both")
    result = job.execute_in_process(instance=instance, tags=tags, run_config=quiet)
    assert result.success
    return result.run_id


def told(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What the event log says of the run, without clocks and ids."""
    log = [entry.get_dagster_event() for entry in instance.all_logs(run_id) if entry.is_dagster_event]
    answers: dict[str, Any] = {
        "log": sorted((event.event_type_value, str(event.asset_key), str(event.partition)) for event in log)
    }
    for name in ASSETS:
        key = dg.AssetKey(name)
        records = instance.fetch_materializations(key, limit=100).records
        answers[name] = [(r.partition_key, r.asset_materialization.metadata["day"].value) for r in records]  # type: ignore[union-attr]
        latest = instance.get_latest_materialization_event(key)
        assert latest is not None
        assert latest.run_id == run_id
        answers[f"latest {name}"] = latest.get_dagster_event().partition
        planned = instance.get_event_records(
            dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, key), limit=100
        )
        answers[f"planned {name}"] = sorted(str(record.partition_key) for record in planned)
        answers[f"keys {name}"] = sorted(instance.get_materialized_partitions(key))
    of_events = " WHERE asset_key IS NOT NULL"  # PostgreSQL keeps all events in the one table, SQLite those of assets
    tables = {"event_logs": of_events, "asset_keys": "", "asset_event_tags": "", "asset_check_executions": ""}
    with instance.event_log_storage.index_connection() as index:
        answers["rows"] = {
            name: index.execute(text(f"SELECT count(*) FROM {name}{where}")).scalar()  # noqa: S608
            for name, where in tables.items()
        }
    return answers


def test_it_stores_what_dagsters_own_stores_in_a_few_transactions(
    batching: dg.DagsterInstance, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected["planned second"] == expected["keys second"] == DAYS
    opened = []
    connect = BatchingEventLogStorage.index_connection

    def counted(self: BatchingEventLogStorage) -> Any:
        opened.append(1)
        return connect(self)

    with monkeypatch.context() as patch:
        patch.setattr(BatchingEventLogStorage, "index_connection", counted)
        run_id = run(batching)
    assert len(opened) < 2 * len(DAYS), "a connection per key"
    assert told(batching, run_id) == expected


def test_a_busy_index_leads_to_no_event_twice(
    batching: dg.DagsterInstance, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = BatchingEventLogStorage._store_asset_event_tags

    def busy(self: BatchingEventLogStorage, connection: Any, events: Any, ids: Any) -> None:
        if len(events) > 1:
            raise sqlite3.OperationalError("database is locked")
        stored(self, connection, events, ids)

    monkeypatch.setattr(BatchingEventLogStorage, "_store_asset_event_tags", busy)
    assert told(batching, run(batching)) == expected


@pytest.fixture
def deployed(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """An instance of deploy/dagster.yaml."""
    monkeypatch.setenv(POSTGRES_URL, new_database())
    monkeypatch.setenv("DAGSTER_RUN_LOGS", str(tmp_path / "logs"))
    with instance_of(tmp_path, DEPLOYED.read_text()) as instance:
        yield instance


def test_on_postgresql_it_stores_the_same_in_a_few_transactions(
    deployed: dg.DagsterInstance, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = PostgresBatchingEventLogStorage.store_event
    alone = []

    def stored(self: PostgresBatchingEventLogStorage, event: dg.EventLogEntry) -> None:
        alone.append(event)
        one_by_one(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(PostgresBatchingEventLogStorage, "store_event", stored)
        run_id = run(deployed)
    assert not [event for event in alone if event.get_dagster_event().partition]
    assert told(deployed, run_id) == expected


def test_on_postgresql_a_batch_is_stored_whole_or_not_at_all(
    deployed: dg.DagsterInstance, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = PostgresBatchingEventLogStorage._store_asset_event_tags

    def lost(self: PostgresBatchingEventLogStorage, connection: Any, events: Any, ids: Any) -> None:
        if len(events) > 1:
            raise OSError("the connection was lost")
        stored(self, connection, events, ids)

    monkeypatch.setattr(PostgresBatchingEventLogStorage, "_store_asset_event_tags", lost)
    # Dagster then stores the events one by one: none is there twice.
    assert told(deployed, run(deployed)) == expected
