"""The IO managers beside Dagster's own, on this machine, in this run: `python bench/warehouse.py`.

Each case runs in a process of its own: it fills a table, replaces the slice (the best of three is shown) and
reports its peak memory; ours and theirs take turns, three rounds. The last case reads one day of one ticker out
of 1.25 million rows. The BigQuery cases run on the tests' emulator: their seconds say nothing about BigQuery. CPU
seconds, the emulator's included and shown by what it was asked, hardly depend on what else the machine does.
"""

import argparse
import json
import logging
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

DAY = "2024-01-02"
ROUNDS = 3


def frame_of(rows: int) -> Any:
    import numpy as np
    import pandas as pd

    numbers = np.random.default_rng(1).random((rows, 5))
    frame = pd.DataFrame(numbers, columns=["open", "high", "low", "close", "adj_close"])
    frame.insert(0, "ticker", np.array([f"T{number:07}" for number in range(rows)], dtype=object))
    frame.insert(1, "date", pd.Timestamp(DAY).date())
    return frame.assign(volume=np.arange(rows), source="sample")


def io_manager(kind: str, folder: str) -> Any:
    from stockcast_assets.warehouse import BigQueryWarehouseIOManager, DuckDBWarehouseIOManager

    if kind == "ours-duckdb":
        return DuckDBWarehouseIOManager(database=f"{folder}/warehouse.duckdb", schema="bench")
    if kind == "ours-bigquery":
        return BigQueryWarehouseIOManager(project="test-project", dataset="bench_ours")
    if kind == "stock-duckdb":
        from dagster_duckdb_pandas import DuckDBPandasIOManager

        return DuckDBPandasIOManager(database=f"{folder}/warehouse.duckdb", schema="bench")
    from dagster_gcp_pandas import BigQueryPandasIOManager
    from google.auth import credentials
    from google.cloud import bigquery

    # The stock manager knows no emulator: give it anonymous credentials the way the client takes them.
    original = bigquery.Client.__init__

    def anonymous(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "credentials": credentials.AnonymousCredentials()})

    bigquery.Client.__init__ = anonymous  # type: ignore[method-assign]
    manager = BigQueryPandasIOManager(project="test-project", dataset="bench_stock")
    client = bigquery.Client("test-project")
    client.create_dataset("bench_stock", exists_ok=True)
    return manager


class Server:
    """CPU seconds of the emulator, in all and by what it was asked; nothing without one."""

    def __init__(self) -> None:
        import psutil

        pid = os.environ.get("BENCH_SERVER")
        self.process = psutil.Process(int(pid)) if pid else None
        self.by_request: Counter[str] = Counter()
        if self.process:
            self.watch()

    def seconds(self) -> float:
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return times.user + times.system

    def watch(self) -> None:
        import requests

        send = requests.Session.send

        def timed(session: Any, request: Any, **options: Any) -> Any:
            before = self.seconds()
            answer = send(session, request, **options)
            self.by_request[what(request)] += self.seconds() - before
            return answer

        def what(request: Any) -> str:
            if request.path_url.startswith("/upload/"):
                return "load"
            body = request.body if isinstance(request.body, str) else ""
            statement = re.search(r'"query": "(\w+)', body)
            return statement[1] if statement else "other"

        requests.Session.send = timed  # type: ignore[method-assign]


def replace_slice(kind: str, rows: int) -> dict[str, Any]:
    import dagster as dg

    frame = frame_of(rows)
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")

    @dg.asset(partitions_def=days, metadata={"partition_expr": "date"})
    def bars() -> Any:
        return frame

    with tempfile.TemporaryDirectory() as folder:
        resources = {"io_manager": io_manager(kind, folder)}
        instance = dg.DagsterInstance.ephemeral()
        run = lambda: dg.materialize([bars], partition_key=DAY, resources=resources, instance=instance)  # noqa: E731
        assert run().success
        server = Server()
        seconds, cpu, asked = [], [], {}
        for _ in range(3):
            server.by_request.clear()
            started, used = time.perf_counter(), time.process_time() + server.seconds()
            assert run().success
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() + server.seconds() - used)
            if cpu[-1] == min(cpu):
                asked = dict(server.by_request)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(seconds), "cpu": min(cpu), "peak_mb": peak / 1024, "asked": asked}


