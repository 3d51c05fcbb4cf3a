"""The code location as a whole, as the Dagster UI and the daemon load it."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.graph import DAILY_ASSETS
from stockcast_assets.settings import Settings
from stockcast_assets.tables import ALL_TABLES


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"source": "csv"},
        {"source": "yahoo", "calendars": ("XNYS", "XLON", "24/7"), "tickers": ("VOD.L",)},
        {"warehouse": "bigquery", "gcp_project": "project"},
        {"automation": False},
    ],
    ids=["sample", "csv", "yahoo", "bigquery", "by hand"],
)
def test_the_code_location_loads(make_settings: Callable[..., Settings], values: dict[str, object]) -> None:
    dg.Definitions.validate_loadable(build_definitions(make_settings(**values)))


def described(definitions: dg.Definitions) -> dict[str, str | None]:
    """The description of everything that the Dagster UI lists, by its name."""
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    return {
        **{f"asset {key.to_user_string()}": graph.get(key).description for key in graph.get_all_asset_keys()},
        **{f"check {key}": graph.get_check_spec(key).description for key in graph.asset_check_keys},
        **{f"job {job.name}": job.description for job in repository.get_all_jobs() if not job.name.startswith("__")},
        **{f"schedule {schedule.name}": schedule.description for schedule in repository.schedule_defs},
        **{f"sensor {sensor.name}": sensor.description for sensor in repository.sensor_defs},
    }


def test_everything_the_ui_lists_says_in_a_sentence_what_it_is(make_settings: Callable[..., Settings]) -> None:
    words = described(build_definitions(make_settings()))
    assert {name.split()[0] for name in words} == {"asset", "check", "job", "schedule", "sensor"}
    assert [name for name, text in words.items() if not text or len(text.split()) < 8] == []


def test_every_asset_has_an_owner_a_key_tag_kinds_and_a_link_to_its_own_code(
    make_settings: Callable[..., Settings],
) -> None:
    graph = build_definitions(make_settings()).resolve_asset_graph()
    for node in graph.asset_nodes:
        assert node.owners == ["team:stockcast"]
        assert node.tags["stockcast/key"] in ("ticker", "ticker-day", "ticker-month", "month", "day", "none")
        assert len([tag for tag in node.tags if tag.startswith("dagster/kind/")]) >= 2
        (link,) = node.metadata["dagster/code_references"].code_references
        lines = Path(link.file_path).read_text().splitlines()[link.line_number - 1 :]
        name = next(line for line in lines if line.strip().startswith("def "))
        assert node.key.to_user_string().split("_")[0] in name


def test_columns_come_from_columns_of_assets_upstream(make_settings: Callable[..., Settings]) -> None:
    graph = build_definitions(make_settings()).resolve_asset_graph()
    columns = {table.name: table.column_names for table in ALL_TABLES}
    for table in ALL_TABLES:
        node = graph.get(dg.AssetKey(table.name))
        assert set(table.lineage) <= set(table.column_names)
        assert bool(table.lineage) == bool(node.parent_keys), table.name
        if not table.lineage:
            continue
        declared = node.metadata["dagster/column_lineage"].deps_by_column
        for column, origins in table.lineage.items():
            deps = declared[column]
            assert sorted(origins) == sorted(f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps)
            for dep in deps:
                assert dep.asset_key in node.parent_keys, (column, dep)
                assert dep.column_name in columns[dep.asset_key.to_user_string()], (column, dep)
    indicators = graph.get(dg.AssetKey("indicators")).metadata["dagster/column_lineage"]
    assert indicators.deps_by_column["close"] == [dg.TableColumnDep(dg.AssetKey("raw_prices"), "close")]


def test_a_backfill_of_a_day_reaches_no_other_day(make_settings: Callable[..., Settings]) -> None:
    graph = build_definitions(make_settings()).resolve_asset_graph()
    for name in DAILY_ASSETS:
        key = dg.AssetKey(name)
        daily = [parent for parent in graph.get(key).parent_keys if parent.to_user_string() in DAILY_ASSETS]
        assert daily or name == "raw_prices"
        for parent in daily:
            assert graph.get_partition_mapping(key, parent) == dg.IdentityPartitionMapping(), (name, parent)
