"""Card: one page about a ticker's model of a month, as MLflow and the Dagster UI show it."""

import streamlit as st

from stockcast_assets.dashboard import data
from stockcast_assets.dashboard.layout import browser_title, no_data, notice, ticker_picker
from stockcast_assets.forecasting.card import card_of


def show() -> None:
    """The page."""
    st.title("Card")
    pickers = st.columns([2, 2, 3])
    ticker = ticker_picker(pickers[0])
    if ticker is None:
        return
    browser_title("Card", ticker)
    models = data.models(ticker).sort_values(["date", "trained_to"])
    if models.empty:
        no_data(ticker)
        return
    newest = {f"{row['date']:%Y-%m}": row for row in models.to_dict("records")}
    months = list(newest)[::-1]
    asked = st.query_params.get("month")
    if asked is not None and asked not in newest:
        st.html(notice(f"There is no model of {ticker} for {asked}: this is {months[0]}."))
    month = str(pickers[1].selectbox("Month of use", months, index=months.index(asked) if asked in newest else 0))
    st.query_params["month"] = month
    card = card_of(data.read, newest[month])
    with st.container(key="model-card"):
        # What the tables hold is text in it: see `forecasting.card`.
        st.markdown(card)
    st.download_button("Card as Markdown", card, f"{ticker}-{month}.md", "text/markdown")
