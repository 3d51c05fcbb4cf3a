"""Settings, resources, assets and automation, wired together here and nowhere else."""

import warnings
from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_today
from stockcast_assets.dagster_private.fixed import fixed, fixed_value
from stockcast_assets.dagster_private.turns import in_turn
from stockcast_assets.google.credentials import ServiceAccountKey
from stockcast_assets.google.storage import SCHEME, StorageClients
from stockcast_assets.keys import validate_ticker
from stockcast_assets.market import calendars
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.market.sources.uploads import Uploads, open_uploads
from stockcast_assets.masking import without_credentials
from stockcast_assets.monitoring.heads import HeadStore
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.orchestration.asset_checks.declared import build_checks
from stockcast_assets.orchestration.asset_checks.earnings import build_still_reports
from stockcast_assets.orchestration.asset_checks.freshness import build_freshness_checks
from stockcast_assets.orchestration.asset_checks.quality import build_quality_checks
from stockcast_assets.orchestration.asset_checks.second_opinion import build_second_opinion_checks
from stockcast_assets.orchestration.assets.drift_report import build_drift_report
from stockcast_assets.orchestration.assets.earnings_dates import build_earnings_dates
from stockcast_assets.orchestration.assets.forecast_accuracy import build_forecast_accuracy
from stockcast_assets.orchestration.assets.forecasts import build_forecasts
from stockcast_assets.orchestration.assets.indicators import build_indicators
from stockcast_assets.orchestration.assets.market_state import build_market_state
from stockcast_assets.orchestration.assets.metadata import with_code_link
from stockcast_assets.orchestration.assets.price_revisions import price_revisions_spec
from stockcast_assets.orchestration.assets.prices import build_price_history, build_raw_prices
from stockcast_assets.orchestration.assets.publication import ledger_spec
from stockcast_assets.orchestration.assets.scenarios import build_scenarios
from stockcast_assets.orchestration.assets.trained_model import build_trained_model
from stockcast_assets.orchestration.assets.tuning import build_tuning
from stockcast_assets.orchestration.assets.universe_model import build_universe_model
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.orchestration.jobs import build_jobs
from stockcast_assets.orchestration.partitions import daily_partitions, monthly_partitions, months_of
from stockcast_assets.orchestration.planning.world import Universe
from stockcast_assets.orchestration.schedules import build_schedules
from stockcast_assets.orchestration.sensors.alerts import build_alerts
from stockcast_assets.orchestration.sensors.configured_tickers import build_configured_tickers
from stockcast_assets.orchestration.sensors.csv_inbox import Inbox, build_csv_inbox
from stockcast_assets.orchestration.sensors.daily_catch_up import build_daily_catch_up
from stockcast_assets.orchestration.sensors.freshness import build_freshness
from stockcast_assets.orchestration.sensors.mlflow_runs import build_mlflow_runs
from stockcast_assets.orchestration.sensors.retraining import build_retraining
from stockcast_assets.orchestration.sensors.revisions import build_revisions
from stockcast_assets.orchestration.sensors.ticker_lifecycle import build_ticker_lifecycle
from stockcast_assets.orchestration.slices import slices_of_run
from stockcast_assets.settings import Settings
from stockcast_assets.tables import MARKET_STATE
from stockcast_assets.tracking.parent_runs import parent_run
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.warehouse import (
    BigQueryWarehouse,
    BigQueryWarehouseIOManager,
    DuckDBWarehouse,
    DuckDBWarehouseIOManager,
    Warehouse,
)

_BETAS = (
    "CodeReferencesMetadataValue",
    "LocalFileCodeReference",
    "MultiPartitionMapping",
    "MultiToSingleDimensionPartitionMapping",
    "allow_nonexistent_upstream_partitions",
    "backfill_policy",
)


def warehouse_from(settings: Settings) -> Warehouse:
    """The warehouse the settings name. Opening it touches nothing until it is read or written."""
    if settings.warehouse == "bigquery":
        return BigQueryWarehouse(**_bigquery(settings), gcp_credentials=_key(settings))
    return DuckDBWarehouse(database=str(settings.database), schema="stockcast")


def other_warehouse(settings: Settings) -> Warehouse | None:
    """The one that the tables may have been in before: the home's own file, or BigQuery if a project is set."""
    if settings.warehouse == "bigquery":
        return (
            warehouse_from(settings.model_copy(update={"warehouse": "duckdb"})) if settings.database.exists() else None
        )
    return warehouse_from(settings.model_copy(update={"warehouse": "bigquery"})) if settings.gcp_project else None


def _bigquery(settings: Settings) -> dict[str, Any]:
    return {
        "project": str(settings.gcp_project),
        "dataset": settings.bq_dataset,
        "location": settings.bq_location,
        "maximum_bytes_billed": settings.bq_maximum_bytes_billed,
        "require_partition_filter": settings.bq_require_partition_filter,
    }


