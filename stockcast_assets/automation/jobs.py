"""The jobs. Each is one single-run selection of assets that share their partitions."""

from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

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
    DRIFT_REPORT.name,
    FORECAST_ACCURACY.name,
)


@dataclass(frozen=True)
class Jobs:
    """The jobs by what they do."""

    ingest_history: UnresolvedAssetJobDefinition
    ingest_daily: UnresolvedAssetJobDefinition
    daily_forecast: UnresolvedAssetJobDefinition
    monthly_training: UnresolvedAssetJobDefinition

    def all(self) -> list[UnresolvedAssetJobDefinition]:
        return [self.ingest_history, self.ingest_daily, self.daily_forecast, self.monthly_training]


def build_jobs() -> Jobs:
    def job(name: str, description: str, *assets: str) -> UnresolvedAssetJobDefinition:
        return dg.define_asset_job(name, selection=list(assets), description=description)

    return Jobs(
        ingest_history=job("ingest_history", "The deep past of tickers, one key each.", PRICE_HISTORY.name),
        ingest_daily=job("ingest_daily", "Daily bars of a range of sessions, nothing downstream.", RAW_PRICES.name),
        daily_forecast=job(
            "daily_forecast",
            "A finished day of all tickers: bars, indicators, forecasts, drift, and the score of older forecasts.",
            *DAILY_ASSETS,
        ),
        monthly_training=job(
            "monthly_training", "The models of a month of use, trained on what was known before.", TRAINED_MODEL.name
        ),
    )
