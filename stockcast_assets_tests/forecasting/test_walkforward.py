"""The evaluation protocol: the same days for every contender, and nothing known too early."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, PURGE, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.report import evaluation_html, interval_words
from stockcast_assets.forecasting.evaluation.scores import coverage_by_day, coverage_interval, reliability, yearly
from stockcast_assets.forecasting.evaluation.walkforward import HEADLINES, WalkForward, default_start, walk_forward
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models import statistical
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.garch import GarchVolatility, fit_garch
from stockcast_assets.forecasting.models.statistical import UNIVARIATE, fit_statistical
from stockcast_assets.forecasting.universe.contenders import BASELINES
from stockcast_assets.forecasting.universe.walkforward import walk_forward_universe
from stockcast_assets.methods import GJR_GARCH, LSTM, METHODS
from stockcast_assets_tests.forecasting.conftest import made_up_bars
from stockcast_assets_tests.forecasting.test_evaluation import make_cases

NAMES = (*UNIVARIATE, GJR_GARCH)
TINY = ModelConfig(units=4, window=3, epochs=2, validation_sessions=60)
PRICES = ["open", "high", "low", "close", "adj_close"]
START, END = date(2011, 7, 1), date(2012, 12, 31)


@pytest.fixture(scope="module")
def bars(sample: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {ticker: sample[ticker].tail(900).reset_index(drop=True) for ticker in ("IBM", "MSFT")}


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def walk(bars: dict[str, pd.DataFrame], steps: list[tuple[str, int, int]]) -> WalkForward:
    def progress(*step: Any) -> None:
        steps.append(step)

    return walk_forward(bars, START, END, TINY, statistical=True, workers=2, progress=progress)


def test_every_contender_is_judged_on_the_same_days(walk: WalkForward, bars: dict[str, pd.DataFrame]) -> None:
    days = bars["IBM"]["date"]
    judged = days[(days >= pd.Timestamp(START)) & (days <= pd.Timestamp(END))]
    assert walk.retrains == {"IBM": 2, "MSFT": 2}
    assert walk.pooled.contenders == [*(name for name in METHODS if name not in BASELINES), *NAMES]
    for cases in walk.cases.values():
        assert list(cases.dates) == list(judged)
        for forecast in cases.forecasts.values():
            assert forecast.quantiles.shape == (len(judged), HORIZON, len(QUANTILES))
            assert (np.diff(forecast.quantiles, axis=2) >= 0).all()
            assert np.isfinite(forecast.quantiles).all()
    assert (walk.first_day, walk.last_day) == (judged.iloc[0].date(), judged.iloc[-1].date())


def test_progress_counts_every_fit(walk: WalkForward, steps: list[tuple[str, int, int]]) -> None:
    assert [(done, total) for _, done, total in steps] == [(done, 8) for done in range(1, 9)]
    assert {name for name, *_ in steps[:4]} == {"IBM", "MSFT"}


def test_headline_numbers_lie_in_their_intervals_and_agree_with_the_scores(walk: WalkForward) -> None:
    for ticker in (None, "IBM", "MSFT"):
        headline, intervals = walk.headline(ticker), walk.intervals(ticker)
        scores = walk.scores(ticker).set_index("contender")
        assert set(headline) == {*HEADLINES, "coverage_80", "n_cases"}
        for key, (metric, other) in HEADLINES.items():
            expected = scores.loc[LSTM, metric] / scores.loc[other, metric]
            assert headline[key] == pytest.approx(expected, rel=1e-5)
            low, high = intervals[key]
            assert low <= headline[key] <= high
        low, high = intervals["coverage_80"]
        assert low < headline["coverage_80"] < high
        against = walk.against(ticker).set_index("contender")
        assert against.loc["har", "pinball_ratio"] == headline["pinball_ratio_har"]
        assert set(against.index) == set(walk.pooled.contenders) - {LSTM}
    assert walk.headline()["n_cases"] == sum(walk.headline(ticker)["n_cases"] for ticker in walk.tickers)


def test_textbook_models_are_near_the_random_walk(walk: WalkForward) -> None:
    """Published comparisons find the same: on a price, exponential smoothing is close to "no change"."""
    scores = walk.scores().set_index("contender")
    for name in NAMES:
        assert scores.loc[name, "rmse"] / scores.loc["random_walk", "rmse"] == pytest.approx(1, abs=0.05)
        assert 0.6 < scores.loc[name, "coverage_80"] < 1


def test_earlier_forecasts_are_the_same_when_the_future_is_absurd_or_does_not_exist(
    bars: dict[str, pd.DataFrame], walk: WalkForward
) -> None:
    """LSTM, baselines, AutoETS and Theta, to the last bit: forecasts of 2011 with MSFT's bars from 2012-02 on shuffled
    and blown up, and with IBM's bars ending ten sessions into 2012."""
    spoiled = bars["MSFT"].copy()
    after = spoiled.index[spoiled["date"] >= "2012-02-01"]
    rng = np.random.default_rng(0)
    spoiled.loc[after, PRICES] = spoiled.loc[rng.permutation(after), PRICES].to_numpy() * 1e5
    end_of_cut = int(bars["IBM"]["date"].searchsorted(pd.Timestamp("2012-01-01"))) + HORIZON
    cut = bars["IBM"].iloc[:end_of_cut].reset_index(drop=True)
    again = walk_forward({"MSFT": spoiled, "IBM": cut}, START, END, TINY, statistical=True, workers=1)
    assert again.retrains == {"MSFT": 2, "IBM": 1}
    for ticker, cases in walk.cases.items():
        early = int((cases.dates < "2012-01-01").sum())
        assert early > 100
        for name, forecast in cases.forecasts.items():
            other = again.cases[ticker].forecasts[name]
            assert forecast.quantiles[:early].tobytes() == other.quantiles[:early].tobytes(), (ticker, name)
            assert forecast.point[:early].tobytes() == other.point[:early].tobytes(), (ticker, name)
    assert len(again.cases["IBM"].dates) == (walk.cases["IBM"].dates < "2012-01-01").sum()
    # Not by accident: the spoiled months themselves are forecast otherwise.
    late, late_again = (each.cases["MSFT"].forecasts[LSTM].quantiles[-50:] for each in (walk, again))
    assert not np.allclose(late, late_again)


