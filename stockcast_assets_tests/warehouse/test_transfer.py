"""`stockcast warehouse check` and `copy`: declared against stored, and there and back between the two warehouses."""

import json
import re
import shlex
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.tables import ALL_TABLES, FORECASTS, INDICATORS, RAW_PRICES, STORED_TABLES, Column, Table
from stockcast_assets.warehouse import BigQueryWarehouse, DuckDBWarehouse, TableRef, Warehouse, frames
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets.warehouse.transfer import compare, copy
from stockcast_assets_tests.conftest import Run
from stockcast_assets_tests.warehouse.conftest import Store, bigquery_store, duckdb_store
from stockcast_assets_tests.warehouse.helpers import HOSTILE

STORED = [table for table in ALL_TABLES if table.name != "drift_report"]


def some_rows(table: Table, rows: int = 24) -> pd.DataFrame:
    """Rows of every type that obey the declaration, with nulls where it allows them."""
    random = np.random.default_rng(len(table.columns))
    days = pd.date_range("2024-01-30", periods=rows, freq="D")
    numbers = random.integers(1, 1_000_000_000_000, rows)
    values = {
        "STRING": lambda: np.array([["AAPL", *HOSTILE][i % 9] + str(i) for i in range(rows)], dtype=object),
        "DATE": lambda: days,
        "TIMESTAMP": lambda: days.tz_localize("UTC") + pd.to_timedelta(numbers, unit="us"),
        "FLOAT64": lambda: random.standard_normal(rows),
        "INT64": lambda: numbers,
        "BOOL": lambda: random.random(rows) < 0.5,
    }
    frame = pd.DataFrame({column.name: values[column.type]() for column in table.columns})
    for column in table.columns:
        if not column.required:
            frame.loc[::5, column.name] = None
    return frame


def put(warehouse: Warehouse, table: Table, rows: int = 24) -> None:
    data, contract = frames.to_arrow(some_rows(table, rows), table.name, table)
    warehouse.replace(TableRef(warehouse.schema, table.name), data, Slice.whole(), contract)


def fill(warehouse: Warehouse) -> None:
    for table in STORED:
        put(warehouse, table)


def hashes(warehouse: Warehouse) -> dict[str, tuple[int, str]]:
    return {table.name: warehouse.content_hash(table) for table in ALL_TABLES}


def retyped(table: Table, column: str, **change: object) -> Table:
    return replace(table, columns=tuple(replace(c, **change) if c.name == column else c for c in table.columns))


def test_there_and_back_gives_the_same_rows(bigquery: Store, tmp_path: Path) -> None:
    laptop, cloud, again = duckdb_store(tmp_path).warehouse, bigquery.warehouse, duckdb_store(tmp_path / "b").warehouse
    fill(laptop)
    copied = copy(laptop, cloud, ALL_TABLES)
    assert [(each.table, each.rows, each.written) for each in copied] == [(t.name, 24, True) for t in STORED]
    assert {each.table: (each.rows, each.sha256) for each in copied}.items() <= hashes(laptop).items()
    assert not any(each.written for each in copy(laptop, cloud, ALL_TABLES))
    copy(cloud, again, ALL_TABLES)
    assert hashes(again) == hashes(cloud) == hashes(laptop)
    for table in STORED:
        pd.testing.assert_frame_equal(again.read(table), laptop.read(table), check_exact=True)
        stored = again.contract(TableRef(again.schema, table.name))
        assert stored is not None
        assert [(c.name, c.type, c.required) for c in stored.columns] == [
            (c.name, c.type, c.required) for c in table.columns
        ]
    assert all(each.created != (each.table == "drift_report") for each in compare(cloud, ALL_TABLES))


def test_other_rows_in_the_target_are_kept_unless_told(bigquery: Store, tmp_path: Path) -> None:
    laptop, cloud = duckdb_store(tmp_path).warehouse, bigquery.warehouse
    put(laptop, RAW_PRICES)
    put(laptop, FORECASTS)
    put(cloud, FORECASTS, rows=3)
    put(cloud, INDICATORS, rows=2)
    before = hashes(cloud)
    with pytest.raises(StockcastError, match=r"indicators of test-project\S+ holds 2 rows .*nothing was copied"):
        copy(laptop, cloud, ALL_TABLES)
    assert hashes(cloud) == before
    copy(laptop, cloud, ALL_TABLES, overwrite=True)
    assert hashes(cloud) == hashes(laptop)


def test_an_empty_source_empties_nothing(bigquery: Store, tmp_path: Path) -> None:
    put(bigquery.warehouse, RAW_PRICES)
    before = hashes(bigquery.warehouse)
    with pytest.raises(StockcastError, match="holds none of these tables"):
        copy(duckdb_store(tmp_path).warehouse, bigquery.warehouse, ALL_TABLES, overwrite=True)
    assert hashes(bigquery.warehouse) == before


