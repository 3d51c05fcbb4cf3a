"""What the checks of the stored rows say."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration.asset_checks.declared import MOST_KEYS, build_checks, faults
from stockcast_assets.tables import RAW_PRICES
from stockcast_assets.warehouse.duckdb import DuckDBWarehouse
from stockcast_assets_tests.dashboard.home import write


@pytest.mark.parametrize("broken", [1, 3, MOST_KEYS, MOST_KEYS + 5])
def test_a_broken_rule_names_the_keys_that_break_it(broken: int) -> None:
    rows = SampleSource().bars("IBM", date(2012, 11, 1), date(2013, 1, 10))
    rows["volume"] = rows["volume"].where(rows.index >= broken, -1)
    (sentence,) = faults(RAW_PRICES, rows)
    named = [f"IBM {day:%Y-%m-%d}" for day in rows["date"][:broken]]
    assert sentence.startswith(f"volume is below 0 in {broken} rows: {', '.join(named[:MOST_KEYS])}")
    assert sentence.endswith(f" and {broken - MOST_KEYS} more") == (broken > MOST_KEYS)


def test_a_check_that_is_executed_alone_reads_the_whole_table_and_names_what_is_red(tmp_path: Path) -> None:
    rows = SampleSource().bars("IBM", date(2013, 1, 2), date(2013, 1, 10))
    rows["close"] = rows["close"].where(rows["date"] != "2013-01-04", -1.0)
    write(tmp_path, RAW_PRICES, rows)
    key = dg.AssetCheckKey(dg.AssetKey(RAW_PRICES.name), "obeys_its_declaration")
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(key))
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(RAW_PRICES.name)],
        asset_checks=[check for check in build_checks() if key in check.check_keys],
        jobs=[alone],
        resources={"warehouse": DuckDBWarehouse(str(tmp_path / "warehouse.duckdb"))},
    )
    result = definitions.resolve_job_def("alone").execute_in_process(raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert "IBM 2013-01-04" in (evaluation.description or "")
    assert evaluation.metadata["rows"].value == len(rows)
