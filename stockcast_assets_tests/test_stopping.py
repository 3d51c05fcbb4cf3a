"""Signals in the process that gets them: none is lost, wherever it stands."""

import signal
import sys
import time

import pytest

from stockcast_assets.stopping import SIGNALS, Stopped, stoppable


class StoppedInItsFinaliser:
    """An object at whose end a signal comes; Python throws away what is raised there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)
        time.sleep(0)


def test_a_signal_that_comes_in_a_finaliser_is_obeyed_after_it() -> None:
    hook, handlers = sys.unraisablehook, [signal.getsignal(number) for number in SIGNALS]
    passed = []

    def work() -> None:
        with stoppable():
            thing = StoppedInItsFinaliser(signal.SIGTERM)
            del thing
            passed.append("the finaliser")
            time.sleep(5)
            passed.append("all of it")

    with pytest.raises(Stopped) as stopped:
        work()
    assert passed == ["the finaliser"]
    assert stopped.value.code == 143
    assert sys.unraisablehook is hook
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
