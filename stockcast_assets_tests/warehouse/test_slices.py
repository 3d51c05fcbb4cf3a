"""Partition keys as conditions: exactly the keys' rows, never a key's text in the SQL."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.tables import Column, Table
from stockcast_assets.warehouse.duckdb import _DuckDBDialect
from stockcast_assets.warehouse.slices import Slice, Span, Values, Windows, slice_of, where
from stockcast_assets_tests.warehouse.helpers import (
    BY_TICKER_AND_DAY,
    DAYS,
    HOSTILE,
    PRICES,
    TICKER_DAYS,
    TICKERS,
)

# Dagster itself refuses a NUL in a static partition, though not in a dynamic one.
NAMES = ["AAPL", "MSFT", *(name for name in HOSTILE if "\0" not in name)]
GRID = [(ticker, date(2024, 1, 1) + timedelta(days=day)) for ticker in NAMES for day in range(12)]


def selected(part: Slice, rows: Sequence[tuple[Any, ...]], contract: Table = PRICES) -> set[tuple[Any, ...]]:
    """The rows of a (ticker, date) grid that the condition keeps, asked of a real database."""
    dialect = _DuckDBDialect()
    condition = where(part, contract, dialect)
    grid = pd.DataFrame(rows, columns=["ticker", "date"])
    with duckdb.connect() as connection:
        connection.register("grid", grid)
        query = f"SELECT ticker, date FROM (SELECT ticker, date::DATE AS date FROM grid) WHERE {condition}"  # noqa: S608
        return set(connection.execute(query, dialect.parameters).fetchall())


@given(st.sets(st.sampled_from(GRID)))
@settings(max_examples=60)
def test_any_set_of_ticker_days_selects_exactly_those_rows(keys: set[tuple[str, date]]) -> None:
    part = slice_of([f"{day}|{ticker}" for ticker, day in keys], TICKER_DAYS, BY_TICKER_AND_DAY, "prices")
    assert selected(part, GRID) == keys


@given(st.sets(st.sampled_from(GRID), min_size=1))
@settings(max_examples=15)
def test_boxes_do_not_overlap_and_no_key_text_is_in_the_sql(keys: set[tuple[str, date]]) -> None:
    part = slice_of([f"{day}|{ticker}" for ticker, day in keys], TICKER_DAYS, BY_TICKER_AND_DAY, "prices")
    counts = [len(selected(Slice((box,)), GRID)) for box in part.boxes]
    assert sum(counts) == len(keys)
    dialect = _DuckDBDialect()
    condition = where(part, PRICES, dialect)
    assert not [ticker for ticker in NAMES if ticker != "`" and ticker in condition]
    assert set(dialect.parameters) == {ticker for ticker, _ in keys}


def test_a_rectangle_is_one_box_with_one_span() -> None:
    keys = [f"2024-01-{day:02}|{ticker}" for day in range(1, 32) for ticker in ("MSFT", "AAPL")]
    part = slice_of(keys, TICKER_DAYS, BY_TICKER_AND_DAY, "prices")
    (box,) = part.boxes
    assert {type(condition): condition for condition in box}[Values].values == ("AAPL", "MSFT")  # type: ignore[attr-defined]
    ((span,),) = (condition.spans for condition in box if isinstance(condition, Windows))
    assert (span.start.date(), span.end.date()) == (date(2024, 1, 1), date(2024, 2, 1))  # type: ignore[union-attr]


def test_separate_ranges_per_ticker_stay_separate_and_are_bounded_together() -> None:
    keys = [f"2024-02-0{day}|AAPL" for day in (1, 2, 3)] + [f"2024-02-0{day}|MSFT" for day in (5, 6, 7, 8, 9)]
    part = slice_of(keys, TICKER_DAYS, BY_TICKER_AND_DAY, "prices")
    assert len(part.boxes) == 2
    sql = where(part, PRICES, _DuckDBDialect())
    assert sql.startswith("\"date\" >= DATE '2024-02-01' AND \"date\" < DATE '2024-02-10' AND (")


def test_no_keys_select_nothing_and_no_partitions_select_everything() -> None:
    assert selected(slice_of([], TICKER_DAYS, BY_TICKER_AND_DAY, "prices"), GRID) == set()
    assert selected(Slice.whole(), GRID) == set(GRID)


@pytest.mark.parametrize(
    ("definition", "keys", "wanted"),
    [
        (TICKERS, ["AAPL", "' OR TRUE --"], lambda ticker, day: ticker in ("AAPL", "' OR TRUE --")),
        (dg.StaticPartitionsDefinition(NAMES), ["MSFT"], lambda ticker, day: ticker == "MSFT"),
    ],
)
def test_one_dimension_of_names(definition: Any, keys: list[str], wanted: Any) -> None:
    part = slice_of(keys, definition, "ticker", "prices")
    assert selected(part, GRID) == {row for row in GRID if wanted(*row)}


@pytest.mark.parametrize("expr", ["date", "CAST(date AS TIMESTAMP)"])
def test_one_dimension_of_time_as_column_or_expression(expr: str) -> None:
    monthly = dg.MonthlyPartitionsDefinition("2023-12-01")
    rows = [
        ("AAPL", date(2023, 12, 31)),
        ("AAPL", date(2024, 1, 1)),
        ("AAPL", date(2024, 1, 31)),
        ("AAPL", date(2024, 2, 1)),
    ]
    assert selected(slice_of(["2024-01-01"], monthly, expr, "prices"), rows) == set(rows[1:3])


def test_two_static_dimensions_of_any_shape() -> None:
    definition = dg.MultiPartitionsDefinition(
        {"a": dg.StaticPartitionsDefinition(["x", "y"]), "b": dg.StaticPartitionsDefinition(["1", "2", "3"])}
    )
    contract = Table("t", "", (Column("ticker", "STRING", ""), Column("date", "STRING", "")), ())
    part = slice_of(["x|1", "x|3", "y|3"], definition, {"a": "ticker", "b": "date"}, "t")
    dialect = _DuckDBDialect()
    condition = where(part, contract, dialect)
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE grid AS SELECT * FROM (VALUES ('x'), ('y')) a(ticker), (VALUES ('1'), ('2'), ('3')) b(date)"
        )
        rows = connection.execute(
            f"SELECT ticker, date FROM grid WHERE {condition}",  # noqa: S608
            dialect.parameters,
        ).fetchall()
    assert set(rows) == {("x", "1"), ("x", "3"), ("y", "3")}


def test_time_bounds_take_the_type_and_the_zone_of_the_column() -> None:
    hourly = dg.HourlyPartitionsDefinition("2024-07-01-00:00", timezone="America/New_York")
    part = slice_of(["2024-07-01-03:00"], hourly, "at", "t")
    as_type = {
        type_: where(part, Table("t", "", (Column("at", type_, ""),), ()), _DuckDBDialect())  # type: ignore[arg-type]
        for type_ in ("TIMESTAMP", "DATETIME")
    }
    assert "TIMESTAMPTZ '2024-07-01 07:00:00+00:00'" in as_type["TIMESTAMP"]
    assert "TIMESTAMP '2024-07-01 03:00:00'" in as_type["DATETIME"]


@pytest.mark.parametrize(
    ("definition", "key", "expr", "says"),
    [
        (DAYS, "2024-01-01", None, "'partition_expr' is None"),
        (TICKER_DAYS, "2024-01-01|AAPL", "date", "one column per dimension"),
        (TICKER_DAYS, "2024-01-01|AAPL", {"ticker": "ticker"}, "partitioned by date and ticker"),
        (DAYS, "2024-01-01", "day", "names column 'day', which it does not have"),
        (DAYS, "2024-01-01", "ticker", "type STRING, but its partitions are time windows"),
        (dg.HourlyPartitionsDefinition("2024-01-01-00:00"), "2024-01-01-03:00", "date", "begin within a day"),
        (dg.StaticPartitionsDefinition(["many"]), "many", "volume", "'many' of table prices is no INT64"),
    ],
)
def test_an_expression_that_does_not_fit_is_one_sentence(definition: Any, key: str, expr: Any, says: str) -> None:
    with pytest.raises(StockcastError, match=says):
        where(slice_of([key], definition, expr, "prices"), PRICES, _DuckDBDialect())


def test_open_spans_are_ranges_for_reading() -> None:
    since = Slice(((Windows("date", (Span(datetime(2024, 1, 10), None),)),),))
    assert {day for _, day in selected(since, GRID)} == {
        date(2024, 1, 10),
        date(2024, 1, 11),
        date(2024, 1, 12),
    }