def test_what_arrives_is_compared_with_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = duckdb_store(tmp_path / "a").warehouse, duckdb_store(tmp_path / "b").warehouse
    put(source, RAW_PRICES)
    whole = DuckDBWarehouse.replace
    monkeypatch.setattr(
        DuckDBWarehouse, "replace", lambda self, ref, data, *rest: whole(self, ref, data.slice(1), *rest)
    )
    with pytest.raises(StockcastError, match=r"raw_prices has 24 rows in .* but 23 in"):
        copy(source, target, ALL_TABLES)


def test_an_added_column_may_keep_its_nulls(store: Store, tmp_path: Path) -> None:
    ref = TableRef(store.warehouse.schema, RAW_PRICES.name)
    frame = some_rows(RAW_PRICES).assign(source=None)
    lax = retyped(RAW_PRICES, "source", required=False)
    data, _ = frames.to_arrow(frame, RAW_PRICES.name, lax)
    store.warehouse.replace(ref, data, Slice.whole(), lax)
    target = duckdb_store(tmp_path / "other").warehouse
    copy(store.warehouse, target, ALL_TABLES)
    assert hashes(target) == hashes(store.warehouse)


def test_a_table_of_a_release_that_knew_fewer_columns_is_copied_with_nulls(store: Store, tmp_path: Path) -> None:
    old = replace(RAW_PRICES, columns=tuple(c for c in RAW_PRICES.columns if c.name != "source"))
    put(store.warehouse, old)
    target = duckdb_store(tmp_path / "other").warehouse
    (copied,) = copy(store.warehouse, target, ALL_TABLES)
    assert (copied.rows, hashes(target)) == (24, hashes(store.warehouse))
    assert target.read(RAW_PRICES)["source"].isna().all()
    assert not any(each.differences for each in compare(target, ALL_TABLES))


WRONG: dict[str, tuple[Table, str, str, str]] = {
    "retyped": (retyped(RAW_PRICES, "volume", type="FLOAT64"), "volume", "FLOAT64", "INT64"),
    "widened": (retyped(RAW_PRICES, "close", type="INT64"), "close", "INT64", "FLOAT64"),
    "loosened": (retyped(INDICATORS, "rsi_14", required=True), "rsi_14", "FLOAT64 NOT NULL", "FLOAT64 NULL"),
    "removed": (
        replace(RAW_PRICES, columns=(*RAW_PRICES.columns, Column("note", "STRING", ""))),
        "note",
        "STRING",
        "None",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_difference_is_named_with_the_command_that_ends_it(store: Store, case: str) -> None:
    stored, column, was, declared = WRONG[case]
    ref = TableRef(store.warehouse.schema, stored.name)
    frame = some_rows(stored)
    frame = frame.assign(rsi_14=1.0) if case == "loosened" else frame.assign(close=7)
    data, _ = frames.to_arrow(frame, stored.name, stored)
    store.warehouse.replace(ref, data, Slice.whole(), stored)
    found = {each.table: each.differences for each in compare(store.warehouse, ALL_TABLES) if each.differences}
    ((table, (different,)),) = found.items()
    assert (table, different.column, different.stored, str(different.declared)) == (stored.name, column, was, declared)
    with pytest.raises(
        StockcastError, match=rf"{stored.name} of .* not as declared .*'{column}'.*: run ALTER TABLE .* there first"
    ):
        copy(store.warehouse, bigquery_store().warehouse, ALL_TABLES)
    assert different.migration
    if isinstance(store.warehouse, BigQueryWarehouse):
        assert "SET DATA TYPE" not in different.migration or case == "widened"
        return
    import duckdb

    with duckdb.connect(store.warehouse.place) as connection:
        connection.execute(different.migration)
    assert not any(each.differences for each in compare(store.warehouse, ALL_TABLES))
    assert len(store.warehouse.rows(next(t for t in ALL_TABLES if t.name == stored.name))) == 24


def test_bigquerys_longer_migration_keeps_the_values(bigquery: Store) -> None:
    assert isinstance(bigquery.warehouse, BigQueryWarehouse)
    wrong = retyped(RAW_PRICES, "volume", type="STRING")
    ref = TableRef(bigquery.warehouse.schema, wrong.name)
    frame = some_rows(wrong)
    frame["volume"] = [str(number) for number in range(24)]
    data, _ = frames.to_arrow(frame, wrong.name, wrong)
    bigquery.warehouse.replace(ref, data, Slice.whole(), wrong)
    (different,) = next(e for e in compare(bigquery.warehouse, [RAW_PRICES])).differences
    with bigquery.warehouse._client() as client:
        for statement in str(different.migration).split("; "):
            client.query(statement).result()
    assert sorted(bigquery.warehouse.read(RAW_PRICES)["volume"]) == list(range(24))


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path))
    return run


