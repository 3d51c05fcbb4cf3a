"""BigQuery's own troubles: lost answers, errors that pass and errors that do not, dead clients, frozen servers; and
what it is asked: its SQL, its limits, its two ways to read."""

import contextlib
import json
import logging
import os
import signal
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import sqlglot
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.auth import jwt
from sqlglot import exp

from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.settings import Settings
from stockcast_assets.warehouse import BigQueryWarehouse, TableRef
from stockcast_assets_tests.servers import BigQueryEmulator, free_port, start_bigquery_emulator
from stockcast_assets_tests.warehouse.conftest import Store, bigquery_store
from stockcast_assets_tests.warehouse.fault_proxy import (
    LOSE_ANSWER,
    LOSE_REQUEST,
    STALL,
    Answer,
    FaultProxy,
    Request,
    fault_proxy,
)
from stockcast_assets_tests.warehouse.helpers import (
    HOSTILE,
    METADATA,
    PRICES,
    PROCESSES,
    TICKER_DAYS,
    closes,
    instance,
    keys_slice,
    of_keys,
    prices,
    run,
    write,
)
from stockcast_assets_tests.warehouse.test_io_manager import every_key

OLD = {("AAPL", "2024-01-02"): 1.0, ("MSFT", "2024-01-02"): 1.0}
NEW = {**OLD, ("AAPL", "2024-01-02"): 2.0}
KEY = "2024-01-02|AAPL"


