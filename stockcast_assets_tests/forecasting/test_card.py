"""The model card: what it says of stored rows, and that nothing stored in them is more than text in it."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.card import LIVE_DAYS, card_of, model_card, stored_model
from stockcast_assets.inputs import printable
from stockcast_assets.methods import RATIOS
from stockcast_assets.tables import FORECAST_ACCURACY, TRAINED_MODEL, UNIVERSE_MODEL
from stockcast_assets_tests.dashboard.home import REASON, model_row

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
NETWORKS = {
    "date": pd.Timestamp(2013, 2, 1), "model_version": "7", "run_id": "e" * 32, "members": "AAPL MSFT",
    "trained_to": pd.Timestamp(2013, 1, 31), "n_judged": 2, "n_cases": 1500, "pinball_ratio_start": 0.995,
    "pinball_ratio_start_low": 0.991, "pinball_ratio_start_high": 0.999,
}  # fmt: skip
NOTHING = FORECAST_ACCURACY.empty()
MOST_OF_A_NOTE = 8000
"""Characters that MLflow keeps."""


def scored(days: list[str], **columns: object) -> pd.DataFrame:
    """Forecasts of one session ahead, twice as good as the random walk."""
    made = pd.DatetimeIndex(days)
    frame = pd.DataFrame(
        {
            "ticker": "MSFT", "date": made + pd.Timedelta(days=1), "horizon": 1, "as_of_date": made,
            "target_date": made + pd.Timedelta(days=1), "actual_close": 100.0, "error": 1.0, "naive_error": -2.0,
            "inside_80": np.arange(len(made)) % 2 == 0,
        }
    )  # fmt: skip
    return frame.assign(**columns)


def kinds(card: str) -> set[str]:
    """What the Markdown has in it."""
    found = set()
    for token in MARKDOWN.parse(card):
        found |= {token.type, *(child.type for child in token.children or ())}
    return found


def shown(card: str) -> str:
    """The text of the Markdown without its marks."""
    children = [child for token in MARKDOWN.parse(card) for child in token.children or ()]
    return " ".join(child.content for child in children if child.content)


def test_a_card_says_all_that_there_is_to_say():
    card = model_card(model_row("MSFT", 2), None, scored(["2013-01-15", "2013-02-05", "2013-02-06", "2013-03-04"]))
    assert card.startswith("# Model card: MSFT, February 2013\n")
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Data", "## Features and training", "## Proof before publication", "## Live scores so far",
        "## Known limits",
    ]  # fmt: skip
    assert "from 2000-03-01 to 2013-01-31" in card
    assert "| linear HAR | pinball loss | 0.9980 |" in card
    assert "| random walk with constant volatility | RMSE | 0.9980 |" in card
    assert "What the gate said: The LSTM is published: on 756 walk-forward cases it beats every baseline." in card
    # The month's two forecasts, the one of the year before; March's are another month's.
    assert "Scored up to 2013-02-07," in card
    assert f"| Forecasts as of | February 2013 | the {LIVE_DAYS} days before |" in card
    assert (
        "| Scored | 2 | 1 |\n| In the 80 % interval | 50.0 % | 100.0 % |\n| RMSE / random walk | 0.500 | 0.500 |"
        in card
    )
    assert len(card) < MOST_OF_A_NOTE


def test_scores_that_the_table_gains_are_shown_with_their_ratio_to_a_baseline():
    gained = {
        "pinball": 0.9,
        "pinball_har": [1.0, math.nan],
        "pit": [0.25, 0.75],
        "said": None,
        "revision": 1,
        "late": [True, False],
    }
    card = model_card(model_row("MSFT", 2), None, scored(["2013-02-05", "2013-02-06"], **gained))
    live = card[card.index("| Forecasts as of") : card.index("A ratio below 1")].split("\n")
    assert live[5:9] == [
        "| late | 50.0 % |",
        "| pinball | 0.9 |",
        "| pinball / linear HAR | 0.900 |",
        "| PIT, mean | 0.5 |",
    ]
    assert live[9] == "", "no score that is none"


def test_a_model_that_is_not_published_and_one_that_was_never_judged_say_so():
    refused = model_row("MSFT", 1)
    card = model_card(refused, None, NOTHING)
    assert REASON in shown(card)
    assert "| The month publishes | linear HAR |" in card
    assert "The network is not what is published: linear HAR is." in card
    assert "None yet: a forecast is scored on the day its target session closed" in card
    assert "is published by version" not in card
    short = refused | dict.fromkeys(RATIOS, math.nan) | {"n_cases": 0, "n_samples": 0, "method": "naive_random_walk"}
    card = model_card(short, None, NOTHING)
    assert "Nothing was trained, so nothing was judged." in card
    assert "nan" not in card
    served = model_card(model_row("MSFT", 2) | {"promoted": False, "serving_version": "1"}, None, NOTHING)
    assert "| The month publishes | LSTM of version 1 |" in served
    assert "Version 1, of an earlier month, serves it." in served


def test_a_row_of_an_earlier_release_has_a_card_too():
    late = {"universe_run_id", "universe_sha256", "without_universe", "serving_run_id", "pinball_ratio_mix", "trigger"}
    row = {name: value for name, value in model_row("MSFT", 2).items() if name not in late}
    assert model_card(row, None, NOTHING) == model_card(row | dict.fromkeys(late), None, NOTHING)


PLAIN = {
    networks is not None: kinds(model_card(model_row("MSFT", 2) | {"trigger": "x"}, networks, NOTHING))
    for networks in (None, NETWORKS)
}
"""What a card has in it where all texts are plain, without and with shared networks."""


@settings(max_examples=40)
@given(st.text(max_size=60).map(lambda text: f"{text}![x](http://evil.example/x.png){text}") | st.text(max_size=200))
def test_what_rows_hold_is_text(text):
    row = model_row("MSFT", 2) | {"reason": text, "trigger": text, "without_universe": text, "model_name": text}
    told = NETWORKS | {"model_version": text, "members": text or "A"}
    for networks in (None, told):
        card = model_card(row, networks, NOTHING)
        assert kinds(card) <= PLAIN[networks is not None]
        assert printable(card, lines=True) == card, "nothing that a terminal obeys"
        assert len(card) < MOST_OF_A_NOTE


@pytest.mark.parametrize(
    "text",
    ["HAR × reports: .98 [.97, .99]", "universe_model has no row", "a*b*c _d_ `e` $f$ g|h ~~i~~ <b>j</b> &amp; \\k"],
)
def test_a_sentence_is_shown_as_it_is_stored(text):
    assert f"What the gate said: {text}" in shown(model_card(model_row("MSFT", 2) | {"reason": text}, None, NOTHING))


def reader(models: pd.DataFrame, networks: pd.DataFrame):
    tables = {TRAINED_MODEL.name: models, UNIVERSE_MODEL.name: networks, FORECAST_ACCURACY.name: NOTHING}
    return lambda table, **_: tables[table.name]


def test_the_month_s_newest_model_has_the_card_and_a_month_without_one_is_a_sentence():
    again = model_row("MSFT", 2) | {"trained_to": pd.Timestamp(2013, 2, 14), "model_version": "9"}
    read = reader(pd.DataFrame([again, model_row("MSFT", 2), model_row("MSFT", 1)]), UNIVERSE_MODEL.empty())
    assert stored_model(read, "MSFT")["model_version"] == "9"
    assert stored_model(read, "MSFT", pd.Timestamp(2013, 1, 1).date())["model_version"] == "1"
    with pytest.raises(StockcastError, match=r"for 2012-05, only for 2013-02, 2013-01: `stockcast card MSFT 2013-02`"):
        stored_model(read, "MSFT", pd.Timestamp(2012, 5, 1).date())
    with pytest.raises(StockcastError, match=r"no model of MSFT: train one with `stockcast forecast MSFT`"):
        stored_model(reader(TRAINED_MODEL.empty(), UNIVERSE_MODEL.empty()), "MSFT")


def test_the_networks_that_a_model_serves_with_are_named():
    row = model_row("MSFT", 2) | {"universe_run_id": "e" * 32, "pinball_ratio_mix": 0.991}
    card = card_of(reader(TRAINED_MODEL.empty(), pd.DataFrame([NETWORKS])), row)
    assert f"version 7, run {'e' * 32}), learnt from 2 tickers up to 2013-01-31: AAPL, MSFT." in card
    assert "their pinball loss is 0.9950 [0.9910, 0.9990] times that of the interval they start from" in card
    assert "| HAR with the market | pinball loss | 0.9910 |" in card
    gone = card_of(reader(TRAINED_MODEL.empty(), UNIVERSE_MODEL.empty()), row)
    assert f"The networks of the MLflow run {'e' * 32}, of which `universe_model` has no row any more." in gone
