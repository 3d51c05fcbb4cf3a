"""Time per key of a backfill through Dagster's daemon, beside one run per key: `python bench/backfill.py`.

Makes a home with the bundled history, starts `stockcast ui` on it, and launches backfills as the Dagster UI does: of
all daily assets for 4 tickers and the last 250 sessions, then of single keys, each a run of its own. Every asset has a
pool that admits one run at a time, so single runs do not overlap. A key is one ticker on one session, all daily assets.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from stockcast_assets.automation.jobs import DAILY_ASSETS
from stockcast_assets.market.calendars import sessions
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


def runs_of(dev: DagsterDev, backfill: str) -> list[dict]:
    tags = [{"key": "dagster/backfill", "value": backfill}]
    return dev.graphql(RUNS, filter={"tags": tags})["runsOrError"]["results"]


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
    runs = [run for backfill in ids for run in runs_of(dev, backfill)]
    return Taken(sum(map(len, parts)), time.monotonic() - began, cpu_seconds(dev.pid) - used, runs)


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
            print(together, flush=True)
            alone = backfilled(dev, [[key] for key in keys[-arguments.single :]])
            print(alone)
            scale = together.keys / alone.keys
            print(
                f"ratio: {scale * alone.wall / together.wall:.0f}, in CPU time {scale * alone.cpu / together.cpu:.0f}; "
                f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
            )


if __name__ == "__main__":
    main()
