"""Forecasts by a universe's model as they are served: what is stored, law 3, and tickers that come later.

All on the finished demo, whose four tickers share the networks of two months.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.npz import Reference
from stockcast_assets.forecasting.serving.predict import forecast, hindcast
from stockcast_assets.forecasting.universe.earnings import reports_of
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.inputs import Surroundings
from stockcast_assets.forecasting.universe.market import market_from
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.methods import LSTM, OF_NETWORK
from stockcast_assets.orchestration.assets.bars import read_bars
from stockcast_assets.orchestration.build import registry_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import EARNINGS_DATES, FORECASTS, MARKET_STATE, TRAINED_MODEL, UNIVERSE_MODEL
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.csvfiles import write_csv

TICKERS = ["AAPL", "GOOG", "IBM", "MSFT"]
DAYS = [pd.Timestamp(day) for day in ("2013-02-27", "2013-02-28")]
PRICES = ["open", "high", "low", "close", "adj_close"]


@dataclass(frozen=True)
class Stored:
    """What serves February in the demo's home, and what it looks at."""

    models: dict[str, UniverseForecaster]
    bars: dict[str, pd.DataFrame]
    market: pd.DataFrame
    said: pd.DataFrame

    def forecast(self, tickers: list[str], days: list[pd.Timestamp]) -> pd.DataFrame:
        around = Surroundings(market_from(self.market), reports_of(self.said))
        return forecast(self.models, self.bars, dict.fromkeys(tickers, days), around)


@pytest.fixture(scope="module")
def stored(demo: Cli) -> Stored:
    warehouse, registry = demo.warehouse, registry_from(Settings(home=demo.home))
    rows = warehouse.read(TRAINED_MODEL, end="2013-02-01").to_dict("records")
    models = {}
    for row in rows:
        model = registry.load(row["model_name"], row["run_id"], row["weights_sha256"])
        assert isinstance(model, UniverseForecaster)
        # What the gate chose is another test's matter: here all publish the network.
        models[row["ticker"]] = replace(model, method=LSTM)
    assert sorted(models) == TICKERS
    bars = with_total_return(read_bars(warehouse, TICKERS, "2013-03-01"))
    by_ticker = {str(ticker): part.reset_index(drop=True) for ticker, part in bars.groupby("ticker")}
    return Stored(models, by_ticker, warehouse.read(MARKET_STATE), warehouse.read(EARNINGS_DATES))


def test_a_months_networks_are_recorded_with_members_and_proof_and_every_model_names_its_own(demo: Cli) -> None:
    networks, models = demo.warehouse.read(UNIVERSE_MODEL), demo.warehouse.read(TRAINED_MODEL)
    assert list(networks["date"]) == [pd.Timestamp("2013-02-01"), pd.Timestamp("2013-03-01")]
    assert set(networks["members"]) == {" ".join(TICKERS)}
    assert (networks["trained_to"] < networks["date"]).all()
    # A month's proof begins in the same Januaries as that of the one before.
    assert [origins.split()[:-1] for origins in networks["origins"]] == [
        ["2010-01-01", "2011-01-01", "2012-01-01", "2013-01-01"]
    ] * 2
    assert (networks["n_judged"] == 4).all()
    assert (networks["n_cases"] > 3000).all()
    for row in networks.to_dict("records"):
        own = models[models["date"] == row["date"]]
        assert set(own["universe_run_id"]) == {row["run_id"]}
        assert set(own["universe_sha256"]) == {row["weights_sha256"]}
        assert own["without_universe"].isna().all()
        registry = registry_from(Settings(home=demo.home))
        month = registry.universe(Reference(row["run_id"], row["weights_sha256"]))
        assert month.newest.members == tuple(TICKERS)
        assert str(row["promoted"]) in ("True", "False")
        assert f"{row['pinball_ratio_start']:.4f}" in row["reason"]
    if not networks["promoted"].any():
        assert set(models["method"]) != {LSTM}


def test_a_served_forecast_has_the_same_bits_alone_in_a_range_and_beside_others(stored: Stored) -> None:
    together = stored.forecast(TICKERS, DAYS)
    for ticker in TICKERS:
        for day in DAYS:
            alone = stored.forecast([ticker], [day])
            same = together[(together["ticker"] == ticker) & (together["date"] == day)].reset_index(drop=True)
            pd.testing.assert_frame_equal(alone, same, check_exact=True)


