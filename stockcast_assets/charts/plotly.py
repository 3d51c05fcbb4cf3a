"""The figures of the pages: frame in, plotly figure out, in a light and a dark palette."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from stockcast_assets.charts.fan import Band, Fan, Report, marks
from stockcast_assets.charts.palette import DARK as DARK
from stockcast_assets.charts.palette import LIGHT as LIGHT
from stockcast_assets.charts.palette import Palette
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import RATIOS
from stockcast_assets.tables import RSI, RSI_LABEL, SMA_WINDOWS

HEIGHT = 400
# The face of the pages around the figures.
FONT = '"Source Sans", sans-serif'


def _finish(figure: go.Figure, palette: Palette, height: int = HEIGHT, legend: bool = True) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": palette.muted, "size": 12, "family": FONT},
        hovermode="x unified",
        hoverlabel={"font": {"size": 12, "family": FONT}},
        showlegend=legend,
        legend={"orientation": "h", "y": -0.12, "x": 0, "yanchor": "top", "font": {"size": 12}},
        dragmode=False,
    )
    figure.update_xaxes(gridcolor=palette.grid, showgrid=False, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=palette.grid, zeroline=False, automargin=True)
    return figure


def _skip_weekends(figure: go.Figure, dates: pd.Series) -> None:
    if not (pd.DatetimeIndex(dates).dayofweek >= 5).any():
        figure.update_xaxes(rangebreaks=[{"bounds": ["sat", "mon"]}])


def _line(frame: pd.DataFrame, column: str, name: str, color: str, **options: Any) -> go.Scatter:
    line = {"color": color, "width": options.pop("width", 1.6), "dash": options.pop("dash", None)}
    return go.Scatter(x=frame["date"], y=frame[column], name=name, mode="lines", line=line, **options)


def price_and_fan(
    studied: pd.DataFrame,
    forecast: pd.DataFrame,
    happened: pd.DataFrame,
    palette: Palette,
    candles: bool = False,
    log: bool = False,
    reports: Sequence[Report] = (),
) -> go.Figure:
    """Close with SMA 5 and 15 (or candlesticks with volume) and the fan of the next sessions.

    Args:
        studied: bars with `sma_5` and `sma_15` up to the as-of date.
        forecast: `forecasts` rows of that date; may be empty.
        happened: `date` and `close` after the as-of date, for comparison; may be empty.
        candles: candlesticks and volume instead of the line and averages.
        log: prices on a logarithmic axis, on which equal changes in per cent are equally high.
        reports: earnings reports, of which those in the window are marked.
    """
    figure = make_subplots(
        rows=2 if candles else 1, cols=1, shared_xaxes=True, vertical_spacing=0.04,
        row_heights=[0.78, 0.22] if candles else [1],
    )  # fmt: skip
    if candles:
        figure.add_trace(
            go.Candlestick(
                x=studied["date"], open=studied["open"], high=studied["high"], low=studied["low"],
                close=studied["close"], name="Price", increasing_line_color=palette.forecast,
                decreasing_line_color=palette.happened,
            ),
            row=1, col=1,
        )  # fmt: skip
        volume = go.Bar(x=studied["date"], y=studied["volume"], name="Volume", marker_color=palette.muted, opacity=0.6)
        figure.add_trace(volume, row=2, col=1)
        figure.update_xaxes(rangeslider_visible=False)
    else:
        figure.add_trace(_line(studied, "close", "Close", palette.close, width=2))
        for window, color in zip(SMA_WINDOWS[:2], palette.averages, strict=True):
            figure.add_trace(_line(studied, f"sma_{window}", f"SMA {window}", color, width=1.2))
    fan = Fan.of(forecast) if len(forecast) else None
    if fan is not None:
        _add_fan(figure, fan, palette)
    if marked := marks(reports, studied, fan):
        for mark in marked:
            figure.add_vline(x=mark.day, line={"color": palette.muted, "width": 1, "dash": "dash"}, row=1, col=1)
        figure.add_trace(
            go.Scatter(
                x=[mark.day for mark in marked], y=[mark.height for mark in marked], mode="markers",
                name="Earnings report", text=[mark.words for mark in marked], hovertemplate="%{text}",
                marker={"color": palette.muted, "size": 9, "symbol": "diamond"},
            ),
            row=1, col=1,
        )  # fmt: skip
    if len(happened):
        start = studied.tail(1)[["date", "close"]]
        since = pd.concat([start, happened[["date", "close"]]])
        figure.add_trace(_line(since, "close", "What happened", palette.happened, width=2, dash="dot"))
    figure.update_yaxes(title="price" if candles else "close", type="log" if log else "linear", row=1, col=1)
    if candles:
        figure.update_yaxes(title="volume", row=2, col=1)
    _skip_weekends(figure, studied["date"])
    return _finish(figure, palette, 500 if candles else 430)


def _band(
    days: Sequence[object],
    lower: Sequence[float],
    upper: Sequence[float],
    palette: Palette,
    opacity: float,
    name: str,
    visible: bool | str = True,
) -> go.Scatter:
    """The area between two lines."""
    return go.Scatter(
        x=[*days, *days[::-1]], y=[*upper, *lower[::-1]], fill="toself", mode="lines", line={"width": 0},
        fillcolor=f"rgba({palette.rgb},{opacity})", name=name, hoverinfo="skip", visible=visible,
    )  # fmt: skip


def _add_fan(figure: go.Figure, fan: Fan, palette: Palette) -> None:
    # Hidden until its entry in the legend is chosen: it would flatten the picture for everybody.
    offered: list[tuple[Band, bool | str]] = [] if fan.widest is None else [(fan.widest, "legendonly")]
    for band, visible in [*offered, *((band, True) for band in fan.bands)]:
        name = f"{band.label} interval"
        figure.add_trace(_band(fan.days, band.lower, band.upper, palette, band.opacity, name, visible))
    narrow_first = fan.bands[::-1]
    figure.add_trace(
        go.Scatter(
            x=fan.days, y=fan.median, name="Median forecast", mode="lines",
            line={"color": palette.forecast, "width": 2},
            customdata=np.column_stack([bound for band in narrow_first for bound in (band.lower, band.upper)]),
            hovertemplate="%{y:.2f}" + "".join(
                f"<br>{band.label}: %{{customdata[{2 * i}]:.2f}} – %{{customdata[{2 * i + 1}]:.2f}}"
                for i, band in enumerate(narrow_first)
            ),
        )
    )  # fmt: skip


def gain_fan(gains: Floats, unit: str, palette: Palette) -> go.Figure:
    """What holdings may gain or lose, session by session.

    Args:
        gains: [sessions, 7] quantiles 1, 5, 25, 50, 75, 95 and 99 % of the gain up to each session.
        unit: what it is in.
        palette: the colours.
    """
    ahead = list(range(len(gains) + 1))
    from_nothing = np.vstack([np.zeros(gains.shape[1]), gains])
    figure = go.Figure()
    for label, opacity, place in (("98 %", 0.12, 0), ("90 %", 0.2, 1), ("50 %", 0.3, 2)):
        lower, upper = from_nothing[:, place].tolist(), from_nothing[:, -1 - place].tolist()
        figure.add_trace(_band(ahead, lower, upper, palette, opacity, f"{label} of the scenarios"))
    figure.add_trace(
        go.Scatter(
            x=ahead, y=from_nothing[:, 3].tolist(), name="Median", mode="lines",
            line={"color": palette.forecast, "width": 2}, customdata=from_nothing[:, [0, 1, 5, 6]],
            hovertemplate="%{y:,.2f}<br>90 %: %{customdata[1]:,.2f} – %{customdata[2]:,.2f}"
            "<br>98 %: %{customdata[0]:,.2f} – %{customdata[3]:,.2f}",
        )
    )  # fmt: skip
    figure.add_hline(y=0, line={"color": palette.muted, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="sessions ahead", dtick=1)
    figure.update_yaxes(title=f"gain or loss, {unit}")
    return _finish(figure, palette).update_layout(legend_y=-0.25)


def forecasts_for_day(forecasts: pd.DataFrame, actual: float, palette: Palette) -> go.Figure:
    """What was said about one session at each distance, against its close.

    Args:
        forecasts: `forecasts` rows with that target date, one per horizon.
        actual: the session's close.
    """
    rows = forecasts.sort_values("horizon")
    figure = go.Figure()
    for name, low, high, width, opacity in (
        ("80 % interval", 10, 90, 0.3, 0.4),
        ("50 % interval", 25, 75, 0.6, 0.5),
    ):
        lower, upper = rows[f"close_p{low}"], rows[f"close_p{high}"]
        figure.add_trace(
            go.Bar(
                x=rows["horizon"], y=upper - lower, base=lower, width=width, name=name, hoverinfo="skip",
                marker_color=f"rgba({palette.rgb},{opacity})",
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=rows["horizon"], y=rows["close_p50"], mode="markers", name="Median",
            marker={"color": palette.forecast, "size": 9, "line": {"color": palette.ink, "width": 1}},
            customdata=rows[["close_p10", "close_p90"]],
            hovertemplate="%{x} sessions ahead: %{y:.2f}<br>80 %: %{customdata[0]:.2f} – %{customdata[1]:.2f}"
            "<extra></extra>",
        )
    )  # fmt: skip
    figure.add_hline(y=actual, line={"color": palette.happened, "width": 2, "dash": "dot"})
    # A line shape has no legend entry of its own.
    figure.add_trace(
        go.Scatter(
            x=[None], y=[None], mode="lines", name=f"Actual close {actual:,.2f}",
            line={"color": palette.happened, "width": 2, "dash": "dot"},
        )
    )  # fmt: skip
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="sessions ahead when the forecast was made", autorange="reversed", dtick=1)
    spread = pd.concat([rows["close_p10"], rows["close_p90"], pd.Series([actual])])
    margin = (spread.max() - spread.min()) * 0.12
    figure.update_yaxes(title="close", range=[spread.min() - margin, spread.max() + margin])
    return _finish(figure, palette, 340).update_layout(legend_y=-0.3, hovermode="x")


def close_histogram(closes: pd.Series, buckets: int, palette: Palette) -> go.Figure:
    """Number of sessions per bucket of closes, the last close marked."""
    counts, edges = np.histogram(closes, bins=buckets)
    figure = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges) * 0.94, marker_color=palette.close,
            opacity=0.75,
            customdata=np.column_stack([edges[:-1], edges[1:]]), name="Sessions",
            hovertemplate="%{customdata[0]:.2f} – %{customdata[1]:.2f}: %{y} sessions<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=float(closes.iloc[-1]), line={"color": palette.happened, "width": 2, "dash": "dot"})
    figure.update_xaxes(title="close")
    figure.update_yaxes(title="sessions")
    return _finish(figure, palette, 300, legend=False).update_layout(hovermode="closest")


def rsi_and_macd(studied: pd.DataFrame, palette: Palette) -> go.Figure:
    """RSI 14 with its conventional 30 and 70, and MACD 12-26-9 with its signal and histogram."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    figure.add_trace(_line(studied, RSI, RSI_LABEL, palette.forecast), row=1, col=1)
    for level in (30, 70):
        figure.add_hline(y=level, line={"color": palette.muted, "width": 1, "dash": "dot"}, row=1, col=1)
    histogram = go.Bar(
        x=studied["date"], y=studied["macd_hist"], name="Histogram", marker_color=palette.muted, opacity=0.55
    )
    figure.add_trace(histogram, row=2, col=1)
    figure.add_trace(_line(studied, "macd", "MACD", palette.close), row=2, col=1)
    figure.add_trace(_line(studied, "macd_signal", "Signal", palette.happened), row=2, col=1)
    figure.update_yaxes(title="RSI", range=[0, 100], tickvals=[0, 30, 50, 70, 100], row=1, col=1)
    figure.update_yaxes(title="MACD", row=2, col=1)
    _skip_weekends(figure, studied["date"])
    return _finish(figure, palette, 380)


