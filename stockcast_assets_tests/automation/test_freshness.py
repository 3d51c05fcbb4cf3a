"""Which tickers are stale or have gaps, by their own calendars; and the sensor that says so when nothing runs."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import time_machine

from stockcast_assets.market.calendars import calendar_for, sessions
from stockcast_assets.orchestration.asset_checks.freshness import COMPLETE, FRESH, gaps, stale
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.sensors.alerts import red_checks
from stockcast_assets.orchestration.tickers import TickerState, set_daily_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import RAW_PRICES

ACTIVE = TickerState(daily_from=date(2024, 1, 2))


def rows(**last: str) -> pd.DataFrame:
    parts = []
    for ticker, until in last.items():
        name = ticker.replace("_", "-")
        parts.append(pd.DataFrame({"ticker": name, "date": sessions(calendar_for(name), "2024-01-02", until)}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("until", "late"),
    [
        # Monday 15 January is a holiday in New York; Ethereum has no holiday.
        ("2024-01-15", {"ETH-USD"}),
        ("2024-01-16", {"AAPL", "ETH-USD"}),
        ("2024-01-12", set()),
    ],
)
def test_a_ticker_is_stale_by_its_own_calendar(until: str, late: set[str]) -> None:
    found = stale(
        rows(AAPL="2024-01-12", ETH_USD="2024-01-12"), {"AAPL": ACTIVE, "ETH-USD": ACTIVE}, pd.Timestamp(until)
    )
    assert set(found) == late


def test_the_stale_are_named_with_what_is_expected() -> None:
    found = stale(rows(AAPL="2024-01-10"), {"AAPL": ACTIVE, "NONE": ACTIVE}, pd.Timestamp("2024-01-16"))
    assert found == {"AAPL": "AAPL ends on 2024-01-10 and should reach 2024-01-16", "NONE": "NONE has no row at all"}


@pytest.mark.parametrize("state", [TickerState("paused"), TickerState("delisted"), TickerState()])
def test_only_active_tickers_are_watched(state: TickerState) -> None:
    assert stale(rows(AAPL="2024-01-10"), {"AAPL": state}, pd.Timestamp("2024-02-16")) == {}
    assert gaps(rows(AAPL="2024-01-10").iloc[[0, 3]], {"AAPL": state}, from_bring_up=False) == {}


def test_every_session_without_a_row_is_named() -> None:
    stored = rows(AAPL="2024-01-18")
    stored = stored[~stored["date"].isin(pd.DatetimeIndex(["2024-01-03", "2024-01-16"]))]
    assert gaps(stored, {"AAPL": ACTIVE}, from_bring_up=False) == {"AAPL": "AAPL has no row for 2024-01-03, 2024-01-16"}
    later = TickerState(daily_from=date(2024, 1, 10))
    assert gaps(stored, {"AAPL": later}, from_bring_up=True) == {"AAPL": "AAPL has no row for 2024-01-16"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def test_the_sensor_turns_the_checks_red_although_nothing_runs(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    defs = build_definitions(make_settings())
    instance.add_dynamic_partitions("ticker", ["AAPL"])
    set_daily_from(instance, "AAPL", "", date(2013, 2, 15), uploaded=False)
    with time_machine.travel("2013-02-20T12:00:00Z", tick=True):
        with dg.build_sensor_context(instance=instance, definitions=defs, resources=defs.resources) as context:
            data = defs.resolve_sensor_def("freshness").evaluate_tick(context)
        for event in data.asset_events:
            instance.report_runless_asset_event(event)
    assert "AAPL has no row at all" in str(data.skip_message)
    keys = [dg.AssetCheckKey(dg.AssetKey(RAW_PRICES.name), name) for name in (FRESH, COMPLETE)]
    assert [problem.subject for problem in red_checks(instance, keys)] == ["check raw_prices, fresh"]