@settings(max_examples=50)
@given(
    start=st.dates(date(2008, 1, 1), date(2012, 12, 1)),
    length=st.integers(0, 1500),
    gaps=st.lists(st.tuples(st.integers(0, 1490), st.integers(1, 60)), max_size=6),
    window=st.integers(1, 20),
    validation=st.integers(1, 300),
)
def test_no_row_learnt_from_knows_a_day_that_is_judged(
    start: date, length: int, gaps: list[tuple[int, int]], window: int, validation: int
) -> None:
    """Whatever the dates and the holes in the series: the last target of a training row closes before the first
    judged day, and a purge lies between training and validation."""
    dropped = {row for first, count in gaps for row in range(first, first + count)}
    all_bars = made_up_bars(1500)
    history = prepare(all_bars[~all_bars.index.isin(dropped)].reset_index(drop=True))
    config = ModelConfig(window=window, validation_sessions=validation)
    end = (pd.Timestamp(start) + pd.Timedelta(days=length)).date()
    try:
        folds = yearly(history, start, end, config)
    except StockcastError:
        return
    judged = np.concatenate([fold.test for fold in folds])
    assert (np.diff(judged) == 1).all()
    assert history.dates[judged[0]] >= pd.Timestamp(start)
    assert history.dates[judged[-1]] <= pd.Timestamp(end)
    for fold in folds:
        assert fold.train[-1] + PURGE < fold.validation[0]
        assert fold.known[-1] + HORIZON < fold.test[0]
        assert history.dates[fold.known[-1] + HORIZON] < history.dates[fold.test[0]]
        assert history.dates[fold.test[0]].year == history.dates[fold.test[-1]].year
        assert np.isfinite(history.targets[fold.test]).all()


def test_fitted_and_asked_in_one_shape(bars: dict[str, pd.DataFrame]) -> None:
    """A row's forecast does not depend on the rows asked for beside it, for baselines and textbook models alike."""
    history = prepare(bars["IBM"])
    known = np.arange(history.first_row, 600)
    contenders = {**fit_naive(history, known), **fit_statistical(history, known)}
    rows = np.arange(620, 626)
    for name, contender in contenders.items():
        together, alone = contender.predict(history, rows), contender.predict(history, rows[3:4])
        assert together.quantiles[3].tobytes() == alone.quantiles[0].tobytes(), name
        assert together.point.shape == (6, HORIZON)


def test_reliability_and_coverage_by_hand() -> None:
    one, two = make_cases(days=80, seed=1), make_cases(days=80, seed=2)
    quantiles = np.concatenate([each.forecasts["har"].quantiles for each in (one, two)])
    targets = np.concatenate([one.targets, two.targets])
    below = reliability([one, two], "har")
    assert below == pytest.approx([(targets <= quantiles[:, :, k]).mean() for k in range(len(QUANTILES))])
    by_day = coverage_by_day([one, two], "har")
    inside = (targets >= quantiles[:, :, 1]) & (targets <= quantiles[:, :, 5])
    assert len(by_day) == 80
    assert by_day.mean() == pytest.approx(inside.mean())
    assert coverage_by_day([one, two], "har", 50).mean() < by_day.mean()
    low, high = coverage_interval([one, two], "har")
    assert low < by_day.mean() < high


