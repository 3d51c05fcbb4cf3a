"""The gate promotes what earned it, and says why not in words with numbers."""

import numpy as np
import pandas as pd

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.evaluation.gate import decide
from stockcast_assets.forecasting.evaluation.scores import Cases, Evaluation, evaluate
from stockcast_assets.forecasting.models.baselines import Forecast

SHAPE = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])


def evaluation(widths: dict[str, float], days: int = 400, bias: float = 0.0, first: str = "2010-01-04") -> Evaluation:
    """Contenders that know the true scale up to a factor; standard normal outcomes."""
    targets = np.random.default_rng(7).normal(size=(days, HORIZON))
    widths = {
        "lstm": 1.0,
        "random_walk": 2.0,
        "drift": 2.0,
        "vol60": 1.6,
        "vol250": 1.7,
        "fhs": 1.5,
        "har": 1.4,
    } | widths
    forecasts = {}
    for name, width in widths.items():
        point = np.full(targets.shape, bias if name == "lstm" else 0.0)
        forecasts[name] = Forecast(point[:, :, None] + width * SHAPE, point)
    return evaluate([Cases(pd.bdate_range(first, periods=days), targets, np.ones(HORIZON), forecasts)])


def test_a_better_interval_is_promoted() -> None:
    decision = decide(evaluation({}))
    assert decision.promoted
    assert decision.method == "lstm"
    assert "best baseline, linear HAR" in decision.reason
    assert "400 walk-forward cases" in decision.reason


def test_one_better_baseline_is_enough_to_be_published_instead() -> None:
    decision = decide(evaluation({"vol60": 1.0, "lstm": 1.3}))
    assert not decision.promoted
    assert decision.method == "naive_vol60"
    assert "times that of 60-session volatility" in decision.reason


def test_a_biased_point_forecast_is_not_promoted_even_with_the_better_interval() -> None:
    decision = decide(evaluation({"random_walk": 4, "drift": 4, "vol60": 4, "vol250": 4, "fhs": 4, "har": 4}, bias=0.8))
    assert not decision.promoted
    assert "times the random walk's" in decision.reason


def test_too_few_cases_promote_nothing() -> None:
    decision = decide(evaluation({}, days=100))
    assert not decision.promoted
    assert "only 100 walk-forward cases of the 250" in decision.reason


def test_networks_that_win_nothing_over_all_tickers_are_published_for_none() -> None:
    decision = decide(evaluation({}), pooled=False)
    assert not decision.promoted
    assert "over all tickers of its universe it is no better than the interval that it starts from" in decision.reason


def test_a_clearly_better_champion_serves_on() -> None:
    decision = decide(evaluation({"lstm": 1.35}), champion=evaluation({"lstm": 1.0}))
    assert (decision.promoted, decision.champion_serves, decision.published) == (False, True, "lstm")
    assert decision.method == "naive_har", "the challenger's own file publishes no LSTM"
    assert "the champion's on the same 400 days" in decision.reason
    assert "The champion before it serves on: its pinball loss on those days is 0.9" in decision.reason


def test_a_better_champion_that_loses_to_a_baseline_too_does_not_serve_on() -> None:
    decision = decide(evaluation({"lstm": 2.2, "har": 1.0}), champion=evaluation({"lstm": 1.6}))
    assert (decision.promoted, decision.champion_serves, decision.published) == (False, False, "naive_har")
    assert "the champion's on the same 400 days" in decision.reason


def test_an_equal_champion_or_one_without_common_days_does_not_object() -> None:
    assert decide(evaluation({}), champion=evaluation({})).promoted
    assert decide(evaluation({}), champion=evaluation({"lstm": 0.9}, first="1990-01-01")).promoted
