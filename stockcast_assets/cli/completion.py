"""What the shell completes: the tickers of the home.

A shell asks at every press of the tab key and takes whatever is printed for an answer. So nothing is imported that
takes long, nothing is written, and where something is wrong there is no answer instead of a sentence.
"""

import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import suppress

from stockcast_assets.errors import StockcastError

__all__ = ["ticker", "ticker_list"]


def ticker(incomplete: str) -> list[str]:
    """The tickers that begin so, sorted."""
    return sorted(name for name in _tickers() if name.startswith(incomplete))


def ticker_list(incomplete: str) -> list[str]:
    """The comma-separated list so far, with each ticker that the last word may become and that is not in it."""
    *said, last = incomplete.split(",")
    before = "".join(f"{name}," for name in said)
    return [before + name for name in ticker(last) if name not in said]


def _tickers() -> set[str]:
    found = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A shell has no place for what is wrong: the command itself will say it.
        with suppress(StockcastError, sqlite3.Error):
            for name in _known():
                found.add(name)  # those of the settings, though the home should have none
    return found


def _known() -> Iterator[str]:
    from stockcast_assets.dagster_private.partitions_table import dynamic_partitions
    from stockcast_assets.keys import TICKER_DIMENSION
    from stockcast_assets.settings import load_settings

    settings = load_settings()
    home = os.environ.get("DAGSTER_HOME") or settings.dagster_home
    yield from settings.tickers
    yield from dynamic_partitions(home, TICKER_DIMENSION)
