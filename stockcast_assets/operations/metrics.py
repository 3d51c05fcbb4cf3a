"""What Prometheus asks: runs, keys, bars, forecasts, the queue and the stages, read when it asks."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stockcast_assets.clock import utc_now
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.tables import ALL_TABLES, FORECASTS, PRICE_HISTORY, RAW_PRICES
from stockcast_assets.warehouse import Warehouse

_RECENT_RUNS = 200
_RUNS_OF_STAGES = 20
"""Runs whose states are told, and those in whose logs the stages are looked for: a scrape costs the same whatever the
history."""

_WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)


class StockcastCollector(Collector):
    """Reads the instance and the warehouse anew at each scrape."""

    def __init__(self, instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
        self._instance = instance
        self._warehouse = warehouse

    def collect(self) -> Iterator[Metric]:
        yield from self._runs()
        yield from self._keys()
        yield from self._tables()

    def _runs(self) -> Iterator[Metric]:
        records = self._instance.get_run_records(limit=_RECENT_RUNS)
        states = GaugeMetricFamily("stockcast_recent_runs", f"Of the last {_RECENT_RUNS} runs", labels=["status"])
        for status, count in Counter(record.dagster_run.status for record in records).items():
            states.add_metric([status.value.lower()], count)
        yield states

        waiting = self._instance.get_runs_count(dg.RunsFilter(statuses=list(_WAITING)))
        yield GaugeMetricFamily("stockcast_queued_runs", "Runs that wait to be launched", value=waiting)

        stages = GaugeMetricFamily(
            "stockcast_stage_seconds", "What each asset's newest finished step took", labels=["asset"]
        )
        seen: set[str] = set()
        finished = [record for record in records if record.dagster_run.is_finished]
        for record in finished[:_RUNS_OF_STAGES]:
            for step in self._instance.get_run_step_stats(record.dagster_run.run_id):
                if step.step_key not in seen and step.start_time and step.end_time:
                    seen.add(step.step_key)
                    stages.add_metric([step.step_key], step.end_time - step.start_time)
        yield stages

    def _keys(self) -> Iterator[Metric]:
        keys = GaugeMetricFamily("stockcast_materialized_keys", "Partition keys of each asset", labels=["asset"])
        for table in ALL_TABLES:
            keys.add_metric([table.name], len(self._instance.get_materialized_partitions(dg.AssetKey(table.name))))
        yield keys

    def _tables(self) -> Iterator[Metric]:
        tickers = known_tickers(self._instance)
        now = utc_now()
        age = GaugeMetricFamily(
            "stockcast_newest_bar_age_seconds", "Since midnight UTC of the ticker's newest bar", labels=["ticker"]
        )
        covered = 0
        for ticker in tickers:
            # The days of one ticker, by its clustered column: bytes, not gigabytes, on BigQuery.
            newest = {
                table.name: self._warehouse.read(table, tickers=[ticker], columns=["date"])["date"].max()
                for table in (PRICE_HISTORY, RAW_PRICES, FORECASTS)
            }
            bars = [day for name, day in newest.items() if name != FORECASTS.name and day == day]
            if not bars:
                continue
            age.add_metric([ticker], now.timestamp() - max(bars).tz_localize("UTC").timestamp())
            covered += newest[FORECASTS.name] == max(bars)
        yield age
        yield GaugeMetricFamily("stockcast_tickers", "Tickers that are forecast", value=len(tickers))
        yield GaugeMetricFamily(
            "stockcast_forecast_coverage",
            "Share of the tickers whose newest bar has a forecast",
            value=covered / len(tickers) if tickers else 0.0,
        )
