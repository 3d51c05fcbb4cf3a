"""`--as-known-on`: the commands read the world of a past day, on a home whose bars were corrected since."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import streamlit as st

from stockcast_assets.clock import utc_now, utc_today
from stockcast_assets.forecasting.risk.scenarios import packed
from stockcast_assets.monitoring import ledger
from stockcast_assets.orchestration.assets.price_revisions import with_price_revisions
from stockcast_assets.orchestration.build import registry_from
from stockcast_assets.settings import load_settings
from stockcast_assets.tables import (
    FORECAST_ACCURACY,
    FORECASTS,
    PUBLISHED_FORECASTS,
    RAW_PRICES,
    SCENARIOS,
    TRAINED_MODEL,
    UNIVERSE_MODEL,
    Table,
)
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.warehouse import DuckDBWarehouse, KeyedFrame, TableRef, frames
from stockcast_assets.warehouse.frames import Addition
from stockcast_assets.warehouse.io_manager import replace_with_addition
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.conftest import Run
from stockcast_assets_tests.dashboard.test_pages import open_page, text
from stockcast_assets_tests.documented import differences
from stockcast_assets_tests.warehouse.helpers import keys_slice

NEXT = pd.Timestamp("2013-03-04")
DAY, CORRECTED = "2013-02-28", "2013-02-20"
TODAY = utc_today()
THEN, BEFORE = TODAY - timedelta(days=5), TODAY - timedelta(days=20)


@pytest.fixture
def stored(demo_as_made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DuckDBWarehouse:
    """The tables of a home of which all was stored ten days ago."""
    home = tmp_path / "stored"
    shutil.copytree(demo_as_made, home)
    monkeypatch.setenv("STOCKCAST_HOME", str(home))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    database = str(home / "warehouse.duckdb")
    moments = {"raw_prices": "ingested_at", "price_history": "ingested_at", "published_forecasts": "published_at"}
    with duckdb.connect(database) as connection:
        for table, column in moments.items():
            connection.execute(f"UPDATE stockcast.{table} SET {column} = {column} - INTERVAL 10 DAY")  # noqa: S608
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as models, models:
        models.execute("UPDATE model_versions SET creation_time = creation_time - 10 * 86400000")
    return DuckDBWarehouse(database)


def correct(warehouse: DuckDBWarehouse, ticker: str, day: str, factor: float) -> None:
    """Store a bar that says otherwise, as a run does."""

    def stored():
        return warehouse.read(RAW_PRICES, tickers=[ticker], start=day, end=day)

    new = stored().assign(close=lambda bar: bar["close"] * factor, high=lambda bar: bar["high"] * factor)
    made = with_price_revisions(warehouse, RAW_PRICES, KeyedFrame(new), stored)
    data, contract = frames.to_arrow(new, RAW_PRICES.name, RAW_PRICES)
    ref, part = TableRef("stockcast", RAW_PRICES.name), keys_slice([f"{day}|{ticker}"])
    assert replace_with_addition(warehouse, ref, data, part, contract, f"{ticker} {day}", made) is not None


@pytest.mark.timeout(300)
def test_commands_read_the_world_of_the_day(run: Run, stored: DuckDBWarehouse) -> None:
    correct(stored, "MSFT", CORRECTED, 1.02)
    # By the bars of now it comes out otherwise; by those of then, bit for bit.
    assert run("explain", "MSFT", DAY, "--replay", "--json")[0] == 1
    status, out, err = run("explain", "MSFT", DAY, "--replay", "--as-known-on", str(THEN), "--json")
    assert status == 0, err
    document = json.loads(out)
    assert differences("explain", document) == []
    assert (document["as_known_on"], document["replay"]["identical"]) == (str(THEN), True)
    assert document["revised"]["bars_stored_after_the_forecast"] == []
    status, _, err = run("explain", "MSFT", DAY, "--as-known-on", str(BEFORE))
    assert (status, f"had been published by the end of {BEFORE}" in err) == (1, True)
    remedy = re.search(r"`stockcast ([^`]+)`", " ".join(err.split()))
    assert remedy is not None, err
    assert run(*remedy[1].split()).status == 0

    now, then, before = (
        json.loads(run("status", *words, "--json")[1])
        for words in ((), ("--as-known-on", str(THEN)), ("--as-known-on", str(BEFORE)))
    )
    digests = [{table["table"]: table["sha256"] for table in document["tables"]} for document in (now, then)]
    # The bar, and the indicators and scores that follow from it.
    parted = {name for name in digests[0] if digests[0][name] != digests[1][name]}
    assert {"raw_prices", "price_revisions"} <= parted
    assert "price_history" not in parted
    rows = {table["table"]: table["rows"] for table in before["tables"]}
    assert (rows["raw_prices"], rows["price_history"], rows["forecasts"], rows["indicators"]) == (0, 0, 0, 0)
    assert differences("status", then) == []

    status, _, err = run("evaluate", "MSFT", "--as-known-on", str(BEFORE))
    assert (status, f"No bar of MSFT was known at the end of {BEFORE}" in err) == (1, True)
    for words, sentence in {
        ("status", "--as-known-on", "2999-01-01"): "is still to come",
        ("evaluate", "--bars", "x.csv", "--as-known-on", str(THEN)): "leave one of them out",
    }.items():
        status, _, err = run(*words)
        assert (status, sentence in err) == (1, True), err


def next_bar(warehouse: DuckDBWarehouse) -> None:
    """Store the bar after the last one, ten per cent below it."""
    last = warehouse.read(RAW_PRICES, tickers=["AAPL"]).tail(1)
    fallen = {name: last[name] * 0.9 for name in ("open", "high", "low", "close", "adj_close")}
    rewrite(warehouse, RAW_PRICES, last.assign(date=NEXT, ingested_at=pd.Timestamp(utc_now()), **fallen))


def printed(run: Run, *words: str) -> str:
    status, out, err = run(*words, "--json")
    assert status == 0, err
    return out


def rewrite(warehouse: DuckDBWarehouse, table: Table, rows: pd.DataFrame) -> None:
    """Put rows in the place of those of their keys, as something that becomes known now."""
    key = list(table.primary_key)
    others = warehouse.read(table)
    others = others[~pd.MultiIndex.from_frame(others[key]).isin(pd.MultiIndex.from_frame(rows[key]))]
    data, contract = frames.to_arrow(pd.concat([others, rows]) if len(others) else rows, table.name, table)
    warehouse.replace(TableRef("stockcast", table.name), data, Slice.whole(), contract)


def publish_now(warehouse: DuckDBWarehouse, row: pd.DataFrame) -> None:
    """Store forecasts and their entry in the ledger, as a run does."""

    def adding() -> Addition | None:
        stored = warehouse.read(PUBLISHED_FORECASTS, tickers=["AAPL"])
        known = row[["ticker", "date"]].drop_duplicates().assign(model_digest=None, data_digest="0" * 64)
        heads = ledger.heads_of(stored)
        return Addition(PUBLISHED_FORECASTS, ledger.new_entries(row, stored, heads, known, utc_now(), "1.0"))

    data, contract = frames.to_arrow(row, FORECASTS.name, FORECASTS)
    part = keys_slice([f"{row['date'].iloc[0]:%Y-%m-%d}|AAPL"])
    made = KeyedFrame(row, adding=adding)
    ref = TableRef("stockcast", FORECASTS.name)
    assert replace_with_addition(warehouse, ref, data, part, contract, str(row["date"].iloc[0]), made) is not None


def train_again(warehouse: DuckDBWarehouse, registry: ModelRegistry) -> None:
    """A model of the same month that says otherwise takes the place of the row, as a run does it."""
    row = warehouse.read(TRAINED_MODEL, tickers=["AAPL"]).tail(1)
    (before,) = row.to_dict("records")
    trained = registry.load_model(before["model_name"], before["run_id"], before["weights_sha256"])
    other = replace(trained, decision=replace(trained.decision, reason="It was trained on corrected bars."))
    version = registry.publish("AAPL", before["date"].date(), other)
    assert version.model_version != before["model_version"]
    registry.describe(version.run_id, "# Another card\n")
    rewrite(
        warehouse,
        TRAINED_MODEL,
        row.assign(
            model_version=version.model_version,
            run_id=version.run_id,
            weights_sha256=version.sha256,
            reason=other.decision.reason,
        ),
    )


@pytest.mark.timeout(300)
def test_what_becomes_known_later_changes_no_byte_of_a_past_day_s_risk_and_card(
    run: Run, stored: DuckDBWarehouse, tmp_path: Path
) -> None:
    registry = registry_from(load_settings())
    (tmp_path / "holdings.csv").write_text("ticker,quantity\nAAPL,10\nIBM,5\nMSFT,-3\n")
    commands = {"risk": ("risk", str(tmp_path / "holdings.csv")), "card": ("card", "AAPL")}
    past = ("--as-known-on", str(THEN))
    then = {name: printed(run, *words, *past) for name, words in commands.items()}
    # Where nothing happened since, it is what the plain command prints.
    now = {name: printed(run, *words) for name, words in commands.items()}
    for name, answer in then.items():
        assert differences(name, json.loads(answer)) == []
        assert json.loads(answer) == json.loads(now[name]) | {"as_known_on": str(THEN)}

    made = stored.read(FORECASTS, tickers=["AAPL"])
    newest = made[made["date"] == made["date"].max()]
    wider = newest.assign(close_p05=newest["close_p05"] * 0.9, close_p95=newest["close_p95"] * 1.1)
    earlier = made["date"].min() - pd.Timedelta(days=1)
    accuracy = stored.read(FORECAST_ACCURACY, tickers=["AAPL"])
    scored = accuracy[accuracy["date"] == accuracy["date"].max()]
    day = newest["date"].iloc[0]
    of_other_sessions = pd.DataFrame(
        {
            "date": [day], "n_members": 1, "members": "AAPL", "n_sessions": 300, "digest": "0" * 64,
            "sessions": packed(np.arange("2008-01-01", "2008-10-27", dtype="datetime64[D]")),
        }
    )  # fmt: skip
    networks = stored.read(UNIVERSE_MODEL).tail(1)
    later: dict[str, Callable[[], object]] = {
        "a bar is corrected": lambda: correct(stored, "AAPL", CORRECTED, 1.07),
        "the as-of day's bar is corrected": lambda: correct(stored, "IBM", f"{day:%Y-%m-%d}", 0.95),
        "a forecast is made again": lambda: publish_now(stored, wider),
        "a forecast of a day before is made": lambda: publish_now(stored, newest.assign(date=earlier)),
        "a model is trained again": lambda: train_again(stored, registry),
        "the networks are trained again": lambda: rewrite(
            stored, UNIVERSE_MODEL, networks.assign(run_id="f" * 32, pinball_ratio_start=0.5)
        ),
        "scores are made again": lambda: rewrite(stored, FORECAST_ACCURACY, scored.assign(inside_80=False)),
        "scenarios are recorded": lambda: rewrite(stored, SCENARIOS, of_other_sessions),
        "the next session's bar comes": lambda: next_bar(stored),
        "its forecast is made": lambda: publish_now(
            stored, newest.assign(date=NEXT, target_date=newest["target_date"])
        ),
        "a ticker is paused": lambda: run("tickers", "pause", "IBM"),
        "a ticker is removed": lambda: run("tickers", "remove", "AAPL"),
    }
    for what, happens in later.items():
        happens()
        for name, words in commands.items():
            assert printed(run, *words, *past) == then[name], f"{name} after {what}"
    # By now each of the two says otherwise.
    for name, words in commands.items():
        assert printed(run, *words) != now[name]

    before = ("--as-known-on", str(BEFORE))
    for words, sentence in {
        (*commands["risk"], *before): f"No forecast of AAPL had been published by the end of {BEFORE}: ask for",
        (*commands["card"], *before): f"No model of AAPL had been registered in MLflow by the end of {BEFORE}: ",
        (*commands["risk"], "--as-known-on", "2999-01-01"): "is still to come",
    }.items():
        status, out, err = run(*words)
        said = " ".join(err.split())
        assert (status, out, sentence in said) == (1, "", True), err
        for remedy in re.findall(r"`stockcast ([^`]+)`", said):
            assert run(*remedy.split()).status == 0, remedy
    told = run(*commands["risk"], *past).out
    assert f"By the bars and forecasts as they were known at the end of {THEN}." in " ".join(told.split())


def test_the_pages_show_the_risk_and_the_card_of_the_day(run: Run, stored: DuckDBWarehouse) -> None:
    st.cache_data.clear()
    st.cache_resource.clear()
    past = {"known": str(THEN), "ticker": "AAPL"}

    def shown(view: str, **query: str) -> str:
        page = open_page(view, **query)
        without_the_age = re.sub(r"The tables were last written [^<]*", "", text(page))
        return without_the_age + "".join(frame.value.to_csv() for frame in page.dataframe)

    then = {view: shown(view, **past) for view in ("risk", "card")}
    assert "One session in a hundred loses more than" in then["risk"]
    assert json.loads(printed(run, "card", "AAPL"))["card"].strip() in then["card"]
    correct(stored, "AAPL", "2013-03-01", 1.07)
    train_again(stored, registry_from(load_settings()))
    assert {view: shown(view, **past) for view in then} == then
    now = {view: shown(view, ticker="AAPL") for view in then}
    assert "It was trained on corrected bars" in now["card"]
    lead = re.compile("One session in a hundred loses more than [^,]+")
    assert lead.findall(now["risk"]) != lead.findall(then["risk"])
    st.cache_data.clear()
    st.cache_resource.clear()


def test_a_model_without_a_card_has_that_of_its_row_while_that_is_there(run: Run, stored: DuckDBWarehouse) -> None:
    past = ("--as-known-on", str(THEN))
    then = printed(run, "card", "AAPL", *past)
    # An earlier release wrote no card.
    for card in Path(os.environ["STOCKCAST_HOME"]).rglob("card.md"):
        card.unlink()
    assert printed(run, "card", "AAPL", *past) == then
    train_again(stored, registry_from(load_settings()))
    status, out, err = run("card", "AAPL", *past)
    assert (status, out, "has no card in MLflow" in " ".join(err.split())) == (1, "", True), err
    remedy = re.search(r"`stockcast ([^`]+)`", " ".join(err.split()))
    assert remedy is not None, err
    assert run(*remedy[1].split()).status == 0
