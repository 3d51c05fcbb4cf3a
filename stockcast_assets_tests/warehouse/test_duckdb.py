"""DuckDB's own troubles: locks between processes, crashes, full disks, files that are no database."""

import contextlib
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.warehouse import DuckDBWarehouse, TableRef
from stockcast_assets_tests.warehouse.helpers import PRICES, PROCESSES, closes, keys_slice, prices, write


def hold(database: Path, seconds: float) -> subprocess.Popen:
    """Another program that has the file open for writing."""
    code = "import sys, time, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(%g)"
    holder = subprocess.Popen([sys.executable, "-c", code % seconds, str(database)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    return holder


def write_days(database: Path, ticker: str) -> None:
    for day in range(1, 6):
        key = f"2024-02-{day:02}"
        write(DuckDBWarehouse(str(database)), prices([(ticker, key, 1.0)]), keys_slice([f"{key}|{ticker}"]))


def write_values(database: Path, committed: Connection) -> None:
    """Replace a year of two tickers by 1.0, 2.0, … and tell of each once it is committed."""
    days = [str(day.date()) for day in pd.date_range("2024-01-01", "2024-12-31")]
    for value in range(1, 1000):
        write(DuckDBWarehouse(str(database)), prices((t, d, float(value)) for t in ("AAPL", "MSFT") for d in days))
        committed.send(value)


def write_beyond(database: Path, limit: int, told: Connection) -> None:
    """Write more than a file may grow to, which fails as a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    days = [str(day.date()) for day in pd.date_range("2020-01-01", "2023-12-31")]
    frame = prices((f"T{number}", day, number * 1.1) for number in range(20) for day in days)
    try:
        write(DuckDBWarehouse(str(database)), frame.assign(close=np.random.default_rng(1).random(len(frame))))
    except StockcastError as error:
        told.send(str(error))
    else:
        told.send("written")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.duckdb"
    write(DuckDBWarehouse(str(path)), prices([("AAPL", "2024-01-02", 1.0), ("MSFT", "2024-01-02", 2.0)]))
    return path


@pytest.mark.fault
@pytest.mark.parametrize("frozen", [False, True], ids=["busy", "frozen"])
def test_a_held_file_is_waited_for_and_then_the_holder_is_named(database: Path, frozen: bool) -> None:
    holder = hold(database, 60)
    if frozen:
        holder.send_signal(signal.SIGSTOP)
    try:
        warehouse = DuckDBWarehouse(str(database), lock_timeout=0.5)
        for action in (lambda: write(warehouse, prices([])), lambda: warehouse.read(PRICES)):
            started = time.monotonic()
            with pytest.raises(StockcastError, match=rf"held by .*python.* \(PID {holder.pid}\).* 0.5 s"):
                action()
            assert time.monotonic() - started < 5
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.fault
def test_a_file_that_is_released_in_time_is_written(database: Path) -> None:
    holder = hold(database, 1)
    write(DuckDBWarehouse(str(database)), prices([("AAPL", "2024-01-02", 9.0)]), keys_slice(["2024-01-02|AAPL"]))
    assert closes(DuckDBWarehouse(str(database)))["AAPL", "2024-01-02"] == 9.0
    holder.wait()


@pytest.mark.fault
def test_readers_and_writers_of_one_process_wait_for_each_other(database: Path) -> None:
    warehouse = DuckDBWarehouse(str(database), lock_timeout=30)

    def work(number: int) -> int:
        if number % 2:
            write(warehouse, prices([("AAPL", "2024-01-02", float(number))]), keys_slice(["2024-01-02|AAPL"]))
        return len(warehouse.read(PRICES))

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(work, range(18))) == {2}


@pytest.mark.fault
def test_writers_of_several_processes_queue(database: Path) -> None:
    writers = [PROCESSES.Process(target=write_days, args=(database, f"T{number}"), daemon=True) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(closes(DuckDBWarehouse(str(database)))) == 2 + 20


@pytest.mark.fault
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.13, 0.2])
def test_a_writer_killed_at_any_moment_leaves_one_whole_value(database: Path, delay: float) -> None:
    reader, committed = PROCESSES.Pipe(duplex=False)
    writer = PROCESSES.Process(target=write_values, args=(database, committed), daemon=True)
    writer.start()
    committed.close()
    last = reader.recv()
    time.sleep(delay)
    writer.kill()
    writer.join()
    with contextlib.suppress(EOFError):
        while True:
            last = reader.recv()
    stored = closes(DuckDBWarehouse(str(database)))
    assert len(stored) == 2 * 366
    assert set(stored.values()) in ({float(last)}, {float(last + 1)})
    write(DuckDBWarehouse(str(database)), prices([("AAPL", "2024-01-02", 5.0)]))
    assert closes(DuckDBWarehouse(str(database))) == {("AAPL", "2024-01-02"): 5.0}


@pytest.mark.fault
def test_a_full_disk_is_one_sentence_and_changes_nothing(database: Path) -> None:
    before = DuckDBWarehouse(str(database)).content_hash(PRICES)
    reader, told = PROCESSES.Pipe(duplex=False)
    writer = PROCESSES.Process(target=write_beyond, args=(database, database.stat().st_size + 4096, told), daemon=True)
    writer.start()
    sentence = reader.recv()
    writer.join()
    assert "could not write table stockcast.prices" in sentence
    assert "left it as it was" in sentence
    assert "\n" not in sentence
    assert DuckDBWarehouse(str(database)).content_hash(PRICES) == before


@pytest.mark.fault
def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_text("ticker,date\n" * 1000)
    for action in (lambda w: w.read(PRICES), lambda w: write(w, prices([]))):
        with pytest.raises(StockcastError, match=r"warehouse.duckdb is damaged .it is no DuckDB database"):
            action(DuckDBWarehouse(str(path)))
    assert path.read_text() == "ticker,date\n" * 1000


@pytest.mark.fault
def test_a_folder_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StockcastError, match="is a folder instead of a file"):
        write(DuckDBWarehouse(str(tmp_path)), prices([]))
    (tmp_path / "file").write_text("")
    with pytest.raises(StockcastError, match="could not write"):
        write(DuckDBWarehouse(str(tmp_path / "file" / "warehouse.duckdb")), prices([]))


@pytest.mark.parametrize("name", ["stockcast.duckdb", "a b's.v2.db", "main.duckdb", "temp.duckdb"])
def test_the_file_may_have_any_name_even_the_schemas(tmp_path: Path, name: str) -> None:
    warehouse = DuckDBWarehouse(str(tmp_path / name))
    for _ in range(2):
        write(warehouse, prices([("AAPL", "2024-01-02", 1.0)]))
        assert closes(warehouse) == {("AAPL", "2024-01-02"): 1.0}


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(StockcastError, match="give the path of a file"):
        DuckDBWarehouse(":memory:")


def test_no_connection_stays_open(database: Path) -> None:
    warehouse = DuckDBWarehouse(str(database))
    warehouse.read(PRICES)
    with pytest.raises(StockcastError):
        warehouse.read(PRICES, columns=["nothing"])
    write(warehouse, prices([("AAPL", "2024-01-02", 1.0)]))
    opened = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert str(database) not in opened


def test_the_ddl_carries_types_required_columns_and_descriptions(database: Path) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() WHERE table_name = 'prices'"
        ).fetchall()
    assert rows[0] == ("ticker", "VARCHAR", False, "Ticker")
    assert [row[1] for row in rows] == ["VARCHAR", "DATE", "DOUBLE", "BIGINT", "TIMESTAMP WITH TIME ZONE"]
    assert [row[2] for row in rows] == [False, False, False, True, False]


def test_a_column_of_a_type_we_do_not_know_is_one_sentence(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE stockcast.odd (amount DECIMAL(10, 2))")
    with pytest.raises(StockcastError, match=r"'amount' of table stockcast.odd is DECIMAL\(10,2\)"):
        DuckDBWarehouse(str(database)).contract(TableRef("stockcast", "odd"))
