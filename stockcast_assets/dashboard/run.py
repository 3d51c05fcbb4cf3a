"""Start the dashboard on this machine."""

import os
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from stockcast_assets.errors import StockcastError
from stockcast_assets.settings import Settings
from stockcast_assets.web.address import is_loopback, require_address

DEFAULT_PORT = 8501
HOST = "127.0.0.1"
LIGHT = {
    "primaryColor": "#0f766e", "backgroundColor": "#ffffff", "secondaryBackgroundColor": "#f3f6f8",
    "textColor": "#1b2733",
}  # fmt: skip
DARK = {
    "primaryColor": "#14b8a6", "backgroundColor": "#0f1720", "secondaryBackgroundColor": "#18242f",
    "textColor": "#e6edf3",
}  # fmt: skip


def options(host: str, port: int) -> dict[str, Any]:
    """Streamlit's options: no telemetry, no developer's tools, both themes."""
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableAgentApi": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        **{f"theme.light.{name}": value for name, value in LIGHT.items()},
        **{f"theme.dark.{name}": value for name, value in DARK.items()},
    }


def own_hosts(settings: Settings) -> tuple[str, ...]:
    """The host names under which the dashboard may be reached: also the one that links to it carry."""
    linked = urlsplit(settings.dashboard_url).hostname
    return settings.allowed_hosts if linked is None or is_loopback(linked) else (*settings.allowed_hosts, linked)


def serve(settings: Settings, port: int = DEFAULT_PORT, host: str = HOST) -> None:
    """Serve the dashboard until interrupted.

    Args:
        settings: checked by the caller; the app reads the same environment.
        port: TCP port.
        host: address to listen on; the default is reachable from this machine only.

    Raises:
        StockcastError: the address cannot be used.
    """
    require_address("dashboard", host, port, own_hosts(settings))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ["STOCKCAST_HOME"] = str(settings.home)

    from streamlit.logger import get_logger

    # The pages are loaded before the server, whose absence Streamlit would warn of.
    get_logger("streamlit.runtime.caching.cache_data_api").setLevel("ERROR")
    # Loaded before the server answers, so that the first visitor does not wait for them.
    from stockcast_assets.dashboard.first_paint import first_paint
    from stockcast_assets.dashboard.pages import PAGES, build_app
    from stockcast_assets.dashboard.views import forecasts, monitoring, trust, universe  # noqa: F401
    from stockcast_assets.orchestration import build  # noqa: F401

    # What stands in the way of the first picture stands in the way of a page, which says so.
    with suppress(StockcastError):
        first_paint(PAGES[0])
    build_app(own_hosts(settings)).run(config=options(host, port))