def _key(settings: Settings) -> ServiceAccountKey | None:
    key = _encoded_key(settings)
    return ServiceAccountKey(key, "STOCKCAST_GCP_CREDENTIALS") if key else None


def _encoded_key(settings: Settings) -> str | None:
    return settings.gcp_credentials.get_secret_value() if settings.gcp_credentials else None


def registry_from(settings: Settings) -> ModelRegistry:
    """The model registry: MLflow at STOCKCAST_MLFLOW_URI, or in the home."""
    # A server keeps artifacts where it was told to.
    return ModelRegistry(settings.mlflow_tracking_uri, None if settings.mlflow_uri else settings.artifacts)


def sources_from(settings: Settings, gcs: StorageClients | None = None) -> Sources:
    """Every source of bars, with STOCKCAST_SOURCE as the default."""
    return Sources(settings.source, settings.uploads_location, settings.gcp_project, _encoded_key(settings), gcs)


def uploads_from(settings: Settings, gcs: StorageClients | None = None) -> Uploads:
    """The place where CSV files are uploaded."""
    return open_uploads(settings.uploads_location, settings.gcp_project, _encoded_key(settings), gcs)


def reports_from(settings: Settings, gcs: StorageClients | None = None) -> ReportStore:
    """The drift reports: in STOCKCAST_REPORTS, or in the home."""
    return ReportStore(settings.reports_location, settings.gcp_project, _encoded_key(settings), gcs)


def heads_from(settings: Settings, gcs: StorageClients | None = None) -> HeadStore:
    """Where the ledger's heads are kept: in STOCKCAST_LEDGER_HEADS, if it is set."""
    return HeadStore(settings.ledger_heads, settings.gcp_project, _encoded_key(settings), gcs)


