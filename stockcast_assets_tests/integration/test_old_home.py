"""A home that version 0.1 made opens, goes on and forecasts, without a step by hand.

`fixtures/home-0.1.tar.xz` is what `stockcast forecast AAPL 2012-06-14` and that of IBM left, with the sample source
and STOCKCAST_START_DATE=2012-06-01, at /stockcast-0.1/home: AAPL is served by an LSTM, IBM by a baseline.
"""

import json
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stockcast_assets.tables import ALL_TABLES, FORECASTS, RAW_PRICES
from stockcast_assets_tests.conftest import Cli

FIXTURE = Path(__file__).parents[1] / "fixtures" / "home-0.1.tar.xz"
WAS_AT = "/stockcast-0.1/home"
LAST, NEXT = "2012-06-14", "2012-06-15"


def moved(database: Path, old: str, new: str) -> None:
    """MLflow keeps whole paths: put them where the home is now."""
    with sqlite3.connect(database) as connection:
        tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in connection.execute(f"pragma table_info('{table}')").fetchall():
                connection.execute(
                    f"update {table} set {column} = replace({column}, ?, ?) where typeof({column}) = 'text'",  # noqa: S608
                    (old, new),
                )


@pytest.fixture
def old(make_cli: Callable[..., Cli]) -> Cli:
    cli = make_cli(STOCKCAST_SOURCE="sample", STOCKCAST_START_DATE="2012-06-01")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(cli.home.parent, filter="data")
    moved(cli.home / "mlflow.db", WAS_AT, str(cli.home))
    return cli


def test_a_home_of_0_1_goes_on_and_a_replay_is_identical(old: Cli) -> None:
    before = {table.name: old.warehouse.read(table) for table in ALL_TABLES}
    assert set(before["forecasts"]["ticker"]) == {"AAPL", "IBM"}

    replayed = old("explain", "AAPL", LAST, "--replay", "--json")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert json.loads(replayed.stdout)["replay"]["identical"] is True

    gone_on = old("forecast", "AAPL", NEXT)
    assert gone_on.returncode == 0, gone_on.stderr
    new = old.warehouse.read(FORECASTS, tickers=["AAPL"], start=NEXT)
    assert len(new) == 10
    # The model of the month serves on: nothing was trained again, and nothing fell back.
    assert set(new["model_version"]) == set(before["forecasts"].query("ticker == 'AAPL'")["model_version"])
    assert new["fallback"].isna().all()

    for table in ALL_TABLES:
        kept = old.warehouse.read(table, end=LAST)
        pd.testing.assert_frame_equal(kept, before[table.name])
    assert set(old.warehouse.read(RAW_PRICES, start=NEXT)["ticker"]) == {"AAPL"}
