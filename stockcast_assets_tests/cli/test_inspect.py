"""`stockcast inspect`: the same reading as the inbox's, the same sentences, and nothing stored."""

import json
from functools import partial
from pathlib import Path

import pytest

from stockcast_assets_tests.conftest import Run
from stockcast_assets_tests.market.sources.formats import FORMATS, Format

BY_NAME = {f"{each.vendor}: {each.what}": each for each in FORMATS}
VENDORS = ("Yahoo Finance", "yfinance", "Alpha Vantage", "Tiingo", "EODHD", "Nasdaq Data Link", "nasdaq.com")
VENDORS += ("Stooq", "Google Sheets", "Excel", "Kaggle", "CryptoDataDownload", "Barchart", "WSJ", "Sharadar")


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("FILE")` is `stockcast inspect FILE`."""
    monkeypatch.setenv("STOCKCAST_SOURCE", "csv")
    monkeypatch.setenv("STOCKCAST_CALENDARS", "XNYS,24/7,24/5,XETR,XWAR")
    return partial(run, "inspect")


def put(folder: Path, file: Format) -> str:
    path = folder / file.name
    path.write_bytes(file.data)
    return str(path)


@pytest.mark.parametrize("vendor", VENDORS)
def test_it_shows_how_a_vendors_file_is_read_and_stores_nothing(run: Run, tmp_path: Path, vendor: str) -> None:
    file = next(each for each in FORMATS if each.vendor == vendor and each.tickers)
    status, out, _ = run(put(tmp_path, file), "--json")
    assert status == 0
    document = json.loads(out)
    assert [row["ticker"] for row in document["tickers"]] == list(file.tickers)
    [row, *_] = document["tickers"]
    assert (row["first"], row["last"], row["rows"]) == (
        f"{file.bars[0].day:%Y-%m-%d}",
        f"{file.bars[-1].day:%Y-%m-%d}",
        len(file.bars),
    )
    assert row["price_history"] + row["raw_prices"] == row["new"] == len(file.bars)
    assert {"date", "open", "high", "low", "close"} <= set(document["columns"])
    assert not (tmp_path / "home").exists()


def test_the_table_names_columns_that_are_read_and_left(run: Run, tmp_path: Path) -> None:
    status, out, err = run(put(tmp_path, BY_NAME["Tiingo: as traded, `splitFactor`, adjusted columns beside"]))
    assert status == 0
    for words in ("AAPL", "XNYS", "2023-03-06", "2023-03-21", "splitFactor", "split ratio", "adjVolume"):
        assert words in out
    assert "brought the prices before 1 split to the shares of the last day" in err


def test_the_ticker_may_be_said(run: Run, tmp_path: Path) -> None:
    nameless = next(each for each in FORMATS if each.name.startswith("HistoricalData_"))
    path = put(tmp_path, nameless)
    status, _, err = run(path)
    assert status == 1
    assert err.count("\n") == 1
    assert "name the file after the ticker" in err
    status, out, _ = run(path, "--ticker", "AAPL", "--json")
    assert status == 0
    assert [row["ticker"] for row in json.loads(out)["tickers"]] == ["AAPL"]


def test_one_of_several_tickers(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, next(each for each in FORMATS if len(each.tickers) > 1))
    assert [row["ticker"] for row in json.loads(run(path, "--ticker", "MSFT", "--json")[1])["tickers"]] == ["MSFT"]
    assert "has no bars of IBM: it is of AAPL, MSFT" in run(path, "--ticker", "IBM")[2]


REPORTS = (
    "Symbol,Report Date,Time,Estimate\nMSFT,2013-01-24,after close,0.75\nMSFT,2013-04-18,,\nAAPL,2013-01-23,amc,\n"
)


def test_a_file_of_reports_is_read_as_the_inbox_reads_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "calendar.csv"
    path.write_text(REPORTS)
    status, out, _ = run(str(path), "--json")
    assert status == 0
    document = json.loads(out)
    assert document["reports"] == [
        {"ticker": "AAPL", "first": "2013-01-23", "last": "2013-01-23", "reports": 1, "with_hour": 1, "with_known": 0},
        {"ticker": "MSFT", "first": "2013-01-24", "last": "2013-04-18", "reports": 2, "with_hour": 1, "with_known": 0},
    ]
    assert document["columns"] == {"ticker": "Symbol", "date": "Report Date", "when": "Time"}
    assert (document["tickers"], document["columns_left"]) == ([], ["Estimate"])
    status, out, _ = run(str(path), "--ticker", "MSFT")
    assert status == 0
    assert "with their hour" in out
    assert "AAPL" not in out
    assert "has no reports of IBM: it is of AAPL, MSFT" in run(str(path), "--ticker", "IBM")[2]
    path.write_text("Ticker,Date,When\nMSFT,2013-01-24,noonish\n")
    assert "'noonish' says no hour" in run(str(path))[2]


@pytest.mark.parametrize("file", [each for each in FORMATS if not each.tickers], ids=lambda each: each.what)
def test_what_the_inbox_refuses_it_refuses_in_the_same_words(run: Run, tmp_path: Path, file: Format) -> None:
    status, out, err = run(put(tmp_path, file))
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {file.name}")
    assert file.refused in err
    assert err.count("\n") == 1


def test_a_calendar_that_is_not_enabled_is_said_after_the_table(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKCAST_CALENDARS", "XNYS")
    status, out, err = run(put(tmp_path, next(each for each in FORMATS if each.tickers == ("SAP.DE",))))
    assert status == 1
    assert "SAP.DE" in out
    assert "SAP.DE trades on the calendar XETR, which is not in STOCKCAST_CALENDARS=XNYS" in err


def test_what_is_no_file_is_said(run: Run, tmp_path: Path) -> None:
    assert "There is no file" in run(str(tmp_path / "gone.csv"))[2]
    assert "There is no file" in run(str(tmp_path))[2]
    large = tmp_path / "LARGE.csv"
    with large.open("wb") as file:
        file.truncate(11 * 2**20)
    assert "more than 10 MB" in run(str(large))[2]
    text = tmp_path / "AAPL.txt"
    text.write_bytes(next(each for each in FORMATS if each.name == "aapl.us.csv").data)
    assert "rename it before you upload it" in run(str(text))[2]
