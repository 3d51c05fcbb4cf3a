"""Risk: what holdings may gain or lose in the next sessions, and whose risk it is."""

from typing import Any

import pandas as pd
import streamlit as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.dashboard import data
from stockcast_assets.dashboard.layout import (
    Card,
    browser_title,
    cards,
    figure,
    fine_print,
    lead,
    nothing_yet,
    palette,
    state,
)
from stockcast_assets.dashboard.summaries import per_cent, price
from stockcast_assets.errors import StockcastError, WarehouseBusyError
from stockcast_assets.forecasting.risk.holdings import one_currency, parse_holdings
from stockcast_assets.forecasting.risk.report import WHAT_IT_IS, PortfolioRisk, judged
from stockcast_assets.tables import HORIZON

_FIRST = 10
"""Tickers that the page begins with, ten of each."""


def show() -> None:
    """The page."""
    st.title("Risk")
    known = data.tickers()
    if not known:
        nothing_yet()
        return
    browser_title("Risk")
    written = st.text_area(
        "Holdings, a line each: ticker,quantity (negative where short)",
        value="\n".join(["ticker,quantity", *(f"{ticker},10" for ticker in known[:_FIRST])]),
        height=180,
        key="holdings",
    )
    try:
        holdings = parse_holdings(written, "the list")
        unit = one_currency(holdings) or "the unit of the prices"
        risk = data.risk(tuple(sorted(holdings.items())))
    except WarehouseBusyError:
        raise
    except StockcastError as error:
        state("No risk of these holdings", str(error))
        return
    one, five = risk.tails[1]
    lead(
        f"One session in a hundred loses more than {price(one.value_at_risk)} of {price(risk.value)}, one in twenty "
        f"more than {price(five.value_at_risk)}, in {unit}, as of {risk.day:%d %b %Y}."
    )
    _numbers(risk)
    figure(charts.gain_fan(risk.fan, unit, palette()), f"Gain or loss of the holdings in the next {HORIZON} sessions")
    fine_print(
        f"{risk.scenarios:,} scenarios: what these tickers did together after each session from {risk.first} to "
        f"{risk.last}, at today's width."
    )
    _positions(risk)
    _stretches(risk)
    st.header("Was it true?")
    for sentence in judged(risk):
        fine_print(sentence)
    st.header("What it is, and what it is not")
    fine_print(WHAT_IT_IS)


def _numbers(risk: PortfolioRisk) -> None:
    """A row of cards for the next session, and one for all of them."""
    worth = Card("Worth", price(risk.value), f"as of {risk.day:%d %b %Y}")
    for horizon, first in ((1, [worth]), (HORIZON, [])):
        ahead = f"{horizon} session{'s' if horizon > 1 else ''}"
        cards(
            [
                *first,
                *(
                    Card(f"{name} {tail.level:.0%}".replace("%", " %"), price(amount), ahead, name)
                    for tail in risk.tails[horizon]
                    for name, amount in (
                        ("Value at risk", tail.value_at_risk),
                        ("Expected shortfall", tail.expected_shortfall),
                    )
                ),
            ]
        )


def _positions(risk: PortfolioRisk) -> None:
    st.header("Whose risk it is")
    fine_print(
        "What each position adds to value at risk (VaR) and expected shortfall (ES) of all of them, and its share of "
        "the latter; negative where it protects."
    )
    whole = risk.tails[1][0].expected_shortfall
    level = risk.tails[1][0].level
    money = {
        f"{name} 1 %, {horizon} session{'s' if horizon > 1 else ''}": [
            shares[horizon, level] for shares in of_positions
        ]
        for horizon in (1, HORIZON)
        for name, of_positions in (
            ("VaR", [one.at_risk for one in risk.positions]),
            ("ES", [one.shortfall for one in risk.positions]),
        )
    }
    rows = pd.DataFrame(
        {
            "Ticker": [one.ticker for one in risk.positions],
            "Quantity": [one.quantity for one in risk.positions],
            "Value": [one.value for one in risk.positions],
            **money,
            "Share": [one.shortfall[1, level] / whole if whole else float("nan") for one in risk.positions],
        }
    )
    written: dict[str, Any] = {**dict.fromkeys(("Value", *money), price), "Quantity": "{:,.6g}", "Share": per_cent}
    st.dataframe(
        rows.style.format(written, na_rep="–"),
        hide_index=True,
        alt="What each position adds to value at risk and expected shortfall",
    )


def _stretches(risk: PortfolioRisk) -> None:
    st.header("The worst past stretches")
    fine_print("What these holdings would have gained or lost then.")
    rows = pd.DataFrame(
        [
            (length, str(one.first), str(one.last), one.gain)
            for length, stretches in risk.stretches.items()
            for one in stretches
        ],
        columns=["Sessions", "From", "To", "Gain"],
    )
    written: dict[str, Any] = {"Gain": price}
    st.dataframe(rows.style.format(written), hide_index=True, alt="The worst past stretches")
