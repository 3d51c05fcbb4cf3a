"""Folds keep their distance; scores, intervals and tests agree with independent computations."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, PURGE, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import (
    POOLED,
    Cases,
    diebold_mariano,
    evaluate,
    plan,
    ratio_interval,
)
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import Forecast, fit_naive
from stockcast_assets_tests.forecasting.conftest import made_up_bars

NAMES = ("lstm", "random_walk", "drift", "vol60", "vol250", "fhs", "har", "har_quarterly")


def make_cases(days: int = 300, seed: int = 0, first: str = "2010-01-04") -> Cases:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(days, HORIZON)) * np.sqrt(np.arange(1, HORIZON + 1))
    forecasts = {}
    for position, name in enumerate(NAMES):
        point = rng.normal(size=targets.shape) * 0.1 * position
        spread = (1 + 0.1 * position) * np.array([-1.6, -1.3, -0.7, 0, 0.7, 1.3, 1.6])
        forecasts[name] = Forecast(point[:, :, None] + spread * np.sqrt(np.arange(1, HORIZON + 1))[:, None], point)
    return Cases(pd.bdate_range(first, periods=days), targets, np.full(HORIZON, 0.5), forecasts)


@settings(max_examples=40)
@given(
    sessions=st.integers(260, 1500),
    folds=st.integers(1, 6),
    test_sessions=st.integers(20, 1000),
    validation=st.integers(1, 400),
    window=st.integers(1, 30),
)
def test_no_target_of_a_training_row_reaches_what_is_judged(
    sessions: int, folds: int, test_sessions: int, validation: int, window: int
) -> None:
    history = prepare(made_up_bars(1500).tail(sessions).reset_index(drop=True))
    config = ModelConfig(folds=folds, test_sessions=test_sessions, validation_sessions=validation, window=window)
    if sessions < 250 + window:
        return
    tests, final = plan(history, config)
    for fold in tests:
        assert fold.train[-1] + PURGE < fold.validation[0]
        assert fold.validation[-1] + PURGE < fold.test[0]
        assert fold.train[0] - window + 1 >= history.first_row
        assert np.isfinite(history.targets[fold.test]).all()
        assert fold.known[-1] == fold.validation[-1]
    judged = np.concatenate([fold.test for fold in tests])
    assert np.array_equal(judged, np.arange(judged[0], len(history) - HORIZON))
    assert final.validation[-1] + HORIZON < len(history)
    assert len(final.test) == 0


def test_a_short_history_is_refused_with_both_numbers() -> None:
    with pytest.raises(StockcastError, match="at least 259 sessions and has 258"):
        plan(prepare(made_up_bars(258)), ModelConfig())
    tests, _ = plan(prepare(made_up_bars(259)), ModelConfig())
    assert sum(len(fold.test) for fold in tests) > 60


def test_scores_by_hand() -> None:
    cases = make_cases()
    table = evaluate([cases]).table().set_index(["contender", "horizon"])
    row, pooled = table.loc[("drift", 3)], table.loc[("drift", POOLED)]
    error = (cases.targets - cases.forecasts["drift"].point)[:, 2]
    quantiles = cases.forecasts["drift"].quantiles[:, 2]
    loss = [
        max(level * (y - q), (level - 1) * (y - q))
        for y, of_day in zip(cases.targets[:, 2], quantiles, strict=True)
        for level, q in zip(QUANTILES, of_day, strict=True)
    ]
    assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert row["mae"] == pytest.approx(np.abs(error).mean())
    assert row["mase"] == pytest.approx(np.abs(error).mean() / 0.5)
    assert row["pinball"] == pytest.approx(np.mean(loss))
    inside = (cases.targets[:, 2] >= quantiles[:, 1]) & (cases.targets[:, 2] <= quantiles[:, 5])
    assert row["coverage_80"] == pytest.approx(inside.mean())
    agree = np.sign(cases.forecasts["drift"].point[:, 2]) == np.sign(cases.targets[:, 2])
    assert row["directional_accuracy"] == pytest.approx(agree.mean())
    everything = cases.targets - cases.forecasts["drift"].point
    assert pooled["rmse"] == pytest.approx(np.sqrt((everything**2).mean()))
    assert pooled["n"] == 10 * row["n"] == 3000
    assert np.isnan(table.loc[("lstm", POOLED), "directional_accuracy"])


def test_a_forecast_that_calls_no_direction_is_left_out_of_the_directional_accuracy() -> None:
    cases = make_cases()
    cases.forecasts["drift"].point[:100] = 0
    score = evaluate([cases]).table().set_index(["contender", "horizon"]).loc[("drift", 3), "directional_accuracy"]
    agree = np.sign(cases.forecasts["drift"].point[100:, 2]) == np.sign(cases.targets[100:, 2])
    assert score == pytest.approx(agree.mean())


def test_crps_of_a_normal_forecast_is_near_its_closed_form() -> None:
    """CRPS of N(0, 1) against draws of N(0, 1) is 1/sqrt(pi); seven levels with cut-off tails come close."""
    rng = np.random.default_rng(3)
    from scipy.stats import norm

    quantiles = np.broadcast_to(norm.ppf(QUANTILES), (4000, HORIZON, 7))
    targets = rng.normal(size=(4000, HORIZON))
    one = Cases(
        pd.bdate_range("2000-01-03", periods=4000), targets, np.ones(HORIZON),
        {name: Forecast(quantiles, np.zeros_like(targets)) for name in ("random_walk", "har")},
    )  # fmt: skip
    crps = evaluate([one]).table().set_index(["contender", "horizon"]).loc[("har", POOLED), "crps"]
    assert crps == pytest.approx(1 / np.sqrt(np.pi), rel=0.05)


def test_ratios_are_of_the_pooled_losses_and_lie_in_their_interval() -> None:
    evaluation = evaluate([make_cases()])
    table = evaluation.table().set_index(["contender", "horizon"])
    summary = evaluation.summary()
    for other, key in (
        ("random_walk", "pinball_ratio_constant_vol"),
        ("har", "pinball_ratio_har"),
        ("har_quarterly", "pinball_ratio_har_quarterly"),
    ):
        expected = table.loc[("lstm", POOLED), "pinball"] / table.loc[(other, POOLED), "pinball"]
        assert summary[key] == pytest.approx(expected, rel=1e-5)
    assert summary["rmse_ratio_rw_low"] < summary["rmse_ratio_rw"] < summary["rmse_ratio_rw_high"]
    assert summary["n_cases"] == 300
    assert evaluation.rmse_ratio("lstm", "lstm") == 1
    assert evaluation.rmse_ratio_interval("lstm", "lstm") == (1, 1)


def test_pooling_tickers_adds_their_cases() -> None:
    one, two = make_cases(seed=1), make_cases(seed=2, first="2010-06-01")
    pooled = evaluate([one, two])
    assert pooled.cases.sum() == 600
    assert pooled.cases.max() == 2
    assert pooled.pinball["har"].sum() == pytest.approx(
        evaluate([one]).pinball["har"].sum() + evaluate([two]).pinball["har"].sum(), rel=1e-6
    )


def test_interval_of_a_mean_has_its_nominal_coverage() -> None:
    """Losses correlated over some days: about 95 % of the intervals hold the true ratio, 1."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(100):
        shocks = rng.normal(size=(2, 609))
        ours, theirs = (2 + np.convolve(shock, np.ones(10) / np.sqrt(10), "valid") * 0.5 for shock in shocks)
        low, high = ratio_interval(ours, theirs)
        hits += low <= 1 <= high
    assert 85 <= hits <= 100


