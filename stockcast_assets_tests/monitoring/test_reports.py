import json
import subprocess
import sys
import textwrap
import uuid
from datetime import date, timedelta

import pandas as pd
import pytest
from typer.testing import CliRunner

from stockcast_assets.cli.app import app
from stockcast_assets.cli.parse import arranged
from stockcast_assets.errors import StockcastError
from stockcast_assets.monitoring.drift import DriftResult, drift_report
from stockcast_assets.monitoring.reports import ReportStore
from stockcast_assets.monitoring.series import inputs
from stockcast_assets_tests.monitoring.conftest import said_by_har

FIRST = date(2013, 2, 4)


def result(ticker: str, offset: int) -> DriftResult:
    day = FIRST + timedelta(days=offset)
    text = json.dumps({"ticker": ticker, "date": day.isoformat(), "drifted": False})
    return DriftResult(ticker, day, pd.DataFrame({"drifted": [False]}), {}, text)


def days(store: ReportStore, ticker: str) -> set[int]:
    """Offsets of the days with a report."""
    stored = set(store._files.names())
    return {o for o in range(60) if f"{ticker}/{FIRST + timedelta(days=o)}.json" in stored}


@pytest.fixture
def store(tmp_path):
    return ReportStore(tmp_path / "reports")


@pytest.fixture(params=["folder", "bucket"])
def anywhere(request, tmp_path) -> ReportStore:
    """A store in a folder, and one below a prefix of a bucket on a real Cloud Storage server."""
    if request.param == "folder":
        return ReportStore(tmp_path / "reports")
    bucket = request.getfixturevalue("storage_client").create_bucket(f"reports-{uuid.uuid4()}")
    return ReportStore(f"gs://{bucket.name}/drift/daily", "test")


def put(store: ReportStore, *names: str) -> None:
    """Files that are none of ours, at the same place."""
    store._files.write(dict.fromkeys(names, "not ours"))


def test_every_day_keeps_its_report(anywhere):
    uris = anywhere.save([result("AAPL", o) for o in range(10)])
    assert days(anywhere, "AAPL") == set(range(10))
    assert anywhere.record("AAPL", FIRST) == {"ticker": "AAPL", "date": str(FIRST), "drifted": False}
    name = f"AAPL/{FIRST}.json"
    assert uris["AAPL", FIRST] == (f"{anywhere.location}/{name}" if "gs:" in anywhere.location else f"reports/{name}")


def test_pruning_removes_old_reports_and_nothing_that_is_none(anywhere):
    strange = [
        "AAPL/notes.txt", "AAPL/2013-02-04.json.bak", "AAPL/2013-02-30.json", "AAPL/old/2013-02-04.json",
        "AAPL/2013-02-04.html", "evaluation/2013-02-04.html", "2013-02-04.json", "aapl/2013-02-04.json",
    ]  # fmt: skip
    anywhere.save([result("AAPL", o) for o in range(8)])
    anywhere.save([result("^GSPC", o) for o in range(3)])
    put(anywhere, *strange)
    before = anywhere._files.names()
    dry = anywhere.prune(4, dry_run=True)
    assert dry.removed == tuple(f"AAPL/2013-02-{end}" for end in ("04.json", "05.json", "06.json"))
    assert anywhere._files.names() == before
    assert anywhere.prune(4) == dry
    assert set(before) - set(anywhere._files.names()) == set(dry.removed)
    assert days(anywhere, "AAPL") == {3, 4, 5, 6, 7}
    assert days(anywhere, "%5EGSPC") == {0, 1, 2}, "a ticker whose runs ended keeps its last reports"
    assert dry.kept == 8
    assert anywhere.prune(4).removed == ()
    with pytest.raises(StockcastError, match="at least 1"):
        anywhere.prune(0)


def test_a_report_that_is_gone_says_so_in_one_sentence(anywhere):
    assert anywhere.record("AAPL", FIRST) is None
    with pytest.raises(StockcastError, match=r"no drift report of AAPL on 2013-02-04.*pruned.*or never made") as gone:
        anywhere.page("AAPL", FIRST, pd.DataFrame())
    assert "\n" not in str(gone.value)


def test_a_bucket_that_cannot_be_used_is_one_sentence(storage_client):
    with pytest.raises(StockcastError, match=r"There is no bucket 'absent'.*STOCKCAST_REPORTS=gs://absent/drift"):
        ReportStore("gs://absent/drift", "test").record("AAPL", FIRST)
    with pytest.raises(StockcastError, match="There is no bucket 'absent'"):
        ReportStore("gs://absent/drift", "test").save([result("AAPL", 0)])
    with pytest.raises(StockcastError, match="names no bucket: write STOCKCAST_REPORTS"):
        ReportStore("gs://")


