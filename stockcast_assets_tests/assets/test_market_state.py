"""`market_state` in real Dagster runs: a key a day, recorded by the runs that read it, made again as it was."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.cli.explain_around import market_made_again
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.settings import Settings
from stockcast_assets.tables import MARKET_STATE, PRICE_HISTORY, RAW_PRICES
from stockcast_assets_tests.dashboard.home import write

FIRST_KEY, DAY = pd.Timestamp("2013-02-01"), pd.Timestamp("2013-02-12")
LAST = pd.Timestamp("2013-02-14")


class Home:
    """Two tickers' bars, and the runs of the market's days alone."""

    def __init__(self, settings: Settings, folder: Path, bars: dict[str, pd.DataFrame]) -> None:
        self.folder, self.bars = settings.home, bars
        settings.home.mkdir(parents=True)
        self.defs = build_definitions(settings)
        self.instance = dg.DagsterInstance.local_temp(str(folder))
        self.warehouse = warehouse_from(settings)
        for ticker in ("AAPL", "IBM"):
            self.add(ticker)

    def add(self, ticker: str) -> None:
        self.instance.add_dynamic_partitions("ticker", [ticker])
        bars = self.bars[ticker][self.bars[ticker]["date"].between("2012-06-01", LAST)]
        for table, part in (
            (PRICE_HISTORY, bars[bars["date"] < FIRST_KEY]),
            (RAW_PRICES, bars[bars["date"] >= FIRST_KEY]),
        ):
            write(self.folder, table, pd.concat([self.warehouse.read(table), part], ignore_index=True))

    def correct(self, ticker: str, day: pd.Timestamp) -> None:
        bars = self.warehouse.read(RAW_PRICES)
        bars.loc[(bars["ticker"] == ticker) & (bars["date"] == day), "close"] *= 1.01
        write(self.folder, RAW_PRICES, bars)

    def record(self, first: pd.Timestamp, last: pd.Timestamp) -> None:
        """As a run of `daily_forecast` over these days of AAPL does."""
        job = self.defs.resolve_job_def("daily_forecast")
        assert job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(MARKET_DAYS)],
            tags=dict(range_tags(("AAPL", "AAPL"), first.date(), last.date())),
        ).success

    def materialise(self, *days: str) -> dg.ExecuteInProcessResult:
        """As the UI's button does."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(MARKET_STATE.name)],
            tags={"dagster/asset_partition_range_start": days[0], "dagster/asset_partition_range_end": days[-1]},
            raise_on_error=False,
        )

    @property
    def keys(self) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey(MARKET_STATE.name))

    @property
    def rows(self) -> pd.DataFrame:
        return self.warehouse.read(MARKET_STATE)


@pytest.fixture
def home(make_settings: Callable[..., Settings], tmp_path: Path, sample_bars: dict[str, pd.DataFrame]) -> Home:
    settings = make_settings(start_date=FIRST_KEY.date(), end_date=LAST.date(), calendars=("XNYS",))
    (tmp_path / "dagster").mkdir()
    return Home(settings, tmp_path / "dagster", sample_bars)


def test_a_run_records_its_days_as_keys_and_whoever_joins_later_changes_none(home: Home) -> None:
    home.record(DAY, DAY)
    before = home.rows
    # The days before the first key have rows and no keys.
    assert before["date"].min() < FIRST_KEY
    assert home.keys == {f"{day:%Y-%m-%d}" for day in before["date"] if day >= FIRST_KEY}
    assert max(home.keys) == "2013-02-12"
    assert set(before["members"]) == {"AAPL IBM"}

    home.add("MSFT")
    home.record(LAST, LAST)
    after = home.rows
    pd.testing.assert_frame_equal(after[after["date"] <= DAY], before, check_exact=True)
    assert after["members"].tolist()[-2:] == ["AAPL IBM MSFT"] * 2

    # Made again by the UI's button or by a run of a ticker that was late: the same bits.
    made = home.materialise("2013-02-11", "2013-02-14")
    assert made.success
    (check,) = made.get_asset_check_evaluations()
    assert (check.passed, check.description) == (True, "4 rows checked.")
    home.record(DAY, LAST)
    pd.testing.assert_frame_equal(home.rows, after, check_exact=True)


def test_a_corrected_bar_is_repaired_by_the_run_that_repairs_the_tickers_forecasts(home: Home) -> None:
    home.record(LAST, LAST)
    before, moment = home.rows, pd.Timestamp.now("UTC")
    home.correct("AAPL", DAY)
    home.record(DAY, LAST)
    same = home.rows.astype(str) == before.astype(str)
    assert set(before["date"][~same.all(axis=1)]) == {DAY, pd.Timestamp("2013-02-13"), LAST}
    # Who asks why a forecast of then comes out otherwise is told.
    assert market_made_again(moment, LAST.date(), home.instance) == [DAY.date(), date(2013, 2, 13), LAST.date()]
    assert market_made_again(moment, DAY.date(), home.instance) == [DAY.date()]


def test_no_day_is_recorded_without_those_before_it(home: Home) -> None:
    failed = home.materialise("2013-02-14")
    assert not failed.success
    (event,) = [event for event in failed.all_events if event.is_step_failure and event.step_key == MARKET_STATE.name]
    assert "materialise market_days, which records them all" in str(event.step_failure_data.error)
    assert home.rows.empty
    job = home.defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=home.instance, asset_selection=[dg.AssetKey(MARKET_DAYS)]).success
    assert home.rows["date"].max() == LAST
    assert home.materialise("2013-02-14").success


def test_a_months_training_records_the_days_before_the_month(home: Home) -> None:
    job = home.defs.resolve_job_def("monthly_training")
    assert job.execute_in_process(
        instance=home.instance,
        asset_selection=[dg.AssetKey(MARKET_DAYS)],
        tags=dict(range_tags(("AAPL", "AAPL"), FIRST_KEY.date(), FIRST_KEY.date())),
    ).success
    assert home.rows["date"].max() == pd.Timestamp("2013-01-31")
    assert home.keys == set()
