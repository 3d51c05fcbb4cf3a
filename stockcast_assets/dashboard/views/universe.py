"""Universe: every ticker in one table."""

from functools import partial
from typing import Any
from urllib.parse import quote

import streamlit as st

from stockcast_assets.dashboard import data
from stockcast_assets.dashboard.layout import fine_print, nothing_yet, notice
from stockcast_assets.dashboard.summaries import per_cent, price
from stockcast_assets.forecasting.serving.forecaster import method_label
from stockcast_assets.spreadsheet import to_csv

# In order of use: a phone shows the first four.
COLUMNS: dict[str, Any] = {
    "ticker": st.column_config.LinkColumn("Ticker", display_text=r"ticker=(.*)$", pinned=True),
    "close": "Close",
    "change": "Day",
    "outlook": "In 10 sessions",
    "low": "80 % low",
    "high": "80 % high",
    "width": "Interval width",
    "closes": st.column_config.LineChartColumn("Last closes"),
    "volatility": "Volatility a year",
    "rsi_14": st.column_config.NumberColumn("RSI 14", format="%.0f"),
    "drifted": st.column_config.CheckboxColumn("Drift"),
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
    link = "forecasts?ticker=" + rows["ticker"].map(lambda ticker: quote(ticker, safe=""))
    shown = rows.assign(ticker=link, method=rows["method"].map(method_label, na_action="ignore"))[list(COLUMNS)]
    written: dict[str, Any] = {
        **dict.fromkeys(("close", "low", "high"), price),
        **dict.fromkeys(("change", "outlook"), partial(per_cent, sign=True)),
        **dict.fromkeys(("width", "volatility"), per_cent),
        "as_of": "{:%Y-%m-%d}",
    }
    st.dataframe(
        shown.style.format(written, na_rep="–"),
        hide_index=True,
        height=min(38 + 35 * len(rows), 720),
        column_config=COLUMNS,
        alt="The latest state of every ticker",
    )
    st.download_button("Table as CSV", to_csv(rows.drop(columns="closes")), "universe.csv", "text/csv")
