"""A stockcast whose clock is moved by a test: real definitions, instance, warehouse, HTTP source and daemon code."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import time_machine
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from stockcast_assets.market.calendars import calendar_for, sessions
from stockcast_assets.settings import Settings
from stockcast_assets.tables import RAW_PRICES
from stockcast_assets.warehouse import DuckDBWarehouse
from stockcast_assets_tests.conftest import clean_env
from stockcast_assets_tests.integration.simulated_daemon import instance_config
from stockcast_assets_tests.market.sources.fake_yahoo import Bar, FakeYahoo, Script

_HOURS = {"XLON": ("Europe/London", "08:00"), "XKRX": ("Asia/Seoul", "09:00"), "24/7": ("UTC", "00:00")}


def walk(ticker: str, first: str, last: str, seed: int) -> dict[str, Bar]:
    """Invented bars of every session of the ticker's calendar."""
    rng, price, bars = random.Random(seed), 100.0, {}
    for day in sessions(calendar_for(ticker), first, last):
        opening, price = price, round(price * (1 + rng.uniform(-0.02, 0.02)), 2)
        high, low = max(opening, price) + 0.5, min(opening, price) - 0.5
        bars[f"{day:%Y-%m-%d}"] = (opening, high, low, price, rng.randint(1000, 1500))
    return bars


