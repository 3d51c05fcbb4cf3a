from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.evaluation.scores import evaluate
from stockcast_assets.monitoring.accuracy import ENTRY_COLUMNS, promised, score
from stockcast_assets.tables import BASELINE_COLUMNS, FORECAST_ACCURACY, HORIZON, PINBALL_COLUMNS, QUANTILES
from stockcast_assets_tests.monitoring.cases import assert_scored_as_evaluated, evaluated, invented
from stockcast_assets_tests.monitoring.conftest import fan

DAY = date(2013, 2, 15)


@pytest.fixture
def forecasts(msft):
    """Those of each session for three weeks: ten of them, h = 1 to 10, are for DAY."""
    days = msft.loc[msft["date"].between("2013-01-28", "2013-02-20"), "date"]
    frames = [fan(msft, day) for day in days]
    sessions = msft["date"].tolist()
    for frame, day in zip(frames, days, strict=True):
        frame["target_date"] = pd.DatetimeIndex((sessions[sessions.index(day) + 1 :] + [pd.NaT] * 10)[:10])
    return pd.concat(frames, ignore_index=True)


def test_each_horizon_is_scored_once_on_its_target_day(forecasts, msft):
    rows = score(forecasts, msft, [DAY])
    assert list(rows.columns) == FORECAST_ACCURACY.column_names
    assert rows["horizon"].tolist() == list(range(1, 11))
    assert (rows["date"] == pd.Timestamp(DAY)).all()
    assert (rows["target_date"] == rows["date"]).all()
    closes = msft.set_index("date")["close"]
    for row in rows.itertuples():
        made = forecasts[(forecasts["date"] == row.as_of_date) & (forecasts["horizon"] == row.horizon)].iloc[0]
        assert row.actual_close == closes[pd.Timestamp(DAY)]
        assert row.error == pytest.approx(made["close_p50"] - row.actual_close)
        assert row.naive_error == pytest.approx(closes[row.as_of_date] - row.actual_close)
        assert row.inside_80 == (made["close_p10"] <= row.actual_close <= made["close_p90"])


def test_later_bars_change_nothing(forecasts, msft):
    truncated = msft[msft["date"] <= pd.Timestamp(DAY)]
    pd.testing.assert_frame_equal(score(forecasts, msft, [DAY]), score(forecasts, truncated, [DAY]), check_exact=True)


def test_a_day_is_scored_the_same_alone_and_among_others(forecasts, msft):
    bars = with_split(with_split(msft, "2012-06-01", 3.0, refetched=False), "2013-02-11", 2.0, refetched=False)
    days = [day.date() for day in bars.loc[bars["date"].between("2013-01-28", "2013-02-20"), "date"]]
    alone = pd.concat([score(forecasts, bars, [day]) for day in days if day > days[0]], ignore_index=True)
    pd.testing.assert_frame_equal(score(forecasts, bars, days), alone, check_exact=True)


def with_split(bars: pd.DataFrame, ex_date: str, ratio: float, refetched: bool) -> pd.DataFrame:
    """`bars` as stored if the ticker had split: as of each bar's own day, or all fetched again later."""
    out = bars.copy()
    rescaled = pd.Series(True, out.index) if refetched else out["date"] >= ex_date
    prices = ["open", "high", "low", "close", "adj_close"]
    out.loc[rescaled, prices] = out.loc[rescaled, prices] / ratio
    out.loc[out["date"] == ex_date, "split_ratio"] = ratio
    return out


@pytest.mark.parametrize("ratio", [2.0, 7.0, 1.5, 0.1])
@pytest.mark.parametrize("refetched", [False, True])
def test_a_split_between_forecast_and_target_moves_no_error(forecasts, msft, ratio, refetched):
    plain = score(forecasts, msft, [DAY])
    split = score(forecasts, with_split(msft, "2013-02-11", ratio, refetched), [DAY])
    for column in ("actual_close", "error", "naive_error"):
        assert (split[column] * ratio).tolist() == pytest.approx(plain[column].tolist())
    assert split["inside_80"].tolist() == plain["inside_80"].tolist()


def test_forecasts_made_from_adjusted_history_are_not_adjusted_twice(forecasts, msft):
    bars = with_split(msft, "2013-02-11", 2.0, refetched=True)
    prices = [c for c in forecasts.columns if c.startswith("close_p")] + ["last_close", "naive_close"]
    remade = forecasts.assign(**{c: forecasts[c] / 2 for c in prices})
    assert (score(remade, bars, [DAY])["error"] * 2).tolist() == pytest.approx(
        score(forecasts, msft, [DAY])["error"].tolist()
    )


def test_no_forecast_no_row(forecasts, msft):
    rows = score(forecasts, msft, [date(2013, 2, 16)])
    assert rows.empty
    assert list(rows.columns) == FORECAST_ACCURACY.column_names
    assert rows["inside_80"].dtype == np.bool_


