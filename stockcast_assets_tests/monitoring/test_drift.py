import json
import subprocess
import sys
from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from stockcast_assets.errors import StockcastError
from stockcast_assets.monitoring import series
from stockcast_assets.monitoring.drift import (
    CURRENT_SESSIONS,
    LEAST_CURRENT,
    LEAST_THRESHOLD,
    calibrated_threshold,
    drift_report,
    promised_threshold,
)
from stockcast_assets.monitoring.evidently_page import evidently_page
from stockcast_assets.monitoring.series import INPUTS, PREDICTIONS, RESIDUALS
from stockcast_assets.tables import DRIFT_REPORT
from stockcast_assets_tests.monitoring.conftest import published_by_har, said_by_har

INPUT_FEATURES = series.FEATURES[INPUTS]
FROM, TO, DAY = date(2000, 3, 1), date(2013, 1, 31), date(2013, 2, 15)


@pytest.fixture(scope="module")
def features(msft):
    return series.inputs(msft)


def changed(bars: pd.DataFrame, last: int, **columns) -> pd.DataFrame:
    """A copy of `bars` with the last rows of some columns multiplied."""
    out = bars.copy()
    for name, factor in columns.items():
        out[name] = out[name].astype("float64")
        out.loc[out.index[-last:], name] = out[name].tail(last) * factor
    return out


def test_features_of_a_day_ignore_later_bars(msft, features):
    for n in (1, 20, 40, 500, 2000):
        pd.testing.assert_frame_equal(series.inputs(msft.head(n)), features.head(n), check_exact=True)


def test_features_are_free_of_scale(msft, features):
    scaled = msft.assign(**{c: msft[c] * 8 for c in ("open", "high", "low", "close", "adj_close", "volume")})
    pd.testing.assert_frame_equal(series.inputs(scaled), features, rtol=1e-9)


def test_features_mean_what_they_say(msft, features):
    row, bar, before = features.iloc[100], msft.iloc[100], msft.iloc[99]
    assert row["log_return"] == pytest.approx(np.log(bar["adj_close"] / before["adj_close"]))
    assert row["log_range"] == pytest.approx(np.log(bar["high"] / bar["low"]))
    assert row["volume_ratio"] == pytest.approx(np.log(bar["volume"] / msft["volume"].iloc[81:101].mean()))


def test_threshold_is_the_percentile_of_block_distances():
    noise = np.random.default_rng(3).normal(size=700)
    series = np.convolve(noise, 0.9 ** np.arange(40))[:700]
    blocks = [(series[s : s + 60], np.delete(series, slice(s, s + 60))) for s in range(0, 641, 20)]
    distances = [wasserstein_distance(block, rest) / series.std() for block, rest in blocks]
    assert calibrated_threshold(series, 60) == pytest.approx(np.quantile(distances, 0.99), rel=1e-9)


def test_a_constant_series_has_not_drifted(msft):
    still = msft.assign(high=msft["low"] * 1.01)
    rows = drift_report("MSFT", DAY, series.inputs(still), FROM, TO).rows.set_index("feature")
    assert rows.loc["log_range", "threshold"] == LEAST_THRESHOLD
    assert not rows.loc["log_range", "drifted"]


def test_rows_obey_the_table(features):
    rows = drift_report("MSFT", DAY, features, FROM, TO).rows
    assert set(rows.columns) | {"report_uri"} == set(DRIFT_REPORT.column_names)
    assert tuple(rows["feature"]) == INPUT_FEATURES
    assert not rows.isna().any(axis=None)
    assert (rows["drifted"] == (rows["score"] >= rows["threshold"])).all()
    assert (rows["current_to"] == pd.Timestamp(DAY)).all()
    assert features["date"].between(rows["current_from"][0], rows["current_to"][0]).sum() == CURRENT_SESSIONS
    trained = features.loc[features["date"] <= pd.Timestamp(TO), "date"]
    assert rows["reference_to"][0] == trained.iloc[-CURRENT_SESSIONS - 1]
    assert rows["reference_to"][0] < rows["current_from"][0]


