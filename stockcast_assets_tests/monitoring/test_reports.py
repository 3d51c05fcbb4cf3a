import json
import subprocess
import sys
import textwrap
from datetime import date, timedelta

import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.monitoring.drift import DriftResult, drift_features, drift_report
from stockcast_assets.monitoring.reports import ReportStore

FIRST = date(2013, 2, 4)


def result(ticker: str, offset: int, drifted: bool = False, drawn: list | None = None) -> DriftResult:
    day = FIRST + timedelta(days=offset)

    def html() -> str:
        if drawn is not None:
            drawn.append(day)
        return f"<html>{ticker} {day}</html>"

    rows = pd.DataFrame({"drifted": [drifted]})
    text = json.dumps({"ticker": ticker, "date": day.isoformat(), "drifted": drifted})
    return DriftResult(ticker, day, rows, text, html)


def pages(store: ReportStore, ticker: str) -> set[int]:
    """Offsets of the days that keep a page."""
    return {o for o in range(60) if store.page(ticker, FIRST + timedelta(days=o))}


@pytest.fixture
def store(tmp_path):
    return ReportStore(tmp_path / "reports", keep_drifted=3)


def test_every_day_keeps_its_json_and_only_the_latest_and_drifted_days_a_page(store):
    drawn: list[date] = []
    store.save([result("AAPL", o, drifted=o in (2, 5), drawn=drawn) for o in range(10)])
    assert all(store.record("AAPL", FIRST + timedelta(days=o)) for o in range(10))
    assert pages(store, "AAPL") == {2, 5, 9}
    assert len(drawn) == 3, "pages that are not kept are not drawn"


def test_the_next_day_prunes_the_last_page_unless_it_drifted(store):
    for offset in range(4):
        store.save([result("AAPL", offset, drifted=offset == 1)])
    assert pages(store, "AAPL") == {1, 3}


def test_drifted_pages_are_bounded(store):
    store.save([result("AAPL", o, drifted=True) for o in range(12)])
    assert pages(store, "AAPL") == {9, 10, 11}


def test_a_backfill_in_any_order_keeps_the_same_pages(tmp_path):
    results = [result("AAPL", o, drifted=o % 4 == 1) for o in range(12)]
    forward, backward = (ReportStore(tmp_path / name, keep_drifted=9) for name in ("a", "b"))
    for item in results:
        forward.save([item])
    for item in reversed(results):
        backward.save([item])
    assert pages(forward, "AAPL") == pages(backward, "AAPL") == {1, 5, 9, 11}


def test_tickers_do_not_touch_each_other(store):
    uris = store.save([result(t, 0) for t in ("^GSPC", "BTC-USD", "VOD.L", "EURUSD=X")])
    store.save([result("^GSPC", 1)])
    assert pages(store, "^GSPC") == {1}
    assert pages(store, "BTC-USD") == pages(store, "VOD.L") == pages(store, "EURUSD=X") == {0}
    assert len(set(uris.values())) == 4
    assert all((store.root.parent / uri).is_file() for uri in uris.values())


def test_the_uri_survives_a_moved_home(tmp_path):
    first = ReportStore(tmp_path / "here" / "reports")
    uri = first.save([result("AAPL", 0)])["AAPL", FIRST]
    (tmp_path / "here").rename(tmp_path / "there")
    assert ReportStore(tmp_path / "there" / "reports").uri("AAPL", FIRST) == uri
    assert (tmp_path / "there" / uri).is_file()


@pytest.mark.parametrize("ticker", ["../x", "a/b", "", "AA..", "A\0"])
def test_a_malformed_ticker_reaches_no_path(store, ticker):
    with pytest.raises(StockcastError, match="not a ticker"):
        store.save([result(ticker, 0)])
    assert not store.root.exists() or not list(store.root.rglob("*.json"))


def test_again_changes_no_byte(store, msft):
    report = drift_report("MSFT", date(2013, 2, 15), drift_features(msft), date(2000, 3, 1), date(2013, 1, 31))
    plain = DriftResult(report.ticker, report.day, report.rows, report.json, lambda: "page")
    uri = store.save([plain])["MSFT", report.day]
    path = store.root.parent / uri
    before = path.read_bytes()
    store.save([plain])
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_pruned_page_is_drawn_again_from_its_windows(store, msft):
    features = drift_features(msft)
    day = date(2013, 2, 15)
    report = drift_report("MSFT", day, features, date(2010, 1, 1), date(2013, 1, 31))
    store.save([report])
    kept = store.render("MSFT", day, features)
    assert kept == store.page("MSFT", day).read_text("utf-8")
    store.page("MSFT", day).unlink()
    again = store.render("MSFT", day, features)
    assert "log_return" in again
    assert abs(len(again) - len(kept)) < 2000, "same windows, same page (Evidently numbers its widgets at random)"
    with pytest.raises(StockcastError, match="compared 775 sessions and the warehouse now holds"):
        store.render("MSFT", day, features[features["date"] != "2012-05-01"])
    with pytest.raises(StockcastError, match="no drift report of MSFT on 2013-02-18"):
        store.render("MSFT", date(2013, 2, 18), features)


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
            rows = pd.DataFrame({"drifted": [False]})
            return DriftResult("AAPL", date(2013, 2, 4), rows, text, lambda: "page")
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
    assert {p.name for p in (root / "AAPL").iterdir()} == {"2013-02-04.json", "2013-02-04.html"}
    assert ReportStore(root).record("AAPL", date(2013, 2, 4)) == {"drifted": False, "old": True}
