from datetime import date

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.monitoring.accuracy import score
from stockcast_assets.tables import FORECAST_ACCURACY
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