def test_tickers_do_not_touch_each_other(store, tmp_path):
    uris = store.save([result(t, 0) for t in ("^GSPC", "BTC-USD", "VOD.L", "EURUSD=X")])
    store.save([result("^GSPC", 1), result("BTC-USD", 0)])
    assert days(store, "%5EGSPC") == {0, 1}
    assert days(store, "BTC-USD") == days(store, "VOD.L") == days(store, "EURUSD%3DX") == {0}
    assert len(set(uris.values())) == 4
    assert all((tmp_path / uri).is_file() for uri in uris.values())


def test_the_uri_survives_a_moved_home(tmp_path):
    first = ReportStore(tmp_path / "here" / "reports")
    uri = first.save([result("AAPL", 0)])["AAPL", FIRST]
    (tmp_path / "here").rename(tmp_path / "there")
    assert ReportStore(tmp_path / "there" / "reports").uri("AAPL", FIRST) == uri
    assert (tmp_path / "there" / uri).is_file()


@pytest.mark.parametrize("ticker", ["../x", "a/b", "", "AA..", "A\0"])
def test_a_malformed_ticker_reaches_no_path(store, ticker, tmp_path):
    with pytest.raises(StockcastError, match="not a ticker"):
        store.save([result(ticker, 0)])
    assert not list(tmp_path.rglob("*.json"))


def test_again_changes_no_byte(store, msft, tmp_path):
    report = drift_report("MSFT", date(2013, 2, 15), inputs(msft), date(2000, 3, 1), date(2013, 1, 31))
    path = tmp_path / store.save([report])["MSFT", report.day]
    before = path.read_bytes()
    store.save([report])
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing half-written"


def test_a_page_is_drawn_from_its_windows(store, msft):
    seen = inputs(msft).merge(said_by_har(msft), on="date", how="left")
    day = date(2013, 2, 15)
    store.save([drift_report("MSFT", day, seen, date(2010, 1, 1), date(2013, 1, 31), "3")])
    page = store.page("MSFT", day, seen)
    assert "inputs: log_return" in page
    assert "predictions: width_1" in page
    assert "Drawn without" not in page
    assert "belong to the training window, too" not in page
    later = store.page("MSFT", day, seen.assign(rsi_14=seen["rsi_14"].where(seen["date"] <= pd.Timestamp(day), 0.0)))
    assert abs(len(later) - len(page)) < 2000, "same windows, same page (Evidently numbers its widgets at random)"
    poorer = store.page("MSFT", day, inputs(msft))
    assert "predictions: width_1" not in poorer
    assert "Drawn without width_1, width_10, median_10" in poorer
    with pytest.raises(StockcastError, match="compared 715 sessions and the warehouse now holds"):
        store.page("MSFT", day, seen[seen["date"] != "2012-05-01"])


def test_a_full_disk_leaves_the_old_report_whole(tmp_path):
    code = textwrap.dedent(
        """
        import pandas as pd, pathlib, resource, sys
        from datetime import date
        from stockcast_assets.errors import StockcastError
        from stockcast_assets.monitoring.drift import DriftResult
        from stockcast_assets.monitoring.reports import ReportStore
        store = ReportStore(pathlib.Path(sys.argv[1]))
        def result(text):
            rows = pd.DataFrame({"drifted": [True]})
            return DriftResult("AAPL", date(2013, 2, 4), rows, {}, text)
        store.save([result('{"drifted": false, "old": true}')])
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            store.save([result('{"drifted": false, "new": "' + "x" * 50_000 + '"}')])
        except StockcastError as error:
            print(error)
        else:
            sys.exit("the write should have failed")
        """
    )
    root = tmp_path / "reports"
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "could not be written" in done.stdout
    assert {p.name for p in (root / "AAPL").iterdir()} == {"2013-02-04.json"}
    assert ReportStore(root).record("AAPL", date(2013, 2, 4)) == {"drifted": False, "old": True}


def test_the_command_prunes_by_the_setting_and_lists_first_if_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path))
    monkeypatch.setenv("STOCKCAST_REPORTS_KEEP_DAYS", "2")
    here = ReportStore(tmp_path / "reports")
    here.save([result("AAPL", o) for o in range(4)])

    def prune(*options: str) -> str:
        done = CliRunner().invoke(app, arranged(["reports", "prune", *options]))
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "1 files would be removed, 3 kept" in prune("--dry-run")
    assert days(here, "AAPL") == {0, 1, 2, 3}
    assert json.loads(prune("--json"))["removed"] == ["AAPL/2013-02-04.json"]
    assert days(here, "AAPL") == {1, 2, 3}
    assert "1 files removed, 2 kept" in prune("--keep-days", "1")
    assert days(here, "AAPL") == {2, 3}