@pytest.mark.parametrize("missing", ["2013-02-15", "2013-02-05"])
def test_a_missing_bar_is_named(forecasts, msft, missing):
    with pytest.raises(StockcastError, match=f"MSFT for 2013-02-15 cannot be scored: there is no bar for {missing}"):
        score(forecasts, msft[msft["date"] != missing], [DAY])


@given(seed=st.integers(0, 2**32 - 1), days=st.integers(1, 30), wild=st.sampled_from([1.0, 5.0]))
def test_live_scores_are_those_of_an_evaluation_of_the_same_cases(seed: int, days: int, wild: float) -> None:
    """Any quantiles, any closes: what is stored of each horizon has the means that `evaluate` finds, to 1e-9."""
    one = invented(seed, days, wild=wild)
    said, targets = one.said, one.cases.targets
    scored = one.scored()
    assert_scored_as_evaluated(scored, evaluate([one.cases]))
    assert_scored_as_evaluated(scored, evaluated(one.forecasts, one.bars))
    # A quantile's level is the probability below it, so the two say the same of every outcome.
    below = targets[:, :, None] <= said
    shares = (scored["pit"].to_numpy()[:, None] <= np.array(QUANTILES) + 1e-12).mean(axis=0)
    assert shares.tolist() == pytest.approx(below.mean(axis=(0, 1)).tolist())
    # The interval score is the pinball loss of its two ends, over half of what the interval leaves out.
    ends = [(QUANTILES.index(0.1), 0.1), (QUANTILES.index(0.9), 0.9)]
    losses = sum(
        np.maximum(level * (targets - said[:, :, at]), (level - 1) * (targets - said[:, :, at])) for at, level in ends
    )
    assert scored["interval_score_80"].mean() == pytest.approx(float(losses.mean()) * 10, rel=0, abs=1e-9)


def test_scores_of_the_distribution_know_no_split(forecasts, msft):
    plain = score(forecasts, msft, [DAY])
    columns = ["pit", "pinball", "crps", "interval_score_80", *PINBALL_COLUMNS.values()]
    for refetched in (False, True):
        split = score(forecasts, with_split(msft, "2013-02-11", 7.0, refetched), [DAY])
        np.testing.assert_allclose(split[columns], plain[columns], rtol=0, atol=1e-9)
    assert (plain["pinball_har"] != plain["pinball"]).all()


def test_forecasts_of_earlier_releases_are_scored_and_not_compared(forecasts, msft):
    rows = score(forecasts.drop(columns=list(BASELINE_COLUMNS)), msft, [DAY])
    assert rows[list(PINBALL_COLUMNS.values())].isna().all(axis=None)
    assert rows[["pit", "pinball", "crps"]].notna().all(axis=None)
    assert rows["late"].isna().all()


def entry(forecasts: pd.DataFrame, number: int, late: int, shift: float = 1.0) -> pd.DataFrame:
    """The ledger's rows of an entry, of which the first `late` horizons are late."""
    rows = forecasts.assign(entry=number, revision=number - 1, late=forecasts["horizon"] <= late)
    return rows.assign(close_p50=rows["close_p50"] * shift)[ENTRY_COLUMNS]


def test_what_is_scored_is_what_was_said_in_time(forecasts, msft):
    """A repair is scored where it came in time; where it was late, what it replaced."""
    first = forecasts[forecasts["date"] == "2013-02-08"]
    repaired = first.assign(close_p50=first["close_p50"] * 1.1)
    entries = pd.concat([entry(first, 1, late=0), entry(first, 2, late=4, shift=1.1)])
    chosen = promised(pd.concat([repaired, forecasts[forecasts["date"] == "2013-02-11"]]), entries)
    own = chosen[chosen["date"] == "2013-02-08"].sort_values("horizon")
    assert own["revision"].tolist() == [0] * 4 + [1] * 6
    assert not own["late"].any()
    assert own["close_p50"].tolist() == [*first["close_p50"][:4], *repaired["close_p50"][4:]]
    others = chosen[chosen["date"] == "2013-02-11"]
    assert len(others) == HORIZON
    assert others["late"].isna().all()


def test_where_all_was_late_the_newest_is_scored_and_said_to_be_late(forecasts, msft):
    first = forecasts[forecasts["date"] == "2013-02-08"]
    entries = pd.concat([entry(first, 2, late=10, shift=1.1), entry(first, 1, late=10)])
    chosen = promised(first, entries)
    assert chosen["revision"].tolist() == [1] * HORIZON
    assert chosen["late"].all()
    scored = score(chosen, msft, [DAY])
    assert scored["late"].tolist() == [True]
    assert scored["revision"].tolist() == [1]
    assert promised(first.iloc[:0], entries).empty
