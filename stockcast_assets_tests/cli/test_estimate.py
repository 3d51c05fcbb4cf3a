"""What a command says beforehand of the time that it takes."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.cli import terminal
from stockcast_assets.cli.estimate import slowness
from stockcast_assets.cli.terminal import Terminal, Ticking


@pytest.mark.parametrize(
    ("cores", "load", "times"),
    [(2, 0.0, 1.0), (1, 0.0, 2.0), (2, 2.0, 2.0), (2, 6.0, 4.0), (16, 1.0, 1.0), (16, 30.0, 2.0), (1, 1.0, 4.0)],
)
def test_work_takes_longer_where_cores_are_few_or_taken(cores: int, load: float, times: float) -> None:
    assert slowness(cores, load) == times


@given(cores=st.integers(1, 256), load=st.floats(0, 1000))
def test_an_estimate_never_promises_more_than_two_idle_cores_hold_and_grows_with_the_load(
    cores: int, load: float
) -> None:
    assert 1 <= slowness(cores, load) <= slowness(cores, load + 1) + 1e-9
    assert slowness(cores + 1, load) <= slowness(cores, load)


def test_a_status_says_for_how_long_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.time, "monotonic", lambda: 142.4)
    shown = io.StringIO()
    Terminal(file=shown).print(Ticking("trained_model: AAPL …", 100.0))
    assert shown.getvalue() == "trained_model: AAPL … 42 s\n"
