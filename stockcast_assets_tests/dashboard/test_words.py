"""The plain words: what is published and why, and no term of the pages without its meaning."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from stockcast_assets.dashboard import layout
from stockcast_assets.dashboard.layout import ago
from stockcast_assets.dashboard.words import GLOSSARY, tie, why_published
from stockcast_assets.market.currencies import quoted_in
from stockcast_assets.methods import AVERAGE, LSTM, METHODS, OF_NETWORK

LOST = "The LSTM is not published because its pinball loss is 1.0110 [1.0040, 1.0180] times that of linear HAR."
TIED = "The LSTM is not published because its pinball loss is 1.0110 [0.9980, 1.0240] times that of linear HAR."
WON = "The LSTM is published: on 750 walk-forward cases its pinball loss is 0.9800 [0.9700, 0.9900] times that of"


@pytest.mark.parametrize(
    ("method", "row", "says"),
    [
        ("naive_har", {"reason": LOST}, "recent volatility; a neural network was tried and was no better."),
        ("naive_har", {"reason": TIED}, "a neural network was tried and tied with it."),
        ("naive_vol60", {"reason": LOST}, "volatility of the last 60 sessions;"),
        ("naive_random_walk", {"n_cases": 0}, "too few sessions to train"),
        ("naive_har", {"promoted": True}, "the month's neural network could not be used."),
        (LSTM, {"promoted": True, "reason": WON}, "did better than every simple method"),
        (LSTM, {"promoted": True, "reason": WON.replace("0.9900", "1.0100")}, "it ties with the best simple method"),
        (LSTM, {"promoted": False}, "an earlier neural network"),
        (AVERAGE, {"method": AVERAGE}, "half each; they tie"),
        ("naive_har", {"method": AVERAGE}, "the month's neural network could not be used."),
    ],
)
def test_one_plain_sentence_says_why_a_method_is_published(method, row, says):
    assert says in why_published(method, {"reason": "", "n_cases": 750, "promoted": False} | row)


@pytest.mark.parametrize("method", [*OF_NETWORK, *(f"naive_{name}" for name in METHODS if name not in OF_NETWORK)])
def test_every_method_has_a_sentence_without_numbers_of_the_decision(method):
    for model in (None, {"reason": LOST, "n_cases": 750, "promoted": False}):
        sentence = why_published(method, model)
        assert sentence.startswith("Range from ")
        assert not re.search(r"\d\.\d", sentence)


def test_a_tie_is_where_the_interval_holds_one():
    assert tie(TIED)
    assert not tie(LOST)
    assert not tie("SHORT has 104 sessions.")


def test_every_card_that_names_a_term_finds_it():
    views = Path(layout.__file__).with_name("views")
    named = {
        term
        for file in views.glob("*.py")
        for term in re.findall(r'"([^"]+)"\s*,?\s*\)', file.read_text())
        if term in GLOSSARY
    }
    assert {"RSI", "MACD", "Volatility", "Coverage", "Skill", "80 % interval"} <= named


@pytest.mark.parametrize(
    ("ticker", "unit"),
    [("AAPL", "USD"), ("VOD.L", "pence (GBP / 100)"), ("BF.B", "USD"), ("ETH-USD", "USD"), ("BTC-EUR", "EUR"),
     ("005930.KS", "KRW"), ("^FTSE", None), ("X.NOWHERE", None)],
)  # fmt: skip
def test_what_prices_are_in(ticker, unit):
    assert quoted_in(ticker) == unit


@pytest.mark.parametrize(
    ("age", "says"),
    [(0, "just now"), (60, "1 minute ago"), (7199, "1 hour ago"), (7200, "2 hours ago"), (86400 * 3, "3 days ago")],
)
def test_ages(age, says):
    assert ago(timedelta(seconds=age)) == says
