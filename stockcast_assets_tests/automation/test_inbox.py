"""Uploads of many rows, and a universe in which each ticker keeps the source it came from."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources.uploads import open_uploads
from stockcast_assets.orchestration.assets.bars import source_of
from stockcast_assets.orchestration.assets.prices import LATE_TICKERS
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.planning.launch import Launch
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.orchestration.planning.runner import Runner
from stockcast_assets.orchestration.sensors.csv_inbox import Inbox
from stockcast_assets.settings import Settings
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES

HEADER = "Date,Open,High,Low,Close,Volume\n"


def rows(days: pd.DatetimeIndex, price: float = 10.0) -> str:
    return "".join(f"{day:%Y-%m-%d},{price},{price + 1},{price - 1},{price},1000\n" for day in days)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


def test_thousands_of_rows_become_exactly_their_keys(tmp_path: Path) -> None:
    start = date(2004, 1, 1)
    days = sessions("XNYS", "1995-01-03", "2024-01-31")
    gone = [days.get_loc(pd.Timestamp(day)) for day in ("2007-05-01", "2010-06-15", "2010-06-16", "2019-12-24")]
    kept = days.delete(gone)
    (tmp_path / "NEW.csv").write_text(HEADER + rows(kept))
    inbox = Inbox(open_uploads(tmp_path), start, None, ("XNYS",))
    [upload] = inbox.uploads.files()
    with inbox.sandbox() as sandbox:
        needs = list(inbox.needs(upload, inbox.parse(upload, sandbox)))
    assert [(need.tickers, need.assets) for need in needs] == [(("NEW",), ("price_history",))] + 4 * [
        (("NEW",), ("raw_prices",))
    ]
    assert needs[0].first is None
    asked: list[pd.Timestamp] = []
    for need in needs[1:]:
        asked.extend(sessions("XNYS", need.first, need.last))
    assert asked == list(kept[kept >= pd.Timestamp(start)])
    assert len({need.run_key for need in needs}) == len(needs)


def test_a_file_of_two_tickers_becomes_the_keys_of_both(tmp_path: Path) -> None:
    days = sessions("XNYS", "2003-12-22", "2004-01-16")
    text = "".join(f"{ticker},{row}\n" for ticker in ("AAA", "BBB") for row in rows(days).splitlines())
    (tmp_path / "both.csv").write_text("Symbol," + HEADER + text)
    inbox = Inbox(open_uploads(tmp_path), date(2004, 1, 1), None, ("XNYS",))
    [upload] = inbox.uploads.files()
    with inbox.sandbox() as sandbox:
        needs = list(inbox.needs(upload, inbox.parse(upload, sandbox)))
    past, first, last = ("price_history",), date(2004, 1, 2), date(2004, 1, 16)
    assert [(need.tickers, need.assets) for need in needs] == [
        ((ticker,), assets) for ticker in ("AAA", "BBB") for assets in (past, ("raw_prices",))
    ]
    assert [(pd.Timestamp(need.first), pd.Timestamp(need.last)) for need in needs[1::2]] == 2 * [
        (pd.Timestamp(first), pd.Timestamp(last))
    ]


def test_each_ticker_of_a_run_is_asked_of_its_own_source(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = make_settings(start_date=date(2013, 1, 2), end_date=date(2013, 1, 31))
    warehouse = warehouse_from(settings)
    defs = build_definitions(settings)
    inbox = Path(settings.uploads_location)
    inbox.mkdir(parents=True)
    instance.add_dynamic_partitions("ticker", ["IBM", "NEW"])
    known, later = sessions("XNYS", "2012-12-03", "2013-01-04"), sessions("XNYS", "2013-01-07", "2013-01-08")
    (inbox / "NEW.csv").write_text(HEADER + rows(known))

    def run(job: str, first: date | None, last: date | None, tickers: tuple[str, str], **config: str):
        asset = PRICE_HISTORY.name if first is None else RAW_PRICES.name
        return defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            tags=dict(range_tags(tickers, first, last)),
            run_config={"ops": {asset: {"config": config}}} if config else None,
            raise_on_error=False,
        )

    assert source_of(warehouse, "NEW") is None
    assert run("ingest_history", None, None, ("NEW", "NEW"), source="csv").success
    assert run("ingest_daily", date(2013, 1, 2), date(2013, 1, 4), ("NEW", "NEW"), source="csv").success
    assert run("ingest_history", None, None, ("IBM", "NEW")).success
    assert run("ingest_daily", date(2013, 1, 2), date(2013, 1, 4), ("IBM", "IBM")).success
    assert (source_of(warehouse, "IBM"), source_of(warehouse, "NEW")) == ("sample", "csv")

    late = run("ingest_daily", date(2013, 1, 7), date(2013, 1, 8), ("IBM", "NEW"))
    assert not late.success
    [failure] = [event for event in late.all_events if event.is_step_failure]
    reasons = failure.step_failure_data.user_failure_data.metadata[LATE_TICKERS].value
    assert set(reasons) == {"NEW"}
    assert "upload a CSV file with the missing days" in reasons["NEW"]

    runner = Runner(defs, instance, settings.start_date, warehouse_from(settings), observe=lambda step: nullcontext())
    with pytest.raises(StockcastError) as told:
        runner.run(Launch((RAW_PRICES.name,), ("IBM", "NEW"), date(2013, 1, 7), date(2013, 1, 8)))
    assert str(told.value) == reasons["NEW"]

    (inbox / "NEW2.csv").write_text("Symbol," + HEADER + rows(later).replace("2013", "NEW,2013"))
    assert run("ingest_daily", date(2013, 1, 7), date(2013, 1, 8), ("IBM", "NEW")).success
    stored = warehouse.read(RAW_PRICES, start="2013-01-07")
    assert set(zip(stored["ticker"], stored["source"], strict=True)) == {("IBM", "sample"), ("NEW", "csv")}


def test_days_supplied_by_csv_do_not_move_a_ticker_to_that_source(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = make_settings(start_date=date(2013, 1, 2), end_date=date(2013, 1, 31))
    defs = build_definitions(settings)
    inbox = Path(settings.uploads_location)
    inbox.mkdir(parents=True)
    instance.add_dynamic_partitions("ticker", ["IBM"])
    job = defs.resolve_job_def("ingest_daily")
    supplied = sessions("XNYS", "2013-01-04", "2013-01-23")
    (inbox / "IBM.csv").write_text(HEADER + rows(supplied, price=195.0))
    config = {"ops": {RAW_PRICES.name: {"config": {"source": "csv"}}}}
    for first, last, run_config in (
        (date(2013, 1, 2), date(2013, 1, 3), None),
        (date(2013, 1, 4), date(2013, 1, 23), config),
        (date(2013, 1, 24), date(2013, 1, 24), None),
    ):
        tags = dict(range_tags(("IBM", "IBM"), first, last))
        assert job.execute_in_process(instance=instance, tags=tags, run_config=run_config).success
    stored = warehouse_from(settings).read(RAW_PRICES).set_index("date")["source"]
    assert (stored["2013-01-03"], stored["2013-01-23"], stored["2013-01-24"]) == ("sample", "csv", "sample")