def read_one_day(rows: int) -> dict[str, float]:
    import duckdb
    import pandas as pd

    from stockcast_assets.tables import Column, Table
    from stockcast_assets.warehouse import DuckDBWarehouse, TableRef, frames
    from stockcast_assets.warehouse.slices import Slice

    table = Table(
        "bars",
        "",
        (Column("ticker", "STRING", ""), Column("date", "DATE", ""), Column("close", "FLOAT64", "")),
        ("ticker", "date"),
    )
    days = pd.bdate_range("2014-01-01", periods=rows // 500)
    frame = pd.DataFrame(
        {
            "ticker": [f"T{number:03}" for number in range(500) for _ in days],
            "date": list(days) * 500,
            "close": 1.0,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        warehouse = DuckDBWarehouse(f"{folder}/bench.duckdb")
        data, _ = frames.to_arrow(frame, "bars", table)
        warehouse.replace(TableRef("stockcast", "bars"), data, Slice.whole(), table)
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            assert len(warehouse.read(table, tickers=["T250"], start=days[100], end=days[100])) == 1
            seconds.append(time.perf_counter() - started)
        with duckdb.connect(warehouse.database, read_only=True) as connection:
            connection.execute("PRAGMA enable_profiling = 'no_output'")
            connection.execute("SET profiling_coverage = 'ALL'")
            connection.execute(
                "SELECT * FROM stockcast.bars WHERE ticker = ? AND date >= ? AND date < ?",
                ["T250", days[100].date(), days[101].date()],
            ).fetchall()
            scanned = json.loads(connection.get_profiling_information(format="json"))["cumulative_rows_scanned"]
    return {"seconds": min(seconds), "rows_scanned": scanned, "rows": len(frame)}


def child(kind: str, rows: int, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--case", kind, "--rows", str(rows)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case")
    parser.add_argument("--rows", type=int)
    arguments = parser.parse_args()
    if arguments.case:
        logging.disable(logging.CRITICAL)
        run = read_one_day if arguments.case == "read" else lambda rows: replace_slice(arguments.case, rows)
        print(json.dumps(run(arguments.rows)))
        return
    from stockcast_assets_tests.servers import start_bigquery_emulator

    with tempfile.TemporaryDirectory() as folder, start_bigquery_emulator(Path(folder)) as server:
        environment = {"BIGQUERY_EMULATOR_HOST": server.address, "DO_NOT_TRACK": "1"}
        on_server = {**environment, "BENCH_SERVER": str(server.process.pid)}
        for warehouse, rows, with_ in (("duckdb", 1_000_000, environment), ("bigquery", 100_000, on_server)):
            rounds = [
                {whose: child(f"{whose}-{warehouse}", rows, with_) for whose in ("stock", "ours")}
                for _ in range(ROUNDS)
            ]
            stock, ours = (
                {what: min(each[whose][what] for each in rounds) for what in ("seconds", "cpu", "peak_mb")}
                for whose in ("stock", "ours")
            )
            print(f"replace {rows:,} rows on {warehouse}")
            for whose in ("stock", "ours"):
                asked = min((each[whose] for each in rounds), key=lambda case: case["cpu"])["asked"]
                shown = ", ".join(f"{what} {spent:.2f} s" for what, spent in sorted(asked.items()))
                if shown:
                    print(f"  CPU of the emulator for {whose}: {shown}")
            for what, unit in (("seconds", "s"), ("cpu", "s of CPU"), ("peak_mb", "MB")):
                ratio = ours[what] / stock[what]
                print(f"  ours {ours[what]:.2f} {unit}, stock {stock[what]:.2f} {unit} ({ratio:.2f}x)")
        one = child("read", 1_250_000, environment)
        print(f"read one day of one ticker out of {one['rows']:,} rows on duckdb")
        print(f"  {one['seconds'] * 1000:.0f} ms, {one['rows_scanned']:,} rows scanned")


if __name__ == "__main__":
    main()
