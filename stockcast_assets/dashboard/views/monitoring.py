"""Monitoring: whether a ticker still behaves as in the window its model was trained on."""

from datetime import date
from urllib.parse import quote

import pandas as pd
import streamlit as st

from stockcast_assets.dashboard import charts, data, summaries
from stockcast_assets.dashboard.layout import Card, cards, figure, fine_print, palette, state, ticker_picker
from stockcast_assets.dashboard.summaries import per_cent
from stockcast_assets.tables import DRIFT_REPORT

FEATURES = {
    "log_return": "Daily return",
    "log_range": "Daily range (high to low)",
    "volume_ratio": "Volume against its 20-session mean",
    "rsi_14": "RSI 14",
    "macd_hist_ratio": "MACD histogram over price",
}


def show() -> None:
    """The page."""
    st.title("Monitoring")
    pickers = st.columns([2, 2, 3])
    with pickers[0]:
        ticker = ticker_picker()
    if ticker is None:
        return
    drift = data.read(DRIFT_REPORT, tickers=[ticker])
    if drift.empty:
        state(
            f"No drift report of {ticker}",
            "Reports appear once the ticker has a model and 60 sessions to compare:",
            f"stockcast forecast {ticker}",
        )
        return
    drift = drift.assign(feature=drift["feature"].map(lambda name: FEATURES.get(name, name)))
    days = summaries.drift_days(drift)
    with pickers[1]:
        chosen = st.selectbox(
            "Report of", [f"{day:%Y-%m-%d}" for day in days["date"]], key="date", bind="query-params",
            persist_state="session",
        )  # fmt: skip
    day = pd.Timestamp(chosen)
    _numbers(days, day)
    fine_print(
        "Distance of the last 60 sessions from the training window, over the distance that ordinary blocks "
        "of 60 sessions stay below 99 % of the time. At 1 and above a feature counts as drifted."
    )
    figure(charts.drift_history(drift, palette()), f"Drift score over threshold of {ticker} by day and feature")
    _distributions(ticker, day.date())
    _days(days)
    _report(ticker, day.date())


def _numbers(days: pd.DataFrame, day: pd.Timestamp) -> None:
    row = days[days["date"] == day].iloc[0]
    cards(
        [
            Card("Drift that day", "yes" if row["drifted"] else "no", f"{row['drifted_features']} features"),
            Card("Highest score / threshold", f"{row['ratio']:.2f}", str(row["feature"])),
            Card(
                "Days with drift",
                f"{int(days['drifted'].sum())} of {len(days)}",
                per_cent(days["drifted"].mean(), 0),
            ),
        ]
    )


def _distributions(ticker: str, day: date) -> None:
    st.header("Recent sessions against the training window")
    record = data.report_store().record(ticker, day)
    if record is None:
        state(
            "The report file is not here",
            "Its numbers are; the file is in the home of the machine that wrote it.",
        )
        return
    fine_print(
        f"Training window {record['reference']['from']} to {record['reference']['to']}; "
        f"recent sessions {record['current']['from']} to {record['current']['to']}."
    )
    columns = st.columns(2)
    for index, feature in enumerate(record["features"]):
        with columns[index % 2]:
            name = FEATURES.get(feature["feature"], feature["feature"])
            mark = " · **drifted**" if feature["drifted"] else ""
            st.markdown(f"**{name}**  \ndistance {feature['score']:.2f}, threshold {feature['threshold']:.2f}{mark}")
            figure(charts.distributions(feature, palette()), f"Distribution of {name} in both windows")


def _days(days: pd.DataFrame) -> None:
    st.header("Days")
    st.dataframe(
        days,
        hide_index=True,
        height=min(38 + 35 * len(days), 390),
        column_config={
            "date": st.column_config.DateColumn("Day"),
            "drifted": st.column_config.CheckboxColumn("Drift"),
            "feature": "Closest feature",
            "ratio": st.column_config.ProgressColumn("Score / threshold", format="%.2f", min_value=0, max_value=2),
            "drifted_features": "Features drifted",
        },
    )


def _report(ticker: str, day: date) -> None:
    if data.report_store().record(ticker, day) is None:
        return
    st.header("Evidently's full report")
    st.link_button("Open it on a page of its own", f"/reports/{quote(ticker, safe='')}/{day}")
    if st.toggle("Show it here", key="report"):
        html = data.drift_page(ticker, day)
        st.download_button("Download the page", html, f"drift-{ticker}-{day}.html", "text/html")
        st.components.v1.html(html, height=900, scrolling=True)
