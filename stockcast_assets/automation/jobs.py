"""The jobs. Each is one single-run selection of assets that share their partitions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from stockcast_assets.assets.tuning import TUNING
from stockcast_assets.tables import (
    DRIFT_REPORT,
    FORECAST_ACCURACY,
    FORECASTS,
    INDICATORS,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
)

DAILY_ASSETS = (
    RAW_PRICES.name,
    INDICATORS.name,
    FORECASTS.name,
    FORECAST_ACCURACY.name,
    DRIFT_REPORT.name,
)


ASSETS_OF_JOB: Mapping[str, tuple[str, ...]] = {
    "ingest_history": (PRICE_HISTORY.name,),
    "ingest_daily": (RAW_PRICES.name,),
    "daily_forecast": DAILY_ASSETS,
    "monthly_training": (TRAINED_MODEL.name,),
    # A job cannot have the name of an asset.
    "tune": (TUNING,),
}
"""What each job materialises."""


def job_for(assets: Iterable[str]) -> str:
    """Name of the job that launches these assets together: the first that has them all."""
    wanted = set(assets)
    return next(name for name, of_job in ASSETS_OF_JOB.items() if wanted <= set(of_job))


@dataclass(frozen=True)
class Jobs:
    """The jobs by what they do."""

    ingest_history: UnresolvedAssetJobDefinition
    ingest_daily: UnresolvedAssetJobDefinition
    daily_forecast: UnresolvedAssetJobDefinition
    monthly_training: UnresolvedAssetJobDefinition
    tune: UnresolvedAssetJobDefinition

    def all(self) -> list[UnresolvedAssetJobDefinition]:
        return [self.ingest_history, self.ingest_daily, self.daily_forecast, self.monthly_training, self.tune]


def build_jobs() -> Jobs:
    def job(name: str, description: str) -> UnresolvedAssetJobDefinition:
        return dg.define_asset_job(name, selection=list(ASSETS_OF_JOB[name]), description=description)

    return Jobs(
        ingest_history=job("ingest_history", "The deep past of tickers, one key each."),
        ingest_daily=job("ingest_daily", "Daily bars of a range of sessions, nothing downstream."),
        daily_forecast=job(
            "daily_forecast",
            "A finished day of all tickers: bars, indicators, forecasts, the score of older forecasts, and drift.",
        ),
        monthly_training=job("monthly_training", "The models of a month of use, trained on what was known before."),
        tune=job("tune", "Hyper-parameters of tickers, searched on request; on no schedule."),
    )
