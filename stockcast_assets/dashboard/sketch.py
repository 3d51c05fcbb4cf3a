"""The first paint: the forecast's figure as a plain picture, drawn before the browser has the script for charts.

Plotly's script is 4.7 MB and takes a browser one to several seconds to read. The picture comes with the page, has the
place and colours of the chart, and gives way to it by a CSS rule (see `layout.STYLE`) once the chart is there.
"""

import base64
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stockcast_assets.dashboard.charts import BANDS, Palette

WIDTH, HEIGHT = 1200.0, 360.0


def sketch(studied: pd.DataFrame, forecast: pd.DataFrame, palette: Palette) -> str:
    """An SVG as a data address: close, SMA 5 and 15, and the intervals of the next sessions.

    Args:
        studied: `close`, `sma_5` and `sma_15` of the window, at least one row.
        forecast: `forecasts` rows of its last day; may be empty.
    """
    rows = forecast.sort_values("horizon")
    tops = [studied["close"].max(), *rows["close_p95"]]
    bottoms = [studied["close"].min(), *rows["close_p05"]]
    low, span = min(bottoms), max(max(tops) - min(bottoms), 1e-9)
    last = max(len(studied) - 1 + len(rows), 1)

    def points(start: int, values: Sequence[float] | pd.Series) -> list[str]:
        return [
            f"{(start + at) / last * WIDTH:.1f},{(1 - (value - low) / span) * HEIGHT:.1f}"
            for at, value in enumerate(values)
            if np.isfinite(value)
        ]

    def line(start: int, values: Sequence[float] | pd.Series, color: str, width: float) -> str:
        return (
            f'<polyline points="{" ".join(points(start, values))}" fill="none" stroke="{color}" '
            f'stroke-width="{width}" vector-effect="non-scaling-stroke"/>'
        )

    drawn = []
    if len(rows):
        first, now = len(studied) - 1, float(rows["last_close"].iloc[0])
        for _, lower, upper, opacity in BANDS:
            above = points(first, [now, *rows[f"close_p{upper:02d}"]])
            below = points(first, [now, *rows[f"close_p{lower:02d}"]])
            edge = " ".join(above + below[::-1])
            drawn.append(f'<polygon points="{edge}" fill="{palette.forecast}" fill-opacity="{opacity}"/>')
        drawn.append(line(first, [now, *rows["close_p50"]], palette.forecast, 2))
    for column, color in zip(("sma_5", "sma_15"), palette.averages, strict=True):
        drawn.append(line(int(studied[column].isna().sum()), studied[column].dropna(), color, 1.2))
    drawn.append(line(0, studied["close"], palette.close, 2))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none">'
        f"{''.join(drawn)}</svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
