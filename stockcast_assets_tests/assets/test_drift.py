"""Drift reports in real Dagster runs: after the scores of the day, the same alone and in a range, in an older table."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from stockcast_assets.monitoring.series import FEATURES
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.settings import Settings
from stockcast_assets.tables import DRIFT_REPORT, FORECAST_ACCURACY, FORECASTS
from stockcast_assets_tests.assets.test_lifecycle import Home
from stockcast_assets_tests.monitoring.conftest import published_by_har

DAYS = ("2013-02-13", "2013-02-14", "2013-02-15")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sample_bars: dict[str, pd.DataFrame]) -> Iterator[Home]:
    """MSFT with a champion of February and forecasts since November, scored."""
    settings = Settings(home=tmp_path_factory.mktemp("drift") / "home", source="sample")
    with dg.DagsterInstance.ephemeral() as instance:
        here = Home(settings, instance, sample_bars["MSFT"])
        here.publish("2013-02-01", "lstm", 0.9)
        made, scored = published_by_har(here.bars, "2012-11-01")
        store(here, FORECASTS, made.assign(target_date=made["date"] + pd.Timedelta(days=1), last_close=1.0))
        store(here, FORECAST_ACCURACY, scored.assign(target_date=scored["date"], naive_error=0.0, inside_80=True))
        yield here


def store(here: Home, table, rows: pd.DataFrame) -> None:
    from stockcast_assets_tests.dashboard.home import write

    blank = {"STRING": "x", "FLOAT64": 1.0, "INT64": 0, "BOOL": False}
    missing = {c.name: blank[c.type] for c in table.columns if c.name not in rows}
    write(here.settings.home, table, rows.assign(**missing))


def run_range(here: Home, first: str, last: str) -> dg.ExecuteInProcessResult:
    return here.definitions.resolve_job_def("daily_forecast").execute_in_process(
        instance=here.instance,
        asset_selection=[dg.AssetKey(DRIFT_REPORT.name)],
        tags=range_tags(("MSFT", "MSFT"), pd.Timestamp(first).date(), pd.Timestamp(last).date()),
    )


def test_drift_comes_after_the_scores_of_the_day(home: Home) -> None:
    graph = home.definitions.resolve_asset_graph()
    ahead = graph.get_ancestor_asset_keys(dg.AssetKey(DRIFT_REPORT.name))
    assert {dg.AssetKey(name) for name in DAILY_ASSETS if name not in ("indicators", DRIFT_REPORT.name)} <= ahead


def test_a_range_gives_the_bits_of_its_days_and_knows_no_later_outcome(home: Home) -> None:
    for day in reversed(DAYS):
        assert home.run(DRIFT_REPORT.name, day).success
    alone = home.warehouse.content_hash(DRIFT_REPORT)
    rows = home.warehouse.read(DRIFT_REPORT)
    assert len(rows) == len(DAYS) * sum(map(len, FEATURES.values()))
    assert run_range(home, DAYS[0], DAYS[-1]).success
    assert home.warehouse.content_hash(DRIFT_REPORT) == alone
    assert rows["report_uri"].tolist() == [f"reports/MSFT/{day:%Y-%m-%d}.json" for day in rows["date"]]

    # The stored outcomes reach to March: without what came after the first day, its rows are the same.
    for table in (FORECASTS, FORECAST_ACCURACY):
        known = home.warehouse.read(table, end=DAYS[0])
        store(home, table, known)
    assert home.run(DRIFT_REPORT.name, DAYS[0]).success
    assert home.warehouse.content_hash(DRIFT_REPORT) == alone


def test_a_table_of_an_earlier_release_gets_the_column_and_keeps_its_rows(home: Home) -> None:
    with duckdb.connect(str(Path(home.settings.home) / "warehouse.duckdb")) as connection:
        connection.execute("ALTER TABLE stockcast.drift_report DROP COLUMN kind")
    assert home.run(DRIFT_REPORT.name, DAYS[0]).success
    kinds = home.warehouse.read(DRIFT_REPORT).groupby("date")["kind"].unique()
    assert [set(found) for found in kinds] == [set(FEATURES), {None}, {None}]


def test_too_few_scored_forecasts_are_told_on_the_key_and_no_residual_is_stored(home: Home) -> None:
    store(home, FORECAST_ACCURACY, home.warehouse.read(FORECAST_ACCURACY, end=DAYS[0]).tail(29))
    result = home.run(DRIFT_REPORT.name, DAYS[0])
    (materialization,) = result.asset_materializations_for_node(DRIFT_REPORT.name)
    words = materialization.metadata["residuals not compared"].value
    assert words == "there is a scored forecast for 29 of the last 60 sessions, and 30 are needed"
    stored = home.warehouse.read(DRIFT_REPORT, start=DAYS[0], end=DAYS[0])
    assert set(stored["kind"]) == set(FEATURES) - {"residuals"}
