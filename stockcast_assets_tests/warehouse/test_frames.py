"""Frames against their contract: each fault one sentence, each good value unchanged."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.tables import Column, Table
from stockcast_assets.warehouse import frames
from stockcast_assets_tests.warehouse.helpers import PRICES, keys_slice, prices

GOOD = prices([("AAPL", "2024-01-02", 1.0), ("MSFT", "2024-01-02", 2.0)])


def one(type_: str, *, required: bool = False) -> Table:
    return Table("t", "", (Column("x", type_, "", required),), ())  # type: ignore[arg-type]


FAULTS: list[tuple[str, Any, str]] = [
    ("not a frame", [1, 2], "takes a pandas DataFrame, not list"),
    ("lacks a column", GOOD.drop(columns="volume"), "lacks column 'volume'"),
    ("extra column", GOOD.assign(extra=1), "extra column 'extra'"),
    (
        "twice the same column",
        pd.concat([GOOD, GOOD[["close"]]], axis=1),
        "has column 'close' twice",
    ),
    (
        "text in numbers",
        GOOD.assign(close=["1.0", "oops"]),
        r"'close' of table prices is FLOAT64 but row 0 holds '1.0' \(str\)",
    ),
    ("one bad value", GOOD.assign(close=pd.Series([1.0, "x"], dtype=object)), "row 1 holds 'x'"),
    ("flag for number", GOOD.assign(close=[True, False]), r"row 0 holds .*True.* \(bool"),
    (
        "fraction in whole",
        GOOD.assign(volume=[1.0, 1.5]),
        "'volume' of table prices is INT64 but row 1 holds",
    ),
    ("number for text", GOOD.assign(ticker=[1, 2]), "'ticker' of table prices is STRING but row 0"),
    (
        "time in a date",
        GOOD.assign(date=[pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03 10:00")]),
        "'date' .* DATE but row 1",
    ),
    ("text for a date", GOOD.assign(date="2024-01-02"), "'date' .* row 0 holds '2024-01-02'"),
    ("no zone", GOOD.assign(stored_at=pd.Timestamp("2024-01-02")), "'stored_at' .* TIMESTAMP but row 0"),
    ("null", GOOD.assign(close=[1.0, None]), "'close' of table prices has a null in row 1 and may have none"),
    ("null date", GOOD.assign(date=[pd.Timestamp("2024-01-02"), pd.NaT]), "'date' .* null in row 1"),
    ("all null", GOOD.assign(ticker=[None, None]), "'ticker' .* null in row 0"),
    (
        "duplicate",
        pd.concat([GOOD, GOOD.iloc[[1]]]),
        "Row 2 .* repeats the primary key ticker='MSFT', date=2024-01-02",
    ),
    ("lone surrogate", GOOD.assign(ticker=["A", "\ud800"]), "'ticker' of table prices is STRING but row 1"),
    ("beyond nanoseconds", GOOD.assign(date=[date(2024, 1, 2), date(9999, 1, 1)]), "'date' .* row 1 holds"),
]


@pytest.mark.parametrize(("frame", "says"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_each_fault_is_one_sentence(frame: Any, says: str) -> None:
    with pytest.raises(StockcastError, match=says) as caught:
        frames.to_arrow(frame, "prices", PRICES)
    assert "prices" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "given_", "stored"),
    [
        ("FLOAT64", pd.Series([1, 2]), [1.0, 2.0]),
        ("FLOAT64", pd.Series([1.5, np.nan, np.inf], dtype="float32"), [1.5, None, np.inf]),
        ("INT64", pd.Series([1.0, np.nan]), [1, None]),
        ("INT64", pd.Series([1, 2], dtype="uint8"), [1, 2]),
        ("STRING", pd.Series(["a", None], dtype="string"), ["a", None]),
        ("STRING", pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        ("STRING", pd.Series(["", "\0", "💥"]), ["", "\0", "💥"]),
        ("BOOL", pd.Series([True, None], dtype=object), [True, None]),
        ("DATE", pd.Series([date(2024, 1, 2), None]), [date(2024, 1, 2), None]),
        ("DATE", pd.to_datetime(pd.Series(["2024-01-02"])), [date(2024, 1, 2)]),
        (
            "DATETIME",
            pd.to_datetime(pd.Series(["2024-01-02 03:04:05.000006"])),
            [datetime(2024, 1, 2, 3, 4, 5, 6)],
        ),
    ],
)
def test_what_fits_is_stored_unchanged(type_: str, given_: pd.Series, stored: list[Any]) -> None:
    data, _ = frames.to_arrow(given_.to_frame("x"), "t", one(type_))
    assert data["x"].to_pylist() == stored


def test_other_zones_become_utc_and_nanoseconds_are_cut() -> None:
    moments = pd.Series([pd.Timestamp("2024-01-01 00:00:00.123456789", tz="America/New_York")])
    data, _ = frames.to_arrow(moments.to_frame("x"), "t", one("TIMESTAMP"))
    assert frames.to_pandas(data, one("TIMESTAMP"))["x"][0] == pd.Timestamp("2024-01-01 05:00:00.123456", tz="UTC")


def test_a_contract_is_inferred_from_plain_columns() -> None:
    frame = pd.DataFrame(
        {
            "i": [1],
            "f": [1.0],
            "s": ["a"],
            "b": [True],
            "d": [date(2024, 1, 1)],
            "t": [pd.Timestamp("2024-01-01", tz="UTC")],
            "n": [pd.Timestamp("2024-01-01")],
        }
    )
    _, contract = frames.to_arrow(frame, "t", None)
    types = [column.type for column in contract.columns]
    assert types == ["INT64", "FLOAT64", "STRING", "BOOL", "DATE", "TIMESTAMP", "DATETIME"]


@pytest.mark.parametrize("values", [[None, None], [[1], [2]], [1, "a"]])
def test_a_type_that_cannot_be_told_is_asked_for(values: list[Any]) -> None:
    with pytest.raises(StockcastError, match=r"Column 'x' of table t .* declare"):
        frames.to_arrow(pd.DataFrame({"x": values}), "t", None)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [("AAPL", "2024-01-04", 1.0)],
            "Row 0 .*date=2024-01-04, ticker='AAPL'.* outside .*'2024-01-02|AAPL'",
        ),
        ([("AAPL", "2024-01-02", 1.0), ("IBM", "2024-01-02", 1.0)], "Row 1 .*ticker='IBM'"),
        ([("MSFT", "2024-01-02", 1.0)], "Row 0 .*ticker='MSFT'"),
    ],
)
def test_a_row_outside_its_keys_is_named(rows: list[tuple[str, str, float]], says: str) -> None:
    data, _ = frames.to_arrow(prices(rows), "prices", PRICES)
    part = keys_slice(["2024-01-02|AAPL", "2024-01-03|MSFT"])
    with pytest.raises(StockcastError, match=says):
        frames.rows_per_key(data, part, PRICES, "prices")


DAYS_OF_KEYS = st.sets(st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(1, 28)), min_size=1)


@given(st.permutations(list(GOOD.columns)))
def test_the_order_of_a_frames_columns_has_no_meaning(names: list[str]) -> None:
    assert frames.to_arrow(GOOD[names], "prices", PRICES)[0].equals(frames.to_arrow(GOOD, "prices", PRICES)[0])


@given(DAYS_OF_KEYS, DAYS_OF_KEYS)
def test_rows_are_counted_for_their_key(keys: set[tuple[str, int]], rows: set[tuple[str, int]]) -> None:
    names = {f"2024-02-{day:02}|{ticker}": (ticker, day) for ticker, day in keys}
    data, _ = frames.to_arrow(prices((t, f"2024-02-{d:02}", 1.0) for t, d in rows), "prices", PRICES)
    if rows <= keys:
        counts = frames.rows_per_key(data, keys_slice(names), PRICES, "prices")
        assert counts == {key: int(names[key] in rows) for key in names}
    else:
        with pytest.raises(StockcastError, match="outside"):
            frames.rows_per_key(data, keys_slice(names), PRICES, "prices")


@pytest.mark.parametrize(
    ("counts", "empty", "says"),
    [
        ({"a": 0}, {}, "no rows for partition key 'a'"),
        ({"a": 2}, {"a": "closed"}, r"got 2 rows for key 'a', which is also said to be empty \(closed\)"),
        ({"a": 1}, {"b": "closed"}, "reason for the empty key 'b', which is not among"),
    ],
)
def test_every_key_has_rows_or_a_reason(counts: dict[str, int], empty: dict[str, str], says: str) -> None:
    with pytest.raises(StockcastError, match=says):
        frames.check_keys(counts, empty, "prices")


def test_an_empty_read_has_the_dtypes_of_a_full_one() -> None:
    data, _ = frames.to_arrow(GOOD, "prices", PRICES)
    assert (frames.to_pandas(None, PRICES).dtypes == frames.to_pandas(data, PRICES).dtypes).all()


def test_nulls_make_whole_numbers_and_flags_nullable() -> None:
    contract = Table("t", "", (Column("i", "INT64", ""), Column("b", "BOOL", "")), ())
    read = frames.to_pandas(pa.table({"i": [1, None], "b": [None, True]}), contract)
    assert [str(dtype) for dtype in read.dtypes] == ["Int64", "boolean"]
