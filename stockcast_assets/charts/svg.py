"""Plain pictures of the pages' main figures, drawn before the browser has the script for charts.

Plotly's script is 4.7 MB and takes a browser one to several seconds to read. A picture has the colours of its chart, is
stretched to the place it gets, and therefore holds no text.
"""

import base64
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stockcast_assets.charts.fan import Fan, Report, marks
from stockcast_assets.charts.palette import Palette
from stockcast_assets.methods import RATIOS
from stockcast_assets.tables import SMA_WINDOWS

WIDTH, HEIGHT = 1200.0, 360.0


def fan(studied: pd.DataFrame, forecast: pd.DataFrame, palette: Palette, reports: Sequence[Report] = ()) -> str:
    """An SVG as a data address: close, SMA 5 and 15, and the intervals of the next sessions.

    Args:
        studied: `close`, `sma_5` and `sma_15` of the window, at least one row.
        forecast: `forecasts` rows of its last day; may be empty.
        reports: earnings reports; those in the window are dashed lines.
    """
    low = min([studied["close"].min(), *forecast["close_p05"]])
    high = max([studied["close"].max(), *forecast["close_p95"]])
    last = max(len(studied) - 1 + len(forecast), 1)

    def points(start: int, values: Sequence[float] | pd.Series) -> list[str]:
        return _points(range(start, start + len(values)), values, last, low, high)

    drawn, now = [], len(studied) - 1
    intervals = Fan.of(forecast) if len(forecast) else None
    for mark in marks(reports, studied, intervals):
        x = (now + mark.ahead) / last * WIDTH
        drawn.append(_line([f"{x:.1f},0", f"{x:.1f},{HEIGHT:g}"], palette.muted, 1, dash="4 4"))
    if intervals is not None:
        for band in intervals.bands:
            edge = " ".join(points(now, band.upper) + points(now, band.lower)[::-1])
            drawn.append(f'<polygon points="{edge}" fill="{palette.forecast}" fill-opacity="{band.opacity}"/>')
        drawn.append(_line(points(now, intervals.median), palette.forecast, 2))
    for column, color in zip((f"sma_{window}" for window in SMA_WINDOWS[:2]), palette.averages, strict=True):
        warming_up = int(studied[column].isna().sum())
        drawn.append(_line(points(warming_up, studied[column].dropna()), color, 1.2))
    drawn.append(_line(points(0, studied["close"]), palette.close, 2))
    return _address(drawn)


def drift_lines(drift: pd.DataFrame, palette: Palette) -> str:
    """An SVG as a data address: each feature's score over its threshold by day, and the 1 from which it counts.

    Args:
        drift: `drift_report` rows of one ticker and kind, at least one.
    """
    ratio = drift.assign(ratio=drift["score"] / drift["threshold"])
    days = {day: at for at, day in enumerate(sorted(set(drift["date"])))}
    last, high = max(len(days) - 1, 1), max(ratio["ratio"].max(), 1.0) * 1.05
    drawn = [_line(_points([0, last], [1.0, 1.0], last, 0.0, high), palette.happened, 1.5)]
    for (_, rows), color in zip(ratio.groupby("feature", sort=True), palette.lines, strict=False):
        ordered = rows.sort_values("date")
        points = _points([days[day] for day in ordered["date"]], ordered["ratio"], last, 0.0, high)
        drawn.append(_line(points, color, 1.8))
    return _address(drawn)


def proof_bars(model: pd.Series, palette: Palette) -> str:
    """An SVG as a data address: the walk-forward ratios of one `trained_model` row, a bar from 1 per baseline."""
    values = [float(model[name]) for name in RATIOS if np.isfinite(model[name])]
    low, high = min([*values, 1.0]) - 0.02, max([*values, 1.0]) + 0.02
    one = (1.0 - low) / (high - low) * WIDTH
    drawn = [_line([f"{one:.1f},0", f"{one:.1f},{HEIGHT:g}"], palette.muted, 1)]
    for row, value in enumerate(values):
        x, y = (value - low) / (high - low) * WIDTH, (row + 0.5) / len(values) * HEIGHT
        color = palette.forecast if value <= 1 else palette.happened
        drawn.append(_line([f"{one:.1f},{y:.1f}", f"{x:.1f},{y:.1f}"], color, 10))
    return _address(drawn)


def _points(at: Sequence[int], values: Sequence[float] | pd.Series, last: float, low: float, high: float) -> list[str]:
    span = max(high - low, 1e-9)
    return [
        f"{x / last * WIDTH:.1f},{(1 - (value - low) / span) * HEIGHT:.1f}"
        for x, value in zip(at, values, strict=True)
        if np.isfinite(value)
    ]


def _line(points: Sequence[str], color: str, width: float, dash: str = "") -> str:
    dashed = f'stroke-dasharray="{dash}" ' if dash else ""
    return (
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="{width}" {dashed}'
        'vector-effect="non-scaling-stroke"/>'
    )


def _address(drawn: Sequence[str]) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none">'
        f"{''.join(drawn)}</svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
