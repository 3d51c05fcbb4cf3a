"""`--as-known-on`: the commands read the world of a past day, on a home whose bars were corrected since."""

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from stockcast_assets.clock import utc_today
from stockcast_assets.orchestration.assets.price_revisions import with_price_revisions
from stockcast_assets.tables import RAW_PRICES
from stockcast_assets.warehouse import DuckDBWarehouse, KeyedFrame, TableRef, frames
from stockcast_assets.warehouse.io_manager import replace_with_addition
from stockcast_assets_tests.conftest import Run
from stockcast_assets_tests.documented import differences
from stockcast_assets_tests.warehouse.helpers import keys_slice

DAY, CORRECTED = "2013-02-28", "2013-02-20"
TODAY = utc_today()
THEN, BEFORE = TODAY - timedelta(days=5), TODAY - timedelta(days=20)


@pytest.fixture
def run(demo_as_made: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Commands on a home whose rows were stored ten days ago, and of which one bar was corrected now."""
    home = tmp_path / "corrected"
    shutil.copytree(demo_as_made, home)
    monkeypatch.setenv("STOCKCAST_HOME", str(home))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    database = str(home / "warehouse.duckdb")
    moments = {"raw_prices": "ingested_at", "price_history": "ingested_at", "published_forecasts": "published_at"}
    with duckdb.connect(database) as connection:
        for table, column in moments.items():
            connection.execute(f"UPDATE stockcast.{table} SET {column} = {column} - INTERVAL 10 DAY")  # noqa: S608
    warehouse = DuckDBWarehouse(database)

    def stored():
        return warehouse.read(RAW_PRICES, tickers=["MSFT"], start=CORRECTED, end=CORRECTED)

    new = stored().assign(close=lambda bar: bar["close"] * 1.02, high=lambda bar: bar["high"] * 1.02)
    made = with_price_revisions(warehouse, RAW_PRICES, KeyedFrame(new), stored)
    data, contract = frames.to_arrow(new, RAW_PRICES.name, RAW_PRICES)
    ref, part = TableRef("stockcast", RAW_PRICES.name), keys_slice([f"{CORRECTED}|MSFT"])
    assert replace_with_addition(warehouse, ref, data, part, contract, "a correction", made) is not None
    return run


@pytest.mark.timeout(300)
def test_commands_read_the_world_of_the_day(run: Run) -> None:
    # By the bars of now it comes out otherwise; by those of then, bit for bit.
    assert run("explain", "MSFT", DAY, "--replay", "--json")[0] == 1
    status, out, err = run("explain", "MSFT", DAY, "--replay", "--as-known-on", str(THEN), "--json")
    assert status == 0, err
    document = json.loads(out)
    assert differences("explain", document) == []
    assert (document["as_known_on"], document["replay"]["identical"]) == (str(THEN), True)
    assert document["revised"]["bars_stored_after_the_forecast"] == []
    status, _, err = run("explain", "MSFT", DAY, "--as-known-on", str(BEFORE))
    assert (status, f"had been published by the end of {BEFORE}" in err) == (1, True)
    remedy = re.search(r"`stockcast ([^`]+)`", " ".join(err.split()))
    assert remedy is not None, err
    assert run(*remedy[1].split()).status == 0

    now, then, before = (
        json.loads(run("status", *words, "--json")[1])
        for words in ((), ("--as-known-on", str(THEN)), ("--as-known-on", str(BEFORE)))
    )
    digests = [{table["table"]: table["sha256"] for table in document["tables"]} for document in (now, then)]
    # The bar, and the indicators and scores that follow from it.
    parted = {name for name in digests[0] if digests[0][name] != digests[1][name]}
    assert {"raw_prices", "price_revisions"} <= parted
    assert "price_history" not in parted
    rows = {table["table"]: table["rows"] for table in before["tables"]}
    assert (rows["raw_prices"], rows["price_history"], rows["forecasts"], rows["indicators"]) == (0, 0, 0, 0)
    assert differences("status", then) == []

    status, _, err = run("evaluate", "MSFT", "--as-known-on", str(BEFORE))
    assert (status, f"No bar of MSFT was known at the end of {BEFORE}" in err) == (1, True)
    for words, sentence in {
        ("status", "--as-known-on", "2999-01-01"): "is still to come",
        ("evaluate", "--bars", "x.csv", "--as-known-on", str(THEN)): "leave one of them out",
    }.items():
        status, _, err = run(*words)
        assert (status, sentence in err) == (1, True), err
