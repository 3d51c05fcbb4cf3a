"""Matplotlib as it comes, whatever lies where one stands."""

from functools import cache
from threading import Lock

_once = Lock()


def own_style() -> None:
    """Let this process draw by matplotlib's own defaults.

    Matplotlib reads a `matplotlibrc` of the current folder, which may have it run LaTeX and change every picture.
    """
    # Threads of a run draw side by side: only the first, while no other draws, sets the defaults.
    with _once:
        _set()


@cache
def _set() -> None:
    import matplotlib

    matplotlib.rcdefaults()
