"""A key of many rows loses none that the input does not mention, in real runs and by the real commands."""

import json
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.calendars import sessions
from stockcast_assets.orchestration.assets.bars import source_of
from stockcast_assets.orchestration.assets.prices import Fetched, refuse_loss
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.orchestration.tickers import set_daily_from, ticker_states
from stockcast_assets.settings import Settings
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES
from stockcast_assets_tests.conftest import Run

HEADER = "Date,Open,High,Low,Close,Volume\n"
START = date(2013, 1, 2)


def row(day: str, price: float = 26.0) -> str:
    return f"{day},{price},{price + 0.5},{price - 0.5},{price},1000\n"


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("STOCKCAST_START_DATE", START.isoformat())
    return run


def uploaded(settings: Settings, ticker: str, content: str) -> None:
    """What the sensor `csv_inbox` does with an upload of days before the first daily key."""
    inbox = Path(settings.uploads_location)
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / f"{ticker}.csv").write_text(HEADER + content)
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("ticker", [ticker])
        result = (
            build_definitions(settings)
            .resolve_job_def("ingest_history")
            .execute_in_process(
                instance=instance,
                tags=dict(range_tags((ticker, ticker))),
                run_config={"ops": {PRICE_HISTORY.name: {"config": {"source": "csv"}}}},
            )
        )
    assert result.success


