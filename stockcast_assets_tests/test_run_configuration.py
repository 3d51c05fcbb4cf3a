"""Run configuration is what a stranger may send: it chooses neither where data lies nor what is loaded."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.dagster_private.fixed import fixed
from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.assets.prices import IngestConfig
from stockcast_assets.orchestration.assets.trained_model import TrainingConfig
from stockcast_assets.orchestration.assets.tuning import MOST_TRIALS, TUNING, TuningConfig
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.settings import Settings
from stockcast_assets.warehouse import BigQueryWarehouseIOManager, DuckDBWarehouse, DuckDBWarehouseIOManager, TableRef
from stockcast_assets.warehouse.slices import Slice, Values
from stockcast_assets_tests.warehouse.helpers import PRICES, closes, prices, write

CANARY = "canary-3f1c9d"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Settings(home=tmp_path_factory.mktemp("home"), source="sample"))


@pytest.fixture(scope="module")
def jobs(definitions: dg.Definitions) -> list[dg.JobDefinition]:
    """Every job, those that Dagster makes for a click on Materialize among them."""
    return definitions.get_repository_def().get_all_jobs()


def refused(job: dg.JobDefinition, config: Mapping[str, Any]) -> str:
    with pytest.raises(dg.DagsterInvalidConfigError) as caught:
        dg.validate_run_config(job, dict(config))
    return str(caught.value)


ELSEWHERE: list[dict[str, Any]] = [
    {"database": "/tmp/elsewhere.duckdb"},
    {"database": {"env": "HOME"}},
    {"schema": "other"},
    {"connection_config": {"custom_extension_repository": "http://127.0.0.1:1", "autoload_known_extensions": True}},
    {"connection_config": {"allow_unsigned_extensions": True}},
    {"lock_timeout": 1.0},
    {"place": "/tmp/elsewhere.duckdb"},
    {"default": "csv"},
    {"uploads": "/etc"},
    {"tracking_uri": "http://127.0.0.1:1"},
    {"location": "gs://elsewhere"},
]


@pytest.mark.parametrize("config", ELSEWHERE, ids=str)
def test_no_resource_of_any_job_can_be_changed(
    definitions: dg.Definitions, jobs: list[dg.JobDefinition], config: dict[str, Any]
) -> None:
    assert jobs
    for job in jobs:
        assert definitions.resources is not None
        for name in definitions.resources:
            assert name in refused(job, {"resources": {name: {"config": config}}})


@given(st.sampled_from(["io_manager", "warehouse", "sources", "registry", "reports"]), JSON.filter(bool))
def test_whatever_a_resource_is_told_is_refused(definitions: dg.Definitions, name: str, config: Any) -> None:
    job = definitions.resolve_job_def("daily_forecast")
    refused(job, {"resources": {name: {"config": config}}})


def test_a_run_that_would_write_elsewhere_is_refused_before_it_begins(tmp_path: Path) -> None:
    """What was tried: another database by configuration, and the key green with its data elsewhere."""

    @dg.asset
    def numbers() -> Any:
        return prices([("AAPL", "2024-01-02", 1.0)])

    here, there = tmp_path / "here.duckdb", tmp_path / "there.duckdb"
    manager = DuckDBWarehouseIOManager(database=str(here), schema="web")
    job = dg.Definitions([numbers], resources={"io_manager": manager}).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        for config in ({"database": str(there)}, {"connection_config": {"threads": 1}}):
            with pytest.raises(dg.DagsterInvalidConfigError, match="unexpected config entry"):
                job.execute_in_process({"resources": {"io_manager": {"config": config}}}, instance=instance)
        assert instance.get_runs() == []
        assert not here.exists()
        assert job.execute_in_process({}, instance=instance).success
    assert (here.exists(), there.exists()) == (True, False)


def test_an_io_manager_of_another_project_takes_its_place_from_the_environment_in_code_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset
    def numbers() -> Any:
        return prices([("AAPL", "2024-01-02", 1.0)])

    monkeypatch.setenv("PLACE", str(tmp_path / "named.duckdb"))
    manager = DuckDBWarehouseIOManager(database=dg.EnvVar("PLACE"), connection_config={"threads": 1})
    assert dg.materialize([numbers], resources={"io_manager": manager}).success
    assert (tmp_path / "named.duckdb").exists()
    with pytest.raises(StockcastError, match="cannot be configured at launch"):
        DuckDBWarehouseIOManager.configure_at_launch()


def steps(job: dg.JobDefinition) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each asset's and check's name and configuration fields."""
    for node in job.all_node_defs:
        yield node.name, getattr(node.config_schema.config_type, "fields", None)  # type: ignore[union-attr,misc]


