"""What a provider changed: told apart by kind, and never seen where nothing was."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.market.revisions import Revision, detect
from stockcast_assets.market.sources.validate import COLUMNS

DAYS = pd.bdate_range("2024-01-02", periods=12)


def made(first: int = 0, last: int = 12, **values: object) -> pd.DataFrame:
    close = 100 + np.sin(np.arange(12))
    bars = pd.DataFrame(
        {
            "ticker": "AAPL",
            "date": DAYS,
            "open": close - 0.5,
            "high": close + 1,
            "low": close - 1,
            "close": close,
            "adj_close": close,
            "volume": 1000 + np.arange(12),
            "dividend": 0.0,
            "split_ratio": 1.0,
            "source": "yahoo",
            "ingested_at": pd.Timestamp("2024-02-01", tz="UTC"),
        }
    )
    return bars.assign(**values)[COLUMNS].iloc[first:last].reset_index(drop=True)


def in_shares(bars: pd.DataFrame, factor: float, rows: slice = slice(None)) -> pd.DataFrame:
    """The bars in `factor` times as many shares."""
    bars = bars.copy()
    prices = ["open", "high", "low", "close", "adj_close"]
    positions = bars.index[rows]
    bars.loc[positions, prices] = bars.loc[positions, prices] / factor
    bars.loc[positions, "volume"] = (bars.loc[positions, "volume"] * factor).round().astype("int64")
    return bars


def announced(bars: pd.DataFrame, row: int, ratio: float) -> pd.DataFrame:
    return bars.assign(split_ratio=np.where(np.arange(len(bars)) == row, ratio, 1.0))


@pytest.mark.parametrize("ratio", [2.0, 4.0, 1.5, 1.05, 0.1, 20.0])
@pytest.mark.parametrize("with_action", [True, False])
def test_a_split_today_shows_in_the_overlap_with_or_without_its_action(ratio: float, with_action: bool) -> None:
    fetched = in_shares(made(), ratio, slice(0, 11))
    fetched = announced(fetched, 11, ratio) if with_action else fetched
    [found] = detect(made(0, 11), fetched)
    assert (found.ticker, found.date, found.kind, found.column) == ("AAPL", DAYS[11].date(), "split", "close")
    assert found.before / found.after == pytest.approx(ratio)


def test_a_split_that_was_applied_late_is_dated_by_its_action() -> None:
    fetched = announced(in_shares(made(), 3.0, slice(0, 6)), 6, 3.0)
    stored = announced(made(0, 11), 6, 3.0)
    assert [(r.kind, r.date) for r in detect(stored, fetched)] == [("split", DAYS[6].date())]


def test_a_split_today_shows_in_its_action_alone_where_no_session_can_be_compared() -> None:
    fetched = announced(made(8, 12), 3, 4.0)
    assert detect(made(0, 8), fetched) == [Revision("AAPL", DAYS[11].date(), "split", "split_ratio", 1.0, 4.0)]


def test_a_split_long_known_on_both_sides_is_none() -> None:
    bars = announced(made(), 5, 4.0)
    assert detect(bars.iloc[:11], bars) == []


def test_a_dividend_changes_adjusted_closes_and_is_no_revision() -> None:
    later = made(dividend=np.where(np.arange(12) == 11, 0.5, 0.0), adj_close=made()["close"] * 0.995)
    assert detect(made(0, 11), later) == []


def test_a_dividend_of_a_stored_session_is_one() -> None:
    later = made(dividend=np.where(np.arange(12) == 4, 0.5, 0.0))
    assert detect(made(0, 11), later) == [Revision("AAPL", DAYS[4].date(), "dividend", "dividend", 0.0, 0.5)]


@pytest.mark.parametrize(
    ("column", "value"), [("close", 100.3), ("open", 99.0), ("high", 140.0), ("low", 60.0), ("volume", 5000)]
)
def test_a_correction_is_named_with_both_values(column: str, value: float) -> None:
    later = made()
    before = float(later.loc[6, column])
    later.loc[6, column] = value
    assert detect(made(0, 11), later) == [Revision("AAPL", DAYS[6].date(), "correction", column, before, float(value))]


def test_a_bar_the_source_has_no_more() -> None:
    later = made().drop(index=3).reset_index(drop=True)
    assert detect(made(0, 11), later) == [Revision("AAPL", DAYS[3].date(), "missing bar", "date", None, None)]


def test_another_source_is_compared_in_scale_only() -> None:
    other = made(0, 11, source="csv", close=made()["close"] + 0.2, volume=7)
    assert detect(other, made()) == []
    [found] = detect(in_shares(other, 0.25), made())
    assert found.kind == "split"


@given(st.lists(st.floats(-5e-5, 5e-5), min_size=48, max_size=48), st.floats(-0.04, 0.04))
def test_rounding_and_late_trades_are_none(noise: list[float], trades: float) -> None:
    later = made()
    prices = ["open", "high", "low", "close"]
    later[prices] = later[prices] * (1 + np.array(noise).reshape(12, 4))
    later["volume"] = (later["volume"] * (1 + trades)).round().astype("int64")
    assert detect(made(0, 11), later) == []


def test_nothing_to_compare_is_nothing() -> None:
    assert detect(made(0, 0), made()) == []
    assert detect(made(), made(0, 0)) == []
    assert detect(made(0, 8), made(8, 12)) == []


def test_a_revision_in_words() -> None:
    assert str(Revision("AAPL", date(2024, 1, 9), "correction", "close", 100.0, 101.5)) == (
        "AAPL 2024-01-09: correction, close 100 is now 101.5"
    )
    assert "has this bar no more" in str(Revision("AAPL", date(2024, 1, 9), "missing bar", "date", None, None))
