"""What the pages share: pickers, number cards, and the designed empty and error states."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from stockcast_assets.dashboard import cache, data
from stockcast_assets.dashboard.charts import DARK, LIGHT, Palette
from stockcast_assets.errors import StockcastError, WarehouseBusyError

NOT_ADVICE = (
    "A forecast is a range that the close should end up in as often as its percentage says, judged by "
    "the past. It is not advice and knows no news; the Trust page says whether its middle beats “tomorrow is "
    "like today”."
)
# Translucent shades of the text colour fit the light and the dark theme alike.
STYLE = """
<style>
.block-container, [data-testid="stMainBlockContainer"] {padding: 4.2rem clamp(1rem, 3vw, 2.5rem) 2rem;
  max-width: 1320px}
[data-testid="stHeading"] h2 {font-size: 1.5rem; padding: 1rem 0 .4rem}
.cards {display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: .6rem;
  margin: .2rem 0 .6rem}
.card {border: 1px solid color-mix(in srgb, currentColor 16%, transparent); border-radius: .6rem;
  padding: .6rem .8rem; min-width: 0}
.card .name {font-size: .8rem; opacity: .8; white-space: nowrap; overflow: hidden; text-overflow: ellipsis}
.card .value {font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.4}
.card .note {font-size: .78rem; opacity: .8; font-variant-numeric: tabular-nums}
.state {border: 1px dashed color-mix(in srgb, currentColor 30%, transparent); border-radius: .8rem;
  padding: 2.2rem 1.4rem; text-align: center; margin: 1rem 0}
.state .title {font-size: 1.15rem; font-weight: 600; margin-bottom: .4rem}
.state .text {opacity: .85; max-width: 46rem; margin: 0 auto; overflow-wrap: anywhere}
.state code {background: color-mix(in srgb, currentColor 10%, transparent); padding: .15rem .4rem;
  border-radius: .3rem; white-space: pre-wrap}
.fine {font-size: .85rem; opacity: .8; margin: 0 0 .4rem}
.notice {border-left: 3px solid #b45309; padding: .35rem .8rem; margin: 0 0 .4rem; font-size: .9rem;
  background: color-mix(in srgb, #b45309 9%, transparent)}
/* The picture lies where the chart will be, and goes when the chart is drawn. */
.st-key-first-chart {position: relative}
.st-key-first-chart [data-testid="stElementContainer"]:has(.first-paint) {position: absolute; inset: 0; height: 0;
  width: 100%; z-index: 1; pointer-events: none}
.first-paint {display: block; width: 100%; height: 370px; padding: 8px 8px 0 44px}
.st-key-first-chart:has(.js-plotly-plot .main-svg) .first-paint {display: none}
</style>
"""


@dataclass(frozen=True)
class Card:
    """A number with its name above and a note below."""

    name: str
    value: str
    note: str = ""


def palette() -> Palette:
    """The figures' colours in the theme the visitor sees."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def cards(items: Sequence[Card]) -> None:
    """A row of numbers that wraps to two a line on a phone."""
    cells = "".join(
        f'<div class="card"><div class="name">{escape(card.name)}</div>'
        f'<div class="value">{escape(card.value)}</div>'
        f'<div class="note">{escape(card.note) or "&nbsp;"}</div></div>'
        for card in items
    )
    st.html(f'<div class="cards">{cells}</div>')


def figure(chart: go.Figure, alt: str) -> None:
    """Show a figure, with `alt` for those who cannot see it."""
    st.plotly_chart(
        chart, theme=None, alt=alt, config={"displayModeBar": False, "responsive": True, "scrollZoom": False}
    )


def first_figure(picture: str) -> DeltaGenerator:
    """The place of the page's main figure, which shows `picture` (a data address) until a chart in it is drawn."""
    place = st.container(key="first-chart")
    place.html(f'<img class="first-paint" src="{picture}" alt="">')
    return place


def fine_print(text: str) -> None:
    """A line in smaller type."""
    st.html(f'<p class="fine">{escape(text)}</p>')


def state(title: str, text: str, command: str = "") -> None:
    """Instead of content: what is missing and what to do about it."""
    code = f"<p><code>{escape(command)}</code></p>" if command else ""
    st.html(
        f'<div class="state" role="status"><div class="title">{escape(title)}</div>'
        f'<div class="text">{escape(text)}{code}</div></div>'
    )


def ticker_picker() -> str | None:
    """The ticker on every page, part of the address; None when there is none (and the page says so)."""
    known = data.tickers()
    if not known:
        state(
            "Nothing here yet",
            f"{data.place()} holds no ticker. Fill it with the bundled history, or bring a ticker of your own:",
            "stockcast demo\nstockcast forecast MSFT",
        )
        return None
    # Not Streamlit's own binding: it drops the parameter for the first option and on the way to another page.
    st.session_state["ticker"] = (
        st.query_params.get("ticker") or st.session_state.get("last_ticker") or known[0]
    ).upper()
    # A new option may be typed: an address with a ticker that has no data must say so, not show another one.
    chosen = st.selectbox("Ticker", known, key="ticker", accept_new_options=True, on_change=_address_ticker)
    st.query_params["ticker"] = st.session_state["last_ticker"] = chosen
    return str(chosen)


def _address_ticker() -> None:
    st.query_params["ticker"] = st.session_state["ticker"].upper()


def page(view: Callable[[], None]) -> Callable[[], None]:
    """Wrap a page so that a mistake the user can mend becomes one sentence and a button."""

    def shown() -> None:
        cache.start_page()
        st.html(STYLE)
        notice = st.empty()
        try:
            view()
        except WarehouseBusyError:
            state("A run is writing", "A run holds the warehouse, and nothing of this page was read before it began.")
            _again()
        except StockcastError as error:
            state("The data cannot be read right now", str(error))
            _again()
        if (since := cache.shown_since()) is not None:
            notice.html(
                f'<p class="notice" role="status">A run is writing; showing data of {since:%H:%M} UTC. '
                "Reload for newer data.</p>"
            )
        st.divider()
        fine_print(NOT_ADVICE)

    shown.__name__ = view.__name__
    return shown


def _again() -> None:
    if st.button("Try again", type="primary"):
        st.rerun()
