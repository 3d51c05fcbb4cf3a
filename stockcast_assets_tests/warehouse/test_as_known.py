"""The world of a past day: every table as it was known at its end, in both warehouses."""

from datetime import date

import pandas as pd
import pytest

from stockcast_assets.as_known import AsKnown, past_day, world_of
from stockcast_assets.clock import utc_today
from stockcast_assets.errors import StockcastError
from stockcast_assets.market import indicators
from stockcast_assets.market.earnings import BEFORE_OPEN
from stockcast_assets.monitoring import accuracy
from stockcast_assets.orchestration.assets.bars import bars_as_known
from stockcast_assets.tables import (
    EARNINGS_DATES,
    FORECAST_ACCURACY,
    FORECASTS,
    INDICATORS,
    PRICE_HISTORY,
    PRICE_REVISIONS,
    PUBLISHED_FORECASTS,
    RAW_PRICES,
    STORED_TABLES,
    TRAINED_MODEL,
)
from stockcast_assets.warehouse import TableRef, frames
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.warehouse.conftest import Store, duckdb_store
from stockcast_assets_tests.warehouse.published import forecasts, publish
from stockcast_assets_tests.warehouse.revised import bars, same_bits, store_bars

SESSIONS = list(pd.bdate_range("2024-01-02", periods=12))
FIRST = pd.Timestamp("2024-01-18 00:30", tz="UTC")
LATER = FIRST + pd.Timedelta(days=2)
THEN, BEFORE, SINCE = date(2024, 1, 18), date(2024, 1, 17), date(2024, 1, 20)


@pytest.fixture
def store(store: Store) -> Store:
    """Twelve bars and a forecast, of which a bar was corrected and the forecast made again two days later."""
    said = {("AAPL", day): (100.0 + place, 0.0) for place, day in enumerate(SESSIONS)}
    store_bars(store.warehouse, set(said), said, FIRST)
    publish(store.warehouse, {("AAPL", SESSIONS[0]): 100.0}, FIRST)
    key = ("AAPL", SESSIONS[3])
    store_bars(store.warehouse, {key}, {key: (150.0, 0.0)}, LATER)
    publish(store.warehouse, {("AAPL", SESSIONS[0]): 101.0}, LATER)
    return store


def test_bars_forecasts_and_what_follows_from_them_are_those_of_then(store: Store) -> None:
    then, since = AsKnown(store.warehouse, THEN), AsKnown(store.warehouse, SINCE)
    held = bars({("AAPL", day): (100.0 + place, 0.0) for place, day in enumerate(SESSIONS)}, FIRST)
    assert same_bits(then.read(RAW_PRICES), held)
    assert same_bits(since.read(RAW_PRICES), store.warehouse.read(RAW_PRICES))
    made = then.read(FORECASTS)
    pd.testing.assert_frame_equal(
        made[FORECASTS.column_names], forecasts({("AAPL", SESSIONS[0]): 100.0}), check_dtype=False
    )
    assert since.read(FORECASTS)["last_close"].unique().tolist() == [101.0]
    computed = indicators.compute(held)
    pd.testing.assert_frame_equal(then.read(INDICATORS), computed, check_exact=True)
    part = then.read(INDICATORS, start=SESSIONS[5], end=SESSIONS[6], columns=["date", "close"])
    assert part["close"].tolist() == computed["close"].tolist()[5:7]
    scored = then.read(FORECAST_ACCURACY)
    there = made["target_date"].isin(held["date"])
    entries = store.warehouse.read(PUBLISHED_FORECASTS)
    promised = accuracy.promised(made[there], entries[entries["revision"] == 0][accuracy.ENTRY_COLUMNS])
    by_hand = accuracy.score(promised, held, [day.date() for day in SESSIONS])
    assert len(scored) == there.sum() > 0
    pd.testing.assert_frame_equal(scored, by_hand, check_dtype=False)
    assert scored.loc[scored["date"] == SESSIONS[3], "actual_close"].tolist() == [103.0]
    assert len(then.read(PRICE_REVISIONS)) == 0
    assert len(since.read(PRICE_REVISIONS)) == 1
    assert then.newest(PUBLISHED_FORECASTS, ["entry", "horizon"], ["ticker", "entry"])["entry"].tolist() == [1]
    assert then.count_rows(RAW_PRICES, ["ticker"]).to_pylist() == [{"ticker": "AAPL", "rows": 12}]


def test_before_anything_was_stored_every_table_is_empty(store: Store) -> None:
    world = AsKnown(store.warehouse, BEFORE)
    assert {table.name: world.content_hash(table)[0] for table in STORED_TABLES} == dict.fromkeys(
        (table.name for table in STORED_TABLES), 0
    )
    with pytest.raises(StockcastError, match="at the end of 2024-01-17: its first bar was stored on 2024-01-18"):
        bars_as_known(world, ["AAPL"])
    with pytest.raises(StockcastError, match="no bar of it is stored"):
        bars_as_known(world, ["MSFT"])
    assert len(bars_as_known(AsKnown(store.warehouse, THEN), ["AAPL"])["AAPL"]) == 12


def test_statements_and_models_are_those_of_days_up_to_then(tmp_path) -> None:
    warehouse = duckdb_store(tmp_path).warehouse
    rows = pd.DataFrame(
        {
            "ticker": "AAPL",
            "date": pd.to_datetime(["2024-02-01", "2024-02-01"]),
            "hour": BEFORE_OPEN,
            "kind": "announced",
            "known_on": pd.to_datetime(["2024-01-10", "2024-01-18"]),
            "cancelled": [False, True],
            "source": "csv",
            "recorded_at": LATER,
        }
    )
    data, contract = frames.to_arrow(rows, EARNINGS_DATES.name, EARNINGS_DATES)
    warehouse.replace(TableRef("stockcast", EARNINGS_DATES.name), data, Slice.whole(), contract)
    known = [len(AsKnown(warehouse, day).read(EARNINGS_DATES)) for day in (date(2024, 1, 9), BEFORE, THEN)]
    assert known == [0, 1, 2]
    assert AsKnown(warehouse, THEN).read(TRAINED_MODEL).empty
    assert AsKnown(warehouse, THEN).read(PRICE_HISTORY).empty


def test_the_past_is_read_only_and_of_days_that_are_over_or_today(tmp_path) -> None:
    warehouse = duckdb_store(tmp_path).warehouse
    assert world_of(warehouse, None) is warehouse
    world = world_of(warehouse, THEN)
    data, contract = frames.to_arrow(RAW_PRICES.empty(), RAW_PRICES.name, RAW_PRICES)
    with pytest.raises(StockcastError, match="can be read and not written: leave out --as-known-on"):
        world.replace(TableRef("stockcast", RAW_PRICES.name), data, Slice.whole(), contract)
    assert past_day(str(utc_today())) == utc_today()
    with pytest.raises(StockcastError, match="2999-01-01 is still to come: ask for what was known on a day up to"):
        past_day("2999-01-01")
