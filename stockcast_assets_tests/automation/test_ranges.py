"""Ranges: few runs, exactly the keys asked for."""

from itertools import pairwise

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.market import calendars
from stockcast_assets.orchestration.planning.ranges import session_stretches, shards, ticker_ranges

NAMES = [f"T{i}" for i in range(8)]


@given(st.permutations(NAMES), st.sets(st.sampled_from(NAMES)))
def test_ticker_ranges_cover_exactly_what_was_asked(known: list[str], asked: set[str]) -> None:
    covered: list[str] = []
    for first, last in ticker_ranges(known, asked):
        covered += known[known.index(first) : known.index(last) + 1]
    assert sorted(covered) == sorted(asked)


@given(st.permutations(NAMES), st.sets(st.sampled_from(NAMES)), st.integers(1, 9))
def test_shards_are_small_neighbours_of_equal_size_and_exactly_what_was_asked(
    known: list[str], asked: set[str], most: int
) -> None:
    cut = shards(known, asked, most)
    assert [ticker for shard in cut for ticker in shard] == [ticker for ticker in known if ticker in asked]
    for shard in cut:
        place = known.index(shard[0])
        assert list(shard) == known[place : place + len(shard)]
        assert len(shard) <= most
    for first, last in ticker_ranges(known, asked):
        sizes = [len(shard) for shard in cut if known.index(first) <= known.index(shard[0]) <= known.index(last)]
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == -(-sum(sizes) // most)


@given(st.sets(st.integers(0, 60)))
def test_stretches_cover_the_sessions_asked_for_and_no_other(picked: set[int]) -> None:
    sessions = calendars.sessions("XNYS", "2012-11-01", "2013-03-01")
    asked = [sessions[i] for i in sorted(picked)]
    stretches = list(session_stretches("AAPL", asked))
    covered = [day for first, last in stretches for day in calendars.sessions("XNYS", first, last)]
    assert covered == asked
    for (_, last), (first, _) in pairwise(stretches):
        assert len(calendars.sessions("XNYS", last, first)) > 2


def test_a_weekend_does_not_part_a_stretch() -> None:
    days = [pd.Timestamp(day) for day in ("2013-02-14", "2013-02-15", "2013-02-19")]
    assert [(str(a), str(b)) for a, b in session_stretches("AAPL", days)] == [("2013-02-14", "2013-02-19")]
    assert len(list(session_stretches("BTC-USD", days))) == 2
