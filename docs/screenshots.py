"""Take the pictures of README: the Dagster UI and the dashboard, on the data of `make demo`, in headless Chromium.

Run by `make screenshots`. The pictures show what is really there, so they cannot lie for long.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parent / "images"
CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: str) -> Iterator[str]:
    """`stockcast ui` or `stockcast dashboard` on a free port; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stockcast = str(Path(sys.executable).with_name("stockcast"))
    process = subprocess.Popen([stockcast, command, "--port", str(port)], start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(url, timeout=2)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def shoot(page: Page, url: str, name: str, settle: float = 5.0) -> None:
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_timeout(settle * 1000)
    page.screenshot(path=str(PICTURES / f"{name}.png"))


def main() -> None:
    if CHROMIUM is None:
        sys.exit("error: screenshots need Chromium; install it (Debian: apt-get install chromium).")
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with served("ui") as url:
            groups = ",".join(f"global@global:{name}" for name in ("market", "forecasting", "monitoring"))
            page = browser.new_page(viewport={"width": 2200, "height": 2300})
            shoot(page, f"{url}/asset-groups?expanded={quote(groups)}", "asset-graph", settle=15)
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            shoot(page, f"{url}/assets/forecasts?view=partitions", "forecasts-partitions")
            page.goto(f"{url}/assets/forecasts?view=partitions&partition=2013-03-01%7CMSFT")
            page.get_by_text("[Show Markdown]").click(timeout=60_000)
            page.wait_for_timeout(2_000)
            page.screenshot(path=str(PICTURES / "forecast-in-dagster.png"))
            shoot(page, f"{url}/assets/forecasts?view=checks", "forecasts-checks")
            page.goto(f"{url}/runs")
            page.get_by_text("daily_forecast").first.wait_for(timeout=60_000)
            page.locator("a[href^='/runs/']").first.click()
            page.wait_for_timeout(8_000)
            page.screenshot(path=str(PICTURES / "run.png"))
        with served("dashboard") as url:
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            shoot(page, f"{url}/forecasts?ticker=AAPL&date=2013-02-15", "dashboard", settle=8)
        browser.close()


if __name__ == "__main__":
    main()
