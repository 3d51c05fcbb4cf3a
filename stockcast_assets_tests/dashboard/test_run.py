"""The dashboard as people get it: a server, and Chromium looking at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from stockcast_assets.dashboard.run import serve
from stockcast_assets.errors import StockcastError
from stockcast_assets.settings import Settings

START = (
    "import sys; from stockcast_assets.settings import load_settings;"
    "from stockcast_assets.dashboard.run import serve; serve(load_settings(), int(sys.argv[1]))"
)
PAGES = ("forecasts", "trust", "monitoring", "universe")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def address(filled_home: Path) -> Iterator[str]:
    port = free_port()
    environment = {**os.environ, "STOCKCAST_HOME": str(filled_home), "STOCKCAST_SOURCE": "sample"}
    server = subprocess.Popen([sys.executable, "-c", START, str(port)], env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
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
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Debian's Chromium where there is one, else the one Playwright brings.
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking"],
        )
        yield chromium
        chromium.close()


def visit(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(".js-plotly-plot .main-svg, [data-testid=stDataFrame], .state", timeout=60_000)


@pytest.mark.parametrize(
    ("width", "scheme", "color"), [(1440, "light", "rgb(255, 255, 255)"), (390, "dark", "rgb(15, 23, 32)")]
)
def test_every_page_fits_the_screen_and_asks_nobody_else(address, browser, width, scheme, color):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in PAGES:
        visit(page, f"{address}/{name}?ticker=MSFT")
        excess = page.evaluate(
            "(() => { const main = document.querySelector('[data-testid=stMain]');"
            " return main.scrollWidth - main.clientWidth })()"
        )
        assert excess <= 0, name
        background = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        assert page.evaluate(background) == color
        assert page.locator("[data-testid=stException]").count() == 0
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    context.close()


def test_choosing_a_ticker_changes_the_address_and_goes_along_to_other_pages(address, browser):
    page = browser.new_page()
    visit(page, f"{address}/?ticker=MSFT")
    page.wait_for_url("**/forecasts?ticker=MSFT*")
    page.get_by_role("link", name="Trust").click()
    page.wait_for_url("**/trust?*ticker=MSFT*")
    page.get_by_text("After publication").wait_for()
    page.close()


def test_a_taken_port_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StockcastError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(Settings(), port)