@dataclass
class Simulation:
    """One home under a moved clock, and the daemon that looks after it."""

    settings: Settings
    environment: dict[str, str]
    server: FakeYahoo
    scripts: dict[str, Script]
    instance: dg.DagsterInstance
    clock: time_machine.Traveller
    log: Path
    ticks: dict[tuple[str, str], InstigatorTick] = field(default_factory=dict)
    killed: list[dg.DagsterRun] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.warehouse = DuckDBWarehouse(str(self.settings.database), "stockcast")
        self.nursery: subprocess.Popen[str] | None = None
        self.daemon = 0

    def at(self, moment: str, outage: bool = False) -> None:
        """Move the clock; Yahoo shows the sessions of the days before."""
        self.clock.move_to(pd.Timestamp(moment, tz="UTC").to_pydatetime())
        self.server.show(self.scripts, f"{pd.Timestamp(moment) - pd.Timedelta(days=1):%Y-%m-%d}", outage)
        for ticker, listing in self.server.listings.items():
            zone, opens = _HOURS.get(calendar_for(ticker), (listing.zone, listing.opens_at))
            listing.zone, listing.opens_at = zone, opens

    def night(self, day: date | pd.Timestamp, outage: bool = False, kill: bool = False) -> None:
        """The daemon on a day: at the times of its schedules, and in the morning."""
        day = pd.Timestamp(day)
        for time_of_day in ("00:30", *(["02:00"] if day.day == 1 else []), "07:00"):
            moment = f"{day:%Y-%m-%d} {time_of_day}"
            self.at(moment, outage)
            if kill:
                self.kill_mid_run(moment)
                kill, moment = False, f"{day:%Y-%m-%d} 00:35"
                self.at(moment, outage)
            self.settle(moment)
        self.remember_ticks()

    def start(self, moment: str) -> None:
        """Start the daemon."""
        module = "stockcast_assets_tests.integration.simulated_daemon"
        with self.log.open("a") as log:
            self.nursery = subprocess.Popen(
                [sys.executable, "-c", f"from {module} import serve; serve()", f"{moment}+00:00"],
                env=clean_env() | self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.daemon = int(self.answer())

    def tell(self, moment: str) -> None:
        """Let the daemon work at a moment, without waiting."""
        assert self.nursery is not None
        assert self.nursery.stdin is not None
        self.nursery.stdin.write(json.dumps(moment) + "\n")
        self.nursery.stdin.flush()

    def answer(self) -> str:
        assert self.nursery is not None
        assert self.nursery.stdout is not None
        answer = self.nursery.stdout.readline()
        assert answer, f"The daemon ended:\n{self.log.read_text()[-6000:]}"
        return answer.strip()

    def settle(self, moment: str) -> None:
        """Let the daemon work at a moment until it comes to rest."""
        self.tell(moment)
        assert self.answer() == "at rest"

    def kill_mid_run(self, moment: str) -> None:
        """SIGKILL for the daemon as soon as its next run of a day's keys has written something; another one starts."""
        before = {run.run_id for run in self.instance.get_runs()}
        self.tell(moment)
        run = None
        deadline = time.monotonic() + 400
        while run is None and time.monotonic() < deadline:
            time.sleep(0.01)
            # Not the newest alone: others may be queued behind it already.
            for new in self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
                written = self.instance.all_logs(new.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
                made = [event.asset_materialization for event in written]
                of_keys = any(one and one.asset_key == dg.AssetKey(RAW_PRICES.name) for one in made)
                if of_keys and new.run_id not in before:
                    run = new
        new_runs = [(each.job_name, each.status) for each in self.instance.get_runs() if each.run_id not in before]
        assert run is not None, f"No run began at {moment}, of {new_runs}:\n{self.log.read_text()[-6000:]}"
        os.kill(self.daemon, signal.SIGKILL)
        self.daemon = int(self.answer())
        left = self.instance.get_run_by_id(run.run_id)
        assert left is not None
        assert left.status == dg.DagsterRunStatus.STARTED, "the run ended before it was killed"
        self.killed.append(left)

    def stop(self) -> None:
        if self.nursery is not None:
            # First the one that would start another.
            self.nursery.kill()
            self.nursery.wait()
            os.kill(self.daemon, signal.SIGKILL)

    def remember_ticks(self) -> None:
        """Dagster forgets ticks that asked for nothing after a week."""
        for state in self.instance.all_instigator_state():
            for tick in self.instance.get_ticks(state.instigator_origin_id, state.selector_id):
                self.ticks[state.instigator_name, str(tick.tick_id)] = tick

    @property
    def said(self) -> str:
        """Why ticks asked for nothing, in their own words."""
        return " ".join(tick.skip_reason or "" for tick in self.ticks.values())

    def failed_ticks(self) -> list[str]:
        return [str(tick.error) for tick in self.ticks.values() if tick.status == TickStatus.FAILURE]

    def materialised(self, asset: str, ticker: str) -> set[str]:
        """Days of the keys of a ticker."""
        keys = self.instance.get_materialized_partitions(dg.AssetKey(asset))
        return {key.partition("|")[0] for key in keys if key.endswith(f"|{ticker}")}

    def made_by(self, run: dg.DagsterRun) -> set[str]:
        """The assets of which a run materialised a key."""
        entries = self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        return {entry.dagster_event.asset_key.to_user_string() for entry in entries}  # type: ignore[union-attr]

    def written(self, asset: str) -> Counter[str]:
        """How often each key of an asset was materialised by a run that ended well, again because of a revision or by
        the retraining policy apart."""
        good = {
            run.run_id
            for run in self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
            if not {"stockcast/repair", "stockcast/retrain"} & set(run.tags)
        }
        found = self.instance.fetch_materializations(dg.AssetKey(asset), limit=10_000).records
        return Counter(str(record.partition_key) for record in found if record.run_id in good)

    def observed(self, asset: str) -> set[str]:
        """What was observed of an asset, in words."""
        found = self.instance.fetch_observations(dg.AssetKey(asset), limit=1000).records
        return {record.asset_observation.description for record in found if record.asset_observation is not None}  # type: ignore[attr-defined]


@contextmanager
def simulation(
    folder: Path, server: FakeYahoo, scripts: dict[str, Script], began: str, **settings: str
) -> Iterator[Simulation]:
    """A home in the folder and a daemon that is started when the clock is first moved."""
    dagster_home = folder / "dagster"
    dagster_home.mkdir()
    (dagster_home / "dagster.yaml").write_text(instance_config())
    home = folder / "home"
    environment = {"STOCKCAST_HOME": str(home), "STOCKCAST_SOURCE": "yahoo", "DAGSTER_HOME": str(dagster_home)}
    environment |= {f"STOCKCAST_{name.upper()}": value for name, value in settings.items()}
    with (
        time_machine.travel(pd.Timestamp(began, tz="UTC").to_pydatetime(), tick=True) as clock,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DAGSTER_HOME", str(dagster_home))
        (home / "inbox").mkdir(parents=True)
        with dg.DagsterInstance.get() as instance:
            shown = Settings(home=home, source="yahoo")
            here = Simulation(shown, environment, server, scripts, instance, clock, folder / "daemon.log")
            try:
                yield here
            finally:
                here.stop()
