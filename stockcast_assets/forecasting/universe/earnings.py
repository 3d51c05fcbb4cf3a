"""Earnings reports: when the next one is expected, and how much wider the interval is around it.

Prices move most when results come out (Beaver, 1968). Companies report at nearly the same time each year, so the date
is roughly known long before. Weekdays stand for sessions: a holiday more or less is nothing beside the uncertainty of
the date, and whether the bars of those days are there already makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.models.volatility import ahead
from stockcast_assets.forecasting.models.volatility import steps as session_steps
from stockcast_assets.libraries import np, pd
from stockcast_assets.market import earnings as statements
from stockcast_assets.market.indicators import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 20
"""Sessions before and after a report in which it is felt."""

FAR = REACH + 1
"""The offset of a session without a report in reach."""

WIDTH = 2 * FAR + 1
"""Offsets there are. Those from a day that is known for sure are told apart from the others by this much more."""

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

_NEVER = "2200-01-01"

_TOGETHER = 4096
"""Days whose offsets are arrays together: more would leave the processor's cache."""

_MONDAY = 3
"""1970-01-01 was a Thursday."""

_BANDWIDTH = 1.5
"""Weekdays by which expected dates are off."""

_BANDWIDTH_KNOWN = 0.7
"""The same of days that were announced: by less than one, but their factor is smoothed, too."""

Days: TypeAlias = "NDArray[np.datetime64]"
Offsets: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True)
class Coming:
    """What was said of reports before they came; m statements.

    Attributes:
        sessions: [m] datetime64[D]: the weekday on which the price will answer.
        since: [m] datetime64[D]: the day at whose end the statement is known.
        until: [m] datetime64[D]: the day at whose end it holds no more: moved, cancelled, or come.
        sure: [m] bool: announced, not estimated.
    """

    sessions: Days
    since: Days
    until: Days
    sure: NDArray[np.bool_]

    @classmethod
    def none(cls) -> Coming:
        days = np.empty(0, "datetime64[D]")
        return cls(days, days, days, np.empty(0, bool))


@dataclass(frozen=True)
class Reports:
    """The earnings reports of one ticker.

    Attributes:
        sessions: [k] datetime64[D], ascending: the weekday on which the price answers.
        known: [k] datetime64[D]: the day at whose end the report is known.
        coming: what was said of reports beforehand.
    """

    sessions: Days
    known: Days
    coming: Coming = field(default_factory=Coming.none)

    @classmethod
    def none(cls) -> Reports:
        return cls(np.empty(0, "datetime64[D]"), np.empty(0, "datetime64[D]"))


def reports_of(frame: pd.DataFrame) -> dict[str, Reports]:
    """The reports of each ticker from rows of `earnings_dates`."""
    return {str(ticker): _reports_of(rows) for ticker, rows in frame.groupby("ticker")}


def _reports_of(frame: pd.DataFrame) -> Reports:
    said = frame.sort_values(["date", "known_on"])
    days, known = (said[name].to_numpy().astype("datetime64[D]") for name in ("date", "known_on"))
    cancelled, filed = said["cancelled"].to_numpy(bool), (said["kind"] == statements.FILED).to_numpy()
    sessions = np.busday_offset(days, (said["hour"] == statements.AFTER_CLOSE).to_numpy(np.int64), roll="forward")
    never = np.datetime64(_NEVER, "D")
    # Of a day the next statement ends the one before.
    until = np.append(known[1:], never)
    until[np.append(days[1:] != days[:-1], True)] = never
    before = ~filed & ~cancelled
    sure = (said["kind"] == statements.ANNOUNCED).to_numpy()[before]
    coming = Coming(sessions[before], known[before], until[before], sure)
    come = filed & ~cancelled
    return Reports(*_in_order(sessions[come], known[come]), coming)


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
    return Reports(*_in_order(sessions, known))


def _in_order(sessions: Days, known: Days) -> tuple[Days, Days]:
    sessions, first = np.unique(sessions, return_index=True)
    return sessions, np.maximum.accumulate(known[first]) if len(first) else known[first]


def offsets(days: Days, of: Reports) -> Offsets:
    """[n, HORIZON] weekdays from the nearest report to the session h after each day, as known at the day's end.

    Past reports count where they were; a coming one where it was said to come, else 52 weeks after last year's.
    Negative before a report; FAR or -FAR without one in reach; WIDTH more where the report's day was announced.
    """
    return offsets_of_many([days], [of])


