"""What the bars said before is kept: in both warehouses, whatever was revised, removed, or killed on the way."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.market.known import as_known, day_ends_at, new_revisions, superseded
from stockcast_assets.tables import PRICE_REVISIONS, RAW_PRICES
from stockcast_assets_tests.warehouse.conftest import Store
from stockcast_assets_tests.warehouse.crashes import live
from stockcast_assets_tests.warehouse.fault_proxy import fault_proxy
from stockcast_assets_tests.warehouse.revised import (
    DAYS,
    LENGTH,
    RevisedOnBigQuery,
    RevisedOnDuckDB,
    bars,
    same_bits,
    store_bars,
)

NOW = pd.Timestamp("2024-01-08 00:30", tz="UTC")
KEY = ("AAPL", DAYS[0])


@pytest.mark.timeout(600)
def test_any_history_leaves_every_day_known_on_duckdb(
    record_property: Callable[[str, object], None], tmp_path: Path
) -> None:
    RevisedOnDuckDB.folder = tmp_path
    live(RevisedOnDuckDB, 40, LENGTH)
    record_property("random steps of bars on DuckDB", RevisedOnDuckDB.steps)


@pytest.mark.timeout(600)
def test_any_history_leaves_every_day_known_on_bigquery(
    record_property: Callable[[str, object], None], bigquery_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(bigquery_emulator) as proxy:
        RevisedOnBigQuery.proxy = proxy
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.address)
        live(RevisedOnBigQuery, 12, 6)
    record_property("random steps of bars on BigQuery", RevisedOnBigQuery.steps)


def test_a_revision_keeps_the_bar_as_it_was_and_the_same_bar_again_keeps_nothing(store: Store) -> None:
    warehouse, other = store.warehouse, ("AAPL", DAYS[1])
    store_bars(warehouse, {KEY, other}, {KEY: (1.0, 0.0), other: (2.0, 0.0)}, NOW)
    first = warehouse.read(RAW_PRICES)
    assert warehouse.read(PRICE_REVISIONS).empty

    later = NOW + pd.Timedelta(days=1)
    assert store_bars(warehouse, {KEY, other}, {KEY: (1.5, 0.0), other: (2.0, 0.0)}, later) is not None
    assert store_bars(warehouse, {KEY, other}, {KEY: (1.5, 0.0), other: (2.0, 0.0)}, later) is None
    (kept,) = warehouse.read(PRICE_REVISIONS).to_dict("records")
    assert (kept["revision"], kept["stored_in"], kept["revised_at"], kept["close"]) == (1, "raw_prices", later, 1.0)

    # Removed, and back again: between the two there was none.
    store_bars(warehouse, {KEY}, {}, later + pd.Timedelta(days=1))
    store_bars(warehouse, {KEY}, {KEY: (9.0, 0.0)}, later + pd.Timedelta(days=2))
    current, revisions = warehouse.read(RAW_PRICES), warehouse.read(PRICE_REVISIONS)
    assert revisions["revision"].tolist() == [1, 2]
    days = pd.date_range("2024-01-07", periods=5)
    closes = [as_known(current, revisions, "raw_prices", day_ends_at(day))["close"].tolist() for day in days]
    assert closes == [[], [1.0, 2.0], [1.5, 2.0], [2.0], [9.0, 2.0]]
    assert same_bits(as_known(current, revisions, "raw_prices", day_ends_at(NOW)), first)


def test_the_sign_of_a_zero_is_no_revision() -> None:
    one, other = (bars({KEY: (1.0, zero)}, NOW) for zero in (0.0, -0.0))
    assert superseded(one, other).empty
    assert superseded(one, bars({KEY: (1.0, 5e-324)}, NOW)).equals(one)


PRICES = st.floats(1e-300, 1e300) | st.sampled_from([0.1 + 0.2, 0.3])
KEYS = st.tuples(st.sampled_from(["AAPL", "MSFT"]), st.sampled_from(DAYS))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(KEYS, min_size=1),
            st.dictionaries(KEYS, st.tuples(PRICES, st.sampled_from([0.0, 0.24]))),
            st.integers(0, 30),
        ),
        max_size=8,
    )
)
def test_the_bars_of_a_day_are_what_the_table_held_at_its_end(history: list) -> None:
    held, revisions, now = RAW_PRICES.empty(), PRICE_REVISIONS.empty(), NOW
    ends: dict[pd.Timestamp, pd.DataFrame] = {}
    for keys, values, hours in history:
        inside = held[pd.MultiIndex.from_frame(held[["ticker", "date"]]).isin(list(keys))]
        new = bars({key: value for key, value in values.items() if key in keys}, now)
        gone = superseded(inside.reset_index(drop=True), new)
        rows = new_revisions(gone, revisions, now, "raw_prices")
        revisions = rows if revisions.empty else pd.concat([revisions, rows], ignore_index=True)
        parts = [part for part in (held.drop(inside.index), new) if len(part)]
        held = pd.concat(parts, ignore_index=True) if parts else RAW_PRICES.empty()
        later = now + pd.Timedelta(minutes=1, hours=hours)
        for day in pd.date_range(now.date(), later.date())[:-1]:
            ends[day] = held.sort_values(["ticker", "date"], ignore_index=True)
        now = later
    for day, then in ends.items():
        assert same_bits(as_known(held, revisions, "raw_prices", day_ends_at(day)), then)
