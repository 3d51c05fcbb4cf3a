"""Earnings reports: when the next one is expected, and how much wider the interval is around it.

Prices move most when results come out (Beaver, 1968). Companies report at nearly the same time each year, so the date
is roughly known long before. Weekdays stand for sessions: a holiday more or less is nothing beside the uncertainty of
the date, and whether the bars of those days are there already makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.models.volatility import steps as session_steps
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 20
"""Sessions before and after a report in which it is felt."""

FAR = REACH + 1
"""The offset of a session without a report in reach."""

_YEAR = 364
"""Days, 52 weeks: last year's report on the same weekday."""

_OVERDUE = 15
"""Days for which an expected report that has not come is expected on the next; then no more."""

_SAME_REPORT = 45
"""Days: a report so close before an expected one is the one that was expected."""

_LAST_YEAR = 6
"""Reports that may have been last year's."""

_ENOUGH = 4
"""Reports below which none is expected."""

_LARGEST = 9.0
"""Median moves that a larger one counts as, so that one crash is no pattern."""

_PRIOR_SESSIONS = 15.0
"""Sessions of the pooled factor that a ticker's own past is averaged with."""

_BANDWIDTH = 1.5
"""Weekdays by which expected dates are off."""

Days: TypeAlias = "NDArray[np.datetime64]"
Offsets: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True)
class Reports:
    """The earnings reports of one ticker.

    Attributes:
        sessions: [k] datetime64[D], ascending: the weekday on which the price answers.
        known: [k] datetime64[D]: the day at whose end the report is known.
    """

    sessions: Days
    known: Days

    @classmethod
    def none(cls) -> Reports:
        return cls(np.empty(0, "datetime64[D]"), np.empty(0, "datetime64[D]"))


def reports(days: Days, hours: NDArray[np.str_] | None = None) -> Reports:
    """Reports on `days` [k], in any order, twice named ones once.

    With an hour, the answering session is known: the day itself before the open, the next weekday after the close,
    and at the end of the day the report is known. Without one it may be either, and it is known a day later.

    Args:
        days: datetime64[D].
        hours: "before open", "after close" or "" for each.
    """
    hours = np.full(len(days), "") if hours is None else hours
    after = hours == "after close"
    sessions = np.busday_offset(days, after.astype(np.int64), roll="forward")
    known = days + np.where(hours == "", 1, 0).astype("timedelta64[D]")
    sessions, first = np.unique(sessions, return_index=True)
    return Reports(sessions, np.maximum.accumulate(known[first]) if len(first) else known[first])


def ahead(days: Days) -> Days:
    """[n, HORIZON] the weekdays that stand for the next sessions of each day."""
    return np.busday_offset(days[:, None], np.arange(1, HORIZON + 1), roll="backward")


def offsets(days: Days, of: Reports) -> Offsets:
    """[n, HORIZON] weekdays from the nearest report to the session h after each day, as known at the day's end.

    Past reports count where they were; a coming one is expected 52 weeks after last year's. Negative before a report;
    FAR or -FAR without one in reach.
    """
    found = np.full((len(days), HORIZON), FAR, np.int64)
    coming = ahead(days)
    known = np.searchsorted(of.known, days, side="right")
    for count in np.unique(known[known >= _ENOUGH]):
        rows = np.flatnonzero(known == count)
        nearest = np.stack([*_last_two(of.sessions[:count], len(rows)), *_expected(of.sessions[:count], days[rows])])
        apart = np.busday_count(nearest[:, :, None], coming[rows])
        best = np.abs(apart).argmin(axis=0)
        found[rows] = np.take_along_axis(apart, best[None], axis=0)[0]
    return np.clip(found, -FAR, FAR)


def _last_two(past: Days, n: int) -> list[Days]:
    return [np.repeat(past[-1:], n), np.repeat(past[-2:-1], n)]


def _expected(past: Days, days: Days) -> list[Days]:
    """The expected reports, each [n]: moved on while overdue, far away once given up."""
    candidates = past[-_LAST_YEAR:] + _YEAR
    due = [one for one in candidates if one > past[-1] and not (past > one - _SAME_REPORT).any()]
    tomorrow = np.busday_offset(days, 1, roll="backward")
    never = np.datetime64("2200-01-01", "D")
    return [np.where(one > days, one, np.where(one > days - _OVERDUE, tomorrow, never)) for one in due]


@dataclass(frozen=True)
class EventFactor:
    """Variance around a report over the usual one: `by_offset` [2 FAR + 1], for offsets -FAR..FAR."""

    by_offset: Floats

    def mean(self, of: Offsets) -> Floats:
        """[n, HORIZON] mean factor of the next h sessions, from their `offsets`."""
        return np.cumsum(self.by_offset[of + FAR], axis=1) / session_steps()


def fit_event_factors(moves: Mapping[str, Floats], of: Mapping[str, Offsets]) -> tuple[dict[str, EventFactor], Floats]:
    """Each ticker's factor, its own past shrunk to the factor of all, and the factor of all.

    Args:
        moves: per ticker [n] absolute next-session returns in units of a sigma that knows no reports.
        of: per ticker [n] offset of that session.
    """
    sums = {ticker: _smoothed(values, of[ticker]) for ticker, values in moves.items()}
    total = np.sum([one[0] for one in sums.values()], axis=0)
    count = np.sum([one[1] for one in sums.values()], axis=0)
    pooled = np.where(count > 0, total / np.maximum(count, 1e-9), 1.0)
    return {ticker: shrunk(*one, pooled) for ticker, one in sums.items()}, pooled


def own_factor(moves: Floats, of: Offsets, pooled: Floats) -> EventFactor:
    """The factor of a ticker from its own past and the pooled one."""
    return shrunk(*_smoothed(moves, of), pooled)


def shrunk(total: Floats, count: Floats, pooled: Floats) -> EventFactor:
    """A mean that counts the pooled one as so many sessions."""
    return EventFactor((total + _PRIOR_SESSIONS * pooled) / (count + _PRIOR_SESSIONS))


def _smoothed(moves: Floats, of: Offsets) -> tuple[Floats, Floats]:
    """Kernel sums of squared moves over their mean, and of their numbers, by offset."""
    width = 2 * FAR + 1
    median = np.median(moves)
    if median == 0 or (np.abs(of) == FAR).all():
        return np.zeros(width), np.zeros(width)
    squares = np.minimum(moves / median, _LARGEST) ** 2
    total = np.bincount(of + FAR, weights=squares / squares.mean(), minlength=width)
    count = np.bincount(of + FAR, minlength=width).astype(np.float64)
    place = np.arange(width)
    kernel = np.exp(-0.5 * ((place[:, None] - place) / _BANDWIDTH) ** 2)
    return kernel @ total, kernel @ count
