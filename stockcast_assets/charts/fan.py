"""Where the intervals of a forecast lie: the same for every painter."""

from __future__ import annotations

from typing import NamedTuple

from stockcast_assets.libraries import pd

BANDS = (("90 %", 5, 95, 0.14), ("80 %", 10, 90, 0.2), ("50 %", 25, 75, 0.3))
"""From the widest interval to the narrowest: label, lower and upper quantile in percent, opacity."""


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


class Fan(NamedTuple):
    """The bands from the widest to the narrowest and the median, all from the last known close on.

    Attributes:
        ahead: sessions ahead of the as-of session: 0, 1, …
        days: those sessions.
    """

    ahead: list[int]
    days: list[object]
    median: list[float]
    bands: list[Band]

    @classmethod
    def of(cls, forecast: pd.DataFrame) -> Fan:
        """Of `forecasts` rows of one ticker and as-of date, in any order, at least one."""
        rows = forecast.sort_values("horizon")
        last = float(rows["last_close"].iloc[0])

        def line(percent: int) -> list[float]:
            return [last, *rows[f"close_p{percent:02d}"].tolist()]

        return cls(
            [0, *rows["horizon"].tolist()],
            [rows["date"].iloc[0], *rows["target_date"]],
            line(50),
            [Band(label, line(low), line(high), opacity) for label, low, high, opacity in BANDS],
        )
