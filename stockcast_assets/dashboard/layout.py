"""What the pages share: pickers, number cards, and the designed empty and error states."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from stockcast_assets.as_known import past_day, words_of
from stockcast_assets.charts.palette import DARK, LIGHT, Palette
from stockcast_assets.clock import utc_now, utc_today
from stockcast_assets.dashboard import cache, data
from stockcast_assets.dashboard.words import GLOSSARY
from stockcast_assets.errors import StockcastError, WarehouseBusyError
from stockcast_assets.inputs import validate_ticker

NOT_ADVICE = (
    "A forecast is a range that the close should end up in as often as its percentage says, judged by "
    "the past. It is not advice and knows no news; the Trust page says whether its middle beats “tomorrow is "
    "like today”."
)
# Streamlit fetches its named icons from the internet.
ICON = Path(__file__).with_name("icon.svg")
# Translucent shades of the text colour fit the light and the dark theme alike.
STYLE = """
<style>
.block-container, [data-testid="stMainBlockContainer"] {padding: 1rem clamp(1rem, 3vw, 2.5rem) 2rem;
  max-width: 1320px}
/* It holds nothing but the sign that a page is being made, and lies over the links below it. */
[data-testid="stHeader"] {background: transparent; pointer-events: none}
[data-testid="stHeading"] h1 {font-size: 2.2rem; padding: .6rem 0 .8rem}
[data-testid="stHeading"] h2 {font-size: 1.5rem; padding: 1rem 0 .4rem}
.st-key-pages {border-bottom: 1px solid color-mix(in srgb, currentColor 16%, transparent); padding-bottom: .5rem}
.brand {display: flex; align-items: center; gap: .45rem; font-weight: 700; margin-right: 1rem; line-height: 2rem}
.brand img {width: 1.5rem; height: 1.5rem}
.st-key-pages [aria-current="page"] {background: color-mix(in srgb, currentColor 9%, transparent); border-radius: .4rem}
a:focus-visible {outline: 2px solid currentColor !important; outline-offset: 2px; border-radius: .3rem}
@media (max-width: 640px) {
  [data-testid="stElementContainer"]:has(> [data-testid="stHtml"] > .brand) {flex-basis: 100%}
  .st-key-window button {padding-inline: .6rem; min-height: 2.5rem}
}
/* Streamlit's own export of a table escapes no formulas. */
[data-testid="stElementToolbarButton"]:has([aria-label^="Download as CSV"]) {display: none}
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
.state pre {background: color-mix(in srgb, currentColor 10%, transparent); padding: .5rem .8rem; margin: .8rem 0 0;
  border-radius: .3rem; display: inline-block; text-align: left; white-space: pre-wrap; font: .95rem/1.6 monospace}
.glossary {display: grid; grid-template-columns: minmax(7rem, 11rem) 1fr; gap: .3rem 1rem; margin: 0; font-size: .9rem}
.glossary dt {font-weight: 600} .glossary dd {margin: 0}
.lead {font-size: 1.05rem; margin: .2rem 0 .2rem}
.fine {font-size: .85rem; opacity: .8; margin: 0 0 .4rem}
.key span {margin-right: 1.2rem; white-space: nowrap}
.key span::before {content: ""; display: inline-block; width: 1rem; height: .7rem; margin-right: .4rem;
  background: var(--color)}
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
    term: str = ""
    """A word of the glossary that its name stands for: shown when pointed at."""


def header(pages: Sequence[st.Page]) -> None:
    """The look of the pages, and the way between them."""
    st.html(STYLE)
    icon = base64.b64encode(ICON.read_bytes()).decode()
    with st.container(key="pages", horizontal=True, vertical_alignment="center", gap="xsmall"):
        picture = f'<img src="data:image/svg+xml;base64,{icon}" alt="">'
        st.html(f'<div class="brand">{picture}stockcast</div>', width="content")
        for each in pages:
            st.page_link(each)
    if (words := data.settings().demo_data) is not None:
        st.html(f'<p class="fine">{escape(words)}</p>')


