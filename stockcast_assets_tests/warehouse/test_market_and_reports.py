"""What is stored of the market and of reports comes back to the last bit, on both warehouses."""

import pandas as pd
import pytest

from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.universe.earnings import reports_of
from stockcast_assets.forecasting.universe.market import market_frame, market_from, market_of
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.market.earnings import told
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration.assets.bars import surroundings
from stockcast_assets.orchestration.assets.market_state import days_of_market
from stockcast_assets.orchestration.assets.market_state import store as record
from stockcast_assets.tables import EARNINGS_DATES, MARKET_STATE, RAW_PRICES, Table
from stockcast_assets.warehouse import TableRef, Warehouse, frames
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.forecasting.universe.test_market import same
from stockcast_assets_tests.warehouse.conftest import Store

LAST = pd.Timestamp("2012-12-31")


def put(warehouse: Warehouse, table: Table, frame: pd.DataFrame) -> None:
    data, contract = frames.to_arrow(frame, table.name, table)
    warehouse.replace(TableRef(warehouse.schema, table.name), data, Slice.whole(), contract)


@pytest.fixture(scope="module")
def bars(sample_bars: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {
        ticker: rows[rows["date"].between("2012-01-01", LAST)].reset_index(drop=True)
        for ticker, rows in sample_bars.items()
    }


def test_the_market_of_stored_bars_is_stored_once_and_for_all(store: Store, bars: dict[str, pd.DataFrame]) -> None:
    warehouse, three = store.warehouse, ["AAPL", "IBM", "MSFT"]
    put(warehouse, RAW_PRICES, pd.concat([bars[ticker] for ticker in three], ignore_index=True))
    middle = pd.Timestamp("2012-09-28")
    first = days_of_market(warehouse, three, middle.date())
    record(warehouse, first)
    histories = {t: prepare(with_total_return(bars[t][bars[t]["date"] <= middle])) for t in three}
    assert same(market_from(warehouse.read(MARKET_STATE)), market_of(histories))

    # A ticker joins, and an old bar is corrected: recorded days stay, and the new ones are the same alone and together.
    corrected = pd.concat(bars.values(), ignore_index=True)
    corrected.loc[5, "close"] = corrected.loc[5, "close"] * 1.001
    put(warehouse, RAW_PRICES, corrected)
    tickers = [*three, "GOOG"]
    stored = warehouse.read(MARKET_STATE)
    pd.testing.assert_frame_equal(stored, first, check_exact=True)
    together = days_of_market(warehouse, tickers, LAST.date())
    assert together["date"].iloc[0] == pd.Timestamp("2012-10-01")
    assert set(together["members"]) == {"AAPL GOOG IBM MSFT"}
    record(warehouse, together.head(-1))
    alone = days_of_market(warehouse, tickers[::-1], LAST.date())
    pd.testing.assert_frame_equal(alone, together.tail(1).reset_index(drop=True), check_exact=True)
    record(warehouse, alone)
    assert days_of_market(warehouse, tickers, LAST.date()).empty
    pd.testing.assert_frame_equal(warehouse.read(MARKET_STATE), pd.concat([first, together], ignore_index=True))

    # Asked for again, the days that the correction touches are repaired by the members that they had, and no other.
    again = days_of_market(warehouse, tickers, middle.date(), first["date"].iloc[0].date())
    touched = again["log_variance"] != first["log_variance"]
    assert again["members"].tolist() == first["members"].tolist()
    assert touched.any()
    assert not touched[:5].any()
    repaired = {t: prepare(with_total_return(corrected[corrected["ticker"] == t])) for t in three}
    whole = market_frame(repaired)
    pd.testing.assert_frame_equal(again, whole[whole["date"] <= middle], check_exact=True)

    # A day of which a member is gone stays what it was.
    put(warehouse, RAW_PRICES, corrected[corrected["ticker"] != "IBM"])
    kept = days_of_market(warehouse, tickers, middle.date(), first["date"].iloc[0].date())
    pd.testing.assert_frame_equal(kept, first, check_exact=True)


def test_days_wait_for_the_bars_that_other_runs_fetch(store: Store, bars: dict[str, pd.DataFrame]) -> None:
    warehouse, names = store.warehouse, ["AAPL", "IBM", "MSFT"]
    short = bars["MSFT"][bars["MSFT"]["date"] < "2012-12-27"]
    put(warehouse, RAW_PRICES, pd.concat([bars["AAPL"], bars["IBM"], short], ignore_index=True))
    record(warehouse, days_of_market(warehouse, names, pd.Timestamp("2012-12-20").date()))

    def added(awaited: list[str]) -> pd.Timestamp:
        return days_of_market(warehouse, names, LAST.date(), awaited=awaited)["date"].iloc[-1]

    assert added(names) == pd.Timestamp("2012-12-26")
    # Whoever is not forecast every day is not waited for, nor for ever.
    assert added(["AAPL", "IBM"]) == LAST
    long_ago = bars["MSFT"][bars["MSFT"]["date"] < "2012-12-10"]
    put(warehouse, RAW_PRICES, pd.concat([bars["AAPL"], bars["IBM"], long_ago], ignore_index=True))
    assert added(names) == LAST


def test_an_index_is_no_member(store: Store, bars: dict[str, pd.DataFrame]) -> None:
    put(store.warehouse, RAW_PRICES, pd.concat([bars["AAPL"], bars["IBM"]], ignore_index=True))
    rows = days_of_market(store.warehouse, ["AAPL", "IBM"], LAST.date(), index="IBM")
    assert (set(rows["members"]), set(rows["index_ticker"])) == ({"AAPL"}, {"IBM"})
    # The only ticker there is counts, whatever it is called.
    assert set(days_of_market(store.warehouse, ["IBM"], LAST.date(), index="IBM")["members"]) == {"IBM"}


def test_reports_come_back_as_they_were_stored(store: Store) -> None:
    said = SampleSource().earnings("MSFT")
    rows = told(EARNINGS_DATES.empty(), said, pd.Timestamp("2013-03-01 22:30", tz="UTC")).rows
    put(store.warehouse, EARNINGS_DATES, rows)
    back = store.warehouse.read(EARNINGS_DATES, tickers=["MSFT"])
    pd.testing.assert_frame_equal(back, rows, check_dtype=False)
    around = surroundings(store.warehouse, ["MSFT"], LAST)
    one, other = around.reports["MSFT"], reports_of(rows)["MSFT"]
    assert (one.sessions == other.sessions).all()
    assert (one.known == other.known).all()
    assert len(one.sessions) == 38
    assert len(around.market.dates) == 0
