"""Forecasts: one ticker as of one session."""

import pandas as pd
import streamlit as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.charts.svg import fan
from stockcast_assets.dashboard import data, summaries
from stockcast_assets.dashboard.layout import (
    Card,
    cards,
    day_picker,
    figure,
    fine_print,
    first_figure,
    no_data,
    palette,
    state,
    ticker_picker,
)
from stockcast_assets.dashboard.summaries import per_cent, price
from stockcast_assets.forecasting.serving.forecaster import LSTM, method_label
from stockcast_assets.spreadsheet import to_csv
from stockcast_assets.tables import FORECASTS, HORIZON
from stockcast_assets.tracking.serving import row_in_use

SPANS = {"3 months": 91, "6 months": 182, "1 year": 365, "5 years": 1826, "All": 36500}


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
    later = studied[studied["date"] > as_of].head(10)

    # The picture is sent first: the browser draws it while the rest of the page is still being made.
    above = st.container()
    place = first_figure(fan(window, forecast, palette()))
    with above:
        _numbers(window, known, forecast)
        if len(forecast):
            fine_print(_published(ticker, forecast))
        candles = st.toggle("Candlesticks and volume", key="candles", bind="query-params")
    with place:
        figure(
            charts.price_and_fan(window, forecast, later, palette(), candles),
            f"Close of {ticker} with moving averages and the forecast intervals of the next 10 sessions",
        )
    left, right = st.columns(2)
    with left:
        _what_was_forecast(made, as_of, float(known["close"].iloc[-1]))
    with right:
        _histogram(window["close"])
    st.header("RSI and MACD")
    figure(charts.rsi_and_macd(window, palette()), f"RSI 14 and MACD 12-26-9 of {ticker}")
    _downloads(ticker, as_of, window, forecast)


def _numbers(window: pd.DataFrame, known: pd.DataFrame, forecast: pd.DataFrame) -> None:
    last = known.iloc[-1]
    closes = window["close"]
    lowest, highest = (window["date"].iloc[int(at)] for at in (closes.argmin(), closes.argmax()))
    every_day = bool((window["date"].dt.dayofweek >= 5).any())
    items = [Card("Last close", price(last["close"]), f"{per_cent(last['pct_return'], 2, True)} on the day")]
    end = forecast[forecast["horizon"] == HORIZON]
    if len(end):
        row = end.iloc[0]
        items.append(
            Card(
                "In 10 sessions",
                price(row["close_p50"]),
                f"80 %: {price(row['close_p10'])} – {price(row['close_p90'])}",
            )
        )
    items += [
        Card("RSI 14", f"{last['rsi_14']:.0f}" if pd.notna(last["rsi_14"]) else "–", _rsi_word(last["rsi_14"])),
        Card(
            "MACD",
            f"{last['macd']:.2f}".replace("-", "−") if pd.notna(last["macd"]) else "–",
            f"histogram {last['macd_hist']:+.2f}".replace("-", "−"),
        ),
        Card("Volatility", per_cent(summaries.annual_volatility(closes, every_day), 0), "a year, this window"),
        Card("Mean", price(closes.mean()), f"{len(closes)} sessions"),
        Card("Lowest", price(closes.min()), f"{lowest:%d %b %Y}"),
        Card("Highest", price(closes.max()), f"{highest:%d %b %Y}"),
    ]
    cards(items)


def _rsi_word(value: float) -> str:
    if pd.isna(value):
        return "warming up"
    return "above 70" if value > 70 else "below 30" if value < 30 else "between 30 and 70"


def _published(ticker: str, forecast: pd.DataFrame) -> str:
    row = forecast.iloc[0]
    if row["method"] == LSTM:
        made_by = f"Published by the LSTM, model version {row['model_version']}"
        return f"{made_by}. {row['fallback']}" if row["fallback"] else f"{made_by}; the Trust page has its proof."
    models = data.models(ticker)
    # The forecast may be older than the model rows that are left: then nothing is known of its model.
    known = models[(models["date"] <= row["date"]) & (models["trained_to"] < row["date"])].to_dict("records")
    own = row_in_use(known, ticker, row["date"])["reason"] if known else ""
    made_by = f"Published by a baseline, {method_label(row['method'])}, model version {row['model_version']}"
    return f"{made_by}. {row['fallback'] or own}"


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


def _downloads(ticker: str, day: pd.Timestamp, window: pd.DataFrame, forecast: pd.DataFrame) -> None:
    with st.container(horizontal=True):
        for label, kind, frame in (
            ("Forecast as CSV", "forecast", forecast),
            ("Prices and indicators as CSV", "prices", window),
        ):
            st.download_button(
                label, to_csv(frame), f"{ticker}-{day:%Y-%m-%d}-{kind}.csv", "text/csv", disabled=frame.empty
            )
