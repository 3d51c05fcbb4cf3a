"""`tuning`: better hyper-parameters for a ticker, if there are any. It stores no rows; its metadata is its result."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
from pydantic import Field

from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.training.tuning import Tuning, finish, tune
from stockcast_assets.keys import month_of, validate_ticker
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.assets.bars import complete_bars, read_bars
from stockcast_assets.orchestration.assets.metadata import picture, show, timed
from stockcast_assets.orchestration.assets.run_config import RunInput, configured_by
from stockcast_assets.orchestration.assets.specs import SINGLE_RUN, Decorator, kinds, of_ticker
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES
from stockcast_assets.tracking.parent_runs import ParentRun, end_parent
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.tracking.studies import charts, log_tuning
from stockcast_assets.warehouse import Warehouse

TUNING = "tuning"
DEFAULT_TRIALS = 20
MOST_TRIALS = 1_000

FED = "parameters for the next training"
"""Metadata: JSON, hyper-parameters over the defaults; empty unless the best set beat them on validation."""


_ABOUT = """
Hyper-parameters searched with Optuna on validation sessions before the gate's first test fold. The next training of the
ticker uses the best set through its run configuration **if it beat the defaults there**.

Materialised on request only (`stockcast tune MSFT`, or here with `trials` in the configuration); it stores no rows, its
metadata is its result.
"""


class TuningConfig(RunInput):
    """How many trials to add to each ticker's study; those of a run that was stopped count."""

    trials: int = Field(DEFAULT_TRIALS, ge=1, le=MOST_TRIALS)


def _bars_before_the_month(
    ticker: str, warehouse: Warehouse, instance: dg.DagsterInstance, first_daily_key: date, sources: Sources
) -> pd.DataFrame:
    """The bars before the month of the newest one, as the month's model knows them: a month is one study.

    Raises:
        StockcastError: if there are none, or sessions are missing.
    """
    stored = read_bars(warehouse, [ticker], utc_now().date())
    if stored.empty:
        raise StockcastError(f"There are no bars of {ticker} to tune on: run `stockcast forecast {ticker}` first.")
    until = pd.Timestamp(month_of(stored["date"].iloc[-1])) - pd.Timedelta(days=1)
    bars = complete_bars(warehouse, instance, [ticker], until, first_daily_key, sources)[ticker]
    if bars.empty:
        raise StockcastError(f"{ticker} has no bar before {until.date()}: ingest a longer history to tune on.")
    return bars


def _shown(tuning: Tuning, link: str, pictures: dict[str, bytes]) -> dict[str, dg.MetadataValue]:
    return {
        "result": dg.MetadataValue.text(tuning.in_words()),
        FED: dg.MetadataValue.json(tuning.fed),
        "best parameters": dg.MetadataValue.json(tuning.best.parameters),
        "trials": dg.MetadataValue.int(len(tuning.trials)),
        "validation pinball / defaults": dg.MetadataValue.float(tuning.ratio),
        "lower end (95 %)": dg.MetadataValue.float(tuning.low),
        "upper end (95 %)": dg.MetadataValue.float(tuning.high),
        "gain less luck": dg.MetadataValue.float(tuning.deflated_gain),
        "probability by luck": dg.MetadataValue.float(tuning.p_value),
        "MLflow": dg.MetadataValue.url(link),
        **{name.replace("_", " "): picture(png, name) for name, png in pictures.items()},
    }


def build_tuning(first_daily_key: date, workers: int, storage: Path) -> dg.AssetsDefinition:
    """The search, one Optuna study per ticker and month in the SQLite file `storage`."""
    asset: Decorator = dg.asset(
        name=TUNING,
        description=_ABOUT.strip(),
        tags={tags.KEY: "ticker"},
        group_name="forecasting",
        partitions_def=ticker_partitions,
        backfill_policy=SINGLE_RUN,
        deps=[PRICE_HISTORY.name, dg.AssetDep(RAW_PRICES.name, partition_mapping=of_ticker())],
        pool=TUNING,
        hooks={end_parent},
        config_schema=TuningConfig.schema_of_runs(),
        **kinds("optuna", "mlflow"),
    )

    @asset
    @timed
    @configured_by(TuningConfig)
    def tuning(
        context: dg.AssetExecutionContext,
        config: TuningConfig,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        registry: dg.ResourceParam[ModelRegistry],
        mlflow: dg.ResourceParam[ParentRun],
    ) -> dg.MaterializeResult[None]:
        tickers = [validate_ticker(key) for key in context.partition_keys]
        bars = {
            ticker: _bars_before_the_month(ticker, warehouse, context.instance, first_daily_key, sources)
            for ticker in tickers
        }
        found = tune(
            bars,
            config.trials,
            storage,
            workers=workers,
            progress=lambda ticker: context.log.info(f"{ticker}: {config.trials} trials done"),
        )
        shown = {}
        for ticker, result in found.items():
            pictures = charts(result)
            link = log_tuning(registry, result, pictures, mlflow.begin)
            context.log.info(f"{ticker}: {result.in_words()}")
            shown[ticker] = _shown(result, link, pictures)
        show(context, shown)
        finish(storage, [result.study for result in found.values()])
        return dg.MaterializeResult(metadata={"trials added": config.trials})

    return tuning
