"""The code location as a whole, as the Dagster UI and the daemon load it."""

from collections.abc import Callable

import dagster as dg
import pytest

from stockcast_assets.settings import Settings
from stockcast_assets.wiring import build_definitions


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"source": "csv"},
        {"source": "yahoo", "calendars": ("XNYS", "XLON", "24/7"), "tickers": ("VOD.L",)},
        {"warehouse": "bigquery", "gcp_project": "project"},
        {"automation": False},
    ],
    ids=["sample", "csv", "yahoo", "bigquery", "by hand"],
)
def test_the_code_location_loads(make_settings: Callable[..., Settings], values: dict[str, object]) -> None:
    dg.Definitions.validate_loadable(build_definitions(make_settings(**values)))
