"""Schedules and sensors, ticked for real against an instance; the runs they ask for are executed."""

import json
import os
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources.uploads import MAX_BYTES
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.orchestration.tickers import set_daily_from, set_state
from stockcast_assets.settings import Settings
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume\n"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def tick_schedule(defs: dg.Definitions, name: str, instance: dg.DagsterInstance, at: datetime) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
    return list(defs.resolve_schedule_def(name).evaluate_tick(context).run_requests or [])


def tick_sensor(
    defs: dg.Definitions, instance: dg.DagsterInstance, name: str = "csv_inbox", cursor: str | None = None
) -> tuple[list[dg.RunRequest], str | None]:
    """One tick, with what the daemon does after it: the partitions asked for are added."""
    arguments = {"cursor": cursor, "definitions": defs, "resources": defs.resources}
    with dg.build_sensor_context(instance=instance, **arguments) as context:
        data = defs.resolve_sensor_def(name).evaluate_tick(context)
    for request in data.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return list(data.run_requests or []), data.cursor


def execute(defs: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    job = defs.resolve_job_def(str(request.job_name))
    assert job.execute_in_process(instance=instance, tags=dict(request.tags), run_config=request.run_config).success


def bounds(request: dg.RunRequest) -> tuple[str, str]:
    return request.tags["dagster/asset_partition_range_start"], request.tags["dagster/asset_partition_range_end"]


def upload(settings: Settings, name: str, text: str | bytes, age: int = 60) -> Path:
    inbox = Path(settings.uploads_location)
    inbox.mkdir(parents=True, exist_ok=True)
    path = inbox / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    then = pd.Timestamp.now().timestamp() - age
    os.utime(path, (then, then))
    return path


def rows(days: list[str], price: float = 10.0) -> str:
    return "".join(f"{day},{price},{price + 1},{price - 1},{price},{price},1000\n" for day in days)


def brought_up(instance: dg.DagsterInstance, day: date, *tickers: str) -> None:
    """Tickers whose days are forecast from `day` on."""
    instance.add_dynamic_partitions("ticker", list(tickers))
    for ticker in tickers:
        set_daily_from(instance, ticker, "", day, uploaded=False)


def test_daily_forecast_asks_for_the_finished_day_of_all_tickers_once(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    defs = build_definitions(make_settings())
    night = datetime(2013, 2, 16, 0, 30, tzinfo=UTC)
    assert tick_schedule(defs, "daily_forecast", instance, night) == []
    brought_up(instance, date(2013, 2, 14), "MSFT", "AAPL", "IBM")
    report(instance, "trained_model", "2013-02-01", "MSFT", "AAPL", "IBM")
    requests = tick_schedule(defs, "daily_forecast", instance, night)
    assert [bounds(request) for request in requests] == [("2013-02-15|MSFT", "2013-02-15|IBM")]
    assert requests[0].run_key == tick_schedule(defs, "daily_forecast", instance, night)[0].run_key
    set_state(instance, "AAPL", "paused", "a strike")
    requests = tick_schedule(defs, "daily_forecast", instance, night)
    assert [bounds(request) for request in requests] == [
        ("2013-02-15|MSFT", "2013-02-15|MSFT"),
        ("2013-02-15|IBM", "2013-02-15|IBM"),
    ]


def test_daily_forecast_skips_days_that_are_no_key(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    brought_up(instance, date(2013, 2, 15), "AAPL")
    report(instance, "trained_model", "2013-02-01", "AAPL")
    only_new_york = build_definitions(make_settings(calendars=("XNYS",)))
    sunday_night = datetime(2013, 2, 18, 0, 30, tzinfo=UTC)
    assert tick_schedule(only_new_york, "daily_forecast", instance, sunday_night) == []
    with_crypto = build_definitions(make_settings())
    requests = tick_schedule(with_crypto, "daily_forecast", instance, sunday_night)
    assert [bounds(request) for request in requests] == [("2013-02-16|AAPL", "2013-02-17|AAPL")]


def test_monthly_training_asks_for_the_month_that_begins(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    brought_up(instance, date(2013, 1, 31), "AAPL", "IBM")
    report(instance, "trained_model", "2013-01-01", "AAPL", "IBM")
    defs = build_definitions(make_settings())
    requests = tick_schedule(defs, "monthly_training", instance, datetime(2013, 2, 1, 2, tzinfo=UTC))
    assert [bounds(request) for request in requests] == [("2013-02-01|AAPL", "2013-02-01|IBM")]
    assert tick_schedule(defs, "monthly_training", instance, datetime(2013, 2, 1, 1, tzinfo=UTC)) == []


def report(instance: dg.DagsterInstance, asset: str, day: str, *tickers: str) -> None:
    for ticker in tickers:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=f"{day}|{ticker}"))


def test_an_idle_tick_hardly_feels_the_number_of_tickers(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    defs = build_definitions(make_settings())
    # The sample's last daily key: no day is due after it.
    few, many = ["T0", "T1"], [f"T{number}" for number in range(2, 202)]

    def seconds(name: str) -> float:
        _, cursor = tick_sensor(defs, instance, name)
        taken = []
        for _ in range(5):
            started = time.process_time()
            requests, cursor = tick_sensor(defs, instance, name, cursor)
            taken.append(time.process_time() - started)
            assert requests == []
        return min(taken)

    sensors, taken = ("ticker_lifecycle", "daily_catch_up"), []
    for tickers in (few, many):
        brought_up(instance, date(2013, 3, 1), *tickers)
        report(instance, "trained_model", "2013-03-01", *tickers)
        taken.append([seconds(name) for name in sensors])
    for name, of_few, of_many in zip(sensors, *taken, strict=True):
        assert of_many < 20 * of_few, name


def test_the_line_that_a_tick_asks_for_is_read_by_the_next(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = make_settings()
    defs = build_definitions(settings)
    instance.add_dynamic_partitions("ticker", ["NEW.QQ"])
    requests, cursor = [], None
    for _ in range(3):
        requests, cursor = tick_sensor(defs, instance, "ticker_lifecycle", cursor)
        assert requests == []
    said = re.search(r"the line `(.*?)` under (\[\w+\]) into (\S+),", json.loads(cursor or "")["words"])
    assert said is not None
    line, section, table = said.groups()
    Path(table).parent.mkdir(exist_ok=True)
    # Half a line is told in every tick, until it is whole.
    Path(table).write_text(f"{section}\n{line[:-1]}\n")
    for _ in range(2):
        with pytest.raises(StockcastError, match=re.escape(table)):
            tick_sensor(defs, instance, "ticker_lifecycle", cursor)
    Path(table).write_text(f"{section}\n{line}\n")
    requests, _ = tick_sensor(defs, instance, "ticker_lifecycle", cursor)
    assert [bounds(request) for request in requests] == [("NEW.QQ", "NEW.QQ")]


def test_configured_tickers_become_partitions(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    defs = build_definitions(make_settings(tickers=("IBM", "AAPL")))
    tick_sensor(defs, instance, "configured_tickers")
    tick_sensor(defs, instance, "configured_tickers")
    assert known_tickers(instance) == ["IBM", "AAPL"]


def test_an_uploaded_file_becomes_exactly_its_sessions_once(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = make_settings(start_date=date(2012, 1, 1))
    defs = build_definitions(settings)
    past, january, february = ["2011-12-28", "2011-12-29"], ["2012-01-05", "2012-01-06", "2012-01-09"], ["2012-02-15"]
    upload(settings, "new.csv", HEADER + rows(past + january + february))

    requests, cursor = tick_sensor(defs, instance)
    assert known_tickers(instance) == ["NEW"]
    assert sorted(bounds(request) for request in requests) == [
        ("2012-01-05|NEW", "2012-01-09|NEW"),
        ("2012-02-15|NEW", "2012-02-15|NEW"),
        ("NEW", "NEW"),
    ]
    for request in requests:
        execute(defs, instance, request)
    warehouse = warehouse_from(settings)
    stored = {
        table.name: list(warehouse.read(table)["date"].dt.strftime("%Y-%m-%d")) for table in (PRICE_HISTORY, RAW_PRICES)
    }
    assert stored == {"price_history": past, "raw_prices": january + february}
    assert set(warehouse.read(RAW_PRICES)["source"]) == {"csv"}

    none, cursor = tick_sensor(defs, instance, cursor=cursor)
    assert none == []
    assert tick_sensor(defs, instance, cursor=cursor) == ([], cursor)
    upload(settings, "new.csv", HEADER + rows(["2012-02-15", "2012-02-16"], price=11), age=30)
    again, _ = tick_sensor(defs, instance, cursor=cursor)
    assert [bounds(request) for request in again] == [("2012-02-15|NEW", "2012-02-16|NEW")]


def test_a_file_still_being_written_waits(make_settings: Callable[..., Settings], instance: dg.DagsterInstance) -> None:
    settings = make_settings(start_date=date(2012, 1, 1))
    defs = build_definitions(settings)
    upload(settings, "NEW.csv", HEADER + rows(["2012-01-05"]), age=0)
    assert tick_sensor(defs, instance)[0] == []
    assert known_tickers(instance) == []


BAD_FILES = {
    "empty.csv": b"",
    "latin.csv": "Date,Open,High,Low,Close,Volume\n2012-01-05,1,2,1,é,5\n".encode("latin-1"),
    "negative.csv": (HEADER + "2012-01-05,-1,2,1,1,1,5\n").encode(),
    "inverted.csv": (HEADER + "2012-01-05,5,4,6,5,5,5\n").encode(),
    "two.csv": b"Symbol,Date,Open,High,Low,Close,Volume\nA,2012-01-05,1,2,1,1,5\nB,2012-01-05,1,2,1,-1,5\n",
    "twice.csv": (HEADER + rows(["2012-01-05"]) + rows(["2012-01-05"], price=11)).encode(),
    "path.csv": b"Ticker,Date,Open,High,Low,Close,Volume\n../../etc,2012-01-05,1,2,1,1,5\n",
    "formula.csv": (HEADER + "2012-01-05,=1+1,2,1,1,1,5\n").encode(),
    "VOD.L.csv": (HEADER + rows(["2012-01-05"])).encode(),
}


def test_bad_files_are_set_aside_with_one_sentence_and_the_sensor_lives_on(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One tick takes them all, however busy the machine is.
    monkeypatch.setattr("stockcast_assets.orchestration.sensors.csv_inbox.TICK_S", 600.0)
    # London's days are no keys.
    settings = make_settings(start_date=date(2012, 1, 1), calendars=("XNYS",))
    defs = build_definitions(settings)
    for name, content in BAD_FILES.items():
        upload(settings, name, content)
    upload(settings, "GOOD.csv", HEADER + rows(["2012-01-05"]))

    requests, _ = tick_sensor(defs, instance)
    assert [bounds(request) for request in requests] == [("2012-01-05|GOOD", "2012-01-05|GOOD")]
    assert known_tickers(instance) == ["GOOD"]
    inbox = Path(settings.uploads_location)
    assert [path.name for path in inbox.glob("*.csv")] == ["GOOD.csv"]
    for name, content in BAD_FILES.items():
        assert (inbox / "rejected" / name).read_bytes() == content
        reason = (inbox / "rejected" / f"{name}.reason.txt").read_text().strip()
        assert reason.startswith(name)
        assert "\n" not in reason
        assert reason.endswith(".")


def test_a_bad_file_that_cannot_be_moved_holds_no_other_up(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = make_settings(start_date=date(2012, 1, 1))
    defs = build_definitions(settings)
    upload(settings, "bad.csv", b"")
    upload(settings, "GOOD.csv", HEADER + rows(["2012-01-05"]))
    (Path(settings.uploads_location) / "rejected").write_text("a file where the folder should be")

    requests, cursor = tick_sensor(defs, instance)
    assert [bounds(request) for request in requests] == [("2012-01-05|GOOD", "2012-01-05|GOOD")]
    again, later = tick_sensor(defs, instance, cursor=cursor)
    # What was asked for and did not begin is asked for by the same key, by which Dagster launches it once.
    assert [request.run_key for request in again] == [request.run_key for request in requests]
    execute(defs, instance, requests[0])
    assert tick_sensor(defs, instance, cursor=later)[0] == []
    assert (Path(settings.uploads_location) / "bad.csv").exists()


def measured_tick(defs: dg.Definitions, instance: dg.DagsterInstance) -> tuple[list[dg.RunRequest], int]:
    """What a tick of the inbox asks for, and the most bytes that Python had at once meanwhile."""
    tracemalloc.start()
    try:
        requests, _ = tick_sensor(defs, instance)
        return requests, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_of_a_gigabyte_is_set_aside_unread(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = make_settings(start_date=date(2012, 1, 1))
    defs = build_definitions(settings)
    upload(settings, "GOOD.csv", HEADER + rows(["2012-01-05"]))
    large = upload(settings, "LARGE.csv", HEADER)
    os.truncate(large, 2**30)
    os.utime(large, (large.stat().st_atime, pd.Timestamp.now().timestamp() - 60))

    requests, most = measured_tick(defs, instance)
    assert most < 20 * 2**20
    assert [bounds(request) for request in requests] == [("2012-01-05|GOOD", "2012-01-05|GOOD")]
    rejected = Path(settings.uploads_location) / "rejected"
    assert (rejected / "LARGE.csv").stat().st_size == 2**30
    assert "has 1024.0 MB, and an upload has at most 10" in (rejected / "LARGE.csv.reason.txt").read_text()


def test_the_largest_file_that_is_read_takes_bounded_memory(
    make_settings: Callable[..., Settings], instance: dg.DagsterInstance
) -> None:
    settings = make_settings(start_date=date(2012, 1, 1))
    defs = build_definitions(settings)
    days = [f"{day:%Y-%m-%d}" for day in sessions("XNYS", "1980-01-02", "2012-01-05")]
    padding = "x" * (MAX_BYTES // len(days) - 80)
    lines = "".join(f"{line},{padding}\n" for line in rows(days).splitlines())
    path = upload(settings, "PADDED.csv", HEADER.replace("Volume", "Volume,Comment") + lines)
    assert 0.9 * MAX_BYTES < path.stat().st_size <= MAX_BYTES

    requests, most = measured_tick(defs, instance)
    assert len(requests) == 2
    assert most < 5 * MAX_BYTES
