"""Every private name of Dagster that stockcast stands on, and what each stands for.

A name is `module:attribute.attribute`. Dagster may move any of them with a minor release; a test of each name says
which it moved. Whoever adds an import of `dagster._*` or a reach into a private attribute, adds it here.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from importlib import import_module
from typing import Any

_LOG = "dagster._core.storage.event_log:SqliteEventLogStorage"

EVENT_LOG: Mapping[str, str] = {
    _LOG: "Dagster's event log on SQLite, of which ours is a kind",
    f"{_LOG}.path_for_shard": "the file of a run's events, or of the index",
    f"{_LOG}.conn_string_for_shard": "the address of that file for SQLAlchemy",
    f"{_LOG}._connect": "how every connection to a file is opened, which ours does with one engine per file",
    f"{_LOG}._initdb": "makes a file's tables",
    f"{_LOG}._event_to_row": "the row of an event",
    f"{_LOG}.index_transaction": "a transaction on the index",
    f"{_LOG}.run_connection": "a connection to the file of a run",
    f"{_LOG}._store_asset_event_tags": "writes the tags of many asset events",
    f"{_LOG}._store_asset_event": "writes what an asset's last event was",
    f"{_LOG}.store_event_batch": "what Dagster hands many events to",
    "dagster._core.storage.event_log:SqlEventLogStorageTable": "the table of events",
    "dagster._core.storage.sqlite:SQLITE_BUSY_TIMEOUT_SECONDS": "how long a writer waits for another",
}

_POSTGRES_LOG = "dagster_postgres:PostgresEventLogStorage"

POSTGRES_EVENT_LOG: Mapping[str, str] = {
    _POSTGRES_LOG: "Dagster's event log on PostgreSQL, of which ours is a kind",
    f"{_POSTGRES_LOG}.prepare_insert_event_batch": "the statement that inserts many events",
    f"{_POSTGRES_LOG}.index_transaction": "a transaction",
    f"{_POSTGRES_LOG}._store_asset_event_tags": "writes the tags of many asset events",
    f"{_POSTGRES_LOG}._store_asset_event": "writes what an asset's last event was",
    f"{_POSTGRES_LOG}.store_event_batch": "what Dagster hands many events to",
}

POSTGRES_STORAGE: Mapping[str, str] = {
    "dagster_postgres:DagsterPostgresStorage": "Dagster's storage on PostgreSQL, of which ours is a kind",
    "dagster_postgres.utils:get_token_provider_from_config": "who gives passwords that expire",  # nosec B105
    "dagster_postgres.utils:pg_url_from_config": "the address in a dagster.yaml",
}

COMPUTE_LOGS: Mapping[str, str] = {
    "dagster._core.storage.local_compute_log_manager:LocalComputeLogManager": "keeps in a folder what runs print",
}

CELERY: Mapping[str, str] = {
    "dagster_celery.launcher:CeleryRunLauncher": "Dagster's launcher on Celery, of which ours is a kind",
    "dagster_celery.launcher:CeleryRunLauncher.check_run_worker_health": "the daemon's question",
    "dagster_celery.launcher:CeleryRunLauncher.terminate": "how a run is told to end",
    "dagster_celery.launcher:CeleryRunLauncher.get_run_worker_debug_info": "what is said of a run that did not start",
    "dagster_celery.tags:DAGSTER_CELERY_TASK_ID_TAG": "the tag of a run that names its task",
    "dagster_celery.tasks:create_execute_job_task": "the task that executes a run",
    "dagster_celery.tasks:create_resume_job_task": "the task that goes on with one",
    "dagster:DagsterInstance.run_launcher": "the launcher of an instance",
}

LAUNCHER: Mapping[str, str] = {
    "dagster._core.launcher:CheckRunHealthResult": "the answer to whether a run's process lives",
    "dagster._core.launcher:WorkerStatus": "the word in that answer",
    "dagster:DefaultRunLauncher.supports_check_run_worker_health": "whether the daemon asks",
    "dagster:DefaultRunLauncher.check_run_worker_health": "the daemon's question",
    "dagster:DefaultRunLauncher._get_grpc_client_for_termination": "the code server of a run, if it is known",
    "dagster:DefaultRunLauncher._instance": "the instance that the launcher is of",
}

MIGRATIONS: Mapping[str, str] = {
    "dagster._core.storage.sql:ALEMBIC_SCRIPTS_LOCATION": "where Alembic finds the migrations of Dagster's storages",
    "dagster._core.storage.event_log:SqliteEventLogStorage.alembic_version": "the last migration of tables, and of all",
    "dagster._core.storage.runs:SqliteRunStorage.alembic_version": "the same of runs",
    "dagster._core.storage.schedules:SqliteScheduleStorage.alembic_version": "the same of schedules and sensors",
}

KEY_METADATA: Mapping[str, str] = {
    "dagster._core.execution.context.metadata_logging:AssetMetadataHandle": "names a key of an asset",
    "dagster._core.execution.context.metadata_logging:OutputMetadataAccumulator": "the metadata of a step so far",
    "dagster._core.execution.context.system:StepExecutionContext": "the step that holds it, as _metadata_accumulator",
    "dagster:AssetExecutionContext.get_step_execution_context": "the step of an asset's computation",
    "dagster:OutputContext.step_context": "the step of an IO manager's output",
}

_DYNAMIC = "dagster._core.storage.event_log.schema:DynamicPartitionsTable.c"

READS: Mapping[str, str] = {
    f"{_DYNAMIC}.partition": "the column of the keys in the table of dynamic partitions",
    f"{_DYNAMIC}.partitions_def_name": "the column of the definition that they are of",
    "dagster:OpDefinition.compute_fn": "holds the function of an asset, as decorated_fn",
    "dagster._core.execution.context.system:StepExecutionContext.previous_attempt_count": "how often a step was tried",
    "dagster._core.storage.event_log:EventLogStorage.get_asset_check_summary_records": "the last result of many checks",
    "dagster:DagsterInstance.event_log_storage": "the event log of an instance",
    "dagster._core.storage.event_log:SqlEventLogStorage.index_connection": "a connection to what an event log indexes",
    "dagster._core.storage.event_log.schema:DynamicPartitionsTable": "the dynamic partitions of every definition",
    "dagster._core.definitions.unresolved_asset_job_definition:UnresolvedAssetJobDefinition": (
        "what `define_asset_job` gives"
    ),
}

SERVERS: Mapping[str, str] = {
    "dagster._daemon.cli:main": "the daemon, which `web` starts as a module",
    "dagster._cli.proxy_server_manager:ProxyServerManager": "the code servers of a workspace, each in its process",
    "dagster._core.workspace.context:WorkspaceProcessContext": "what the webserver is a view of",
    "dagster._core.workspace.load_target:WorkspaceFileTarget": "a workspace file as that context wants it",
    "dagster_webserver.webserver:DagsterWebserver.build_graphql_validation_rules": "where a rule against changes goes",
    "dagster_webserver.webserver:DagsterWebserver.create_asgi_app": "the web application, to put a guard around",
    "dagster:DagsterInstance.optimize_for_webserver": "how an instance is set up for many readers",
}

CONSOLE: Mapping[str, str] = {
    "dagster._loggers:create_console_logger": "makes the logger that writes a run's events to its console",
}

RESOURCES: Mapping[str, str] = {
    "dagster._config.pythonic_config.io_manager:ConfigurableIOManagerFactoryResourceDefinition": (
        "the definition of an IO manager with fields"
    ),
    "dagster._config.pythonic_config.resource:ConfigurableResourceFactoryResourceDefinition": (
        "the definition of a resource with fields"
    ),
    "dagster._core.definitions.definition_config_schema:ConfiguredDefinitionConfigSchema": (
        "a schema whose values are given in code"
    ),
    "dagster._core.definitions.definition_config_schema:DefinitionConfigSchema": "a schema of fields",
    "dagster._core.definitions.definition_config_schema:IDefinitionConfigSchema": "what both of them are",
    "dagster._utils.cached_method:cached_method": "a method whose result is kept, as Dagster keeps its definitions",
    "dagster:ResourceDefinition.copy_for_configured": "a definition with another schema",
}

RUNS: Mapping[str, str] = {
    "dagster._core.code_pointer:ModuleCodePointer": "where a worker finds the code of a run",
    "dagster._core.origin:DEFAULT_DAGSTER_ENTRY_POINT": "the command that executes a run elsewhere",
    "dagster._core.origin:JobPythonOrigin": "the job of that code",
    "dagster._core.origin:RepositoryPythonOrigin": "the repository that it is in",
    "dagster._core.storage.tags:AUTO_RETRY_RUN_ID_TAG": "names the run that repeats a failed one",
    "dagster._core.storage.tags:WILL_RETRY_TAG": "says that a failed run is repeated",
    "dagster:DagsterEvent.job_enqueue": "puts a run into the queue",
    "dagster:DagsterInstance.report_dagster_event": "records an event of a run",
    "dagster:DagsterInstance.run_coordinator": "the queue, which a run is taken out of again",
    "dagster:DagsterInstance.run_retries_enabled": "whether Dagster repeats runs",
    "dagster._core.definitions.job_base:InMemoryJob": "a job that is executed where it was made",
    "dagster._core.execution.api:execute_run_iterator": "executes a run that is recorded already",
    "dagster._core.remote_origin:RegisteredCodeLocationOrigin": "a code location by its name",
    "dagster._core.remote_origin:RemoteRepositoryOrigin": "what the runs of a code location belong to",
    "dagster:DagsterInstance.create_run_for_job": "records a run, with what it belongs to",
    "dagster:DagsterInstance.report_run_canceling": "lets an interrupted run end as canceled",
    "dagster:DagsterInstance.report_run_canceled": "ends a run that could not end itself",
    "dagster._core.errors:raise_execution_interrupts": "lets a signal end a wait within a run",
    "dagster:ExecutorDefinition.executor_creation_fn": "makes the executor that ours is put around",
    "dagster:DagsterRun.run_op_concurrency": "the pools of a run",
}

PRIVATE: Mapping[str, str] = {
    **EVENT_LOG, **POSTGRES_EVENT_LOG, **POSTGRES_STORAGE, **COMPUTE_LOGS,
    **CELERY, **LAUNCHER, **MIGRATIONS, **KEY_METADATA, **READS, **SERVERS, **CONSOLE, **RESOURCES, **RUNS
}  # fmt: skip


def resolve(name: str) -> Any:
    """What a name stands for.

    Raises:
        ImportError: if the module is gone.
        AttributeError: if it has the attribute no longer.
    """
    module, _, attributes = name.partition(":")
    return reduce(getattr, attributes.split("."), import_module(module))


def gone(names: Iterable[str]) -> list[str]:
    """Those of the names that the Dagster installed here does not have."""

    def there(name: str) -> bool:
        try:
            resolve(name)
        except (ImportError, AttributeError):
            return False
        return True

    return [name for name in names if not there(name)]
