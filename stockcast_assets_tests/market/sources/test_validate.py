"""One sentence that names the first impossible bar, for every way in which a bar can be impossible."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.validate import (
    TOLERANCE,
    carry_events,
    leave_out,
    refuse_implausible,
    validate_bars,
)
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
        (2, "close", 1e300, "close 1e+300, which must be at most 1e+12"),
        (2, "dividend", 1e308, "dividend 1e+308, which must be at most 1e+12"),
        (2, "volume", 2 * 10**18, "volume 2e+18, which must be at most 1e+18"),
        (2, "split_ratio", 1e6, "split_ratio 1e+06, which must be at most 100000"),
        (2, "split_ratio", 1e-6, "split_ratio 1e-06, which must be at least 1e-05"),
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


def series(close: list[float], **columns: list[float]) -> pd.DataFrame:
    """Bars of AAPL of sessions in a row, open, high and low being the close."""
    days = pd.date_range("2010-01-04", periods=len(close), freq="B")
    bars = pd.DataFrame({"ticker": "AAPL", "date": days})
    for name in ("open", "high", "low", "close", "adj_close"):
        bars[name] = np.array(close, "float64")
    bars["volume"], bars["dividend"], bars["split_ratio"] = np.full(len(close), 1000, "int64"), 0.0, 1.0
    bars["source"] = "yahoo"
    bars["ingested_at"] = pd.Series(pd.Timestamp("2024-01-01", tz="UTC"), bars.index, dtype="datetime64[ns, UTC]")
    return bars.assign(**{name: np.array(values) for name, values in columns.items()})


class TestWhatIsPaid:
    """A dividend and a split are the second input of every return: they obey the rule of the first."""

    @pytest.mark.parametrize(
        ("close", "dividend", "words"),
        [
            ([100, 101, 102], [0, 5050.0, 0], "a dividend of 5050 on a close of 100, more than the share was worth"),
            ([100, 101, 102], [0, 100.5, 0], "a dividend of 100.5 on a close of 100"),
            ([100, 101, 102], [5000.0, 0, 0], "a dividend of 5000 on a close of 100"),
            ([100, 2100, 2000], [0, 0, 0], "a close of 2100 after 100, too large a step"),
        ],
    )
    def test_refused(self, close, dividend, words):
        with pytest.raises(StockcastError, match=words):
            refuse_implausible(series(close, dividend=dividend), None, "here", "mend it")

    @pytest.mark.parametrize(
        ("close", "dividend"),
        [
            ([100, 11, 11], [0, 90.0, 0]),
            # What is left after a liquidation pays 97 % out: the total return is nothing unusual.
            ([100, 3, 3], [0, 97.0, 0]),
            ([100, 101, 102], [0.9, 0, 0.9]),
        ],
    )
    def test_a_large_payout_that_the_price_shows_passes(self, close, dividend):
        bars = series(close, dividend=dividend)
        assert refuse_implausible(bars, None, "here", "mend it") is bars

    def test_an_index_and_a_currency_may_be_without_volume(self):
        volume = [5, 5, 5, 5, 5, 5, 0]
        bars = series([10.0] * 7, volume=volume)
        with pytest.raises(StockcastError, match="no volume"):
            refuse_implausible(bars, bars["date"][6], "here", "mend it")
        for ticker in ("^GSPC", "EURUSD=X"):
            refuse_implausible(bars.assign(ticker=ticker), bars["date"][6], "here", "mend it")

    def test_a_currency_opens_outside_by_a_little(self):
        bars = series([1.1, 1.1]).assign(open=[1.1, 1.1 * 1.0005])
        with pytest.raises(StockcastError, match="open"):
            validate_bars(bars, "here")
        validate_bars(bars.assign(ticker="EURUSD=X"), "here")
        with pytest.raises(StockcastError, match="open"):
            validate_bars(bars.assign(ticker="EURUSD=X", open=[1.1, 1.1 * 1.002]), "here")

    def test_the_remedy_names_the_line(self):
        bars = series([100, 1.0, 100])
        with pytest.raises(StockcastError, match=r"write `\"AAPL\" = \[2010-01-05\]` under \[closed\] in "):
            refuse_implausible(bars, None, "here", "write {line}")


class TestTheDeepPast:
    LATER = pd.Timestamp("2024-01-01")

    @pytest.mark.parametrize("row", [0, 1, 5, 9])
    @pytest.mark.parametrize("fault", ["zero open", "low above close", "negative", "hundredfold", "overpaid"])
    def test_one_bar_that_cannot_be_counts_as_missing(self, row, fault):
        bars = series([100 + step for step in range(10)], dividend=[0.0] * 10)
        wrong = {
            "zero open": {"open": 0.0},
            "low above close": {"low": 500.0},
            "negative": {"open": -37.0, "low": -40.0, "close": -37.6},
            "hundredfold": dict.fromkeys(("open", "high", "low", "close"), 100.0 * (100 + row)),
            "overpaid": {"dividend": 5000.0},
        }[fault]
        for name, value in wrong.items():
            bars.loc[row, name] = value
        if fault == "overpaid" and row == 0:
            bars.loc[row, "dividend"] = 50000.0
        kept, left = leave_out(bars, self.LATER)
        assert [bar.date for bar in left] == [bars["date"][row]]
        pd.testing.assert_frame_equal(kept, bars.drop(index=row).reset_index(drop=True))
        refuse_implausible(validate_bars(kept, "here"), None, "here", "mend it")
        assert str(left[0]).startswith(f"{bars['date'][row]:%Y-%m-%d}: ")

    def test_a_new_bar_is_not_left_out(self):
        bars = series([100.0, 101.0, 102.0])
        bars.loc[2, "open"] = 0.0
        kept, left = leave_out(bars, bars["date"][2])
        assert (len(kept), left) == (3, [])

    def test_a_level_that_lasts_is_no_single_bar(self):
        bars = series([1.0] * 5 + [100.0] * 5)
        kept, left = leave_out(bars, self.LATER)
        assert (len(kept), left) == (10, [])
        with pytest.raises(StockcastError, match="too large a step"):
            refuse_implausible(kept, None, "here", "mend it")

    def test_many_are_a_fault_of_the_source(self):
        bars = series([100.0] * 100)
        bars.loc[::10, "open"] = 0.0
        kept, left = leave_out(bars, self.LATER)
        assert (len(kept), left) == (100, [])

    def test_what_a_dropped_row_paid_goes_to_the_next_session(self):
        bars = series([100.0, 101.0, 102.0, 103.0], dividend=[0, 0.5, 0.25, 0], split_ratio=[1, 2.0, 1, 1])
        bars.loc[1, "open"] = 0.0
        kept, _ = leave_out(bars, self.LATER)
        assert list(kept["dividend"]) == [0, 0.75, 0]
        assert list(kept["split_ratio"]) == [1, 2, 1]

    @given(st.lists(st.booleans(), min_size=12, max_size=12), st.lists(st.floats(0, 50), min_size=12, max_size=12))
    def test_no_dividend_is_lost_while_a_later_row_stays(self, keep, paid):
        mask = np.array(keep)
        mask[-1] = True
        bars = series([100.0] * 12, dividend=paid)
        kept = carry_events(bars, mask)
        assert list(kept["date"]) == list(bars["date"][mask])
        assert kept["dividend"].sum() == pytest.approx(sum(paid))
