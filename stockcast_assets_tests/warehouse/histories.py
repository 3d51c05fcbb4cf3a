"""Random histories of writes, crashes, retries, backfills, new tickers, a new column, refusals and reads, checked after
every step against a plain dict; `test_histories_duckdb.py` and `test_histories_bigquery.py` live them."""

from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from stockcast_assets.errors import StockcastError
from stockcast_assets.tables import Column, Table
from stockcast_assets.warehouse import TableRef, Warehouse, asset_metadata, frames
from stockcast_assets_tests.warehouse.crashes import OnBigQuery, OnDuckDB, Writers
from stockcast_assets_tests.warehouse.fault_proxy import LOSE_ANSWER, LOSE_REQUEST, Answer
from stockcast_assets_tests.warehouse.helpers import (
    BY_TICKER_AND_DAY,
    HOSTILE,
    PRICES,
    keys_slice,
    of_keys,
    prices,
    run,
)
from stockcast_assets_tests.warehouse.test_io_manager import prices_asset

SHORT, LONG = 150, 1000
"""Steps on each warehouse, in every test run and by `make test-long`."""

LENGTH = 50
"""Steps of one history."""

Key = tuple[str, str]
Row = tuple[float, str | None]
TICKERS = ["AAPL", "MSFT", *HOSTILE[:5]]
DAYS = st.integers(1, 6).map(lambda day: f"2024-01-{day:02}")
KEYS = st.sets(st.tuples(st.sampled_from(TICKERS), DAYS), min_size=1)
WIDER = replace(PRICES, columns=(*PRICES.columns, Column("currency", "STRING", "Currency")))


def names(keys: set[Key]) -> list[str]:
    return [f"{day}|{ticker}" for ticker, day in keys]


def rows_of(keys: set[Key], value: float, table: Table) -> pd.DataFrame:
    frame = prices((ticker, day, value) for ticker, day in sorted(keys))
    return frame.assign(currency="USD") if table is WIDER else frame


def write(warehouse: Warehouse, keys: set[Key], kept: set[Key], value: float, wider: bool, attempt: str | None) -> None:
    """Make `kept` the rows of the slice of `keys`."""
    data, contract = frames.to_arrow(rows_of(kept, value, WIDER if wider else PRICES), PRICES.name, _table(wider))
    warehouse.replace(TableRef(warehouse.schema, PRICES.name), data, keys_slice(names(keys)), contract, attempt)


def _table(wider: bool) -> Table:
    return WIDER if wider else PRICES


