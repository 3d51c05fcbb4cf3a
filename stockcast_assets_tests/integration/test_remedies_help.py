"""Every remedy that a sentence names is executed, as printed, where the sentence is printed: it is gone then.

The situations are those of two tickers that came by CSV, with a past that is too short for a network, so that all of
the graph takes seconds. A remedy "materialise X" is executed as `stockcast backfill --assets X` of the keys it names.
"""

import hashlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from unittest import mock

import dagster as dg
import duckdb
import pandas as pd
import pytest
import streamlit as st

from stockcast_assets import api, tables
from stockcast_assets.cli import reconcile
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.npz import to_npz
from stockcast_assets.forecasting.serving import predict
from stockcast_assets.forecasting.serving.predict import UniverseForecaster
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets.monitoring.accuracy import score
from stockcast_assets.monitoring.drift import drift_report
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.monitoring.series import inputs
from stockcast_assets.orchestration import ticker_space
from stockcast_assets.orchestration.asset_checks.freshness import COMPLETE, FRESH
from stockcast_assets.orchestration.assets.bars import complete_bars, read_bars, surroundings
from stockcast_assets.orchestration.assets.tuning import _bars_before_the_month
from stockcast_assets.orchestration.build import build_definitions, registry_from, sources_from, warehouse_from
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning import reconcile as planning
from stockcast_assets.orchestration.planning.restore import plan_lost
from stockcast_assets.orchestration.stored import look
from stockcast_assets.orchestration.tickers import set_daily_from, ticker_states
from stockcast_assets.settings import Settings, load_settings
from stockcast_assets.warehouse import DuckDBWarehouseIOManager, Warehouse
from stockcast_assets_tests.automation.test_due import failed, moments, world
from stockcast_assets_tests.automation.test_stored import world_of
from stockcast_assets_tests.conftest import Cli, Run
from stockcast_assets_tests.dashboard.test_pages import open_page, text
from stockcast_assets_tests.test_remedies import told

FIRST, LAST = "2013-02-26", "2013-03-01"
TICKERS = ("AAPL", "MSFT")
Ask = Callable[[], str]

SAID: dict[str, str] = {}
"""By words of a sentence, the test in whose situation it is printed and mended."""


