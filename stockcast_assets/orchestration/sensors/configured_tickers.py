"""The sensor `configured_tickers`: the tickers of STOCKCAST_TICKERS become partitions."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.planning.ranges import known_tickers


def build_configured_tickers(tickers: Sequence[str], status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Makes the tickers of STOCKCAST_TICKERS partitions, so that no command has to be typed in a container."""

    @dg.sensor(
        name="configured_tickers",
        minimum_interval_seconds=60,
        default_status=status,
        description="Adds the tickers of STOCKCAST_TICKERS that are not partitions yet.",
    )
    def configured_tickers(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        known = set(known_tickers(context.instance))
        new = [ticker for ticker in tickers if ticker not in known]
        if not new:
            return dg.SkipReason("Every ticker of STOCKCAST_TICKERS is there.")
        return dg.SensorResult(dynamic_partitions_requests=[ticker_partitions.build_add_request(new)])

    return configured_tickers