def test_one_uploaded_bar_costs_no_other_and_moves_no_ticker(run: Run, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", source="sample", start_date=START)
    warehouse = warehouse_from(settings)
    assert run("backfill", "--tickers", "MSFT", "--assets", "price_history")[0] == 0
    before = warehouse.read(PRICE_HISTORY)
    assert len(before) > 3000
    # One day that is stored, and one before the first that is: neither is a reason to ask for MSFT by CSV.
    uploaded(settings, "MSFT", row("1999-12-31", 36.0) + row("2012-12-28"))
    after = warehouse.read(PRICE_HISTORY)
    assert len(after) == len(before) + 1
    supplied = after["source"] == "csv"
    assert list(after["date"][supplied].dt.strftime("%Y-%m-%d")) == ["1999-12-31", "2012-12-28"]
    others = before[before["date"] != "2012-12-28"].reset_index(drop=True)
    pd.testing.assert_frame_equal(after[~supplied].reset_index(drop=True), others)
    assert source_of(warehouse, "MSFT") == "sample"

    # The way back: what the source has is as it was, the day it never had stays.
    status, _, err = run("backfill", "--tickers", "MSFT", "--assets", "price_history", "--source", "sample")
    assert status == 0, err
    back = warehouse.read(PRICE_HISTORY)
    assert len(back) == len(before) + 1
    values = [name for name in PRICE_HISTORY.column_names if name != "ingested_at"]
    pd.testing.assert_frame_equal(back[back["source"] == "sample"][values].reset_index(drop=True), before[values])

    # Rows go by a word of their own, and the key says how many went.
    assert run("backfill", "--tickers", "MSFT", "--assets", "price_history", "--replace")[0] == 0
    pd.testing.assert_frame_equal(warehouse.read(PRICE_HISTORY)[values], before[values])
    with open_instance(settings) as instance:
        newest = instance.get_latest_materialization_event(dg.AssetKey(PRICE_HISTORY.name))
        assert newest.asset_materialization.metadata["removed bars"].value == 1


def test_a_smaller_corrected_file_corrects_and_the_other_source_is_one_command_away(run: Run, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", source="sample", start_date=START)
    warehouse = warehouse_from(settings)
    days = sessions("XNYS", "2012-03-01", "2012-12-31")
    uploaded(settings, "IBM", "".join(row(f"{day:%Y-%m-%d}", 200.0) for day in days))
    assert source_of(warehouse, "IBM") == "csv"
    uploaded(settings, "IBM", row("2012-06-01", 189.0) + row("2012-06-04", 190.0))
    stored = warehouse.read(PRICE_HISTORY).set_index("date")["close"]
    assert len(stored) == len(days)
    assert (stored["2012-05-31"], stored["2012-06-01"], stored["2012-06-04"]) == (200.0, 189.0, 190.0)

    with open_instance(settings) as instance:
        since = ticker_states(instance, ["IBM"])["IBM"].since
        set_daily_from(instance, "IBM", since, date(2012, 12, 31), uploaded=True)
    status, _, err = run("backfill", "--tickers", "IBM", "--assets", "price_history", "--source", "sample")
    assert status == 0, err
    assert source_of(warehouse, "IBM") == "sample"
    with open_instance(settings) as instance:
        state = ticker_states(instance, ["IBM"])["IBM"]
    # It is brought up again, from there.
    assert (state.is_new, state.uploaded) == (True, False)


def test_removing_names_what(run: Run) -> None:
    status, _, err = run("backfill", "--tickers", "MSFT", "--replace")
    assert status == 1
    assert "--replace removes stored bars that the source does not send, so name where: --assets price_history" in err
    status, _, err = run("backfill", "--tickers", "MSFT", "--source", "nowhere")
    assert status == 1
    assert "There is no source 'nowhere'" in err


def test_a_stored_day_that_would_be_empty_is_refused_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", source="sample", start_date=START)
    warehouse = warehouse_from(settings)
    inbox = Path(settings.uploads_location)
    inbox.mkdir(parents=True)
    days = sessions("XNYS", "2012-12-03", "2013-01-31")
    (inbox / "NEW.csv").write_text(HEADER + "".join(row(f"{day:%Y-%m-%d}") for day in days))
    by_csv = ("backfill", "--tickers", "NEW", "--source", "csv", "--assets")
    arguments = (*by_csv, "raw_prices", "--from", "2013-01-02", "--to", "2013-01-31")
    assert run(*by_csv, "price_history")[0] == 0
    assert run(*arguments)[0] == 0
    before = warehouse.content_hash(RAW_PRICES)
    # From now on the exchange was closed on a day of which a bar is stored.
    (tmp_path / "home" / "calendars.toml").write_text("[closed]\nXNYS = [2013-01-16]\n")
    status, _, err = run(*arguments)
    assert status == 1
    assert "NEW has a stored bar of 2013-01-16, which this run would remove (market closed): nothing was" in err
    assert warehouse.content_hash(RAW_PRICES) == before
    removal = err[err.index("stockcast backfill") + len("stockcast ") : err.rindex("`")].split()
    assert run(*removal)[0] == 0
    days = warehouse.read(RAW_PRICES)["date"]
    assert len(days) == before[0] - 1
    assert pd.Timestamp("2013-01-16") not in set(days)


def test_the_sentence_of_a_loss_names_every_day() -> None:
    day = pd.Timestamp("2013-01-16")
    fetched = Fetched("IBM", empty={("IBM", day): "market closed"})
    assert refuse_loss(fetched, []) is fetched
    assert refuse_loss(fetched, [pd.Timestamp("2013-01-17")]) is fetched
    with pytest.raises(StockcastError, match="2013-01-16"):
        refuse_loss(fetched, [day])


def test_what_stayed_is_on_the_key(run: Run, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", source="sample", start_date=START)
    uploaded(settings, "NEW", "".join(row(f"{day:%Y-%m-%d}") for day in sessions("XNYS", "2012-11-01", "2012-12-31")))
    uploaded(settings, "NEW", row("2012-12-03"))
    with open_instance(settings) as instance:
        newest = instance.get_latest_materialization_event(dg.AssetKey(PRICE_HISTORY.name))
        metadata = newest.asset_materialization.metadata
    assert metadata["kept bars"].value == 40
    assert "40 bars of 41 are as stored before: csv did not send them" in metadata["kept"].value
    assert json.loads(run("tickers", "list", "--json")[1])[0]["ticker"] == "NEW"
