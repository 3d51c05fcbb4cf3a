"""The dashboard as people get it: a server, and Chromium looking at it."""

import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from stockcast_assets.dashboard.pages import PAGES
from stockcast_assets.dashboard.run import serve
from stockcast_assets.errors import StockcastError
from stockcast_assets.settings import Settings
from stockcast_assets.tables import TRAINED_MODEL
from stockcast_assets_tests.dashboard.home import model_row, write

START = (
    "import sys; from stockcast_assets.settings import load_settings;"
    "from stockcast_assets.dashboard.run import serve; serve(load_settings(), int(sys.argv[1]))"
)
HOLD = (
    "import duckdb, sys; held = duckdb.connect(sys.argv[1]); held.execute('CREATE TABLE IF NOT EXISTS held (i INT)');"
    "print('held', flush=True); sys.stdin.read()"
)
READY = ".js-plotly-plot .main-svg, [data-testid=stDataFrame], .st-key-model-card table, .state"
SCREENS = [(1440, "light"), (390, "dark")]
"""Widths and colour schemes; a page is loaded on the last of them."""
LOADED = {"viewport": {"width": SCREENS[-1][0], "height": 900}, "color_scheme": SCREENS[-1][1]}
# The whole app without charts, which take a browser most of its time.
QUICK = "ticker=NOPE"
BACKGROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 23, 32)"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(home: Path) -> Iterator[str]:
    port = free_port()
    environment = {**os.environ, "STOCKCAST_HOME": str(home), "STOCKCAST_SOURCE": "sample"}
    server = subprocess.Popen([sys.executable, "-c", START, str(port)], env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(480):
            assert server.poll() is None, "the server died"
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
                break
            except OSError:
                time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def address(filled_home: Path) -> Iterator[str]:
    with served(filled_home) as address:
        yield address


@contextmanager
def watched(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """A tab in which the console must not have said an error by the end, and which asked no other server."""
    context = browser.new_context(**options)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def visit(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(READY, timeout=60_000)
    # The last line of every page: all of it has arrived.
    page.get_by_text("It is not advice").wait_for(timeout=30_000)


# Pixels by which the page is wider than the screen.
EXCESS_WIDTH = """(() => {
    const main = document.querySelector('[data-testid=stMain]');
    return Math.max(main.scrollWidth - main.clientWidth, document.documentElement.scrollWidth - window.innerWidth)
})()"""
SHOWN_ON = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"


def barriers(page: Page) -> list[str]:
    """Serious and critical findings of axe-core."""
    found = []
    for violation in Axe().run(page).response["violations"]:
        for node in violation["nodes"]:
            if node["impact"] in ("serious", "critical"):
                found.append(f"{violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:160]}")
    return found


def sound(page: Page) -> None:
    """On every screen: nothing sticks out, the theme is the visitor's, nothing failed, and nobody is shut out."""
    assert page.locator("[data-testid=stException]").count() == 0
    for width, scheme in reversed(SCREENS):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        # What is drawn follows the window a moment later.
        for _ in range(100):
            look = page.evaluate(f"[{EXCESS_WIDTH}, {SHOWN_ON}]")
            if look[0] <= 0 and look[1] == BACKGROUND[scheme]:
                break
            page.wait_for_timeout(100)
        assert (look[0] <= 0, look[1]) == (True, BACKGROUND[scheme]), (width, look)
        assert barriers(page) == [], (width, scheme)
    page.set_viewport_size(LOADED["viewport"])
    page.emulate_media(color_scheme=LOADED["color_scheme"])


@contextmanager
def proxied(address: str, prefix: str) -> Iterator[str]:
    """A reverse proxy that serves the address below a path, which it takes off, as nginx and Caddy do."""
    behind = int(address.rpartition(":")[2])

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while line := self.rfile.readline():
                head += line
                if line == b"\r\n":
                    break
            method, _, rest = head.partition(b" ")
            if not rest.startswith(prefix.encode()):
                return
            head = method + b" " + rest.removeprefix(prefix.encode())
            if b"upgrade: websocket" not in head.lower():
                # One request a connection, so that only its head need be read.
                head = re.sub(rb"(?i)connection: [^\r]*\r\n", b"", head)[:-2] + b"Connection: close\r\n\r\n"
            with socket.create_connection(("127.0.0.1", behind)) as server:
                server.sendall(head)
                threading.Thread(target=pour, args=(self.rfile.read1, server), daemon=True).start()
                pour(server.recv, self.connection)

    def pour(read: Callable[[int], bytes], to: socket.socket) -> None:
        with suppress(OSError):
            while data := read(65536):
                to.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}{prefix}"
        proxy.shutdown()


def test_below_any_path_of_a_proxy_every_page_works(address, browser):
    prefix = "/team/trust"
    with proxied(address, prefix) as outside, watched(browser, outside) as page:
        visit(page, f"{outside}/")
        page.wait_for_url(f"{outside}/forecasts*")
        for name in PAGES:
            visit(page, f"{outside}/{name}?{QUICK}")
        page.get_by_role("link", name="Forecasts").first.click()
        page.wait_for_url(f"{outside}/forecasts*")


def test_every_page_is_sound_on_every_screen(address, browser):
    with watched(browser, address, **LOADED) as page:
        for name in PAGES:
            for query in ("ticker=MSFT&date=2013-02-28", QUICK) if name not in ("universe", "risk") else ("",):
                visit(page, f"{address}/{name}?{query}")
                page.wait_for_selector("#first-paint", state="detached", timeout=15_000)
                sound(page)
        for query in ("date=never&window=never", "ticker=MSFT&window=1+year&candles=true"):
            visit(page, f"{address}/forecasts?{query}")
            sound(page)


def test_before_the_first_run_every_page_says_what_to_do(browser, tmp_path):
    with served(tmp_path) as address, watched(browser, address, **LOADED) as page:
        for name in PAGES:
            visit(page, f"{address}/{name}")
            sound(page)
            assert "stockcast demo" in page.locator(".state").inner_text()
            for width, _ in SCREENS:
                page.set_viewport_size({"width": width, "height": 900})
                assert page.locator(".state").bounding_box()["width"] > 0.8 * min(width, 1240), (
                    "not a column of the pickers"
                )


def test_what_tables_hold_is_text_and_fetches_nothing(filled_home, browser, tmp_path):
    home = shutil.copytree(filled_home, tmp_path / "home")
    hostile = (
        "![p](http://evil.example/p.png) <img src='http://evil.example/q' onerror='document.title=1'> "
        "<script>document.title=2</script> [link](javascript:alert(1)) **bold**"
    )
    write(home, TRAINED_MODEL, pd.DataFrame([model_row("MSFT", 3) | {"reason": hostile}]))
    with served(home) as address, watched(browser, address, viewport={"width": 1440, "height": 900}) as page:
        visit(page, f"{address}/trust?ticker=MSFT")
        page.get_by_text("Details: the numbers of the decision").click()
        page.get_by_text("![p](http://evil.example/p.png)").first.wait_for()
        assert hostile in page.locator("[data-testid=stMain]").inner_text()
        assert page.locator("[src*='evil'], [href^='javascript']").count() == 0
        assert page.title() not in ("1", "2")


def test_while_a_run_writes_the_pages_show_what_they_read_before(filled_home, browser, tmp_path):
    home = shutil.copytree(filled_home, tmp_path / "home")
    database = home / "warehouse.duckdb"
    with served(home) as address, watched(browser, address, **LOADED) as page:
        visit(page, f"{address}/forecasts?ticker=MSFT")
        writer = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"held\n"
            os.utime(database)
            started = time.monotonic()
            visit(page, f"{address}/forecasts?ticker=MSFT")
            assert time.monotonic() - started < 45, "not the minute that a run waits"
            assert re.search(r"showing data of \d\d:\d\d UTC", page.locator(".notice").inner_text())
            assert page.locator(".cards").count() > 0
            sound(page)
            visit(page, f"{address}/trust?ticker=AAPL")
            assert "A run is writing" in page.locator(".state").inner_text()
            assert page.locator(".notice").count() == 0, "which data is shown, where none is"
            sound(page)
        finally:
            writer.communicate(timeout=20)
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("After publication").wait_for()
        assert page.locator(".notice").count() == 0

        database.unlink()
        visit(page, f"{address}/universe")
        assert str(database) in page.locator(".state").inner_text()
        sound(page)


def test_even_an_element_that_got_onto_a_page_runs_nothing_and_fetches_nothing(address, browser):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, f"{address}/trust?{QUICK}")
    hostile = (
        "<img id=evil src='http://evil.example/p.png' onerror='document.title=1'><iframe src='http://evil.example'>"
        "</iframe><a id=link href='javascript:document.title=2'>x</a><form action='http://evil.example'></form>"
    )
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", hostile)
    page.wait_for_function("document.getElementById('evil').complete")
    page.evaluate("document.getElementById('link').click(); document.forms[0].submit()")
    assert page.evaluate("fetch('http://evil.example/').then(() => 'sent', () => 'refused')") == "refused"
    assert page.title() not in ("1", "2")
    assert page.url.startswith(address)
    page.close()
    # A request that the policy refuses is announced, and not sent.
    assert [url for url in asked if "evil.example" in url and not url.endswith(("p.png", ".example/"))] == []


def test_a_ticker_of_the_universe_leads_to_its_page_and_the_table_to_no_unsafe_file(address, browser):
    with watched(browser, address, viewport={"width": 1440, "height": 900}) as page:
        visit(page, f"{address}/universe")
        table = page.locator("[data-testid=stDataFrame] .dvn-scroller")
        table.hover(position={"x": 20, "y": 52})
        toolbar = page.get_by_role("button", name="Search: ")
        toolbar.wait_for()
        assert not page.locator("[aria-label^='Download as CSV']").is_visible(), "its export escapes no formulas"
        with page.context.expect_page() as opened:
            table.click(position={"x": 20, "y": 52})
        assert opened.value.url == f"{address}/forecasts?ticker=AAPL"


def test_the_pages_are_in_reach_of_thumbs_and_keyboards(address, browser):
    with watched(browser, address, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as page:
        visit(page, f"{address}/forecasts?{QUICK}")
        for name in PAGES:
            link = page.get_by_role("link", name=name.capitalize(), exact=True)
            box = link.bounding_box()
            assert box is not None
            assert box["height"] >= 24
            assert box["x"] + box["width"] <= 390
        page.get_by_role("link", name="Universe", exact=True).tap()
        page.wait_for_url("**/universe*")
    with watched(browser, address, viewport={"width": 1440, "height": 900}) as page:
        visit(page, f"{address}/forecasts?{QUICK}")
        reached = []
        for _ in range(len(PAGES) + 2):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "[document.activeElement.innerText, getComputedStyle(document.activeElement).outline]"
            )
            if focused[0].lower() in PAGES:
                reached.append(focused[0].lower())
                assert "solid" in focused[1], "where the focus is can be seen"
        assert reached == list(PAGES)


def test_choosing_a_ticker_changes_the_address_and_goes_along_to_other_pages(address, browser):
    page = browser.new_page()
    visit(page, f"{address}/?ticker=MSFT")
    page.wait_for_url("**/forecasts?ticker=MSFT*")
    page.get_by_role("link", name="Trust").click()
    page.wait_for_url("**/trust?*ticker=MSFT*")
    page.get_by_text("After publication").wait_for()
    page.close()


def test_a_picture_is_there_before_the_app_and_another_before_the_chart(address, browser):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    drawn = "(selector) => document.querySelector(selector).naturalWidth"
    page.route("**/static/js/*.js", lambda route: route.abort())
    for name, title in (
        ("forecasts", "MSFT as of 15 Feb 2013"),
        ("trust", "The walk-forward proof of MSFT, March 2013"),
        ("monitoring", "Drift of MSFT"),
    ):
        page.goto(f"{address}/{name}?ticker=MSFT&date=2013-02-15")
        assert page.locator("#first-paint h1").inner_text() == title
        assert page.evaluate(drawn, "#first-paint img") > 0
    page.goto(f"{address}/universe")
    assert page.locator("#first-paint td").first.inner_text() == "AAPL"
    page.unroute("**/static/js/*.js")

    page.route("**/PlotlyChart.*.js", lambda route: route.abort())
    page.goto(f"{address}/forecasts?ticker=MSFT")
    page.wait_for_selector(".first-paint:visible", timeout=30_000)
    assert page.evaluate(drawn, ".first-paint") > 0
    page.unroute("**/PlotlyChart.*.js")

    visit(page, f"{address}/forecasts?ticker=MSFT")
    page.wait_for_selector(".js-plotly-plot .main-svg")
    page.wait_for_selector(".first-paint", state="hidden")
    assert page.locator("#first-paint").count() == 0
    context.close()


@pytest.mark.parametrize("query", ["?ticker=NOPE", "?ticker=MSFT&date=never", "?ticker=%3Cscript%3Ealert(1)"])
def test_an_address_without_a_picture_is_the_app_alone(address, query):
    with urllib.request.urlopen(f"{address}/forecasts{query}") as answer:
        page = answer.read().decode()
    assert "#first-paint" not in page
    assert "alert(1)" not in page


def test_the_first_paint_does_not_wait_for_the_scripts(address, browser):
    """Against the chart's own time on the same machine: `bench/dashboard.py` has the seconds."""
    ratio = 1.0
    for _ in range(3):
        with watched(browser, address, viewport={"width": 1440, "height": 900}) as page:
            page.goto(f"{address}/forecasts?ticker=MSFT", wait_until="commit")
            page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
            chart, painted, answered = page.evaluate(
                "[performance.now(), performance.getEntriesByName('first-contentful-paint')[0].startTime,"
                " performance.getEntriesByType('navigation')[0].responseStart]"
            )
            ratio = (painted - answered) / (chart - answered)
        if ratio < 0.5:
            break
    assert ratio < 0.5


def test_a_report_has_a_page_of_its_own(address, browser):
    with watched(browser, address, color_scheme="dark") as page:
        visit(page, f"{address}/monitoring?ticker=MSFT&date=2013-02-28")
        with page.context.expect_page() as opened, page.expect_popup():
            page.get_by_role("link", name="Open the report").click()
        report = opened.value
        report.get_by_text("Dataset Drift").first.wait_for(timeout=60_000)
        assert report.title() == "Drift of MSFT on 2013-02-28 · stockcast"
        assert "against those of 2000-03-01 to 2012-11-02" in report.locator("header").first.inner_text()
        assert report.evaluate("self.origin") == "null", "what it runs is of no origin and reaches nothing"
        assert "reaches its limit: log_return " in report.locator("header").first.inner_text()
        report.get_by_role("link", name="Back to the monitoring page").click()
        report.wait_for_url(f"{address}/monitoring?ticker=MSFT&date=2013-02-28*")
        report.close()
    with urllib.request.urlopen(f"{address}/reports/MSFT/2013-03-01") as answer:
        assert "Evidently is drawing" in answer.read().decode(), "at once, while the report takes seconds"
    for wrong, sentence in (("MSFT/2013-05-05", "There is no drift report of MSFT"), ("MSFT/never", "no date")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/reports/{wrong}")
        assert refused.value.code == 404
        assert sentence in refused.value.read().decode()


def test_a_taken_port_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StockcastError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(Settings(), port)