def mends(*sentences: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test of these sentences."""

    def noted(test: Callable[..., None]) -> Callable[..., None]:
        SAID.update(dict.fromkeys(sentences, test.__name__))
        return test

    return noted


def long_ago(home: Path) -> None:
    """As damage is: a file of this moment might be one that is being made."""
    for path in home.rglob("*"):
        os.utime(path, (1e9, 1e9))


def flat(printed: str) -> str:
    return " ".join(printed.split())


def said(work: Callable[[], object]) -> str:
    """The sentence of an error, or what is returned; "" of what is None."""
    try:
        return flat(str(work() or ""))
    except StockcastError as error:
        return flat(str(error))


@dataclass
class Place:
    """A home, the commands on it, and what the two together do about a sentence."""

    home: Path
    run: Run
    patch: pytest.MonkeyPatch
    demo: Callable[[], Path]
    ended: set[str] = field(default_factory=set)

    @property
    def settings(self) -> Settings:
        return load_settings()

    @property
    def warehouse(self) -> Warehouse:
        return warehouse_from(self.settings)

    def prints(self, line: str) -> Ask:
        """What a command says."""
        return lambda: flat("".join(self.run(*shlex.split(line))[1:]))

    def sql(self, *statements: str) -> None:
        with duckdb.connect(str(self.home / "warehouse.duckdb")) as database:
            for statement in statements:
                database.execute(statement)

    def page(self, view: str, **query: str) -> Ask:
        """What a page of the dashboard says, without its HTML."""

        def shown() -> str:
            st.cache_data.clear()
            st.cache_resource.clear()
            app = open_page(view, **query)
            words = text(app) + " ".join(box.value for box in app.info)
            return flat(re.sub(r"<[^>]+>", " ", words).replace("&#x27;", "'"))

        return shown

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with mock.patch.dict(os.environ), open_instance(self.settings) as instance:
            yield instance

    def alone(self, instance: dg.DagsterInstance, selection: dg.AssetSelection) -> dg.ExecuteInProcessResult:
        """A run of what somebody selected in Dagster's UI."""
        job = dg.define_asset_job("alone", selection=selection)
        merged = dg.Definitions.merge(build_definitions(self.settings), dg.Definitions(jobs=[job]))
        return merged.resolve_job_def("alone").execute_in_process(instance=instance)

    def bars(self, ticker: str = "MSFT", start: str = FIRST) -> str:
        """What whatever computes on the bars of a ticker says of them."""
        with self.instance() as instance:
            sources = sources_from(self.settings)
            until, first = date.fromisoformat(LAST), date.fromisoformat(start)
            return said(lambda: len(complete_bars(self.warehouse, instance, [ticker], until, first, sources)) and None)

    def execute(self, line: str) -> None:
        """A command as it was printed, settings before it included."""
        words = shlex.split(line)
        with pytest.MonkeyPatch.context() as patch:
            while "=" in words[0]:
                name, _, value = words.pop(0).partition("=")
                patch.setenv(name, value)
            if words[0] == "stockcast":
                if words[1:] == ["demo"]:
                    # What it makes of an empty home, the session's other tests have made before.
                    shutil.copytree(self.demo(), load_settings().home, dirs_exist_ok=True)
                    return
                ended = self.run(*words[1:])
                assert ended.status == 0, ended.err
            else:
                subprocess.run(words, check=True)

    def ends(self, asks: Mapping[str, Ask], *remedies: str) -> None:
        """Each ask says its words and every remedy; after the remedies none does any more."""
        for words, ask in asks.items():
            printed = ask()
            assert words in printed, printed
            for remedy in remedies:
                assert remedy in printed, printed
        for remedy in remedies:
            self.execute(remedy)
        self.gone(asks)

    def gone(self, asks: Mapping[str, Ask]) -> None:
        for words, ask in asks.items():
            printed = ask()
            assert words not in printed, printed
        self.ended.update(asks)

    def materialised(self, asks: Mapping[str, Ask], asset: str, ticker: str = "MSFT", day: str = LAST) -> None:
        """Each ask says to materialise the asset; of the ticker and day, that ends it."""
        for words, ask in asks.items():
            printed = ask()
            assert words in printed, printed
            assert "aterialise" in printed, printed
        self.execute(f"stockcast backfill --tickers {ticker} --assets {asset} --from {day} --to {day}")
        self.gone(asks)


def upload(home: Path, tickers: Sequence[str] = TICKERS) -> None:
    inbox = home / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    for ticker in tickers:
        bars = SampleSource().bars(ticker, date(2012, 6, 1), date(2013, 3, 1))
        columns = ["date", "open", "high", "low", "close", "adj_close", "volume"]
        bars[columns].rename(columns=lambda name: name.replace("_", " ").title()).to_csv(
            inbox / f"{ticker}.csv", index=False
        )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a home is once `stockcast backfill` has filled it; tests copy it."""
    return tmp_path_factory.mktemp("remedies") / "home"


@pytest.fixture
def fresh(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A home in which nothing was done yet, with the files of two tickers in its inbox."""
    home = tmp_path / "home"
    settings = {"HOME": str(home), "SOURCE": "csv", "START_DATE": FIRST, "END_DATE": LAST}
    for name, value in settings.items():
        monkeypatch.setenv(f"STOCKCAST_{name}", value)
    upload(home)
    place = Place(home, run, monkeypatch, lambda: request.getfixturevalue("demo_as_made"))
    yield place
    st.cache_data.clear()
    st.cache_resource.clear()
    assert place.ended == {words for words, test in SAID.items() if test == request.node.originalname}


@pytest.fixture
def place(fresh: Place, filled: Path) -> Place:
    """A home with all of the graph, which agrees with itself."""
    if filled.exists():
        shutil.rmtree(fresh.home)
        shutil.copytree(filled, fresh.home)
    else:
        (line,) = re.findall(r"No ticker is given: write them as `([^`]+)`", fresh.prints("backfill")())
        assert line == f"stockcast backfill {' '.join(TICKERS)}"
        fresh.execute(line)
        shutil.copytree(fresh.home, filled)
    return fresh


@mends("has lost rows that Dagster remembers", "planner.py: `stockcast reconcile`")
def test_rows_are_lost(place: Place) -> None:
    def planned() -> str:
        with place.instance() as instance:
            lost = look(instance, place.warehouse).lost
        seen = replace(world_of(lost), now=pd.Timestamp("2013-03-04 01:00", tz="UTC"))
        for need in plan_lost(seen).runs:
            seen = replace(seen, attempts=(*seen.attempts, *[failed(need, f"2013-03-03 0{n}:00") for n in range(3)]))
        return " ".join(plan_lost(seen).given_up.values())

    place.sql("DELETE FROM stockcast.forecasts WHERE ticker = 'AAPL' AND date >= '2013-02-28'")
    asks = {"has lost rows that Dagster remembers": place.prints("status"), "is given up: read the run's log": planned}
    place.ends(asks, "stockcast reconcile")
    place.ended -= {"is given up: read the run's log"}
    place.ended.add("planner.py: `stockcast reconcile`")


@mends("There is no stored forecast of")
def test_a_forecast_is_lost(place: Place) -> None:
    place.sql("DELETE FROM stockcast.forecasts WHERE ticker = 'AAPL' AND date = '2013-02-28'")
    explain = place.prints("explain AAPL 2013-02-28")
    place.ends({"There is no stored forecast of": explain}, "stockcast forecast AAPL 2013-02-28")


@mends("A forecast is of tickers and then of one day")
def test_the_day_stands_first(place: Place) -> None:
    wrong, right = f"forecast {LAST} MSFT", f"forecast MSFT {LAST}"
    assert f"write them as `stockcast {right}`" in place.prints(wrong)()
    place.gone({"A forecast is of tickers and then of one day": place.prints(right)})
    assert place.run(*right.split()).status == 0


@mends("Dagster does not know of rows in")
def test_dagster_forgot(place: Place) -> None:
    with place.instance() as instance:
        instance.wipe_assets([dg.AssetKey("forecast_accuracy")])
    place.ends({"Dagster does not know of rows in": place.prints("status")}, "stockcast reconcile")


@mends("and Dagster knows no ticker")
def test_dagsters_folder_is_gone(place: Place) -> None:
    shutil.rmtree(place.home / "dagster")
    place.ends({"and Dagster knows no ticker": place.prints("status")}, "stockcast tickers add AAPL MSFT")


@mends("and which keys were materialised", "names the tickers to add again")
def test_dagsters_list_of_keys_is_damaged(place: Place) -> None:
    (place.home / "dagster" / "history" / "runs" / "index.db").write_bytes(b"\xff" * 10_000)
    long_ago(place.home)
    status = place.prints("status")
    (move,) = re.findall(r"`(mv [^`]+)`", status())
    asks = dict.fromkeys(("and which keys were materialised", "names the tickers to add again"), status)
    place.ends(asks, move)
    (named,) = re.findall(r"`(stockcast tickers add [^`]+)`", status())
    place.execute(named)
    place.execute("stockcast reconcile")
    assert "agree" in place.prints("reconcile --dry-run")()


@mends("until `stockcast reconcile` has trained", "cannot be read: `stockcast reconcile` trains it again")
def test_mlflows_file_is_damaged(place: Place) -> None:
    (place.home / "mlflow.db").write_bytes(b"\xff" * 10_000)
    long_ago(place.home)
    found = place.prints("reconcile --dry-run")
    (move,) = re.findall(r"`(mv [^`]+)`", found())
    place.ends({"until `stockcast reconcile` has trained": found}, move)
    place.ends({"cannot be read: `stockcast reconcile` trains it again": found}, "stockcast reconcile")


@mends("are lost as fast as they are made")
def test_rows_go_while_they_are_made(place: Place) -> None:
    def lose() -> None:
        place.sql("DELETE FROM stockcast.forecast_accuracy WHERE ticker = 'AAPL' AND date = '2013-03-01'")

    survey, reconciled = planning.survey, place.prints("reconcile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "_MOST_ROUNDS", 1)
        patch.setattr(planning, "survey", lambda *of: (lose(), survey(*of))[1])
        printed = reconciled()
    assert "are lost as fast as they are made" in printed, printed
    assert "run `stockcast reconcile` again" in printed
    place.gone({"are lost as fast as they are made": reconciled})
    printed = place.prints("reconcile --dry-run")()
    assert "agree" in printed, printed


@mends("has no bar for", "there is no bar for that day; materialise raw_prices", "cannot be scored: there is")
def test_a_bar_is_missing(place: Place) -> None:
    place.sql("DELETE FROM stockcast.raw_prices WHERE ticker = 'MSFT' AND date = '2013-03-01'")

    def scored() -> str:
        bars = read_bars(place.warehouse, ["MSFT"], date(2013, 3, 1))
        forecasts = place.warehouse.read(tables.FORECASTS, tickers=["MSFT"])
        return said(lambda: score(forecasts, bars, [date(2013, 3, 1)]) is None)

    def compared() -> str:
        bars = read_bars(place.warehouse, ["MSFT"], date(2013, 3, 1))
        series = bars[["date"]].assign(log_return=bars["close"].diff())
        window = bars["date"].iloc[0].date(), bars["date"].iloc[-2].date()
        return said(lambda: drift_report("MSFT", date(2013, 3, 1), series, *window) is None)

    asks = {
        "there is no bar for that day; materialise raw_prices": compared,
        "cannot be scored: there is": scored,
    }
    for words, ask in asks.items():
        assert words in ask()
        assert "materialise raw_prices for it first" in ask()
    place.ends({"has no bar for": place.bars}, "stockcast backfill --tickers MSFT --from 2013-03-01 --to 2013-03-01")
    place.gone(asks)


@mends("has lost rows that it had, so its indicators")
def test_some_of_the_past_is_lost(place: Place) -> None:
    place.sql("DELETE FROM stockcast.price_history WHERE ticker = 'MSFT' AND date < '2012-12-01'")
    words = "has lost rows that it had, so its indicators"
    place.ends({words: place.bars}, "stockcast backfill --tickers MSFT --assets price_history")


@mends("but its daily keys start on")
def test_the_daily_keys_begin_later_than_the_past_ends(place: Place) -> None:
    place.sql(f"DELETE FROM stockcast.raw_prices WHERE ticker = 'MSFT' AND date < '{LAST}'")  # noqa: S608
    place.patch.setenv("STOCKCAST_START_DATE", LAST)
    place.patch.setattr("stockcast_assets.orchestration.assets.bars.LONGEST_CLOSURE", pd.Timedelta(days=3))
    asks = {"but its daily keys start on": lambda: place.bars(start=LAST)}
    place.ends(asks, "stockcast backfill --tickers MSFT --assets price_history")


@mends("There is no ticker yet: add one with", "doctor.py: `stockcast tickers add MSFT`", "brings it up at once")
def test_there_is_no_ticker(fresh: Place) -> None:
    lines = ("tickers list", "tune --all", "doctor --json")
    asks = [fresh.prints(line) for line in lines]
    for ask in asks:
        assert "`stockcast tickers add MSFT`" in ask()
    assert "`stockcast forecast MSFT` brings it up at once" in fresh.prints("tickers add MSFT")()
    assert "`stockcast tickers add MSFT`" not in asks[-1]()
    fresh.gone({"There is no ticker yet: add one with": asks[0]})
    fresh.execute("stockcast forecast MSFT")
    fresh.ended |= {"doctor.py: `stockcast tickers add MSFT`", "brings it up at once"}


@mends(
    "is not materialised, so its indicators",
    " is stored: `stockcast forecast",
    "There are no bars of",
    "layout.py: stockcast forecast",
    "monitoring.py: stockcast forecast",
)
def test_a_ticker_that_has_nothing(place: Place) -> None:
    place.patch.setenv("STOCKCAST_SECOND_SOURCE", "sample")
    upload(place.home, ("GOOG",))
    place.execute("stockcast tickers add GOOG")
    past = {"is not materialised, so its indicators": lambda: place.bars("GOOG")}

    def tuned() -> str:
        with place.instance() as instance:
            of = ("GOOG", place.warehouse, instance, date.fromisoformat(FIRST), sources_from(place.settings))
            return said(lambda: _bars_before_the_month(*of) is None)

    pages = {
        "No prices of GOOG": place.page("forecasts", ticker="GOOG"),
        "No drift report of GOOG": place.page("monitoring", ticker="GOOG"),
    }
    asks = {" is stored: `stockcast forecast": place.prints("compare GOOG"), "There are no bars of": tuned}
    for words, ask in pages.items():
        assert words in ask()
        assert "stockcast forecast GOOG" in ask()
    assert "(`stockcast backfill --tickers GOOG` does)" in past["is not materialised, so its indicators"]()
    place.ends(asks, "stockcast forecast GOOG")
    for words, ask in pages.items():
        assert words not in ask()
    place.gone(past)
    place.ended |= {f"{view}.py: stockcast forecast" for view in ("layout", "monitoring")}


@mends(
    "There is no model of",
    "There is no forecast of",
    "to forecast with: materialise it first",
    "trust.py: stockcast forecast",
)
def test_bars_without_a_model(fresh: Place) -> None:
    def asked() -> str:
        rows = fresh.warehouse.read(tables.TRAINED_MODEL, tickers=["MSFT"]).to_dict("records")
        bars = {"MSFT": read_bars(fresh.warehouse, ["MSFT"], date.fromisoformat(LAST))}
        registry = registry_from(fresh.settings)
        models = {r["ticker"]: registry.load(r["model_name"], r["run_id"], r["weights_sha256"]) for r in rows}
        return said(lambda: predict._require_model("MSFT", models, bars))

    fresh.execute("stockcast backfill --tickers MSFT --assets price_history,raw_prices,indicators")
    forecasts = f"backfill --tickers MSFT --assets forecasts --from {FIRST} --to {FIRST}"
    page = {"There is no forecast of": fresh.page("forecasts", ticker="MSFT")}
    trust = fresh.page("trust", ticker="MSFT")
    assert "No model of MSFT" in trust()
    assert "stockcast forecast MSFT" in trust()
    assert "run `stockcast forecast MSFT`" in page["There is no forecast of"]()
    model = {"to forecast with: materialise it first": asked}
    assert "There is no model of MSFT to forecast with: materialise it first" in asked()
    fresh.ends({"There is no model of": fresh.prints(forecasts)}, f"stockcast forecast MSFT {FIRST}")
    fresh.gone(model)
    fresh.gone(page)
    assert "No model of MSFT" not in trust()
    fresh.ended.add("trust.py: stockcast forecast")


@mends(
    "has the digest",
    "is not one of stockcast's",
    "this stockcast reads up to",
    "check STOCKCAST_MLFLOW_URI, or materialise",
)
def test_a_models_file_is_not_as_its_row_says(place: Place) -> None:
    def loaded() -> str:
        rows = place.warehouse.read(tables.TRAINED_MODEL, tickers=["MSFT"]).to_dict("records")
        row = max(rows, key=lambda row: row["date"])
        registry = registry_from(place.settings)
        return said(lambda: registry.load(row["model_name"], row["run_id"], row["weights_sha256"]) is None)

    def files() -> list[Path]:
        return list((place.home / "artifacts").rglob("model.npz"))

    for file in files():
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    place.materialised({"has the digest": loaded}, "trained_model")
    for file in files():
        file.unlink()
    place.materialised({"check STOCKCAST_MLFLOW_URI, or materialise": loaded}, "trained_model")
    of_a_later_release = to_npz({}, {"format": 99})
    for words, content in (
        ("is not one of stockcast's", b"nothing of ours"),
        ("this stockcast reads up to", of_a_later_release),
    ):
        for file in files():
            file.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        place.sql(f"UPDATE stockcast.trained_model SET weights_sha256 = '{digest}'")  # noqa: S608
        place.materialised({words: loaded}, "trained_model")


@mends("run `stockcast ledger head --write`")
def test_a_head_of_the_ledger_cannot_be_kept(place: Place) -> None:
    folder = place.home.parent / "heads"
    folder.write_text("no folder")
    place.patch.setenv("STOCKCAST_LEDGER_HEADS", str(folder))
    printed = place.prints("ledger head --write")()
    assert "make the folder writable, then run `stockcast ledger head --write`" in printed, printed
    folder.unlink()
    place.execute("stockcast ledger head --write")
    place.gone({"run `stockcast ledger head --write`": place.prints("ledger verify")})
    assert list(folder.glob("*.json"))


@mends("what is stored of it cannot be read")
def test_what_is_stored_of_a_ticker_cannot_be_read(place: Place) -> None:
    with place.instance() as instance:
        record = ticker_space.Record(ticker_space.STATE, "AAPL", ["nonsense"])
        instance.add_dynamic_partitions(ticker_space.KEY_SPACE, [record.dump()])
    words = "what is stored of it cannot be read"
    place.ends({words: place.prints("tickers list --json")}, "stockcast tickers resume AAPL")


@mends("There is no home at", "layout.py: stockcast demo", "There is no model in", "needs no network")
def test_there_is_no_home(fresh: Place, demo: Cli) -> None:
    shutil.rmtree(fresh.home)
    fresh.patch.setattr(os, "execve", lambda *_: None)
    for name in ("SOURCE", "START_DATE", "END_DATE"):
        fresh.patch.delenv(f"STOCKCAST_{name}")
    asks = {
        "There is no home at": lambda: said(lambda: api.open_home() is None),
        "There is no model in": fresh.prints("mlflow --port 5999"),
    }
    empty = fresh.page("universe")
    assert "Nothing here yet" in empty()
    assert "stockcast demo stockcast forecast MSFT" in empty()
    # What a machine without a network says of the default source.
    fresh.patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    source = YahooSource(attempts=1, pause_s=0)
    offline = said(lambda: source.bars("MSFT", date(2024, 1, 2), date(2024, 1, 5)) is None)
    assert "needs no network" in offline
    (line,) = re.findall(r"`([^`]+)`", offline)
    fresh.execute(line)
    fresh.patch.setenv("STOCKCAST_HOME", "demo")
    fresh.gone({"needs no network": fresh.prints("status")})
    fresh.patch.setenv("STOCKCAST_HOME", str(fresh.home))
    fresh.ends(asks, "stockcast demo")
    fresh.gone({"layout.py: stockcast demo": empty})
    assert "Nothing here yet" not in empty()


@mends("There is no drift report of", "It was pruned (STOCKCAST_REPORTS_KEEP_DAYS)", "an earlier release made this one")
def test_a_drift_report_is_gone(place: Place) -> None:
    store, day = ReportStore(place.home / "reports"), date.fromisoformat(LAST)
    file = place.home / "reports" / "MSFT" / f"{LAST}.json"
    file.unlink()
    asks = {
        "There is no drift report of": lambda: said(lambda: store.require_record("MSFT", day) is None),
        "It was pruned (STOCKCAST_REPORTS_KEEP_DAYS)": place.page("monitoring", ticker="MSFT", date=LAST),
    }
    place.materialised(asks, "drift_report")
    # As a release wrote them that knew the inputs only.
    record = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in record.items() if name != "too_few"}))
    place.sql("DELETE FROM stockcast.drift_report WHERE kind = 'predictions'")
    earlier = {"an earlier release made this one": place.page("monitoring", ticker="MSFT", date=LAST)}
    place.materialised(earlier, "drift_report")