def test_a_year_whose_outcomes_are_not_known_yet_is_left_out(bars: dict[str, pd.DataFrame]) -> None:
    history = prepare(bars["MSFT"][bars["MSFT"]["date"] <= "2013-01-08"])
    folds = yearly(history, date(2012, 1, 1), date(2013, 12, 31), TINY)
    assert len(folds) == 1
    assert folds[0].test[-1] == len(history) - HORIZON - 1


def test_the_default_start_waits_for_the_shortest_history(bars: dict[str, pd.DataFrame]) -> None:
    long, short = prepare(made_up_bars(1500)), prepare(bars["MSFT"].tail(400).reset_index(drop=True))
    end = date(2013, 3, 1)
    assert default_start({"LONG": long}, end, TINY) == date(2009, 1, 1)
    start = default_start({"LONG": long, "MSFT": short}, end, TINY)
    assert start > date(2011, 8, 1)
    assert len(yearly(short, start, end, TINY)[0].train) > 50
    with pytest.raises(StockcastError, match=f"evaluate from {start} on"):
        yearly(short, date(2011, 8, 1), end, TINY)


@pytest.mark.parametrize(("start", "words"), [(None, "needs at least"), (date(2013, 1, 2), "needs at least")])
def test_a_history_that_is_too_short_is_one_sentence(start: date | None, words: str) -> None:
    with pytest.raises(StockcastError, match=f"FAKE has 150 sessions.*{words}"):
        walk_forward({"FAKE": made_up_bars(150)}, start, date(2013, 3, 1), TINY)


def test_days_outside_the_history_are_one_sentence() -> None:
    with pytest.raises(StockcastError, match=r"no session from 2014-01-01 to 2014-12-31 with 10 sessions after it"):
        walk_forward({"FAKE": made_up_bars(600)}, date(2014, 1, 1), date(2014, 12, 31), TINY)
    with pytest.raises(StockcastError, match="no ticker"):
        walk_forward({}, None, date(2014, 12, 31))


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistical, "PACKAGES", (*statistical.PACKAGES, "not_there"))
    with pytest.raises(StockcastError, match=r"need not_there.*pip install 'stockcast-assets\[stats\]'"):
        walk_forward({"FAKE": made_up_bars(600)}, None, date(2012, 12, 31), TINY, statistical=True)
    with pytest.raises(StockcastError, match=r"pip install 'stockcast-assets\[stats\]'"):
        walk_forward_universe({"FAKE": made_up_bars(600)}, {}, None, date(2012, 12, 31), statistical=True)


def test_garch_is_that_of_arch(bars: dict[str, pd.DataFrame]) -> None:
    """Its variances of the sessions to come are those that arch forecasts itself, with the same parameters."""
    from arch import arch_model

    history = prepare(bars["IBM"])
    known = np.arange(history.first_row, 600)
    volatility = fit_garch(history, known).volatility
    assert isinstance(volatility, GarchVolatility)
    returns = np.diff(history.log_close) * 100
    model = arch_model(returns, mean="Constant", vol="GARCH", p=1, o=1, q=1, dist="t", rescale=False)
    told = [volatility.mu, volatility.omega, volatility.alpha, volatility.gamma, volatility.beta, 5.0]
    theirs = model.fix(np.array(told)).forecast(horizon=HORIZON, start=0).variance.to_numpy()
    rows = np.arange(800, 860)
    ours = volatility.sigma(history, rows)
    # Return number t is the one of session t + 1; both forget where they began.
    assert ours == pytest.approx(np.sqrt(np.cumsum(theirs[rows - 1], axis=1)) / 100, rel=1e-6)


def test_the_page_needs_nothing_else_and_says_it_in_words(walk: WalkForward) -> None:
    page = evaluation_html(walk)
    assert page.count("plotly-graph-div") == 3
    # Scripts are inside; a tag that loads one from somewhere would need the network.
    assert "<script src=" not in page
    assert "<link" not in page
    for words in ("Skill per horizon", "Coverage over time", "Reliability of the quantiles", "AutoETS", "IBM", "MSFT"):
        assert words in page
    assert f"{walk.headline()['pinball_ratio_har']:.3f}" in page


def test_only_an_interval_without_1_is_called_a_difference() -> None:
    assert interval_words(0.98, 0.97, 0.99).endswith(": better")
    assert interval_words(1.02, 1.01, 1.03).endswith(": worse")
    assert interval_words(0.99, 0.97, 1.01).endswith(": no measurable difference")
