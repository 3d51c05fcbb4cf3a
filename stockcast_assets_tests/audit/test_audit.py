"""`stockcast audit` finds every planted leak, and nothing where nothing is."""

import json
from datetime import date
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.audit import mine, own, platform, worlds
from stockcast_assets.audit.compare import FAILS, ROWS, moved
from stockcast_assets.errors import StockcastError
from stockcast_assets.market.earnings import told
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.tables import EARNINGS_DATES
from stockcast_assets_tests.audit import planted

PLANTED = planted.__name__


@pytest.fixture(scope="module")
def world():
    """Three years of three tickers, of which one is listed within them."""
    source, last = SampleSource(), date(2006, 12, 29)
    tickers = ("AAPL", "GOOG", "MSFT")
    bars = [source.bars(each, date(2003, 6, 2), last) for each in tickers]
    reports = [
        told(EARNINGS_DATES.empty(), source.earnings(each), pd.Timestamp(last, tz="UTC")).rows for each in tickers
    ]
    return worlds.world_of(*worlds.bars_and_reports(bars, reports))


@pytest.fixture(scope="module")
def days(world):
    return worlds.cuts(world, 4)


@pytest.mark.parametrize("leak", planted.LEAKS, ids=lambda leak: leak.__name__)
def test_a_planted_leak_is_found(world, days, leak, monkeypatch):
    monkeypatch.setattr(planted, "LAST", world.bars["date"].max())
    subject = mine.load(f"{PLANTED}:{leak.__name__}")
    found = next(each for each in mine.examine(subject, world, days) if each)
    assert all(each.day <= each.cut for each in found)
    assert {each.column for each in found} != {ROWS}


@pytest.mark.parametrize("honest", planted.HONEST, ids=lambda honest: honest.__name__)
def test_nothing_is_found_where_nothing_is(world, days, honest):
    subject = mine.load(f"{PLANTED}:{honest.__name__}")
    assert [each for found in mine.examine(subject, world, days[::3]) for each in found] == []


@pytest.mark.parametrize("name", own.NAMES)
def test_what_stockcast_computes_knows_no_future(name):
    bars = [SampleSource().bars(each, None, date(2005, 12, 30)) for each in ("AAPL", "MSFT")]
    world = worlds.world_of(*worlds.bars_and_reports(bars, []))
    subject, days = own.subjects()[name], worlds.cuts(world, 2)
    assert [each for found in mine.examine(subject, world, days[-1::-8]) for each in found] == []


def test_stored_indicators_and_the_markets_days_know_no_future():
    """The other assets, which train, are audited by `stockcast audit`, in minutes."""
    source, last = SampleSource(), date(2006, 12, 29)
    bars = [source.bars(each, date(2005, 6, 1), last) for each in ("AAPL", "MSFT")]
    world = worlds.world_of(*worlds.bars_and_reports(bars, []))
    tried = dict(islice(platform.examine(world, ["raw_prices", "indicators"]), 4))
    assert set(tried) == {
        platform.AS_IT_IS,
        "bars end at the cut",
        "later bars are others",
        "later bars come a session early",
    }
    assert [each for of_world in tried.values() for found in of_world.values() for each in found] == []


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(30, 700))
def test_worlds_are_alike_up_to_the_cut(seed, place):
    world = _random_world(seed)
    cut = pd.Timestamp(np.sort(world.bars["date"].unique())[place % world.bars["date"].nunique()])
    titles = []
    for name in worlds.INPUTS:
        for attack, other in worlds.attacks(world, cut, {name}, seed):
            titles.append(attack)
            for each in worlds.INPUTS:
                mine_, theirs = getattr(world, each), getattr(other, each)
                assert each == name or mine_ is theirs
                known = "known_on" if "known_on" in mine_ else "date"
                skip = ["adj_close"] if attack == worlds.RESTATED and each == "bars" else []
                before = (frame[frame[known] <= cut].drop(columns=skip) for frame in (mine_, theirs))
                pd.testing.assert_frame_equal(
                    *(frame.reset_index(drop=True) for frame in before),
                    obj=f"{each} of the world in which {attack}",
                )
    assert titles == [attack for attack, _ in worlds.attacks(world, cut, seed=seed)]


