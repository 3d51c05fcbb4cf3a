"""Random histories of bars: new ones, corrections, splits, removals and returns, writers that are killed, and days that
go by. After every step the bars of each day gone by are, bit for bit, those that the table held when it ended.
`test_revised.py` lives them."""

import itertools
from datetime import timedelta

import pandas as pd
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from stockcast_assets.as_known import AsKnown
from stockcast_assets.market.known import KEY, as_known, day_ends_at
from stockcast_assets.orchestration.assets.price_revisions import with_price_revisions
from stockcast_assets.orchestration.assets.prices import keep_first_seen
from stockcast_assets.tables import PRICE_REVISIONS, RAW_PRICES
from stockcast_assets.warehouse import KeyedFrame, TableRef, Warehouse, frames
from stockcast_assets.warehouse.frames import Addition
from stockcast_assets.warehouse.io_manager import replace_with_addition
from stockcast_assets_tests.warehouse.crashes import OnBigQuery, OnDuckDB, Writers
from stockcast_assets_tests.warehouse.helpers import keys_slice

LENGTH = 20
TICKERS = ["AAPL", "ETH-USD", "' OR TRUE --"]
DAYS = list(pd.bdate_range("2024-01-02", periods=4))
KEYS = st.sets(st.tuples(st.sampled_from(TICKERS), st.sampled_from(DAYS)), min_size=1, max_size=6)
PRICES = st.sampled_from([1.0, 2.0, 0.1 + 0.2, 0.3])
DIVIDENDS = st.sampled_from([0.0, 0.24])
ATTEMPTS = itertools.count()

Key = tuple[str, pd.Timestamp]


def bars(values: dict[Key, tuple[float, float]], at: pd.Timestamp) -> pd.DataFrame:
    """Bars of each key's price and dividend, fetched at a moment."""
    rows = [(*key, price, dividend) for key, (price, dividend) in sorted(values.items())]
    frame = pd.DataFrame(rows, columns=["ticker", "date", "close", "dividend"])
    prices = dict.fromkeys(("open", "high", "low", "close", "adj_close"), frame["close"])
    frame = frame.assign(**prices, volume=2**60 + 1, split_ratio=1.0, source="yahoo")
    frame["ingested_at"] = pd.Series(at, frame.index, dtype="datetime64[ns, UTC]")
    return frame[RAW_PRICES.column_names].astype(RAW_PRICES.empty().dtypes.to_dict())


def store_bars(
    warehouse: Warehouse,
    keys: set[Key],
    values: dict[Key, tuple[float, float]],
    at: pd.Timestamp,
    attempt: str | None = None,
) -> Addition | None:
    """Make these the bars of the keys, as the asset and the IO manager do."""

    def stored() -> pd.DataFrame:
        own = warehouse.read(RAW_PRICES)
        return own[pd.MultiIndex.from_frame(own[KEY]).isin(list(keys))].reset_index(drop=True)

    made = KeyedFrame(keep_first_seen(bars(values, at), stored()))
    made = with_price_revisions(warehouse, RAW_PRICES, made, stored, lambda: at)
    data, contract = frames.to_arrow(made.frame, RAW_PRICES.name, RAW_PRICES)
    part = keys_slice(f"{day:%Y-%m-%d}|{ticker}" for ticker, day in keys)
    ref = TableRef(warehouse.schema, RAW_PRICES.name)
    name = attempt or f"attempt {next(ATTEMPTS)}"
    return replace_with_addition(warehouse, ref, data, part, contract, name, made)


def same_bits(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames hold the same bits."""
    tables = [frames.to_arrow(frame, RAW_PRICES.name, RAW_PRICES)[0] for frame in (one, other)]
    return [[repr(value) for value in row.values()] for row in tables[0].to_pylist()] == [
        [repr(value) for value in row.values()] for row in tables[1].to_pylist()
    ]


class Revised(Writers):
    """A table of bars, and what it held at the end of each day."""

    def __init__(self) -> None:
        super().__init__()
        self.now = pd.Timestamp("2024-01-08 00:30", tz="UTC")
        self.said: dict[Key, tuple[float, float]] = {}
        self.ends: dict[pd.Timestamp, pd.DataFrame] = {}

    def accept(self, keys: set[Key], values: dict[Key, tuple[float, float]]) -> None:
        self.said = {key: value for key, value in self.said.items() if key not in keys} | values

    def store_bars(self, keys: set[Key], values: dict[Key, tuple[float, float]], attempt: str | None = None) -> None:
        store_bars(self.store.warehouse, keys, values, self.now, attempt)
        self.accept(keys, values)
        self.now += timedelta(minutes=1)

    @rule(hours=st.integers(1, 40))
    def time_passes(self, hours: int) -> None:
        later = self.now + timedelta(hours=hours)
        for day in pd.date_range(self.now.date(), later.date())[:-1]:
            self.ends[day] = self.store.warehouse.read(RAW_PRICES)
        self.now = later

    @rule(keys=KEYS, price=PRICES, dividend=DIVIDENDS)
    def fetch_or_correct(self, keys: set[Key], price: float, dividend: float) -> None:
        self.store_bars(keys, dict.fromkeys(keys, (price, dividend)))

    @precondition(lambda self: self.said)
    @rule()
    def fetch_the_same_again(self) -> None:
        before = self.store.warehouse.read(PRICE_REVISIONS)
        self.store_bars(set(self.said), dict(self.said))
        assert len(self.store.warehouse.read(PRICE_REVISIONS)) == len(before)

    @precondition(lambda self: self.said)
    @rule(ticker=st.sampled_from(TICKERS))
    def split(self, ticker: str) -> None:
        halved = {key: (price / 2, paid / 2) for key, (price, paid) in self.said.items() if key[0] == ticker}
        if halved:
            self.store_bars(set(halved), halved)

    @rule(keys=KEYS, price=PRICES, data=st.data())
    def remove_some(self, keys: set[Key], price: float, data: st.DataObject) -> None:
        kept = {key for key in sorted(keys) if data.draw(st.booleans())}
        self.store_bars(keys, dict.fromkeys(kept, (price, 0.0)))

    @rule(keys=KEYS, price=PRICES, data=st.data(), retry=st.booleans())
    def crash_and_perhaps_retry(self, keys: set[Key], price: float, data: st.DataObject, retry: bool) -> None:
        moment = data.draw(st.sampled_from(self.moments))
        values, attempt = dict.fromkeys(keys, (price, 0.5)), f"run {next(ATTEMPTS)}"
        self.kill(moment, store_bars, keys, values, self.now, attempt)
        self.now += timedelta(minutes=1)
        if moment in self.commits:
            self.accept(keys, values)
        if retry:
            self.store_bars(keys, values, attempt)

    @invariant()
    def every_day_is_known_as_it_ended(self) -> None:
        type(self).steps += 1
        current, revisions = (self.store.warehouse.read(table) for table in (RAW_PRICES, PRICE_REVISIONS))
        found = zip(current["ticker"], current["date"], current["close"], current["dividend"], strict=True)
        assert {(ticker, day): (close, paid) for ticker, day, close, paid in found} == self.said
        for day in [*self.ends][:1] + [*self.ends][-2:]:
            known = as_known(current, revisions, RAW_PRICES.name, day_ends_at(day))
            assert same_bits(known, self.ends[day]), day
        for day in list(self.ends)[-1:]:
            assert same_bits(AsKnown(self.store.warehouse, day.date()).read(RAW_PRICES), self.ends[day])


class RevisedOnDuckDB(Revised, OnDuckDB):
    pass


class RevisedOnBigQuery(Revised, OnBigQuery):
    pass
