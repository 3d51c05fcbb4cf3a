"""Every read of the dashboard: by the warehouse's read interface, cached for a minute, nothing kept open."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from stockcast_assets import tables
from stockcast_assets.market import indicators
from stockcast_assets.monitoring.drift import drift_features
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.settings import Settings, load_settings
from stockcast_assets.tables import Table

TTL_SECONDS = 60
RECENT_DAYS = 45
_TABLES = {table.name: table for table in tables.ALL_TABLES}


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """The settings of this server."""
    return load_settings()


@st.cache_resource(show_spinner=False)
def _warehouse() -> Any:
    from stockcast_assets.wiring import warehouse_from

    return warehouse_from(settings())


@st.cache_data(ttl=TTL_SECONDS, max_entries=300, show_spinner="Reading the warehouse…")
def _read(
    table: str,
    tickers: tuple[str, ...] | None,
    start: date | None,
    end: date | None,
    columns: tuple[str, ...] | None,
) -> pd.DataFrame:
    return _warehouse().read(_TABLES[table], tickers=tickers, start=start, end=end, columns=columns)


def read(
    table: Table,
    *,
    tickers: Sequence[str] | None = None,
    start: date | None = None,
    end: date | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows of a table, as `Warehouse.read` gives them, at most a minute old."""
    return _read(
        table.name,
        None if tickers is None else tuple(tickers),
        start,
        end,
        None if columns is None else tuple(columns),
    )


def recent(table: Table, columns: Sequence[str] | None = None, days: int = RECENT_DAYS) -> pd.DataFrame:
    """The rows of the last `days` days of the data, whole table if nothing is that new."""
    until = min(date.today(), settings().end_date or date.max)
    rows = read(table, start=until - timedelta(days=days), columns=columns)
    return rows if len(rows) else read(table, columns=columns)


def tickers() -> list[str]:
    """Tickers with a model, a recent bar or a history, sorted."""
    known = {*read(tables.TRAINED_MODEL, columns=["ticker", "date"])["ticker"]}
    known |= {*recent(tables.RAW_PRICES, columns=["ticker", "date"])["ticker"]}
    if not known:
        known |= {*read(tables.PRICE_HISTORY, columns=["ticker", "date"])["ticker"]}
    return sorted(known)


def bars(ticker: str) -> pd.DataFrame:
    """All bars of a ticker, sorted by date; a day in both tables counts once, as `raw_prices` has it."""
    daily = read(tables.RAW_PRICES, tickers=[ticker])
    past = read(tables.PRICE_HISTORY, tickers=[ticker])
    if daily.empty or past.empty:
        return past if daily.empty else daily
    both = pd.concat([daily, past], ignore_index=True)
    return both.drop_duplicates("date", keep="first").sort_values("date", ignore_index=True)


def studied(ticker: str) -> pd.DataFrame:
    """All bars of a ticker with their indicators beside them.

    Computed here with the functions the `indicators` asset uses, because that table begins at
    STOCKCAST_START_DATE and a chart should not.
    """
    prices = bars(ticker).reset_index(drop=True)
    computed = indicators.compute(prices).drop(columns=["ticker", "date", "close"])
    return pd.concat([prices, computed], axis=1)


def report_store() -> ReportStore:
    """Where this home keeps its drift reports."""
    return ReportStore(Path(settings().reports))


@st.cache_data(ttl=600, max_entries=4, show_spinner="Drawing Evidently's report…")
def drift_page(ticker: str, day: date) -> str:
    """Evidently's full report of a day as one page; StockcastError if the day has none."""
    return report_store().render(ticker, day, drift_features(bars(ticker)))
