"""Monitoring: whether the market, the model and the forecasts' errors still are what they were taken for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.dashboard import data, summaries
from stockcast_assets.dashboard.layout import (
    Card,
    browser_title,
    cards,
    color_key,
    day_picker,
    figure,
    fine_print,
    palette,
    state,
    ticker_picker,
    told,
)
from stockcast_assets.monitoring.drift import CURRENT_SESSIONS, LEAST_CURRENT
from stockcast_assets.monitoring.series import INPUTS, KIND_OF, PREDICTIONS, RESIDUALS
from stockcast_assets.tables import HORIZON, RSI, RSI_LABEL, VOLUME_WINDOW

FEATURES = {
    "log_return": "Daily return",
    "log_range": "Daily range (high to low)",
    "volume_ratio": f"Volume over its {VOLUME_WINDOW}-session mean",
    RSI: RSI_LABEL,
    "macd_hist_ratio": "MACD histogram over price",
    "width_1": "Interval width, 1 session ahead",
    f"width_{HORIZON}": f"Interval width, {HORIZON} sessions ahead",
    f"median_{HORIZON}": f"Median, {HORIZON} sessions ahead",
    "pit": "Where the close fell in its forecast",
    "pit_distance": "How far from the forecast's median",
}
SCALES = {
    "log_return": charts.LOG_RETURN,
    "log_range": charts.LOG_RETURN,
    "volume_ratio": charts.LOG_RATIO,
    "macd_hist_ratio": charts.PER_CENT,
    "width_1": charts.LOG_PER_CENT,
    "width_10": charts.LOG_PER_CENT,
    "median_10": charts.LOG_RETURN,
}
"""How the values of a feature are read; the others as they are."""


@dataclass(frozen=True)
class Kind:
    """How a kind of drift is shown: its name, its heading, what is compared with what, what the reference is called."""

    name: str
    heading: str
    compared: str
    reference: str = "Training window"


KINDS: Mapping[str, Kind] = {
    INPUTS: Kind(
        "Inputs",
        "Inputs: what the market does",
        "The last 60 sessions against the window that the month's model was trained on.",
    ),
    PREDICTIONS: Kind(
        "Predictions",
        "Predictions: what the model says",
        "What the model in use says of the last 60 sessions against what it says of its training window; widths on a "
        "logarithmic scale.",
    ),
    RESIDUALS: Kind(
        "Residuals",
        "Residuals: how the forecasts err",
        "The closes of the last 60 sessions within the forecasts published the session before: 0 is below all that was "
        "expected, 1 above. If the forecasts are right, every place is as likely as any other.",
        "As promised",
    ),
}


def show() -> None:
    """The page."""
    st.title("Monitoring")
    pickers = st.columns([2, 2, 3])
    ticker = ticker_picker(pickers[0])
    if ticker is None:
        return
    browser_title("Monitoring", ticker)
    drift = data.drift(ticker)
    if drift.empty:
        state(
            f"No drift report of {ticker}",
            "Reports appear once the ticker has a model and 60 sessions to compare:",
            f"stockcast forecast {ticker}",
        )
        return
    drift = drift.assign(feature=drift["feature"].map(lambda name: FEATURES.get(name, name)))
    days = summaries.drift_days(drift)
    day = day_picker(pickers[1], "Report of", list(days["date"]))
    _numbers(drift, days, day)
    fine_print(
        "A score is the distance from what is to be expected, over the distance that ordinary sessions stay below 99 % "
        "of the time. At 1 and above a feature counts as drifted."
    )
    record = data.drift_record(ticker, day.date())
    for name, kind in KINDS.items():
        _kind(kind, name, drift[drift["kind"] == name], record, ticker)
    _days(days)
    _report(ticker, day.date(), record)


def _numbers(drift: pd.DataFrame, days: pd.DataFrame, day: pd.Timestamp) -> None:
    today = drift[drift["date"] == day].assign(ratio=lambda rows: rows["score"] / rows["threshold"])
    items = []
    for name, kind in KINDS.items():
        own = today[today["kind"] == name]
        if own.empty:
            items.append(Card(kind.name, "–", "not compared"))
            continue
        worst = own.sort_values("ratio").iloc[-1]
        verdict = "drifted" if own["drifted"].any() else "as expected"
        items.append(Card(kind.name, verdict, f"{worst['ratio']:.2f} · {worst['feature']}"))
    share = summaries.per_cent(days["drifted"].mean(), 0)
    cards([*items, Card("Days with drift", f"{int(days['drifted'].sum())} of {len(days)}", share)])


def _kind(kind: Kind, name: str, drift: pd.DataFrame, record: Mapping[str, Any] | None, ticker: str) -> None:
    st.header(kind.heading)
    fine_print(kind.compared)
    if drift.empty:
        state(f"{kind.name} are not compared yet", _why_not(name, record))
        return
    figure(charts.drift_history(drift, palette()), f"{kind.name}: drift score over threshold of {ticker} by day")
    if record is None:
        return
    features = [row for row in record["features"] if KIND_OF.get(row["feature"]) == name]
    if not features:
        fine_print(f"Not compared that day: {_why_not(name, record)}")
        return
    colors = palette()
    color_key([(colors.muted, kind.reference), (colors.forecast, "Recent sessions")])
    for start in range(0, len(features), 3):
        # A row at a time: on a phone, where columns follow each other, the order stays.
        for place, feature in zip(st.columns(3), features[start : start + 3], strict=False):
            with place:
                title = FEATURES.get(feature["feature"], feature["feature"])
                mark = " · drifted" if feature["drifted"] else ""
                distance = f"distance {feature['score']:.2f}, threshold {feature['threshold']:.2f}{mark}"
                told(title, distance)
                scale = SCALES.get(feature["feature"], charts.PLAIN)
                figure(
                    charts.distributions(feature, colors, scale, kind.reference),
                    f"Distribution of {title}: recent sessions and {kind.reference.lower()}",
                )


def _why_not(name: str, record: Mapping[str, Any] | None) -> str:
    """Why a kind has no row of a day, in a sentence."""
    said = None if record is None else record.get("too_few", {}).get(name)
    if said:
        return f"{said[0].upper()}{said[1:]}."
    if name == RESIDUALS:
        return f"At least {LEAST_CURRENT} of the last {CURRENT_SESSIONS} sessions need a scored forecast."
    return "Materialise drift_report again: an earlier release made this one."


def _days(days: pd.DataFrame) -> None:
    st.header("Days")
    st.dataframe(
        days.assign(drifted=days["drifted"].map({True: "yes", False: "no"})),
        hide_index=True,
        height=min(38 + 35 * len(days), 390),
        column_config={
            "date": st.column_config.DateColumn("Day"),
            "drifted": "Drift",
            "kinds": "Drift of",
            "feature": "Closest feature",
            "ratio": st.column_config.ProgressColumn("Score / threshold", format="%.2f", min_value=0, max_value=2),
            "drifted_features": "Features drifted",
        },
    )


def _report(ticker: str, day: date, record: Mapping[str, Any] | None) -> None:
    st.header("Evidently's full report")
    if record is None:
        state(
            "The report of this day is not stored",
            f"It was pruned (STOCKCAST_REPORTS_KEEP_DAYS) or is in another place than {data.report_store().location}; "
            "its scores above stay. Materialise drift_report for the day to have it again.",
        )
        return
    windows = (f"{record[window]['from']} to {record[window]['to']}" for window in ("reference", "current"))
    fine_print("Training window {}; recent sessions {}.".format(*windows))
    # Relative, so that it works below a proxy's path.
    st.link_button("Open the report", f"reports/{quote(ticker, safe='')}/{day}")
