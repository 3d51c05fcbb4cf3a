"""docs/architecture.md: its examples run, its order is the one that is held, and every module it names is there."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import time_machine

from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.graph import KEY_OF, MARKET_DAYS, OF_ALL, ORDER, STAGES
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.settings import Settings
from stockcast_assets.tables import RAW_PRICES

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"### ([^\n]+)\n\n```python\n(.+?)```", DOCUMENT, re.DOTALL))
DAY = "2013-02-15"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        instance.add_dynamic_partitions("ticker", ["AAPL"])
        yield instance


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {"HOME": str(tmp_path / "home"), "SOURCE": "sample", "START_DATE": "2013-02-01"}.items():
        monkeypatch.setenv(f"STOCKCAST_{name}", value)

    def run(title: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(EXAMPLES[title], title, "exec"), names)
        return names

    return run


def ingest(defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    for job, span in (("ingest_history", ()), ("ingest_daily", (date(2013, 2, 1), date(2013, 2, 15)))):
        labels = dict(range_tags(("AAPL", "AAPL"), *span))
        assert defs.resolve_job_def(job).execute_in_process(instance=instance, tags=labels).success


def test_an_indicator_and_a_check_take_less_than_40_lines(run_example: Any, instance: dg.DagsterInstance) -> None:
    title = "An indicator as an asset of its own, with a check"
    assert len([line for line in EXAMPLES[title].splitlines() if line]) < 40
    names = run_example(title)
    defs = names["defs"]
    ingest(defs, instance)
    job = defs.resolve_implicit_global_asset_job_def()
    keys, momentum = [f"2013-02-{day}|AAPL" for day in (14, 15)], [dg.AssetKey("momentum")]
    for key in keys:
        result = job.execute_in_process(instance=instance, partition_key=key, asset_selection=momentum)
        assert result.success
        assert [evaluation.passed for evaluation in result.get_asset_check_evaluations()] == [True]
    rows = warehouse_from(names["settings"]).read(names["MOMENTUM"])
    assert list(rows["date"].dt.strftime("%Y-%m-%d|") + rows["ticker"]) == keys
    assert rows["rise_20"].between(-0.5, 0.5).all()


def test_a_source(run_example: Any, instance: dg.DagsterInstance) -> None:
    names = run_example("A source")
    with time_machine.travel(f"{DAY}T23:00:00Z", tick=True):
        ingest(names["defs"], instance)
    rows = warehouse_from(names["settings"]).read(RAW_PRICES)
    assert set(rows["close"]) == {10.0}
    assert len(rows) == 11


def test_a_model(run_example: Any, sample_bars: dict[str, pd.DataFrame]) -> None:
    history = prepare(sample_bars["AAPL"])
    rows = np.arange(1000, 1200)
    for naive in fit_naive(history, rows).values():
        plain, wider = (
            naive.predict(history, rows),
            run_example("A model")["Cautious"](naive, 2.0).predict(history, rows),
        )
        np.testing.assert_array_equal(wider.point, plain.point)
        np.testing.assert_allclose(np.ptp(wider.quantiles, axis=2), 2 * np.ptp(plain.quantiles, axis=2))


def test_every_module_that_it_names_is_there() -> None:
    package = ROOT / "stockcast_assets"
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", DOCUMENT):
        assert list(package.rglob(name)) or list((ROOT / "stockcast_assets_tests").rglob(name)), name


def test_what_is_to_be_added_to_is_where_the_table_says() -> None:
    package = ROOT / "stockcast_assets"
    _, *rows = re.findall(r"^\| [^|]+ \| (.+) \|$", DOCUMENT[DOCUMENT.index("## Where to add") :], re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        told = re.findall(r"`([^`]+)`", row)
        files = [file for name in told if "." in name or "/" in name for file in package.rglob(name.rstrip("/"))]
        files += [module for folder in files if folder.is_dir() for module in folder.glob("*.py")]
        text = "\n".join(file.read_text() for file in {*files, package / "tables.py"} if file.is_file())
        for name in (name for name in told if re.fullmatch(r"[A-Z]\w+", name)):
            assert re.search(rf"^(class )?{name}\b", text, re.MULTILINE), name


def test_the_order_and_the_keys_are_those_of_dagsters_graph(tmp_path: Path) -> None:
    graph = build_definitions(Settings(home=tmp_path, source="sample")).resolve_asset_graph()
    assert sorted(ORDER) == sorted(name for stage in STAGES for name in stage)
    for order in (ORDER, [name for stage in STAGES for name in stage]):
        for place, name in enumerate(order):
            node = graph.get(dg.AssetKey(name))
            # The market's days and the networks are of all tickers, and go along with what reads them.
            parents = {key.to_user_string() for key in node.parent_keys} - {*OF_ALL, MARKET_DAYS}
            assert parents <= set(order[:place]), name
            assert node.tags["stockcast/key"] == KEY_OF[name]
