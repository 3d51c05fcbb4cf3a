"""Universe: every ticker in one table."""

from functools import partial
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.dashboard import data
from stockcast_assets.dashboard.layout import browser_title, figure, fine_print, nothing_yet, notice, palette
from stockcast_assets.dashboard.summaries import per_cent, price
from stockcast_assets.dashboard.words import GLOSSARY
from stockcast_assets.methods import method_label
from stockcast_assets.monitoring import live
from stockcast_assets.spreadsheet import to_csv
from stockcast_assets.tables import HORIZON, INDICATORS, RSI, RSI_LABEL, VOLATILITY_WINDOW

# In order of use: a phone shows the first four.
COLUMNS: dict[str, Any] = {
    "ticker": st.column_config.LinkColumn("Ticker", display_text=r"ticker=(.*)$", pinned=True),
    "close": "Close",
    "change": "Day",
    "outlook": st.column_config.Column(f"In {HORIZON} sessions", help=GLOSSARY["Median"]),
    "company": st.column_config.TextColumn("Company", width=130),
    "low": st.column_config.Column("80 % low", help=GLOSSARY["80 % interval"]),
    "high": st.column_config.Column("80 % high", help=GLOSSARY["80 % interval"]),
    "width": "Interval width",
    "beside_har": st.column_config.NumberColumn("Interval / HAR", format="%.3f", help=GLOSSARY["Pinball loss"]),
    "closes": st.column_config.LineChartColumn("Last closes"),
    "volatility": st.column_config.Column(f"Volatility ({VOLATILITY_WINDOW})", help=GLOSSARY["Volatility"]),
    RSI: st.column_config.NumberColumn(RSI_LABEL, format="%.0f", help=GLOSSARY["RSI"]),
    "drifted": st.column_config.Column("Drift", help=GLOSSARY["Drift (of data)"]),
    "report": st.column_config.Column("Next report", help=GLOSSARY["Next report"]),
    "method": st.column_config.TextColumn("Published by", width=250),
    "as_of": st.column_config.DateColumn("As of"),
    "state": "State",
}

SESSIONS = 250
"""Target sessions over which the published interval is compared with HAR's."""

_NAMED = 10

_OF = {
    live.IN_TIME: "",
    live.LATE: " None of these forecasts came in time: they are replays of a backfill.",
    live.UNKNOWN: " When these forecasts were published is not known.",
}
"""What is said of when the compared forecasts were published."""


def beside_har_words(published: str, table: pd.DataFrame) -> str:
    """Which tickers' published interval lost to HAR's.

    Args:
        published: when the forecasts were, one of `live.by_publication`'s.
        table: `live.by_ticker`.
    """
    lost = table.loc[table["ratio"] > 1, "ticker"]
    names = ", ".join(lost[:_NAMED]) + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
    sure = int(table["lost"].sum())
    found = f"{len(lost)} of {len(table)}: {names}; {sure} by more than chance explains" if len(lost) else "none"
    return f"Tickers whose published interval lost to HAR's in the last {SESSIONS} sessions: {found}.{_OF[published]}"


def show() -> None:
    """The page."""
    st.title("Universe")
    browser_title("Universe")
    rows = data.universe()
    if rows.empty:
        nothing_yet()
        return
    states = data.ticker_states(tuple(rows["ticker"]))
    rows.insert(1, "state", rows["ticker"].map({ticker: each.state for ticker, each in states.items()}))
    rows.insert(1, "company", rows["ticker"].map({ticker: each.company or None for ticker, each in states.items()}))
    silent = sorted({*data.tickers()} - {*rows["ticker"]})
    fine_print(f"{len(rows)} tickers, latest session of each. Click a heading to sort, a ticker to open its page.")
    if silent:
        st.html(notice(f"Nothing in the last {data.RECENT_DAYS} days: {', '.join(silent[:20])}"))
    published, live_scores = data.beside_har(SESSIONS)
    if len(live_scores):
        rows["beside_har"] = rows["ticker"].map(live_scores.set_index("ticker")["ratio"])
        fine_print(beside_har_words(published, live_scores))
    else:
        rows["beside_har"] = float("nan")
    reports = data.next_reports(dict(zip(rows["ticker"], rows["as_of"], strict=True)))
    link = "forecasts?ticker=" + rows["ticker"].map(lambda ticker: quote(ticker, safe=""))
    shown = rows.assign(
        ticker=link,
        report=rows["ticker"].map({ticker: f"{day:%Y-%m-%d}" for ticker, (day, *_) in reports.items()}).fillna("–"),
        method=rows["method"].map(method_label, na_action="ignore"),
        drifted=rows["drifted"].map({True: "yes", False: "no"}),
    )[list(COLUMNS)]
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
