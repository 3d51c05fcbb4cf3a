"""Asking Dagster for exact sets of keys with as few runs as possible.

A single run covers the product of a range of tickers and a range of dates, and Dagster's ticker ranges follow
insertion order. So a set of tickers becomes one range per stretch of neighbours: never a bounding rectangle,
which would select keys nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import pairwise

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.keys import partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.ticker_space import enrol

TickerRange = tuple[str, str]


def known_tickers(instance: dg.DagsterInstance) -> list[str]:
    """The ticker partitions, in insertion order."""
    return list(instance.get_dynamic_partitions(str(ticker_partitions.name)))


def add_tickers(instance: dg.DagsterInstance, tickers: Iterable[str]) -> list[str]:
    """Add the tickers that are not partitions yet; returns those."""
    present = set(known_tickers(instance))
    new = [ticker for ticker in tickers if ticker not in present]
    if new:
        instance.add_dynamic_partitions(str(ticker_partitions.name), new)
        enrol(instance, utc_now())
    return new


def remove_tickers(instance: dg.DagsterInstance, tickers: Iterable[str]) -> None:
    """Take tickers out of the partitions; what is stored of them stays."""
    for ticker in tickers:
        instance.delete_dynamic_partition(str(ticker_partitions.name), ticker)
    enrol(instance, utc_now())


def ticker_ranges(known: Sequence[str], wanted: Iterable[str]) -> list[TickerRange]:
    """Stretches of neighbouring partitions (in insertion order) that together are exactly `wanted`."""
    asked = set(wanted)
    ranges: list[list[str]] = []
    previous_asked = False
    for ticker in known:
        if ticker in asked:
            if previous_asked:
                ranges[-1][1] = ticker
            else:
                ranges.append([ticker, ticker])
        previous_asked = ticker in asked
    return [(first, last) for first, last in ranges]


def shards(known: Sequence[str], wanted: Iterable[str], most: int) -> list[tuple[str, ...]]:
    """The stretches of `wanted` as a run each may make them: of at most `most` tickers, and of about as many each."""
    cut = []
    for first, last in ticker_ranges(known, wanted):
        tickers = known[known.index(first) : known.index(last) + 1]
        parts = -(-len(tickers) // most)
        bounds = [len(tickers) * part // parts for part in range(parts + 1)]
        cut += [tuple(tickers[start:end]) for start, end in pairwise(bounds)]
    return cut


def range_tags(tickers: TickerRange | None, first: date | None = None, last: date | None = None) -> Mapping[str, str]:
    """Run tags for a range of tickers, and of days if given; without tickers, for the days of an asset of all."""
    if tickers is None:
        return {tags.RANGE_START: f"{first}", tags.RANGE_END: f"{last}"}
    start, end = tickers
    if first is not None and last is not None:
        start, end = partition_key(start, first), partition_key(end, last)
    return {tags.RANGE_START: start, tags.RANGE_END: end}


def stretches(
    days: Iterable[pd.Timestamp], adjacent: Callable[[pd.Timestamp, pd.Timestamp], bool]
) -> Iterator[tuple[date, date]]:
    """(first, last) of each maximal series of days in which every day is adjacent to the one before."""
    series: list[pd.Timestamp] = []
    for day in sorted(days):
        if series and not adjacent(series[-1], day):
            yield series[0].date(), series[-1].date()
            series = []
        series.append(day)
    if series:
        yield series[0].date(), series[-1].date()


def session_stretches(ticker: str, days: Iterable[pd.Timestamp]) -> Iterator[tuple[date, date]]:
    """Stretches of days without a session of the ticker's calendar missing between them."""
    calendar = calendars.calendar_for(ticker)
    return stretches(days, lambda earlier, later: len(calendars.sessions(calendar, earlier, later)) <= 2)


def month_stretches(months: Iterable[pd.Timestamp]) -> Iterator[tuple[date, date]]:
    """Stretches of months without one missing between them."""
    return stretches(months, lambda earlier, later: later == earlier + pd.offsets.MonthBegin(1))
