"""The jobs. Each is one single-run selection of assets that share their partitions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dagster as dg

from stockcast_assets.dagster_private.reads import AssetJob
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.assets.tuning import TUNING
from stockcast_assets.orchestration.graph import DAILY_ASSETS, KEY_OF, MARKET_DAYS
from stockcast_assets.tables import (
    EARNINGS_DATES,
    FORECASTS,
    PRICE_HISTORY,
    RAW_PRICES,
    SCENARIOS,
    TRAINED_MODEL,
    UNIVERSE_MODEL,
)

ASSETS_OF_JOB: Mapping[str, tuple[str, ...]] = {
    "ingest_earnings": (EARNINGS_DATES.name,),
    "ingest_history": (PRICE_HISTORY.name, EARNINGS_DATES.name),
    "ingest_daily": (RAW_PRICES.name,),
    "daily_forecast": (*DAILY_ASSETS, MARKET_DAYS),
    "universe_training": (UNIVERSE_MODEL.name, MARKET_DAYS),
    "monthly_training": (TRAINED_MODEL.name, MARKET_DAYS),
    # A job cannot have the name of an asset.
    "tune": (TUNING,),
    "joint_scenarios": (SCENARIOS.name,),
}
"""What each job materialises."""


def with_companions(assets: Iterable[str]) -> tuple[str, ...]:
    """What a run makes together with these assets: forecasts and models read the market's days, which it adds first."""
    wanted = tuple(assets)
    needy = {FORECASTS.name, TRAINED_MODEL.name, UNIVERSE_MODEL.name}
    return (*wanted, MARKET_DAYS) if needy & set(wanted) else wanted


def job_for(assets: Iterable[str]) -> str:
    """Name of the job that launches these assets together: the first that has them all."""
    wanted = set(assets)
    return next(name for name, of_job in ASSETS_OF_JOB.items() if wanted <= set(of_job))


@dataclass(frozen=True)
class Jobs:
    """The jobs by what they do."""

    ingest_earnings: AssetJob
    ingest_history: AssetJob
    ingest_daily: AssetJob
    daily_forecast: AssetJob
    universe_training: AssetJob
    monthly_training: AssetJob
    tune: AssetJob
    joint_scenarios: AssetJob

    def all(self) -> list[AssetJob]:
        return [
            self.ingest_earnings,
            self.ingest_history,
            self.ingest_daily,
            self.daily_forecast,
            self.universe_training,
            self.monthly_training,
            self.tune,
            self.joint_scenarios,
        ]


_DESCRIPTIONS = {
    "ingest_earnings": "What is said of the earnings reports of tickers, one key each: every evening at 22:30 UTC.",
    "ingest_history": (
        "The deep past of tickers and their earnings reports, one key each: when a ticker is new, or its past has "
        "changed."
    ),
    "ingest_daily": (
        "Daily bars of a range of sessions, nothing downstream: when a ticker is brought up, a file was dropped in the "
        "inbox, or the source corrected itself."
    ),
    "daily_forecast": (
        "A finished day of all tickers in one run: bars, indicators, forecasts, drift, and the score of older "
        "forecasts. Every night at 00:30 UTC. It needs the month's models, which monthly_training makes."
    ),
    "universe_training": (
        "The networks of a month of use, fitted on all tickers together on what was known before it: once, before "
        "monthly_training judges each ticker beside them."
    ),
    "monthly_training": (
        "The models of a month of use, trained on what was known before it, and judged before they are used. At 02:00 "
        "UTC on the first of the month."
    ),
    "tune": (
        "Hyper-parameters of tickers, searched on request; on no schedule. The next training uses what beat the "
        "defaults."
    ),
    "joint_scenarios": (
        "The joint scenarios of a day's forecasts, once all of them are there. Every morning at 06:00 UTC."
    ),
}


def build_jobs() -> Jobs:
    """Every job, with a tag on its runs that says what their keys are."""
    return Jobs(
        **{
            name: dg.define_asset_job(
                name,
                selection=dg.AssetSelection.assets(*assets),
                description=_DESCRIPTIONS[name],
                tags={tags.KEY: KEY_OF.get(assets[0], "ticker")},
            )
            for name, assets in ASSETS_OF_JOB.items()
        }
    )
