"""Random histories of the ledger: publications, corrections, splits, backfills, crashes with and without retry, and
restored backups, checked after every step. `test_published.py` lives short ones, `make ledger-histories` a thousand
steps on each warehouse."""

import itertools
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from stockcast_assets.as_known import AsKnown
from stockcast_assets.monitoring import ledger
from stockcast_assets.monitoring.accuracy import ENTRY_COLUMNS, promised, score
from stockcast_assets.tables import (
    BASELINE_COLUMNS,
    FORECASTS,
    HORIZON,
    PUBLISHED_FORECASTS,
    QUANTILE_COLUMNS,
    TAIL_COLUMNS,
)
from stockcast_assets.warehouse import KeyedFrame, TableRef, Warehouse, frames
from stockcast_assets.warehouse.frames import Addition
from stockcast_assets.warehouse.io_manager import replace_with_addition
from stockcast_assets.warehouse.transfer import copy
from stockcast_assets_tests.monitoring.cases import assert_scored_as_evaluated, evaluated
from stockcast_assets_tests.warehouse.conftest import duckdb_store
from stockcast_assets_tests.warehouse.crashes import OnBigQuery, OnDuckDB, Writers
from stockcast_assets_tests.warehouse.helpers import keys_slice

LENGTH = 25
TICKERS = ["AAPL", "ETH-USD", "' OR TRUE --"]
DAYS = list(pd.bdate_range("2024-01-02", periods=6))
KEYS = st.sets(st.tuples(st.sampled_from(TICKERS), st.sampled_from(DAYS)), min_size=1, max_size=6)
MOMENTS = itertools.count()

Key = tuple[str, pd.Timestamp]
Values = dict[Key, float]


def forecasts(values: Values) -> pd.DataFrame:
    """Rows of `forecasts` whose last close is each key's value."""
    rows = pd.DataFrame([(*key, value) for key, value in sorted(values.items())], columns=["ticker", "date", "close"])
    rows = rows.merge(pd.DataFrame({"horizon": range(1, HORIZON + 1)}), how="cross")
    made = rows[["ticker", "date", "horizon"]].assign(
        target_date=rows["date"] + pd.to_timedelta(rows["horizon"], "D"),
        last_close=rows["close"],
        **dict.fromkeys(BASELINE_COLUMNS, rows["close"]),
        **{name: rows["close"] * (0.9 + 0.01 * place) for place, name in enumerate(QUANTILE_COLUMNS)},
        naive_close=rows["close"],
        model_version="none",
        method="naive_har",
        fallback=pd.Series(["the model is gone" if row % 3 else None for row in rows["horizon"]], dtype=object),
        # A model of an earlier release has none.
        **{name: rows["close"].where(rows["close"] > 1) for name in TAIL_COLUMNS},
    )
    return made[FORECASTS.column_names]


def publish(warehouse: Warehouse, values: Values, at: pd.Timestamp, attempt: str | None = None) -> Addition | None:
    """Store forecasts and their entries, as the IO manager and the asset do."""
    frame = forecasts(values)
    tickers = sorted({ticker for ticker, _ in values})
    known = pd.DataFrame([(*key, None, f"{value:.6f}") for key, value in values.items()])
    known.columns = ["ticker", "date", "model_digest", "data_digest"]

    def adding() -> Addition | None:
        days = frame["date"]
        stored = warehouse.read(PUBLISHED_FORECASTS, tickers=tickers, start=days.min(), end=days.max())
        heads = ledger.heads_of(
            warehouse.newest(PUBLISHED_FORECASTS, ledger.ORDER[1:], [*ledger.ORDER, "digest"], tickers)
        )
        rows = ledger.new_entries(frame, stored, heads, known, at, "1.0")
        return None if rows.empty else Addition(PUBLISHED_FORECASTS, rows)

    data, contract = frames.to_arrow(frame, FORECASTS.name, FORECASTS)
    part = keys_slice(f"{day:%Y-%m-%d}|{ticker}" for ticker, day in values)
    ref = TableRef(warehouse.schema, FORECASTS.name)
    name = attempt or f"attempt {next(MOMENTS)}"
    return replace_with_addition(warehouse, ref, data, part, contract, name, KeyedFrame(frame, adding=adding))