def truncated(of: Stored, day: pd.Timestamp) -> Stored:
    cut = {ticker: rows[rows["date"] <= day].reset_index(drop=True) for ticker, rows in of.bars.items()}
    return replace(of, bars=cut, market=of.market[of.market["date"] <= day], said=of.said[of.said["known_on"] <= day])


def spoilt(of: Stored, day: pd.Timestamp) -> Stored:
    bars = {
        ticker: rows.assign(**{name: rows[name].where(rows["date"] <= day, rows[name] * 3) for name in PRICES})
        for ticker, rows in of.bars.items()
    }
    return replace(of, bars=bars)


def restated(of: Stored, day: pd.Timestamp) -> Stored:
    """The market of later days is another, and has other members."""
    later = of.market["date"] > day
    values = {name: of.market[name].where(~later, of.market[name] + 1) for name in ("log_variance", "mean_return")}
    ranks = {name: of.market[name].where(~later, of.market[name].iloc[0]) for name in ("variance_22", "change")}
    return replace(of, market=of.market.assign(**values, **ranks, members=of.market["members"].where(~later, "AAPL")))


def moved(of: Stored, day: pd.Timestamp) -> Stored:
    """Later statements: every report of the past is cancelled, and one is announced for the next session."""
    after = day + pd.Timedelta(days=1)
    cancelled = of.said.assign(cancelled=True, known_on=after)
    announced = of.said.groupby("ticker").tail(1).assign(date=after, kind="announced", known_on=after)
    return replace(of, said=pd.concat([of.said, cancelled, announced], ignore_index=True))


@pytest.mark.parametrize("change", [truncated, spoilt, restated, moved])
def test_nothing_that_came_later_changes_a_bit_of_a_served_forecast(
    stored: Stored, change: Callable[[Stored, pd.Timestamp], Stored]
) -> None:
    day = DAYS[0]
    before = stored.forecast(TICKERS, [day])
    pd.testing.assert_frame_equal(change(stored, day).forecast(TICKERS, [day]), before, check_exact=True)
    # Of what was known on the day it is a function.
    earlier = change(stored, day - pd.Timedelta(days=40))
    if change is not truncated:
        assert not earlier.forecast(TICKERS, [day]).equals(before)


def test_a_hindcast_is_a_function_of_what_was_known_on_each_day(stored: Stored) -> None:
    model, bars, day = stored.models["IBM"], stored.bars["IBM"], DAYS[0]
    around = Surroundings(market_from(stored.market), reports_of(stored.said))
    known = truncated(stored, day)
    before = Surroundings(market_from(known.market), reports_of(known.said))
    dates, all_said = hindcast(model, bars, around)
    some, said = hindcast(model, known.bars["IBM"], before)
    assert list(dates[: len(some)]) == list(some)
    assert np.array_equal(all_said[: len(some)], said)


