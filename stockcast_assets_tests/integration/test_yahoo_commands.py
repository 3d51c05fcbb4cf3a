"""The real commands on a server of Yahoo's shape that answers oddly: exit statuses, sentences, and what is stored."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.market.calendars import LEARNED, sessions
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES
from stockcast_assets_tests.conftest import Run
from stockcast_assets_tests.market.sources.fake_yahoo import FakeYahoo, Listing, serving

START, END = date(2024, 1, 2), date(2024, 1, 12)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYahoo]:
    with serving(tmp_path_factory.mktemp("yahoo")) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", source="yahoo", start_date=START, end_date=END)


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch, home: Settings) -> Run:
    for name, value in {
        "HOME": str(home.home),
        "SOURCE": "yahoo",
        "START_DATE": START.isoformat(),
        "END_DATE": END.isoformat(),
        "CALENDARS": "XNYS,XKRX,24/7",
    }.items():
        monkeypatch.setenv(f"STOCKCAST_{name}", value)
    return run


def listed(calendar: str, first: str, zone: str = "America/New_York", without: str = "") -> Listing:
    days = [f"{day:%Y-%m-%d}" for day in sessions(calendar, first, END) if f"{day:%Y-%m-%d}" != without]
    price = {day: 100 + index % 7 for index, day in enumerate(days)}
    bars = {day: (float(close), close + 1.0, close - 1.0, close + 0.5, 1000) for day, close in price.items()}
    return Listing(zone=zone, bars=bars, first_trade="1999-01-04", last_trade=END.isoformat())


def test_what_yahoo_does_not_know_leaves_nothing_behind(run: Run, server: FakeYahoo) -> None:
    server.listings = {"QNBK.QQ": listed("XNYS", "2023-11-01", "Asia/Riyadh")}
    status, _, err = run("forecast", "NOPE")
    assert (status, "knows no ticker 'NOPE'" in err) == (1, True)
    status, _, err = run("forecast", "QNBK.QQ")
    assert status == 1
    assert 'write the line `".QQ" = "XSAU"` under [suffixes] into' in err
    assert json.loads(run("tickers", "list", "--json")[1]) == []
    # It fails in its first run, after it was added.
    new = listed("XNYS", "2023-11-01")
    new.bars |= {day: (9e3, 9e3, 9e3, 9e3, 10) for day in new.bars if day >= "2023-12-01"}
    server.listings = {"LEAP": new}
    status, _, err = run("forecast", "LEAP", "2024-01-05")
    assert (status, "too large a step for one session" in err) == (1, True)
    status, _, err = run("backfill", "--tickers", "LEAP")
    assert (status, "too large a step for one session" in err) == (1, True)
    assert json.loads(run("tickers", "list", "--json")[1]) == []


def test_bars_of_years_ago_that_cannot_be_do_not_shut_a_ticker_out(run: Run, server: FakeYahoo, home: Settings) -> None:
    server.listings = {"KO": (listing := listed("XNYS", "2012-01-03"))}
    listing.company = " The Coca-Cola\n Company"
    days = sorted(listing.bars)
    listing.bars["2012-06-05"] = (0.0, 101.0, 99.0, 100.0, 1000)
    listing.bars["2013-03-04"] = (1.0, 1.0, 1.0, 1.0, 1000)
    listing.dividends = {"2014-03-10": 5000.0, "2015-03-10": 0.5}
    assert run("backfill", "--tickers", "KO", "--assets", "price_history")[0] == 0
    assert json.loads(run("tickers", "list", "--json")[1])[0]["company"] == "The Coca-Cola Company"
    stored = warehouse_from(home).read(PRICE_HISTORY).set_index("date")
    gone = ["2012-06-05", "2013-03-04", "2014-03-10"]
    assert list(stored.index) == list(pd.DatetimeIndex([d for d in days if d < "2024" and d not in gone]))
    assert stored["dividend"].sum() == 0.5
    with open_instance(home) as instance:
        key = dg.AssetKey(PRICE_HISTORY.name)
        shown = instance.get_latest_materialization_event(key).asset_materialization.metadata["left out"].value
        records = instance.fetch_observations(key, limit=1).records
    for day in gone:
        assert day in shown
        assert day in records[0].asset_observation.description


def test_a_day_that_a_whole_exchange_lacks_was_no_session_and_that_can_be_revised(
    run: Run, server: FakeYahoo, home: Settings
) -> None:
    tickers = ("005930.KS", "000660.KS")
    server.listings = {name: listed("XKRX", "2023-12-01", "Asia/Seoul", without="2024-01-09") for name in tickers}
    span = ("--from", "2024-01-02", "--to", "2024-01-12")
    asked = ("backfill", "--tickers", ",".join(tickers), "--assets", "raw_prices", *span)
    status, _, err = run(*asked)
    assert status == 0, err
    warehouse = warehouse_from(home)
    days = {ticker: list(rows["date"].dt.day) for ticker, rows in warehouse.read(RAW_PRICES).groupby("ticker")}
    assert days == {ticker: [2, 3, 4, 5, 8, 10, 11, 12] for ticker in tickers}
    learned = (home.home / LEARNED).read_text()
    assert "XKRX was closed on 2024-01-09: none of 000660.KS, 005930.KS has a bar of that day" in learned
    with open_instance(home) as instance:
        done = instance.get_materialized_partitions(dg.AssetKey(RAW_PRICES.name))
    assert {f"2024-01-09|{ticker}" for ticker in tickers} <= done
    # Yahoo has them after all: they are no bars too many.
    server.listings = {name: listed("XKRX", "2023-12-01", "Asia/Seoul") for name in tickers}
    assert run(*asked)[0] == 0
    assert len(warehouse.read(RAW_PRICES, start="2024-01-09", end="2024-01-09")) == 2
    # Who knows better says so; then the day is missed again.
    (home.home / "calendars.toml").write_text("[open]\nXKRX = [2024-01-09]\n")
    server.listings = {tickers[0]: listed("XKRX", "2023-12-01", "Asia/Seoul", without="2024-01-09")}
    alone = (
        "backfill",
        "--tickers",
        tickers[0],
        "--assets",
        "raw_prices",
        "--from",
        "2024-01-09",
        "--to",
        "2024-01-09",
    )
    status, _, err = run(*alone)
    assert status == 1
    assert "has no bar of 005930.KS on 2024-01-09" in err


def test_a_home_that_holds_a_ticker_without_a_calendar_goes_on(run: Run, server: FakeYahoo, home: Settings) -> None:
    with open_instance(home) as instance:
        # An older release let it in, with the sessions of New York.
        instance.add_dynamic_partitions("ticker", ["QNBK.QQ", "KO"])
    server.listings = {"KO": listed("XNYS", "2023-11-01"), "QNBK.QQ": listed("XNYS", "2023-11-01", "Asia/Riyadh")}
    assert run("backfill", "--tickers", "KO", "--assets", "price_history,raw_prices", "--to", "2024-01-04")[0] == 0
    listing = {row["ticker"]: row["calendar"] for row in json.loads(run("tickers", "list", "--json")[1])}
    assert listing == {"QNBK.QQ": "unknown", "KO": "XNYS"}
    assert run("status")[0] == 0
    status, _, err = run("backfill", "--tickers", "QNBK.QQ", "--assets", "price_history")
    assert (status, "Nobody knows on which days QNBK.QQ trades" in err) == (1, True)


def test_what_readme_prints_runs_on_the_defaults(
    run: Run, server: FakeYahoo, monkeypatch: pytest.MonkeyPatch, home: Settings
) -> None:
    for name in ("START_DATE", "END_DATE", "CALENDARS", "SOURCE"):
        monkeypatch.delenv(f"STOCKCAST_{name}")
    today = date.today().isoformat()

    def until_today(calendar: str, first: str, zone: str, **more: str) -> Listing:
        days = [f"{day:%Y-%m-%d}" for day in sessions(calendar, first, today)]
        bars = {
            day: (100.0 + at % 7, 101.0 + at % 7, 99.0 + at % 7, 100.5 + at % 7, 1000) for at, day in enumerate(days)
        }
        return Listing(zone=zone, bars=bars, first_trade=first, last_trade=today, **more)  # type: ignore[arg-type]

    server.listings = {
        "TSLA": until_today("XNYS", "2026-06-01", "America/New_York"),
        "VOD.L": until_today("XLON", "2026-06-01", "Europe/London", currency="GBp"),
        "ETH-USD": until_today("24/7", "2026-06-01", "UTC", kind="CRYPTOCURRENCY"),
        "MSFT": until_today("XNYS", "2019-01-02", "America/New_York"),
    }
    status, out, err = run("tickers", "add", "TSLA", "VOD.L", "ETH-USD", "--json")
    assert status == 0, err
    assert json.loads(out)["added"] == ["TSLA", "VOD.L", "ETH-USD"]
    # A Saturday before the first daily key: what the sentence says makes the session before it.
    status, _, err = run("forecast", "msft", "2023-07-22")
    assert status == 1
    assert "2023-07-22 is before the first daily key: set STOCKCAST_START_DATE (now " in err
    monkeypatch.setenv("STOCKCAST_START_DATE", err.rpartition(" to ")[2].split()[0])
    status, out, err = run("forecast", "msft", "2023-07-22", "--json")
    assert status == 0, err
    assert json.loads(out)["as_of"] == "2023-07-21"
    assert "XNYS, where MSFT trades, was closed on 2023-07-22 (Saturday)" in err
