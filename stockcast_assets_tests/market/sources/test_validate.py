"""One sentence that names the first impossible bar, for every way in which a bar can be impossible."""

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.validate import TOLERANCE, refuse_implausible, validate_bars
from stockcast_assets.tables import RAW_PRICES


def test_good_bars_pass_unchanged(good_bars):
    before = good_bars.copy()
    pd.testing.assert_frame_equal(validate_bars(good_bars, "here"), before)


def test_an_empty_frame_passes():
    assert validate_bars(RAW_PRICES.empty(), "here").empty


@pytest.mark.parametrize(
    ("row", "column", "value", "words"),
    [
        (1, "low", -1.0, "low -1, which must be greater than 0"),
        (2, "close", 0.0, "close 0, which must be greater than 0"),
        (2, "open", np.nan, "no open"),
        (0, "adj_close", np.inf, "adj_close inf, which must be a finite number"),
        (3, "high", 1.0, "low 11 above high 1"),
        (3, "open", 12.1, "open 12.1 above high 12"),
        (3, "open", 10.9, "low 11 above open 10.9"),
        (3, "close", 12.1, "close 12.1 above high 12"),
        (3, "close", 10.9, "low 11 above close 10.9"),
        (4, "volume", -5, "volume -5, which must be at least 0"),
        (4, "dividend", -0.5, "dividend -0.5, which must be at least 0"),
        (4, "split_ratio", 0.0, "split_ratio 0, which must be greater than 0"),
        (4, "source", None, "no source"),
    ],
)
def test_an_impossible_bar_is_named(good_bars, row, column, value, words):
    day = good_bars["date"][row]
    good_bars.loc[row, column] = value
    with pytest.raises(StockcastError) as caught:
        validate_bars(good_bars, "NEW.csv", "mend it")
    assert str(caught.value) == f"NEW.csv: the bar of AAPL on {day:%Y-%m-%d} has {words}; mend it."


def test_a_bar_without_a_day_is_named(good_bars):
    good_bars.loc[1, "date"] = pd.NaT
    with pytest.raises(StockcastError, match="the bar of AAPL on an unknown day has no date"):
        validate_bars(good_bars, "here")


def test_rounding_is_no_fault(good_bars):
    good_bars.loc[1, "close"] = good_bars.loc[1, "high"] * (1 + TOLERANCE / 2)
    validate_bars(good_bars, "here")


def test_a_second_row_for_a_day_is_named(good_bars):
    good_bars.loc[3, "date"] = good_bars.loc[2, "date"]
    with pytest.raises(StockcastError, match="AAPL on 2024-01-04 has a second row for that day"):
        validate_bars(good_bars, "here")


def test_the_first_of_several_faults_is_named(good_bars):
    good_bars.loc[3, "volume"] = -1
    good_bars.loc[1, "high"] = 1.0
    with pytest.raises(StockcastError, match="2024-01-03"):
        validate_bars(good_bars, "here")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda bars: bars.drop(columns="low"), "the column low is missing"),
        (lambda bars: bars.assign(extra=1), "the column extra is none of a bar's"),
        (lambda bars: bars[bars.columns[::-1]], "the columns must be ticker, date, open"),
        (lambda bars: bars.astype({"volume": "float64"}), "the column volume must hold int64, not float64"),
        (
            lambda bars: bars.assign(date=bars["date"].dt.tz_localize("UTC")),
            r"the column date must hold datetime64\[ns\]",
        ),
    ],
)
def test_a_wrong_column_is_named(good_bars, spoil, words):
    with pytest.raises(StockcastError, match=words):
        validate_bars(spoil(good_bars), "here")


def plausible(sessions: int = 8, **values: object) -> pd.DataFrame:
    bars = pd.DataFrame(
        {
            "ticker": "AAPL",
            "date": pd.bdate_range("2024-01-02", periods=sessions),
            "open": 10.0,
            "high": 11.0,
            "low": 9.0,
            "close": 10.0,
            "adj_close": 10.0,
            "volume": 1000,
            "dividend": 0.0,
            "split_ratio": 1.0,
        }
    )
    return bars.assign(**values)


LAST = pd.Timestamp("2024-01-11")


def newest(column: str, value: float) -> dict[str, object]:
    usual = plausible()[column].to_numpy()
    return {column: np.where(np.arange(8) == 7, value, usual)}


@pytest.mark.parametrize("close", [7.0, 8.0, 14.0, 2.0, 60.0])
def test_an_honest_crash_or_jump_is_plausible(close):
    bars = plausible(**newest("close", close))
    pd.testing.assert_frame_equal(refuse_implausible(bars, LAST, "here", "mend it"), bars)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (newest("close", 1000.0), "close 1000, volume 1000) has a close of 1000 after 10, too large a step"),
        (newest("close", 0.1), "a close of 0.1 after 10, too large a step for one session"),
        (newest("close", 2.5) | newest("split_ratio", 4.0), "as if its split of 4 for 1 were not in the earlier"),
        (newest("close", 99.0) | newest("split_ratio", 0.1), "as if its split of 0.1 for 1 were not in the earlier"),
        (newest("volume", 0), "no volume, although each of the 5 sessions before had some"),
    ],
)
def test_an_implausible_bar_is_shown(spoilt, words):
    with pytest.raises(StockcastError) as caught:
        refuse_implausible(plausible(**spoilt), LAST, "The source x", "mend it")
    assert str(caught.value).startswith("The source x: the bar of AAPL on 2024-01-11 (open 10, high 11, low 9, close ")
    assert words in str(caught.value)
    assert str(caught.value).endswith("; mend it.")


def test_a_split_that_the_source_applied_is_plausible():
    refuse_implausible(plausible(**newest("split_ratio", 4.0)), LAST, "here", "mend it")


def test_earlier_days_are_not_judged():
    jump = plausible(close=np.where(np.arange(8) < 3, 1000.0, 10.0))
    refuse_implausible(jump, LAST, "here", "mend it")
    with pytest.raises(StockcastError, match="2024-01-05"):
        refuse_implausible(jump, None, "here", "mend it")


def test_no_volume_is_plausible_where_it_is_common_or_long_ago():
    refuse_implausible(plausible(volume=0), LAST, "an index", "mend it")
    refuse_implausible(plausible(**newest("volume", 0)), None, "the deep past", "mend it")
    refuse_implausible(plausible(sessions=4, volume=[10, 10, 10, 0]), pd.Timestamp("2024-01-05"), "new", "mend it")
