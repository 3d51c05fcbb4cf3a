"""Whether the rows of a ticker are daily bars of its exchange: weekly, monthly and intraday bars and shifted days."""

import numpy as np
import pandas as pd

from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources.files.fault import refuse

_SPANS = (
    (6, 8, "weekly", "week"),
    (26, 35, "monthly", "month"),
    (80, 100, "quarterly", "quarter"),
    (350, 380, "yearly", "year"),
)
_PERIODS = {"D": "", "1D": "", "DAY": "", "DAILY": "", "1DAY": "", "1440": ""}

_FEW_CLOSED = 2
_CLOSED_SHARE = 0.005
"""More rows of closed days than these are no holidays that were filled in, but another calendar or another clock."""


def require_daily(days: np.ndarray, lines: np.ndarray) -> None:
    """Refuse weekly, monthly and quarterly bars.

    Args:
        days: [n] different days, sorted.
        lines: [n] where they stand in the file.

    Raises:
        Fault: naming the kind of bars.
    """
    gaps = np.diff(days).astype(int)
    if len(gaps) < 2:
        return
    middle = float(np.median(gaps))
    for low, high, kind, period in _SPANS:
        # The newest row may be of the day of the download.
        if low <= middle <= high and ((gaps >= low) & (gaps <= high)).mean() >= 0.6:
            refuse(
                f"these are {kind} bars, one per {period}, and stockcast needs daily ones; download daily prices and "
                "upload that file",
                int(lines[0]),
            )


def require_period(cell: str, line: int) -> None:
    """Refuse what a column of periods calls anything but daily.

    Raises:
        Fault: if it does.
    """
    if cell and cell.upper() not in _PERIODS:
        refuse(f"the period is {cell[:10]!r} and stockcast needs daily bars (D); download those", line)


def require_open(
    days: pd.DatetimeIndex,
    lines: np.ndarray,
    closed: np.ndarray,
    calendar: str,
    ticker: str,
    suggested: str,
    rows: pd.DatetimeIndex,
) -> None:
    """Refuse days that cannot be those of the ticker's calendar: another market's, or moments of another time zone.

    Args:
        days: [n] different days, sorted.
        lines: [n] where they stand in the file.
        closed: [n] whether the calendar is closed, and the row no mere repetition of the one before.
        calendar: the ticker's calendar.
        ticker: the ticker.
        suggested: a ticker that the days would fit, or nothing.
        rows: the days of all rows, with prices or without.

    Raises:
        Fault: if it has more rows on closed days than a few, or never one of the weekdays.
    """
    weekend = closed & (days.dayofweek >= 5)
    if weekend.sum() > 1 or closed.sum() > max(_FEW_CLOSED, _CLOSED_SHARE * len(days)):
        row = int((weekend if weekend.sum() > 1 else closed).argmax())
        other = f", or call it {suggested} if it is a coin" if suggested else ""
        refuse(
            f"{closed.sum()} of {len(days)} rows of {ticker} are of days on which its calendar {calendar} is closed "
            f"(first: {days[row]:%Y-%m-%d}, a {days[row]:%A}), so these days are another market's or another time "
            f"zone's; remove those rows or write the exchange's own days, give {ticker} its calendar in "
            f"calendars.toml{other}, and upload the file again",
            int(lines[row]),
        )
    expected = sessions(calendar, days[0], days[-1])
    if len(days) < 0.6 * len(expected):
        return
    due = np.bincount(expected.dayofweek, minlength=7)
    there = np.bincount(rows.dayofweek, minlength=7)
    missing = np.flatnonzero((due >= 3) & (there == 0))
    if len(missing):
        name = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[missing[0]]
        refuse(
            f"{ticker} has no row of a {name}, although {calendar} had {due[missing[0]]} such sessions between its "
            "first and last day: its days seem to be those of another time zone; write the exchange's own days and "
            "upload the file again"
        )