def palette() -> Palette:
    """The figures' colours in the theme the visitor sees."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def cards(items: Sequence[Card]) -> None:
    """A row of numbers that wraps to two a line on a phone."""
    cells = "".join(
        f'<div class="card"{_hint(card.term)}><div class="name">{escape(card.name)}</div>'
        f'<div class="value">{escape(card.value)}</div>'
        f'<div class="note">{escape(card.note) or "&nbsp;"}</div></div>'
        for card in items
    )
    st.html(f'<div class="cards">{cells}</div>')


def _hint(term: str) -> str:
    return f' title="{escape(GLOSSARY[term])}"' if term else ""


def glossary() -> None:
    """What the words of all pages mean, folded."""
    with st.expander("What the words mean"):
        terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in GLOSSARY.items())
        st.html(f'<dl class="glossary">{terms}</dl>')


def browser_title(page: str, ticker: str = "") -> None:
    """Name the browser's tab, so that several open ones can be told apart."""
    title = " · ".join(filter(None, (ticker, page, "stockcast")))
    st.set_page_config(page_title=title, page_icon=str(ICON), layout="wide")


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


def lead(text: str) -> None:
    """The page's answer, in one line."""
    st.html(f'<p class="lead">{escape(text)}</p>')


def told(title: str, text: str) -> None:
    """A paragraph that begins in bold. Not as Markdown: a picture in what a table holds would be fetched."""
    st.html(f"<p><strong>{escape(title)}</strong> {escape(text)}</p>")


def color_key(items: Sequence[tuple[str, str]]) -> None:
    """Which colour stands for what, once for several figures: colours and names."""
    named = "".join(f'<span style="--color: {color}">{escape(name)}</span>' for color, name in items)
    st.html(f'<p class="fine key">{named}</p>')


def state(title: str, text: str, command: str = "") -> None:
    """Instead of content: what is missing and what to do about it."""
    code = f"<pre>{escape(command)}</pre>" if command else ""
    st.html(
        f'<div class="state" role="status"><div class="title">{escape(title)}</div>'
        f'<div class="text">{escape(text)}</div>{code}</div>'
    )


def nothing_yet() -> None:
    """Instead of a page: no ticker is stored, and what to do about it."""
    if (day := data.known_on()) is not None:
        state("Nothing was known then", f"No bar had been stored by the end of {day} (UTC).")
        return
    state(
        "Nothing here yet",
        f"{data.place()} holds no ticker. Fill it with the bundled history, or bring a ticker of your own:",
        "stockcast demo\nstockcast forecast MSFT",
    )


def no_data(ticker: str) -> None:
    """Instead of content: nothing is stored of a ticker, and what to do about it."""
    if (day := data.known_on()) is not None:
        state(f"No prices of {ticker}", f"None had been stored by the end of {day} (UTC).")
        return
    state(f"No prices of {ticker}", "Bring it up to date, then reload this page:", f"stockcast forecast {ticker}")


def notice(text: str) -> str:
    """A line about what is shown instead of what was asked for, as HTML."""
    return f'<p class="notice" role="status">{escape(text)}</p>'


def day_picker(place: DeltaGenerator, label: str, days: Sequence[date]) -> pd.Timestamp:
    """A day of `days`, newest first, chosen in a calendar and part of the address.

    Of a day between two of them the one before is shown, of an address with any other the newest, and a line says so.
    """
    offered = [pd.Timestamp(day) for day in days]
    asked = st.query_params.get("date") or st.session_state.get("last_date")
    try:
        wanted = None if asked is None else pd.Timestamp(date.fromisoformat(asked))
    except ValueError:
        wanted = None
    before = [day for day in offered if wanted is not None and wanted <= offered[0] and day <= wanted]
    shown = before[0] if before else offered[0]
    if asked is not None and shown != wanted and "date" in st.query_params:
        st.html(notice(f"Nothing is stored as of {asked}: this is {shown.date()}."))
    st.session_state["date"] = shown.date()
    place.date_input(
        label,
        min_value=offered[-1].date(),
        max_value=offered[0].date(),
        format="YYYY-MM-DD",
        key="date",
        on_change=_address_date,
    )
    st.session_state["last_date"] = None if shown == offered[0] else str(shown.date())
    return shown


def _address_date() -> None:
    st.query_params["date"] = st.session_state["last_date"] = str(st.session_state["date"])