def offsets_of_many(days: Sequence[Days], of: Sequence[Reports]) -> Offsets:
    """`offsets` of many tickers, their days one after the other."""
    never = np.datetime64(_NEVER, "D")
    sessions = np.concatenate([*(one.sessions for one in of), np.array([never])])
    begins = np.repeat(np.cumsum([0, *(len(one.sessions) for one in of)])[:-1], [len(one) for one in days])
    known = np.concatenate([one.known.searchsorted(seen, side="right") for seen, one in zip(days, of, strict=True)])
    at = (begins + known)[:, None] + np.arange(-_LAST_YEAR, 0)
    there = (known[:, None] >= _ENOUGH) & (at >= begins[:, None])
    past = np.where(there, sessions[np.maximum(at, 0)], never)
    told, sure = _told(days, of)
    every = np.concatenate(days)
    parts = [slice(first, first + _TOGETHER) for first in range(0, len(every), _TOGETHER)]
    found = [_nearest(every[part], past[part], told[part], sure[part]) for part in parts]
    return np.concatenate([np.empty((0, HORIZON), np.int64), *found])


def _told(days: Sequence[Days], of: Sequence[Reports]) -> tuple[Days, NDArray[np.bool_]]:
    """[n, m] the sessions that statements which hold on each day name, _NEVER beyond the last, and which are sure."""
    rows, named, sure, before = [], [], [], 0
    for seen, one in zip(days, of, strict=True):
        if len(one.coming.sessions):
            holds = (one.coming.since <= seen[:, None]) & (seen[:, None] < one.coming.until)
            row, statement = np.nonzero(holds)
            rows.append(before + row)
            named.append(one.coming.sessions[statement])
            sure.append(one.coming.sure[statement])
        before += len(seen)
    if not rows:
        return np.empty((before, 0), "datetime64[D]"), np.empty((before, 0), bool)
    row = np.concatenate(rows)
    _, first, counts = np.unique(row, return_index=True, return_counts=True)
    place = row, np.arange(len(row)) - np.repeat(first, counts)
    shape = before, int(counts.max(initial=0))
    told, is_sure = np.full(shape, _NEVER, "datetime64[D]"), np.zeros(shape, bool)
    told[place], is_sure[place] = np.concatenate(named), np.concatenate(sure)
    return told, is_sure


def _nearest(days: Days, past: Days, told: Days, sure: NDArray[np.bool_]) -> Offsets:
    """`offsets` of days on which these reports are known: [n, _LAST_YEAR] and [n, m], _NEVER where there are fewer."""
    sessions = np.concatenate([told, past[:, [-1, -2]], _expected(past, days, told)], axis=1)
    apart = _weekday_number(ahead(days))[:, None] - _weekday_number(sessions)[:, :, None]
    nearest = np.abs(apart).argmin(axis=1)
    offset = np.take_along_axis(apart, nearest[:, None], axis=1)[:, 0]
    announced = np.zeros(sessions.shape, bool)
    announced[:, : told.shape[1]] = sure
    is_sure = np.take_along_axis(announced, nearest, axis=1) & (np.abs(offset) < FAR)
    named = (sessions < np.datetime64(_NEVER, "D")).any(axis=1, keepdims=True)
    return np.where(named, np.clip(offset, -FAR, FAR) + WIDTH * is_sure, FAR)


def _weekday_number(days: Days) -> Offsets:
    """Weekdays before each day, from a Monday on: their differences are `numpy.busday_count`'s, for weekdays."""
    weeks, weekday = np.divmod(days.astype(np.int64) + _MONDAY, 7)
    return 5 * weeks + np.minimum(weekday, 5)


def plain(of: Offsets) -> Offsets:
    """Offsets without the difference between what is sure and what is not."""
    return np.where(of > FAR, of - WIDTH, of)


def settled_offsets(days: Days, of: Reports, by: np.datetime64) -> Offsets:
    """[n] weekdays from the nearest report to the session after each day, looking back from the end of day `by`.

    For what is learnt of the past, not for an input: on the day itself nobody knew it.
    """
    past = of.sessions[of.known <= by]
    if not len(past):
        return np.full(len(days), FAR, np.int64)
    session = np.busday_offset(days, 1, roll="backward")
    after = np.searchsorted(past, session).clip(1, max(len(past) - 1, 1))
    apart = np.stack([np.busday_count(past[np.minimum(at, len(past) - 1)], session) for at in (after - 1, after)])
    nearest = np.take_along_axis(apart, np.abs(apart).argmin(axis=0)[None], axis=0)[0]
    clipped: Offsets = np.clip(nearest, -FAR, FAR)
    return clipped


