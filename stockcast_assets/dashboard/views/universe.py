"""Universe: every ticker in one table."""

from urllib.parse import quote

import streamlit as st

from stockcast_assets.dashboard import data, summaries
from stockcast_assets.dashboard.layout import fine_print, state


def show() -> None:
    """The page."""
    st.title("Universe")
    rows = data.universe()
    if rows.empty:
        state(
            "Nothing here yet",
            f"{data.place()} holds no ticker. Fill it with the bundled history:",
            "stockcast demo",
        )
        return
    states = data.ticker_states(tuple(rows["ticker"]))
    rows.insert(1, "state", rows["ticker"].map(states))
    silent = sorted({*data.tickers()} - {*rows["ticker"]})
    fine_print(f"{len(rows)} tickers, latest session of each. Click a heading to sort, a ticker to open its page.")
    if silent:
        st.warning(f"Nothing in the last {data.RECENT_DAYS} days: {', '.join(silent[:20])}")
    ratios = ["change", "outlook", "width", "volatility"]
    shown = rows.assign(
        ticker="/forecasts?ticker=" + rows["ticker"].map(quote), **{name: rows[name] * 100 for name in ratios}
    )
    st.dataframe(
        shown,
        hide_index=True,
        height=min(38 + 35 * len(rows), 720),
        column_config={
            "ticker": st.column_config.LinkColumn("Ticker", display_text=r"ticker=(.*)$", pinned=True),
            "state": "State",
            "as_of": st.column_config.DateColumn("As of"),
            "close": st.column_config.NumberColumn("Close", format="%.2f"),
            "change": st.column_config.NumberColumn("Day", format="%.1f %%"),
            "outlook": st.column_config.NumberColumn("Median, 10 sessions", format="%.1f %%"),
            "low": st.column_config.NumberColumn("80 % low", format="%.2f"),
            "high": st.column_config.NumberColumn("80 % high", format="%.2f"),
            "width": st.column_config.NumberColumn("Interval width", format="%.1f %%"),
            "method": "Method",
            "rsi_14": st.column_config.NumberColumn("RSI 14", format="%.0f"),
            "volatility": st.column_config.NumberColumn("Volatility a year", format="%.1f %%"),
            "drifted": st.column_config.CheckboxColumn("Drift"),
            "closes": st.column_config.LineChartColumn("Closes"),
        },
    )
    st.download_button("Table as CSV", summaries.csv(rows.drop(columns="closes")), "universe.csv", "text/csv")
