"""A second source is heard on every stored bar: where both are right they agree, and no planted error passes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.second_opinion import second_opinion
from stockcast_assets.market.sources.folder import FolderSource

DAYS = sessions("XNYS", "2022-01-03", "2023-12-29")


def walk(seed: int, start: float = 80.0) -> pd.DataFrame:
    """Two years of a share that pays four times a year, in cents."""
    rng = np.random.default_rng(seed)
    close = np.round(start * np.exp(np.cumsum(rng.normal(0, 0.015, len(DAYS)))), 2)
    dividend = np.zeros(len(DAYS))
    dividend[20 + seed % 20 :: 63] = round(start * 0.006, 2)
    return pd.DataFrame({"date": DAYS, "close": close, "dividend": dividend})


def stooq(bars: pd.DataFrame, adjusted: bool) -> pd.DataFrame:
    """The same share as Stooq has it: with dividends in its closes, or without."""
    if not adjusted:
        return bars[["date", "close"]].copy()
    kept = 1 - bars["dividend"].to_numpy()[1:] / bars["close"].to_numpy()[:-1]
    factor = np.append(np.cumprod(kept[::-1])[::-1], 1.0)
    return pd.DataFrame({"date": bars["date"], "close": np.round(bars["close"] * factor, 4)})


@settings(max_examples=25)
@given(st.integers(0, 500), st.booleans(), st.sampled_from([3.0, 80.0, 900.0]), st.integers(0, 400), st.integers(0, 90))
def test_two_that_are_right_agree_on_every_bar_that_both_have(
    seed: int, adjusted: bool, start: float, late: int, early: int
) -> None:
    bars = walk(seed, start)
    # An older file is adjusted up to its own end.
    second = stooq(bars.iloc[: len(bars) - early], adjusted).iloc[late:]
    opinion = second_opinion("ABC", bars, second)
    assert len(opinion.disputed) == 0
    assert list(opinion.bars["date"]) == list(bars["date"])
    assert opinion.bars["agrees"].notna().sum() == opinion.heard == len(second)
    assert not len(opinion.absent)


def spike(bars: pd.DataFrame, at: int) -> list[int]:
    bars.loc[at, "close"] = round(bars.loc[at, "close"] * 1.1, 2)
    return [at]


def stale(bars: pd.DataFrame, at: int) -> list[int]:
    # A day on which the close moved.
    moved = np.flatnonzero(np.abs(np.diff(np.log(bars["close"]))) > 0.004) + 1
    at = int(moved[moved >= at][0])
    bars.loc[at, "close"] = bars.loc[at - 1, "close"]
    return [at]


def swapped(bars: pd.DataFrame, at: int) -> list[int]:
    bars["close"] = walk(at + 1000, 95.0)["close"]
    return list(range(0, len(bars), 50))


def missed_split(bars: pd.DataFrame, at: int) -> list[int]:
    bars.loc[: at - 1, "close"] = bars.loc[: at - 1, "close"] * 1.015
    return [0, at - 1]


PLANTED = [
    pytest.param(error, seed, adjusted, id=f"{error.__name__}-{seed}-{'adjusted' if adjusted else 'plain'}")
    for error in (spike, stale, swapped, missed_split)
    for seed, adjusted in ((1, False), (2, True), (3, False), (4, True), (5, True))
]


@pytest.mark.parametrize(("error", "seed", "adjusted"), PLANTED)
def test_twenty_of_twenty_planted_errors_are_caught(error, seed, adjusted):
    bars = walk(seed)
    second = stooq(bars, adjusted)
    wrong = bars.copy()
    places = error(wrong, 60 + 70 * seed)
    opinion = second_opinion("ABC", wrong, second)
    disputed = set(opinion.disputed["date"])
    assert {DAYS[place] for place in places} <= disputed
    assert f"ABC {min(disputed):%Y-%m-%d}: close " in opinion.sentences()[0]
    if error in (spike, stale):
        assert disputed == {DAYS[place] for place in places}
    if error is missed_split:
        assert disputed == set(DAYS[: places[1] + 1])
    # Whoever of the two is wrong.
    assert len(second_opinion("ABC", bars, stooq(wrong, adjusted)).disputed)


def test_sessions_that_only_one_has():
    bars = walk(1)
    opinion = second_opinion("ABC", bars.drop(index=[5, 6]), stooq(bars, False).drop(index=[9]))
    assert list(opinion.absent) == list(DAYS[[5, 6]])
    assert opinion.bars["agrees"].isna().sum() == 1
    assert opinion.sentences() == [f"ABC: 2 sessions only there (first: {DAYS[5]:%Y-%m-%d})"]
    nothing = second_opinion("ABC", bars, bars.iloc[:0])
    assert (nothing.heard, len(nothing.disputed), nothing.sentences()) == (0, 0, [])


def test_a_folder_of_stooqs_files_is_read_and_left_alone(tmp_path: Path):
    plain = "Date,Open,High,Low,Close,Volume\n2023-01-03,10,11,9,10.5,100\n2023-01-04,10,11,9,10.6,100.5\n"
    ascii_file = (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "KO.US,D,20230103,000000,60,61,59,60.5,1000,0\nKO.US,D,20230104,000000,60,61,59,60.7,1000,0\n"
    )
    (tmp_path / "us").mkdir()
    (tmp_path / "aapl_us_d.csv").write_text(plain)
    (tmp_path / "us" / "ko.us.txt").write_text(ascii_file)
    (tmp_path / "BAD.csv").write_text("Date,Open\n2023-01-03,1\n")
    source = FolderSource(tmp_path)
    assert list(source.bars("AAPL")["close"]) == [10.5, 10.6]
    assert list(source.bars("KO")["close"]) == [60.5, 60.7]
    assert source.bars("MSFT").empty
    with pytest.raises(StockcastError, match=r"BAD\.csv"):
        source.bars("BAD")
    assert (tmp_path / "BAD.csv").exists()
    with pytest.raises(StockcastError, match="which is no folder"):
        FolderSource(tmp_path / "nowhere")
