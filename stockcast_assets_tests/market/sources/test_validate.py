"""One sentence that names the first impossible bar, for every way in which a bar can be impossible."""

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.validate import TOLERANCE, empty_bars, validate_bars


def test_good_bars_pass_unchanged(good_bars):
    before = good_bars.copy()
    pd.testing.assert_frame_equal(validate_bars(good_bars, "here"), before)


def test_an_empty_frame_passes():
    assert validate_bars(empty_bars(), "here").empty


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
