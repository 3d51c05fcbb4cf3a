"""The ledger in both warehouses: random histories leave every row as it was, and no byte can be changed unseen.

`STOCKCAST_LEDGER_STEPS` says how many random steps (`make ledger-histories`: a thousand on each).
"""

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.monitoring import ledger
from stockcast_assets.tables import FORECASTS, PUBLISHED_FORECASTS, TAIL_COLUMNS, Column, Table
from stockcast_assets.warehouse import DuckDBWarehouse, KeyedFrame, TableRef, Warehouse, frames
from stockcast_assets.warehouse.base import AddedMeanwhileError
from stockcast_assets.warehouse.frames import Addition
from stockcast_assets.warehouse.io_manager import replace_with_addition
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.warehouse.conftest import Store
from stockcast_assets_tests.warehouse.crashes import live
from stockcast_assets_tests.warehouse.fault_proxy import fault_proxy
from stockcast_assets_tests.warehouse.helpers import keys_slice
from stockcast_assets_tests.warehouse.published import (
    DAYS,
    LENGTH,
    PublishedOnBigQuery,
    PublishedOnDuckDB,
    Values,
    forecasts,
    publish,
)

LONG = os.environ.get("STOCKCAST_LEDGER_STEPS")
STEPS, STEPS_ON_BIGQUERY = (int(LONG), int(LONG)) if LONG else (40, 14)
"""A step on the emulator takes twenty times as long; what is the database's own, the tests below ask of both."""

NOW = pd.Timestamp("2024-01-03 00:30", tz="UTC")


@pytest.mark.timeout(3600)
def test_no_history_changes_a_row_on_duckdb(record_property: Callable[[str, object], None], tmp_path: Path) -> None:
    PublishedOnDuckDB.folder = tmp_path
    live(PublishedOnDuckDB, STEPS, LENGTH)
    record_property("random steps of the ledger on DuckDB", PublishedOnDuckDB.steps)


@pytest.mark.timeout(3600)
def test_no_history_changes_a_row_on_bigquery(
    record_property: Callable[[str, object], None],
    bigquery_emulator: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with fault_proxy(bigquery_emulator) as proxy:
        PublishedOnBigQuery.proxy, PublishedOnBigQuery.folder = proxy, tmp_path
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.address)
        live(PublishedOnBigQuery, STEPS_ON_BIGQUERY, LENGTH if LONG else 7)
    record_property("random steps of the ledger on BigQuery", PublishedOnBigQuery.steps)


def put(warehouse: Warehouse, rows: pd.DataFrame, table: Table = PUBLISHED_FORECASTS) -> None:
    """Make these a table's rows, as somebody who can write the warehouse may."""
    data, contract = frames.to_arrow(rows, table.name, table)
    warehouse.replace(TableRef(warehouse.schema, table.name), data, Slice.whole(), contract)


def without_tails(table: Table) -> Table:
    """The table as releases declared it whose forecasts had no tails."""
    return replace(table, columns=tuple(column for column in table.columns if column.name not in TAIL_COLUMNS))


def test_entries_of_a_release_without_tails_stand_and_go_on(store: Store) -> None:
    warehouse, key = store.warehouse, ("AAPL", DAYS[0])
    for table, rows in (
        (FORECASTS, forecasts({key: 1.0})),
        (PUBLISHED_FORECASTS, entries({key: 1.0}, PUBLISHED_FORECASTS.empty())),
    ):
        earlier = without_tails(table)
        put(warehouse, rows[earlier.column_names], earlier)
    stored = warehouse.read(PUBLISHED_FORECASTS)
    assert ledger.faults(stored) == []
    assert stored[list(TAIL_COLUMNS)].isna().all(axis=None)
    # The same forecast by the same model, which has no tails, is no further entry; one with tails is.
    assert publish(warehouse, {key: 1.0}, NOW) is None
    publish(warehouse, {("AAPL", DAYS[1]): 2.0}, NOW)
    rows = warehouse.read(PUBLISHED_FORECASTS).sort_values(ledger.ORDER, ignore_index=True)
    assert ledger.faults(rows) == []
    assert ledger.unpublished(rows, warehouse.read(FORECASTS)) == ([], 0)
    assert rows["digest"][:10].tolist() == stored.sort_values(ledger.ORDER)["digest"].tolist()
    assert rows["close_p01"].notna().tolist() == [False] * 10 + [True] * 10
    edited = rows.assign(close_p99=rows["close_p99"].where(rows["horizon"] != 3))
    (fault,) = ledger.faults(edited)
    assert (fault.date, fault.horizon) == (f"{DAYS[1]:%Y-%m-%d}", 3)


