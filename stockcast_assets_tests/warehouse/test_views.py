"""The views of Looker Studio, on the BigQuery emulator."""

import os
from typing import Any

import pandas as pd
import pytest
import sqlglot
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as google

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError
from stockcast_assets.monitoring import accuracy
from stockcast_assets.operations.looker import create_views, declared_views
from stockcast_assets.tables import Table
from stockcast_assets.warehouse import TableRef, Warehouse, frames
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.warehouse.conftest import Store, duckdb_store

FIRST, SECOND = pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")
KINDS: dict[str, Any] = {
    "STRING": "x",
    "DATE": FIRST,
    "TIMESTAMP": pd.Timestamp("2024-01-02", tz="UTC"),
    "FLOAT64": 1.0,
    "INT64": 1,
    "BOOL": True,
}


def write(warehouse: Warehouse, table: Table, *rows: dict[str, Any]) -> None:
    blank = {column.name: KINDS[column.type] for column in table.columns}
    data, contract = frames.to_arrow(pd.DataFrame([blank | row for row in rows]), table.name, table)
    warehouse.replace(TableRef(warehouse.schema, table.name), data, Slice.whole(), contract)


def ask(sql: str) -> list[dict[str, Any]]:
    client = google.Client(
        "test-project",
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=os.environ["BIGQUERY_EMULATOR_HOST"]),
    )
    return [dict(row) for row in client.query(sql).result()]


@pytest.fixture
def filled(bigquery: Store) -> Warehouse:
    warehouse = bigquery.warehouse
    closes = [{"ticker": "A", "date": FIRST + pd.Timedelta(days=n), "close": 100.0 + n} for n in range(25)]
    write(warehouse, tables.INDICATORS, *closes)
    write(warehouse, tables.RAW_PRICES, {"ticker": "A", "date": FIRST, "volume": 7})
    write(
        warehouse,
        tables.FORECASTS,
        {"ticker": "A", "date": FIRST, "horizon": 1, "target_date": SECOND, "close_p50": 11.0, "close_p99": 14.0},
        {"ticker": "A", "date": FIRST, "horizon": 2, "target_date": SECOND + pd.Timedelta(days=1)},
    )
    write(
        warehouse,
        tables.FORECAST_ACCURACY,
        {
            "ticker": "A",
            "date": SECOND,
            "horizon": 1,
            "as_of_date": FIRST,
            "target_date": SECOND,
            "actual_close": 10.0,
            "error": 1.0,
            "naive_error": -2.0,
        },
    )
    write(warehouse, tables.PUBLISHED_FORECASTS, {"ticker": "A", "date": FIRST})
    write(
        warehouse,
        tables.DRIFT_REPORT,
        {"ticker": "A", "date": FIRST, "feature": "log_return", "score": 3.0, "threshold": 2.0, "kind": "residuals"},
    )
    return warehouse


def test_views_show_what_the_pages_show_however_often_they_are_made(filled):
    names = create_views(filled)
    assert names == create_views(filled)
    view = {name.rsplit("_", 1)[1]: f"`{name}`" for name in names}
    assert sorted(view) == ["calibration", "distributions", "drift", "forecasts", "indicators", "trust"]

    bars = ask(f"SELECT * FROM {view['indicators']} ORDER BY date")  # noqa: S608
    assert [row["volume"] for row in bars] == [7, *[None] * 24]
    made = ask(f"SELECT * FROM {view['forecasts']} ORDER BY horizon")  # noqa: S608
    assert [row["actual_close"] for row in made] == [10.0, None]
    assert (made[0]["close_p01"], made[0]["close_p99"]) == (1.0, 14.0)
    assert made[0]["relative_naive_error"] == pytest.approx(0.2)
    assert ask(f"SELECT kind, ratio FROM {view['drift']}") == [{"kind": "residuals", "ratio": 1.5}]  # noqa: S608
    (trust,) = ask(f"SELECT * FROM {view['trust']}")  # noqa: S608
    assert 1 - (trust["squared_error"] / trust["squared_naive_error"]) ** 0.5 == pytest.approx(0.5)
    assert (trust["published"], trust["pinball_har"], trust["pinball_beside_har"]) == ("late", 1.0, 1.0)
    calibration = ask(f"SELECT published, bucket, outcomes FROM {view['calibration']}")  # noqa: S608
    assert calibration == [{"published": "late", "bucket": 9, "outcomes": 1}]
    buckets = ask(f"SELECT * FROM {view['distributions']} ORDER BY bucket")  # noqa: S608
    assert [row["sessions"] for row in buckets] == [*[1] * 23, 2]
    assert (buckets[0]["close_from"], buckets[-1]["close_to"]) == (100.0, 124.0)


