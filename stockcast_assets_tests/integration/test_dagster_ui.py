"""The Dagster UI as people see it: the webserver on the home of a demo, and Chromium looking at every asset."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from stockcast_assets.tables import ALL_TABLES, FORECASTS
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.integration.dagster_dev import DagsterDev, dagster_webserver

DAY = "2013-03-01|MSFT"


@dataclass(frozen=True)
class Shown:
    """What the pages of an asset must show.

    Attributes:
        key: the materialised key to look at.
        rows: its rows.
        labels: metadata of the key, with which its page begins.
        links: parts of the addresses that the key's metadata links to.
        chart: alternative text of the key's picture.
        columns: tags of columns, which say what they come from.
    """

    group: str
    key: str
    rows: int
    labels: tuple[str, ...]
    links: tuple[str, ...] = ()
    chart: str | None = None
    columns: tuple[str, ...] = ("from: ticker of raw_prices",)


SHOWN = {
    "price_history": Shown("market", "MSFT", 3229, ("first bar", "last bar"), columns=()),
    "raw_prices": Shown("market", DAY, 1, ("MSFT: close", "MSFT: volume"), columns=()),
    "indicators": Shown("market", DAY, 1, ("MSFT: close", "MSFT: RSI 14", "MSFT: volatility 20")),
    "trained_model": Shown(
        "forecasting",
        DAY,
        1,
        ("published", "reason", "MSFT: pinball", "MSFT: coverage 80"),
        ("#/experiments/", "#/models/stockcast-MSFT/versions/"),
        columns=("from: ticker of price_history and raw_prices",),
    ),
    "forecasts": Shown(
        "forecasting",
        DAY,
        10,
        ("MSFT: last close", "MSFT: 80 % interval of session 10, % of close", "made by"),
        ("/forecasts?ticker=MSFT&date=2013-03-01", "#/models/stockcast-MSFT/versions/"),
        "Forecast of MSFT as of 2013-03-01",
    ),
    "drift_report": Shown(
        "monitoring",
        DAY,
        8,
        ("MSFT: highest score / threshold", "MSFT: drifted features"),
        ("/reports/MSFT/2013-03-01",),
        "Drift of MSFT on 2013-03-01",
    ),
    "forecast_accuracy": Shown(
        "monitoring",
        DAY,
        2,
        ("MSFT: inside the 80 % interval, share", "MSFT: absolute error of the random walk, % of close"),
    ),
}


@pytest.fixture(scope="module")
def ui(demo: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterDev]:
    with dagster_webserver(demo, tmp_path_factory.mktemp("ui") / "webserver.log") as server:
        yield server


@contextmanager
def opened(browser: Browser, **device: Any) -> Iterator[Page]:
    """A tab that must not have said an error by the end."""
    context = browser.new_context(**device)
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    yield tab
    context.close()
    assert said == []


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One for all tests, so that Dagster's scripts are fetched once."""
    with opened(browser, viewport={"width": 1440, "height": 1000}) as tab:
        yield tab


def shows(page: Page, *texts: str) -> None:
    for text in texts:
        expect(page.get_by_text(text, exact=True).filter(visible=True).first).to_be_visible(timeout=20_000)


def test_the_graph_has_every_asset_in_its_group(ui: DagsterDev, page: Page) -> None:
    # A group at a time: Dagster draws what is on the screen only, and the whole graph is higher.
    assets = {
        **{name: of.group for name, of in SHOWN.items()},
        "tuning": "forecasting",
        "universe_model": "forecasting",
    }
    for group in sorted(set(assets.values())):
        chosen = quote(f'group:"{group}"')
        page.goto(f"{ui.url}/asset-groups?expanded={quote(f'global@global:{group}')}&asset-selection={chosen}")
        shows(page, group, *(name for name, of in assets.items() if of == group))


def test_on_a_phone_an_asset_can_be_read(ui: DagsterDev, browser: Browser) -> None:
    # Dagster lays the overview out for phones, which it knows by what they call themselves; its other pages not yet.
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile Safari/604.1"
    screen = {"width": 390, "height": 844}
    with opened(browser, viewport=screen, screen=screen, user_agent=phone, is_mobile=True, has_touch=True) as page:
        page.goto(f"{ui.url}/assets/{FORECASTS.name}")
        shows(page, "Latest materialization", "Row count")
        for section in ("Description", "Columns", "Definition"):
            page.get_by_text(section, exact=True).click()
        shows(page, FORECASTS.description, "from: ticker of raw_prices", "stockcast")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_dagster_plots_the_numbers_of_the_keys(ui: DagsterDev, page: Page) -> None:
    page.goto(f"{ui.url}/assets/{FORECASTS.name}?view=overview")
    page.get_by_role("button", name="Plots").click()
    plotted = [label for label in SHOWN[FORECASTS.name].labels if label != "made by"]
    numbers = [label.replace("MSFT", ticker) for label in plotted for ticker in ("AAPL", "MSFT")]
    shows(page, *numbers, "dagster/row_count", "seconds per key")
    assert page.locator("canvas").count() >= len(numbers) + 2


@pytest.mark.parametrize("asset", list(SHOWN))
def test_an_asset_says_what_it_is_what_it_holds_and_where_more_is(ui: DagsterDev, page: Page, asset: str) -> None:
    wanted = SHOWN[asset]
    table = next(table for table in ALL_TABLES if table.name == asset)
    page.goto(f"{ui.url}/assets/{asset}?view=partitions&partition={quote(wanted.key)}")
    shows(page, "Materialized", "dagster/row_count", "seconds per key", *wanted.labels)
    labels = page.locator("tr td:first-child").all_inner_texts()
    run_wide = min(labels.index(label) for label in ("dagster/row_count", "seconds per key"))
    assert set(wanted.labels) <= set(labels[:run_wide]), "the page begins with what the key is about"
    row = page.locator("tr", has_text="dagster/row_count").first
    assert row.locator("td").nth(1).inner_text() == str(wanted.rows)
    for link in wanted.links:
        expect(page.locator(f"a[href*='{link}']").first).to_be_visible()
    if wanted.chart is not None:
        page.get_by_text("[Show Markdown]").click()
        picture = page.get_by_alt_text(wanted.chart)
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.complete && image.naturalWidth") == 640
        page.get_by_role("button", name="Close").click()

    # From tab to tab, which loads nothing twice.
    page.get_by_role("tab", name="Overview").click()
    shows(page, table.description, wanted.group, "stockcast", "Python", "Row count", *wanted.columns)
    expect(page.locator("a[href*='/stockcast_assets/orchestration/assets/']")).to_be_visible()

    page.get_by_role("tab", name="Checks").click()
    page.get_by_text("obeys_its_declaration", exact=True).first.click()
    shows(page, "Passed")
    expect(page.get_by_text("no key twice")).to_be_visible()
