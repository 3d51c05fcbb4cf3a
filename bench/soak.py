"""`stockcast ui` with everything switched on, left alone with the demo's data: `python bench/soak.py`.

Nothing is due, so nothing may happen. Prints the runs that began nevertheless, what the log says of warnings and
errors, and the memory of each process over time. Fails if a run began or an error was logged.
"""

import argparse
import re
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil

from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.dagster_dev import DagsterDev, dagster_dev

WARM_S = 60
"""Seconds until every process has imported what it needs."""

LOUD = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|^Traceback|Warning: ", re.MULTILINE)
ERROR = re.compile(r"\b(ERROR|CRITICAL)\b|^Traceback", re.MULTILINE)

COLOUR = re.compile(r"\x1b\[[0-9;]*m")

WHAT = {
    "dagster._daemon": "daemon",
    "web.dagster_ui": "webserver",
    "api grpc": "code server",
    "code-server start": "keeper of the code server",
    "stockcast ui": "stockcast ui",
}


def ran(dev: DagsterDev) -> int:
    return dev.graphql("{ runsOrError { ... on Runs { count } } }")["runsOrError"]["count"]


def memory_mb(dev: DagsterDev) -> dict[str, int]:
    """Resident memory by process."""
    found = {}
    top = psutil.Process(dev.pid)
    for process in (top, *top.children(recursive=True)):
        command = " ".join(process.cmdline())
        name = next((name for part, name in WHAT.items() if part in command), command[:40])
        found[f"{name} {process.pid}"] = process.memory_info().rss >> 20
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--home", type=Path, help="keep the home here; an existing one is used as it is")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cli = Cli(arguments.home or Path(folder) / "home", {"STOCKCAST_SOURCE": "sample"})
        if not (cli.home / "warehouse.duckdb").exists():
            made = cli("demo")
            assert made.returncode == 0, made.stderr
        seen: defaultdict[str, list[int]] = defaultdict(list)
        with dagster_dev(cli) as dev:
            before = ran(dev)
            time.sleep(WARM_S)
            end = time.monotonic() + 60 * arguments.minutes
            while time.monotonic() < end:
                for name, megabytes in memory_mb(dev).items():
                    seen[name].append(megabytes)
                time.sleep(15)
            began = ran(dev) - before
            log = COLOUR.sub("", dev.log.read_text())
        loud = Counter(line.partition(" - ")[2] or line for line in log.splitlines() if LOUD.search(line))
        print(f"{arguments.minutes:g} minutes, {began} runs began")
        for name, megabytes in seen.items():
            shown = ", ".join(str(value) for value in megabytes[:: max(1, len(megabytes) // 10)])
            print(f"  {name}: {shown} MB")
        for line, times in loud.items():
            print(f"  {times} x {line[:150]}")
        return 1 if began or ERROR.search(log) else 0


if __name__ == "__main__":
    raise SystemExit(main())