def test_scores_are_those_of_evidently_report(features):
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    rows = drift_report("MSFT", DAY, features, FROM, TO).rows.set_index("feature")
    names = list(rows.index)
    known = features[features["date"] <= pd.Timestamp(DAY)]
    windows = known.tail(CURRENT_SESSIONS), known[known["date"] <= pd.Timestamp(TO)].iloc[:-CURRENT_SESSIONS]
    preset = DataDriftPreset(
        columns=names,
        per_column_method=rows["method"].to_dict(),
        per_column_threshold=rows["threshold"].to_dict(),
    )
    definition = DataDefinition(numerical_columns=names)
    snapshot = Report([preset]).run(*(Dataset.from_pandas(w[names], definition) for w in windows))
    metrics = snapshot.dict()["metrics"]
    scores = {m["config"]["column"]: m["value"] for m in metrics if "column" in m["config"]}
    assert scores == pytest.approx(rows["score"].to_dict(), rel=1e-12)
    drifted = next(m["value"]["count"] for m in metrics if "drift_share" in m["config"])
    assert drifted == rows["drifted"].sum()


@pytest.mark.parametrize("spoil", [np.nan, 1e12, -1.0])
def test_the_future_changes_no_bit(msft, features, spoil):
    later = msft["date"] > pd.Timestamp(DAY)
    absurd = msft.copy()
    absurd.loc[later, ["open", "high", "low", "close", "adj_close"]] = spoil
    with np.errstate(invalid="ignore"):
        other = drift_report("MSFT", DAY, series.inputs(absurd), FROM, TO)
    alone = drift_report("MSFT", DAY, series.inputs(msft[~later]), FROM, TO)
    expected = drift_report("MSFT", DAY, features, FROM, TO)
    for result in (alone, other):
        pd.testing.assert_frame_equal(result.rows, expected.rows, check_exact=True)
        assert result.json == expected.json


def test_alarms_are_rare_in_ordinary_times_where_naive_tests_always_alarm(sample):
    alarms, naive = [], []
    for ticker, bars in sample.items():
        known = series.inputs(bars)
        for month in pd.date_range("2009-01-01", "2012-12-01", freq="3MS"):
            day = known.loc[known["date"] >= month, "date"].iloc[10].date()
            end = (month - pd.Timedelta(days=1)).date()
            alarms.append(drift_report(ticker, day, known, FROM, end).drifted)
            now = known[known["date"] <= pd.Timestamp(day)].tail(CURRENT_SESSIONS)
            past = known[known["date"] <= pd.Timestamp(end)].dropna()
            naive.append(any(ks_2samp(past[f], now[f]).pvalue < 0.05 for f in INPUT_FEATURES))
    assert np.mean(alarms) <= 0.10
    assert np.mean(naive) >= 0.90


def test_a_change_of_regime_is_detected(msft):
    calm = msft.tail(1500).reset_index(drop=True)
    rough = calm.copy()
    # The same last 60 sessions with moves and ranges eight times as large.
    for name in ("high", "low", "adj_close"):
        base = calm["adj_close"].iloc[-61] if name == "adj_close" else calm["close"]
        rough[name] = np.where(calm.index >= len(calm) - 60, base * (calm[name] / base) ** 8, calm[name])
    day, end = calm["date"].iloc[-1].date(), calm["date"].iloc[-61].date()
    before = drift_report("MSFT", day, series.inputs(calm), FROM, end)
    after = drift_report("MSFT", day, series.inputs(rough), FROM, end)
    assert not before.drifted
    assert after.drifted
    assert {"log_return", "log_range"} <= set(after.rows.loc[after.rows["drifted"], "feature"])


def test_features_without_values_are_left_out_and_named(msft):
    result = drift_report("MSFT", DAY, series.inputs(changed(msft, len(msft), volume=0)), FROM, TO)
    assert "volume_ratio" not in set(result.rows["feature"])
    assert json.loads(result.json)["not_compared"] == [
        "median_10", "pit", "pit_distance", "volume_ratio", "width_1", "width_10",
    ]  # fmt: skip


def test_json_tells_both_windows(features):
    record = json.loads(drift_report("MSFT", DAY, features, FROM, TO).json)
    assert record["current"] == {"from": "2012-11-20", "to": "2013-02-15", "sessions": 60}
    for row in record["features"]:
        assert sum(row["current"]["histogram"]) == row["current"]["n"]
        assert sum(row["reference"]["histogram"]) == row["reference"]["n"]
        assert len(row["edges"]) == len(row["current"]["histogram"]) + 1


def empty_features(features):
    return features.assign(**dict.fromkeys(INPUT_FEATURES, np.nan))


