"""What the checks of the stored rows say."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration.asset_checks.declared import MOST_KEYS, build_checks, checked, faults
from stockcast_assets.orchestration.asset_checks.freshness import FRESH, Finding
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


def test_a_check_that_found_nothing_to_look_at_says_so() -> None:
    assert checked(0).startswith("Nothing was checked")
    assert checked(3) == "3 rows checked."
    assert Finding(RAW_PRICES, FRESH, {}, 0).words.startswith("No ticker was watched")


@pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.PreviewWarning")
def test_why_no_check_has_partitions_of_its_own() -> None:
    """Dagster notes a result under a key only if the run has one key; as long as that is so, docs/automation.md is."""
    daily = dg.DailyPartitionsDefinition("2024-01-01")

    @dg.asset(partitions_def=daily, backfill_policy=dg.BackfillPolicy.single_run())
    def made() -> None: ...

    @dg.asset_check(asset=made, partitions_def=daily)
    def looked_at() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    definitions = dg.Definitions([made], asset_checks=[looked_at], resources={"io_manager": dg.mem_io_manager})
    job = definitions.resolve_implicit_global_asset_job_def()
    ends = {"dagster/asset_partition_range_start": "2024-01-02", "dagster/asset_partition_range_end": "2024-01-04"}
    with dg.DagsterInstance.ephemeral() as instance:
        one = job.execute_in_process(instance=instance, partition_key="2024-01-02")
        several = job.execute_in_process(instance=instance, tags=ends)
    assert [each.partition for each in one.get_asset_check_evaluations()] == ["2024-01-02"]
    assert [each.partition for each in several.get_asset_check_evaluations()] == [None]