class Published(Writers):
    """A warehouse, what its forecasts must say, and how often each key was said something else."""

    folder: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.now = pd.Timestamp("2024-01-03 00:30", tz="UTC")
        self.said: Values = {}
        self.revisions: dict[Key, int] = {}
        self.seen = PUBLISHED_FORECASTS.empty()
        self.ends: dict[date, pd.DataFrame] = {}
        self.backup: tuple[Warehouse, Values, dict[Key, int], pd.DataFrame, dict[date, pd.DataFrame]] | None = None
        self.anchors: list[ledger.Anchor] = []
        self.attempts = itertools.count()

    def accept(self, values: Values) -> None:
        for key, value in values.items():
            if self.said.get(key) != value:
                self.revisions[key] = self.revisions.get(key, -1) + 1
        self.said |= values

    def publish(self, values: Values, attempt: str | None = None) -> None:
        added = publish(self.store.warehouse, values, self.now, attempt)
        assert (added is None) == all(self.said.get(key) == value for key, value in values.items())
        if added is not None:
            self.anchors.append(ledger.Anchor("a test", ledger.heads_of(added.frame)))
        self.accept(values)

    @rule(hours=st.integers(1, 40))
    def time_passes(self, hours: int) -> None:
        later = self.now + timedelta(hours=hours)
        for day in pd.date_range(self.now.date(), later.date())[:-1]:
            self.ends[day.date()] = self.store.warehouse.read(FORECASTS)
        self.now = later

    @rule(keys=KEYS, value=st.integers(1, 3))
    def publish_or_correct(self, keys: set[Key], value: int) -> None:
        self.publish(dict.fromkeys(keys, float(value)))

    @precondition(lambda self: self.said)
    @rule()
    def publish_the_same_again(self) -> None:
        self.publish(dict(self.said))

    @precondition(lambda self: self.said)
    @rule(ticker=st.sampled_from(TICKERS))
    def split(self, ticker: str) -> None:
        halved = {key: value / 2 for key, value in self.said.items() if key[0] == ticker}
        if halved:
            self.publish(halved)

    @rule(ticker=st.sampled_from(TICKERS), days=st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted))
    def backfill(self, ticker: str, days: list[int]) -> None:
        self.publish({(ticker, day): 7.0 for day in DAYS[days[0] : days[1] + 1]})

    @rule(keys=KEYS, value=st.integers(4, 6), data=st.data(), retry=st.booleans())
    def crash_and_perhaps_retry(self, keys: set[Key], value: int, data: st.DataObject, retry: bool) -> None:
        moment = data.draw(st.sampled_from(self.moments))
        values, attempt = dict.fromkeys(keys, float(value)), f"run {next(self.attempts)}"
        self.kill(moment, publish, values, self.now, attempt)
        if moment in self.commits:
            self.accept(values)
        if retry:
            self.now += timedelta(minutes=5)
            self.publish(values, attempt)

    @precondition(lambda self: self.said)
    @rule()
    def back_up(self) -> None:
        target = duckdb_store(Path(tempfile.mkdtemp(dir=self.folder))).warehouse
        copy(self.store.warehouse, target, [FORECASTS, PUBLISHED_FORECASTS])
        self.backup = (target, dict(self.said), dict(self.revisions), self.seen, dict(self.ends))

    @precondition(lambda self: self.backup)
    @rule()
    def restore(self) -> None:
        assert self.backup is not None
        source, said, revisions, self.seen, ends = self.backup
        copy(source, self.store.warehouse, [FORECASTS, PUBLISHED_FORECASTS], overwrite=True)
        self.said, self.revisions, self.ends = dict(said), dict(revisions), dict(ends)
        entries = {ticker: head.entry for ticker, head in ledger.heads_of(self.seen).items()}
        self.anchors = [
            anchor
            for anchor in self.anchors
            if all(head.entry <= entries.get(ticker, 0) for ticker, head in anchor.heads.items())
        ]

    @invariant()
    def the_ledger_stands(self) -> None:
        type(self).steps += 1
        rows, made = (self.store.warehouse.read(table) for table in (PUBLISHED_FORECASTS, FORECASTS))
        # Not one row that was there differs.
        before = rows.merge(self.seen[ledger.ORDER], on=ledger.ORDER)
        pd.testing.assert_frame_equal(
            before.reset_index(drop=True), self.seen.reset_index(drop=True), check_exact=True, check_dtype=False
        )
        self.seen = rows
        assert ledger.faults(rows, self.anchors) == []
        # A forecast never without its entry, nor an entry without its forecast.
        assert ledger.unpublished(rows, made) == ([], 0)
        firsts = rows[rows["horizon"] == 1]
        assert len(firsts) == sum(self.revisions.values()) + len(self.revisions)
        assert firsts.groupby(ledger.KEY)["revision"].max().to_dict() == self.revisions
        closes = made.drop_duplicates(ledger.KEY)
        assert dict(zip(zip(closes["ticker"], closes["date"], strict=True), closes["last_close"], strict=True)) == (
            self.said
        )
        assert (rows["late"] == (rows["published_at"] >= rows["target_opens_at"])).all()
        # What was published by then is what there was.
        for day in list(self.ends)[-1:]:
            known = AsKnown(self.store.warehouse, day).read(FORECASTS)
            pd.testing.assert_frame_equal(known, self.ends[day], check_exact=True, check_dtype=False)

    def teardown(self) -> None:
        """Scored is of each forecast the last that was said in time, else the last, as an evaluation judges it."""
        rows, made = (self.store.warehouse.read(table) for table in (PUBLISHED_FORECASTS, FORECASTS))
        if made.empty:
            return
        chosen = promised(made, rows[ENTRY_COLUMNS])
        wanted: dict[tuple[str, pd.Timestamp, int], tuple[bool, int]] = {}
        for ticker, day, horizon, late, revision in rows.sort_values("entry")[
            ["ticker", "date", "horizon", "late", "revision"]
        ].itertuples(index=False):
            if not late or wanted.get((ticker, day, horizon), (True, 0))[0]:
                wanted[ticker, day, horizon] = late, revision
        told = chosen[["ticker", "date", "horizon", "late", "revision"]].itertuples(index=False)
        assert {(row.ticker, row.date, row.horizon): (row.late, row.revision) for row in told} == wanted
        days = pd.date_range(DAYS[0], DAYS[-1] + timedelta(days=HORIZON))
        closes = pd.DataFrame({"date": days, "close": 2 + np.sin(np.arange(len(days))), "split_ratio": 1.0})
        bars = closes.merge(pd.DataFrame({"ticker": TICKERS}), how="cross")
        scored = score(chosen, bars, [day.date() for day in days])
        assert len(scored) == len(chosen)
        assert_scored_as_evaluated(scored, evaluated(chosen, bars))


class PublishedOnDuckDB(Published, OnDuckDB):
    pass


class PublishedOnBigQuery(Published, OnBigQuery):
    pass