def test_no_asset_or_check_takes_a_field_it_does_not_declare(jobs: list[dg.JobDefinition]) -> None:
    seen = set()
    for job in jobs:
        for name, _ in steps(job):
            seen.add(name)
            assert "stranger" in refused(job, {"ops": {name: {"config": {"stranger": 1}}}})
    assert {"price_history", "raw_prices", "indicators", "trained_model", "forecasts", TUNING} <= seen


def test_no_field_of_an_asset_reads_the_environment(
    jobs: list[dg.JobDefinition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", CANARY)
    tried = set()
    for job in jobs:
        for name, fields in steps(job):
            for field in fields:
                if field == "tuned":
                    continue
                tried.add((name, field))
                assert CANARY not in refused(job, {"ops": {name: {"config": {field: {"env": "SECRET"}}}}})
    assert {("trained_model", "trigger"), ("raw_prices", "source"), (TUNING, "trials")} <= tried


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (TuningConfig, {"trials": 0}, "trials=0"),
        (TuningConfig, {"trials": MOST_TRIALS + 1}, f"trials={MOST_TRIALS + 1}"),
        (TrainingConfig, {"units": 10**9}, "units"),
        (TrainingConfig, {"batch_size": 10**9}, "batch_size"),
        (TrainingConfig, {"epochs": 10**9}, "epochs"),
        (TrainingConfig, {"seed": -1}, "seed"),
        (TrainingConfig, {"learning_rate": 1.0}, "learning_rate"),
        (TrainingConfig, {"dropout": float("nan")}, "dropout"),
        (TrainingConfig, {"known_until": "x" * 1000}, "known_until"),
        (TrainingConfig, {"trigger": "x" * 501}, "trigger"),
        (TrainingConfig, {"trigger": "two\nlines"}, "one line"),
        (TrainingConfig, {"trigger": "\x1b[2J"}, "printable"),
        (TrainingConfig, {"tuned": {"../x": {}}}, "ticker"),
        (TrainingConfig, {"tuned": {"AAPL": {"units": "64"}}}, r"tuned\.AAPL.*units"),
        (TrainingConfig, {"tuned": {"AAPL": {"units": {"env": "HOME"}}}}, r"tuned\.AAPL.*units"),
        (TrainingConfig, {"tuned": {"AAPL": {"known_until": "2024-01-01"}}}, "known_until is no field"),
        (TrainingConfig, {"tuned": {"AAPL": 3}}, "tuned"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_one_sentence(config: Any, values: dict[str, Any], words: str) -> None:
    with pytest.raises(StockcastError, match=words) as caught:
        config.of(Asked(values))
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 300


class Asked:
    """What `RunInput.of` asks a run's context."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.op_config = config
        self.asset_key = dg.AssetKey("some_asset")

    @property
    def op_execution_context(self) -> "Asked":
        return self


def test_a_source_is_one_of_those_there_are(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("ingest_daily")
    dg.validate_run_config(job, {"ops": {"raw_prices": {"config": {"source": "csv"}}}})
    dg.validate_run_config(job, {"ops": {"raw_prices": {"config": {"source": None}}}})
    for other in ("http://127.0.0.1", "../csv", "", 3, ["csv"]):
        refused(job, {"ops": {"raw_prices": {"config": {"source": other}}}})
    assert IngestConfig(source="csv").source == "csv"


def test_a_run_with_a_value_out_of_range_fails_with_the_sentence(make_settings: Callable[..., Settings]) -> None:
    definitions = build_definitions(make_settings())
    with dg.DagsterInstance.ephemeral() as instance:
        add_tickers(instance, ["AAPL"])
        result = definitions.resolve_job_def("tune").execute_in_process(
            {"ops": {TUNING: {"config": {"trials": 0}}}},
            instance=instance,
            partition_key="AAPL",
            raise_on_error=False,
        )
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "The run configuration of tuning is not usable: trials=0" in failed.step_failure_data.error_display_string


READS = [
    "(SELECT content FROM read_text('/etc/passwd'))",
    "(SELECT column0 FROM read_csv('/etc/passwd', header = false) LIMIT 1)",
    "(SELECT filename FROM glob('/etc/*') t(filename) LIMIT 1)",
    "(SELECT content FROM read_text('http://127.0.0.1:1/x'))",
]


@pytest.mark.parametrize("sql", READS)
def test_a_query_reaches_no_file_and_no_network(tmp_path: Path, sql: str) -> None:
    warehouse = DuckDBWarehouse(str(tmp_path / "warehouse.duckdb"))
    write(warehouse, prices([("AAPL", "2024-01-02", 1.0)]))
    with pytest.raises(StockcastError, match="disabled by configuration"):
        warehouse.load(TableRef("stockcast", "prices"), Slice(((Values(sql, ("x",)),),)), PRICES)


@pytest.mark.parametrize(
    "setting",
    ["custom_extension_repository", "autoinstall_known_extensions", "autoload_known_extensions", "access_mode",
     "allow_unsigned_extensions", "allow_community_extensions", "enable_external_access", "extension_directory",
     "allowed_paths", "lock_configuration", "home_directory", "secret_directory"],
)  # fmt: skip
def test_what_duckdb_may_load_and_reach_is_no_setting(setting: str) -> None:
    for make in (DuckDBWarehouse, DuckDBWarehouseIOManager):
        with pytest.raises(StockcastError, match=f"{setting}.*memory_limit, .*widen 'allowed_settings' in code"):
            make(database="x.duckdb", connection_config={setting: "x"})


def test_what_duckdb_may_use_is_and_arrow_goes_in_and_spills(tmp_path: Path) -> None:
    limits = {"memory_limit": "60MB", "threads": 1, "temp_directory": str(tmp_path / "spill")}
    warehouse = DuckDBWarehouse(str(tmp_path / "warehouse.duckdb"), connection_config=limits)
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    frame = prices((f"T{number}", day, 1.0) for number in range(600) for day in days)
    write(warehouse, frame)
    assert len(warehouse.read(PRICES)) == len(frame)


def test_another_project_widens_the_settings_in_code(tmp_path: Path) -> None:
    class Wider(DuckDBWarehouseIOManager):
        allowed_settings = DuckDBWarehouseIOManager.allowed_settings | {"default_order"}

    manager = Wider(
        database=str(tmp_path / "warehouse.duckdb"), schema="stockcast", connection_config={"default_order": "desc"}
    )
    write(manager.warehouse(), prices([("AAPL", "2024-01-02", 1.0)]))
    assert closes(manager.warehouse()) == {("AAPL", "2024-01-02"): 1.0}


def test_a_key_is_in_no_representation_of_the_io_manager() -> None:
    manager = BigQueryWarehouseIOManager(project="p", dataset="d", gcp_credentials=CANARY)
    assert CANARY not in f"{manager!r} {manager} {manager.warehouse()!r}"
    shown = manager.get_resource_definition().config_schema.default_value_as_json_str
    assert CANARY not in shown
    assert "(hidden)" in shown


def test_a_resource_of_dagster_s_old_kind_is_closed_too() -> None:
    @dg.resource(config_schema={"name": dg.Field(str, default_value="mine")})
    def named(context: dg.InitResourceContext) -> str:
        return context.resource_config["name"]

    @dg.op(required_resource_keys={"named"})
    def told(context: dg.OpExecutionContext) -> str:
        return context.resources.named

    @dg.job(resource_defs={"named": fixed(named)})
    def asked() -> None:
        told()

    assert asked.execute_in_process().output_for_node("told") == "mine"
    refused(asked, {"resources": {"named": {"config": {"name": "yours"}}}})
