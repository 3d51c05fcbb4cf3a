"""Universe: every ticker in one table."""

from functools import partial
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.dashboard import data
from stockcast_assets.dashboard.layout import figure, fine_print, nothing_yet, notice, palette
from stockcast_assets.dashboard.summaries import per_cent, price
from stockcast_assets.methods import method_label
from stockcast_assets.spreadsheet import to_csv
from stockcast_assets.tables import HORIZON, INDICATORS, RSI, RSI_LABEL, VOLATILITY_WINDOW

# In order of use: a phone shows the first four.
COLUMNS: dict[str, Any] = {
    "ticker": st.column_config.LinkColumn("Ticker", display_text=r"ticker=(.*)$", pinned=True),
    "close": "Close",
    "change": "Day",
    "outlook": f"In {HORIZON} sessions",
    "low": "80 % low",
    "high": "80 % high",
    "width": "Interval width",
    "closes": st.column_config.LineChartColumn("Last closes"),
    "volatility": f"Volatility ({VOLATILITY_WINDOW})",
    RSI: st.column_config.NumberColumn(RSI_LABEL, format="%.0f"),
    "drifted": "Drift",
    "report": st.column_config.DateColumn("Next report"),
    "method": "Published by",
    "as_of": st.column_config.DateColumn("As of"),
    "state": "State",
}


def show() -> None:
    """The page."""
    st.title("Universe")
    rows = data.universe()
    if rows.empty:
        nothing_yet()
        return
    states = data.ticker_states(tuple(rows["ticker"]))
    rows.insert(1, "state", rows["ticker"].map(states))
    silent = sorted({*data.tickers()} - {*rows["ticker"]})
    fine_print(f"{len(rows)} tickers, latest session of each. Click a heading to sort, a ticker to open its page.")
    if silent:
        st.html(notice(f"Nothing in the last {data.RECENT_DAYS} days: {', '.join(silent[:20])}"))
    reports = data.next_reports(dict(zip(rows["ticker"], rows["as_of"], strict=True)))
    link = "forecasts?ticker=" + rows["ticker"].map(lambda ticker: quote(ticker, safe=""))
    shown = rows.assign(
        ticker=link,
        report=pd.to_datetime(rows["ticker"].map({ticker: day for ticker, (day, *_) in reports.items()})),
        method=rows["method"].map(method_label, na_action="ignore"),
        drifted=rows["drifted"].map({True: "yes", False: "no"}),
    )[list(COLUMNS)]
    written: dict[str, Any] = {
        **dict.fromkeys(("close", "low", "high"), price),
        **dict.fromkeys(("change", "outlook"), partial(per_cent, sign=True)),
        **dict.fromkeys(("width", "volatility"), per_cent),
        **dict.fromkeys(("as_of", "report"), "{:%Y-%m-%d}"),
    }
    st.dataframe(
        shown.style.format(written, na_rep="–"),
        hide_index=True,
        height=min(38 + 35 * len(rows), 720),
        column_config=COLUMNS,
        alt="The latest state of every ticker",
    )
    st.download_button("Table as CSV", to_csv(rows.drop(columns="closes")), "universe.csv", "text/csv")
    _compare(list(rows["ticker"]))


def _compare(tickers: list[str]) -> None:
    st.header("Compare")
    chosen = st.multiselect(
        "Tickers", tickers, max_selections=len(palette().lines), placeholder="Choose two or more", key="compare",
        bind="query-params",
    )  # fmt: skip
    if len(chosen) < 2:
        fine_print("Two or more tickers are drawn in one figure, as changes since the first session that all have.")
        return
    rows = data.recent(INDICATORS, data.UNIVERSE_COLUMNS)
    closes = rows[rows["ticker"].isin(chosen)].pivot_table("close", "date", "ticker", observed=True)
    figure(charts.compared(closes, palette()), f"Change of {', '.join(chosen)} over the last sessions")
