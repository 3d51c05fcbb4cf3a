"""What Prometheus asks: runs, keys, bars, forecasts, the queue and the stages, read when it asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import dagster as dg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stockcast_assets.clock import utc_now
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.tables import ALL_TABLES, FORECASTS, PRICE_HISTORY, RAW_PRICES, Table
from stockcast_assets.warehouse import Warehouse

_RECENT_RUNS = 200
_RUNS_OF_STAGES = 20
"""Runs whose states are told, and those in whose logs the stages are looked for: a scrape costs the same whatever the
history."""

_RECENT = timedelta(days=30)
"""In which a ticker that is traded has bars and forecasts."""

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
        bars = self._newest(tickers, RAW_PRICES, PRICE_HISTORY)
        forecasts = self._newest(tickers, FORECASTS)
        age = GaugeMetricFamily(
            "stockcast_newest_bar_age_seconds", "Since midnight UTC of the ticker's newest bar", labels=["ticker"]
        )
        for ticker, day in bars.items():
            age.add_metric([ticker], now.timestamp() - day.tz_localize("UTC").timestamp())
        yield age
        yield GaugeMetricFamily("stockcast_tickers", "Tickers that are forecast", value=len(tickers))
        covered = sum(forecasts.get(ticker) == day for ticker, day in bars.items())
        yield GaugeMetricFamily(
            "stockcast_forecast_coverage",
            "Share of the tickers whose newest bar has a forecast",
            value=covered / len(tickers) if tickers else 0.0,
        )

    def _newest(self, tickers: Sequence[str], table: Table, earlier: Table | None = None) -> dict[str, pd.Timestamp]:
        """Each ticker's newest day in a table, or in the one that holds what was before it, in the tickers' order.

        Two or three queries, however many tickers there are: the last weeks of all, then all of those that were silent
        in them.
        """
        first = (utc_now() - _RECENT).date()
        reads: list[tuple[Table, date | None]] = [(table, first), (table, None)]
        if earlier is not None:
            reads.append((earlier, None))
        found: dict[str, pd.Timestamp] = {}
        for each, start in reads:
            silent = [ticker for ticker in tickers if ticker not in found]
            if silent:
                rows = self._warehouse.read(each, tickers=silent, start=start, columns=["ticker", "date"])
                found |= {str(ticker): day for ticker, day in rows.groupby("ticker")["date"].max().items()}
        return {ticker: found[ticker] for ticker in tickers if ticker in found}