def _random_world(seed):
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2010-01-04", periods=300)
    frames = []
    for number, ticker in enumerate(("AAA", "BBB", "CCC")):
        own_days = days[rng.integers(0, 100) * (number > 0) :]
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, len(own_days))))
        frames.append(
            pd.DataFrame(
                {
                    "ticker": ticker,
                    "date": own_days,
                    "open": close,
                    "high": close * 1.01,
                    "low": close * 0.99,
                    "close": close,
                    "adj_close": close,
                    "volume": rng.integers(1, 1000, len(own_days)),
                    "dividend": 0.0,
                    "split_ratio": 1.0,
                    "source": "csv",
                    "ingested_at": pd.Timestamp("2020-01-01", tz="UTC"),
                }
            )
        )
    return worlds.world_of(*worlds.bars_and_reports(frames, []), seed=seed)


def test_values_are_compared_to_the_last_bit():
    days = pd.bdate_range("2020-01-01", periods=3)
    frame = pd.DataFrame({"date": days, "value": [1.0, np.nan, 0.0], "name": ["a", None, "c"]})
    assert moved(frame, frame.copy(), days[-1], "") == []
    for place, value in ((0, np.nextafter(1.0, 2)), (1, 0.0), (2, -0.0)):
        other = frame.copy()
        other.loc[place, "value"] = value
        assert [(each.column, each.day) for each in moved(frame, other, days[-1], "")] == [("value", days[place])]
        assert moved(frame, other, days[place] - pd.Timedelta(days=1), "") == []
    assert moved(frame, frame.iloc[1:], days[-1], "")[0].column == ROWS


def test_the_command_names_column_and_day_and_its_status_is_one(tmp_path, run):
    (tmp_path / "features.py").write_text(
        "def honest(bars):\n    return bars.groupby('ticker')['close'].transform(lambda c: c.rolling(3).mean())\n\n"
        "def leaky(prices):\n    return prices.assign(next=prices.groupby('ticker')['close'].shift(-1))\n"
    )
    clean = run("audit", "--mine", "features.py:honest", "--cuts", "1", "-q")
    assert (clean.status, clean.err) == (0, "")
    assert "No bit moved of features.py:honest" in clean.out
    found = run("audit", "--mine", "features.py:leaky", "--cuts", "1", "--json")
    assert found.status == 1
    document = json.loads(found.out)
    assert document["clean"] is False
    moved = {each["column"]: each for each in document["subjects"][0]["moved"]}
    # A provider tells its adjusted closes anew: who hands them on hands on what came later.
    assert set(moved) == {"next", "adj_close"}
    assert moved["next"]["first_day"] <= moved["next"]["cut"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(bars):\n    return 1", "return a frame or series"),
        ("def f(bars):\n    return bars['price']", "fails on the data as it is: KeyError"),
        (
            "def f(bars):\n    return bars[['close']].reset_index(drop=True).head(3).set_axis(list('abc'))",
            "without a day",
        ),
        ("def f(a, b):\n    return a", "asks for a, b"),
        ("def f():\n    return 1", "asks for nothing"),
        ("import numpy\ndef f(bars):\n    return bars['close'] * numpy.random.rand()", "seed its random numbers"),
        ("f = 3", "is no function"),
        ("import nothing_there", "cannot be imported"),
        ("def g(bars):\n    return bars", "has no function 'f': it has g"),
        ("class f:\n    pass", "has no method `predict`"),
    ],
)
def test_what_cannot_be_audited_is_a_sentence(tmp_path, world, code, said):
    (tmp_path / "odd.py").write_text(code)
    with pytest.raises(StockcastError, match=said):
        list(mine.examine(mine.load("odd.py:f"), world, worlds.cuts(world, 1)[:1]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mine", "nowhere.py:f"], "There is no file"),
        (["--mine", "nowhere_at_all:f"], "There is no module"),
        (["--mine", "f"], "names no function"),
        (["--asset", "prices"], "There is no asset 'prices' to audit"),
        (["--earnings", "reports.csv"], "--earnings goes with --bars"),
    ],
)
def test_a_wrong_word_is_a_sentence(run, arguments, said):
    ended = run("audit", *arguments)
    assert ended.status == 1
    assert said in " ".join(ended.err.split())


def test_a_function_that_fails_without_the_future_is_found(world, days, monkeypatch):
    monkeypatch.setattr(planted, "LAST", world.bars["date"].max())
    found = next(mine.examine(mine.load(f"{PLANTED}:needs_what_comes"), world, days[:1]))
    assert FAILS in {each.column for each in found}
