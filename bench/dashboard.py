"""The dashboard on a big warehouse: 500 tickers × 10 years of bars and indicators, forecasts of 60 sessions.

`python bench/dashboard.py [--tickers 500 --years 10 --visits 5]` fills a DuckDB file in a temporary folder (or in
`--home`, which is kept and used again), serves it, and opens each page in Chromium, every visit with an empty cache.
The clock starts when the server's first byte arrives. `first paint` is the first chart or table to be seen,
`interactive` the first chart that answers the mouse, `revisit` the first paint with the scripts in the browser's cache.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stockcast_assets import tables
from stockcast_assets.market import indicators
from stockcast_assets.monitoring.series import KIND_OF
from stockcast_assets.tables import QUANTILES, Table
from stockcast_assets.warehouse import DuckDBWarehouse, TableRef, frames
from stockcast_assets.warehouse.slices import Slice

END = pd.Timestamp("2013-03-01")
FORECAST_SESSIONS = 60
PAGES = {
    "forecasts": ("#first-paint img, .first-paint, .js-plotly-plot .main-svg", ".js-plotly-plot .main-svg"),
    "trust": ("#first-paint img, .js-plotly-plot .main-svg", ".js-plotly-plot .main-svg"),
    "card": ("#first-paint h1, .st-key-model-card h1", ".st-key-model-card table"),
    "monitoring": ("#first-paint img, .js-plotly-plot .main-svg", ".js-plotly-plot .main-svg"),
    "universe": ("#first-paint table, [data-testid=stDataFrame] canvas", "[data-testid=stDataFrame] canvas"),
}
SERVE = (
    "import sys; from stockcast_assets.settings import load_settings;"
    "from stockcast_assets.dashboard.run import serve; serve(load_settings(), int(sys.argv[1]))"
)


def write(home: Path, table: Table, frame: pd.DataFrame) -> None:
    data, contract = frames.to_arrow(frame[table.column_names], table.name, table)
    warehouse = DuckDBWarehouse(str(home / "warehouse.duckdb"))
    warehouse.replace(TableRef("stockcast", table.name), data, Slice.whole(), contract)


def fill(home: Path, n_tickers: int, years: int) -> None:
    """Random walks, in the order in which days are stored."""
    rng = np.random.default_rng(1)
    names = np.array([f"T{number:03}" for number in range(n_tickers)], dtype=object)
    days = pd.bdate_range(end=END, periods=252 * years)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, (len(days), n_tickers)), axis=0))
    bars = pd.DataFrame({"ticker": np.tile(names, len(days)), "date": np.repeat(days, n_tickers)})
    bars["close"] = bars["adj_close"] = close.ravel()
    bars["open"], bars["high"], bars["low"] = bars["close"], bars["close"] * 1.01, bars["close"] * 0.99
    bars["volume"] = rng.integers(1_000_000, 9_000_000, len(bars))
    bars["dividend"], bars["split_ratio"], bars["source"] = 0.0, 1.0, "sample"
    bars["ingested_at"] = pd.Timestamp("2013-03-02", tz="UTC")
    write(home, tables.RAW_PRICES, bars)
    by_ticker = bars.sort_values(["ticker", "date"], ignore_index=True)
    write(home, tables.INDICATORS, indicators.compute(by_ticker).sort_values(["date", "ticker"]))

    as_of = days[-FORECAST_SESSIONS:]
    recent = bars[bars["date"].isin(as_of)][["ticker", "date", "close"]]
    made = recent.loc[recent.index.repeat(10)].reset_index(drop=True)
    made["horizon"] = np.tile(np.arange(1, 11), len(recent))
    made["target_date"] = made["date"] + pd.to_timedelta(made["horizon"] * 7 // 5 + 1, unit="D")
    for quantile, z in zip(QUANTILES, (-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645), strict=True):
        made[f"close_p{round(quantile * 100):02d}"] = made["close"] * np.exp(z * 0.015 * np.sqrt(made["horizon"]))
    made["last_close"] = made["naive_close"] = made["close"]
    made["model_version"], made["method"], made["fallback"] = "1", "lstm", None
    write(home, tables.FORECASTS, made.reindex(columns=tables.FORECASTS.column_names))
    errors = rng.normal(0, 0.02, (2, len(made)))
    scored = made[["ticker", "date", "horizon"]].assign(
        as_of_date=made["date"] - pd.Timedelta(days=1), target_date=made["date"], actual_close=made["close"],
        error=errors[0] * made["close"], naive_error=errors[1] * made["close"], inside_80=rng.random(len(made)) < 0.8,
    )  # fmt: skip
    write(home, tables.FORECAST_ACCURACY, scored.reindex(columns=tables.FORECAST_ACCURACY.column_names))
    drift = recent.loc[recent.index.repeat(len(KIND_OF))].reset_index(drop=True)
    drift["feature"] = np.tile(list(KIND_OF), len(recent))
    drift["kind"] = drift["feature"].map(KIND_OF)
    drift["method"], drift["threshold"] = "wasserstein", 0.4
    drift["score"] = rng.gamma(4, 0.06, len(drift))
    drift["drifted"] = drift["score"] >= drift["threshold"]
    for name, day in (("reference_from", days[0]), ("reference_to", as_of[0]), ("current_from", as_of[0])):
        drift[name] = day
    drift["current_to"], drift["report_uri"] = drift["date"], "reports/none.json"
    write(home, tables.DRIFT_REPORT, drift)
    write(home, tables.TRAINED_MODEL, pd.DataFrame([_model(name, month) for name in names for month in (1, 2, 3)]))


def _model(ticker: str, month: int) -> dict[str, Any]:
    row = {column.name: 1.0 for column in tables.TRAINED_MODEL.columns if column.type == "FLOAT64"}
    return {
        **row,
        "ticker": ticker, "date": pd.Timestamp(2013, month, 1), "model_name": ticker, "model_version": str(month),
        "run_id": "0" * 32, "weights_sha256": "0" * 64, "trained_from": pd.Timestamp("2003-03-03"),
        "trained_to": pd.Timestamp(2013, month, 1) - pd.Timedelta(days=1), "n_samples": 2000, "n_cases": 700,
        "coverage_80": 0.8, "promoted": True, "method": "lstm", "reason": "It beats every baseline.",
        "serving_version": str(month), "trigger": None,
    }  # fmt: skip


@contextmanager
def served(home: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "STOCKCAST_HOME": str(home), "STOCKCAST_SOURCE": "sample"}
    server = subprocess.Popen([sys.executable, "-c", SERVE, str(port)], env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2)
                break
            except OSError:
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


# The browser's own clock, at the frame after the element came: a blocked page cannot answer questions from outside.
CLOCK = """(selectors) => {
  window.seen = [null, null];
  const look = () => selectors.forEach((selector, at) => {
    if (window.seen[at] === null && document.querySelector(selector)) {
      window.seen[at] = 0;
      requestAnimationFrame(() => requestAnimationFrame(() => {
        window.seen[at] = performance.now() - performance.getEntriesByType('navigation')[0].responseStart;
      }));
    }
  });
  new MutationObserver(look).observe(document, {childList: true, subtree: true});
}"""


def visit(page: Any, url: str) -> tuple[float, float]:
    """Seconds from the first byte of the answer to the first paint, and to the first interactive chart."""
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.seen.every(Boolean)", timeout=60_000)
    first, interactive = page.evaluate("window.seen")
    return first / 1000, interactive / 1000


def measure(url: str, visits: int) -> None:
    from playwright.sync_api import sync_playwright

    tickers = iter(f"T{number:03}" for number in range(500))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        print(f"{'page':12}{'first paint':>22}{'interactive':>22}{'revisit':>12}   (seconds: median, worst)")
        for name, (paint, interactive) in PAGES.items():
            cold, warm = [], []
            for _ in range(visits):
                context = browser.new_context(viewport={"width": 1440, "height": 1000})
                page = context.new_page()
                page.add_init_script(f"({CLOCK})({json.dumps([paint, interactive])})")
                cold.append(visit(page, f"{url}/{name}?ticker={next(tickers)}"))
                warm.append(visit(page, f"{url}/{name}?ticker={next(tickers)}")[0])
                context.close()
            columns = [[seconds[at] for seconds in cold] for at in (0, 1)]
            shown = "".join(f"{statistics.median(c):>15.2f}{max(c):>7.2f}" for c in columns)
            print(f"{name:12}{shown}{statistics.median(warm):>12.2f}")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=500)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}; {options.tickers} tickers x {options.years} years")
    with tempfile.TemporaryDirectory() as temporary:
        home = options.home or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "warehouse.duckdb").exists():
            started = time.perf_counter()
            fill(home, options.tickers, options.years)
            print(f"filled in {time.perf_counter() - started:.0f} s")
        with served(home) as url:
            measure(url, options.visits)


if __name__ == "__main__":
    main()