@mends("; materialise drift_report again.")
def test_a_drift_report_compared_other_sessions(place: Place) -> None:
    store, day = ReportStore(place.home / "reports"), date.fromisoformat(LAST)
    file = place.home / "reports" / "MSFT" / f"{LAST}.json"
    record = json.loads(file.read_text())
    record["reference"]["sessions"] += 1
    file.write_text(json.dumps(record))

    def page() -> str:
        series = inputs(read_bars(place.warehouse, ["MSFT"], day))
        return said(lambda: store.page("MSFT", day, series) is None)

    place.materialised({"; materialise drift_report again.": page}, "drift_report")


@mends("A forecast is scored on the day its target session closes")
def test_no_forecast_is_scored(place: Place) -> None:
    place.sql("DELETE FROM stockcast.forecast_accuracy WHERE ticker = 'MSFT'")
    words = "A forecast is scored on the day its target session closes"
    place.materialised({words: place.page("trust", ticker="MSFT", scope="This ticker")}, "forecast_accuracy")


@mends("so input")
def test_an_input_does_not_exist(fresh: Place) -> None:
    manager = DuckDBWarehouseIOManager(database=str(fresh.home / "other.duckdb"), schema="stockcast")

    @dg.asset
    def first() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    @dg.asset
    def second(first: pd.DataFrame) -> pd.DataFrame:
        return first

    def alone(which: str) -> str:
        resources = {"io_manager": manager}
        result = dg.materialize([first, second], selection=[which], resources=resources, raise_on_error=False)
        return " ".join(str(event.event_specific_data) for event in result.all_events if event.is_step_failure)

    assert "materialise its asset first" in flat(alone("second"))
    assert not alone("first")
    fresh.gone({"so input": lambda: alone("second")})