def test_the_chain_names_networks_market_and_reports(demo: Cli) -> None:
    result = demo("explain", "IBM", "2013-02-28", "--replay", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    document = json.loads(result.stdout)
    assert document["replay"]["identical"] is True
    model = demo.warehouse.read(TRAINED_MODEL, tickers=["IBM"], end="2013-02-01").iloc[0]
    networks = document["around"]["universe_model"]
    assert (networks["mlflow_run_id"], networks["sha256"]) == (model["universe_run_id"], model["universe_sha256"])
    assert networks["verified"] is True
    assert (networks["month_of_use"], networks["members"]) == ("2013-02-01", TICKERS)
    assert document["around"]["market_state"]["day"] == "2013-02-28"
    assert document["around"]["market_state"]["members"] == TICKERS
    said = document["around"]["earnings_dates"]
    assert said["known"] > 10
    assert all(each["known_on"] <= "2013-02-28" for each in said["statements"])
    assert said["statements"]


@pytest.fixture
def copied(demo_as_made: Path, make_cli: Callable[..., Cli]) -> Iterator[Cli]:
    cli = make_cli()
    shutil.copytree(demo_as_made, cli.home)
    yield cli
    shutil.rmtree(cli.home)


def disguised(bars: pd.DataFrame) -> pd.DataFrame:
    """Another company's past: as IBM's, moved by a few sessions' noise."""
    generator = np.random.default_rng(5)
    factor = np.exp(np.cumsum(generator.normal(0, 0.004, len(bars))))
    return bars.assign(ticker="NEWT", **{name: bars[name] * factor for name in PRICES}, dividend=0.0, split_ratio=1.0)


@pytest.mark.timeout(600)
def test_a_ticker_that_comes_later_is_forecast_by_the_months_networks_and_changes_none(copied: Cli) -> None:
    """By CSV, into a home whose month was trained without it."""
    # A home of files, as if the four had come by CSV, too.
    (copied.home / "home.json").unlink()
    with duckdb.connect(str(copied.home / "warehouse.duckdb")) as database:
        for table in ("price_history", "raw_prices"):
            database.execute(f"update stockcast.{table} set source = 'csv'")  # noqa: S608
    before = {table.name: copied.warehouse.read(table) for table in (UNIVERSE_MODEL, MARKET_STATE, TRAINED_MODEL)}
    bars = disguised(read_bars(copied.warehouse, ["IBM"], "2013-03-01"))
    write_csv(Path(copied.home) / "inbox", "NEWT", bars)
    result = copied(
        "forecast", "NEWT", "2013-03-01", "--json", STOCKCAST_SOURCE="csv", STOCKCAST_START_DATE="2013-01-01",
        STOCKCAST_END_DATE="2013-03-01",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "universe_model" not in result.stderr
    (row,) = copied.warehouse.read(TRAINED_MODEL, tickers=["NEWT"]).to_dict("records")
    march = before[UNIVERSE_MODEL.name].iloc[-1]
    assert (row["universe_run_id"], row["universe_sha256"]) == (march["run_id"], march["weights_sha256"])
    assert row["n_cases"] > 700
    assert len(copied.warehouse.read(FORECASTS, tickers=["NEWT"])) == 10
    for table in (UNIVERSE_MODEL, MARKET_STATE):
        pd.testing.assert_frame_equal(copied.warehouse.read(table), before[table.name])
    models = copied.warehouse.read(TRAINED_MODEL)
    kept = models[models["ticker"] != "NEWT"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before[TRAINED_MODEL.name])


def networks_of(home: Path, run_id: str) -> Path:
    (file,) = (home / "artifacts").rglob(f"{run_id}/artifacts/model/model.npz")
    return file


@pytest.mark.timeout(600)
def test_networks_that_are_lost_stop_no_forecast_and_each_says_who_serves(copied: Cli) -> None:
    """The file of a month's networks is gone, then that of all months and the row of a run that was killed."""
    day, ours = "2013-03-01", {"tickers": ["AAPL"], "start": "2013-03-01"}
    february, march = copied.warehouse.read(UNIVERSE_MODEL)["run_id"]
    before = copied.warehouse.read(FORECASTS, **ours)

    def served() -> pd.DataFrame:
        again = copied("backfill", "--tickers", "AAPL", "--from", day, "--to", day, "--assets", FORECASTS.name)
        assert again.returncode == 0, again.stderr
        return copied.warehouse.read(FORECASTS, **ours)

    files = {run_id: networks_of(copied.home, run_id) for run_id in (february, march)}
    kept = {path: path.read_bytes() for path in files.values()}
    files[march].unlink()
    by_february = served()
    (words,) = by_february["fallback"].unique()
    assert "could not load stockcast-universe" in words
    assert "materialise universe_model for that month again" in words
    models = copied.warehouse.read(TRAINED_MODEL, tickers=["AAPL"], end="2013-02-01")
    assert set(models["method"]) <= set(OF_NETWORK)
    assert set(by_february["method"]) == set(models["method"])
    assert set(by_february["model_version"]) == set(models["model_version"])

    files[february].unlink()
    rows = "from stockcast.trained_model where ticker = 'AAPL' and date = '2013-03-01'"
    with duckdb.connect(str(copied.home / "warehouse.duckdb")) as database:
        row = database.execute(f"select * {rows}").fetchall()
        database.execute(f"delete {rows}")
    on_the_spot = served()
    (words,) = on_the_spot["fallback"].unique()
    assert "trained_model has no row for the month" in words
    assert set(on_the_spot["method"]) == {"naive_har"}
    assert (on_the_spot["close_p10"] < on_the_spot["close_p90"]).all()

    for path, content in kept.items():
        path.write_bytes(content)
    with duckdb.connect(str(copied.home / "warehouse.duckdb")) as database:
        marks = ", ".join("?" * len(row[0]))
        database.executemany(f"insert into stockcast.trained_model values ({marks})", row)  # noqa: S608
    pd.testing.assert_frame_equal(served(), before, check_exact=True)
