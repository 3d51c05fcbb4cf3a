"""The order of the assets, and what a key of each is: from the lineage that the tables declare, and nowhere else.

A test holds that Dagster's own asset graph has the same order and keys.
"""

from collections.abc import Mapping
from graphlib import TopologicalSorter

from stockcast_assets.tables import (
    ALL_TABLES,
    EARNINGS_DATES,
    MARKET_STATE,
    PRICE_HISTORY,
    RAW_PRICES,
    SCENARIOS,
    TRAINED_MODEL,
    UNIVERSE_MODEL,
)

OF_ALL = (MARKET_STATE.name, UNIVERSE_MODEL.name)
"""What is made of all tickers together, so that none of its keys has a ticker."""

MARKET_DAYS = "market_days"
"""The step that records the days of `market_state`: it goes along with what reads them."""

_KEYED = tuple(table for table in ALL_TABLES if table.name not in OF_ALL)

KEY_OF: Mapping[str, str] = {table.name: "ticker-day" for table in _KEYED} | {
    PRICE_HISTORY.name: "ticker",
    EARNINGS_DATES.name: "ticker",
    TRAINED_MODEL.name: "ticker-month",
    UNIVERSE_MODEL.name: "month",
    MARKET_STATE.name: "day",
    SCENARIOS.name: "day",
}

# Dictionaries, not sets: they keep the order in which lineage is declared, so that ours is the same in every process.
ORDER: tuple[str, ...] = tuple(
    TopologicalSorter(
        {
            table.name: dict.fromkeys(
                name
                for from_ in table.lineage.values()
                for origin in from_
                if (name := origin.partition(".")[0]) not in OF_ALL
            )
            for table in _KEYED
        }
    ).static_order()
)
"""Every asset that is stored as a table by keys of tickers, after all that it is computed from."""

DAILY_ASSETS = tuple(name for name in ORDER if KEY_OF[name] == "ticker-day")
DERIVED_ASSETS = tuple(name for name in DAILY_ASSETS if name != RAW_PRICES.name)

STAGES = ((PRICE_HISTORY.name,), (EARNINGS_DATES.name,), (RAW_PRICES.name,), (TRAINED_MODEL.name,), DERIVED_ASSETS)
"""The same assets by the keys they share: what a run can make together, each stage after those it is computed from."""
