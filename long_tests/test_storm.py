"""Whatever is killed, and whenever, every key is exactly right in the end: on real parts, against a quiet laptop."""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.slices import slices_of_run
from stockcast_assets.settings import Settings
from stockcast_assets.tables import ALL_TABLES, MARKET_STATE, TRAINED_MODEL
from stockcast_assets_tests.conftest import Cli, clean_env
from stockcast_assets_tests.csvfiles import write_csv
from stockcast_assets_tests.integration.cluster import EVERYTHING, Cluster, storm

if TYPE_CHECKING:
    from google.cloud import storage

# What differs by nature: the clock, ids and numbers that MLflow draws, and where a report lies.
OF_THE_RUN = {
    "ingested_at",
    "recorded_at",
    "run_id",
    "serving_run_id",
    "report_uri",
    "model_version",
    "serving_version",
}
DEADLINE_S = 150
KILLS = 30


def storms(
    folder: Path,
    client: "storage.Client",
    bars: Mapping[str, pd.DataFrame],
    work: Sequence[tuple[str, str]],
    seed: int,
    kills: int,
    apart: tuple[float, float],
    parts: Sequence[str] = EVERYTHING,
) -> dict[str, object]:
    """Backfills of the tickers, one after the other, on a cluster in a storm, compared with those on a laptop.

    Returns:
        What was seen, in numbers.
    """
    first, last = work[0][0], work[-1][1]
    settings = {
        "STOCKCAST_SOURCE": "csv",
        "STOCKCAST_START_DATE": first,
        "STOCKCAST_END_DATE": last,
        "STOCKCAST_TICKERS_PER_RUN": "2",
        "STOCKCAST_NETWORK": "ticker",
    }
    laptop = Cli(folder / "laptop" / "home", settings)
    with Cluster(folder, client, settings, parts) as cluster:
        for ticker, rows in bars.items():
            write_csv(laptop.home / "inbox", ticker, rows, actions=True)
            file = laptop.home / "inbox" / f"{ticker}.csv"
            cluster.bucket.blob(f"inbox/{file.name}").upload_from_filename(file)
        for start, end in work:
            quiet = laptop("backfill", *bars, "--from", start, "--to", end, "--yes")
            assert quiet.returncode == 0, quiet.stderr
        cluster.wait_until_ready()
        client_cli, started = cluster.cli(), time.monotonic()
        left = list(work)
        tries, process = 0, None

        def begin() -> "subprocess.Popen[bytes]":
            with cluster.log("client").open("ab") as output:
                return subprocess.Popen(
                    [
                        *(str(Path(sys.executable).with_name("stockcast")), "backfill", *bars),
                        *("--from", left[0][0], "--to", left[0][1], "--yes", "--queued", "--missing-only"),
                    ],
                    env=clean_env() | client_cli.env,
                    cwd=cluster.folder / "client",
                    stdout=output,
                    stderr=output,
                )

        def busy() -> bool:
            """Whether something is still to be done; a backfill that lost its database is begun again."""
            nonlocal process, tries
            if process is not None and process.poll() == 0:
                process = None
                del left[0]
            if left and (process is None or process.poll() is not None):
                tries += 1
                assert tries <= kills + len(work) + 3, cluster.log("client").read_text()[-4000:]
                process = begin()
            return bool(left)

        storm(cluster, cluster.parts(), seed, kills, apart, busy)
        while busy():
            time.sleep(0.5)
            assert time.monotonic() - started < DEADLINE_S * len(work) + 90 * kills, cluster.log("client").read_text()[
                -4000:
            ]
        seconds = time.monotonic() - started
        with pytest.MonkeyPatch.context() as patch:
            for name, value in client_cli.env.items():
                patch.setenv(name, value)
            there = warehouse_from(Settings())
            compare(laptop, there.read)
            networks = int((there.read(TRAINED_MODEL)["n_samples"] > 0).sum())
            with dg.DagsterInstance.get() as instance:
                runs = ended(instance)
                check_trainings(instance)
    return {"kills": cluster.kills, "seconds": round(seconds), "runs": runs, "tries": tries, "networks": networks}


def compare(laptop: Cli, read) -> None:
    """Row for row."""
    for table in ALL_TABLES:
        if table is MARKET_STATE:
            # A day is recorded once, by those whose bars were there.
            continue
        shared = [name for name in table.column_names if name not in OF_THE_RUN]
        expected, found = (
            frame[shared].sort_values(shared[:2], kind="stable", ignore_index=True)
            for frame in (laptop.warehouse.read(table), read(table))
        )
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=table.name)


def ended(instance: dg.DagsterInstance) -> dict[str, int]:
    """How the runs ended, once all have: none is left behind past its deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while any(not run.is_finished for run in instance.get_runs()):
        assert time.monotonic() < deadline, [(run.run_id, run.status) for run in instance.get_runs()]
        time.sleep(1)
    counts: dict[str, int] = defaultdict(int)
    for run in instance.get_runs():
        counts[run.status.value] += 1
    return dict(counts)


def check_trainings(instance: dg.DagsterInstance) -> None:
    """No two runs trained a model of the same ticker at once."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in instance.get_runs():
        moments = [entry.timestamp for entry in instance.all_logs(run.run_id) if entry.step_key == TRAINED_MODEL.name]
        # Of one that was killed nobody knows the end: its last sign of life is taken for it.
        for name in slices_of_run(instance, run, [TRAINED_MODEL.name]) if moments else ():
            spans[name].append((min(moments), max(moments)))
    assert spans
    for name, own in spans.items():
        own.sort()
        for (_, end), (start, _) in pairwise(own):
            assert start >= end, (name, own)


def histories(sample_bars: Mapping[str, pd.DataFrame], count: int, days: tuple[str, str]) -> dict[str, pd.DataFrame]:
    """As many tickers: the first has enough of a past for a network, the others have none, so little is trained."""
    bars = {}
    for number in range(count):
        rows = list(sample_bars.values())[number % len(sample_bars)]
        past = pd.Timedelta(days=200 if number else 1100)
        recent = rows[rows["date"].between(pd.Timestamp(days[0]) - past, days[1])]
        bars[f"T{number}"] = recent.assign(ticker=f"T{number}").reset_index(drop=True)
    return bars


def test_whatever_is_killed_every_key_is_exactly_right_in_the_end(
    storage_client: "storage.Client", sample_bars: Mapping[str, pd.DataFrame], tmp_path: Path
) -> None:
    # A backfill of 57 sessions, and then days that come one by one.
    work = [("2012-12-04", "2013-02-26"), *((day, day) for day in ("2013-02-27", "2013-02-28", "2013-03-01"))]
    bars = histories(sample_bars, 6, (work[0][0], work[-1][1]))
    parts = (*EVERYTHING, "webserver")
    seen = storms(tmp_path, storage_client, bars, work, seed=16, kills=KILLS + 4, apart=(0.0, 6.0), parts=parts)
    sys.stdout.write(f"{seen}\n")
    assert len(seen["kills"]) >= KILLS  # type: ignore[arg-type]
    # Of the first ticker, from December to March.
    assert seen["networks"] == 4
