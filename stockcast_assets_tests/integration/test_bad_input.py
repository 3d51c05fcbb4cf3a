"""Bad input on the command line: one sentence each, exit status 1, and nothing stored."""

import json
from pathlib import Path

import pytest

from stockcast_assets_tests.conftest import Run

WRONG = {
    "an unknown ticker": (("forecast", "NOPE", "2013-02-15"), ["NOPE", "AAPL, GOOG, IBM, MSFT"]),
    "a malformed ticker": (("forecast", "../x", "2013-02-15"), ["'../x' is not a ticker"]),
    "a malformed date": (("forecast", "MSFT", "2013-2-31"), ["'2013-2-31' is not a date", "YYYY-MM-DD"]),
    "a compact date": (("forecast", "MSFT", "20130215"), ["'20130215' is not a date"]),
    "a date in the future": (("forecast", "MSFT", "2099-01-02"), ["2099-01-02 is not over yet"]),
    "a date after the sample": (("forecast", "MSFT", "2014-01-02"), ["STOCKCAST_END_DATE", "2013-03-01"]),
    "a date before the daily keys": (("forecast", "MSFT", "2003-01-03"), ["STOCKCAST_START_DATE"]),
    "an unknown asset": (
        ("backfill", "--tickers", "MSFT", "--assets", "prices"),
        ["'prices' is no asset", "raw_prices"],
    ),
    "a range the wrong way round": (
        ("backfill", "--tickers", "MSFT", "--from", "2013-02-05", "--to", "2013-02-01"),
        ["swap them"],
    ),
    "a range after the newest session": (
        ("backfill", "--tickers", "MSFT", "--from", "2013-05-01"),
        ["--from 2013-05-01 is after the newest session there is, 2013-03-01"],
    ),
    "no ticker to backfill": (("backfill",), ["`stockcast backfill AAPL MSFT`"]),
    "blanks in the place of a ticker": (("backfill", "--tickers", " , "), ["No ticker is given"]),
    "no asset to backfill": (("backfill", "MSFT", "--assets", ""), ["'' is no asset"]),
    "no source to backfill from": (("backfill", "MSFT", "--source", "bloomberg"), ["name one of yahoo, csv, sample"]),
    "a queue that nobody serves": (("backfill", "MSFT", "--queued"), ["No daemon is at work"]),
    "no ticker to evaluate": (("evaluate", " , "), ["No ticker is given"]),
    "an unknown ticker to evaluate": (("evaluate", "MSFT,NOPE"), ["NOPE", "AAPL, GOOG, IBM, MSFT"]),
    "an evaluation the wrong way round": (
        ("evaluate", "MSFT", "--from", "2012-06-01", "--to", "2012-01-01"),
        ["swap them"],
    ),
    "no ticker to tune": (("tune",), ["Name tickers, or --all"]),
    "one ticker and all": (("tune", "MSFT", "--all"), ["Name tickers, or --all"]),
    "all of no tickers": (("tune", "--all"), ["no ticker yet"]),
    "an explanation of what is not stored": (
        ("explain", "AAPL", "2013-01-04"),
        ["make it with `stockcast forecast AAPL 2013-01-04`"],
    ),
    "an explanation of what cannot be made": (("explain", "NOPE", "2013-01-04"), ["has no ticker 'NOPE'"]),
    "an explanation before the daily keys": (("explain", "AAPL", "2003-01-03"), ["STOCKCAST_START_DATE"]),
    "removing what is not there": (("tickers", "remove", "MSFT"), ["MSFT is not among the tickers"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_is_one_sentence_and_nothing_is_stored(run: Run, tmp_path: Path, case: str) -> None:
    arguments, words = WRONG[case]
    status, out, err = run(*arguments)
    assert status == 1, err
    assert out == ""
    sentence = err.strip()
    assert sentence.startswith("error: ")
    assert "\n" not in sentence
    assert sentence.endswith((".", ")"))
    for word in words:
        assert word in sentence
    assert not (tmp_path / "home" / "warehouse.duckdb").exists()
    assert json.loads(run("tickers", "list", "--json")[1]) == []


def test_a_calendar_whose_days_are_no_keys_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_CALENDARS", "XNYS")
    assert "set STOCKCAST_CALENDARS=XNYS,XLON" in run("tickers", "add", "VOD.L")[2]
    # Where every day is a key, a known calendar needs nobody to name it: only the sample does not know the ticker.
    monkeypatch.setenv("STOCKCAST_CALENDARS", "XNYS,24/7")
    assert "The sample has no ticker 'VOD.L'" in run("tickers", "add", "vod.l")[2]


def test_a_wrong_setting_stops_before_anything(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STOCKCAST_START_DATE", "yesterday")
    status, _, err = run("status")
    assert status == 1
    assert err.startswith("error: STOCKCAST_START_DATE='yesterday'")
    assert not (tmp_path / "home").exists()


def test_a_wrong_configured_ticker_or_calendar_stops_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_TICKERS", "MSFT,a b")
    assert "'a b' is not a ticker" in run("status")[2]
    monkeypatch.setenv("STOCKCAST_TICKERS", "MSFT")
    monkeypatch.setenv("STOCKCAST_CALENDARS", "XMARS")
    assert "'XMARS'" in run("status")[2]


def test_the_demo_insists_on_the_sample(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_SOURCE", "yahoo")
    status, _, err = run("demo")
    assert status == 1
    assert "STOCKCAST_SOURCE=yahoo" in err


def test_tickers_come_and_go(run: Run) -> None:
    assert run("tickers", "add", "msft,AAPL", "MSFT")[0] == 0
    listed = json.loads(run("tickers", "list", "--json")[1])
    assert [(row["ticker"], row["calendar"], row["state"]) for row in listed] == [
        ("MSFT", "XNYS", "new"),
        ("AAPL", "XNYS", "new"),
    ]
    assert json.loads(run("tickers", "remove", "MSFT", "--json")[1])["tickers"] == ["AAPL"]


BAD_FILES = {
    "empty": b"",
    "not UTF-8": "Date,Open,High,Low,Close,Volume\n2012-01-05,1,2,1,é,5\n".encode("latin-1"),
    "negative price": b"Date,Open,High,Low,Close,Volume\n2012-01-05,-1,2,1,1,5\n",
    "high below low": b"Date,Open,High,Low,Close,Volume\n2012-01-05,5,4,6,5,5\n",
    "no ticker": b"Symbol,Date,Open,High,Low,Close,Volume\nNEW,2012-01-05,1,2,1,1,5\n../B,2012-01-06,1,2,1,1,5",
    "duplicate dates": b"Date,Open,High,Low,Close,Volume\n2012-01-05,1,2,1,1,5\n2012-01-05,1,2,1,2,5\n",
    "implausible": b"Date,Open,High,Low,Close,Volume\n2012-01-04,99,99,99,99,5\n2012-01-05,1,2,1,1,5\n",
    "formula": b"Date,Open,High,Low,Close,Volume\n2012-01-05,=1+1,2,1,1,5\n",
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_sentence_and_set_aside_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    monkeypatch.setenv("STOCKCAST_SOURCE", "csv")
    inbox = tmp_path / "home" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "NEW.csv").write_bytes(BAD_FILES[case])
    status, out, err = run("forecast", "NEW", "2012-01-05")
    assert (status, out) == (1, "")
    assert err.startswith("error: NEW.csv")
    assert err.count("\n") == 1
    assert (inbox / "rejected" / "NEW.csv").read_bytes() == BAD_FILES[case]
    assert (inbox / "rejected" / "NEW.csv.reason.txt").exists()
    assert json.loads(run("tickers", "list", "--json")[1]) == []
