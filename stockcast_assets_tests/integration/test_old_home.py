"""A home that version 0.1 made opens, goes on and forecasts, without a step by hand.

`fixtures/home-0.1.tar.xz` is what `stockcast forecast AAPL 2012-06-14` and that of IBM left, with the sample source
and STOCKCAST_START_DATE=2012-06-01, at /stockcast-0.1/home, where it is no more: AAPL is served by an LSTM,
IBM by a baseline.
"""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stockcast_assets.tables import ALL_TABLES, FORECASTS, MARKET_STATE, RAW_PRICES
from stockcast_assets_tests.conftest import Cli

FIXTURE = Path(__file__).parents[1] / "fixtures" / "home-0.1.tar.xz"
LAST, NEXT = "2012-06-14", "2012-06-15"


@pytest.fixture
def old(make_cli: Callable[..., Cli]) -> Cli:
    cli = make_cli(STOCKCAST_SOURCE="sample", STOCKCAST_START_DATE="2012-06-01")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(cli.home.parent, filter="data")
    return cli


def test_a_home_of_0_1_goes_on_and_a_replay_is_identical(old: Cli) -> None:
    before = {table.name: old.warehouse.read(table) for table in ALL_TABLES}
    assert set(before["forecasts"]["ticker"]) == {"AAPL", "IBM"}

    replayed = old("explain", "AAPL", LAST, "--replay", "--json")
    told = json.loads(replayed.stdout)["replay"]
    if told["identical"]:
        assert replayed.returncode == 0, replayed.stderr
    else:
        # It was made on a processor without AVX-512, and others round otherwise.
        assert replayed.returncode == 1, replayed.stderr
        assert any("round otherwise" in cause for cause in told["possible_causes"])
        pairs = [(each["stored"], each["replayed"]) for each in told["differences"]]
        assert all(abs(now - before) <= 1e-7 * before for before, now in pairs)

    gone_on = old("forecast", "AAPL", NEXT)
    assert gone_on.returncode == 0, gone_on.stderr
    new = old.warehouse.read(FORECASTS, tickers=["AAPL"], start=NEXT)
    assert len(new) == 10
    # The model of the month serves on: nothing was trained again, and nothing fell back.
    assert set(new["model_version"]) == set(before["forecasts"].query("ticker == 'AAPL'")["model_version"])
    assert new["fallback"].isna().all()

    # What that release did not store begins with what is there.
    assert before[MARKET_STATE.name].empty
    assert len(old.warehouse.read(MARKET_STATE, end=LAST)) > 3000
    for table in ALL_TABLES:
        if table is MARKET_STATE:
            continue
        kept = old.warehouse.read(table, end=LAST)
        pd.testing.assert_frame_equal(kept, before[table.name])
    assert set(old.warehouse.read(RAW_PRICES, start=NEXT)["ticker"]) == {"AAPL"}

    # The ledger begins with what is published now, and says of how many forecasts it knows nothing.
    verified = old("ledger", "verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    told = json.loads(verified.stdout)
    assert told["rows"] == 10
    assert told["forecasts_without_entry"] == len(before["forecasts"]) / 10
