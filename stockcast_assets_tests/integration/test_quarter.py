"""Months of stockcast running by itself, by the daemon's own code on a real instance, under a moved clock.

Two of them, and a quarter with an outage of nights and a ticker of Seoul: `make test-long` lives both.
"""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.market.calendars import calendar_for, sessions
from stockcast_assets.monitoring import ledger
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets.orchestration.planning.planner import DERIVED_ASSETS
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.orchestration.publication_log import anchors
from stockcast_assets.orchestration.sensors.revisions import revisions
from stockcast_assets.orchestration.tickers import set_state, ticker_states
from stockcast_assets.tables import (
    FORECAST_ACCURACY,
    FORECASTS,
    PRICE_HISTORY,
    PUBLISHED_FORECASTS,
    RAW_PRICES,
    TRAINED_MODEL,
    UNIVERSE_MODEL,
)
from stockcast_assets_tests.integration.simulated import Simulation, simulation, walk
from stockcast_assets_tests.market.sources.fake_yahoo import Script, serving

START, CALENDARS = date(2024, 1, 2), ("XNYS", "XLON", "XKRX", "24/7")
PAST, FUTURE = "2023-10-02", "2024-04-15"


@pytest.fixture
def here(tmp_path: Path, long_form: bool) -> Iterator[Simulation]:
    """A home with a Yahoo of some tickers, on the night of 9 January 2024."""
    tickers = ("AAPL", "TSLA", "VOD.L", *(["005930.KS"] if long_form else []), "ETH-USD", "GONE")
    scripts = {ticker: Script(walk(ticker, PAST, FUTURE, seed)) for seed, ticker in enumerate(tickers)}
    with (
        serving(tmp_path) as server,
        simulation(
            tmp_path, server, scripts, "2024-01-09",
            start_date=f"{START}", end_date="2024-04-15", calendars=",".join(CALENDARS), train_workers="1",
        ) as here,
    ):  # fmt: skip
        yield here


BEGAN = {"GONE": date(2024, 1, 8)}
"""The first daily day of a ticker whose state was set by hand since."""


def expected_days(first: date | pd.Timestamp, last: str) -> set[str]:
    return {f"{day:%Y-%m-%d}" for day in pd.date_range(first, last)}


def targets_of(ticker: str, began: date, last: str) -> set[tuple[pd.Timestamp, int]]:
    """Target session and horizon of every forecast made from `began` on whose target is over."""
    made = sessions(calendar_for(ticker), began, last)
    return {
        (target, horizon) for position, target in enumerate(made) for horizon in range(1, min(position, HORIZON) + 1)
    }


NIGHTS = (
    *("2024-01-09", "2024-01-11", "2024-01-17", "2024-01-20", "2024-02-15", "2024-02-16", "2024-02-17"),
    *("2024-02-27", "2024-03-01"),
)
QUARTER = (*sorted({*NIGHTS, "2024-01-18", "2024-01-19", "2024-02-01", "2024-02-22"}), "2024-03-12", "2024-04-01")
"""The nights on which the machine is up; between them it is off, and the days are caught up."""

OUTAGE = ("2024-01-17", "2024-01-18", "2024-01-19")
KILLS = ("2024-01-11", "2024-03-01")


def script_the_quarter(scripts: dict[str, Script]) -> None:
    """A split, a dividend, a corrected bar, and a ticker that trades no more."""
    scripts["TSLA"].splits["2024-02-21"] = (2, 1)
    for day, (*prices, volume) in scripts["TSLA"].traded.items():
        if day >= "2024-02-21":
            opening, high, low, close = (price / 2 for price in prices)
            scripts["TSLA"].traded[day] = (opening, high, low, close, volume * 2)
    scripts["AAPL"].dividends["2024-01-24"] = 0.5
    opening, high, low, close, volume = scripts["VOD.L"].traded["2024-02-26"]
    scripts["VOD.L"].corrections["2024-02-26"] = ("2024-02-28", (opening, high + 3, low, close + 2, volume))
    gone = scripts["GONE"].traded
    scripts["GONE"].traded = {day: bar for day, bar in gone.items() if day <= "2024-02-14"}