def entries(values: Values, rows: pd.DataFrame) -> pd.DataFrame:
    """What publishing forecasts adds to the ledger's `rows`."""
    made = forecasts(values)
    known = made[ledger.KEY].drop_duplicates().assign(model_digest=None, data_digest="0")
    return ledger.new_entries(made, rows, ledger.heads_of(rows), known, NOW, "1.0")


def test_an_edited_a_removed_and_an_inserted_row_are_found_and_named(store: Store) -> None:
    warehouse = store.warehouse
    for value in (1.0, 2.0, 3.0):
        publish(warehouse, {("AAPL", DAYS[0]): value, ("AAPL", DAYS[1]): 1.0}, NOW)
    intact = warehouse.read(PUBLISHED_FORECASTS)
    assert ledger.faults(intact) == []
    edited = intact.copy()
    edited.loc[17, "close_p50"] += 1e-15
    inserted = pd.concat([intact.iloc[:18], intact.iloc[17:18].assign(close_p50=5.0), intact.iloc[18:]])
    inserted["horizon"] = [*intact["horizon"][:18], *range(9, 11), *intact["horizon"][19:], 10][: len(inserted)]
    inserted = inserted.drop_duplicates(list(PUBLISHED_FORECASTS.primary_key))
    for rows in (edited, intact.drop(index=17), inserted, intact.drop(index=[17, 18])):
        put(warehouse, rows)
        (fault,) = ledger.faults(warehouse.read(PUBLISHED_FORECASTS))
        assert (fault.ticker, fault.date, fault.revision) == ("AAPL", f"{DAYS[1]:%Y-%m-%d}", 0)
        assert fault.horizon in (8, 9, 10)


@pytest.fixture(scope="module")
def chain() -> pd.DataFrame:
    """Four entries of each of two tickers, as an anchor remembers them."""
    rows = PUBLISHED_FORECASTS.empty()
    for value in (1.0, 2.0):
        added = entries({(ticker, day): value for ticker in ("AAPL", "ETH-USD") for day in DAYS[:2]}, rows)
        rows = added if rows.empty else pd.concat([rows, added], ignore_index=True)
    return rows.sort_values(ledger.ORDER, ignore_index=True)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_any_value_is_found(chain: pd.DataFrame, data: st.DataObject) -> None:
    anchor = ledger.Anchor("a test", ledger.heads_of(chain))
    place = data.draw(st.integers(0, len(chain) - 1))
    kind = data.draw(st.sampled_from(["edit", "remove", "repeat", "truncate", "null"]))
    changed = chain.copy()
    if kind == "remove":
        changed = changed.drop(index=place)
    elif kind == "truncate":
        changed = changed[~((changed["ticker"] == changed["ticker"][place]) & (changed.index >= place))]
    elif kind == "repeat":
        changed = pd.concat([changed, changed.iloc[[place]]], ignore_index=True)
    else:
        column = data.draw(st.sampled_from(PUBLISHED_FORECASTS.columns))
        old = changed.at[place, column.name]
        if kind == "null":
            if pd.isna(old):
                return
            changed[column.name] = changed[column.name].astype(object)
            changed.at[place, column.name] = None
            if column.name in ("ticker", "entry", "horizon", "digest", "date", "revision"):
                return
        else:
            changed[column.name] = changed[column.name].astype(object)
            changed.at[place, column.name] = (
                f"{old}x"
                if column.type == "STRING"
                else (not old)
                if column.type == "BOOL"
                else old + 1
                if column.type == "INT64"
                else (1.0 if pd.isna(old) else old * (1 + 2**-52))
                if column.type == "FLOAT64"
                else old + pd.Timedelta(days=1)
            )
            for name in {"date", "target_date", "published_at", "target_opens_at"} & {column.name}:
                changed[name] = pd.to_datetime(changed[name], utc=column.type == "TIMESTAMP")
    assert ledger.faults(changed, [anchor])


