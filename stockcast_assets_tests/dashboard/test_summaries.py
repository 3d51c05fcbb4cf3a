import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.dashboard import summaries


def accuracy(sessions: int, factor: float, coverage: float = 0.8, seed: int = 0) -> pd.DataFrame:
    """Scored forecasts whose errors are `factor` times the random walk's, two tickers of different price."""
    rng = np.random.default_rng(seed)
    rows = []
    for ticker, level in (("A", 10.0), ("B", 1000.0)):
        for day in pd.bdate_range("2020-01-01", periods=sessions):
            naive = rng.normal(0, 0.02, 10) * level
            rows.append(
                pd.DataFrame(
                    {
                        "ticker": ticker,
                        "date": day,
                        "horizon": range(1, 11),
                        "actual_close": level,
                        "error": naive * factor,
                        "naive_error": naive,
                        "inside_80": np.arange(10) < coverage * 10,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_skill_is_one_minus_the_ratio_of_errors():
    result = summaries.skill(accuracy(80, 0.9))
    assert result.value == pytest.approx(0.1)
    assert result.low == pytest.approx(0.1)
    assert result.high == pytest.approx(0.1)
    assert result.coverage == pytest.approx(0.8)
    assert (result.forecasts, result.sessions) == (1600, 80)


def test_skill_weighs_tickers_alike_whatever_their_price():
    frame = accuracy(80, 1.0)
    frame.loc[frame["ticker"] == "A", "error"] *= 2
    assert summaries.skill(frame).value == pytest.approx(1 - np.sqrt(2.5), abs=0.05)


def test_skill_has_an_interval_around_it_only_with_enough_sessions():
    noisy = accuracy(100, 1.0)
    noisy["error"] += np.random.default_rng(5).normal(0, 0.01, len(noisy)) * noisy["actual_close"]
    result = summaries.skill(noisy)
    assert result.low < result.value < result.high
    few = summaries.skill(accuracy(10, 0.9))
    assert (few.low, few.high) == (None, None)
    assert summaries.skill(accuracy(10, 0.9).iloc[:0]) is None


def test_error_by_horizon_is_in_per_cent():
    rows = summaries.error_by_horizon(accuracy(200, 0.5))
    assert rows["horizon"].tolist() == list(range(1, 11))
    assert rows["naive_rmse"].to_numpy() == pytest.approx(2.0, rel=0.2)
    assert (rows["rmse"] / rows["naive_rmse"]).to_numpy() == pytest.approx(0.5)


def test_coverage_counts_the_last_sessions():
    frame = accuracy(40, 1.0, coverage=1.0)
    first_half = frame["date"] < frame["date"].drop_duplicates().sort_values().iloc[20]
    frame.loc[first_half, "inside_80"] = False
    rolled = summaries.coverage_over_time(frame, 20)
    assert rolled["coverage"].iloc[0] == 0
    assert rolled["coverage"].iloc[-1] == 1
    assert rolled.set_index("date")["coverage"].is_monotonic_increasing


QUANTILES = [f"close_p{level:02}" for level in (5, 10, 25, 50, 75, 90, 95)]


@given(
    last=st.floats(1, 1000),
    steps=st.lists(st.floats(0, 0.1), min_size=7, max_size=7),
    start=st.floats(-0.3, 0.1),
    more=st.floats(0, 0.2),
)
def test_the_chance_of_a_rise_follows_the_quantiles(last, steps, start, more):
    """Half where the median is the last close, never surer than the outermost quantiles, greater for a higher fan."""
    levels = np.exp(start + np.cumsum(steps))
    fans = pd.DataFrame([last * levels, last * levels / levels[3], last * levels * (1 + more)], columns=QUANTILES)
    chance = summaries.chance_of_rise(fans.assign(last_close=last))
    assert chance.between(0.05 - 1e-9, 0.95 + 1e-9).all()
    assert chance[2] >= chance[0] - 1e-9
    if min(steps[3:5]) > 1e-6:
        assert chance[1] == pytest.approx(0.5)


def test_the_sessions_ahead_are_in_order_and_relative_to_the_last_close():
    row = dict(zip(QUANTILES, [80.0, 90.0, 95.0, 101.0, 105.0, 110.0, 120.0], strict=True))
    days = pd.to_datetime(["2020-01-03", "2020-01-02"])
    rows = pd.DataFrame([row] * 2).assign(horizon=[2, 1], target_date=days, last_close=100.0)
    ahead = summaries.sessions_ahead(rows)
    assert ahead["target_date"].tolist() == sorted(days)
    assert ahead[["low_change", "change", "high_change"]].iloc[0].tolist() == pytest.approx([-0.1, 0.01, 0.1])
    assert ahead["rise"].iloc[0] == pytest.approx(1 - (0.25 + 0.25 * 5 / 6))


def test_volatility_is_a_year_of_the_tickers_own_sessions():
    days = pd.to_datetime(["2020-01-03", "2020-01-06", "2020-01-04"])
    indicators = pd.DataFrame({"ticker": ["A", "A", "B"], "date": days, "close": 1.0, "pct_return": 0.0})
    indicators = indicators.assign(rsi_14=50.0, volatility_20=0.01)
    forecasts = pd.DataFrame(columns=["ticker", "date", "horizon", "last_close", *QUANTILES, "method"])
    drift = pd.DataFrame(columns=["ticker", "date", "feature", "drifted"])
    rows = summaries.universe(indicators, forecasts, drift).set_index("ticker")
    assert rows["volatility"].to_dict() == pytest.approx({"A": 0.01 * 252**0.5, "B": 0.01 * 365**0.5})


def test_drift_days_name_the_worst_feature():
    drift = pd.DataFrame(
        {
            "date": pd.to_datetime(["2020-01-01"] * 2 + ["2020-01-02"] * 2),
            "feature": ["a", "b"] * 2,
            "score": [0.1, 0.4, 3.0, 0.3],
            "threshold": [1.0, 0.5, 2.0, 0.5],
            "drifted": [False, False, True, False],
            "kind": ["residuals", "inputs"] * 2,
        }
    )
    days = summaries.drift_days(drift)
    assert days["date"].dt.day.tolist() == [2, 1]
    assert days["drifted"].tolist() == [True, False]
    assert days["feature"].tolist() == ["a", "b"]
    assert days["ratio"].tolist() == [1.5, 0.8]
    assert days["drifted_features"].tolist() == [1, 0]
    assert days["kinds"].tolist() == ["residuals", ""]


def test_universe_shows_the_latest_of_each_ticker_and_blanks_for_what_is_missing():
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-02"])
    indicators = pd.DataFrame(
        {
            "ticker": ["A", "A", "B"],
            "date": days,
            "close": [10.0, 11.0, 5.0],
            "pct_return": [np.nan, 0.1, 0.0],
            "rsi_14": [50.0, 60.0, 40.0],
            "volatility_20": [0.01] * 3,
        }
    )
    forecasts = pd.DataFrame(
        {
            "ticker": ["A"],
            "date": days[1:2],
            "horizon": [10],
            "last_close": [11.0],
            "close_p10": [9.9],
            "close_p50": [11.11],
            "close_p90": [12.1],
            "method": ["lstm"],
        }
    )
    drift = pd.DataFrame(
        {"ticker": ["A", "A"], "date": [days[0], days[1]], "feature": ["x", "x"], "drifted": [True, False]}
    )
    rows = summaries.universe(indicators, forecasts, drift).set_index("ticker")
    assert rows.loc["A", ["close", "change", "method"]].tolist() == [11.0, 0.1, "lstm"]
    assert rows.loc["A", "outlook"] == pytest.approx(0.01)
    assert rows.loc["A", "width"] == pytest.approx(0.2)
    assert not rows.loc["A", "drifted"]
    assert rows.loc["A", "closes"] == [10.0, 11.0]
    assert pd.isna(rows.loc["B", "method"])
    assert pd.isna(rows.loc["B", "drifted"])
    assert summaries.universe(indicators[:0], forecasts[:0], drift[:0]).empty


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1,234.50"), (27.949, "27.95"), (0.012363, "0.01236"), (None, "–"), (np.nan, "–")],
)
def test_prices_have_the_decimals_they_deserve(value, shown):
    assert summaries.price(value) == shown


def test_per_cent():
    assert summaries.per_cent(0.0254, 1, True) == "+2.5 %"
    assert summaries.per_cent(-0.0254, 2, True) == "−2.54 %"
    assert summaries.per_cent(None) == "–"
