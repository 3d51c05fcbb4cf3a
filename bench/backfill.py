"""Time per key of a backfill through Dagster's daemon, beside one run per key: `python bench/backfill.py`.

Makes a home with the bundled history, starts `stockcast ui` on it, and launches all daily assets of 4 tickers and the
last 250 sessions: as a backfill of the Dagster UI, which makes a run for each ticker, and as one run with range tags,
which is what the sensors and `stockcast backfill` launch; then single keys, each a backfill of its own. Every asset has
a pool that admits one run at a time, so runs do not overlap. A key is one ticker on one session, all daily assets.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from stockcast_assets.market.calendars import sessions
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.dagster_dev import DagsterDev, dagster_dev

TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
LAST = "2013-03-01"
SETTINGS = {
    "STOCKCAST_SOURCE": "sample",
    "STOCKCAST_CALENDARS": "XNYS",
    "STOCKCAST_AUTOMATION": "false",
    # The model of the first month serves all of them: this is not about training.
    "STOCKCAST_MODEL_MAX_AGE_DAYS": "400",
}

RUNS = """
query Runs($filter: RunsFilter!) {
  runsOrError(filter: $filter) { ... on Runs { results {
    startTime endTime stepStats { stepKey startTime endTime }
  } } }
}
"""


def runs(dev: DagsterDev, **wanted: Any) -> list[dict]:
    return dev.graphql(RUNS, filter=wanted)["runsOrError"]["results"]


def cpu_seconds(pid: int) -> float:
    """What the process, those it started and those they waited for have used."""
    top = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:4]) for process in (top, *top.children(recursive=True)))


@dataclass(frozen=True)
class Taken:
    """What some backfills took, launched together."""

    keys: int
    wall: float
    cpu: float
    runs: list[dict]

    def __str__(self) -> str:
        steps: Counter[str] = Counter()
        for run in self.runs:
            for step in run["stepStats"]:
                if step["startTime"] and step["endTime"]:
                    steps[step["stepKey"]] += 1000 * (step["endTime"] - step["startTime"]) / self.keys
        inside = sum(run["endTime"] - run["startTime"] for run in self.runs)
        return (
            f"{self.keys} keys of {len(DAILY_ASSETS)} assets in {len(self.runs)} runs: {self.wall:.1f} s "
            f"({inside:.1f} s inside runs), {self.cpu:.1f} CPU seconds; {1000 * self.wall / self.keys:.0f} ms and "
            f"{1000 * self.cpu / self.keys:.0f} CPU ms a key\n  ms a key in the step of each asset: "
            + ", ".join(f"{asset} {steps[asset]:.1f}" for asset in DAILY_ASSETS)
        )


def backfilled(dev: DagsterDev, parts: list[list[str]]) -> Taken:
    """Launch these backfills together and wait for all of them."""
    began, used = time.monotonic(), cpu_seconds(dev.pid)
    ids = [dev.launch(DAILY_ASSETS, keys) for keys in parts]
    for backfill in ids:
        assert dev.wait(backfill, 3600) == "COMPLETED_SUCCESS", dev.log.read_text()[-3000:]
    made = [run for id_ in ids for run in runs(dev, tags=[{"key": "dagster/backfill", "value": id_}])]
    return Taken(sum(map(len, parts)), time.monotonic() - began, cpu_seconds(dev.pid) - used, made)


def in_one_run(dev: DagsterDev, keys: list[str]) -> Taken:
    """Launch one run over all the keys, which are a product of tickers and days, and wait for it."""
    began, used = time.monotonic(), cpu_seconds(dev.pid)
    run = dev.launch_run("daily_forecast", keys[0], keys[-1])
    assert dev.wait_for_run(run, 3600) == "SUCCESS", dev.log.read_text()[-3000:]
    made = runs(dev, runIds=[run])
    return Taken(len(keys), time.monotonic() - began, cpu_seconds(dev.pid) - used, made)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sessions", type=int, default=250)
    options.add_argument("--single", type=int, default=5, help="how many runs of one key to time")
    options.add_argument("--home", type=Path, help="keep the home here; an existing one is used as it is")
    arguments = options.parse_args()
    days = [f"{day:%Y-%m-%d}" for day in sessions("XNYS", "2010-01-01", LAST)[-arguments.sessions :]]
    with tempfile.TemporaryDirectory() as folder:
        cli = Cli(arguments.home or Path(folder) / "home", SETTINGS | {"STOCKCAST_START_DATE": days[0]})
        cli.home.mkdir(parents=True, exist_ok=True)
        if not (cli.home / "warehouse.duckdb").exists():
            made = cli("backfill", "--tickers", ",".join(TICKERS), "--assets", "price_history,trained_model",
                       "--from", days[0], "--to", days[0])  # fmt: skip
            assert made.returncode == 0, made.stderr
        with dagster_dev(cli) as dev:
            keys = [f"{day}|{ticker}" for ticker in TICKERS for day in days]
            together = backfilled(dev, [keys])
            print(f"a backfill: {together}", flush=True)
            at_once = in_one_run(dev, keys)
            print(f"one run: {at_once}", flush=True)
            alone = backfilled(dev, [[key] for key in keys[-arguments.single :]])
            print(f"single keys: {alone}")
            for name, taken in (("the backfill", together), ("the one run", at_once)):
                scale = taken.keys / alone.keys
                print(
                    f"a single key takes {scale * alone.wall / taken.wall:.0f} times as long as a key of {name}, "
                    f"{scale * alone.cpu / taken.cpu:.0f} times as much CPU"
                )
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
