"""What a run writes, by names that runs on all machines know: the keys of a ticker, of one kind."""

from collections.abc import Iterable

import dagster as dg

from stockcast_assets.keys import parse_key
from stockcast_assets.orchestration import tags, ticker_space
from stockcast_assets.orchestration.graph import KEY_OF

_WORDS = {"ticker": "the past", "ticker-day": "the days", "ticker-month": "the models"}


def slices(assets: Iterable[str], tickers: Iterable[str]) -> list[str]:
    """The slices of these assets and tickers; a table without keys is written by one step at a time, not by one run."""
    kinds = sorted({KEY_OF[asset] for asset in assets if asset in KEY_OF})
    return [f"{_WORDS[kind]} of {ticker}" for kind in kinds for ticker in tickers]


def slices_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, pools: Iterable[str]) -> list[str]:
    """The slices that a run writes. Its pools are its assets."""
    start, end = (run.tags.get(tag) or run.tags.get(tags.PARTITION) for tag in (tags.RANGE_START, tags.RANGE_END))
    if not start or not end:
        return []
    space = ticker_space.read(instance)
    first, last = parse_key(start).ticker, parse_key(end).ticker
    return slices(pools, ticker_space.between(list(space.tickers), first, last, space.places))
