"""The total return series: the provider's returns, known at the end of each day."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.market.adjust import total_return_close, with_total_return

PRICE = st.floats(0.01, 1e4)


def test_its_returns_are_those_of_the_adjusted_close(sample_bars: dict[str, pd.DataFrame]) -> None:
    for bars in sample_bars.values():
        assert (bars["dividend"] > 0).any() or bars["ticker"][0] == "GOOG"
        ours = np.diff(np.log(total_return_close(bars["close"].to_numpy(), bars["dividend"].to_numpy())))
        np.testing.assert_allclose(ours, np.diff(np.log(bars["adj_close"])), atol=1e-13)


@given(st.lists(st.tuples(PRICE, st.floats(0, 10)), min_size=1, max_size=30), st.data())
def test_the_future_changes_no_bit(rows: list[tuple[float, float]], data: st.DataObject) -> None:
    close, dividend = (np.array(column) for column in zip(*rows, strict=True))
    known = data.draw(st.integers(1, len(rows)))
    whole, part = total_return_close(close, dividend), total_return_close(close[:known], dividend[:known])
    assert whole[:known].tobytes() == part.tobytes()
    assert whole[0] == close[0]


def test_each_ticker_counts_from_its_own_first_bar(sample_bars: dict[str, pd.DataFrame]) -> None:
    both = with_total_return(pd.concat([sample_bars["IBM"], sample_bars["AAPL"]], ignore_index=True))
    for ticker, part in both.groupby("ticker"):
        alone = with_total_return(sample_bars[str(ticker)])
        pd.testing.assert_series_equal(part["adj_close"].reset_index(drop=True), alone["adj_close"])
    assert with_total_return(both.iloc[:0]).empty