@mends("To put it back:")
def test_a_backup_is_put_back(place: Place) -> None:
    printed = place.prints(f"backup {place.home.parent / 'copy.tar.gz'}")()
    line = re.search(r"To put it back: (STOCKCAST_HOME=EMPTY_FOLDER stockcast restore \S+)", printed)
    assert line is not None, printed
    before = place.prints("status --json")()
    empty = place.home.parent / "empty"
    place.execute(line[1].replace("EMPTY_FOLDER", str(empty)))
    place.patch.setenv("STOCKCAST_HOME", str(empty))
    place.gone({"To put it back:": place.prints("status --json")})
    assert place.prints("status --json")().replace(str(empty), str(place.home)) == before


@mends("how to migrate", "removes old drift reports")
def test_the_doctor_is_followed(place: Place) -> None:
    place.sql("ALTER TABLE stockcast.forecasts ALTER COLUMN fallback SET DATA TYPE BIGINT USING NULL")
    usage = shutil.disk_usage(place.home)
    place.patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**6))
    doctor = place.prints("doctor --json")
    printed = doctor()
    assert "`stockcast warehouse check` says how to migrate" in printed
    assert "`stockcast reports prune` removes old drift reports" in printed
    place.execute("stockcast reports prune")
    place.patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**12))
    (statement,) = re.findall(r"ALTER TABLE [^;]+", place.prints("warehouse check")())
    place.sql(statement)
    place.gone(dict.fromkeys(("how to migrate", "removes old drift reports"), doctor))


