"""What the server sends beside Streamlit's own: the page around the app, and Evidently's reports."""

import asyncio
import base64
import hashlib
import html
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from stockcast_assets.dashboard import data
from stockcast_assets.dashboard.first_paint import PICTURES, SCRIPT, first_paint
from stockcast_assets.errors import StockcastError
from stockcast_assets.web.guard import Guard, Policy

PAGES = tuple(PICTURES)
WITH_CHARTS = ("", "forecasts", "trust", "monitoring", "risk")
# Streamlit's client guesses its server's address from the page's: it asks below /trust before it asks below /, which
# costs two 404 and a round trip. Told the address, it does not guess. The page knows its own name, so it works below a
# reverse proxy's path as well, even one that ends like a page.
BASE = (
    "<script>(() => {const base = location.origin + location.pathname.replace(/NAME\\/?$/, '');"
    "window.__streamlit = {BACKEND_BASE_URL: base, MAIN_PAGE_BASE_URL: base}})()</script>"
)
MESSAGE = (
    '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">{head}'
    "<title>{title} · stockcast</title><style>body {{font: 1rem/1.5 sans-serif; margin: 4rem auto; max-width: 40rem; "
    "padding: 0 1rem; overflow-wrap: anywhere}} @media (prefers-color-scheme: dark) {{body {{background: #0f1720; "
    'color: #e6edf3}}}}</style><body><h1>{title}</h1><p role="status">{text}</p>'
)
# A browser goes on showing the page that sent it there until the answer comes.
GO_ON = '<meta http-equiv="refresh" content="0; url=?drawn">'

PATIENCE_SECONDS = 1.5
# A report is shown as if it came from nowhere: what it runs reaches neither the dashboard nor anything else.
REPORT_CSP = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)


def build_app(hosts: Sequence[str] = ()) -> "st.App":
    """The dashboard as an ASGI application, which answers under these host names and loopback's only."""
    routes = [Route(f"/{name}", _index(name), methods=["GET", "HEAD"]) for name in ("", *PAGES)]
    return st.App(
        Path(__file__).with_name("app.py"),
        routes=[*routes, Route("/reports/{ticker}/{day}", _report, methods=["GET", "HEAD"])],
        middleware=[Middleware(Guard, hosts=hosts, policy=policy())],
    )


def policy() -> Policy:
    """What the dashboard's pages may do in a browser: run their own scripts, and fetch from their own server."""
    pages = "".join(map(index_page, ("", *PAGES)))
    inline = dict.fromkeys(re.findall(r"<script>(.*?)</script>", pages + SCRIPT, re.DOTALL))
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in inline)
    return Policy(
        csp=(
            f"default-src 'self'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
            "object-src 'none'; base-uri 'none'; form-action 'none'"
        ),
        # It takes no files, and what it offers to programs is the data in the tables.
        closed=("/_stcore/upload_file/", "/_stcore/agent/"),
    )


def index_page(name: str) -> str:
    """Streamlit's page with what the client need not find out itself; of a page with charts, their script begins to
    load together with the others instead of after the first chart has arrived."""
    static = Path(st.__file__).parent / "static"
    head = f"<title>{name.capitalize()} · stockcast</title>" if name else "<title>stockcast</title>"
    if name in WITH_CHARTS:
        scripts = sorted((static / "static" / "js").glob("PlotlyChart.*.js"))
        head += "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{s.name}">' for s in scripts)
    return (
        (static / "index.html")
        .read_text("utf-8")
        .replace("<title>Streamlit</title>", BASE.replace("NAME", f"\\/{name}" if name else "") + head)
    )


def _index(name: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
    text = index_page(name)

    async def answer(request: Request) -> HTMLResponse:
        page = text
        if name:
            asked = request.query_params
            drawn = run_in_threadpool(first_paint, name, asked.get("ticker"), asked.get("date"), asked.get("known"))
            # No picture is better than a late answer; the app itself says what is wrong.
            with suppress(StockcastError, ValueError, TimeoutError):
                page = text.replace("<body>", "<body>" + await asyncio.wait_for(drawn, PATIENCE_SECONDS))
        # A new response each time: the compressing middleware changes its headers.
        return HTMLResponse(page, headers={"Cache-Control": "no-cache"})

    return answer


async def _report(request: Request) -> HTMLResponse:
    """Evidently's report of a ticker and day; 404 with a sentence if there is none.

    Drawing it takes seconds. So the address answers with a page that says so and leads to the same address with
    `?drawn`, which is the report.
    """
    ticker = request.path_params["ticker"]
    try:
        day = date.fromisoformat(request.path_params["day"])
        if "drawn" in request.query_params:
            page = await run_in_threadpool(data.drift_page, ticker, day)
            return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_CSP})
        await run_in_threadpool(data.report_store().require_record, ticker, day)
    except ValueError:
        return _message("No report", f"{request.path_params['day']} is no date: write it as YYYY-MM-DD.", status=404)
    except StockcastError as error:
        return _message("No report", str(error), status=404)
    return _message(f"Drift of {ticker} on {day}", "Evidently is drawing the report. It takes some seconds.", GO_ON)


def _message(title: str, text: str, head: str = "", status: int = 200) -> HTMLResponse:
    page = MESSAGE.format(title=html.escape(title), text=html.escape(text), head=head)
    return HTMLResponse(page, status_code=status, headers={"Cache-Control": "no-cache"})