def resources_from(settings: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every resource by name. The Resources page shows their configuration; no run's configuration changes it.

    Args:
        settings: the settings.
        given: resources to use instead, by name: what reads through them does so, too.
    """
    # Sources and reports are plain objects over the bucket's resource, not resources that nest it: commands, the
    # dashboard and a sensor use them outside of runs, too.
    google = _google(settings)
    bigquery, gcs = (_ready(given[name]) if name in given else google.get(name) for name in ("bigquery", "gcs"))
    if settings.warehouse == "bigquery":
        io_manager: Any = BigQueryWarehouseIOManager(**_bigquery(settings), bigquery=bigquery)
    else:
        io_manager = DuckDBWarehouseIOManager(database=str(settings.database), schema="stockcast")
    warehouse: Warehouse = io_manager.warehouse()
    uploads, reports = settings.uploads_location, settings.reports_location
    made = {
        **google,
        "io_manager": io_manager,
        "warehouse": fixed_value(
            warehouse, "The tables: assets read them here.", {"kind": warehouse.kind, "place": warehouse.place}
        ),
        "sources": fixed_value(
            sources_from(settings, gcs),
            "Where bars come from.",
            {"default": settings.source, "uploads": uploads},
        ),
        "registry": fixed_value(
            registry_from(settings),
            "The models, in MLflow.",
            {"tracking_uri": without_credentials(settings.mlflow_tracking_uri)},
        ),
        "mlflow": fixed(parent_run(given.get("registry") or registry_from(settings))),
        "reports": fixed_value(reports_from(settings, gcs), "The stored drift reports.", {"location": reports}),
        "ledger_heads": fixed_value(
            heads_from(settings, gcs),
            "The ledger's heads, out of the warehouse.",
            {"location": settings.ledger_heads or "none"},
        ),
    }
    return made | {name: _fixed(value) for name, value in given.items()}


def _ready(resource: Any) -> Any:
    """A resource that a user hands in, with what its configuration takes from the environment."""
    if not isinstance(resource, dg.ConfigurableResource):
        return resource
    with resource.process_config_and_initialize_cm() as ready:
        return ready


def _places(settings: Settings) -> list[str]:
    return [settings.uploads_location, settings.reports_location, settings.ledger_heads or ""]


def _google(settings: Settings) -> dict[str, Any]:
    """What of Google's the settings name; nothing of it is imported where they name nothing."""
    buckets = any(place.startswith(SCHEME) for place in _places(settings))
    if settings.warehouse != "bigquery" and not buckets:
        return {}
    from stockcast_assets.google.resources import BigQueryResource, GCSResource

    project, key = settings.gcp_project, _key(settings)
    found: dict[str, Any] = {}
    if settings.warehouse == "bigquery":
        found["bigquery"] = BigQueryResource(project=project, location=settings.bq_location, credentials=key)
    if buckets:
        found["gcs"] = GCSResource(project=project, credentials=key)
    return found


def _fixed(value: Any) -> dg.ResourceDefinition:
    if isinstance(value, dg.ConfigurableResource):
        value = value.get_resource_definition()
    return fixed(value) if isinstance(value, dg.ResourceDefinition) else fixed_value(value)


def prepare(settings: Settings) -> None:
    """Check what only the whole can check, and lay the user's calendar table over the packaged one.

    Raises:
        StockcastError: if a ticker, a calendar code or the user's calendar table is wrong.
    """
    calendars.extend_rules(settings.home / "calendars.toml")
    calendars.validate_calendars(settings.calendars)
    for ticker in settings.tickers:
        validate_ticker(ticker)


def build_definitions(settings: Settings, **resources: Any) -> dg.Definitions:
    """Everything Dagster needs to know, for the given settings.

    Args:
        settings: the settings.
        resources: replacements by resource name: `warehouse`, `io_manager`, `sources`, `registry`, `reports`, and
            `bigquery` and `gcs`, by dagster-gcp or a user, through which the others then go.

    Raises:
        StockcastError: if a setting is wrong.
    """
    # What is beta and used here; any other that comes is told.
    for name in _BETAS:
        warnings.filterwarnings("ignore", rf".*`{name}`.* is currently in beta", dg.BetaWarning)
    prepare(settings)
    start, gcs = settings.start_date, _ready(resources.get("gcs"))
    # A year ahead and more, so that a daemon that stays up for months goes on leaving the closed days out.
    reach = settings.end_date or date(utc_today().year + 1, 12, 31)
    # No calendar is built to find that one of them trades every day.
    always = calendars.ALWAYS_OPEN in settings.calendars
    closed = () if always else calendars.kept_closed_days(settings.calendars, start, reach)
    daily = daily_partitions(start, settings.end_date, closed)
    monthly = monthly_partitions(start, settings.end_date)
    days = daily.time_window_dimension.partitions_def
    jobs = build_jobs()
    by_csv, shared = settings.source == "csv", settings.shared_network
    universe = Universe(start, settings.calendars, by_csv, daily, monthly, settings.tickers_per_run, shared)
    checks = [
        *build_checks(),
        build_still_reports(),
        *build_freshness_checks(universe),
        *build_quality_checks(),
        *build_second_opinion_checks(settings.second_source),
    ]
    calendar_table = settings.home / "calendars.toml"
    uploads, most = uploads_from(settings, gcs), settings.tickers_per_run
    inbox = Inbox(uploads, start, settings.end_date, settings.calendars, calendar_table, most)
    sensor_status = dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED
    schedule_status = dg.DefaultScheduleStatus.RUNNING if settings.automation else dg.DefaultScheduleStatus.STOPPED
    return dg.Definitions(
        assets=[
            with_code_link(asset)
            for asset in (
                build_price_history(start),
                build_raw_prices(daily, start),
                build_earnings_dates(),
                *build_market_state(days, settings.market_index, settings.tickers_per_run),
                build_indicators(daily, start),
                build_universe_model(months_of(monthly), start, settings.train_workers),
                build_trained_model(monthly, start, settings.train_workers, settings.model_max_age_days, shared),
                build_forecasts(daily, start, settings.model_max_age_days, settings.dashboard_url),
                build_drift_report(daily, start, settings.model_max_age_days, settings.dashboard_url),
                build_forecast_accuracy(daily, start, settings.dashboard_url),
                build_scenarios(days),
                build_tuning(start, settings.train_workers, settings.home / "optuna.db"),
            )
        ]
        + [ledger_spec(), price_revisions_spec()],
        asset_checks=checks,
        executor=in_turn(slices_of_run, {MARKET_DAYS: MARKET_STATE.name, MARKET_STATE.name: MARKET_STATE.name}),
        jobs=jobs.all(),
        schedules=build_schedules(
            jobs, universe, days, resources.get("warehouse") or warehouse_from(settings), schedule_status
        ),
        sensors=[
            build_configured_tickers(settings.tickers, sensor_status),
            build_ticker_lifecycle(jobs, universe, sensor_status),
            build_daily_catch_up(jobs, universe, other_warehouse(settings), sensor_status),
            build_csv_inbox(jobs, inbox, sensor_status),
            build_revisions(jobs, universe, sensor_status),
            build_retraining(jobs, universe, settings.model_max_age_days, sensor_status),
            build_freshness(universe, sensor_status),
            build_mlflow_runs(registry_from(settings), sensor_status),
            build_alerts(
                [url.get_secret_value() for url in settings.alerts],
                [key for check in checks for key in check.check_keys],
                sensor_status,
            ),
        ],
        resources=resources_from(settings, resources),
    )
