"""What all tickers of a day say, stored a day a row and taken back to the last bit."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.forecasting.features import History, prepare
from stockcast_assets.forecasting.universe.market import (
    Market,
    ewmas,
    market_frame,
    market_from,
    market_of,
    members_of,
    ranks,
)
from stockcast_assets.tables import MARKET_STATE


def same(one: Market, other: Market) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name), equal_nan=True) for f in fields(Market)[1:])


@pytest.fixture(scope="module")
def histories(universe_bars: dict[str, pd.DataFrame]) -> dict[str, History]:
    """One begins later than the others, and one ends before them."""
    cut = {"AAPL": slice(0, 400), "GOOG": slice(200, 400), "IBM": slice(0, 300), "MSFT": slice(0, 400)}
    return {t: prepare(bars.iloc[cut[t]].reset_index(drop=True)) for t, bars in universe_bars.items()}


def test_the_stored_rows_are_the_market_to_the_last_bit(histories: dict[str, History]) -> None:
    frame, market = market_frame(histories), market_of(histories)
    assert list(frame.columns) == MARKET_STATE.column_names
    back = market_from(frame.sample(frac=1, random_state=1))
    assert same(market, back)
    assert (back.dates == market.dates).all()
    assert members_of(frame)[market.dates[0]] == ("AAPL", "IBM", "MSFT")
    assert members_of(frame)[market.dates[-1]] == ("AAPL", "GOOG", "MSFT")


def test_a_ticker_that_is_added_changes_no_recorded_day(histories: dict[str, History]) -> None:
    before = market_frame({ticker: histories[ticker] for ticker in ("AAPL", "IBM")})
    again = market_frame(histories, members_of(before))
    kept = again[again["date"].isin(before["date"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before, check_exact=True)


@settings(max_examples=20)
@given(st.permutations(("AAPL", "GOOG", "IBM", "MSFT")), st.integers(100, 399), st.integers(1, 60))
def test_a_day_is_the_same_alone_in_a_range_and_without_its_future(
    histories: dict[str, History], order: list[str], last: int, span: int
) -> None:
    whole = market_frame(histories)
    bars = {ticker: histories[ticker] for ticker in order}
    day = histories["AAPL"].dates[last]
    cut = {ticker: _until(one, day, span) for ticker, one in bars.items() if one.dates[0] <= day}
    rows = market_frame(cut).merge(whole[["date"]], on="date")
    pd.testing.assert_frame_equal(
        rows.tail(1).reset_index(drop=True),
        whole[whole["date"] == rows["date"].iloc[-1]].reset_index(drop=True),
        check_exact=True,
    )


def _until(history: History, day: pd.Timestamp, span: int) -> History:
    stop = int(history.dates.searchsorted(day, side="right"))
    part = slice(max(0, stop - span - 1), stop)
    arrays = ("dates", "close", "log_close", "features", "har", "variance", "ewma")
    return History(history.ticker, **{name: getattr(history, name)[part] for name in arrays})


def test_an_index_stands_beside_the_members(histories: dict[str, History]) -> None:
    frame = market_frame({t: histories[t] for t in ("AAPL", "MSFT")}, index=histories["GOOG"])
    there = frame["index_ticker"].notna()
    assert there.sum() == len(histories["GOOG"])
    assert set(frame.loc[there, "index_ticker"]) == {"GOOG"}
    assert frame.loc[there, "index_log_variance"].tolist() == np.log(histories["GOOG"].variance).tolist()
    assert not frame["members"].str.contains("GOOG").any()


def test_a_rank_is_the_same_among_stored_values(histories: dict[str, History]) -> None:
    market, back = market_of(histories), market_from(market_frame(histories))
    history = histories["AAPL"]
    at = market.rows(history.dates.to_numpy())
    values = history.har[:, 3]
    assert np.array_equal(ranks(values, market.variance_22, at), ranks(values, back.variance_22, at), equal_nan=True)


FEW = st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.nan])


@given(
    st.lists(st.lists(FEW, min_size=7, max_size=7), min_size=1, max_size=5), st.lists(st.tuples(FEW, st.integers(0, 4)))
)
def test_a_rank_is_the_share_of_what_lies_below_and_half_of_the_ties(
    days: list[list[float]], asked: list[tuple[float, int]]
) -> None:
    among = np.sort(np.array(days), axis=1)
    values, at = np.array([value for value, _ in asked]), np.array([day % len(days) for _, day in asked], int)
    found = ranks(values, among, at)
    for value, day, rank in zip(values, at, found, strict=True):
        there = among[day][np.isfinite(among[day])]
        if np.isnan(value) or not len(there):
            assert np.isnan(rank)
        else:
            assert rank == ((there < value).sum() + 0.5 * (there == value).sum()) / len(there) - 0.5


@given(st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_a_weighted_mean_beside_others_has_the_bits_that_it_has_alone(lengths: list[int]) -> None:
    generator = np.random.default_rng(len(lengths))
    values = [generator.normal(size=length) for length in lengths]
    for one, together in zip(values, ewmas(values), strict=True):
        assert np.array_equal(ewmas([one])[0], together, equal_nan=True)


def test_a_day_that_the_market_lacks_sees_the_last_one_before(histories: dict[str, History]) -> None:
    market = market_of(histories)
    saturday = market.dates[market.dates.weekday == 4][3] + pd.Timedelta(days=1)
    asked = pd.DatetimeIndex([market.dates[0] - pd.Timedelta(days=9), market.dates[7], saturday])
    assert market.dates[market.rows(asked.to_numpy())].tolist() == [
        market.dates[0],
        market.dates[7],
        saturday - pd.Timedelta(days=1),
    ]
