"""The gate promotes what is shown to be better, averages what is not, and says why in words with numbers."""

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.evaluation.gate import NOTHING, Decision, decide, pool
from stockcast_assets.forecasting.evaluation.scores import Cases, Evaluation, evaluate
from stockcast_assets.forecasting.models.average import mean_quantiles
from stockcast_assets.forecasting.models.baselines import Forecast
from stockcast_assets.methods import AVERAGE, HAR, HAR_QUARTERLY, LSTM

SHAPE = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])
START = HAR_QUARTERLY


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
        "har_quarterly": 1.4,
    } | widths
    forecasts = {}
    for name, width in widths.items():
        point = np.full(targets.shape, bias if name == "lstm" else 0.0)
        forecasts[name] = Forecast(point[:, :, None] + width * SHAPE, point)
    mean = mean_quantiles(forecasts[LSTM].quantiles, forecasts[START].quantiles)
    forecasts[AVERAGE] = Forecast(mean, mean[:, :, 3])
    return evaluate([Cases(pd.bdate_range(first, periods=days), targets, np.ones(HORIZON), forecasts)])


def decided(*args: Evaluation, champion: Evaluation | None = None, **facts: bool | str | None) -> Decision:
    return decide(*args, champion, start=START, **facts)


def test_an_interval_that_is_shown_to_be_better_is_promoted() -> None:
    decision = decided(evaluation({}))
    assert decision.promoted
    assert decision.method == "lstm"
    assert "best baseline, linear HAR" in decision.reason
    assert "400 walk-forward cases" in decision.reason


def test_what_is_lowest_by_less_than_chance_explains_is_averaged_with_its_start() -> None:
    lowest = evaluation({"lstm": 1.0, "har_quarterly": 1.02})
    assert lowest.pinball_ratio(LSTM, HAR_QUARTERLY) < 1
    decision = decided(lowest)
    assert (decision.promoted, decision.method, decision.published) == (False, "average", "average")
    assert "The average of the LSTM and its start, HAR with the quarter's pattern, is published" in decision.reason
    assert "the LSTM alone" in decision.reason
    assert "is not shown to be better" in decision.reason


def test_a_baseline_that_is_shown_to_be_better_is_published_instead() -> None:
    decision = decided(evaluation({"vol60": 1.0, "lstm": 1.5}))
    assert not decision.promoted
    assert decision.method == "naive_vol60"
    assert "times that of 60-session volatility" in decision.reason
    assert "What is published is 60-session volatility: its pinball loss is" in decision.reason


def test_without_a_network_the_start_is_published_not_the_luckiest_baseline() -> None:
    decision = decided(evaluation({"har": 1.0, "har_quarterly": 1.02}), learnt=False)
    assert decision.method == "naive_har_quarterly"
    assert "What is published is HAR with the quarter's pattern: no baseline is shown to be better" in decision.reason


def test_a_biased_point_forecast_is_not_promoted_even_with_the_better_interval() -> None:
    wide = dict.fromkeys(("random_walk", "drift", "vol60", "vol250", "fhs", "har", "har_quarterly"), 4.0)
    decision = decided(evaluation(wide, bias=0.8))
    assert not decision.promoted
    assert "times the random walk's" in decision.reason


def test_too_few_cases_promote_nothing() -> None:
    decision = decided(evaluation({}, days=100))
    assert not decision.promoted
    assert decision.method.startswith("naive_")
    assert "only 100 walk-forward cases of the 250" in decision.reason


def test_networks_that_lose_over_all_tickers_are_published_for_none() -> None:
    decision = decided(evaluation({}), admitted=NOTHING)
    assert decision.method.startswith("naive_")
    assert "over all tickers of its universe it is no better than the interval that it starts from" in decision.reason


def test_what_is_shown_over_all_tickers_holds_for_each_unless_the_ticker_shows_the_contrary() -> None:
    tied = evaluation({"lstm": 1.02, "har_quarterly": 1.0})
    promoted = decided(tied, admitted=LSTM)
    assert (promoted.promoted, promoted.method) == (True, "lstm")
    assert "It is shown to be better over all tickers of its universe" in promoted.reason
    assert decided(evaluation({"lstm": 1.5, "har": 1.0}), admitted=LSTM).method == "naive_har"
    # And what is not shown over all is not promoted for one on which it did well.
    assert decided(evaluation({}), admitted=AVERAGE).method == "average"


def universe(rng: np.random.Generator, tickers: int, gain: float = 0.0, days: int = 756) -> dict[str, pd.DataFrame]:
    """Losses that move together in time, over contenders and over tickers, all with one mean but for the network's."""
    dates, names = pd.bdate_range("2010-01-04", periods=days), [LSTM, HAR_QUARTERLY, HAR, "vol60", "fhs"]

    def slow(columns: int) -> np.ndarray:
        noise = rng.normal(size=(days + 10, columns))
        return np.lib.stride_tricks.sliding_window_view(noise, 11, axis=0).mean(axis=2)

    level = np.exp(slow(1))
    found = {}
    for number in range(tickers):
        losses = level * (1 + 0.2 * slow(len(names)))
        losses[:, 0] *= 1 - gain
        found[f"T{number}"] = pd.DataFrame(losses, dates, names)
    return found


@pytest.mark.parametrize("tickers", [1, 8])
def test_where_no_model_is_better_at_most_one_universe_in_ten_promotes_one(tickers: int) -> None:
    rng = np.random.default_rng(tickers)
    admitted = [pool(universe(rng, tickers), HAR_QUARTERLY).admitted for _ in range(30)]
    assert admitted.count(LSTM) / len(admitted) <= 0.1
    assert admitted.count(AVERAGE) / len(admitted) >= 0.8


def test_a_network_that_is_better_by_little_is_found_by_many_tickers_together() -> None:
    rng = np.random.default_rng(0)
    few, many = (
        [pool(universe(rng, tickers, gain=0.02), HAR_QUARTERLY).admitted for _ in range(10)] for tickers in (1, 26)
    )
    assert many.count(LSTM) > few.count(LSTM)
    assert many.count(LSTM) >= 7
    assert pool(universe(rng, 26, gain=-0.03), HAR_QUARTERLY).admitted == NOTHING


def test_a_clearly_better_champion_serves_on() -> None:
    decision = decided(evaluation({"lstm": 1.35}), champion=evaluation({"lstm": 1.0}))
    assert (decision.promoted, decision.champion_serves, decision.published) == (False, True, "lstm")
    assert decision.method == "naive_har_quarterly", "the challenger's own file publishes no LSTM"
    assert "the champion's on the same 400 days" in decision.reason
    assert "The champion before it serves on: its pinball loss on those days is 0.9" in decision.reason


def test_a_better_champion_that_loses_to_a_baseline_too_does_not_serve_on() -> None:
    decision = decided(evaluation({"lstm": 2.2, "har": 1.0}), champion=evaluation({"lstm": 1.6}))
    assert (decision.promoted, decision.champion_serves, decision.published) == (False, False, "naive_har")
    assert "the champion's on the same 400 days" in decision.reason


def test_an_equal_champion_or_one_without_common_days_does_not_object() -> None:
    assert decided(evaluation({}), champion=evaluation({})).promoted
    assert decided(evaluation({}), champion=evaluation({"lstm": 0.9}, first="1990-01-01")).promoted
