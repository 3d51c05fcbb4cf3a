"""Take the pictures of README and docs: the Dagster UI, MLflow and the dashboard on the data of `make demo`.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

PICTURES = Path(__file__).parent / "images"
CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
KEY = quote("2013-03-01|AAPL")
DAY = "ticker=AAPL&date=2013-02-15"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: str) -> Iterator[str]:
    """`stockcast ui`, `stockcast mlflow` or `stockcast dashboard` on a free port; its address."""
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
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            # It is busy with the run of somebody who is not interested in it any more.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def save(page: Page, name: str, clip: FloatRect | None = None) -> None:
    """The page as a PNG of 256 colours: a third of the size, and nobody sees it."""
    picture = Image.open(BytesIO(page.screenshot(clip=clip))).convert("RGB")
    colours = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours.save(PICTURES / f"{name}.png", optimize=True)
    print(f"{name}.png", flush=True)  # noqa: T201


def shoot(
    browser: Browser,
    url: str,
    name: str,
    until: str,
    size: tuple[int, int] = (1440, 900),
    scheme: str = "light",
    then: Callable[[Page], object] = lambda page: None,
    clip: Callable[[Page], FloatRect | None] = lambda page: None,
) -> None:
    """Open a page, wait for a selector, do what is to be done, and save it, or a part of it, once it is quiet."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=2 if size[0] < 500 else 1,
    )
    page = context.new_page()
    page.goto(url, wait_until="domcontentloaded")
    page.locator(until).first.wait_for(timeout=60_000)
    then(page)
    page.wait_for_timeout(4_000)
    save(page, name, clip(page))
    context.close()


def around_the_nodes(page: Page) -> FloatRect:
    """Where the graph is: the rest of Dagster's canvas is empty."""
    boxes = [box for node in page.locator("svg foreignObject").all() if (box := node.bounding_box())]
    left, top = min(box["x"] for box in boxes), min(box["y"] for box in boxes)
    right, bottom = max(b["x"] + b["width"] for b in boxes), max(b["y"] + b["height"] for b in boxes)
    margin = 16
    return {
        "x": left - margin, "y": top - margin, "width": right - left + 2 * margin, "height": bottom - top + 2 * margin
    }  # fmt: skip


def open_training(page: Page) -> None:
    """The models of the newest training below their run, without MLflow's assistant beside them."""
    close = page.get_by_role("button", name="Close", exact=False)
    if close.count():
        close.last.click()
    page.get_by_role("row").filter(has_text="monthly_training").get_by_role("button").first.click()
    page.locator("text=AAPL 2013-03").first.wait_for()


def open_chart(page: Page) -> None:
    page.get_by_text("[Show Markdown]").first.click()
    page.get_by_role("img").last.wait_for()


def open_plots(page: Page) -> None:
    toggle = page.get_by_role("button", name="Plots")
    toggle.click()
    page.locator("canvas").last.wait_for()
    toggle.evaluate("button => button.scrollIntoView({block: 'start'})")


def open_run(page: Page) -> None:
    page.locator("a[href^='/runs/']").first.click()
    page.get_by_text("ASSET_CHECK_EVALUATION").or_(page.get_by_text("STEP_SUCCESS")).first.wait_for(timeout=60_000)


def dagster(browser: Browser, url: str) -> None:
    # Dagster fits an asset's lineage into the page, not the global graph with its groups open.
    lineage = f"{url}/assets/drift_report?view=lineage&lineageScope=upstream&lineageDepth=2"
    shoot(browser, lineage, "asset-graph", "text=raw_prices", size=(2100, 2000), clip=around_the_nodes)
    shoot(browser, f"{url}/assets/indicators", "asset-overview", "text=from: close", size=(1440, 1000))
    scores = f"{url}/assets/forecast_accuracy?view=overview"
    shoot(browser, scores, "plots", "text=from: horizon", size=(1440, 1000), then=open_plots)
    partitions = f"{url}/assets/forecasts?view=partitions&partition={KEY}"
    shoot(browser, partitions, "forecast-key", "text=seconds per key", size=(1440, 1060))
    shoot(browser, partitions, "forecast-in-dagster", "text=seconds per key", then=open_chart)
    drift = f"{url}/assets/drift_report?view=partitions&partition={KEY}"
    shoot(browser, drift, "drift-in-dagster", "text=seconds per key", scheme="dark", then=open_chart)
    checks = f"{url}/assets/forecast_accuracy?view=checks&checkDetail=interval_covers"
    shoot(browser, checks, "checks", "text=Evaluation result", size=(1440, 760))
    shoot(browser, f"{url}/runs", "run", "text=daily_forecast", size=(1440, 1100), then=open_run)


def mlflow(browser: Browser, url: str) -> None:
    search = quote("tags.`stockcast.month` = '2013-03'")
    shoot(
        browser,
        f"{url}/#/experiments/1/runs?searchFilter={search}",
        "mlflow",
        "text=monthly_training",
        size=(1440, 560),
        then=open_training,
    )


def dashboard(browser: Browser, url: str) -> None:
    chart, table = ".js-plotly-plot .main-svg", ".js-plotly-plot .main-svg, [data-testid=stDataFrame]"
    shoot(browser, f"{url}/forecasts?{DAY}", "dashboard", chart, size=(1440, 870))
    shoot(browser, f"{url}/forecasts?{DAY}&candles=true", "dashboard-dark", chart, size=(1440, 935), scheme="dark")
    shoot(browser, f"{url}/forecasts?{DAY}", "dashboard-phone", chart, size=(390, 1400))
    shoot(browser, f"{url}/trust?ticker=AAPL", "dashboard-trust", chart, size=(1440, 970))
    shoot(browser, f"{url}/monitoring?{DAY}", "dashboard-monitoring", chart, size=(1440, 1115))
    shoot(browser, f"{url}/card?ticker=AAPL", "dashboard-card", ".st-key-model-card table", size=(1440, 1400))
    shoot(browser, f"{url}/universe", "dashboard-universe", table, size=(1440, 520))


def main() -> None:
    """Take all pictures, or those of the parts named: `ui`, `mlflow`, `dashboard`."""
    if CHROMIUM is None:
        sys.exit("error: screenshots need Chromium; install it (Debian: apt-get install chromium).")
    PICTURES.mkdir(exist_ok=True)
    parts = {"ui": dagster, "mlflow": mlflow, "dashboard": dashboard}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name in sys.argv[1:] or parts:
            with served(name) as url:
                parts[name](browser, url)
        browser.close()


if __name__ == "__main__":
    main()
