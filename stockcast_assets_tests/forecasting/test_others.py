"""Somebody's contender in the evaluation: it sees nothing later, and is judged like the others."""

import re
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from stockcast_assets import user_code
from stockcast_assets.cli.beside import ENTRY_POINTS, Beside
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.others import other_of, with_other
from stockcast_assets.forecasting.evaluation.report import evaluation_html
from stockcast_assets.forecasting.evaluation.scores import Cases, yearly
from stockcast_assets.forecasting.evaluation.walkforward import WalkForward
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.methods import HAR, LSTM, RANDOM_WALK

DOC = Path(__file__).parents[2] / "docs" / "forecasting.md"


@pytest.fixture(scope="module")
def bars(sample):
    return {ticker: sample[ticker].tail(900).reset_index(drop=True) for ticker in ("IBM", "MSFT")}


@pytest.fixture(scope="module")
def walk(bars):
    """An evaluation without a network: HAR stands where it stands."""
    cases = {}
    for ticker, own in bars.items():
        history = prepare(own)
        folds = yearly(history, pd.Timestamp(2011, 11, 1).date(), pd.Timestamp(2012, 2, 28).date(), ModelConfig())
        parts = [
            {name: one.predict(history, fold.test) for name, one in fit_naive(history, fold.known).items()}
            for fold in folds
        ]
        forecasts = {
            name: type(parts[0][name])(
                np.concatenate([part[name].quantiles for part in parts]),
                np.concatenate([part[name].point for part in parts]),
            )
            for name in parts[0]
        }
        rows = np.concatenate([fold.test for fold in folds])
        before = np.abs(history.targets[folds[0].known]).mean(axis=0)
        cases[ticker] = Cases(history.dates[rows], history.targets[rows], before, {**forecasts, LSTM: forecasts[HAR]})
    return WalkForward(ModelConfig(), dict.fromkeys(bars, 2), cases)


class Watching:
    """It keeps what it was shown."""

    seen: ClassVar[list[tuple[pd.Timestamp, str, pd.Timestamp]]] = []

    def fit(self, bars):
        self.last = bars["date"].max()
        assert set(bars["ticker"]) == {"IBM", "MSFT"}

    def predict(self, bars):
        assert bars["ticker"].nunique() == 1
        Watching.seen.append((self.last, bars["ticker"].iloc[0], bars["date"].iloc[-1]))
        return np.sort(np.linspace(-0.1, 0.1, len(QUANTILES)) * np.ones((HORIZON, 1)), axis=1)


def test_it_is_fitted_each_year_and_asked_each_day_with_nothing_later(walk, bars):
    Watching.seen = []
    steps = []
    judged = with_other(walk, bars, other_of(Watching, "mine.py:Watching"), lambda *step: steps.append(step))
    days = [(ticker, day) for ticker in walk.tickers for day in walk.cases[ticker].dates]
    assert sorted((ticker, day) for _, ticker, day in Watching.seen) == sorted(days)
    for last, _, day in Watching.seen:
        assert last < pd.Timestamp(day.year, 1, 1) <= day
        assert day - last < pd.Timedelta(days=370)
    assert steps[-1] == ("Watching 2012", 4, 4)
    assert judged.pooled.contenders == [*walk.pooled.contenders, "Watching"]
    for ticker in walk.tickers:
        assert judged.cases[ticker].forecasts["Watching"].quantiles.shape == (len(walk.cases[ticker].dates), HORIZON, 7)
    assert "Watching" in evaluation_html(judged)


def test_who_says_what_the_random_walk_says_is_scored_like_it(walk, bars):
    """The scores of a contender are a matter of its quantiles alone."""
    known = {
        (ticker, day): quantiles
        for ticker, cases in walk.cases.items()
        for day, quantiles in zip(cases.dates, cases.forecasts[RANDOM_WALK].quantiles, strict=True)
    }
    same = other_of(lambda bars: known[bars["ticker"].iloc[0], bars["date"].iloc[-1]], "mine:same")
    scores = with_other(walk, bars, same).scores().set_index("contender")
    figures = ["pinball", "crps", "coverage_80", "rmse"]
    assert scores.loc["same", figures].tolist() == scores.loc[RANDOM_WALK, figures].tolist()


def test_the_page_s_contender_runs_as_printed(walk, bars, tmp_path, monkeypatch):
    code = next(block for block in re.findall(r"```python\n(.*?)```", DOC.read_text(), re.S) if "# mine.py" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (mine,) = Beside(contenders=("mine.py:Recent",)).load()
    judged = with_other(walk, bars, mine)
    assert 0.5 < judged.pooled.pinball_ratio("Recent", RANDOM_WALK) < 1.5
    assert 0.6 < judged.scores().set_index("contender").loc["Recent", "coverage_80"] < 0.95


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (lambda bars: np.zeros((7, 10)), r"returns numbers of shape \(7, 10\): return \(10, 7\)"),
        (lambda bars: np.full((10, 7), np.nan), "no number"),
        (lambda bars: -np.arange(7.0) * np.ones((10, 1)), "quantiles that fall"),
        (lambda bars: bars["price"], "fails: KeyError"),
        (lambda bars: "high", "fails: ValueError"),
    ],
)
def test_what_is_no_forecast_is_a_sentence_with_ticker_and_day(walk, bars, predict, words):
    with pytest.raises(StockcastError, match=words) as raised:
        with_other(walk, bars, other_of(predict, "mine:predict"))
    assert re.search(r"as of \d{4}-\d\d-\d\d of IBM", str(raised.value))


def test_what_cannot_predict_is_a_sentence(walk, bars):
    for found, words in ((type("Mute", (), {}), "no method `predict`"), (3, "neither a class nor a function")):
        with pytest.raises(StockcastError, match=words):
            other_of(found, "mine:it")
    with pytest.raises(StockcastError, match="a contender har already"):
        with_other(walk, bars, other_of(type("H", (), {"name": HAR, "predict": print}), "mine:H"))
    broken = type("Broken", (), {"fit": lambda self, bars: 1 / 0, "predict": print})
    with pytest.raises(StockcastError, match="cannot be fitted for 2011: ZeroDivisionError"):
        with_other(walk, bars, other_of(broken, "mine:Broken"))


def test_a_package_offers_contenders_by_name(monkeypatch):
    point = EntryPoint("watching", f"{__name__}:Watching", ENTRY_POINTS)

    def entry_points(**wanted):
        return EntryPoints([point]).select(**wanted)

    monkeypatch.setattr(user_code, "entry_points", entry_points)
    assert Beside(contenders=("watching",)).load()[0].make is Watching
    with pytest.raises(StockcastError, match=r"names no function: .* or watching"):
        Beside(contenders=("watchful",)).load()