@pytest.mark.parametrize(
    ("day", "start", "end", "spoil", "says"),
    [
        (date(2013, 2, 16), FROM, TO, None, "no bar for that day"),
        (DAY, FROM, date(2013, 2, 28), None, "training ends later"),
        (DAY, date(2012, 12, 1), TO, None, "training window has 41 sessions and needs 180"),
        (date(2000, 4, 3), FROM, date(2000, 3, 31), None, "current window has 24 sessions and needs 60"),
        (DAY, FROM, TO, empty_features, "no feature has values"),
        (date(1999, 1, 4), date(1998, 1, 1), date(1998, 12, 31), None, "no bar for that day"),
    ],
)
def test_mistakes_are_told_in_one_sentence(features, day, start, end, spoil, says):
    frame = spoil(features) if spoil else features
    with pytest.raises(StockcastError, match=says) as raised:
        drift_report("MSFT", day, frame, start, end)
    assert "MSFT" in str(raised.value)
    assert str(day) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def published(msft):
    return published_by_har(msft, "2012-06-01")


@pytest.fixture(scope="module")
def every_kind(msft, features, published):
    """Inputs, predictions and residuals of MSFT, a row per session."""
    said = features.merge(said_by_har(msft), on="date", how="left")
    return said.merge(series.residuals(*published), on="date", how="left")


def ratios(rows: pd.DataFrame, kind: str) -> dict[str, float]:
    own = rows[rows["kind"] == kind]
    return dict(zip(own["feature"], own["score"] / own["threshold"], strict=True))


def test_every_kind_is_compared_with_what_it_should_be(every_kind):
    result = drift_report("MSFT", DAY, every_kind, FROM, TO, "7")
    rows = result.rows.set_index("feature")
    assert rows["kind"].to_dict() == dict(series.KIND_OF)
    for feature in series.FEATURES[RESIDUALS]:
        assert rows.loc[feature, "reference_from"] == rows.loc[feature, "current_from"]
        assert rows.loc[feature, "threshold"] == promised_threshold(CURRENT_SESSIONS)
    for feature in series.FEATURES[PREDICTIONS]:
        assert rows.loc[feature, "reference_to"] < rows.loc[feature, "current_from"]
    record = json.loads(result.json)
    assert (record["model_version"], record["too_few"], record["not_compared"]) == ("7", {}, [])
    pit = next(row for row in record["features"] if row["feature"] == "pit")
    assert pit["edges"] == [pytest.approx(n / 10) for n in range(11)]
    assert np.ptp(pit["reference"]["histogram"]) <= 1, "as promised is evenly spread"


def test_right_forecasts_have_uniform_residuals(sample):
    """On the sample, from 2005 to 2012 and of all tickers, by a HAR that was fitted on those years."""
    pit = np.concatenate([series.residuals(*published_by_har(bars, "2005-01-01"))["pit"] for bars in sample.values()])
    assert len(pit) > 8000
    for level in (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95):
        assert np.mean(pit < level) == pytest.approx(level, abs=0.025)
    assert ((pit >= 0) & (pit <= 1)).all()


def test_a_split_between_forecast_and_outcome_changes_no_residual(published):
    made, scored = published
    in_new_shares = scored.assign(actual_close=scored["actual_close"] / 4, error=scored["error"] / 4)
    pd.testing.assert_frame_equal(
        series.residuals(made, in_new_shares), series.residuals(made, scored), rtol=1e-9, check_exact=False
    )


def test_residuals_and_predictions_know_no_later_session(msft, published, every_kind):
    made, scored = published
    known = msft[msft["date"] <= pd.Timestamp(DAY)]
    then = series.residuals(made[made["date"] <= pd.Timestamp(DAY)], scored[scored["date"] <= pd.Timestamp(DAY)])
    alone = series.inputs(known).merge(said_by_har(known), on="date", how="left").merge(then, on="date", how="left")
    was, now = (drift_report("MSFT", DAY, frame, FROM, TO) for frame in (alone, every_kind))
    pd.testing.assert_frame_equal(was.rows, now.rows, check_exact=True)
    assert was.json == now.json


