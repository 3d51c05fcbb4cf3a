"""A stockcast whose clock is moved by a test: real definitions, instance, warehouse and HTTP source.

The daemon keeps the code location in another process, whose clock cannot be moved; so the ticks are evaluated and
their runs launched here, with what the daemon does around them: cursors, run keys, and partitions asked for.
"""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import time_machine

from stockcast_assets.market.calendars import calendar_for, is_session, sessions
from stockcast_assets.market.sources.base import Source
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets.settings import Settings
from stockcast_assets.warehouse import DuckDBWarehouse
from stockcast_assets.wiring import build_definitions
from stockcast_assets_tests.market.sources.fake_yahoo import Bar, FakeYahoo, Script

_HOURS = {"XLON": ("Europe/London", "08:00"), "XKRX": ("Asia/Seoul", "09:00"), "24/7": ("UTC", "00:00")}
_SENSORS = ("configured_tickers", "csv_inbox", "revisions", "ticker_lifecycle", "daily_catch_up")


def walk(ticker: str, first: str, last: str, seed: int) -> dict[str, Bar]:
    """Invented bars of every session of the ticker's calendar."""
    rng, price, bars = random.Random(seed), 100.0, {}
    for day in sessions(calendar_for(ticker), first, last):
        opening, price = price, round(price * (1 + rng.uniform(-0.02, 0.02)), 2)
        high, low = max(opening, price) + 0.5, min(opening, price) - 0.5
        bars[f"{day:%Y-%m-%d}"] = (opening, high, low, price, rng.randint(1000, 1500))
    return bars


class Market(Sources):
    """Yahoo, as it is on a day the test sets, and the real uploads folder."""

    def __init__(self, server: FakeYahoo, scripts: dict[str, Script], uploads: Path) -> None:
        super().__init__("yahoo", uploads)
        self.server, self.scripts = server, scripts
        self.source = YahooSource(attempts=1, pause_s=0.01)

    def show(self, today: date, outage: bool) -> None:
        self.server.show(self.scripts, today.isoformat(), outage)
        for ticker, listing in self.server.listings.items():
            zone, opens = _HOURS.get(calendar_for(ticker), (listing.zone, listing.opens_at))
            listing.zone, listing.opens_at = zone, opens

    def get(self, name: str | None = None) -> Source:
        return super().get("csv") if name == "csv" else self.source


@dataclass
class Launched:
    """A run that a tick asked for, and how it ended."""

    by: str
    request: dg.RunRequest
    run_id: str
    ok: bool


@dataclass
class Simulation:
    """One home under a moved clock."""

    settings: Settings
    market: Market
    instance: dg.DagsterInstance
    clock: time_machine.Traveller
    launched: list[Launched] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    kill_next: bool = False
    killed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.defs = build_definitions(self.settings, sources=self.market)
        self.warehouse = DuckDBWarehouse(str(self.settings.database), "stockcast")
        self.cursors: dict[str, str | None] = {}

    def at(self, moment: str, outage: bool = False) -> None:
        """Move the clock; Yahoo shows the sessions of the days before."""
        self.clock.move_to(pd.Timestamp(moment, tz="UTC").to_pydatetime())
        self.market.show((pd.Timestamp(moment) - pd.Timedelta(days=1)).date(), outage)

    def night(self, day: date | pd.Timestamp, outage: bool = False) -> None:
        """What the daemon does on a day: the schedules at their times, the sensors after them."""
        day = pd.Timestamp(day)
        self.at(f"{day:%Y-%m-%d} 00:30", outage)
        self.schedule("daily_forecast")
        if day.day == 1:
            self.at(f"{day:%Y-%m-%d} 02:00", outage)
            self.schedule("monthly_training")
        for hours in ("02:15", "07:00"):
            self.at(f"{day:%Y-%m-%d} {hours}", outage)
            self.settle()

    def settle(self, most: int = 15) -> None:
        """Tick every sensor until none asks for a run."""
        for _ in range(most):
            before = len(self.launched)
            for name in _SENSORS:
                self.sensor(name)
            if len(self.launched) == before:
                return
        raise AssertionError(f"The sensors do not settle: {[entry.request.run_key for entry in self.launched[-10:]]}")

    def schedule(self, name: str) -> None:
        now = pd.Timestamp.now("UTC").floor("s").to_pydatetime()
        context = dg.build_schedule_context(instance=self.instance, scheduled_execution_time=now)
        data = self.defs.resolve_schedule_def(name).evaluate_tick(context)
        self._after(name, data.run_requests, data.skip_message)

    def sensor(self, name: str) -> None:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(name), definitions=self.defs, resources=self.defs.resources
        )
        data = self.defs.resolve_sensor_def(name).evaluate_tick(context)
        for request in data.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        self._after(name, data.run_requests, data.skip_message)
        self.cursors[name] = data.cursor

    def _after(self, by: str, requests: Sequence[dg.RunRequest] | None, skipped: str | None) -> None:
        if skipped:
            self.said.append(f"{by}: {skipped}")
        for request in requests or []:
            tags = {**request.tags, "dagster/run_key": str(request.run_key), "simulation/by": by}
            if self.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": str(request.run_key)}), limit=1):
                continue
            if self.kill_next:
                self.kill_next = False
                self._killed(request, tags)
                continue
            result = self._execute(request, tags)
            self.launched.append(Launched(by, request, result.run_id, result.success))

    def _execute(self, request: dg.RunRequest, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(str(request.job_name)).execute_in_process(
            instance=self.instance,
            asset_selection=list(request.asset_selection) if request.asset_selection else None,
            tags=tags,
            run_config={**request.run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def _killed(self, request: dg.RunRequest, tags: dict[str, str]) -> None:
        """Execute a run in a process of its own, and kill that after its first materialisation."""
        before = {run.run_id for run in self.instance.get_runs()}
        child = multiprocessing.get_context("fork").Process(target=self._execute, args=(request, tags))
        child.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and child.is_alive():
            new = [run for run in self.instance.get_runs(limit=1) if run.run_id not in before]
            if new and self.instance.all_logs(new[0].run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
                break
            time.sleep(0.02)
        assert child.is_alive(), "the run ended before it was killed"
        os.kill(child.pid, signal.SIGKILL)  # type: ignore[arg-type]
        child.join()
        run = self.instance.get_runs(limit=1)[0]
        # As the run monitoring daemon does when it finds the process gone.
        self.instance.report_run_failed(run, "The process of the run was killed.")
        self.killed.append(run.run_id)
        self.launched.append(Launched("killed", request, run.run_id, False))

    def materialised(self, asset: str, ticker: str) -> set[str]:
        """Days of the keys of a ticker."""
        keys = self.instance.get_materialized_partitions(dg.AssetKey(asset))
        return {key.partition("|")[0] for key in keys if key.endswith(f"|{ticker}")}

    def written(self, asset: str, stage: str) -> Counter[str]:
        """How often runs of a stage materialised each key and ended well."""
        good = {
            entry.run_id for entry in self.launched if entry.ok and entry.request.tags.get("stockcast/stage") == stage
        }
        found = self.instance.fetch_materializations(dg.AssetKey(asset), limit=10_000).records
        return Counter(str(record.partition_key) for record in found if record.run_id in good)


def closed(ticker: str, day: date | pd.Timestamp) -> bool:
    return not is_session(calendar_for(ticker), day)
