"""A provider changes the past, on a scripted Yahoo: found by the daily run, repaired by the sensor, once."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import time_machine

from stockcast_assets.keys import parse_key
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources.base import Source
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.assets.earnings_dates import SINCE
from stockcast_assets.orchestration.assets.prices import LATE_TICKERS, TOUCHED
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets.orchestration.planning.planner import ATTEMPTS
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.orchestration.sensors.revisions import pending_revisions, revisions
from stockcast_assets.settings import Settings
from stockcast_assets.tables import EARNINGS_DATES, FORECASTS, INDICATORS, PRICE_HISTORY, RAW_PRICES, Table
from stockcast_assets.warehouse import Warehouse
from stockcast_assets_tests.market.sources.fake_yahoo import Bar, FakeYahoo, Script, serving

START, KNOWN, TODAY = date(2024, 1, 2), date(2024, 1, 16), date(2024, 1, 17)
DAYS = [f"{day:%Y-%m-%d}" for day in sessions("XNYS", "2023-10-02", "2024-01-31")]


def walk(seed: int) -> dict[str, Bar]:
    rng, price, bars = random.Random(seed), 100.0, {}
    for day in DAYS:
        opening, price = price, round(price * (1 + rng.uniform(-0.02, 0.02)), 2)
        bars[day] = (opening, max(opening, price) + 0.5, min(opening, price) - 0.5, price, rng.randint(1000, 1500))
    return bars


@pytest.fixture(scope="module")
def yahoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYahoo]:
    with serving(tmp_path_factory.mktemp("yahoo")) as server:
        yield server


class Market(Sources):
    """Yahoo alone, at the evening of a day that the test sets."""

    def __init__(self, server: FakeYahoo, scripts: dict[str, Script]) -> None:
        super().__init__("yahoo", "nowhere")
        self.server, self.scripts = server, scripts
        self.at(KNOWN)

    def at(self, day: date, outage: bool = False) -> None:
        self.server.show(self.scripts, day.isoformat(), outage)
        self.source = YahooSource(now=lambda: pd.Timestamp(f"{day} 23:00", tz="UTC"), attempts=1, pause_s=0.01)

    def get(self, name: str | None = None) -> Source:
        return self.source


class Home:
    """Definitions, instance and warehouse of one stockcast."""

    def __init__(self, folder: Path, market: Market) -> None:
        settings = Settings(
            home=folder / "home", source="yahoo", start_date=START, end_date=date(2024, 1, 31),
            calendars=("XNYS",), train_workers=1,
        )  # fmt: skip
        (folder / "dagster").mkdir(parents=True, exist_ok=True)
        self.defs = build_definitions(settings, sources=market)
        self.instance, self.market = dg.DagsterInstance.local_temp(str(folder / "dagster")), market
        self.warehouse: Warehouse = warehouse_from(settings)
        self.cursor: str | None = None
        self.skipped: str | None = None
        self.launched: list[str] = []

    def run(self, job: str, *assets: str, first: date | None = None, last: date | None = None, **tickers: str):
        known = self.instance.get_dynamic_partitions("ticker")
        span = (tickers.get("ticker", known[0]), tickers.get("ticker", known[-1]))
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            tags=dict(range_tags(span, first, last)),
            raise_on_error=False,
        )

    def bring_up(self) -> None:
        self.instance.add_dynamic_partitions("ticker", ["AAPL", "TSLA"])
        assert self.run("ingest_history").success
        assert self.run("ingest_daily", first=START, last=KNOWN).success
        assert self.run("monthly_training", first=START.replace(day=1), last=START.replace(day=1)).success
        derived = [name for name in DAILY_ASSETS if name != RAW_PRICES.name]
        assert self.run("daily_forecast", *derived, first=date(2024, 1, 11), last=KNOWN).success

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, definitions=self.defs)
        data = self.defs.resolve_sensor_def("revisions").evaluate_tick(context)
        self.cursor, self.skipped = data.cursor, data.skip_message
        return list(data.run_requests or [])

    def repair(self, most: int = 12) -> None:
        """Tick and execute what is asked for until nothing is."""
        with time_machine.travel(pd.Timestamp.now("UTC").to_pydatetime(), tick=True) as clock:
            for _ in range(most):
                requests = self.tick()
                if not requests:
                    if not json.loads(self.cursor)["repairs"]:
                        return
                    # What failed is tried again later, as any other run.
                    clock.shift(timedelta(hours=2))
                for request in requests:
                    self.launched.append(described(request))
                    self.defs.resolve_job_def(request.job_name).execute_in_process(
                        instance=self.instance,
                        tags=dict(request.tags),
                        asset_selection=list(request.asset_selection or []),
                        raise_on_error=False,
                    )
        raise AssertionError(f"no end after {self.launched}")

    def stored(self, table: Table, ticker: str) -> pd.DataFrame:
        return self.warehouse.read(table, tickers=[ticker]).drop(columns="ingested_at", errors="ignore")


def described(request: dg.RunRequest) -> str:
    """Ticker, assets and days of a run that is asked for."""
    first, last = (parse_key(request.tags[tag]) for tag in (tags.RANGE_START, tags.RANGE_END))
    names = "+".join(key.to_user_string() for key in request.asset_selection or ())
    return f"{first.ticker} {names}" + (f", {first.day} to {last.day}" if first.day else "")


@pytest.fixture(scope="module")
def brought_up(tmp_path_factory: pytest.TempPathFactory, yahoo: FakeYahoo) -> Path:
    """A folder with AAPL and TSLA up to KNOWN."""
    folder = tmp_path_factory.mktemp("brought_up")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = Home(folder, Market(yahoo, {"AAPL": Script(walk(2)), "TSLA": Script(walk(1))}))
        made.bring_up()
        made.instance.dispose()
    return folder


@pytest.fixture
def home(tmp_path: Path, yahoo: FakeYahoo, brought_up: Path) -> Iterator[Callable[[dict[str, Script]], Home]]:
    """`home(scripts)` is a copy of that folder, to which the scripts' later days happen."""
    made: list[Home] = []

    def make(scripts: dict[str, Script]) -> Home:
        shutil.copytree(brought_up, tmp_path / "copy")
        made.append(Home(tmp_path / "copy", Market(yahoo, scripts)))
        return made[0]

    yield make
    made[0].instance.dispose()