@mends("is before the first daily key")
def test_a_day_before_the_first_daily_key(place: Place) -> None:
    forecast = place.prints("forecast MSFT 2013-02-22")
    printed = forecast()
    words = re.search(r"is before the first daily key: set STOCKCAST_START_DATE \(now \S+\) to (\S+) or", printed)
    assert words is not None, printed
    place.patch.setenv("STOCKCAST_START_DATE", words[1])
    place.gone({"is before the first daily key": forecast})
    assert "as of 2013-02-22" in forecast()
    before = place.prints("backfill --tickers MSFT --from 2013-01-02 --to 2013-01-02 --dry-run")
    assert f"set STOCKCAST_START_DATE (now {words[1]}) to an earlier day" in before()
    place.patch.setenv("STOCKCAST_START_DATE", "2013-01-02")
    place.gone({"is before the first daily key": before})


@mends(
    "a new beginning needs another STOCKCAST_HOME", "no view was made", "brings the rows there", "BigQuery: `stockcast"
)
def test_the_settings_name_the_other_warehouse(place: Place, bigquery_emulator: str) -> None:
    def hashes() -> dict[str, tuple[int, str]]:
        return {table.name: place.warehouse.content_hash(table) for table in tables.ALL_TABLES}

    before = hashes()
    place.patch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_emulator)
    place.patch.setenv("STOCKCAST_GCP_PROJECT", "test-project")
    place.patch.setenv("STOCKCAST_BQ_DATASET", "remedies")
    views = place.prints("warehouse views")
    assert "set STOCKCAST_WAREHOUSE=bigquery (`stockcast warehouse copy --from duckdb --to bigquery`" in views()
    place.patch.setenv("STOCKCAST_WAREHOUSE", "bigquery")
    assert "no view was made: materialise" in views()
    told = "a new beginning needs another STOCKCAST_HOME"
    missing = place.prints(f"backfill --tickers MSFT --missing-only --from {FIRST} --to {LAST}")
    commands = [
        place.prints(line)
        for line in (
            "status",
            "reconcile",
            "reconcile --dry-run",
            "forecast MSFT",
            "explain MSFT 2013-03-01",
            "tune MSFT",
        )
    ]

    def tick() -> str:
        with place.instance() as instance:
            definitions = build_definitions(place.settings)
            with dg.build_sensor_context(instance, definitions=definitions, resources=definitions.resources) as context:
                data = definitions.resolve_sensor_def("daily_catch_up").evaluate_tick(context)
        assert not data.run_requests
        return str(data.skip_message)

    asks = [*commands, tick, missing, place.page("universe")]
    for ask in asks:
        printed = ask()
        assert told in printed, printed
        assert "`stockcast warehouse copy --from duckdb --to bigquery`" in printed
    place.execute("stockcast warehouse copy --from duckdb --to bigquery")
    assert hashes() == before
    # It goes on, and makes nothing that is there.
    for ask in [*asks[:-4], tick]:
        assert told not in ask()
    assert "0 keys in 0 runs" in missing()
    place.execute(f"stockcast backfill --tickers MSFT --assets indicators,forecasts --from {LAST} --to {LAST}")
    assert hashes() == before
    place.gone({"no view was made": views, "brings the rows there": views})
    # Back again, where everything still is; and where it is not, it can be brought.
    copied = place.prints(f"backup {place.home.parent / 'copy.tar.gz'}")
    assert "BigQuery: `stockcast warehouse copy --from bigquery --to duckdb` first" in copied()
    place.patch.delenv("STOCKCAST_WAREHOUSE")
    assert hashes() == before
    place.gone({told: place.prints("status"), "BigQuery: `stockcast": copied})
    (place.home / "warehouse.duckdb").unlink()
    place.ends({told: place.prints("forecast MSFT")}, "stockcast warehouse copy --from bigquery --to duckdb")
    assert hashes() == before
    assert "agree" in place.prints("reconcile --dry-run")()