def test_diebold_mariano() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(size=500)
    from scipy import stats

    statistic, p = diebold_mariano(noise + 0.3, 1)
    assert statistic > 4
    assert p < 0.001
    assert diebold_mariano(-noise - 0.3, 1)[0] == pytest.approx(-statistic)
    assert diebold_mariano(np.zeros(50), 1) == (0.0, 1.0)
    # White noise: the HAC variance is near the plain one, so the statistic is near Student's t.
    assert diebold_mariano(noise, 1)[0] == pytest.approx(stats.ttest_1samp(noise, 0).statistic, abs=0.35)
    rejected = sum(
        diebold_mariano(np.convolve(rng.normal(size=409), np.ones(10), "valid"), 10)[1] < 0.05 for _ in range(200)
    )
    assert rejected <= 30


def test_no_cases_is_an_error() -> None:
    with pytest.raises(StockcastError, match="no walk-forward case"):
        evaluate([])


def test_the_walk_forward_has_the_same_answer_when_the_future_is_absurd() -> None:
    """Every baseline's test forecasts depend on bars up to their own day only, refitting included."""
    bars = made_up_bars(900)
    tests, _ = plan(prepare(bars), ModelConfig(folds=2, test_sessions=200))
    last = int(tests[-1].test[0])
    absurd = bars.copy()
    absurd.loc[last + 1 :, ["open", "high", "low", "close", "adj_close"]] *= 1e6
    ours, theirs = prepare(bars), prepare(absurd)
    for fold in tests:
        rows = fold.test[fold.test <= last]
        real, spoiled = (fit_naive(of, fold.known) for of in (ours, theirs))
        for name in real:
            ours_said, theirs_said = real[name].predict(ours, rows), spoiled[name].predict(theirs, rows)
            assert ours_said.quantiles.tobytes() == theirs_said.quantiles.tobytes(), name