def next_report(frame: pd.DataFrame, on: np.datetime64) -> tuple[np.datetime64, str, str] | None:
    """Day, hour and kind of the next report as known at the end of a day, from one ticker's `earnings_dates`.

    Where nothing was said of it, it is expected 52 weeks after last year's. None if none is expected, either.
    """
    known = statements.known(frame, pd.Timestamp(on))
    ahead_of = known[(known["date"] > pd.Timestamp(on)) & (known["kind"] != statements.FILED)]
    if len(ahead_of):
        first = ahead_of.iloc[0]
        return np.datetime64(first["date"], "D"), str(first["hour"]), str(first["kind"])
    past = known.loc[known["kind"] == statements.FILED, "date"].to_numpy().astype("datetime64[D]")
    if len(past) < _ENOUGH:
        return None
    never = np.datetime64(_NEVER, "D")
    last = np.append(np.repeat(never, _LAST_YEAR), past)[-_LAST_YEAR:]
    due = _expected(last[None], np.array([on], "datetime64[D]"), np.empty((1, 0), "datetime64[D]")).min()
    return (due, statements.NO_HOUR, statements.EXPECTED) if due < never else None


def _expected(past: Days, days: Days, told: Days) -> Days:
    """[n, _LAST_YEAR] the reports that are expected: moved on while overdue, _NEVER once given up, or if told of.

    Args:
        past: [n, _LAST_YEAR] the last ones known on each day, the newest last; _NEVER where there are fewer.
        days: [n]
        told: [n, m] those that were said to come.
    """
    due = past + _YEAR
    told_of = (np.abs(told[:, None] - due[:, :, None]) < np.timedelta64(_SAME_REPORT, "D")).any(axis=2)
    never = np.datetime64(_NEVER, "D")
    wanted = (past < never) & (due - _SAME_REPORT >= past[:, -1:]) & ~told_of
    day = days[:, None]
    tomorrow = np.busday_offset(day, 1, roll="backward")
    return np.where(wanted & (due > day), due, np.where(wanted & (due > day - _OVERDUE), tomorrow, never))


@dataclass(frozen=True)
class EventFactor:
    """Variance around a report over the usual one.

    Attributes:
        by_offset: [2 WIDTH] for offsets -FAR..FAR from where a report was or is expected, and from an announced one.
    """

    by_offset: Floats

    def mean(self, of: Offsets) -> Floats:
        """[n, HORIZON] mean factor of the next h sessions, from their `offsets`."""
        return np.cumsum(self.by_offset[of + FAR], axis=1) / session_steps()


def fit_event_factors(
    moves: Mapping[str, Floats], of: Mapping[str, Offsets], settled: Mapping[str, Offsets]
) -> tuple[dict[str, EventFactor], Floats]:
    """Each ticker's factor, its own past shrunk to the factor of all, and the factor of all.

    Args:
        moves: per ticker [n] absolute next-session returns in units of a sigma that knows no reports.
        of: per ticker [n] offset of that session, as it was known.
        settled: per ticker [n] offset of that session from where the report came: what an announcement is worth can be
            learnt from reports that nobody is known to have announced.
    """
    sums = {ticker: _sums(values, of[ticker], settled[ticker]) for ticker, values in moves.items()}
    total = np.sum([one[0] for one in sums.values()], axis=0)
    count = np.sum([one[1] for one in sums.values()], axis=0)
    pooled = np.where(count > 0, total / np.maximum(count, 1e-9), 1.0)
    return {ticker: shrunk(*one, pooled) for ticker, one in sums.items()}, pooled


def own_factor(moves: Floats, of: Offsets, settled: Offsets, pooled: Floats) -> EventFactor:
    """The factor of a ticker from its own past and the pooled one."""
    return shrunk(*_sums(moves, of, settled), pooled)


def shrunk(total: Floats, count: Floats, pooled: Floats) -> EventFactor:
    """A mean that counts the pooled one as so many sessions."""
    return EventFactor((total + _PRIOR_SESSIONS * pooled) / (count + _PRIOR_SESSIONS))


def _sums(moves: Floats, of: Offsets, settled: Offsets) -> tuple[Floats, Floats]:
    """[2 WIDTH] kernel sums of squared moves over their mean, and of their numbers."""
    parts = _smoothed(moves, plain(of), _BANDWIDTH), _smoothed(moves, settled, _BANDWIDTH_KNOWN)
    total, count = zip(*parts, strict=True)
    return np.concatenate(total), np.concatenate(count)


def _smoothed(moves: Floats, of: Offsets, bandwidth: float) -> tuple[Floats, Floats]:
    """[WIDTH] the same by offset."""
    median = np.median(moves)
    if median == 0 or (np.abs(of) == FAR).all():
        return np.zeros(WIDTH), np.zeros(WIDTH)
    squares = np.minimum(moves / median, _LARGEST) ** 2
    total = np.bincount(of + FAR, weights=squares / squares.mean(), minlength=WIDTH)
    count = np.bincount(of + FAR, minlength=WIDTH).astype(np.float64)
    place = np.arange(WIDTH)
    kernel = np.exp(-0.5 * ((place[:, None] - place) / bandwidth) ** 2)
    return kernel @ total, kernel @ count