@mends("planner.py: `stockcast tickers resume {}`")
def test_a_ticker_that_was_given_up(fresh: Place) -> None:
    fresh.execute("stockcast tickers add MSFT")

    def planned() -> str:
        with fresh.instance() as instance:
            states = ticker_states(instance, ["MSFT"])
        attempts: list[planner.Attempt] = []
        seen = world("2024-01-11 00:31", states, {}, attempts=attempts)
        for now, plan in moments(seen, planner.plan_bring_up, "2024-01-13"):
            attempts += [failed(run, str(now.tz_localize(None))) for run in plan.runs]
            if len(attempts) > planner.ATTEMPTS:
                return "it is tried again"
        return planner.plan_bring_up(seen).given_up["MSFT"]

    printed = planned()
    assert "is given up: read the run's log, then `stockcast tickers resume MSFT`" in printed
    fresh.execute("stockcast tickers resume MSFT")
    fresh.gone({"planner.py: `stockcast tickers resume {}`": planned})
    assert planned() == "it is tried again"


@mends("`stockcast backfill --missing-only` fills what never was")
def test_a_check_of_whether_all_keys_are_there_is_red(place: Place) -> None:
    keys = [dg.AssetCheckKey(dg.AssetKey("forecasts"), name) for name in (FRESH, COMPLETE)]

    def checked() -> str:
        with place.instance() as instance:
            result = place.alone(instance, dg.AssetSelection.checks(*keys))
        found = {each.check_name: each for each in result.get_asset_check_evaluations()}[COMPLETE]
        return "" if found.passed else flat(str(found.description))

    # A day before those that were made, and one of them whose rows are lost.
    place.patch.setenv("STOCKCAST_START_DATE", "2013-02-25")
    with place.instance() as instance:
        for ticker in TICKERS:
            set_daily_from(instance, ticker, "", date(2013, 2, 25), uploaded=False)
    place.sql("DELETE FROM stockcast.forecasts WHERE ticker = 'MSFT' AND date = '2013-02-28'")
    printed = checked()
    assert "AAPL has no row for 2013-02-25" in printed
    assert "MSFT has lost its rows of 2013-02-28" in printed
    place.execute("stockcast reconcile")
    assert "lost" not in checked()
    place.execute("stockcast backfill --missing-only")
    place.gone({"`stockcast backfill --missing-only` fills what never was": checked})
    assert not checked()


