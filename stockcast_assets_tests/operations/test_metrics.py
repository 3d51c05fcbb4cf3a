"""What Prometheus is told is what is stored, and the dashboard of Grafana asks for nothing else."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stockcast_assets.clock import utc_now
from stockcast_assets.operations.metrics import StockcastCollector
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import ALL_TABLES
from stockcast_assets_tests.conftest import Cli, clean_env
from stockcast_assets_tests.servers import free_port

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana" / "stockcast.json"


def scrape(settings: Settings) -> dict[str, dict[str, float]]:
    """Name of a metric -> its only label's value -> number."""
    registry = CollectorRegistry(auto_describe=False)
    with open_instance(settings) as instance:
        registry.register(StockcastCollector(instance, warehouse_from(settings)))
        text = generate_latest(registry).decode()
    return {
        family.name: {next(iter(sample.labels.values()), ""): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_the_numbers_of_a_finished_demo(demo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=demo.home, source="sample")
    told = scrape(settings)
    assert told["stockcast_tickers"] == {"": 4}
    assert told["stockcast_forecast_coverage"] == {"": 1}
    assert told["stockcast_queued_runs"] == {"": 0}
    assert set(told["stockcast_recent_runs"]) == {"success"}
    age = utc_now().timestamp() - 1362096000  # 2013-03-01
    assert told["stockcast_newest_bar_age_seconds"] == pytest.approx(
        dict.fromkeys(["AAPL", "GOOG", "IBM", "MSFT"], age), abs=60
    )
    with open_instance(settings) as instance:
        keys = {table.name: len(instance.get_materialized_partitions(dg.AssetKey(table.name))) for table in ALL_TABLES}
    assert told["stockcast_materialized_keys"] == keys
    assert keys["forecasts"] == 12
    assert {"forecasts", "raw_prices", "trained_model"} <= set(told["stockcast_stage_seconds"])
    assert all(seconds > 0 for seconds in told["stockcast_stage_seconds"].values())

    asked = set(
        re.findall(
            r"stockcast_\w+",
            " ".join(t["expr"] for p in json.loads(GRAFANA.read_text())["panels"] for t in p["targets"]),
        )
    )
    assert asked == set(told)


def test_it_is_served_to_this_machine_under_its_own_name_only(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("stockcast"), "metrics", "--port", str(port)],
        env=clean_env() | {"STOCKCAST_HOME": str(tmp_path / "home"), "STOCKCAST_SOURCE": "sample"},
        cwd=tmp_path,
    )
    try:
        page = f"http://127.0.0.1:{port}/metrics"
        until = time.monotonic() + 60
        while True:
            try:
                text = urllib.request.urlopen(page, timeout=30).read().decode()
                break
            except urllib.error.URLError:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.2)
        assert "stockcast_tickers 0.0" in text
        foreign = urllib.request.Request(page, headers={"Host": "evil.example.com"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(foreign, timeout=30)
    finally:
        process.terminate()
        process.wait(20)