class History(Writers):
    """A table and the dict it must equal."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[Key, Row] = {}
        self.value = 0.0
        self.wider = False
        self.instance = dg.DagsterInstance.ephemeral()
        self.tickers: list[str] = []

    def accept(self, keys: set[Key], kept: set[Key]) -> None:
        self.model = {key: row for key, row in self.model.items() if key not in keys}
        self.model.update(dict.fromkeys(kept, (self.value, "USD" if self.wider else None)))

    def write(self, keys: set[Key], kept: set[Key], attempt: str | None = None) -> None:
        write(self.store.warehouse, keys, kept, self.value, self.wider, attempt)
        self.accept(keys, kept)

    @rule(keys=KEYS)
    def replace_slices(self, keys: set[Key]) -> None:
        self.value += 1
        self.write(keys, keys)

    @rule(keys=KEYS, data=st.data())
    def replace_with_closed_keys(self, keys: set[Key], data: st.DataObject) -> None:
        self.value += 1
        self.write(keys, {key for key in sorted(keys) if data.draw(st.booleans())})

    @rule(keys=KEYS)
    def do_the_same_attempt_twice(self, keys: set[Key]) -> None:
        self.value += 1
        attempt = f"run {self.value}"
        self.write(keys, keys, attempt)
        self.write(keys, keys, attempt)

    @rule(ticker=st.sampled_from(TICKERS))
    def add_a_ticker(self, ticker: str) -> None:
        if ticker not in self.tickers:
            self.tickers.append(ticker)
            self.instance.add_dynamic_partitions("ticker", [ticker])

    @precondition(lambda self: self.tickers)
    @rule(data=st.data(), days=st.tuples(DAYS, DAYS).map(sorted))
    def backfill_a_rectangle(self, data: st.DataObject, days: list[str]) -> None:
        """A real Dagster run of a range, through the IO manager."""
        ends = sorted(data.draw(st.integers(0, len(self.tickers) - 1)) for _ in range(2))
        tickers = self.tickers[ends[0] : ends[1] + 1]
        keys = {(t, str(day.date())) for t in tickers for day in pd.date_range(*days)}
        self.value += 1
        asset = prices_asset(
            lambda context: rows_of(keys, self.value, _table(self.wider)),
            **asset_metadata(_table(self.wider), BY_TICKER_AND_DAY),
        )
        between = (f"{days[0]}|{tickers[0]}", f"{days[1]}|{tickers[-1]}")
        assert run(asset, self.store.io_manager, self.instance, between=between).success
        self.accept(keys, keys)

    @precondition(lambda self: not self.wider)
    @rule()
    def add_a_column(self) -> None:
        """The next write adds it to the table."""
        self.wider = True
        self.value += 1
        self.write({("AAPL", "2024-01-01")}, {("AAPL", "2024-01-01")})

    @rule(keys=KEYS, stray=KEYS)
    def refuse_a_row_outside(self, keys: set[Key], stray: set[Key]) -> None:
        if stray <= keys:
            return
        data, contract = frames.to_arrow(of_keys(names(keys | stray)), PRICES.name, PRICES)
        with pytest.raises(StockcastError):
            frames.rows_per_key(data, keys_slice(names(keys)), contract, PRICES.name)

    @precondition(lambda self: self.model)
    @rule(keys=KEYS)
    def refuse_another_shape(self, keys: set[Key]) -> None:
        other = replace(PRICES, columns=(*PRICES.columns[:-1], Column("stored_at", "STRING", "", True)))
        data, _ = frames.to_arrow(of_keys(names(keys)).assign(stored_at="now"), PRICES.name, other)
        with pytest.raises(StockcastError):
            self.store.warehouse.replace(
                TableRef(self.store.warehouse.schema, PRICES.name), data, keys_slice(names(keys)), other
            )

    @rule(keys=KEYS)
    def read_some(self, keys: set[Key]) -> None:
        tickers = sorted({ticker for ticker, _ in keys})
        frame = self.store.warehouse.read(PRICES, tickers=tickers, start="2024-01-02", end="2024-01-04")
        expected = [k for k in self.model if k[0] in tickers and "2024-01-02" <= k[1] <= "2024-01-04"]
        days = frame["date"].dt.strftime("%Y-%m-%d")
        assert list(zip(frame["ticker"], days, strict=True)) == sorted(expected, key=lambda k: (k[0].encode(), k[1]))

    @precondition(lambda self: self.model)
    @rule(keys=KEYS, data=st.data(), retry=st.booleans())
    def crash_and_perhaps_retry(self, keys: set[Key], data: st.DataObject, retry: bool) -> None:
        """A writer killed by SIGKILL; the retry of the same attempt does what is left to do."""
        self.value += 1
        moment = data.draw(st.sampled_from(self.moments))
        attempt = f"run {self.value}"
        self.kill(moment, write, keys, keys, self.value, self.wider, attempt)
        if retry:
            self.write(keys, keys, attempt)
        elif moment in self.commits:
            self.accept(keys, keys)

    @invariant()
    def table_equals_model(self) -> None:
        type(self).steps += 1
        frame = self.store.warehouse.read(_table(self.wider) if self.model else PRICES)
        days = frame["date"].dt.strftime("%Y-%m-%d")
        currency = frame["currency"] if "currency" in frame else [None] * len(frame)
        rows = list(zip(frame["ticker"], days, frame["close"], currency, strict=True))
        assert rows == sorted(
            ((ticker, day, *row) for (ticker, day), row in self.model.items()), key=lambda r: (r[0].encode(), r[1])
        )


class DuckDBHistory(History, OnDuckDB):
    @precondition(lambda self: self.model)
    @rule(keys=KEYS)
    def fail_after_the_delete(self, keys: set[Key]) -> None:
        """A null gets past the frame's checks and breaks the insert: the delete before it must be undone."""
        data, contract = frames.to_arrow(rows_of(keys, 0.0, _table(self.wider)), PRICES.name, _table(self.wider))
        position = contract.column_names.index("close")
        broken = data.set_column(position, "close", frames.pa.nulls(data.num_rows, frames.arrow_types()["FLOAT64"]))
        with pytest.raises(StockcastError, match="left it as it was"):
            self.store.warehouse.replace(TableRef("stockcast", PRICES.name), broken, keys_slice(names(keys)), contract)


class BigQueryHistory(History, OnBigQuery):
    @rule(
        keys=KEYS,
        fault=st.sampled_from([LOSE_ANSWER, LOSE_REQUEST, Answer(503, "backendError"), Answer(400, "invalid")]),
        on_load=st.booleans(),
    )
    def write_through_a_fault(self, keys: set[Key], fault: Any, on_load: bool) -> None:
        self.proxy.times(1, lambda request: request.is_load if on_load else request.is_merge, fault)
        self.value += 1
        if isinstance(fault, Answer) and fault.status == 400:
            with pytest.raises(StockcastError):
                self.write(keys, keys)
        else:
            self.write(keys, keys)
        self.proxy.fault = lambda request: None
