"""Law 3 for what a ticker sees around it: stored days of the market, index, members, what is said of reports.

Whatever happens to what was not known at the end of a day, every input up to that day keeps its bits.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.universe.earnings import reports_of
from stockcast_assets.forecasting.universe.inputs import Series, series_of
from stockcast_assets.forecasting.universe.market import market_frame, market_from
from stockcast_assets.market.earnings import AFTER_CLOSE, ANNOUNCED, BEFORE_OPEN, FILED
from stockcast_assets_tests.market.test_earnings import statements

INPUTS = ("market", "offsets", "steps", "ahead")
Frames = tuple[dict[str, pd.DataFrame], pd.DataFrame, pd.DataFrame]
"""Bars by ticker, stored days of the market, and what is said of AAPL's reports."""


@pytest.fixture(scope="module")
def frames(universe_bars: dict[str, pd.DataFrame]) -> Frames:
    bars = {ticker: rows.tail(500).reset_index(drop=True) for ticker, rows in universe_bars.items()}
    quarters = pd.date_range("2005-01-19", "2008-12-31", freq="91D").strftime("%Y-%m-%d")
    came = [(day, AFTER_CLOSE, FILED, day, False) for day in quarters]
    told = [
        (
            f"{pd.Timestamp(day):%Y-%m-%d}",
            AFTER_CLOSE,
            ANNOUNCED,
            f"{pd.Timestamp(day) - pd.Timedelta(days=20):%Y-%m-%d}",
            False,
        )
        for day in quarters[8:]
    ]
    said = statements(*came, *told).assign(ticker="AAPL")
    return bars, market_frame({ticker: prepare(rows) for ticker, rows in bars.items()}), said


def seen(frames: Frames) -> Series:
    bars, states, said = frames
    return series_of({"AAPL": prepare(bars["AAPL"])}, market_from(states), reports_of(said))["AAPL"]


def truncated(frames: Frames, day: pd.Timestamp) -> Frames:
    bars, states, said = frames
    known = {ticker: rows[rows["date"] <= day] for ticker, rows in bars.items()}
    return known, states[states["date"] <= day], said[said["known_on"] <= day]


def shuffled(frames: Frames, day: pd.Timestamp) -> Frames:
    bars, states, said = frames
    later = states["date"] > day
    mixed = states.copy()
    values = [name for name in states.columns if name != "date"]
    mixed.loc[later, values] = states.loc[later, values].sample(frac=1, random_state=1).to_numpy()
    return bars, mixed.sample(frac=1, random_state=2), said.sample(frac=1, random_state=3)


def spoilt(frames: Frames, day: pd.Timestamp) -> Frames:
    bars, states, said = frames
    later = states["date"] > day
    bad = states.assign(log_variance=states["log_variance"].where(~later, 99.0))
    bad = bad.assign(mean_return=states["mean_return"].where(~later, -5.0))
    own = bars["AAPL"]
    prices = {
        name: own[name].where(own["date"] <= day, own[name] * 50)
        for name in ("open", "high", "low", "close", "adj_close")
    }
    return {**bars, "AAPL": own.assign(**prices)}, bad, said


def restated(frames: Frames, day: pd.Timestamp) -> Frames:
    """The market's later days have other members, and an index that they had not."""
    bars, states, said = frames
    few = {"AAPL": bars["AAPL"], "IBM": bars["IBM"]}
    other = market_frame({ticker: prepare(rows) for ticker, rows in few.items()}, index=prepare(bars["MSFT"]))
    return bars, pd.concat([states[states["date"] <= day], other[other["date"] > day]]), said


def moved(frames: Frames, day: pd.Timestamp) -> Frames:
    """From the day after on, every report that is known to come is cancelled and set on another day."""
    bars, states, said = frames
    coming = said[(said["kind"] == ANNOUNCED) & (said["date"] > day)]
    gone = coming.assign(cancelled=True, known_on=day + pd.Timedelta(days=1))
    set_again = coming.assign(date=coming["date"] + pd.Timedelta(days=6), hour=BEFORE_OPEN, known_on=gone["known_on"])
    kept = said[(said["kind"] != FILED) | (said["date"] <= day)]
    return bars, states, pd.concat([kept, gone, set_again], ignore_index=True)


@pytest.mark.parametrize("harm", [truncated, shuffled, spoilt, restated, moved])
@pytest.mark.parametrize("place", [260, 377, 471])
def test_what_was_not_known_at_the_end_of_a_day_changes_no_bit_of_it(
    frames: Frames, harm: Callable[[Frames, pd.Timestamp], Frames], place: int
) -> None:
    whole = seen(frames)
    other = seen(harm(frames, whole.history.dates[place]))
    for name in INPUTS:
        before, after = getattr(whole, name)[: place + 1], getattr(other, name)[: place + 1]
        assert np.array_equal(before, after, equal_nan=True), name


def test_the_harms_are_felt_after_the_day(frames: Frames) -> None:
    whole = seen(frames)
    for harm in (shuffled, spoilt, restated, moved):
        other = seen(harm(frames, whole.history.dates[377]))
        assert any(
            not np.array_equal(getattr(whole, name)[378:], getattr(other, name)[378:], equal_nan=True)
            for name in INPUTS
        ), harm
