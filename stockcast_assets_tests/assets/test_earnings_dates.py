"""`earnings_dates`: from the source to the stored statements, and from a correction to the forecasts it concerns."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import time_machine

from stockcast_assets.keys import partition_key
from stockcast_assets.market.sources import Source
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.market.sources.csvfile import CsvSource
from stockcast_assets.market.sources.uploads import open_uploads
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets.orchestration.asset_checks.earnings import unheard
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.planner import World
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.orchestration.sensors.csv_inbox import Inbox
from stockcast_assets.orchestration.sensors.revisions import _begin, pending_revisions
from stockcast_assets.orchestration.tickers import TickerState
from stockcast_assets.settings import Settings
from stockcast_assets.tables import EARNINGS_DATES
from stockcast_assets_tests.market.sources.fake_yahoo import FakeYahoo, Listing, serving
from stockcast_assets_tests.market.test_earnings import lines

PAST = "January 25, 2024 at 4 PM EST"
SOON, LATER = "April 25, 2024 at 4 PM EDT", "April 30, 2024 at 7 AM EDT"


@pytest.fixture(scope="module")
def yahoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYahoo]:
    with serving(tmp_path_factory.mktemp("yahoo")) as server:
        yield server


class Home:
    """The asset alone, on Yahoo and an inbox, on evenings that the test sets."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(home=folder / "home", source="yahoo", start_date=date(2024, 1, 2), calendars=("XNYS",))
        self.inbox = Path(settings.uploads_location)
        self.inbox.mkdir(parents=True)
        (folder / "dagster").mkdir()
        self.sources = Sources("yahoo", self.inbox)
        self.defs = build_definitions(settings, sources=self.sources)
        self.instance = dg.DagsterInstance.local_temp(str(folder / "dagster"))
        self.instance.add_dynamic_partitions("ticker", ["AAPL", "TSLA"])
        self.warehouse = warehouse_from(settings)

    def evening(self, day: str) -> None:
        moment = pd.Timestamp(f"{day} 22:30", tz="UTC")
        made: dict[str, Source] = {
            "yahoo": YahooSource(now=lambda: moment, attempts=2, pause_s=0.01),
            "csv": CsvSource(self.inbox, now=lambda: moment),
        }
        self.sources._made = made
        with time_machine.travel(moment.to_pydatetime(), tick=True):
            job = self.defs.resolve_job_def("ingest_earnings")
            assert job.execute_in_process(instance=self.instance, tags=dict(range_tags(("AAPL", "TSLA")))).success

    def made(self, asset: str, day: date, at: str) -> None:
        """AAPL's key of a day was materialised at a moment."""
        with time_machine.travel(pd.Timestamp(at, tz="UTC").to_pydatetime()):
            event = dg.AssetMaterialization(asset, partition=partition_key("AAPL", day))
            self.instance.report_runless_asset_event(event)

    def lines(self, ticker: str = "AAPL") -> list[tuple[str, str, str, str, bool]]:
        return lines(self.warehouse.read(EARNINGS_DATES, tickers=[ticker]))

    def said(self, ticker: str, name: str) -> object:
        key = dg.AssetKey(EARNINGS_DATES.name)
        wanted = dg.AssetRecordsFilter(key, asset_partitions=[ticker])
        (record,) = self.instance.fetch_materializations(wanted, limit=1).records
        found = record.asset_materialization.metadata.get(name)
        return found and found.value


@pytest.fixture
def home(yahoo: FakeYahoo, tmp_path: Path) -> Iterator[Home]:
    yahoo.calendar_answers.clear()
    yahoo.listings = {"AAPL": Listing(reports=(PAST, SOON)), "TSLA": Listing()}
    made = Home(tmp_path)
    yield made
    made.instance.dispose()


def test_a_moved_report_an_outage_and_one_that_came(home: Home, yahoo: FakeYahoo) -> None:
    home.evening("2024-04-02")
    first = [
        ("2024-01-25", "after close", "filed", "2024-01-25", False),
        ("2024-04-25", "after close", "announced", "2024-04-02", False),
    ]
    assert home.lines() == first
    assert home.said("AAPL", "next report") == "2024-04-25, after close, announced"
    assert home.lines("TSLA") == []
    before = home.warehouse.content_hash(EARNINGS_DATES)
    home.evening("2024-04-03")
    yahoo.calendar_answers.extend([(503, "")] * 4)
    home.evening("2024-04-04")
    assert "answered HTTP 503" in str(home.said("AAPL", "not heard"))
    assert home.warehouse.content_hash(EARNINGS_DATES) == before
    yahoo.listings["AAPL"].reports = (PAST, LATER)
    home.evening("2024-04-10")
    moved = [
        ("2024-04-25", "after close", "announced", "2024-04-10", True),
        ("2024-04-30", "before open", "announced", "2024-04-10", False),
    ]
    assert home.lines() == first + moved
    home.evening("2024-05-02")
    assert home.lines() == [*first, *moved, ("2024-04-30", "before open", "filed", "2024-05-02", False)]
    # Every evening was heard of in time: no forecast of a day before would have been another.
    assert pending_revisions(home.instance, None)[0] == []
    assert len(home.instance.fetch_observations(dg.AssetKey(EARNINGS_DATES.name), limit=9).records) == 2


