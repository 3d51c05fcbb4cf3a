"""What the server sends beside Streamlit's own: the page around the app, and Evidently's reports."""

import asyncio
import html
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import pandas as pd
import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from stockcast_assets.errors import StockcastError
from stockcast_assets.tables import FORECASTS

PAGES = ("forecasts", "trust", "monitoring", "universe")
WITH_CHARTS = ("", "forecasts", "trust", "monitoring")
# Streamlit's client guesses its server's address from the page's: it asks below /trust before it asks below /, which
# costs two 404 and a round trip. Told the address, it does not guess. Works below a reverse proxy's path as well.
BASE = (
    "<script>(() => {const base = location.origin + location.pathname.replace(/(PAGES)?\\/?$/, '');"
    "window.__streamlit = {BACKEND_BASE_URL: base, MAIN_PAGE_BASE_URL: base}})()</script>"
).replace("PAGES", "|".join(PAGES))
FAILED = (
    '<!DOCTYPE html><html lang="en"><title>stockcast</title><body style="font: 1rem/1.5 sans-serif; margin: 4rem auto; '
    'max-width: 40rem; padding: 0 1rem"><h1>No report</h1><p>{}</p>'
)


# Lies over the app until the app has its own numbers and picture.
FIRST_PAINT = (
    "<style>#first-paint {{position: fixed; inset: 0; z-index: 9; background: #fff; color: #1b2733; "
    "font: 1rem/1.5 'Source Sans', sans-serif; padding: 4.2rem max(1rem, (100vw - 1240px) / 2); pointer-events: none}}"
    "#first-paint img {{width: 100%; height: 360px}} #first-paint h1 {{font-size: 1.5rem; margin: 1rem 0}}"
    "@media (prefers-color-scheme: dark) {{#first-paint {{background: #0f1720; color: #e6edf3}}}}"
    "</style>"
    '<div id="first-paint"><h1>{ticker} as of {day}</h1><p>{numbers}</p><picture><source srcset="{dark}" '
    'media="(prefers-color-scheme: dark)"><img src="{light}" alt="Close, moving averages and forecast intervals">'
    "</picture></div>"
    "<script>(() => {{const picture = document.getElementById('first-paint');"
    "const watch = new MutationObserver(() => document.querySelector('.cards, .state') && gone());"
    "const gone = () => {{watch.disconnect(); picture.remove()}};"
    "watch.observe(document.body, {{childList: true, subtree: true}}); setTimeout(gone, 20000)}})()</script>"
)
PATIENCE_SECONDS = 1.5


def build_app() -> "st.App":
    """The dashboard as an ASGI application."""
    routes = [Route(f"/{name}", _index(name), methods=["GET", "HEAD"]) for name in ("", *PAGES)]
    return st.App(
        Path(__file__).with_name("app.py"),
        routes=[*routes, Route("/reports/{ticker}/{day}", _report, methods=["GET", "HEAD"])],
    )


def index_page(name: str) -> str:
    """Streamlit's page with what the client need not find out itself; of a page with charts, their script begins to
    load together with the others instead of after the first chart has arrived."""
    static = Path(st.__file__).parent / "static"
    head = f"<title>{name.capitalize()} · stockcast</title>" if name else "<title>stockcast</title>"
    if name in WITH_CHARTS:
        scripts = sorted((static / "static" / "js").glob("PlotlyChart.*.js"))
        head += "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{s.name}">' for s in scripts)
    return (static / "index.html").read_text("utf-8").replace("<title>Streamlit</title>", BASE + head)


def first_paint(ticker: str | None, day: str | None) -> str:
    """The main figure of the Forecasts page, to be seen while the app is still loading; "" if there is none to show.

    Args:
        ticker: of the address; the one that the page would choose if None.
        day: as-of day of the address, YYYY-MM-DD; the newest forecast's if None.
    """
    from stockcast_assets.dashboard import data
    from stockcast_assets.dashboard.charts import DARK, LIGHT
    from stockcast_assets.dashboard.sketch import sketch
    from stockcast_assets.dashboard.summaries import price
    from stockcast_assets.forecasting.config import HORIZON

    known = data.tickers()
    if not known:
        return ""
    shown = (ticker or known[0]).upper()
    studied = data.studied(shown)
    days = data.read(FORECASTS, tickers=[shown], columns=["ticker", "date"])["date"]
    if studied.empty or days.empty:
        return ""
    as_of = pd.Timestamp(date.fromisoformat(day)) if day else days.max()
    window = studied[(studied["date"] <= as_of) & (studied["date"] > as_of - pd.Timedelta(days=182))]
    forecast = data.read(FORECASTS, tickers=[shown], start=as_of.date(), end=as_of.date())
    if window.empty:
        return ""
    light, dark = (sketch(window, forecast, palette) for palette in (LIGHT, DARK))
    numbers = f"Last close {price(window['close'].iloc[-1])}"
    for row in forecast[forecast["horizon"] == HORIZON].to_dict("records"):
        numbers += f", in {HORIZON} sessions {price(row['close_p10'])} – {price(row['close_p90'])} (80 % interval)"
    return FIRST_PAINT.format(
        numbers=numbers, ticker=html.escape(shown), day=f"{as_of:%d %b %Y}", light=light, dark=dark
    )


def _index(name: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    text = index_page(name)

    async def answer(request: Request) -> HTMLResponse:
        page = text
        if name == "forecasts":
            asked = request.query_params
            drawn = run_in_threadpool(first_paint, asked.get("ticker"), asked.get("date"))
            # No picture is better than a late answer; the app itself says what is wrong.
            with suppress(StockcastError, ValueError, TimeoutError):
                page = text.replace("<body>", "<body>" + await asyncio.wait_for(drawn, PATIENCE_SECONDS))
        # A new response each time: the compressing middleware changes its headers.
        return HTMLResponse(page, headers={"Cache-Control": "no-cache"})

    return answer


async def _report(request: Request) -> HTMLResponse:
    """Evidently's report of a ticker and day; 404 with a sentence if there is none."""
    from stockcast_assets.dashboard import data

    try:
        day = date.fromisoformat(request.path_params["day"])
        return HTMLResponse(await run_in_threadpool(data.drift_page, request.path_params["ticker"], day))
    except ValueError:
        reason = f"{request.path_params['day']} is no date: write it as YYYY-MM-DD."
    except StockcastError as error:
        reason = str(error)
    return HTMLResponse(FAILED.format(html.escape(reason)), status_code=404)