def test_the_tails_are_judged_as_the_other_quantiles_are(filled):
    """A forecast that was repaired is scored by what it said first, one before a split in the shares of then, and one
    that has no tails, or that the ledger does not know, is not counted."""
    days = list(pd.bdate_range(FIRST, periods=7))
    # The close of each next session; five old shares are one new share on the fifth day.
    closes = [100.0, 91.0, 100.0, 108.0, 500.0, 540.0, 505.0]
    blank = {column.name: KINDS[column.type] for column in tables.RAW_PRICES.columns}
    splits = [0.2 if place == 4 else 1.0 for place in range(7)]
    bars = pd.DataFrame(
        [
            blank | {"ticker": "A", "date": day, "close": close, "split_ratio": split}
            for day, close, split in zip(days, closes, splits, strict=True)
        ]
    )
    said = {
        name: 1 + (level - 0.5) / 5
        for name, level in zip(tables.QUANTILE_COLUMNS, tables.QUANTILES, strict=True)
    } | {"close_p01": 0.92, "close_p99": 1.07}  # fmt: skip
    blank = {column.name: KINDS[column.type] for column in tables.PUBLISHED_FORECASTS.columns}
    rows = [
        blank
        | {name: factor * close for name, factor in said.items()}
        | {"ticker": "A", "date": day, "entry": place, "revision": 0, "target_date": due, "last_close": close}
        | {"naive_close": close, "late": False}
        for place, (day, due, close) in enumerate(zip(days[:-1], days[1:], closes[:-1], strict=True), start=1)
    ]
    rows[2] |= {"close_p01": None, "close_p99": None}
    repaired = rows[0] | {"entry": 7, "revision": 1, "close_p01": 1.0, "close_p99": 1000.0}
    entries = pd.DataFrame([*rows, repaired])
    first = entries[entries["revision"] == 0]
    scored = accuracy.score(first, bars, days)
    # The ledger does not know the last one.
    scored.loc[scored["date"] == days[-1], "revision"] = pd.NA
    tails = (
        first.assign(close_p10=first["close_p01"], close_p90=first["close_p99"]).dropna(subset="close_p01").iloc[:-1]
    )
    inside = accuracy.score(tails, bars, days)
    write(filled, tables.PUBLISHED_FORECASTS, *entries.to_dict("records"))
    write(filled, tables.FORECAST_ACCURACY, *scored.to_dict("records"))

    create_views(filled)
    name = f"`{filled.place}.looker_trust`"
    found = ask(f"SELECT * FROM {name} ORDER BY date")  # noqa: S608
    assert [row["forecasts"] for row in found] == [1] * 6
    with_tails = [row for row in found if row["forecasts_with_tails"]]
    assert [row["date"] for row in with_tails] == [day.date() for day in inside["date"]]
    assert [bool(row["inside_98"]) for row in with_tails] == inside["inside_80"].tolist() == [False, False, True, False]
    assert [row["at_or_below_p01"] for row in with_tails] == [1, 0, 0, 0]
    assert [row["at_or_below_p99"] for row in with_tails] == [1, 0, 1, 0]
    assert {row[key] for row in found if row not in with_tails for key in ("inside_98", "at_or_below_p99")} == {0}


def test_no_view_is_made_before_its_tables(bigquery):
    with pytest.raises(StockcastError, match="does not exist yet, and no view was made"):
        create_views(bigquery.warehouse)


def test_duckdb_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(StockcastError, match="copy them there and use that warehouse"):
        create_views(duckdb_store(tmp_path).warehouse)


def test_every_view_is_described_bigquery_sql_that_bounds_the_date_of_each_table():
    for view in declared_views():
        assert len(view.description) > 20
        (parsed,) = sqlglot.parse(view.sql.format(dataset="project.dataset"), read="bigquery")
        assert view.sql.count("WHERE date >= DATE '1900-01-01'") == len(list(parsed.find_all(sqlglot.exp.Table))) - len(
            [t for t in parsed.find_all(sqlglot.exp.Table) if not t.db]
        )