@mends("would stand in two kinds of shares", "are in other shares and must be fetched again first")
def test_a_file_is_in_other_shares(place: Place) -> None:
    def halved(ticker: str, rows: int) -> None:
        file = place.home / "inbox" / f"{ticker}.csv"
        bars = pd.read_csv(file).tail(rows)
        bars[["Open", "High", "Low", "Close", "Adj Close"]] /= 2
        bars.to_csv(file, index=False)

    halved("MSFT", 40)
    past = place.prints("backfill --tickers MSFT --assets price_history")
    remedy = "stockcast backfill --tickers MSFT --assets price_history --replace"
    place.ends({"would stand in two kinds of shares": past}, remedy)
    halved("AAPL", 10_000)
    daily = place.prints(f"backfill --tickers AAPL --assets raw_prices --from {LAST} --to {LAST}")
    remedy = "stockcast backfill --tickers AAPL --assets price_history,raw_prices"
    place.ends({"are in other shares and must be fetched again first": daily}, remedy)


@mends("there is no market to forecast it in")
def test_there_is_no_market(place: Place) -> None:
    place.sql("DROP TABLE stockcast.market_state")
    model = mock.Mock(spec=UniverseForecaster, ticker="MSFT")
    bars = read_bars(place.warehouse, ["MSFT"], date.fromisoformat(LAST))

    def asked() -> str:
        stored = len(place.warehouse.read(tables.MARKET_STATE))
        around = surroundings(place.warehouse, ["MSFT"], date.fromisoformat(LAST)) if stored else None
        return said(lambda: predict._seen([model], [prepare(bars)], [bars], around) is None)

    assert "materialise market_days first" in asked()
    # Its days go along with what reads them.
    place.execute(f"stockcast backfill --tickers MSFT --assets forecasts --from {LAST} --to {LAST}")
    place.gone({"there is no market to forecast it in": asked})


@mends("Dagster was started without DAGSTER_HOME")
def test_dagster_is_started_by_itself(place: Place) -> None:
    def started() -> str:
        mask = os.umask(0o077)
        with mock.patch.dict(os.environ), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            runpy.run_module("stockcast_assets.definitions")
        os.umask(mask)
        return flat(" ".join(str(each.message) for each in caught))

    place.patch.delenv("DAGSTER_HOME", raising=False)
    setting = re.search(r"or set DAGSTER_HOME=(\S+)\.", started())
    assert setting is not None
    place.patch.setenv("DAGSTER_HOME", setting[1])
    place.gone({"Dagster was started without DAGSTER_HOME": started})
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("ticker") == list(TICKERS)


README = (Path(__file__).parents[2] / "README.md").read_text()
PRINTED = sorted(set(re.findall(r"`stockcast ([^`]+)`", README)))
VALUES = {
    "A B": "AAPL MSFT",
    "--from D": f"--from {LAST}",
    "--to D": f"--to {LAST}",
    "DATE": LAST,
    "MONTH": LAST[:7],
    "…": "forecasts",
}
LONGER = {
    "audit": "audit/test_audit.py",
    "--install-completion": "cli/test_completion.py",
    "evaluate --bars FILE": "integration/test_evaluate_files.py",
    "evaluate AAPL MSFT": "integration/test_evaluate.py",
    "explain MSFT": "integration/test_explain.py",
    "risk --holdings FILE": "assets/test_scenarios.py",
    "tune MSFT": "integration/test_tune.py",
    "tickers add TSLA VOD.L": "integration/test_yahoo_commands.py",
    "home move-history": "integration/test_postgres.py",
    "home move-models": "../long_tests/test_moved.py",
    "demo": "integration/test_demo.py",
    "ui": "integration/test_reexecution.py",
    "dashboard": "dashboard/test_run.py",
    "mlflow": "integration/test_foreign_pages.py",
    "worker": "../long_tests/test_storm.py",
}
"""What README prints and needs a server, the network's shape, or a long history: the file that runs it."""


