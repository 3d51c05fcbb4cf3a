"""What a run writes, by names that runs on all machines know: the keys of a ticker, of one kind; networks of all."""

from collections.abc import Iterable

import dagster as dg

from stockcast_assets.keys import parse_key
from stockcast_assets.orchestration import tags, ticker_space
from stockcast_assets.orchestration.graph import KEY_OF
from stockcast_assets.tables import UNIVERSE_MODEL

_WORDS = {"ticker": "the past", "ticker-day": "the days", "ticker-month": "the models"}
_NETWORKS = "the networks of all tickers"


def slices(assets: Iterable[str], tickers: Iterable[str]) -> list[str]:
    """The slices of these assets and tickers. The market's days are written by one step at a time, not by one run."""
    kinds = {KEY_OF[asset] for asset in assets if asset in KEY_OF}
    named = [f"{_WORDS[kind]} of {ticker}" for kind in sorted(kinds & _WORDS.keys()) for ticker in tickers]
    return [*named, _NETWORKS] if KEY_OF[UNIVERSE_MODEL.name] in kinds else named


def slices_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, pools: Iterable[str]) -> list[str]:
    """The slices that a run writes. Its pools are its assets."""
    start, end = (run.tags.get(tag) or run.tags.get(tags.PARTITION) for tag in (tags.RANGE_START, tags.RANGE_END))
    assets = list(pools)
    if not start or not end or not any(KEY_OF.get(asset) in _WORDS for asset in assets):
        return slices(assets, ())
    space = ticker_space.read(instance)
    first, last = parse_key(start).ticker, parse_key(end).ticker
    return slices(assets, ticker_space.between(list(space.tickers), first, last, space.places))
