"""The Python API: every example in its docstrings, the notebook, and frames as people have them."""

import doctest
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbclient import NotebookClient

from stockcast_assets import api
from stockcast_assets.errors import StockcastError
from stockcast_assets_tests.forecasting.conftest import made_up_bars

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_every_public_name_has_an_example_that_runs(home, monkeypatch):
    examples = doctest.DocTestFinder(recurse=True).find(api, extraglobs={"api": api, "home": api.open_home(home)})
    with_examples = {one.name.removeprefix("stockcast_assets.api").lstrip(".") for one in examples if one.examples}
    methods = {f"Home.{name}" for name in vars(api.Home) if not name.startswith("_") and callable(vars(api.Home)[name])}
    assert methods | {name for name in api.__all__ if name != "Home"} <= with_examples
    said: list[str] = []
    runner = doctest.DocTestRunner()
    for one in examples:
        runner.run(one, out=said.append)
    assert not said, "".join(said)


def test_the_notebook_runs(home):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    done = NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in shown if output.output_type == "stream"] == [], "warnings"
    assert len(shown) == 6


def test_a_home_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path / "elsewhere"))
    for path in (None, tmp_path / "nowhere"):
        with pytest.raises(StockcastError, match=r"There is no home at .*stockcast demo"):
            api.open_home(path)
    assert list(tmp_path.iterdir()) == []


BARS = made_up_bars(400).drop(columns="adj_close")
FORECAST = api.forecast(BARS)


@settings(deadline=None, max_examples=25)
@given(
    order=st.permutations(range(len(BARS.columns))),
    rows=st.randoms(),
    spell=st.sampled_from([str.title, str.upper, lambda name: f" {name} "]),
    indexed=st.booleans(),
    zone=st.sampled_from([None, "America/New_York", "UTC"]),
)
def test_the_forecast_does_not_depend_on_how_a_frame_is_written(order, rows, spell, indexed, zone):
    frame = BARS[[BARS.columns[at] for at in order]].drop(columns="ticker")
    shuffled = list(range(len(frame)))
    rows.shuffle(shuffled)
    frame = frame.iloc[shuffled].assign(date=lambda own: own["date"].dt.tz_localize(zone)).rename(columns=spell)
    given_as = frame.set_index(spell("date")) if indexed else frame
    pd.testing.assert_frame_equal(api.forecast(given_as, "FAKE"), FORECAST)


@pytest.mark.parametrize(
    ("bars", "ticker", "says"),
    [
        (BARS.drop(columns=["low", "volume"]), None, "lack low, volume"),
        (BARS.iloc[:0], None, "The bars are none"),
        (BARS.drop(columns="ticker"), None, "have no column ticker: name"),
        (BARS, "MSFT", "are of FAKE, not of MSFT"),
        (pd.concat([BARS, BARS.tail(1)]), None, "have 2013-03-01 twice"),
        (BARS.assign(close="high"), None, "cannot be read"),
        (BARS.assign(close=np.nan), None, "not a positive"),
        (BARS.tail(15), None, "needs at least 21"),
    ],
)
def test_what_is_wrong_with_a_frame_is_one_sentence(bars, ticker, says):
    with pytest.raises(StockcastError, match=says):
        api.forecast(bars, ticker)


def test_a_forecast_of_ones_own_bars_is_the_baseline_that_is_published():
    scores = api.evaluate(BARS.assign(ticker="FAKE"), "2013-01-02", "2013-02-01")
    assert scores["pinball"].is_monotonic_increasing
    assert scores.set_index("contender").loc["random_walk", "pinball_ratio_rw"] == 1