def test_a_report_that_is_heard_of_late_has_the_forecasts_since_made_again(home: Home, yahoo: FakeYahoo) -> None:
    home.evening("2024-04-02")
    days = [date(2024, 4, day) for day in (23, 24, 25, 26, 29)]
    for day in days:
        for asset in ("forecasts", "drift_report"):
            home.made(asset, day, at="2024-04-29 01:00")
    yahoo.listings["AAPL"].reports = (PAST, "April 24, 2024 at 7 AM EDT")
    home.evening("2024-04-29")
    (request,), cursor = pending_revisions(home.instance, None)
    assert (request.ticker, request.first, request.history) == ("AAPL", None, False)
    assert request.reports_since == date(2024, 4, 24)
    repair = _begin(home.instance, request)
    need = repair.next_need(
        home.instance, World(pd.Timestamp("2024-04-30", tz="UTC"), ["AAPL"], {"AAPL": TickerState()})
    )
    assert need is not None
    assert (need.assets, need.first, need.last) == (("forecasts", "drift_report"), days[1], days[-1])
    assert type(repair).load(json.loads(json.dumps(repair.dump(), default=str))) == repair
    # Once they are made again nothing is asked for.
    home.made("forecasts", days[1], at="2024-04-30 01:00")
    assert pending_revisions(home.instance, None)[0] == []
    assert pending_revisions(home.instance, cursor)[0] == []


def test_a_file_in_the_inbox_wins_and_brings_no_ticker(home: Home) -> None:
    text = "Ticker,Date,When,Known\nAAPL,2024-01-26,bmo,\nTSLA,2024-04-23,amc,2024-04-01\nNEW,2024-04-23,,\n"
    (home.inbox / "reports.csv").write_text(text)
    home.evening("2024-04-02")
    assert home.lines()[0] == ("2024-01-26", "before open", "filed", "2024-01-26", False)
    assert [row[:3] for row in home.lines()] == [
        ("2024-01-26", "before open", "filed"),
        ("2024-04-25", "after close", "announced"),
    ]
    assert home.lines("TSLA") == [("2024-04-23", "after close", "announced", "2024-04-01", False)]
    assert CsvSource(home.inbox).tickers() == []
    inbox = Inbox(open_uploads(home.inbox), date(2024, 1, 2), None, ("XNYS",))
    (upload,) = inbox.uploads.files()
    with inbox.sandbox() as sandbox:
        needs, brought, _ = inbox.wanted(upload, sandbox)
    assert [(need.assets, need.tickers) for need in needs] == [
        (("earnings_dates",), (t,)) for t in ("AAPL", "NEW", "TSLA")
    ]
    assert brought == ()
    seen = World(pd.Timestamp("2024-04-02", tz="UTC"), ["AAPL", "TSLA"], dict.fromkeys(("AAPL", "TSLA"), TickerState()))
    plan = planner.plan_needs(seen, needs)
    assert [run.tickers for run in plan.runs] == [("AAPL", "TSLA")]


def test_every_evening_asks_for_every_active_ticker_once(home: Home) -> None:
    states = {"AAPL": TickerState(), "TSLA": TickerState(state="paused")}
    seen = World(pd.Timestamp("2024-04-02 22:30", tz="UTC"), ["AAPL", "TSLA"], states)
    (run,) = planner.plan_earnings(seen).runs
    assert (run.assets, run.tickers, run.first, run.reason.cause) == (
        ("earnings_dates",),
        ("AAPL",),
        None,
        "2024-04-02",
    )


def test_a_ticker_that_reports_no_more_is_told() -> None:
    from stockcast_assets_tests.market.test_earnings import statements

    said = statements(("2024-01-25", "unknown", "filed", "2024-01-26", False))
    assert unheard(said, pd.Series({"A": pd.Timestamp("2024-08-01")})) == {}
    assert unheard(said, pd.Series({"A": pd.Timestamp("2024-09-01")})) == {"A": "A last reported on 2024-01-25"}
    assert unheard(said, pd.Series({"B": pd.Timestamp("2024-09-01")})) == {}
