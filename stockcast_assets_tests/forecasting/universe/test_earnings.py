"""When the next report is expected, and what is known of it at the end of a day."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.universe.earnings import (
    FAR,
    WIDTH,
    EventFactor,
    Reports,
    fit_event_factors,
    next_report,
    offsets,
    offsets_of_many,
    plain,
    reports,
    reports_of,
    settled_offsets,
)
from stockcast_assets.market.earnings import AFTER_CLOSE, ANNOUNCED, BEFORE_OPEN, EXPECTED, FILED, NO_HOUR
from stockcast_assets_tests.market.test_earnings import statements

DAYS = np.arange("2010-01-04", "2013-01-01", dtype="datetime64[D]")
WEEKDAYS = DAYS[np.is_busday(DAYS)]
QUARTERS = np.array(
    ["2010-01-20", "2010-04-21", "2010-07-21", "2010-10-20", "2011-01-19", "2011-04-20"], "datetime64[D]"
)


def at(day: str, of: np.ndarray, hours: np.ndarray | None = None) -> list[int]:
    return offsets(np.array([day], "datetime64[D]"), reports(of, hours))[0].tolist()


def test_a_report_is_expected_a_year_after_the_last_ones() -> None:
    # 52 weeks after 2010-07-21 is Wednesday, 2011-07-20; ten weekdays before it is 2011-07-06.
    assert at("2011-07-06", QUARTERS) == list(range(-9, 1))
    assert at("2011-07-19", QUARTERS)[:3] == [0, 1, 2]


def test_an_overdue_report_moves_on_and_is_given_up_in_the_end() -> None:
    assert at("2011-07-25", QUARTERS)[:2] == [0, 1]
    assert abs(at("2011-08-05", QUARTERS)[0]) == FAR


def test_a_report_that_came_early_is_not_expected_again() -> None:
    early = np.append(QUARTERS, np.datetime64("2011-07-12"))
    assert at("2011-07-19", early)[0] == 6


def test_without_a_year_of_reports_none_is_expected() -> None:
    assert set(at("2011-01-18", QUARTERS[:3])) == {FAR}
    assert set(at("2011-01-18", QUARTERS[:0])) == {FAR}


def test_a_report_without_hour_is_known_a_day_later_and_one_with_an_hour_at_the_end_of_its_day() -> None:
    day = str(QUARTERS[-1])
    unknown, before, after = (np.full(len(QUARTERS), hour) for hour in ("", "before open", "after close"))
    # The day itself was expected, and for all that is known it has not come: it moves on.
    assert at(day, QUARTERS, unknown)[0] == 0
    assert at(day, QUARTERS, before)[0] == 1
    # What comes after the close is answered by the next session.
    assert at(day, QUARTERS, after)[0] == 0
    assert at(str(QUARTERS[-1] + 1), QUARTERS, after)[0] == 1


@given(st.lists(st.integers(0, len(DAYS) - 1), max_size=20), st.integers(0, len(WEEKDAYS) - 1), st.data())
def test_reports_after_a_day_change_nothing_on_it(places: list[int], cut: int, data: st.DataObject) -> None:
    days = np.unique(DAYS[places])
    hours = np.array(data.draw(st.lists(st.sampled_from(("", "before open", "after close")),
                                        min_size=len(days), max_size=len(days))), str)  # fmt: skip
    seen = WEEKDAYS[: cut + 1]
    known = days <= seen[-1]
    everything = offsets(seen, reports(days, hours if len(days) else None))
    assert everything.shape == (len(seen), HORIZON)
    assert (everything == offsets(seen, reports(days[known], hours[known] if known.any() else None))).all()
    # A day alone gives what it gives in a range.
    assert (everything[-1] == offsets(seen[-1:], reports(days, hours if len(days) else None))[0]).all()


def test_the_factor_finds_the_session_that_moves_and_leaves_the_level() -> None:
    generator = np.random.default_rng(0)
    of = generator.integers(-FAR, FAR + 1, 20_000)
    moves = np.abs(generator.normal(size=len(of))) * np.where(of == 0, 3.0, 1.0)
    factors, pooled = fit_event_factors(
        {"A": moves, "B": np.abs(generator.normal(size=50))}, {"A": of, "B": of[:50]}, {"A": of, "B": of[:50]}
    )
    assert pooled[:WIDTH].argmax() == pooled[WIDTH:].argmax() == FAR
    # What is known to the day is smoothed by less.
    assert pooled[WIDTH + FAR] > pooled[FAR]
    assert 2 < pooled[FAR] < 9
    assert np.allclose(pooled[: FAR - 8], 1, atol=0.35)
    # A ticker with a short past says what all say.
    assert np.allclose(factors["B"].by_offset, pooled, rtol=0.6)


def test_the_mean_factor_of_a_horizon_is_that_of_its_sessions() -> None:
    by_offset = np.ones(2 * FAR + 1)
    by_offset[FAR] = 5.0
    mean = EventFactor(by_offset).mean(np.arange(-2, HORIZON - 2)[None])
    assert mean[0, :4] == pytest.approx([1, 1, (1 + 1 + 5) / 3, (1 + 1 + 5 + 1) / 4])


def filed(*days: str) -> list[tuple[str, str, str, str, bool]]:
    return [(day, AFTER_CLOSE, FILED, day, False) for day in days]


PAST = filed("2010-01-20", "2010-04-21", "2010-07-21", "2010-10-20", "2011-01-19", "2011-04-20")


def told(on: str, *said: tuple[str, str, str, str, bool]) -> list[int]:
    of = reports_of(statements(*PAST, *said))["A"]
    return offsets(np.array([on], "datetime64[D]"), of)[0].tolist()


def test_an_announced_report_is_where_it_was_announced_once_that_is_known() -> None:
    announced = ("2011-07-26", BEFORE_OPEN, ANNOUNCED, "2011-07-08", False)
    # Until then it is expected 52 weeks after last year's, which came after the close of Wednesday.
    assert told("2011-07-07", announced) == told("2011-07-07") == list(range(-9, 1))
    assert told("2011-07-08", announced) == [WIDTH + offset for offset in range(-11, -1)]
    assert told("2011-07-25", announced)[:2] == [WIDTH, WIDTH + 1]


def test_a_moved_report_is_where_it_was_before_until_the_move_is_known() -> None:
    moved = [
        ("2011-07-26", BEFORE_OPEN, ANNOUNCED, "2011-07-08", False),
        ("2011-07-26", BEFORE_OPEN, ANNOUNCED, "2011-07-20", True),
        ("2011-07-28", BEFORE_OPEN, ANNOUNCED, "2011-07-20", False),
    ]
    assert told("2011-07-19", *moved)[4:6] == [WIDTH - 0, WIDTH + 1]
    assert told("2011-07-20", *moved)[5:7] == [WIDTH, WIDTH + 1]
    # One that is cancelled and not set again is expected as if nothing had been said.
    assert told("2011-07-20", *moved[:2]) == told("2011-07-20")


def test_an_estimate_of_the_source_stands_for_ours_and_is_no_more_sure() -> None:
    estimate = ("2011-07-26", NO_HOUR, EXPECTED, "2011-06-01", False)
    assert told("2011-07-08", estimate) == list(range(-11, -1))


def test_what_came_is_counted_from_where_it_came_and_not_from_where_it_was_announced() -> None:
    announced = ("2011-07-26", BEFORE_OPEN, ANNOUNCED, "2011-07-08", False)
    late = ("2011-07-26", BEFORE_OPEN, ANNOUNCED, "2011-07-27", True), *filed("2011-07-28")
    assert told("2011-08-01", announced, *late)[0] == 2
    assert plain(np.array(told("2011-07-27", announced)))[0] == 2


def test_the_next_report_is_said_with_what_it_rests_on() -> None:
    announced = ("2011-07-26", BEFORE_OPEN, ANNOUNCED, "2011-07-08", False)
    said = statements(*PAST, announced)
    assert next_report(said, np.datetime64("2011-07-08")) == (np.datetime64("2011-07-26"), BEFORE_OPEN, ANNOUNCED)
    assert next_report(said, np.datetime64("2011-07-07")) == (np.datetime64("2011-07-20"), NO_HOUR, EXPECTED)
    assert next_report(statements(*PAST[:2]), np.datetime64("2010-07-07")) is None
    assert next_report(said.iloc[:0], np.datetime64("2010-07-07")) is None


DAY = st.dates(pd.Timestamp("2010-01-01").date(), pd.Timestamp("2012-12-31").date()).map(str)
SAID = st.tuples(
    DAY,
    st.sampled_from((BEFORE_OPEN, AFTER_CLOSE, NO_HOUR)),
    st.sampled_from((ANNOUNCED, EXPECTED)),
    DAY,
    st.booleans(),
)


@settings(max_examples=30)
@given(st.lists(SAID, max_size=12, unique_by=lambda one: (one[0], one[3])), st.sampled_from(WEEKDAYS), st.randoms())
def test_what_is_said_after_a_day_changes_nothing_on_it(said: list, day: np.datetime64, random: object) -> None:
    rows = [*PAST, *said]
    before = [row for row in rows if np.datetime64(row[3]) <= day]
    random.shuffle(rows)
    of = [reports_of(statements(*some)).get("A", Reports.none()) for some in (rows, before)]
    seen = WEEKDAYS[np.abs(day - WEEKDAYS - 45) <= 45]
    everything, cut = (offsets(seen, one) for one in of)
    assert (everything == cut).all()
    assert (offsets(seen[-1:], of[0])[0] == everything[-1]).all()
    assert (settled_offsets(seen, of[0], day) == settled_offsets(seen, of[1], day)).all()


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.lists(SAID, max_size=12, unique_by=lambda one: (one[0], one[3])),
            st.integers(0, len(PAST)), st.integers(0, len(WEEKDAYS)), st.integers(0, 90),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_tickers_together_have_the_offsets_of_each_alone(tickers: list[tuple[list, int, int, int]]) -> None:
    days, of = [], []
    for said, past, first, length in tickers:
        rows = [*PAST[:past], *said]
        days.append(WEEKDAYS[first : first + length])
        of.append(reports_of(statements(*rows))["A"] if rows else Reports.none())
    together = offsets_of_many(days, of)
    assert np.array_equal(together, np.concatenate([offsets(*one) for one in zip(days, of, strict=True)]))
    assert together.shape == (sum(map(len, days)), HORIZON)