def ticker_picker(place: DeltaGenerator) -> str | None:
    """The ticker of every page, part of the address, chosen in `place`; None if there is none, or what is asked for is
    none, and the page says so."""
    known = data.tickers()
    if not known:
        nothing_yet()
        return None
    # Not Streamlit's own binding: it drops the parameter for the first option and on the way to another page.
    st.session_state["ticker"] = (
        st.query_params.get("ticker") or st.session_state.get("last_ticker") or known[0]
    ).upper()
    # An address with a ticker that has no data must say so, not show another one.
    asked = st.session_state["ticker"]
    chosen = place.selectbox("Ticker", sorted({*known, asked}), key="ticker", on_change=_address_ticker)
    try:
        # Pages offer commands with it to be copied into a shell.
        validate_ticker(str(chosen))
    except StockcastError as error:
        state("No such ticker", str(error))
        return None
    st.query_params["ticker"] = st.session_state["last_ticker"] = chosen
    if company := data.company(str(chosen)):
        place.html(f'<p class="fine">{escape(company)}</p>')
    return str(chosen)


def _address_ticker() -> None:
    st.query_params["ticker"] = st.session_state["ticker"].upper()


def page(view: Callable[[], None]) -> Callable[[], None]:
    """Wrap a page so that a mistake the user can mend becomes one sentence and a button."""

    def shown() -> None:
        cache.start_page()
        above = st.empty()
        try:
            if _world_is_shown():
                view()
        except WarehouseBusyError:
            state("A run is writing", "A run holds the warehouse, and nothing of this page was read before it began.")
            _again()
        except StockcastError as error:
            state("The data cannot be read right now", str(error))
            _again()
        else:
            since = cache.shown_since()
            notices = [_loss()]
            if since is not None:
                notices.append(f"A run is writing; showing data of {since:%H:%M} UTC. Reload for newer data.")
            if any(notices):
                above.html("".join(map(notice, filter(None, notices))))
            _refresh()
            _past_day_picker()
        st.divider()
        glossary()
        fine_print(NOT_ADVICE)

    shown.__name__ = view.__name__
    return shown


def _world_is_shown() -> bool:
    """Show the world of the day in the address, `known`, and say so; whether there is such a day, or none is asked for.

    It stays on the way to another page, as the ticker does.
    """
    data.show_world_of(None)
    asked = st.query_params.get("known") or st.session_state.get("last_known")
    if not asked:
        return True
    try:
        day = past_day(asked)
    except StockcastError as error:
        st.session_state["last_known"] = None
        state("No such day", str(error))
        _back_to_now()
        return False
    data.show_world_of(day)
    st.query_params["known"] = st.session_state["last_known"] = str(day)
    st.html(notice(words_of(day)))
    _back_to_now()
    return True


def _back_to_now() -> None:
    st.button("Back to what is known now", on_click=_address_known, args=(None,))


def _past_day_picker() -> None:
    """The control that leads to the world of a past day."""
    st.session_state["known"] = data.known_on()
    st.date_input(
        "As known on",
        max_value=utc_today(),
        format="YYYY-MM-DD",
        key="known",
        width=220,
        help="Shows every page as it was known at the end of a past day (UTC).",
        on_change=lambda: _address_known(st.session_state["known"]),
    )


def _address_known(day: date | None) -> None:
    st.session_state["last_known"] = None if day is None else str(day)
    if day is None:
        st.query_params.pop("known", None)
    else:
        st.query_params["known"] = str(day)


def _loss() -> str | None:
    """Asked when the page is drawn: it says what the page may lack."""
    try:
        return data.loss()
    except StockcastError as error:
        return f"What is stored was not compared with what Dagster remembers: {error}"


def _refresh() -> None:
    """How old the data is, and a button that looks again."""
    written = data.written_at()
    if written is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Refresh", key="refresh"):
            st.rerun()
        fine_print(f"The tables were last written {written:%d %b %Y %H:%M} UTC, {ago(utc_now() - written)}.")


def ago(age: timedelta) -> str:
    """How long ago something was, in the largest unit that fits."""
    minutes = int(age.total_seconds() // 60)
    for size, unit in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes >= size:
            count = minutes // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _again() -> None:
    if st.button("Try again"):
        st.rerun()
