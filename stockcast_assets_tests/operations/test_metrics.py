"""What Prometheus is told is what is stored, and the dashboard of Grafana asks for nothing else."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stockcast_assets.clock import utc_now
from stockcast_assets.operations.metrics import StockcastCollector
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import ALL_TABLES, Table
from stockcast_assets_tests.conftest import Cli, clean_env
from stockcast_assets_tests.servers import free_port

BARS = ("raw_prices", "price_history")
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
    of_demo = Settings(home=demo.home, source="sample")
    told = scrape(of_demo)
    assert told["stockcast_tickers"] == {"": 4}
    assert told["stockcast_forecast_coverage"] == {"": 1}
    assert told["stockcast_queued_runs"] == {"": 0}
    assert set(told["stockcast_recent_runs"]) == {"success"}
    age = utc_now().timestamp() - 1362096000  # 2013-03-01
    assert told["stockcast_newest_bar_age_seconds"] == pytest.approx(
        dict.fromkeys(["AAPL", "GOOG", "IBM", "MSFT"], age), abs=60
    )
    with open_instance(of_demo) as instance:
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


@dataclass
class Counted:
    """A warehouse of three tables in memory that counts how often it is asked."""

    rows: dict[str, pd.DataFrame]
    asked: int = 0

    def read(self, table: Table, *, tickers: Sequence[str], start: date | None, columns: Sequence[str]) -> pd.DataFrame:
        self.asked += 1
        rows = self.rows[table.name]
        return rows[rows["ticker"].isin(tickers) & (rows["date"] >= pd.Timestamp(start or "1900-01-01"))][[*columns]]


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([f"T{number}" for number in range(30)]),
        st.fixed_dictionaries({name: st.lists(st.integers(0, 90)) for name in (*BARS, "forecasts")}),
    )
)
def test_a_scrape_costs_the_same_however_many_tickers_there_are(held: dict[str, dict[str, list[int]]]) -> None:
    """And says what each ticker's newest bar is, whichever of the tables has it, and how many have its forecast."""
    # Of a ticker, what is before its first daily key is not younger than what has keys.
    for by in held.values():
        by["price_history"] = [ago for ago in by["price_history"] if ago > max(by["raw_prices"], default=-1)]
    now = pd.Timestamp(utc_now()).tz_localize(None).normalize()
    warehouse = Counted(
        {
            name: pd.DataFrame(
                [(ticker, now - pd.Timedelta(days=ago)) for ticker, by in held.items() for ago in by[name]],
                columns=["ticker", "date"],
            ).astype({"date": "datetime64[ns]"})
            for name in (*BARS, "forecasts")
        }
    )
    instance = SimpleNamespace(get_dynamic_partitions=lambda _: [*held])
    told = {
        metric.name: {next(iter(sample.labels.values()), ""): sample.value for sample in metric.samples}
        for metric in StockcastCollector(instance, warehouse)._tables()  # type: ignore[arg-type]
    }
    newest = {ticker: min(by["raw_prices"] or by["price_history"], default=None) for ticker, by in held.items()}
    ages = told["stockcast_newest_bar_age_seconds"]
    assert {ticker: round(age // 86400) for ticker, age in ages.items()} == {
        ticker: ago for ticker, ago in newest.items() if ago is not None
    }
    covered = [ticker for ticker, by in held.items() if by["forecasts"] and min(by["forecasts"]) == newest[ticker]]
    share = len(covered) / len(held) if held else 0
    assert told["stockcast_forecast_coverage"][""] == pytest.approx(share)
    assert warehouse.asked <= 5


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
