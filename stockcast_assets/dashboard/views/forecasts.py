"""Forecasts: one ticker as of one session."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.charts.fan import Report, said
from stockcast_assets.charts.svg import fan
from stockcast_assets.dashboard import data, summaries
from stockcast_assets.dashboard.layout import (
    Card,
    browser_title,
    cards,
    day_picker,
    figure,
    fine_print,
    first_figure,
    lead,
    no_data,
    palette,
    state,
    ticker_picker,
)
from stockcast_assets.dashboard.summaries import per_cent, price
from stockcast_assets.dashboard.words import GLOSSARY, why_published
from stockcast_assets.market.currencies import quoted_in
from stockcast_assets.methods import OF_NETWORK, method_label
from stockcast_assets.spreadsheet import to_csv
from stockcast_assets.tables import FORECASTS, HORIZON, MACD_LABEL, RSI, RSI_LABEL, VOLATILITY, VOLATILITY_WINDOW
from stockcast_assets.tracking.serving import row_in_use

SPANS = {"3 months": 91, "6 months": 182, "1 year": 365, "5 years": 1826, "All": 36500}
EDGES = ("close_p10", "close_p90")


def show() -> None:
    """The page."""
    st.title("Forecasts")
    pickers = st.columns([2, 2, 3])
    ticker = ticker_picker(pickers[0])
    if ticker is None:
        return
    studied = data.studied(ticker)
    days = data.read(FORECASTS, tickers=[ticker], columns=["ticker", "date"])["date"]
    if studied.empty:
        no_data(ticker)
        return
    days = days.drop_duplicates().sort_values(ascending=False)
    if days.empty:
        days = studied["date"].tail(1)
        st.info(f"There is no forecast of {ticker} yet: run `stockcast forecast {ticker}`.")
    as_of = day_picker(pickers[1], "As of", list(days))
    with pickers[2]:
        span = st.segmented_control(
            "Window",
            list(SPANS),
            default="6 months",
            required=True,
            wrap=True,
            key="window",
            bind="query-params",
        )
    known = studied[studied["date"] <= as_of]
    window = known[known["date"] > as_of - pd.Timedelta(days=SPANS[span or "6 months"])]
    # Ten sessions and the longest holiday: every forecast that was made for this day.
    made = data.read(FORECASTS, tickers=[ticker], start=(as_of - pd.Timedelta(days=30)).date(), end=as_of.date())
    forecast = made[made["date"] == as_of]
    later = studied[studied["date"] > as_of].head(HORIZON)

    browser_title("Forecasts", ticker)
    model = _model(ticker, forecast)
    # The picture is sent first: the browser draws it while the rest of the page is still being made.
    above = st.container()
    reports = data.reports(ticker, as_of)
    place = first_figure(fan(window, forecast, palette(), reports))
    with above:
        if len(forecast):
            lead(f"{_answer(ticker, forecast)} {why_published(forecast.iloc[0]['method'], model)}")
        with st.container(horizontal=True):
            candles = st.toggle("Candlesticks and volume", key="candles", bind="query-params")
            log = st.toggle("Log scale", key="log", bind="query-params")
    with place:
        figure(
            charts.price_and_fan(window, forecast, later, palette(), candles, log, reports),
            f"Close of {ticker} with moving averages and the forecast intervals of the next {HORIZON} sessions",
        )
    _numbers(ticker, window, known, forecast)
    if len(forecast):
        _sessions(forecast)
        with st.expander("Details: who published this, and why"):
            fine_print(_published(forecast.iloc[0], model))
    left, right = st.columns(2)
    with left:
        _what_was_forecast(made, as_of, float(known["close"].iloc[-1]))
    with right:
        _histogram(window["close"])
    st.header("RSI and MACD")
    figure(charts.rsi_and_macd(window, palette()), f"{RSI_LABEL} and {MACD_LABEL} of {ticker}")
    _downloads(ticker, as_of, window, forecast, reports)


def _answer(ticker: str, forecast: pd.DataFrame) -> str:
    row = forecast[forecast["horizon"] == HORIZON].iloc[0]
    unit = quoted_in(ticker)
    low, high = (f"{price(row[name])} ({per_cent(row[name] / row['last_close'] - 1, 1, True)})" for name in EDGES)
    currency = f", in {unit}" if unit else ""
    return f"By {row['target_date']:%d %b %Y} between {low} and {high}{currency}: four times of five."


def _numbers(ticker: str, window: pd.DataFrame, known: pd.DataFrame, forecast: pd.DataFrame) -> None:
    last = known.iloc[-1]
    closes = window["close"]
    lowest, highest = (window["date"].iloc[int(at)] for at in (closes.argmin(), closes.argmax()))
    year = summaries.SESSIONS_PER_YEAR[bool((window["date"].dt.dayofweek >= 5).any())]
    unit = quoted_in(ticker)
    items = [
        Card(
            f"Last close, {unit}" if unit else "Last close",
            price(last["close"]),
            f"{per_cent(last['pct_return'], 2, True)} on the day",
        )
    ]
    end = forecast[forecast["horizon"] == HORIZON]
    if len(end):
        row = end.iloc[0]
        items += [
            Card(
                f"In {HORIZON} sessions",
                price(row["close_p50"]),
                f"80 %: {price(row['close_p10'])} – {price(row['close_p90'])}",
                "80 % interval",
            ),
            Card(
                "Chance of a rise",
                per_cent(float(summaries.chance_of_rise(end).iloc[0]), 0),
                f"in {HORIZON} sessions",
                "Chance of a rise",
            ),
        ]
    items += [
        Card(RSI_LABEL, f"{last[RSI]:.0f}" if pd.notna(last[RSI]) else "–", _rsi_word(last[RSI]), "RSI"),
        Card(
            "MACD",
            f"{last['macd']:.2f}".replace("-", "−") if pd.notna(last["macd"]) else "–",
            f"histogram {last['macd_hist']:+.2f}".replace("-", "−"),
            "MACD",
        ),
        Card(
            f"Volatility, {VOLATILITY_WINDOW} sessions",
            per_cent(last[VOLATILITY] * math.sqrt(year), 0),
            "a year",
            "Volatility",
        ),
        *_report(ticker, last["date"]),
        Card("Lowest", price(closes.min()), f"{lowest:%d %b %Y}"),
        Card("Highest", price(closes.max()), f"{highest:%d %b %Y}"),
    ]
    cards(items)


def _report(ticker: str, as_of: pd.Timestamp) -> list[Card]:
    report = data.next_reports({ticker: as_of}).get(ticker)
    if report is None:
        return []
    return [Card("Next report", f"{report[0]:%d %b %Y}", said(report), "Next report")]


def _sessions(forecast: pd.DataFrame) -> None:
    st.header("The next ten sessions")
    rows = summaries.sessions_ahead(forecast)
    written: dict[str, Any] = {
        **dict.fromkeys(("low", "median", "high"), price),
        **dict.fromkeys(("low_change", "change", "high_change"), partial(per_cent, sign=True)),
        "rise": partial(per_cent, decimals=0),
        "target_date": "{:%a %d %b %Y}",
    }
    order = ["target_date", "low", "low_change", "median", "change", "high", "high_change", "rise"]
    st.dataframe(
        rows[order].style.format(written, na_rep="–"),
        hide_index=True,
        column_config={
            "target_date": "Session",
            "low": st.column_config.Column("80 % low", help=GLOSSARY["80 % interval"]),
            "low_change": "Change",
            "median": st.column_config.Column("Median", help=GLOSSARY["Median"]),
            "change": "Change ",
            "high": st.column_config.Column("80 % high", help=GLOSSARY["80 % interval"]),
            "high_change": "Change  ",
            "rise": st.column_config.Column("Chance of a rise", help=GLOSSARY["Chance of a rise"]),
        },
        alt="The forecast of the next ten sessions",
    )


def _rsi_word(value: float) -> str:
    if pd.isna(value):
        return "warming up"
    return "above 70" if value > 70 else "below 30" if value < 30 else "between 30 and 70"


def _model(ticker: str, forecast: pd.DataFrame) -> Mapping[Any, Any] | None:
    """The row of `trained_model` that a forecast used; None if it is older than the rows that are left."""
    if forecast.empty:
        return None
    day = forecast["date"].iloc[0]
    models = data.models(ticker)
    known = models[(models["date"] <= day) & (models["trained_to"] < day)].to_dict("records")
    return row_in_use(known, ticker, day) if known else None


def _published(row: pd.Series, model: Mapping[Any, Any] | None) -> str:
    if row["method"] in OF_NETWORK:
        made_by = f"Published by the {method_label(row['method'])}, model version {row['model_version']}"
        return f"{made_by}. {row['fallback']}" if row["fallback"] else f"{made_by}; the Trust page has its proof."
    made_by = f"Published by a baseline, {method_label(row['method'])}, model version {row['model_version']}"
    return f"{made_by}. {row['fallback'] or ('' if model is None else model['reason'])}"


def _what_was_forecast(made: pd.DataFrame, as_of: pd.Timestamp, actual: float) -> None:
    st.header("What was forecast for this day")
    due = made[made["target_date"] == as_of]
    if due.empty:
        state("No earlier forecast", "Forecasts made up to ten sessions before this day would be compared here.")
        return
    hits = int(((due["close_p10"] <= actual) & (actual <= due["close_p90"])).sum())
    fine_print(f"{hits} of {len(due)} intervals of 80 % held the close of {price(actual)}.")
    figure(charts.forecasts_for_day(due, actual, palette()), "Earlier forecasts for this day against its close")


@st.fragment
def _histogram(closes: pd.Series) -> None:
    st.header("Closes in the window")
    buckets = st.slider("Buckets", 5, 60, 24, key="buckets")
    fine_print(f"Dotted: the last close, {price(closes.iloc[-1])}.")
    figure(charts.close_histogram(closes, buckets, palette()), "Histogram of the closes in the window")


def _downloads(
    ticker: str, day: pd.Timestamp, window: pd.DataFrame, forecast: pd.DataFrame, reports: Sequence[Report]
) -> None:
    with st.container(horizontal=True):
        for label, kind, frame in (
            ("Forecast as CSV", "forecast", forecast),
            ("Prices and indicators as CSV", "prices", window),
        ):
            st.download_button(
                label, to_csv(frame), f"{ticker}-{day:%Y-%m-%d}-{kind}.csv", "text/csv", disabled=frame.empty
            )
        if len(forecast):
            st.download_button(
                "Picture as PNG",
                partial(_picture, window, forecast, reports),
                f"{ticker}-{day:%Y-%m-%d}.png",
                "image/png",
            )


def _picture(window: pd.DataFrame, forecast: pd.DataFrame, reports: Sequence[Report]) -> bytes:
    # Drawn when it is asked for: its library takes a second to load.
    from stockcast_assets.charts.png import forecast_png

    return forecast_png(window, forecast, reports)
