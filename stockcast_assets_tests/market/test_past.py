"""What a fetch or a file says is laid over what is stored, day by day: no stored row vanishes, no stored day moves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.past import ENOUGH, merge_past
from stockcast_assets.market.sources.validate import COLUMNS, validate_bars

DAYS = pd.date_range("2010-01-04", periods=40, freq="B")
NOW = pd.Timestamp("2024-01-02 12:00", tz="UTC")


def bars(days: list[int], scale: float = 1.0, source: str = "yahoo", dividend: float = 0.5) -> pd.DataFrame:
    """A walk's bars of some of the days, with all prices divided and volumes multiplied by `scale`."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.02, len(DAYS))))[days] / scale
    frame = pd.DataFrame({"ticker": "ABC", "date": DAYS[days]})
    frame["open"], frame["high"], frame["low"], frame["close"] = close, close * 1.01, close * 0.99, close
    frame["adj_close"], frame["volume"] = close, np.full(len(days), round(6000 * scale), "int64")
    frame["dividend"], frame["split_ratio"], frame["source"] = dividend / scale, 1.0, source
    frame["ingested_at"] = pd.Series(pd.Timestamp("2020-01-01", tz="UTC"), frame.index, dtype="datetime64[ns, UTC]")
    return frame[COLUMNS]


some_days = st.lists(st.integers(0, len(DAYS) - 1), unique=True).map(sorted)


@settings(max_examples=40)
@given(some_days, some_days)
def test_no_stored_day_vanishes_and_none_moves(stored: list[int], fetched: list[int]) -> None:
    before, came = bars(stored), bars(fetched, source="csv")
    merged = merge_past(before, came, NOW)
    assert list(merged.bars["date"]) == list(DAYS[sorted({*stored, *fetched})])
    assert merged.kept == len(set(stored) - set(fetched))
    both = merged.bars.set_index("date")
    for frame, days in ((came, fetched), (before, sorted(set(stored) - set(fetched)))):
        pd.testing.assert_frame_equal(both.loc[DAYS[days]], frame.set_index("date").loc[DAYS[days]], check_freq=False)
    validate_bars(merged.bars, "here")


most_days = st.sets(st.integers(0, len(DAYS) - 1), max_size=15).map(lambda out: sorted(set(range(40)) - out))


@settings(max_examples=40)
@given(most_days, st.one_of(most_days, some_days), st.sampled_from([0.1, 0.5, 2.0, 3.0, 4.0, 20.0]))
def test_a_bar_never_stands_beside_bars_in_other_shares(stored: list[int], fetched: list[int], scale: float) -> None:
    common, stays = set(stored) & set(fetched), set(stored) - set(fetched)
    if not stays or len(common) < ENOUGH:
        return
    if len(common) < len(stays) or max(stays) > max(common):
        with pytest.raises(StockcastError, match=r"two kinds of shares.*--assets price_history --replace"):
            merge_past(bars(stored), bars(fetched, scale), NOW)
        return
    merged = merge_past(bars(stored), bars(fetched, scale), NOW)
    in_new_shares = bars(sorted({*stored, *fetched}), scale)
    values = ["open", "high", "low", "close", "adj_close", "dividend", "volume"]
    pd.testing.assert_frame_equal(merged.bars[values], in_new_shares[values], rtol=1e-9, check_dtype=False)
    assert (merged.bars.loc[merged.bars["date"].isin(DAYS[sorted(stays)]), "ingested_at"] == NOW).all()


def test_a_corrected_bar_is_no_split() -> None:
    spike = bars([12])
    spike[["open", "high", "low", "close"]] *= 1.5
    merged = merge_past(bars(list(range(40))), spike, NOW)
    assert (len(merged.bars), merged.kept, merged.factor) == (40, 39, 1.0)
    assert merged.bars["close"][12] == spike["close"][0]