def test_a_shift_of_one_kind_is_found_and_shows_in_no_other(every_kind, published):
    before = drift_report("MSFT", DAY, every_kind, FROM, TO).rows
    assert not before["drifted"].any()
    recent = every_kind["date"] > pd.Timestamp("2012-11-15")
    wider = every_kind.assign(**{name: every_kind[name] + 1.5 * recent for name in ("width_1", "width_10")})
    made, scored = published
    quantiles = [name for name in made if name.startswith("close_p")]
    high = made.assign(**{name: made[name] * 1.02 for name in quantiles})
    too_high = series.residuals(high, scored.assign(error=high["close_p50"] - scored["actual_close"]))
    median = made["close_p50"]
    narrow = made.assign(**{name: median * (made[name] / median) ** 0.3 for name in quantiles})
    for kind, spoilt in (
        (PREDICTIONS, wider),
        (RESIDUALS, every_kind.drop(columns=["pit", "pit_distance"]).merge(too_high, on="date", how="left")),
        (
            RESIDUALS,
            every_kind.drop(columns=["pit", "pit_distance"]).merge(
                series.residuals(narrow, scored), on="date", how="left"
            ),
        ),
    ):
        rows = drift_report("MSFT", DAY, spoilt, FROM, TO).rows
        assert set(rows.loc[rows["drifted"], "kind"]) == {kind}
        for other in {INPUTS, PREDICTIONS, RESIDUALS} - {kind}:
            assert ratios(rows, other) == ratios(before, other)


def test_sessions_drawn_from_the_reference_have_not_drifted(every_kind):
    rng = np.random.default_rng(5)
    watched = [*series.FEATURES[INPUTS], *series.FEATURES[PREDICTIONS]]
    past = every_kind.loc[every_kind["date"] <= pd.Timestamp(TO), watched].dropna()
    recent = every_kind.index[every_kind["date"] <= pd.Timestamp(DAY)][-CURRENT_SESSIONS:]
    for _ in range(6):
        drawn = every_kind.copy()
        drawn.loc[recent, watched] = past.sample(CURRENT_SESSIONS, random_state=rng).to_numpy()
        # Residuals of right forecasts, one set in a hundred of which is to be taken for drift.
        drawn.loc[recent, "pit"] = (rng.permutation(CURRENT_SESSIONS) + rng.random(CURRENT_SESSIONS)) / CURRENT_SESSIONS
        drawn["pit_distance"] = (2 * drawn["pit"] - 1).abs()
        assert not drift_report("MSFT", DAY, drawn, FROM, TO).drifted


def test_right_forecasts_alarm_once_in_a_hundred_windows():
    rng = np.random.default_rng(11)
    uniform = (np.arange(2000) + 0.5) / 2000
    for sessions in (LEAST_CURRENT, CURRENT_SESSIONS):
        scores = [wasserstein_distance(rng.random(sessions), uniform) / uniform.std() for _ in range(2000)]
        assert np.mean(np.array(scores) >= promised_threshold(sessions)) == pytest.approx(0.01, abs=0.006)


def test_too_few_scored_forecasts_are_told_and_give_no_row(every_kind):
    recent = every_kind.index[every_kind["date"] <= pd.Timestamp(DAY)]
    few = every_kind.copy()
    few.loc[recent[: -LEAST_CURRENT + 1], ["pit", "pit_distance"]] = np.nan
    result = drift_report("MSFT", DAY, few, FROM, TO)
    assert set(result.rows["kind"]) == {INPUTS, PREDICTIONS}
    assert result.too_few == {RESIDUALS: "there is a scored forecast for 29 of the last 60 sessions, and 30 are needed"}
    enough = few.copy()
    enough.loc[recent[-LEAST_CURRENT], ["pit", "pit_distance"]] = 0.5
    rows = drift_report("MSFT", DAY, enough, FROM, TO).rows.set_index("feature")
    assert rows.loc["pit", "threshold"] == promised_threshold(LEAST_CURRENT)


def test_html_is_evidently_page(features):
    windows = features.iloc[100:600], features.iloc[600:660]
    page = evidently_page(*windows, {"log_return": 0.4, "rsi_14": 0.5})
    assert page.lstrip().lower().startswith("<!doctype html") or "<html" in page[:2000]
    assert "log_return" in page
    assert "rsi_14" in page
    assert "volume_ratio" not in page


def test_importing_loads_no_evidently():
    code = (
        "import sys, stockcast_assets.monitoring.drift, stockcast_assets.monitoring.evidently_page, "
        "stockcast_assets.monitoring.reports, "
        "stockcast_assets.charts.png, stockcast_assets.monitoring.accuracy;"
        "sys.exit(any(m in sys.modules for m in ('evidently', 'scipy.stats', 'matplotlib', 'mlflow', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