def _beside_one(
    values: Sequence[float],
    names: Sequence[str],
    above: Sequence[float],
    below: Sequence[float],
    palette: Palette,
    hover: Mapping[str, Any],
) -> go.Figure:
    """Ratios, one line each, with how far their intervals reach `above` and `below` them; left of 1 is better."""
    figure = go.Figure(
        go.Scatter(
            x=values, y=names, mode="markers",
            marker={
                "size": 12, "color": [palette.forecast if v <= 1 else palette.happened for v in values],
                "symbol": ["circle" if v <= 1 else "diamond" for v in values],
            },
            error_x={"array": above, "arrayminus": below, "color": palette.muted, "thickness": 2},
            **hover,
        )
    )  # fmt: skip
    figure.add_vline(x=1, line={"color": palette.muted, "width": 1, "dash": "dot"})
    figure.update_yaxes(autorange="reversed", showgrid=True)
    return figure


def proof(model: pd.Series, palette: Palette) -> go.Figure:
    """The walk-forward ratios of one `trained_model` row; left of 1 the LSTM is better."""
    judged = {name: ratio.shown for name, ratio in RATIOS.items() if math.isfinite(model[name])}
    values = [float(model[name]) for name in judged]
    low, high = float(model["rmse_ratio_rw_low"]), float(model["rmse_ratio_rw_high"])
    none = [0.0] * (len(judged) - 1)
    above, below = [high - values[0], *none], [values[0] - low, *none]
    hover = {"hovertemplate": "%{y}: %{x:.3f}<extra></extra>"}
    figure = _beside_one(values, list(judged.values()), above, below, palette, hover)
    figure.update_xaxes(title="LSTM error / baseline error", showgrid=True, tickformat=".2f")
    return _finish(figure, palette, 320, legend=False).update_layout(hovermode="closest")


