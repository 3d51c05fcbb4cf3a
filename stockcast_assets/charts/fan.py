"""Where the intervals of a forecast and the earnings reports lie: the same for every painter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from stockcast_assets.libraries import pd
from stockcast_assets.market.earnings import AFTER_CLOSE, NO_HOUR
from stockcast_assets.tables import TAIL_COLUMNS

Report: TypeAlias = "tuple[pd.Timestamp, str, str]"
"""Day, hour and kind of an earnings report."""

BANDS = (("90 %", 5, 95, 0.14), ("80 %", 10, 90, 0.2), ("50 %", 25, 75, 0.3))
"""From the widest interval to the narrowest: label, lower and upper quantile in percent, opacity."""

WIDEST = ("98 %", 1, 99, 0.1)
"""Offered beside them where a forecast has its quantiles: those of earlier releases do not."""


class Band(NamedTuple):
    """One interval over the as-of session and the next ones.

    Attributes:
        label: what share of the closes it is made to hold.
        lower, upper: its bounds, in the ticker's currency.
        opacity: how it is filled.
    """

    label: str
    lower: list[float]
    upper: list[float]
    opacity: float


class Mark(NamedTuple):
    """An earnings report on the axis of sessions.

    Attributes:
        ahead: sessions from the last known one to the one on which the price answers; negative before it.
        day: that session.
        height: its close, or its median forecast.
        words: the report's day and what is known of it.
    """

    ahead: int
    day: pd.Timestamp
    height: float
    words: str


class Fan(NamedTuple):
    """The bands from the widest to the narrowest and the median, all from the last known close on.

    Attributes:
        ahead: sessions ahead of the as-of session: 0, 1, …
        days: those sessions.
        widest: the interval of 98 %; None where the forecast has none.
    """

    ahead: list[int]
    days: list[object]
    median: list[float]
    bands: list[Band]
    widest: Band | None = None

    @classmethod
    def of(cls, forecast: pd.DataFrame) -> Fan:
        """Of `forecasts` rows of one ticker and as-of date, in any order, at least one."""
        rows = forecast.sort_values("horizon")
        last = float(rows["last_close"].iloc[0])

        def line(percent: int) -> list[float]:
            return [last, *rows[f"close_p{percent:02d}"].tolist()]

        def band(label: str, low: int, high: int, opacity: float) -> Band:
            return Band(label, line(low), line(high), opacity)

        has_widest = set(TAIL_COLUMNS) <= set(rows.columns) and rows[list(TAIL_COLUMNS)].notna().all(axis=None)
        return cls(
            [0, *rows["horizon"].tolist()],
            [rows["date"].iloc[0], *rows["target_date"]],
            line(50),
            [band(*each) for each in BANDS],
            band(*WIDEST) if has_widest else None,
        )


def said(report: Report) -> str:
    """Hour and kind of a report, as far as they are known: `after close, announced`."""
    _, hour, kind = report
    return kind if hour == NO_HOUR else f"{hour}, {kind}"


def marks(reports: Iterable[Report], past: pd.DataFrame, fan: Fan | None = None) -> list[Mark]:
    """The reports on the axis of the known sessions and those of a fan; the others are left out.

    A report after the close, or on a day without a session, is answered on the next one.

    Args:
        reports: in any order.
        past: `date` and `close` of the known sessions, ascending, at least one.
        fan: the forecast that goes on from the last of them.
    """
    days = pd.DatetimeIndex([*past["date"], *(fan.days[1:] if fan else ())])
    heights = [*past["close"], *(fan.median[1:] if fan else ())]
    found = {}
    for report in sorted(reports):
        place = int(days.searchsorted(report[0], side="right" if report[1] == AFTER_CLOSE else "left"))
        if days[0] <= report[0] and place < len(days):
            words = f"{report[0]:%d %b %Y}, {said(report)}"
            found[place] = Mark(place - len(past) + 1, days[place], float(heights[place]), words)
    return [found[place] for place in sorted(found)]
