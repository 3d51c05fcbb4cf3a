"""What is said of published forecasts is what an evaluation says of the same cases, and late ones are kept apart."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.forecasting.evaluation.coverage import coverage_test, misses
from stockcast_assets.forecasting.evaluation.scores import coverage_interval, evaluate, reliability
from stockcast_assets.methods import BESIDE, HAR, HAR_EARNINGS, LSTM
from stockcast_assets.monitoring import live
from stockcast_assets.monitoring.live import IN_TIME, LATE, PUBLISHED, UNKNOWN
from stockcast_assets.tables import HORIZON, PINBALL_COLUMNS
from stockcast_assets_tests.monitoring.cases import Invented, invented


def universe(seed: int, days: int, tickers: int) -> list[Invented]:
    return [invented(seed + number, days, f"T{number}") for number in range(tickers)]


def rows_of(several: list[Invented], late: bool | None = False) -> pd.DataFrame:
    return pd.concat([one.scored(late) for one in several], ignore_index=True)


@given(seed=st.integers(0, 2**31), days=st.integers(1, 60), tickers=st.integers(1, 3))
def test_everything_is_as_an_evaluation_of_the_same_cases_says(seed: int, days: int, tickers: int) -> None:
    """Ratios and intervals to seven digits, which is what an evaluation keeps of its sums; the rest to nine."""
    several = universe(seed, days, tickers)
    cases = [one.cases for one in several]
    evaluation = evaluate(cases)
    found = live.summarise(rows_of(several))
    assert found is not None
    assert found.forecasts == days * tickers * HORIZON
    for name in BESIDE:
        ratio = found.against[name]
        assert ratio.value == pytest.approx(evaluation.pinball_ratio(LSTM, name), rel=1e-6)
        if days < live.LEAST_SESSIONS:
            assert ratio.low is None
        else:
            assert (ratio.low, ratio.high) == pytest.approx(evaluation.pinball_ratio_interval(LSTM, name), rel=1e-6)
    assert [(before, after) for before, after, _ in found.steps] == list(
        zip(live.STEPS[:-1], live.STEPS[1:], strict=True)
    )
    product = np.prod([ratio.value for _, _, ratio in found.steps])
    assert product == pytest.approx(found.against[BESIDE[0]].value)
    table = evaluation.table().set_index(["contender", "horizon"]).loc[(LSTM, 0)]
    assert found.held == pytest.approx(table["coverage_80"], abs=1e-9)
    assert found.crps == pytest.approx(table["crps"], abs=1e-9)
    if days >= live.LEAST_SESSIONS:
        assert (found.held_low, found.held_high) == pytest.approx(coverage_interval(cases, LSTM), abs=1e-9)
    assert found.reliability.tolist() == pytest.approx(reliability(cases, LSTM).tolist(), abs=1e-9)
    assert found.pit.sum() == pytest.approx(1)
    for one, each in zip(several, found.coverage, strict=True):
        assert each.test == coverage_test(misses(one.cases, LSTM))
    of_each = live.by_ticker(rows_of(several)).set_index("ticker")
    for one in several:
        own = evaluate([one.cases])
        row = of_each.loc[one.forecasts["ticker"].iloc[0]]
        assert row["ratio"] == pytest.approx(own.pinball_ratio(LSTM, HAR), rel=1e-6)
        assert row["lost"] == (days >= live.LEAST_SESSIONS and own.pinball_ratio_interval(LSTM, HAR)[0] > 1)


def test_what_came_in_time_stands_apart_from_what_was_late() -> None:
    rows = pd.concat(
        [invented(1, 5, "A").scored(False), invented(2, 6, "B").scored(True), invented(3, 7, "C").scored(None)]
    )
    parts = live.by_publication(rows)
    assert {name: set(part["ticker"]) for name, part in parts.items()} == {IN_TIME: {"A"}, LATE: {"B"}, UNKNOWN: {"C"}}
    assert list(live.by_publication(rows[rows["ticker"] == "B"])) == [LATE]
    assert live.by_publication(rows.iloc[:0]) == {}


@given(st.integers(1, 30), st.integers(1, 30))
def test_the_last_sessions_are_each_tickers_own(sessions: int, days: int) -> None:
    rows = pd.concat([invented(1, days, "A").scored(), invented(2, 12, "B").scored()])
    seen = live.recent(rows, sessions).groupby("ticker")["date"]
    for ticker, theirs in rows.groupby("ticker")["date"]:
        assert sorted(seen.get_group(ticker).unique()) == sorted(theirs.unique())[-sessions:]
    assert live.recent(rows, None) is rows


def test_what_was_not_stored_is_not_compared() -> None:
    """A ticker without a market has no HAR with reports; rows of earlier releases have nothing."""
    bare = invented(1, 50, "A")
    without = bare.scored().assign(**{PINBALL_COLUMNS[HAR_EARNINGS]: np.nan})
    found = live.summarise(without)
    assert HAR_EARNINGS not in found.against
    assert [after for _, after, _ in found.steps][-2:] == [HAR, PUBLISHED]
    both = live.summarise(pd.concat([without, invented(2, 50, "B").scored()]))
    assert both.against[HAR_EARNINGS].forecasts == 50 * HORIZON
    assert both.against[HAR].forecasts == 100 * HORIZON
    earlier = bare.scored().assign(pinball=np.nan, **dict.fromkeys(PINBALL_COLUMNS.values(), np.nan))
    assert live.summarise(earlier) is None
    assert live.by_ticker(earlier).empty


def test_who_lost_to_har_is_found() -> None:
    """The same forecasts beside a HAR that is better, and one that is not."""
    rows = invented(1, 120, "LOSER").scored()
    lost = rows.assign(pinball_har=rows["pinball"] / 1.05)
    tied = rows.assign(ticker="TIE", pinball_har=rows["pinball"])
    table = live.by_ticker(pd.concat([tied, lost]))
    assert table["ticker"].tolist() == ["LOSER", "TIE"]
    assert table["lost"].tolist() == [True, False]
    assert table["ratio"].tolist() == pytest.approx([1.05, 1.0])
