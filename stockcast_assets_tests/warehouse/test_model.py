"""Random histories of writes, faults, refusals and reads, checked step by step against a plain dict."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from stockcast_assets.errors import StockcastError
from stockcast_assets.tables import Column
from stockcast_assets.warehouse import TableRef, frames
from stockcast_assets_tests.warehouse.conftest import Store, bigquery_store, duckdb_store
from stockcast_assets_tests.warehouse.fault_proxy import LOSE_ANSWER, LOSE_REQUEST, Answer, FaultProxy, fault_proxy
from stockcast_assets_tests.warehouse.helpers import HOSTILE, PRICES, closes, keys_slice, prices, write

# Histories of 20 steps per warehouse; the emulator takes ten times as long as DuckDB. STOCKCAST_MODEL_EXAMPLES=60
# gives 1,200 steps on each.
EXAMPLES = os.environ.get("STOCKCAST_MODEL_EXAMPLES")
TICKERS = ["AAPL", "MSFT", *HOSTILE[:4]]
Key = tuple[str, str]
KEYS = st.sets(st.tuples(st.sampled_from(TICKERS), st.integers(1, 6).map(lambda day: f"2024-01-{day:02}")), min_size=1)


def names(keys: set[Key]) -> list[str]:
    return [f"{day}|{ticker}" for ticker, day in keys]


class History(RuleBasedStateMachine):
    """A table and the dict it must equal."""

    store: Store
    examples: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[Key, float] = {}
        self.value = 0.0

    def rows(self, keys: set[Key]) -> Any:
        self.value += 1
        return prices((ticker, day, self.value) for ticker, day in sorted(keys))

    def accept(self, keys: set[Key], kept: set[Key]) -> None:
        self.model = {key: value for key, value in self.model.items() if key not in keys}
        self.model.update(dict.fromkeys(kept, self.value))

    @rule(keys=KEYS)
    def write(self, keys: set[Key]) -> None:
        write(self.store.warehouse, self.rows(keys), keys_slice(names(keys)))
        self.accept(keys, keys)

    @rule(keys=KEYS, data=st.data())
    def write_with_closed_keys(self, keys: set[Key], data: st.DataObject) -> None:
        kept = {key for key in sorted(keys) if data.draw(st.booleans())}
        write(self.store.warehouse, self.rows(kept), keys_slice(names(keys)))
        self.accept(keys, kept)

    @rule(keys=KEYS, stray=KEYS)
    def refuse_a_row_outside(self, keys: set[Key], stray: set[Key]) -> None:
        if stray <= keys:
            return
        data, contract = frames.to_arrow(self.rows(keys | stray), PRICES.name, PRICES)
        with pytest.raises(StockcastError):
            frames.rows_per_key(data, keys_slice(names(keys)), contract, PRICES.name)

    @rule(keys=KEYS)
    def refuse_another_shape(self, keys: set[Key]) -> None:
        other = replace(PRICES, columns=(*PRICES.columns[:-1], Column("stored_at", "STRING", "", True)))
        data, _ = frames.to_arrow(self.rows(keys).assign(stored_at="now"), PRICES.name, other)
        if self.model:
            ref = TableRef(self.store.warehouse.schema, PRICES.name)
            with pytest.raises(StockcastError):
                self.store.warehouse.replace(ref, data, keys_slice(names(keys)), other)

    @rule(keys=KEYS)
    def read_some(self, keys: set[Key]) -> None:
        tickers = sorted({ticker for ticker, _ in keys})
        frame = self.store.warehouse.read(PRICES, tickers=tickers, start="2024-01-02", end="2024-01-04")
        expected = [k for k in self.model if k[0] in tickers and "2024-01-02" <= k[1] <= "2024-01-04"]
        days = frame["date"].dt.strftime("%Y-%m-%d")
        assert list(zip(frame["ticker"], days, strict=True)) == sorted(expected, key=lambda k: (k[0].encode(), k[1]))

    @invariant()
    def table_equals_model(self) -> None:
        assert closes(self.store.warehouse) == self.model


class DuckDBHistory(History):
    folder: ClassVar[Path]
    examples = 6

    def __init__(self) -> None:
        super().__init__()
        self.store = duckdb_store(Path(tempfile.mkdtemp(dir=self.folder)))

    @rule(keys=KEYS)
    def fail_after_the_delete(self, keys: set[Key]) -> None:
        """A null gets past the frame's checks and breaks the insert: the delete before it must be undone."""
        if not self.model:
            return
        data, contract = frames.to_arrow(self.rows(keys), PRICES.name, PRICES)
        position = contract.column_names.index("close")
        broken = data.set_column(position, "close", frames.pa.nulls(data.num_rows, frames.ARROW["FLOAT64"]))
        with pytest.raises(StockcastError, match="left it as it was"):
            self.store.warehouse.replace(TableRef("stockcast", PRICES.name), broken, keys_slice(names(keys)), contract)


class BigQueryHistory(History):
    proxy: ClassVar[FaultProxy]
    examples = 2

    def __init__(self) -> None:
        super().__init__()
        self.store = bigquery_store()
        self.proxy.fault = lambda request: None

    @rule(
        keys=KEYS,
        fault=st.sampled_from([LOSE_ANSWER, LOSE_REQUEST, Answer(503, "backendError"), Answer(400, "invalid")]),
        on_load=st.booleans(),
    )
    def write_through_a_fault(self, keys: set[Key], fault: Any, on_load: bool) -> None:
        self.proxy.times(1, lambda request: request.is_load if on_load else request.is_merge, fault)
        frame = self.rows(keys)
        if isinstance(fault, Answer) and fault.status == 400:
            with pytest.raises(StockcastError):
                write(self.store.warehouse, frame, keys_slice(names(keys)))
        else:
            write(self.store.warehouse, frame, keys_slice(names(keys)))
            self.accept(keys, keys)
        self.proxy.fault = lambda request: None


@pytest.fixture(params=[DuckDBHistory, BigQueryHistory])
def history(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[History]]:
    with ExitStack() as stack:
        if request.param is BigQueryHistory:
            BigQueryHistory.proxy = stack.enter_context(fault_proxy(request.getfixturevalue("bigquery_emulator")))
            monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", BigQueryHistory.proxy.address)
        else:
            DuckDBHistory.folder = tmp_path
        yield request.param


def test_any_history_leaves_exactly_what_was_accepted(history: type[History]) -> None:
    run_state_machine_as_test(
        history,
        settings=settings(
            max_examples=int(EXAMPLES or history.examples),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