@pytest.mark.parametrize("printed", [line for line in PRINTED if not line.startswith(tuple(LONGER))])
def test_what_readme_prints_runs(place: Place, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_SECOND_SOURCE", "sample")
    file = place.home.parent / "copy.tar.gz"
    if printed.startswith(("inspect", "tickers add", "forecast NEW")):
        file = place.home / "inbox" / f"{'NEW' if 'NEW' in printed else 'TSLA'}.csv"
        shutil.copy(place.home / "inbox" / "MSFT.csv", file)
    if printed.startswith("restore"):
        assert place.run("backup", str(file)).status == 0
        monkeypatch.setenv("STOCKCAST_HOME", str(place.home.parent / "empty"))
    if printed.startswith("forecast NEW"):
        # Its example is of a home of another year.
        printed = printed.replace("2012-06-15", LAST)
    without = re.sub(r" \[[^]]*\]", "", printed)
    words = re.sub(r"[\[\]]", "", printed)
    for line in {without, words}:
        for name, value in {**VALUES, "FILE": str(file)}.items():
            line = line.replace(name, value)
        if line in ("backfill", "forecast", "metrics"):
            # Named without what it needs, or a server; with the option it is run.
            continue
        ended = place.run(*shlex.split(line))
        assert ended.status == 0, ended.err


@pytest.mark.parametrize("file", sorted(set(LONGER.values())))
def test_the_longer_commands_are_run_elsewhere(file: str) -> None:
    assert (Path(__file__).parents[1] / file).is_file()


ELSEWHERE: Mapping[str, str] = {
    "round otherwise than those that made it": (
        "integration/test_explain.py::test_another_processor_makes_the_same_forecast_but_for_rounding_and_no_repair_is_told_of"
    ),
    "says what is stored now": "integration/test_as_known_on.py::test_commands_read_the_world_of_the_day",
    "shows the newest there is now": (
        "integration/test_as_known_on.py::test_what_becomes_known_later_changes_no_byte_of_a_past_day_s_risk_and_card"
    ),
    "shows the model of now": (
        "integration/test_as_known_on.py::test_a_model_without_a_card_has_that_of_its_row_while_that_is_there"
    ),
    "backfill.py: No ticker is given": "integration/test_remedies_help.py::place",
    "evaluate.py: No ticker is given": (
        "integration/test_evaluate.py::test_tickers_dropped_as_csv_are_evaluated_without_touching_code"
    ),
    "which this run would remove": (
        "assets/test_past_is_kept.py::test_a_stored_day_that_would_be_empty_is_refused_before_anything_is_written"
    ),
    "To fetch a past again": (
        "assets/test_past_is_kept.py::test_a_smaller_corrected_file_corrects_and_the_other_source_is_one_command_away"
    ),
    "`stockcast compare` lists every stored bar": (
        "assets/test_compare.py::test_every_stored_bar_is_compared_and_a_disputed_one_is_named"
    ),
    "Materialised on request only (`stockcast tune MSFT`": (
        "integration/test_tune.py::test_a_second_call_goes_on_and_everything_is_there_to_look_at"
    ),
    "--overwrite`": "warehouse/test_transfer.py::test_the_command_copies_there_and_back",
    "every run, then clean again": "test_cleaning.py::test_a_database_in_use_is_said_and_nothing_is_lost",
    **dict.fromkeys(
        (
            "start the daemon: `stockcast ui`",
            "nothing runs by itself: start `stockcast ui`",
            "so nobody would launch the runs: start `stockcast ui`",
        ),
        "integration/test_reexecution.py::test_whoever_wants_a_daemon_says_how_to_start_one_and_is_content_then",
    ),
    **dict.fromkeys(
        ("`stockcast ui` shows its log", "`stockcast ui` starts them again"),
        "integration/test_reexecution.py::test_a_command_s_run_is_on_the_first_page_and_a_click_executes_it_again",
    ),
    **dict.fromkeys(
        ("is already running on", "that was started by hand"),
        "integration/test_foreign_pages.py::test_a_second_daemon_is_refused_and_the_first_stops_with_all_it_started",
    ),
    **dict.fromkeys(
        ("is no port: choose one", "choose another port with"),
        "integration/test_reexecution.py::test_a_second_daemon_and_a_port_that_is_none_start_nothing",
    ),
    **dict.fromkeys(
        ("portfolio.py: `stockcast forecast", "portfolio.py: There is no day"),
        "assets/test_scenarios.py::test_what_the_sentences_say_to_do_helps",
    ),
    "cannot be recorded before those": ("assets/test_market_state.py::test_no_day_is_recorded_without_those_before_it"),
    "has no market to be placed in": (
        "assets/test_market_state.py::test_a_run_records_its_days_as_keys_and_whoever_joins_later_changes_none"
    ),
    "planner.py: `stockcast backfill --tickers {}`": (
        "automation/test_revisions.py::test_a_repair_that_fails_is_given_up_and_comes_back_with_the_next_look"
    ),
}
"""By words of a sentence, behind the file it is in where they are few: the test elsewhere that executes its remedy."""

NO_REMEDY: Mapping[str, str] = {
    "Days of drift reports that": "it says what a setting is for",
    "Nobody makes it": "it says what an asset is",
}
"""By words of a text that names a command, why it is none."""

REMEDY = re.compile(r"`(?:[A-Z_]+=\S+ )*(?:stockcast|make) [^`]+`|\b[Mm]aterialise\b|^stockcast [a-z]")
SENTENCES = sorted({(where, sentence) for where, sentence in told() if REMEDY.search(sentence)})


def located(where: str, sentence: str) -> str:
    """A sentence behind the name of the file that says it."""
    return f"{where.rpartition(':')[0].rpartition('/')[2]}: {sentence}"


@pytest.mark.parametrize(("where", "sentence"), SENTENCES, ids=[where for where, _ in SENTENCES])
def test_every_sentence_with_a_remedy_has_its_situation(where: str, sentence: str) -> None:
    known = (*SAID, *ELSEWHERE, *NO_REMEDY)
    assert any(words in located(where, sentence) for words in known), f"No test executes what {where} names: {sentence}"


def test_no_situation_is_of_a_sentence_that_is_no_more() -> None:
    sentences = [located(*each) for each in told()]
    for words in (*SAID, *ELSEWHERE, *NO_REMEDY):
        assert any(words in sentence for sentence in sentences), words


@pytest.mark.parametrize("test", sorted({*ELSEWHERE.values()}))
def test_the_tests_elsewhere_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text()