def late_of(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return failure.step_failure_data.user_failure_data.metadata[LATE_TICKERS].value


def split_on(day: date, bars: dict[str, Bar], new: int) -> Script:
    """The bars, from that day on traded in new shares."""
    traded = {
        key: bar if key < day.isoformat() else (*(price / new for price in bar[:4]), bar[4])
        for key, bar in bars.items()
    }
    return Script(traded, splits={day.isoformat(): (new, 1)})


def test_a_split_stops_its_ticker_until_all_of_its_past_was_fetched_again_once(home) -> None:
    here = home({"AAPL": Script(walk(2)), "TSLA": split_on(TODAY, walk(1), 4)})
    other = here.stored(RAW_PRICES, "AAPL")
    old_forecasts = here.stored(FORECASTS, "TSLA")

    here.market.at(TODAY)
    result = here.run("daily_forecast", first=TODAY, last=TODAY)
    assert not result.success
    assert set(late_of(result)) == {"TSLA"}
    assert "TSLA 2024-01-17: split" in late_of(result)["TSLA"]
    assert here.instance.get_run_by_id(result.run_id).tags[tags.LATE] == "TSLA"
    pd.testing.assert_frame_equal(here.stored(RAW_PRICES, "AAPL"), other)
    assert here.stored(RAW_PRICES, "TSLA")["date"].max() == pd.Timestamp(KNOWN)
    assert here.run("daily_forecast", first=TODAY, last=TODAY, ticker="AAPL").success
    # The late ticker is tried again before the repair: it says the same once more.
    assert not here.run("daily_forecast", first=TODAY, last=TODAY, ticker="TSLA").success

    here.repair()
    assert here.launched == [
        "TSLA price_history",
        "TSLA raw_prices, 2024-01-02 to 2024-01-16",
        "TSLA trained_model+market_days, 2024-01-01 to 2024-01-01",
        "TSLA indicators+forecasts+forecast_accuracy+drift_report+market_days, 2024-01-11 to 2024-01-16",
    ]
    assert here.run("daily_forecast", first=TODAY, last=TODAY, ticker="TSLA").success
    assert here.tick() == []
    assert pending_revisions(here.instance, None)[0] == []

    whole = here.market.source.bars("TSLA", None, TODAY).drop(columns="ingested_at")
    kept = pd.concat([here.stored(PRICE_HISTORY, "TSLA"), here.stored(RAW_PRICES, "TSLA")], ignore_index=True)
    pd.testing.assert_frame_equal(kept, whole)
    new_forecasts = here.stored(FORECASTS, "TSLA").iloc[: len(old_forecasts)]
    assert list(new_forecasts["close_p50"] * 4) == pytest.approx(list(old_forecasts["close_p50"]))
    [shown] = revisions(here.instance).to_dict("records")
    assert (shown["ticker"], shown["kind"], shown["before"] / shown["after"]) == ("TSLA", "split", pytest.approx(4))


def test_a_dividend_is_no_event_and_its_return_is_counted(home) -> None:
    here = home({"AAPL": Script(walk(2)), "TSLA": Script(walk(1), dividends={TODAY.isoformat(): 5.0})})
    before = here.stored(RAW_PRICES, "TSLA")
    here.market.at(TODAY)
    assert here.run("daily_forecast", first=TODAY, last=TODAY).success
    assert here.tick() == []
    assert revisions(here.instance).empty
    after = here.stored(RAW_PRICES, "TSLA")
    pd.testing.assert_frame_equal(after.iloc[:-1], before)
    assert after["dividend"].iloc[-1] == 5


def test_corrections_are_repaired_from_their_day_on_and_no_other_ticker(home) -> None:
    wrong = walk(1)["2024-01-12"]
    right: Bar = (wrong[0], wrong[1] + 9, wrong[2], wrong[3] + 3, wrong[4])
    here = home(
        {
            "AAPL": Script(walk(2), dividends={"2024-01-11": 0.5}, announced={"2024-01-11": TODAY.isoformat()}),
            "TSLA": Script(walk(1), corrections={"2024-01-12": (TODAY.isoformat(), right)}),
        }
    )
    old = here.stored(INDICATORS, "TSLA")
    here.market.at(TODAY)
    # The new day is right, so it is stored, though what it was computed from is not yet.
    assert here.run("daily_forecast", first=TODAY, last=TODAY).success
    asked = {request.ticker: (request.first, request.last) for request in pending_revisions(here.instance, None)[0]}
    assert asked == {
        "AAPL": (date(2024, 1, 11), date(2024, 1, 11)),
        "TSLA": (date(2024, 1, 12), date(2024, 1, 12)),
    }
    here.repair()
    assert sorted(name for name in here.launched if "TSLA" in name) == [
        "TSLA indicators+forecasts+forecast_accuracy+drift_report+market_days, 2024-01-12 to 2024-01-17",
        "TSLA raw_prices, 2024-01-12 to 2024-01-12",
    ]
    stored = here.stored(RAW_PRICES, "TSLA").set_index("date")
    assert stored.loc["2024-01-12", "close"] == pytest.approx(right[3])
    new = here.stored(INDICATORS, "TSLA")
    assert new["close"].iloc[0] == old["close"].iloc[0]
    assert new["close"].iloc[1] == pytest.approx(old["close"].iloc[1] + 3)
    assert here.stored(RAW_PRICES, "AAPL").set_index("date").loc["2024-01-11", "dividend"] == 0.5
    assert set(revisions(here.instance)["kind"]) == {"correction", "dividend"}
    assert here.tick() == []


def test_every_late_ticker_is_named_and_garbage_is_never_written(home) -> None:
    bars = walk(1)
    hundredfold: Bar = (*(price * 100 for price in bars[TODAY.isoformat()][:4]), 1000)
    here = home(
        {
            "AAPL": Script(walk(2), arrives={TODAY.isoformat(): "2024-01-18"}),
            "TSLA": Script(bars | {TODAY.isoformat(): hundredfold}),
        }
    )
    before = [here.stored(RAW_PRICES, ticker) for ticker in ("AAPL", "TSLA")]
    here.market.at(TODAY)
    result = here.run("daily_forecast", first=TODAY, last=TODAY)
    late = late_of(result)
    assert set(late) == {"AAPL", "TSLA"}
    assert "no bar of AAPL on 2024-01-17" in late["AAPL"]
    assert "too large a step for one session" in late["TSLA"]
    assert here.instance.get_run_by_id(result.run_id).tags[tags.LATE] == "AAPL,TSLA"
    for ticker, old in zip(("AAPL", "TSLA"), before, strict=True):
        pd.testing.assert_frame_equal(here.stored(RAW_PRICES, ticker), old)

    crash = walk(1)[DAYS[DAYS.index(TODAY.isoformat()) - 1]][3] * 0.7
    here.market.scripts["TSLA"].traded[TODAY.isoformat()] = (crash + 1, crash + 2, crash - 1, crash, 9000)
    here.market.at(TODAY)
    assert here.run("daily_forecast", first=TODAY, last=TODAY, ticker="TSLA").success


@pytest.mark.long
def test_a_repair_that_fails_is_given_up_and_comes_back_with_the_next_look(home) -> None:
    wrong = walk(1)["2024-01-12"]
    corrected: Bar = (wrong[0], wrong[1] + 9, wrong[2], wrong[3] + 3, wrong[4])
    here = home(
        {"AAPL": Script(walk(2)), "TSLA": Script(walk(1), corrections={"2024-01-12": ("2024-01-17", corrected)})}
    )
    here.market.at(TODAY)
    assert here.run("daily_forecast", first=TODAY, last=TODAY).success
    here.market.at(TODAY, outage=True)
    here.repair()
    assert here.launched == ["TSLA raw_prices, 2024-01-12 to 2024-01-12"] * ATTEMPTS
    assert "TSLA: repair of raw_prices from 2024-01-12 failed 3 times and is given up" in here.skipped
    assert "`stockcast backfill --tickers TSLA`" in here.skipped
    assert json.loads(here.cursor)["repairs"] == []

    here.market.at(date(2024, 1, 18))
    assert here.run("daily_forecast", first=date(2024, 1, 18), last=date(2024, 1, 18)).success
    here.launched.clear()
    here.repair()
    assert here.launched[0] == "TSLA raw_prices, 2024-01-12 to 2024-01-12"
    assert here.stored(RAW_PRICES, "TSLA").set_index("date").loc["2024-01-12", "close"] == pytest.approx(corrected[3])


def test_what_is_said_of_reports_lets_no_revision_of_bars_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full page of observations of bars, one more of another ticker, and one of reports that is newer than all."""
    monkeypatch.setattr("stockcast_assets.orchestration.sensors.revisions._PAGE", 10)
    instance = dg.DagsterInstance.local_temp(str(tmp_path))
    instance.add_dynamic_partitions("ticker", ["AAPL", "MSFT"])

    def observe(table: Table, name: str, value: dict[str, object]) -> None:
        metadata = {name: dg.MetadataValue.json(value)}
        instance.report_runless_asset_event(dg.AssetObservation(table.name, metadata=metadata))

    touched = {"first": "2024-01-04", "last": "2024-01-05", "history": False}
    for _ in range(10):
        observe(RAW_PRICES, TOUCHED, {"ticker": "AAPL", **touched})
    observe(RAW_PRICES, TOUCHED, {"ticker": "MSFT", **touched})
    observe(EARNINGS_DATES, SINCE, {"ticker": "AAPL", "first": "2024-01-04"})
    asked, cursor = set(), None
    for _ in range(3):
        requests, cursor = pending_revisions(instance, cursor)
        asked |= {request.ticker for request in requests}
    assert asked == {"AAPL", "MSFT"}
    assert pending_revisions(instance, cursor) == ([], cursor)