@pytest.fixture
def proxy(bigquery_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with fault_proxy(bigquery_emulator) as made:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", made.address)
        yield made


@pytest.fixture
def store(proxy: FaultProxy) -> Store:
    """A store behind the proxy that already holds OLD."""
    made = bigquery_store()
    write(made.warehouse, prices((t, d, c) for (t, d), c in OLD.items()))
    proxy.requests.clear()
    return made


def write_new(store: Store, attempt: str | None = None) -> None:
    write(store.warehouse, of_keys([KEY], 2.0), keys_slice([KEY]), attempt)


def stages(store: Store) -> list[str]:
    assert isinstance(store.warehouse, BigQueryWarehouse)
    with store.warehouse._client() as client:
        return [t.table_id for t in client.list_tables(store.warehouse.schema) if t.table_id != PRICES.name]


def writes(proxy: FaultProxy) -> tuple[int, int]:
    """Load jobs and statements that change something, so far."""
    loads = [request for request in proxy.requests if request.is_load]
    return len(loads), len([sql for sql in proxy.statements() if not sql.startswith("SELECT")])


def test_a_run_of_a_thousand_keys_costs_one_load_and_one_merge(proxy: FaultProxy) -> None:
    store = bigquery_store()
    tickers = [f"T{number:02}" for number in range(20)]
    days = pd.date_range("2024-01-01", periods=50).strftime("%Y-%m-%d")
    write(store.warehouse, prices((ticker, day, 2.0) for ticker in [*tickers, "T99"] for day in days))
    proxy.requests.clear()
    result = run(every_key(), store.io_manager, instance(tickers), between=(f"{days[0]}|T00", f"{days[-1]}|T19"))
    assert len(result.asset_materializations_for_node("prices")) == 1000
    assert writes(proxy) == (1, 1)
    assert closes(store.warehouse) == {(t, day): 1.0 + (t == "T99") for t in [*tickers, "T99"] for day in days}
    assert stages(store) == []


def assert_prunes(statement: str) -> None:
    """The condition bounds `date` by literals and `ticker` by parameters, and no other literal is in it."""
    tree = sqlglot.parse_one(statement, dialect="bigquery")
    bounded = {
        (type(node), node.left.name)
        for node in tree.find_all(exp.GTE, exp.LT)
        if isinstance(node.right, exp.Cast) and node.right.to.this == exp.DataType.Type.DATE
    }
    assert {(exp.GTE, "date"), (exp.LT, "date")} <= bounded
    named = [node.this.name for node in tree.find_all(exp.In) if isinstance(node.args.get("unnest"), exp.Unnest)]
    named += [node.left.name for node in tree.find_all(exp.EQ) if isinstance(node.right, exp.Parameter)]
    assert "ticker" in named
    for literal in tree.find_all(exp.Literal):
        assert isinstance(literal.parent, exp.Cast), literal


def test_every_statement_prunes_and_no_key_is_in_its_text(store: Store, proxy: FaultProxy) -> None:
    tickers = ["AAPL", *HOSTILE]
    keys = [f"2024-01-{day:02}|{ticker}" for ticker in tickers for day in (1, 2, 3)]
    sets = [keys, keys[:1], [keys[0], *keys[4:9], *keys[12:13]]]
    for chosen in sets:
        write(store.warehouse, of_keys(chosen), keys_slice(chosen))
        write(store.warehouse, prices([]), keys_slice(chosen))
    store.warehouse.read(PRICES, tickers=tickers, start="2024-01-01", end="2024-01-03")
    store.warehouse.read(PRICES, tickers=tickers[1:2], start="2024-01-01", end="2024-01-03", columns=["close"])
    statements = proxy.statements()
    assert len(statements) == 2 * len(sets) + 2
    for statement in statements:
        assert_prunes(statement)
        assert not [ticker for ticker in tickers if ticker not in ("`", "@keys_0") and ticker in statement]
    assert "SELECT `close` FROM" in statements[-1]


def test_tables_are_partitioned_clustered_described_and_labelled(store: Store) -> None:
    assert isinstance(store.warehouse, BigQueryWarehouse)
    with store.warehouse._client() as client:
        table = client.get_table(f"{store.warehouse.schema}.prices")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("MONTH", "date")
    assert table.clustering_fields == ["ticker"]
    assert [(f.name, f.field_type, f.mode, f.description) for f in table.schema] == [
        ("ticker", "STRING", "REQUIRED", "Ticker"),
        ("date", "DATE", "REQUIRED", "Session"),
        ("close", "FLOAT64", "REQUIRED", "Close"),
        ("volume", "INT64", "NULLABLE", "Shares"),
        ("stored_at", "TIMESTAMP", "REQUIRED", "When"),
    ]
    assert table.description == "Closing prices"
    assert table.labels == {"app": "stockcast"}


def test_jobs_are_labelled_bounded_in_time_and_in_bytes(proxy: FaultProxy) -> None:
    store = bigquery_store()
    warehouse = BigQueryWarehouse("test-project", store.warehouse.schema, deadline=30, maximum_bytes_billed=10**9)
    write(warehouse, of_keys([KEY]), keys_slice([KEY]))
    (merge,) = [request for request in proxy.requests if request.is_merge]
    assert merge.configuration["maximumBytesBilled"] == str(10**9)
    assert b'"app": "stockcast"' in merge.body
    assert b'"jobTimeoutMs"' in merge.body
    (created,) = [r for r in proxy.requests if r.path.endswith("/tables?prettyPrint=false") and b"_stage_" in r.body]
    assert b'"expirationTime"' in created.body


PASSING: dict[str, tuple[Any, Any]] = {
    "503 for the table": (lambda request: "/tables/prices" in request.path, Answer(503, "backendError")),
    "503 for the load": (lambda request: request.is_load, Answer(503, "backendError")),
    "429 for the merge": (lambda request: request.is_merge, Answer(429, "rateLimitExceeded")),
    "403 rate limit": (lambda request: request.is_merge, Answer(403, "rateLimitExceeded")),
    "500 for the merge": (lambda request: request.is_merge, Answer(500, "internalError")),
    "lost load request": (lambda request: request.is_load, LOSE_REQUEST),
    "lost load answer": (lambda request: request.is_load, LOSE_ANSWER),
    "lost merge request": (lambda request: request.is_merge, LOSE_REQUEST),
    "lost merge answer": (lambda request: request.is_merge, LOSE_ANSWER),
    "lost stage answer": (lambda r: r.method == "POST" and "/tables" in r.path, LOSE_ANSWER),
    "lost result": (lambda request: request.method == "GET" and "/queries/" in request.path, LOSE_ANSWER),
    "lost drop": (lambda request: request.method == "DELETE", LOSE_ANSWER),
}


@pytest.mark.fault
@pytest.mark.parametrize("fault", list(PASSING))
def test_a_fault_that_passes_is_survived_and_the_work_is_done_once(store: Store, proxy: FaultProxy, fault: str) -> None:
    when, what = PASSING[fault]
    proxy.times(1, when, what)
    write_new(store)
    proxy.fault = lambda request: None
    assert closes(store.warehouse) == NEW
    assert len({request.job_id for request in proxy.requests if request.is_merge}) == 1
    assert len({request.job_id for request in proxy.requests if request.is_load}) == 1


@pytest.mark.fault
@pytest.mark.parametrize(
    "fault", [LOSE_REQUEST, LOSE_ANSWER, Answer(503, "backendError")], ids=["lost request", "lost answer", "503"]
)
def test_a_load_of_several_requests_is_done_once_too(store: Store, proxy: FaultProxy, fault: Any) -> None:
    """A file of 5 MB or more is sent to an address that the first request asks for."""
    ticker = np.random.default_rng(1).bytes(6_000_000).hex()
    proxy.times(1, lambda request: request.method == "PUT", fault)
    write(store.warehouse, prices([(ticker, "2024-01-02", 2.0)]))
    loads = [request for request in proxy.requests if request.is_load]
    assert (len(loads), len({request.job_id for request in loads})) == (2, 1)
    assert closes(store.warehouse) == {(ticker, "2024-01-02"): 2.0}


LASTING: dict[str, tuple[Any, Any, str]] = {
    "quota": (lambda r: r.is_merge, Answer(403, "quotaExceeded", "Quota exceeded"), "quota is used up"),
    "bytes limit": (
        lambda r: r.is_merge,
        Answer(400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: 1."),
        "raise maximum_bytes_billed",
    ),
    "forbidden": (lambda r: r.is_load, Answer(403, "accessDenied", "Access Denied"), "BigQuery Data Editor"),
    "bad request": (lambda r: r.is_merge, Answer(400, "invalid", "Bad"), "could not write table .*prices: Bad"),
    "wrong location": (
        lambda r: r.is_merge,
        Answer(404, "notFound", "Not found: Dataset d in location EU"),
        "dataset and its location",
    ),
    "down for good": (lambda r: r.is_merge, Answer(503, "backendError", "Unavailable"), "Unavailable"),
    "merge stalls": (lambda r: r.is_merge, STALL, "within 3 s"),
    "load stalls": (lambda r: r.is_load, STALL, "within 3 s"),
    "everything stalls": (lambda r: True, STALL, "within 3 s"),
    "requests vanish": (lambda r: r.is_job, LOSE_REQUEST, "within 3 s"),
}


@pytest.mark.fault
@pytest.mark.parametrize("fault", list(LASTING))
def test_a_fault_that_lasts_is_one_sentence_in_time_and_changes_nothing(
    store: Store, proxy: FaultProxy, fault: str
) -> None:
    when, what, says = LASTING[fault]
    impatient = BigQueryWarehouse("test-project", store.warehouse.schema, deadline=3)
    proxy.times(1000, when, what)
    started = time.monotonic()
    with pytest.raises(StockcastError, match=says) as caught:
        write(impatient, of_keys([KEY], 2.0), keys_slice([KEY]))
    assert time.monotonic() - started < 15
    assert "\n" not in str(caught.value)
    proxy.fault = lambda request: None
    assert closes(store.warehouse) == OLD


def test_the_same_attempt_is_done_once_and_other_data_is_another_job(store: Store, proxy: FaultProxy) -> None:
    for close in (2.0, 2.0, 3.0):
        write(store.warehouse, of_keys([KEY], close), keys_slice([KEY]), "run/step/result/0")
        write(store.warehouse, of_keys([KEY], close), keys_slice([KEY]), "run/step/result/0")
        assert closes(store.warehouse)["AAPL", "2024-01-02"] == close
    merges = [request.job_id for request in proxy.requests if request.is_merge]
    assert (len(merges), len(set(merges))) == (6, 2)


@pytest.mark.fault
def test_a_server_that_is_down_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    warehouse = BigQueryWarehouse("test-project", deadline=1)
    for action in (lambda: write(warehouse, prices([])), lambda: warehouse.read(PRICES)):
        with pytest.raises(StockcastError, match=r"within 1 s .*check the network"):
            action()


@pytest.mark.fault
def test_missing_credentials_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(StockcastError, match="gcloud auth application-default login"):
        BigQueryWarehouse("test-project").read(PRICES)


@pytest.fixture
def token_server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Where service accounts get their tokens: refuses each, and keeps the claims that were signed."""
    claims: list[dict[str, str]] = []

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            claims.append(jwt.decode(asked["assertion"][0], verify=False))
            answer = json.dumps({"error": "invalid_grant", "error_description": "Account not found"}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Claims are recorded, not printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token", claims
        server.shutdown()


@pytest.mark.fault
@pytest.mark.parametrize("setting", ["STOCKCAST_GCP_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"])
def test_a_service_account_key_comes_by_the_environment_alone(
    setting: str, token_server: tuple[str, list[dict[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every thread signs with it, and what Google says of it is one sentence."""
    address, claims = token_server
    key = json.dumps(
        {
            "type": "service_account",
            "private_key": rsa.generate_private_key(65537, 2048)
            .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            .decode(),
            "client_email": "robot@test-project.iam.gserviceaccount.com",
            "token_uri": address,
        }
    )
    (tmp_path / "key.json").write_text(key)
    by_file = setting == "GOOGLE_APPLICATION_CREDENTIALS"
    monkeypatch.setenv(setting, str(tmp_path / "key.json") if by_file else b64encode(key.encode()).decode())
    monkeypatch.setenv("STOCKCAST_WAREHOUSE", "bigquery")
    monkeypatch.setenv("STOCKCAST_GCP_PROJECT", "test-project")
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    warehouse = warehouse_from(Settings())

    def read(_: int) -> None:
        with pytest.raises(StockcastError, match=r"valid Google credentials \(invalid_grant: Account not found\): run"):
            warehouse.read(PRICES)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert [claim["iss"] for claim in claims] == ["robot@test-project.iam.gserviceaccount.com"] * 4


@pytest.mark.parametrize("encoded", ["bm9uc2Vuc2U=", "not base64", "e30="], ids=["no JSON", "no base64", "no key"])
def test_a_key_that_is_none_is_one_sentence(encoded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    with pytest.raises(StockcastError, match="gcp_credentials is not a base64-encoded service-account key"):
        BigQueryWarehouse("test-project", gcp_credentials=encoded).read(PRICES)


def write_new_alone(address: str, dataset: str) -> None:
    os.environ["BIGQUERY_EMULATOR_HOST"] = address
    write(BigQueryWarehouse("test-project", dataset), of_keys([KEY], 2.0), keys_slice([KEY]))


@pytest.mark.fault
@pytest.mark.parametrize("moment", ["before the load", "after the load", "before the merge", "after the merge"])
def test_a_client_killed_at_any_step_leaves_one_whole_value(store: Store, proxy: FaultProxy, moment: str) -> None:
    reached = threading.Event()

    def decide(request: Request) -> Any:
        wanted = request.is_load if "load" in moment else request.is_merge
        if not wanted:
            return None
        if moment.startswith("before"):
            reached.set()
            return STALL
        proxy.fault = lambda later: reached.set() or STALL
        return LOSE_ANSWER

    proxy.fault = decide
    writer = PROCESSES.Process(target=write_new_alone, args=(proxy.address, store.warehouse.schema), daemon=True)
    writer.start()
    assert reached.wait(60)
    writer.kill()
    writer.join()
    proxy.fault = lambda request: None
    assert closes(store.warehouse) == (NEW if moment == "after the merge" else OLD)
    assert isinstance(store.warehouse, BigQueryWarehouse)
    left = stages(store)
    assert len(left) == 1
    assert store.warehouse.drop_orphans() == []
    assert store.warehouse.drop_orphans(older_than=timedelta(0)) == left
    assert stages(store) == []
    write_new(store)
    assert closes(store.warehouse) == NEW


def test_names_that_would_break_out_of_quotes_are_refused(bigquery: Store) -> None:
    with pytest.raises(StockcastError, match="leave out backticks"):
        write(BigQueryWarehouse("test-project", "a`b"), prices([]))


def test_an_array_column_is_one_sentence(bigquery: Store) -> None:
    from google.cloud.bigquery import SchemaField, Table

    assert isinstance(bigquery.warehouse, BigQueryWarehouse)
    with bigquery.warehouse._client() as client:
        client.create_dataset(bigquery.warehouse.schema)
        name = f"test-project.{bigquery.warehouse.schema}.odd"
        client.create_table(Table(name, [SchemaField("tags", "STRING", "REPEATED")]))
    with pytest.raises(StockcastError, match=r"'tags' .* REPEATED STRING"):
        bigquery.warehouse.contract(TableRef(bigquery.warehouse.schema, "odd"))


def test_a_quota_error_is_not_retried(store: Store, proxy: FaultProxy) -> None:
    proxy.times(1000, lambda request: request.is_merge, Answer(403, "quotaExceeded", "Quota exceeded"))
    with contextlib.suppress(StockcastError):
        write_new(store)
    assert len([request for request in proxy.requests if request.is_merge]) == 1


@pytest.mark.fault
def test_a_server_that_freezes_is_one_sentence_and_its_table_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_bigquery_emulator(tmp_path) as server:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.address)
        warehouse = bigquery_store().warehouse
        write(warehouse, prices((t, d, c) for (t, d), c in OLD.items()))
        impatient = BigQueryWarehouse("test-project", warehouse.schema, deadline=2)
        server.process.send_signal(signal.SIGSTOP)
        for action in (
            lambda: write(impatient, of_keys([KEY], 2.0), keys_slice([KEY])),
            lambda: impatient.read(PRICES),
        ):
            with pytest.raises(StockcastError, match=r"within 2 s .*check the network"):
                action()
        server.process.send_signal(signal.SIGCONT)
        assert closes(warehouse) == OLD
        write(warehouse, of_keys([KEY], 2.0), keys_slice([KEY]))
        assert closes(warehouse) == NEW


@pytest.mark.fault
def test_a_server_that_dies_and_comes_back_within_the_deadline_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is refused while the server is away; nothing needs to be asked twice by the caller."""
    monkeypatch.setenv("BQEMU_PERSISTENCE_MODE", "persistent")
    monkeypatch.setenv("BQEMU_DATA_DIR", str(tmp_path / "data"))
    ports = (free_port(), free_port())
    with start_bigquery_emulator(tmp_path, ports) as server:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.address)
        warehouse = bigquery_store(deadline=120).warehouse
        write(warehouse, prices((t, d, c) for (t, d), c in OLD.items()))
        server.process.kill()
        server.process.wait()
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write, warehouse, of_keys([KEY], 2.0), keys_slice([KEY]))
            time.sleep(1)
            assert not writing.done()
            with start_bigquery_emulator(tmp_path, ports):
                writing.result()
                assert closes(warehouse) == NEW


@pytest.mark.fault
def test_requests_that_vanish_for_seconds_are_survived(store: Store, proxy: FaultProxy) -> None:
    proxy.fault = lambda request: LOSE_REQUEST
    threading.Timer(3, lambda: setattr(proxy, "fault", lambda request: None)).start()
    write_new(store)
    assert closes(store.warehouse) == NEW


@pytest.mark.fault
@pytest.mark.parametrize("there", [True, False], ids=["refuses", "unreachable"])
def test_what_the_storage_read_api_cannot_give_is_read_page_by_page(
    store: Store,
    bigquery_server: BigQueryEmulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    there: bool,
) -> None:
    """The emulator has the API, but not for the results of queries, which is a refusal like any other."""
    days = pd.date_range("2000-01-01", periods=16_000).strftime("%Y-%m-%d")
    large = prices(("AAPL", day, float(number)) for number, day in enumerate(days))
    write(store.warehouse, large)
    address = bigquery_server.storage_address if there else f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", address)
    impatient = BigQueryWarehouse("test-project", store.warehouse.schema, deadline=8)
    with caplog.at_level(logging.WARNING, "stockcast_assets.warehouse"):
        pd.testing.assert_frame_equal(impatient.read(PRICES), large, check_dtype=False)
    assert "The Storage Read API is out of reach" in caplog.text


def test_a_small_read_is_two_requests(store: Store, proxy: FaultProxy) -> None:
    assert closes(store.warehouse) == OLD
    assert [request.method for request in proxy.requests] == ["POST", "GET"]


def test_a_read_says_what_it_will_cost_before_it_is_made(store: Store, proxy: FaultProxy) -> None:
    ref = TableRef(store.warehouse.schema, PRICES.name)
    proxy.dry_run_bytes = 12_345
    assert store.warehouse.read_cost(ref, keys_slice([KEY]), PRICES, ["close"]) == 12_345
    (asked,) = proxy.requests
    assert asked.is_dry_run
    assert store.warehouse.read_cost(TableRef(ref.schema, "nowhere"), keys_slice([KEY]), PRICES, ["close"]) == 0


@dg.asset(partitions_def=TICKER_DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def reader(prices: pd.DataFrame) -> None:
    """Reads the keys of its run."""


def read_by_asset(store: Store, **which: Any) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """The run, and what it logged."""
    on = instance()
    result = run(
        [dg.AssetSpec("prices", partitions_def=TICKER_DAYS, metadata=METADATA), reader], store.io_manager, on, **which
    )
    assert result.success
    return result, [entry.user_message for entry in on.all_logs(result.run_id)]


def test_the_cost_of_reading_one_key_is_in_the_metadata_of_the_input(store: Store, proxy: FaultProxy) -> None:
    proxy.dry_run_bytes = 12_345
    result, _ = read_by_asset(store, key=KEY)
    (loaded,) = [e for e in result.all_events if e.event_type == dg.DagsterEventType.LOADED_INPUT]
    shown = {name: value.value for name, value in loaded.event_specific_data.metadata.items()}
    assert shown == {"table": f"test-project.{store.warehouse.schema}.prices", "bytes to read": 12_345}
    dry, read = [request for request in proxy.requests if request.sql.startswith("SELECT")]
    assert (dry.is_dry_run, read.is_dry_run) == (True, False)
    assert dry.sql.split(" ORDER BY ")[0] == read.sql.split(" ORDER BY ")[0]


def test_the_cost_of_reading_many_keys_is_in_the_log_of_the_run(store: Store, proxy: FaultProxy) -> None:
    proxy.dry_run_bytes = 67_890
    _, logged = read_by_asset(store, between=(KEY, "2024-01-03|MSFT"))
    said = f"Reading test-project.{store.warehouse.schema}.prices will process 67890 bytes."
    assert logged.count(said) == 1


def test_a_table_that_demands_a_bound_is_always_given_one(proxy: FaultProxy) -> None:
    dataset = bigquery_store().warehouse.schema
    warehouse = BigQueryWarehouse("test-project", dataset, deadline=30, require_partition_filter=True)
    write(warehouse, prices([("AAPL", "2024-01-02", 1.0)]))
    write(warehouse, of_keys([KEY], 2.0), keys_slice([KEY]))
    write(warehouse, prices([]))
    warehouse.content_hash(PRICES)
    warehouse.read(PRICES, tickers=["AAPL"])
    (created,) = [
        r
        for r in proxy.requests
        if r.method == "POST" and b'"tableId": "prices"' in r.body and r.path.endswith("/tables?prettyPrint=false")
    ]
    assert b'"requirePartitionFilter": true' in created.body
    statements = proxy.statements()
    assert len(statements) == 5
    for statement in statements:
        tree = sqlglot.parse_one(statement, dialect="bigquery")
        assert {node.left.name for node in tree.find_all(exp.GTE)} == {"date"}
