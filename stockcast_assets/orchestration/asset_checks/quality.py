"""Checks of what lasts: drift, lost coverage, lost skill, per ticker and by the thresholds of the retraining policy.

They block nothing: a forecast with lost skill is still the forecast, but somebody should know; the alerts tell it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.orchestration.asset_checks.thresholds import (
    enough_reports,
    enough_scores,
    lasting_drift,
    lost_coverage,
    lost_skill,
    recent_drift,
    recent_errors,
)
from stockcast_assets.orchestration.assets.specs import days_by_ticker, has_keys
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.tables import DRIFT_REPORT, FORECAST_ACCURACY
from stockcast_assets.warehouse import Warehouse


@dataclass(frozen=True)
class QualityCheck:
    """A check of an asset: `fault` says in words what is wrong with what was read of one ticker, or None."""

    asset: str
    name: str
    description: str
    fault: Callable[[Any], str | None]
    enough: Callable[[Any], bool]
    """Whether what was read of a ticker is enough to judge it; less is no fault, and no pass either."""


QUALITY_CHECKS = (
    QualityCheck(
        DRIFT_REPORT.name,
        "no_lasting_drift",
        "No ticker's inputs or residuals drifted in half of its last 20 reports. A warning: the market is no longer "
        "what the model was trained on, or the forecasts err as they did not. The sensor retraining answers it, and "
        "Evidently's report, linked from each key, shows which feature moved.",
        lasting_drift,
        enough_reports,
    ),
    QualityCheck(
        FORECAST_ACCURACY.name,
        "interval_covers",
        "The 80 % interval holds between 70 and 90 % of each ticker's recent outcomes. A warning: below, the intervals "
        "are too narrow to be trusted; above, too wide to be of use.",
        lost_coverage,
        enough_scores,
    ),
    QualityCheck(
        FORECAST_ACCURACY.name,
        "keeps_its_skill",
        "No ticker's published interval was worse, of late, than HAR's for the same sessions (forecasts of earlier "
        "releases, which have none beside them: than saying that nothing changes). A warning: the sensor retraining "
        "answers it; the gate then decides what is published.",
        lost_skill,
        enough_scores,
    ),
)


_READ: Mapping[str, Callable[[Warehouse, Mapping[str, date]], Mapping[str, Any]]] = {
    DRIFT_REPORT.name: recent_drift,
    FORECAST_ACCURACY.name: recent_errors,
}


def quality_faults(check: QualityCheck, recent: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong, by ticker, with what was read of each."""
    found = {ticker: check.fault(of) for ticker, of in recent.items()}
    return {ticker: words for ticker, words in found.items() if words is not None}


def judgement(judged: int, tickers: int) -> str:
    """What a check without a fault says: whether anything was judged at all."""
    if not judged:
        return f"Nothing was judged: none of {tickers} tickers has enough sessions yet"
    if judged < tickers:
        return f"{judged} of {tickers} tickers judged, the others have too few sessions yet"
    return f"{judged} tickers judged"


def build_quality_checks() -> list[dg.AssetChecksDefinition]:
    """One multi-check per asset, so that what they look at is read once."""
    by_asset: dict[str, list[QualityCheck]] = {}
    for check in QUALITY_CHECKS:
        by_asset.setdefault(check.asset, []).append(check)
    return [_build(asset, checks) for asset, checks in by_asset.items()]


def _build(asset: str, checks: list[QualityCheck]) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"{asset}_quality",
        specs=[dg.AssetCheckSpec(check.name, asset=asset, description=check.description) for check in checks],
        config_schema={},
    )
    def run(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        ends = _ends(context)
        recent = _READ[asset](warehouse, ends) if ends else {}
        for check in checks:
            found = quality_faults(check, recent)
            words = "; ".join(f"{ticker}: {fault}" for ticker, fault in found.items())
            judged = sum(check.enough(of) for of in recent.values())
            yield dg.AssetCheckResult(
                asset_key=check.asset,
                check_name=check.name,
                passed=not found,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{words or judgement(judged, len(recent))}.",
                metadata={
                    "tickers": dg.MetadataValue.json(found),
                    "tickers watched": judged,
                    "tickers at fault": len(found),
                },
            )

    return run


def _ends(context: dg.AssetCheckExecutionContext) -> dict[str, date]:
    """The last day to look at of each ticker: the run's, or today for all tickers if the check is executed alone."""
    if has_keys(context):
        return {ticker: days[-1].date() for ticker, days in days_by_ticker(context.partition_keys).items()}
    return dict.fromkeys(known_tickers(context.instance), utc_now().date())