def upload(here: Simulation, ticker: str, last: str) -> None:
    """A CSV file of a ticker that Yahoo does not have."""
    lines = ["Date,Open,High,Low,Close,Volume"]
    lines += [f"{day}," + ",".join(map(str, bar)) for day, bar in walk(ticker, "2024-01-02", last, 9).items()]
    path = Path(here.settings.uploads_location) / f"{ticker}.csv"
    path.write_text("\n".join(lines) + "\n")
    an_hour_ago = pd.Timestamp.now("UTC").timestamp() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))


@pytest.mark.timeout(1500)
@pytest.mark.long
def test_months_run_by_themselves_and_leave_every_key_exactly_once(here: Simulation, long_form: bool) -> None:
    tickers, nights = list(here.scripts), QUARTER if long_form else NIGHTS
    uploaded, last_upload = ("2024-03-12", "2024-03-07") if long_form else ("2024-03-01", "2024-02-28")
    script_the_quarter(here.scripts)
    # Schedules begin with the daemon's first look at them.
    here.start("2024-01-09 00:00")
    here.settle("2024-01-09 00:00")
    add_tickers(here.instance, tickers)
    for night in nights:
        if night == "2024-02-17":
            set_state(here.instance, "GONE", "delisted", "acquired")
        if night == uploaded:
            here.at(f"{night} 00:10")
            upload(here, "NEW", last_upload)
        here.night(pd.Timestamp(night), outage=night in OUTAGE, kill=night in KILLS)

    states = ticker_states(here.instance, [*tickers, "NEW"])
    assert {ticker: str(state) for ticker, state in states.items()} == {
        **dict.fromkeys(tickers, "active"), "GONE": "delisted", "NEW": "active",
    }  # fmt: skip
    newest = f"{pd.Timestamp(nights[-1]) - pd.Timedelta(days=1):%Y-%m-%d}"
    ends = dict.fromkeys(tickers, newest) | {"GONE": "2024-02-14", "NEW": last_upload}
    for ticker, last in ends.items():
        began = BEGAN.get(ticker, states[ticker].daily_from)
        assert began is not None
        days = expected_days(began, last)
        for asset in DERIVED_ASSETS:
            assert here.materialised(asset, ticker) == days, (asset, ticker)
        expected = sessions(calendar_for(ticker), START, last)
        assert list(here.warehouse.read(RAW_PRICES, tickers=[ticker])["date"]) == list(expected), ticker
        made = here.warehouse.read(FORECASTS, tickers=[ticker])
        assert sorted(set(made["date"])) == [day for day in expected if day >= pd.Timestamp(began)], ticker
        assert set(made.groupby("date").size()) == {10}
        until = nights[-1] if last == newest else last
        months = {f"{month:%Y-%m-%d}" for month in pd.date_range(began.replace(day=1), until, freq="MS")}
        assert here.materialised("trained_model", ticker) == months, ticker
        scored = here.warehouse.read(FORECAST_ACCURACY, tickers=[ticker])
        assert {*zip(scored["date"], scored["horizon"], strict=True)} == targets_of(ticker, began, last), ticker
    for asset in (PRICE_HISTORY.name, *DAILY_ASSETS, TRAINED_MODEL.name):
        written = here.written(asset)
        assert set(written.values()) == {1}, asset
        assert {key.rpartition("|")[2] for key in written} == set(ends), asset

    bars = {ticker: here.warehouse.read(RAW_PRICES, tickers=[ticker]).set_index("date") for ticker in tickers}
    assert bars["AAPL"].loc["2024-01-24", "dividend"] == 0.5
    assert bars["TSLA"].loc["2024-02-21", "split_ratio"] == 2
    first = pd.Timestamp(START)
    assert bars["TSLA"].loc[first, "close"] == pytest.approx(here.scripts["TSLA"].traded[f"{START}"][3] / 2)
    corrected = here.scripts["VOD.L"].corrections["2024-02-26"][1]
    assert bars["VOD.L"].loc["2024-02-26", "close"] == pytest.approx(corrected[3])

    published, scored = here.warehouse.read(PUBLISHED_FORECASTS), here.warehouse.read(FORECAST_ACCURACY)
    assert ledger.faults(published, anchors(here.instance)) == []
    assert ledger.unpublished(published, here.warehouse.read(FORECASTS)) == ([], 0)
    same_forecast = ["ticker", "as_of_date", "horizon"]
    entries = published.drop(columns="target_date").rename(columns={"date": "as_of_date", "late": "was_late"})
    promised = scored.merge(entries, on=[*same_forecast, "revision"], validate="one_to_one")
    assert len(promised) == len(scored)
    assert (promised["late"].astype(bool) == promised["was_late"]).all()
    counts = promised[~promised["was_late"]]
    assert (counts["published_at"] < counts["target_opens_at"]).all()
    # The rest was made in the daytime, of days that were over: no forecast, and marked so.
    assert (promised["was_late"] == (promised["published_at"] >= promised["target_opens_at"])).all()
    # What was repaired since scores as it was said in time.
    newest = entries[~entries["was_late"]].groupby(same_forecast)["revision"].max()
    assert (
        counts.set_index(same_forecast)["revision"].to_dict()
        == newest.reindex(pd.MultiIndex.from_frame(counts[same_forecast])).to_dict()
    )
    assert scored[["pit", "pinball", "crps", "interval_score_80", "pinball_random_walk"]].notna().all(axis=None)
    assert len(counts) > len(scored) / 4

    assert here.failed_ticks() == []
    for run in here.killed:
        ended = here.instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.FAILURE
        assert 0 < len(here.made_by(run)) < len(DAILY_ASSETS)
    assert len(here.killed) == 2
    assert "GONE: daily of 2024-02-15 is late at the source; again at" in here.said
    assert "AAPL: daily of 2024-01-11 is late at the source; again at" in here.said
    assert "repair" not in here.said
    runs = here.instance.get_runs()
    asked = [run.tags["stockcast/repair"] for run in runs if "stockcast/repair" in run.tags]
    assert any("TSLA price_history" in name for name in asked)
    assert any("VOD.L raw_prices, 2024-02-26 to 2024-02-26" in name for name in asked)
    late = {run.run_id for run in runs if "stockcast/late" in run.tags}
    failed = {run.run_id for run in runs if not run.is_success}
    assert failed == late | {run.run_id for run in here.killed}
    assert "GONE is late at the source for 2024-02-15 (run " in here.said
    changes = revisions(here.instance).set_index(["ticker", "kind"])
    assert set(changes.index) == {("TSLA", "split"), ("VOD.L", "correction")}
    assert changes.loc[("VOD.L", "correction")].set_index("column").loc["close", ["before", "after"]].tolist() == [
        pytest.approx(here.scripts["VOD.L"].traded["2024-02-26"][3]), pytest.approx(corrected[3]),
    ]  # fmt: skip
    assert "GONE is delisted: acquired" in here.observed(PRICE_HISTORY.name)
    # A month's networks come first. Months are too short a past for them, so each ticker has a model of its own.
    networks = [run.status for run in runs if run.tags.get("dagster/schedule_name") == "universe_training"]
    assert set(networks) == {dg.DagsterRunStatus.SUCCESS}
    assert here.warehouse.read(UNIVERSE_MODEL).empty
    found = here.instance.get_materialized_partitions(dg.AssetKey(UNIVERSE_MODEL.name))
    assert set(found) == {f"{month:%Y-%m-%d}" for month in pd.date_range(START.replace(day=1), nights[-1], freq="MS")}
    models = here.warehouse.read(TRAINED_MODEL)
    assert models["without_universe"].str.startswith("universe_model has no row of").all()
