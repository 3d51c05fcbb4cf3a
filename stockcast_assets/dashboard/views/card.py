"""Card: one page about a ticker's model of a month, as MLflow and the Dagster UI show it."""

import streamlit as st

from stockcast_assets.dashboard import data
from stockcast_assets.dashboard.layout import browser_title, no_data, notice, state, ticker_picker
from stockcast_assets.errors import StockcastError, WarehouseBusyError


def show() -> None:
    """The page."""
    st.title("Card")
    pickers = st.columns([2, 2, 3])
    ticker = ticker_picker(pickers[0])
    if ticker is None:
        return
    browser_title("Card", ticker)
    try:
        months = data.months_with_a_card(ticker)
    except WarehouseBusyError:
        raise
    except StockcastError as error:
        state("No card", str(error))
        return
    if not months:
        _no_model(ticker)
        return
    asked = st.query_params.get("month")
    if asked is not None and asked not in months:
        st.html(notice(f"There is no model of {ticker} for {asked}: this is {months[0]}."))
    month = str(pickers[1].selectbox("Month of use", months, index=months.index(asked) if asked in months else 0))
    st.query_params["month"] = month
    try:
        card = data.card(ticker, month)
    except WarehouseBusyError:
        raise
    except StockcastError as error:
        state("No card", str(error))
        return
    with st.container(key="model-card"):
        # What the tables hold is text in it: see `forecasting.card`.
        st.markdown(card)
    st.download_button("Card as Markdown", card, f"{ticker}-{month}.md", "text/markdown")


def _no_model(ticker: str) -> None:
    if (day := data.known_on()) is None:
        no_data(ticker)
    else:
        state(f"No model of {ticker}", f"None had been registered in MLflow by the end of {day} (UTC).")
