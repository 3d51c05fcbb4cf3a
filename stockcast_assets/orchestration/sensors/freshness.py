"""The sensor `freshness`: asks every hour whether rows are in time, so that it is told even when no run starts."""

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.orchestration.asset_checks.freshness import findings
from stockcast_assets.orchestration.planning.world import Universe
from stockcast_assets.warehouse import Warehouse


def build_freshness(universe: Universe, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor: evaluates the checks every hour, so that a daemon whose runs all stopped still turns them red."""

    @dg.sensor(
        name="freshness",
        minimum_interval_seconds=3600,
        default_status=status,
        description="Every hour: which tickers are stale or have gaps, by their own calendars, as check evaluations.",
    )
    def freshness(context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.SensorResult:
        found = findings(warehouse, context.instance, universe, utc_now())
        events = [
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(finding.table.name),
                check_name=finding.check,
                passed=not finding.faults,
                description=finding.words,
                metadata=finding.metadata,
            )
            for finding in found
        ]
        bad = [f"{finding.table.name}, {finding.check}: {finding.words}" for finding in found if finding.faults]
        return dg.SensorResult(asset_events=events, skip_reason=" ".join(bad) or "Every ticker is fresh and complete.")

    return freshness