def ratios(shown: pd.DataFrame, palette: Palette, title: str) -> go.Figure:
    """Ratios with their intervals, one line each; left of 1 is better.

    Args:
        shown: `name`, `ratio`, `low` and `high` (NaN where there is no interval).
        title: what is divided by what.
    """
    values, names = shown["ratio"].tolist(), shown["name"].tolist()
    above, below = ((shown[name] - shown["ratio"]).abs().fillna(0).tolist() for name in ("high", "low"))
    hover = {
        "customdata": shown[["low", "high"]],
        "hovertemplate": "%{y}: %{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra></extra>",
    }
    figure = _beside_one(values, names, above, below, palette, hover)
    figure.update_xaxes(title=title, showgrid=True, tickformat=".3~f")
    height = 110 + 42 * len(shown)
    return _finish(figure, palette, height, legend=False).update_layout(hovermode="closest")


def pit_histogram(shares: Floats, palette: Palette) -> go.Figure:
    """Share of outcomes by the probability that the forecast gave to less; level if the forecast is right."""
    width = 100 / len(shares)
    figure = go.Figure(
        go.Bar(
            x=(np.arange(len(shares)) + 0.5) * width, y=shares * 100, width=width * 0.94, marker_color=palette.forecast,
            opacity=0.8, hovertemplate="%{y:.1f} % of outcomes<extra></extra>",
        )
    )  # fmt: skip
    figure.add_hline(y=width, line={"color": palette.muted, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="probability below the close", ticksuffix=" %", range=[0, 100])
    figure.update_yaxes(title="outcomes", ticksuffix=" %", rangemode="tozero")
    return _finish(figure, palette, 300, legend=False).update_layout(hovermode="closest")


def reliability(levels: Sequence[float], shares: Floats, palette: Palette) -> go.Figure:
    """Level of each quantile against the share of closes at or below it; on the diagonal if the forecast is right."""
    figure = go.Figure(
        go.Scatter(
            x=np.array(levels) * 100, y=shares * 100, mode="lines+markers",
            line={"color": palette.forecast, "width": 2},
            hovertemplate="%{x:.0f} % quantile: %{y:.1f} % of closes<extra></extra>",
        )
    )  # fmt: skip
    ends = {"x": [0, 100], "y": [0, 100], "mode": "lines", "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(**ends, line={"color": palette.muted, "width": 1, "dash": "dot"}))
    figure.update_xaxes(title="level of the quantile", ticksuffix=" %", range=[0, 100])
    figure.update_yaxes(title="closes at or below", ticksuffix=" %", range=[0, 100])
    return _finish(figure, palette, 300, legend=False).update_layout(hovermode="closest")


def coverage(over_time: pd.DataFrame, palette: Palette) -> go.Figure:
    """Share of closes inside the 80 % interval over time, with the 80 % it should be."""
    shares = over_time.assign(coverage=over_time["coverage"] * 100)
    figure = go.Figure(_line(shares, "coverage", "Coverage", palette.forecast, width=2, hovertemplate="%{y:.1f} %"))
    figure.add_hline(y=80, line={"color": palette.muted, "width": 1, "dash": "dot"})
    figure.update_yaxes(ticksuffix=" %", range=[0, 105])
    _skip_weekends(figure, over_time["date"])
    return _finish(figure, palette, 300, legend=False)


def compared(closes: pd.DataFrame, palette: Palette) -> go.Figure:
    """Closes of several tickers as a change in per cent since the first session that all have.

    Args:
        closes: indexed by date, a column per ticker.
    """
    shown = closes.dropna()
    figure = go.Figure()
    for ticker, color in zip(shown.columns, palette.lines, strict=False):
        change = pd.DataFrame({"date": shown.index, "change": (shown[ticker] / shown[ticker].iloc[0] - 1) * 100})
        figure.add_trace(_line(change, "change", str(ticker), color, width=1.8, hovertemplate="%{y:+.1f} %"))
    figure.add_hline(y=0, line={"color": palette.muted, "width": 1, "dash": "dot"})
    figure.update_yaxes(title="change", ticksuffix=" %")
    _skip_weekends(figure, pd.Series(shown.index))
    return _finish(figure, palette, 320)


def error_by_horizon(errors: pd.DataFrame, palette: Palette) -> go.Figure:
    """RMSE per horizon in per cent of the close, published forecast beside the random walk."""
    figure = go.Figure()
    for column, name, color in (
        ("naive_rmse", "Random walk", palette.muted),
        ("rmse", "Published forecast", palette.forecast),
    ):
        figure.add_trace(
            go.Bar(
                x=errors["horizon"], y=errors[column], name=name, marker_color=color,
                hovertemplate="%{y:.2f} %",
            )
        )  # fmt: skip
    figure.update_xaxes(title="sessions ahead", dtick=1)
    figure.update_yaxes(title="typical error", ticksuffix=" %")
    return _finish(figure, palette, 300).update_layout(barmode="group", legend_y=-0.3)


def drift_history(drift: pd.DataFrame, palette: Palette) -> go.Figure:
    """Each feature's score over its threshold by day; at 1 and above it counts as drifted."""
    figure = go.Figure()
    for (feature, rows), color in zip(drift.groupby("feature", sort=True), palette.lines, strict=False):
        ratio = rows.assign(ratio=rows["score"] / rows["threshold"]).sort_values("date")
        figure.add_trace(
            _line(ratio, "ratio", str(feature), color, width=1.8, hovertemplate="%{y:.2f}").update(
                mode="lines+markers" if len(ratio) < 40 else "lines", marker={"size": 5}
            )
        )
    figure.add_hline(y=1, line={"color": palette.happened, "width": 1.5, "dash": "dot"})
    figure.update_yaxes(title="score / threshold", rangemode="tozero")
    _skip_weekends(figure, drift["date"])
    return _finish(figure, palette, 320).update_layout(legend_y=-0.22)


@dataclass(frozen=True)
class Scale:
    """How a feature's values are shown to people: what is done to them, and the axis for it."""

    shown: Callable[[Floats], Floats]
    axis: Mapping[str, Any]


def _log_axis(unit: str) -> dict[str, Any]:
    # Plotly would write the 2 and the 5 of a decade small and without their unit.
    ticks = [digit * 10.0**decade for decade in range(-4, 5) for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}{unit}" for tick in ticks]}


PLAIN = Scale(lambda values: values, {})
PER_CENT = Scale(lambda values: values * 100, {"ticksuffix": " %"})
LOG_RETURN = Scale(lambda values: np.expm1(values) * 100, {"ticksuffix": " %"})
LOG_PER_CENT = Scale(lambda values: np.exp(values) * 100, _log_axis(" %"))
LOG_RATIO = Scale(np.exp, _log_axis("×"))


def distributions(
    feature: Mapping[str, Any], palette: Palette, scale: Scale = PLAIN, reference: str = "Training window"
) -> go.Figure:
    """The reference, called `reference`, and the recent sessions of one feature, as shares per bucket, from a stored
    drift record."""
    edges = np.array(feature["edges"])
    middle = scale.shown((edges[:-1] + edges[1:]) / 2)
    figure = go.Figure()
    for name, label, color, fill in (
        ("reference", reference, palette.muted, "tozeroy"),
        ("current", "Recent sessions", palette.forecast, None),
    ):
        share = np.array(feature[name]["histogram"]) / max(feature[name]["n"], 1) * 100
        figure.add_trace(
            go.Scatter(
                x=middle, y=share, name=label, mode="lines", fill=fill,
                line={"color": color, "width": 2, "shape": "hvh"}, hovertemplate="%{y:.1f} %",
            )
        )  # fmt: skip
    figure.update_xaxes(hoverformat=".3~g", **scale.axis)
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero", nticks=4)
    return _finish(figure, palette, 190, legend=False)
