"""What tuning found reaches a training through the run configuration, whoever launches it."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration.assets.trained_model import TrainingConfig
from stockcast_assets.orchestration.assets.tuning import FED, TUNING
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.orchestration.planning.runner import Runner
from stockcast_assets.orchestration.planning.tuned import training_run_config, tuned_parameters
from stockcast_assets.settings import Settings
from stockcast_assets_tests.automation.test_ticks import brought_up, report, tick_schedule
from stockcast_assets_tests.csvfiles import write_csv

BETTER = {"units": 16, "layers": 2, "window": 5, "epochs": 2, "batch_size": 512, "learning_rate": 0.001, "dropout": 0.1}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def tuned(instance: dg.DagsterInstance, ticker: str, fed: dict[str, object]) -> None:
    """As if the asset `tuning` had run."""
    event = dg.AssetMaterialization(TUNING, partition=ticker, metadata={FED: dg.MetadataValue.json(fed)})
    instance.report_runless_asset_event(event)


def test_only_tickers_with_something_better_are_fed_and_the_latest_counts(instance: dg.DagsterInstance) -> None:
    assert training_run_config(instance, ["AAPL", "MSFT"]) == {}
    tuned(instance, "AAPL", BETTER)
    tuned(instance, "MSFT", BETTER | {"units": 32})
    tuned(instance, "IBM", BETTER)
    tuned(instance, "MSFT", {})
    assert tuned_parameters(instance, ["AAPL", "MSFT"]) == {"AAPL": BETTER}
    config = training_run_config(instance, ["AAPL"], trigger="drift")
    assert config == {"ops": {"trained_model": {"config": {"trigger": "drift", "tuned": {"AAPL": BETTER}}}}}


def test_the_monthly_schedule_asks_for_what_was_tuned(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    brought_up(instance, date(2013, 1, 31), "AAPL", "MSFT")
    report(instance, "trained_model", "2013-01-01", "AAPL", "MSFT")
    tuned(instance, "MSFT", BETTER)
    at = datetime(2013, 2, 1, 2, tzinfo=UTC)
    (request,) = tick_schedule(build_definitions(make_settings()), "monthly_training", instance, at)
    assert request.run_config == {"ops": {"trained_model": {"config": {"tuned": {"MSFT": BETTER}}}}}


def test_each_ticker_trains_with_its_own_parameters() -> None:
    config = TrainingConfig(units=32, tuned={"MSFT": {"units": 16}})
    assert config.hyperparameters("MSFT") == ModelConfig(units=16)
    assert config.hyperparameters("AAPL") == ModelConfig(units=32)
    with pytest.raises(StockcastError, match=r"tuned.MSFT is not usable: heads is no field"):
        TrainingConfig(tuned={"MSFT": {"heads": 2}})


def test_tuning_is_an_asset_beside_the_tables_on_no_schedule(make_settings: Callable[..., Settings]) -> None:
    defs = build_definitions(make_settings())
    asset = defs.resolve_assets_def(TUNING)
    assert asset.group_names_by_key[dg.AssetKey(TUNING)] == "forecasting"
    assert asset.op.pool == TUNING
    assert defs.resolve_job_def("tune").asset_layer.selected_asset_keys == {dg.AssetKey(TUNING)}
    assert all(schedule.job_name != "tune" for schedule in defs.schedules or [])


@pytest.mark.timeout(300)
def test_the_next_training_has_them_in_its_run_and_in_mlflow(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    """A training launched by the runner, as every command does it: one ticker tuned, its neighbour not."""
    settings = make_settings(source="csv", start_date=date(2012, 6, 1), end_date=date(2012, 6, 29), train_workers=2)
    for ticker in ("AAPL", "IBM"):
        bars = SampleSource().bars(ticker, None, date(2012, 6, 29)).tail(320)
        write_csv(Path(settings.uploads_location), ticker, bars)
    add_tickers(instance, ["AAPL", "IBM"])
    tuned(instance, "IBM", BETTER)
    tables = warehouse_from(settings)
    runner = Runner(build_definitions(settings), instance, settings.start_date, tables, lambda step: nullcontext())
    day = SampleSource().bars("IBM", date(2012, 6, 1), date(2012, 6, 4))["date"].iloc[-1]
    runner.bring_up({"AAPL": [day], "IBM": [day]})
    (run,) = instance.get_runs(dg.RunsFilter(job_name="monthly_training"))
    assert run.run_config["ops"]["trained_model"]["config"]["tuned"] == {"IBM": BETTER}
    client = MlflowClient(settings.mlflow_tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("stockcast").experiment_id])
    tickers = {run.info.run_id: run.data.tags.get("stockcast.ticker") for run in runs}
    params = {tickers[run.info.run_id]: run.data.params for run in runs if tickers[run.info.run_id]}
    assert {name: params["IBM"][name] for name in BETTER} == {name: str(value) for name, value in BETTER.items()}
    assert params["AAPL"]["units"] == str(ModelConfig.units)
