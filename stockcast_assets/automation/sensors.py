"""The sensor that keeps the configured tickers there."""

from collections.abc import Sequence

import dagster as dg

from stockcast_assets.automation.ranges import known_tickers
from stockcast_assets.partitions import ticker_partitions


def build_configured_tickers(tickers: Sequence[str]) -> dg.SensorDefinition:
    """Makes the tickers of STOCKCAST_TICKERS partitions, so that no command has to be typed in a container."""

    @dg.sensor(
        name="configured_tickers",
        minimum_interval_seconds=60,
        description="Adds the tickers of STOCKCAST_TICKERS that are not partitions yet.",
    )
    def configured_tickers(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        known = set(known_tickers(context.instance))
        new = [ticker for ticker in tickers if ticker not in known]
        if not new:
            return dg.SkipReason("Every ticker of STOCKCAST_TICKERS is there.")
        return dg.SensorResult(dynamic_partitions_requests=[ticker_partitions.build_add_request(new)])

    return configured_tickers
