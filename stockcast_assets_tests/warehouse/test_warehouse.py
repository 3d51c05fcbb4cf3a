"""What both warehouses promise, asked of them directly."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.tables import ALL_TABLES, DRIFT_REPORT, Column, Table
from stockcast_assets.warehouse import BigQueryWarehouse, TableRef, frames
from stockcast_assets.warehouse.bigquery.schema import field
from stockcast_assets.warehouse.slices import Slice, Span, Windows
from stockcast_assets_tests.warehouse.conftest import Store, bigquery_store, duckdb_store
from stockcast_assets_tests.warehouse.helpers import HOSTILE, PRICES, closes, keys_slice, prices, write


def test_a_table_that_does_not_exist_reads_as_empty_with_its_dtypes(store: Store) -> None:
    for table in ALL_TABLES:
        # The market's days are nobody's.
        tickers = ["AAPL"] if "ticker" in table.column_names else None
        frame = store.warehouse.read(table, tickers=tickers, start="2024-01-01")
        assert list(frame.columns) == table.column_names
        assert len(frame) == 0
        for column in table.columns:
            assert (
                str(frame.dtypes[column.name])
                == {
                    "STRING": "object",
                    "DATE": "datetime64[ns]",
                    "TIMESTAMP": "datetime64[ns, UTC]",
                    "FLOAT64": "float64",
                    "INT64": "int64",
                    "BOOL": "bool",
                }[column.type]
            )
    assert store.warehouse.content_hash(PRICES)[0] == 0


def test_read_narrows_by_ticker_date_and_column_and_sorts_by_key(store: Store) -> None:
    rows = [(t, f"2024-01-{d:02}", float(d)) for d in (5, 3, 4) for t in ("MSFT", "AAPL", "' OR TRUE --")]
    write(store.warehouse, prices(rows))
    read = store.warehouse.read
    everything = read(PRICES)
    pd.testing.assert_frame_equal(everything, everything.sort_values(["ticker", "date"], ignore_index=True))
    assert len(everything) == 9
    narrowed = read(PRICES, tickers=["MSFT", "AAPL"], start="2024-01-03", end=datetime.date(2024, 1, 4))
    assert narrowed["ticker"].tolist() == ["AAPL", "AAPL", "MSFT", "MSFT"]
    assert narrowed["close"].tolist() == [3.0, 4.0, 3.0, 4.0]
    assert read(PRICES, tickers=["' OR TRUE --"], columns=["close"])["close"].tolist() == [3.0, 4.0, 5.0]
    assert len(read(PRICES, end="2024-01-03")) == 3
    assert len(read(PRICES, start=pd.Timestamp("2024-01-05"))) == 3
    assert len(read(PRICES, tickers=[])) == 0
    with pytest.raises(StockcastError, match="no column 'open'"):
        read(PRICES, columns=["open"])


def test_drift_rows_of_a_release_that_knew_no_kinds_stay_and_read_as_null(store: Store) -> None:
    old = replace(DRIFT_REPORT, columns=tuple(c for c in DRIFT_REPORT.columns if c.name != "kind"))
    values = {"STRING": "x", "DATE": pd.Timestamp("2024-01-02"), "FLOAT64": 1.0, "BOOL": True}
    row = {column.name: values[column.type] for column in DRIFT_REPORT.columns} | {"kind": "residuals"}
    ref = TableRef(store.warehouse.schema, DRIFT_REPORT.name)

    def add(ticker: str, table: Table) -> None:
        frame = pd.DataFrame([row | {"ticker": ticker}])[table.column_names]
        data, contract = frames.to_arrow(frame, table.name, table)
        store.warehouse.replace(ref, data, keys_slice([f"2024-01-02|{ticker}"]), contract)

    add("AAPL", old)
    before = store.warehouse.read(DRIFT_REPORT, tickers=["AAPL"])
    assert list(before.columns) == DRIFT_REPORT.column_names
    assert before["kind"].isna().tolist() == [True]
    add("MSFT", DRIFT_REPORT)
    assert store.warehouse.read(DRIFT_REPORT)[["ticker", "kind"]].to_numpy().tolist() == [
        ["AAPL", None],
        ["MSFT", "residuals"],
    ]


def test_the_hash_depends_on_the_rows_alone_not_on_their_order(store: Store) -> None:
    rows = [(t, f"2024-01-{d:02}", float(d)) for d in (3, 4) for t in ("MSFT", "AAPL")]
    write(store.warehouse, prices(rows))
    count, digest = store.warehouse.content_hash(PRICES)
    assert count == 4
    write(store.warehouse, prices(reversed(rows)))
    assert store.warehouse.content_hash(PRICES) == (count, digest)
    write(store.warehouse, prices([*rows[:3], (*rows[3][:2], 9.0)]))
    assert store.warehouse.content_hash(PRICES)[1] != digest
    write(store.warehouse, prices(rows).assign(volume=pd.array([100, None, 100, 100], "Int64")))
    assert store.warehouse.content_hash(PRICES)[1] != digest


def test_both_warehouses_give_the_same_hash(bigquery: Store, tmp_path) -> None:
    duckdb = duckdb_store(tmp_path)
    frame = prices((t, f"2024-01-{d:02}", d / 3) for d in range(1, 20) for t in ["AAPL", *HOSTILE])
    frame.loc[3, "volume"] = None
    for store in (duckdb, bigquery):
        write(store.warehouse, frame)
    assert duckdb.warehouse.content_hash(PRICES) == bigquery.warehouse.content_hash(PRICES)
    pd.testing.assert_frame_equal(duckdb.warehouse.read(PRICES), bigquery.warehouse.read(PRICES))


def test_a_non_rectangular_set_of_keys_is_replaced_exactly(store: Store) -> None:
    grid = [(t, f"2024-02-{d:02}") for t in ("AAPL", "MSFT", "' OR TRUE --") for d in range(1, 11)]
    write(store.warehouse, prices((t, d, 1.0) for t, d in grid))
    chosen = [("AAPL", f"2024-02-{d:02}") for d in (1, 2, 3)] + [("MSFT", f"2024-02-{d:02}") for d in (5, 9)]
    write(
        store.warehouse,
        prices((t, d, 2.0) for t, d in chosen),
        keys_slice(f"{d}|{t}" for t, d in chosen),
    )
    assert closes(store.warehouse) == {key: 2.0 if key in chosen else 1.0 for key in grid}


def tell_emulator_of_columns(warehouse: BigQueryWarehouse, table: Table) -> None:
    """ALTER TABLE changes the emulator's table, but not the schema it reports; BigQuery's own does both."""
    with warehouse._client() as client:
        stored = client.get_table(f"{warehouse.project}.{warehouse.schema}.{table.name}")
        stored.schema = [field(column) for column in table.columns]
        client.update_table(stored, ["schema"])


def test_a_new_column_is_added_and_a_removed_or_retyped_one_stops(store: Store) -> None:
    ref = TableRef(store.warehouse.schema, PRICES.name)
    write(store.warehouse, prices([("AAPL", "2024-01-02", 1.0)]))
    wider = replace(PRICES, columns=(*PRICES.columns, Column("note", "STRING", "Remark", required=True)))
    frame = prices([("MSFT", "2024-01-02", 2.0)]).assign(note="new")
    data, _ = frames.to_arrow(frame, "prices", wider)
    store.warehouse.replace(ref, data, keys_slice(["2024-01-02|MSFT"]), wider)
    assert store.warehouse.read(wider)["note"].tolist() == [None, "new"]
    if isinstance(store.warehouse, BigQueryWarehouse):
        tell_emulator_of_columns(store.warehouse, wider)
    before = store.warehouse.content_hash(wider)
    with pytest.raises(StockcastError, match=r"column 'note', which is no longer declared.* DROP COLUMN .note."):
        write(store.warehouse, prices([("AAPL", "2024-01-02", 3.0)]))
    columns = [replace(c, type="STRING") if c.name == "volume" else c for c in wider.columns]
    retyped = replace(wider, columns=tuple(columns))
    data, _ = frames.to_arrow(frame.assign(volume="many"), "prices", retyped)
    with pytest.raises(StockcastError, match=r"'volume' .* INT64 but declared as STRING.* ALTER TABLE .*volume"):
        store.warehouse.replace(ref, data, Slice.whole(), retyped)
    strict = [replace(c, required=True) if c.name == "volume" else c for c in wider.columns]
    lax = [replace(c, required=False) if c.name == "close" else c for c in wider.columns]
    store.warehouse.replace(ref, frames.conform(None, wider), keys_slice([]), replace(wider, columns=tuple(strict)))
    with pytest.raises(StockcastError, match=r"'close' .* FLOAT64 NOT NULL but declared as FLOAT64 NULL.*DROP NOT"):
        store.warehouse.replace(ref, frames.conform(None, wider), Slice.whole(), replace(wider, columns=tuple(lax)))
    assert store.warehouse.content_hash(wider) == before


@pytest.mark.parametrize("type_", frames.arrow_types())
def test_a_declared_column_reads_before_the_write_that_adds_it_as_it_does_after(store: Store, type_: Any) -> None:
    write(store.warehouse, prices([("AAPL", "2024-01-02", 1.0)]))
    wider = replace(PRICES, columns=(*PRICES.columns, Column("note", type_, "Remark", required=True)))
    part, ref = keys_slice(["2024-01-02|AAPL"]), TableRef(store.warehouse.schema, PRICES.name)
    before, alone = store.warehouse.read(wider), store.warehouse.read(wider, tickers=["AAPL"], columns=["note"])
    assert store.warehouse.read_cost(ref, part, wider, ["note"]) in (None, 0)
    count = store.warehouse.content_hash(wider)
    store.warehouse.replace(ref, frames.conform(None, wider), keys_slice([]), wider)
    after = store.warehouse.read(wider)
    assert after["note"].isna().tolist() == [True]
    pd.testing.assert_frame_equal(before, after)
    pd.testing.assert_frame_equal(alone, after[["note"]])
    assert store.warehouse.content_hash(wider) == count


def test_a_column_of_another_type_is_one_sentence_to_readers(store: Store) -> None:
    write(store.warehouse, prices([("AAPL", "2024-01-02", 1.5)]))
    retyped = replace(
        PRICES, columns=tuple(replace(c, type="INT64") if c.name == "close" else c for c in PRICES.columns)
    )
    with pytest.raises(StockcastError, match=r"'close' of table prices is declared as INT64 but stored as double"):
        store.warehouse.read(retyped)
    dated = replace(PRICES, columns=tuple(replace(c, type="DATE") if c.name == "ticker" else c for c in PRICES.columns))
    with pytest.raises(StockcastError, match=r"could not read table .*prices"):
        store.warehouse.load(
            TableRef(store.warehouse.schema, "prices"),
            Slice(((Windows("ticker", (Span(datetime.datetime(2024, 1, 1), None),)),),)),
            dated,
        )


@pytest.mark.fault
def test_concurrent_writers_lose_and_mix_nothing(store: Store) -> None:
    """Eight writers, two of them on each ticker's slice: every slice ends as one writer's whole value."""
    tickers = ["AAPL", "GOOG", "IBM", "MSFT"]
    days = [f"2024-01-{d:02}" for d in range(1, 21)]
    write(store.warehouse, prices((t, d, 0.0) for t in tickers for d in days))

    def work(number: int) -> None:
        ticker = tickers[number % 4]
        for _ in range(2):
            frame = prices((ticker, d, float(number + 1)) for d in days)
            write(store.warehouse, frame, keys_slice(f"{d}|{ticker}" for d in days))
            assert len(store.warehouse.read(PRICES, tickers=[ticker])) == 20

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    frame = store.warehouse.read(PRICES)
    assert len(frame) == 80
    for number, ticker in enumerate(tickers):
        values = set(frame.loc[frame["ticker"] == ticker, "close"])
        assert len(values) == 1
        assert values <= {number + 1.0, number + 5.0}


def test_a_contract_without_ticker_or_date_is_stored_too(store: Store) -> None:
    table = Table("plain", "", (Column("name", "STRING", ""), Column("at", "TIMESTAMP", "")), ("name",))
    frame = pd.DataFrame({"name": ["b", "a"], "at": pd.to_datetime(["2024-01-01"] * 2, utc=True)})
    data, _ = frames.to_arrow(frame, "plain", table)
    store.warehouse.replace(TableRef(store.warehouse.schema, "plain"), data, Slice.whole(), table)
    assert store.warehouse.read(table)["name"].tolist() == ["a", "b"]


def test_every_table_of_stockcast_can_be_made_and_read(bigquery: Store, tmp_path) -> None:
    for store in (duckdb_store(tmp_path), bigquery_store()):
        for table in ALL_TABLES:
            ref = TableRef(store.warehouse.schema, table.name)
            store.warehouse.replace(ref, frames.conform(None, table), Slice.whole(), table)
            stored = store.warehouse.contract(ref)
            assert stored is not None
            assert [(c.name, c.type, c.required) for c in stored.columns] == [
                (c.name, c.type, c.required) for c in table.columns
            ]