def test_the_command_checks_the_configured_warehouse(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.warehouse.kind == "bigquery":
        monkeypatch.setenv("STOCKCAST_WAREHOUSE", "bigquery")
        monkeypatch.setenv("STOCKCAST_GCP_PROJECT", "test-project")
        monkeypatch.setenv("STOCKCAST_BQ_DATASET", store.warehouse.schema)
    status, out, err = run("warehouse", "check")
    assert status == 0, err
    assert out.count("not created yet") == len(STORED_TABLES)
    put(store.warehouse, RAW_PRICES)
    put(store.warehouse, retyped(FORECASTS, "method", type="INT64"))
    status, out, err = run("warehouse", "check")
    assert status == 1, err
    assert "forecasts.method: stored as INT64 but declared as STRING; to migrate, run" in out
    (command,) = [line.strip() for line in out.splitlines() if "ALTER TABLE" in line]
    assert command.endswith(";")
    (console,) = [line.removeprefix("To run SQL: ") for line in out.splitlines() if line.startswith("To run SQL: ")]
    document = json.loads(run("warehouse", "check", "--json")[1])
    assert document["warehouse"] == store.warehouse.place
    states = {each["table"]: each["state"] for each in document["tables"]}
    assert (states["raw_prices"], states["forecasts"]) == ("as declared", "differs")
    (listed,) = [each["differences"] for each in document["tables"] if each["table"] == "forecasts"]
    assert listed == [{"column": "method", "stored": "INT64", "declared": "STRING", "migration": command[:-1]}]
    if store.warehouse.kind == "bigquery":
        assert console == "bq query --use_legacy_sql=false"
        return
    subprocess.run(shlex.split(console), input=command, text=True, check=True)
    assert run("warehouse", "check")[0] == 0


def test_the_command_for_views_says_how_to_have_bigquery(run: Run, tmp_path: Path) -> None:
    fill(duckdb_store(tmp_path).warehouse)
    status, _, err = run("warehouse", "views")
    assert status == 1
    assert "set STOCKCAST_WAREHOUSE=bigquery" in err
    assert "stockcast warehouse copy --from duckdb --to bigquery" in err


def test_the_command_copies_there_and_back(
    run: Run, bigquery: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(duckdb_store(tmp_path).warehouse)
    monkeypatch.setenv("STOCKCAST_GCP_PROJECT", "test-project")
    monkeypatch.setenv("STOCKCAST_BQ_DATASET", bigquery.warehouse.schema)
    status, out, err = run("warehouse", "copy", "--from", "duckdb", "--to", "bigquery")
    assert status == 0, err
    assert "STOCKCAST_WAREHOUSE=bigquery" in out
    before = hashes(bigquery.warehouse)
    (tmp_path / "warehouse.duckdb").unlink()
    status, out, err = run("warehouse", "copy", "--from", "bigquery", "--to", "duckdb", "--json")
    assert status == 0, err
    assert {each["table"]: (each["rows"], each["sha256"]) for each in json.loads(out)["tables"]} == {
        table.name: before[table.name] for table in STORED
    }
    put(bigquery.warehouse, RAW_PRICES, rows=5)
    status, out, err = run("warehouse", "copy", "--from", "duckdb", "--to", "bigquery")
    assert (status, out) == (1, "")
    advised = re.search(r"`stockcast ([^`]+)` replaces what", " ".join(err.split()))
    assert advised, err
    assert run(*advised[1].split())[0] == 0
    assert hashes(bigquery.warehouse) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "duckdb", "--to", "duckdb"), "both duckdb"),
        (("--from", "duckdb", "--to", "snowflake"), "--to snowflake is no warehouse"),
        (("--from", "duckdb", "--to", "bigquery"), "STOCKCAST_GCP_PROJECT is not set"),
    ],
)
def test_a_copy_that_cannot_be_is_one_sentence(run: Run, arguments: tuple[str, ...], says: str) -> None:
    status, out, err = run("warehouse", "copy", *arguments)
    assert (status, out) == (1, "")
    assert says in err
    assert err.count("\n") == 1


def test_the_command_sweeps_up_after_dead_runs(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = f"_stockcast_stage_{RAW_PRICES.name}_0"
    if isinstance(store.warehouse, BigQueryWarehouse):
        monkeypatch.setenv("STOCKCAST_WAREHOUSE", "bigquery")
        monkeypatch.setenv("STOCKCAST_GCP_PROJECT", "test-project")
        monkeypatch.setenv("STOCKCAST_BQ_DATASET", store.warehouse.schema)
        put(store.warehouse, RAW_PRICES)
        with store.warehouse._client() as client:
            client.create_table(f"test-project.{store.warehouse.schema}.{stage}")
    # A stage younger than six hours may belong to a run that is alive.
    assert json.loads(run("warehouse", "sweep", "--json")[1])["dropped"] == []
    monkeypatch.setattr("stockcast_assets.warehouse.bigquery.warehouse.STAGE_LIFETIME", timedelta(0))
    dropped = [stage] if isinstance(store.warehouse, BigQueryWarehouse) else []
    assert json.loads(run("warehouse", "sweep", "--json")[1])["dropped"] == dropped
    assert "0 staging tables dropped" in run("warehouse", "sweep")[1]
