"""Importing the definitions must stay light: the Dagster UI, every code server, run and command pay for it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stockcast_assets import libraries
from stockcast_assets_tests.conftest import clean_env

HEAVY = (
    "alembic", "antlr4", "duckdb", "evidently", "exchange_calendars", "google.cloud", "keras", "matplotlib", "mlflow",
    "numpy", "optuna", "pandas", "pandera", "pyarrow", "scipy", "sqlalchemy", "statsforecast", "streamlit", "talib",
    "tensorflow", "yfinance",
)  # fmt: skip


def run(script: str, home: Path, **env: str) -> Any:
    """What a fresh process prints, as JSON."""
    result = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{script}"],
        env=clean_env() | {"STOCKCAST_HOME": str(home), **env},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(result.stdout)


def loaded(module: str, home: Path, **env: str) -> object:
    return run(f"import {module}\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))", home, **env)


CLOUD = {"STOCKCAST_WAREHOUSE": "bigquery", "STOCKCAST_GCP_PROJECT": "p", "STOCKCAST_UPLOADS": "gs://bucket/in"}


def test_the_definitions_load_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    assert loaded("stockcast_assets.definitions", tmp_path) == []


def test_a_home_in_the_cloud_loads_what_google_s_clients_do_and_nothing_else(tmp_path: Path) -> None:
    """Dagster's own resources for BigQuery and buckets, which ours are, import the clients."""
    google = run(f"import dagster_gcp\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))", tmp_path)
    assert loaded("stockcast_assets.definitions", tmp_path, **CLOUD) == google


def test_the_command_line_does_not_even_load_dagster(tmp_path: Path) -> None:
    script = "import stockcast_assets.cli\nprint(json.dumps([n for n in ('dagster', *NAMES) if n in sys.modules]))"
    assert run(script.replace("NAMES", repr(HEAVY)), tmp_path) == []


BUILT = """
import exchange_calendars
asked = []
real = exchange_calendars.get_calendar
exchange_calendars.get_calendar = lambda code, **known: asked.append([code, str(known["start"])]) or real(code, **known)
import stockcast_assets.definitions
print(json.dumps(asked))
"""


def test_no_calendar_is_built_where_one_trades_every_day(tmp_path: Path) -> None:
    assert run(BUILT, tmp_path, STOCKCAST_CALENDARS="XNYS,XLON,24/7") == []


def test_calendars_are_built_once_and_for_recent_years_only(tmp_path: Path) -> None:
    built = run(BUILT, tmp_path, STOCKCAST_CALENDARS="XNYS,XLON")
    assert isinstance(built, list)
    assert [code for code, _ in built] == ["XNYS", "XLON"]
    assert all(start > "2020" for _, start in built)


def test_a_home_keeps_its_closed_days_and_loads_as_lightly_as_one_without(tmp_path: Path) -> None:
    listed = {"STOCKCAST_CALENDARS": "XNYS,XLON"}
    days = "print(json.dumps([heavy, sorted(stockcast_assets.definitions.defs.resolve_assets_def('raw_prices')"
    days += ".partitions_def.time_window_dimension.partitions_def.get_partition_keys())]))"
    script = f"import stockcast_assets.definitions\nheavy = [n for n in {HEAVY!r} if n in sys.modules]\n{days}"
    heavy, found = run(script, tmp_path, **listed)
    assert heavy
    assert run(script, tmp_path, **listed) == [[], found]


def test_threads_may_be_the_first_to_use_a_library(tmp_path: Path) -> None:
    script = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from stockcast_assets.libraries import np, pa, pd
together = Barrier(8)
def first(number):
    together.wait()
    return pd.Series(np.arange(number)).sum() + len(pa.array([number]))
with ThreadPoolExecutor(8) as pool:
    print(json.dumps([int(total) for total in pool.map(first, range(8))]))
"""
    assert run(script, tmp_path) == [sum(range(number)) + 1 for number in range(8)]


def test_a_library_is_itself() -> None:
    import numpy as np
    import pandas as pd

    assert libraries.pd.DataFrame is pd.DataFrame
    assert libraries.np.ndarray is np.ndarray
    with pytest.raises(AttributeError, match="no attribute 'Datafrme'"):
        _ = libraries.pd.Datafrme