def by_the_book(row: dict[str, Any]) -> bytes:
    """A row's values as docs/ledger.md says, by nothing but Python."""
    names, values = "", b""
    for column in sorted(PUBLISHED_FORECASTS.columns, key=lambda column: column.name):
        value = row[column.name]
        if column.name == "digest" or pd.isna(value):
            continue
        names += f"{column.name}:{column.type};"
        if column.type == "STRING":
            values += hashlib.sha256(value.encode()).digest()
        elif column.type == "FLOAT64":
            values += struct.pack(">d", value)
        else:
            epoch = pd.Timestamp(0, tz="UTC" if column.type == "TIMESTAMP" else None)
            step = {"DATE": pd.Timedelta(days=1), "TIMESTAMP": pd.Timedelta(microseconds=1)}.get(column.type)
            values += struct.pack(">q", int(value) if step is None else (value - epoch) // step)
    return names.encode() + values


def test_anybody_can_compute_the_digests_by_what_the_docs_say(chain: pd.DataFrame) -> None:
    for _, rows in chain.groupby("ticker"):
        before = ""
        for row in rows.to_dict("records"):
            before = hashlib.sha256(before.encode() + by_the_book(row)).hexdigest()
            assert before == row["digest"]


def test_a_column_that_is_added_later_changes_no_digest(chain: pd.DataFrame) -> None:
    columns = PUBLISHED_FORECASTS.columns
    later = (*columns, Column("a_new_one", "FLOAT64", "of a later release"))
    assert ledger.encoded(chain.assign(a_new_one=None), later) == ledger.encoded(chain, columns)


def test_heads_of_publications_tell_of_a_chain_cut_at_its_end(chain: pd.DataFrame) -> None:
    anchor = ledger.Anchor("run 7", ledger.heads_of(chain))
    cut = chain[~((chain["ticker"] == "AAPL") & (chain["entry"] == 4))]
    assert ledger.faults(cut) == []
    (fault,) = ledger.faults(cut, [anchor])
    assert str(fault) == "AAPL: entry 4, of which run 7 tells, is gone."


def test_who_adds_the_same_entry_meanwhile_makes_the_other_number_its_own_anew(store: Store) -> None:
    warehouse = store.warehouse
    publish(warehouse, {("AAPL", DAYS[0]): 1.0}, NOW)
    frame = forecasts({("AAPL", DAYS[1]): 1.0})
    known = frame[ledger.KEY].drop_duplicates().assign(model_digest=None, data_digest="0")
    stale = {"AAPL": ledger.heads_of(warehouse.read(PUBLISHED_FORECASTS))["AAPL"]}
    asked = []

    def adding() -> Addition:
        asked.append(1)
        if len(asked) == 1:
            # Another run comes first, after ours has read the head.
            publish(warehouse, {("AAPL", DAYS[2]): 1.0}, NOW)
            heads = stale
        else:
            heads = ledger.heads_of(warehouse.read(PUBLISHED_FORECASTS))
        rows = ledger.new_entries(frame, PUBLISHED_FORECASTS.empty(), heads, known, NOW, "1.0")
        return Addition(PUBLISHED_FORECASTS, rows)

    data, contract = frames.to_arrow(frame, FORECASTS.name, FORECASTS)
    part = keys_slice([f"{DAYS[1]:%Y-%m-%d}|AAPL"])
    ref = TableRef(warehouse.schema, FORECASTS.name)
    replace_with_addition(warehouse, ref, data, part, contract, "one", KeyedFrame(frame, adding=adding))
    rows = warehouse.read(PUBLISHED_FORECASTS)
    assert (len(asked), rows["entry"].max(), ledger.faults(rows)) == (2, 3, [])
    assert ledger.unpublished(rows, warehouse.read(FORECASTS)) == ([], 0)

    asked.clear()
    again = KeyedFrame(frame.assign(fallback="x"), adding=lambda: Addition(PUBLISHED_FORECASTS, rows.tail(10)))
    with pytest.raises(AddedMeanwhileError, match="nothing was changed"):
        replace_with_addition(warehouse, ref, data, part, contract, "two", again)
    assert len(warehouse.read(PUBLISHED_FORECASTS)) == len(rows)


def test_a_ledger_holds_so_many_bytes_a_year(tmp_path: Path) -> None:
    database = tmp_path / "ledger.duckdb"
    days = list(pd.bdate_range("2024-01-02", periods=252))
    made = forecasts({("AAPL", day): 100 + place / 7 for place, day in enumerate(days)})
    known = (
        made[ledger.KEY].drop_duplicates().assign(model_digest="ab" * 32, data_digest=[f"{n:064x}" for n in range(252)])
    )
    rows = ledger.new_entries(made, PUBLISHED_FORECASTS.empty(), {}, known, NOW, "1.0")
    put(DuckDBWarehouse(str(database)), rows)
    with duckdb.connect(str(database)) as connection:
        connection.execute("CHECKPOINT")
    # docs/ledger.md says how many.
    assert database.stat().st_size < 2_000_000
