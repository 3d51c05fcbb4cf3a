"""Small pictures for Dagster's metadata: PNG by matplotlib, light enough to sit inline in an event log."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from stockcast_assets.charts.fan import Fan, Report, marks
from stockcast_assets.charts.palette import LIGHT
from stockcast_assets.charts.style import own_style
from stockcast_assets.libraries import pd
from stockcast_assets.tables import HORIZON

# A PNG has no theme to follow.
INK, MUTED, GRID = LIGHT.ink, LIGHT.muted, LIGHT.grid
CLOSE, FORECAST, ACTUAL = LIGHT.close, LIGHT.forecast, LIGHT.happened
TAIL_SESSIONS = 60


def forecast_png(bars_tail: pd.DataFrame, forecast_rows: pd.DataFrame, reports: Sequence[Report] = ()) -> bytes:
    """The recent closes of one ticker and the fan of its next sessions.

    Args:
        bars_tail: `date` and `close` up to the as-of date; the last 60 rows are drawn.
        forecast_rows: rows of the `forecasts` table of one ticker and as-of date.
        reports: earnings reports; those among these sessions are dashed lines.

    Returns:
        A PNG of 640 × 320 pixels, about 30 KB. The same frames give the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own_style()
    fan = Fan.of(forecast_rows)
    tail = bars_tail.sort_values("date").tail(TAIL_SESSIONS)
    first = forecast_rows.iloc[0]
    # Sessions, not calendar days, are the axis: weekends would tear the line apart.
    past = range(-len(tail) + 1, 1)
    # Figure and canvas without pyplot: no global state, safe in the threads of a Dagster run.
    figure = Figure(figsize=(6.4, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(past, tail["close"], color=CLOSE, linewidth=1.4)
    for band in fan.bands:
        axes.fill_between(fan.ahead, band.lower, band.upper, color=FORECAST, alpha=band.opacity, linewidth=0)
    axes.plot(fan.ahead, fan.median, color=FORECAST, linewidth=1.6)
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
    for mark in marks(reports, tail, fan):
        axes.axvline(mark.ahead, color=MUTED, linewidth=0.8, linestyle="--")
        axes.annotate(
            "report", (mark.ahead, 1), (2, -8), ("data", "axes fraction"), "offset points", fontsize=7, color=MUTED
        )
    axes.set_title(
        f"{first['ticker']} as of {pd.Timestamp(first['date']):%d %b %Y} · {first['method']} · 50/80/90 %",
        fontsize=9,
        color=INK,
        loc="left",
    )
    dates = {**dict(zip(fan.ahead, fan.days, strict=True)), **dict(zip(past, tail["date"], strict=True))}
    ticks = [t for t in (-59, -45, -30, -15, 0, HORIZON) if t in dates]
    axes.set_xticks(ticks, [f"{pd.Timestamp(dates[t]):%d %b}" for t in ticks])
    axes.tick_params(labelsize=8, colors=MUTED, length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for spine in axes.spines.values():
        spine.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def drift_png(rows: pd.DataFrame) -> bytes:
    """How near each feature of one ticker and day is to the distance from which it counts as drifted.

    Args:
        rows: rows of the `drift_report` table of one ticker and day.

    Returns:
        A PNG 640 pixels wide, about 15 KB. The same rows give the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own_style()
    ordered = rows.assign(ratio=rows["score"] / rows["threshold"]).sort_values(["ratio", "feature"])
    first = ordered.iloc[0]
    figure = Figure(figsize=(6.4, 0.9 + 0.26 * len(ordered)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colors = [ACTUAL if drifted else FORECAST for drifted in ordered["drifted"]]
    positions = range(len(ordered))
    axes.barh(positions, ordered["ratio"], height=0.55, color=colors)
    axes.axvline(1, color=MUTED, linewidth=0.8, linestyle=":")
    for position, ratio in zip(positions, ordered["ratio"], strict=True):
        axes.annotate(
            f"{ratio:.2f}", (ratio, position), (4, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    axes.set_yticks(positions, [name.replace("_", " ") for name in ordered["feature"]])
    axes.set_xlim(0, max(1.15, float(ordered["ratio"].max()) * 1.12))
    count = int(ordered["drifted"].sum())
    found = "no feature drifted" if count == 0 else f"{count} of {len(ordered)} features drifted"
    axes.set_title(
        f"{first['ticker']} on {pd.Timestamp(first['date']):%d %b %Y} · {found} · distance / threshold",
        fontsize=9,
        color=INK,
        loc="left",
    )
    axes.tick_params(labelsize=8, colors=MUTED, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def markdown_image(png: bytes, alt: str) -> str:
    """The picture as a markdown image with its bytes inline, for a `MetadataValue.md`."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})"
