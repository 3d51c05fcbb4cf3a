"""Good files in every shape people export, and one sentence for every way a file can be bad."""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.adjust import total_return_close
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources import source_from
from stockcast_assets.market.sources.csvfile import CsvSource, parse
from stockcast_assets.market.sources.files import parse_bytes
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.market.sources.validate import validate_bars

NOW = pd.Timestamp("2024-02-01 12:00", tz="UTC").as_unit("ns")
HEADER = "Date,Open,High,Low,Close,Adj Close,Volume\n"
ROWS = (
    "2024-01-02,10.0,11.5,9.5,11.0,10.5,100\n"
    "2024-01-03,11.0,12.5,10.5,12.0,11.5,200\n"
    "2024-01-04,12.0,12.5,11.0,11.5,11.0,0\n"
)
PLAIN = HEADER + ROWS


def parsed(text: str, name: str = "NEW.csv"):
    return parse_bytes(text.encode(), name, NOW)


def refusal(text: str | bytes, name: str = "NEW.csv") -> str:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(StockcastError) as caught:
        parse_bytes(content, name, NOW)
    sentence = str(caught.value)
    assert sentence.startswith(name)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


class TestGoodFiles:
    def test_plain(self):
        upload = parsed(PLAIN)
        assert upload.tickers == ("NEW",)
        assert upload.notes == ()
        bars = validate_bars(upload.bars, "here")
        assert list(bars["date"].dt.strftime("%Y-%m-%d")) == ["2024-01-02", "2024-01-03", "2024-01-04"]
        assert list(bars["adj_close"]) == [10.5, 11.5, 11.0]
        assert list(bars["volume"]) == [100, 200, 0]
        assert list(bars["dividend"]) == [0.0, pytest.approx(12.0 * (11.5 / 12.0 * 11.0 / 10.5 - 1), abs=1e-6), 0.0]
        assert set(bars["split_ratio"]) == {1.0}
        assert set(bars["source"]) == {"csv"}
        assert set(bars["ingested_at"]) == {NOW}

    @pytest.mark.parametrize(
        "text",
        [
            "\ufeff" + PLAIN,
            PLAIN.replace("\n", "\r\n"),
            PLAIN.rstrip("\n"),
            PLAIN.replace("\n", "\n\n"),
            PLAIN.replace("Date,Open", "dATE,OPEN").replace("Adj Close", "adj_close"),
            HEADER + "".join(reversed(ROWS.splitlines(keepends=True))),
            "".join(f"{line},x\n" for line in PLAIN.splitlines()).replace("Volume,x", "Volume,Remarks"),
            "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in PLAIN.splitlines()),
            PLAIN.replace("100\n", "100.0\n").replace(",200\n", ",2e2\n"),
            PLAIN.replace("2024-01-02", "2024-01-02 00:00:00-05:00"),
            PLAIN.replace("2024-01-02", "2024-01-02T00:00:00"),
        ],
        ids=[
            "byte order mark",
            "CRLF",
            "no last newline",
            "blank lines",
            "names in any case",
            "unsorted",
            "unknown column",
            "quoted",
            "whole floats",
            "timestamp",
            "ISO timestamp",
        ],
    )
    def test_the_same_bars_however_they_are_written(self, text):
        upload = parsed(text)
        assert upload.notes == ()
        pd.testing.assert_frame_equal(upload.bars, parsed(PLAIN).bars)

    @pytest.mark.parametrize("name", ["Symbol", "SYMBOL", "ticker", "Ticker"])
    def test_a_ticker_column_wins_over_the_file_name(self, name):
        lines = PLAIN.splitlines()
        text = "\n".join([f"{name},{lines[0]}", *(f"vod.l,{line}" for line in lines[1:])])
        upload = parsed(text, "export.csv")
        assert upload.tickers == ("VOD.L",)
        assert set(upload.bars["ticker"]) == {"VOD.L"}

    def test_a_lower_case_file_name_is_the_ticker(self):
        assert parsed(PLAIN, "new.CSV").tickers == ("NEW",)

    def test_without_adjusted_close_the_close_stands_in(self):
        text = "\n".join(",".join(np.delete(line.split(","), 5)) for line in PLAIN.splitlines())
        bars = parsed(text).bars
        assert list(bars["adj_close"]) == list(bars["close"])

    def test_actions_and_a_negative_number_that_is_no_formula(self):
        text = (
            "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits,Change\n"
            "2024-01-02,10,11,9,10,5,0.24,0.0,-1.5\n"
            "2024-01-03,10,11,9,10,5,0.0,4.0,-2e-3\n"
            "2024-01-04,10,11,9,10,5,,,-.5\n"
        )
        bars = parsed(text).bars
        assert list(bars["dividend"]) == [0.24, 0.0, 0.0]
        assert list(bars["split_ratio"]) == [1.0, 4.0, 1.0]

    def test_days_the_market_was_closed_are_left_out_and_noted(self):
        row = ROWS.splitlines()[0].removeprefix("2024-01-02")
        upload = parsed(PLAIN + f"2024-01-01{row}\n2024-01-06{row}\n")
        assert len(upload.bars) == 3
        assert upload.notes == ("left out 2 of days on which XNYS is closed (first: 2024-01-01)",)

    def test_a_24_7_ticker_keeps_its_weekends(self):
        row = ROWS.splitlines()[0].removeprefix("2024-01-02")
        upload = parsed(PLAIN + f"2024-01-06{row}\n2024-01-07{row}\n", "ETH-USD.csv")
        assert len(upload.bars) == 5
        assert upload.notes == ()

    def test_the_session_that_goes_on_is_left_out_and_noted(self):
        row = ROWS.splitlines()[0].removeprefix("2024-01-02")
        upload = parsed(PLAIN + f"2024-02-01{row}\n")
        assert len(upload.bars) == 3
        assert upload.notes == ("left out 1 of a session that is not over (first: 2024-02-01)",)

    def test_a_bar_of_today_on_a_closed_day(self):
        row = ROWS.splitlines()[0].removeprefix("2024-01-02")
        saturday = pd.Timestamp("2024-01-06 12:00", tz="UTC").as_unit("ns")
        upload = parse_bytes(f"{PLAIN}2024-01-06{row}\n".encode(), "NEW.csv", saturday)
        assert upload.notes == ("left out 1 of days on which XNYS is closed (first: 2024-01-06)",)

    def test_bars_older_than_the_calendars_are_left_out_and_noted(self):
        row = ROWS.splitlines()[0].removeprefix("2024-01-02")
        upload = parsed(PLAIN + f"1962-01-02{row}\n")
        assert len(upload.bars) == 3
        assert "from before 1990-01-01" in upload.notes[0]

    def test_rows_without_any_price_are_left_out_and_noted(self):
        upload = parsed(PLAIN + "2024-01-05,null,null,null,null,null,null\n")
        assert len(upload.bars) == 3
        assert upload.notes == ("left out 1 without any price (first: 2024-01-05)",)


class TestExportsOfYfinance:
    """Files written by pandas from frames of the very shape that yfinance returns."""

    @pytest.fixture
    def history(self) -> pd.DataFrame:
        bars = SampleSource().bars("AAPL", date(2012, 8, 1), date(2012, 8, 31))
        frame = bars[["open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio"]]
        frame.columns = ["Open", "High", "Low", "Close", "Adj Close", "Volume", "Dividends", "Stock Splits"]
        frame = frame.assign(**{"Stock Splits": 0.0})
        return frame.set_index(pd.DatetimeIndex(bars["date"], name="Date").tz_localize("America/New_York"))

    def same(self, bars: pd.DataFrame, columns: list[str]) -> None:
        expected = SampleSource().bars("AAPL", date(2012, 8, 1), date(2012, 8, 31))
        pd.testing.assert_frame_equal(bars[columns], expected[columns])

    def test_history(self, history):
        upload = parsed(history.to_csv(), "AAPL.csv")
        self.same(
            upload.bars,
            ["date", "open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio"],
        )

    def test_adjusted_history_without_adjusted_close(self, history):
        adjusted = history.drop(columns="Adj Close")
        self.same(parsed(adjusted.to_csv(), "AAPL.csv").bars, ["date", "close", "dividend"])

    @pytest.mark.parametrize("by_ticker", [False, True])
    def test_download(self, history, by_ticker):
        frame = history[["Adj Close", "Close", "High", "Low", "Open", "Volume"]].tz_localize(None)
        names = ["Ticker", "Price"] if by_ticker else ["Price", "Ticker"]
        frame.columns = pd.MultiIndex.from_tuples(
            [("AAPL", name) if by_ticker else (name, "AAPL") for name in frame.columns], names=names
        )
        upload = parsed(frame.to_csv(), "whatever.csv")
        assert upload.tickers == ("AAPL",)
        self.same(upload.bars, ["date", "open", "high", "low", "close", "adj_close", "volume"])

    def test_download_of_two_tickers_is_split(self, history):
        other = history.assign(Close=history["Close"] * 1.0001)
        frame = pd.concat({"AAPL": history, "MSFT": other}, axis=1, names=["Ticker", "Price"])
        upload = parsed(frame.to_csv())
        assert upload.tickers == ("AAPL", "MSFT")
        self.same(upload.of("AAPL"), ["date", "open", "high", "low", "close", "adj_close", "volume", "dividend"])
        np.testing.assert_array_equal(upload.of("MSFT")["close"], other["Close"])


class TestBadFiles:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "NEW.csv: the file is empty"),
            (" \n\n,,\n", "the file is empty"),
            (HEADER, "no row with a price"),
            ("\ufeff", "the file is empty"),
            (PLAIN.replace("High", "Peak"), "line 1: there is no column High: it needs Date, Open"),
            (PLAIN.replace("Date,", "Day,"), "there is no column Date"),
            (PLAIN.replace("Adj Close", "Close"), "line 1: two columns say 'Close'"),
            (PLAIN.replace(",12.0,11.5,200", ",12.0,200"), "line 3: 6 cells where the header has 7"),
            (PLAIN.replace(",200\n", ",200,1\n"), "line 3: 8 cells"),
            (PLAIN.replace("9.5,", "-9.5,"), "line 2: the bar has low -9.5, which must be greater than 0"),
            (PLAIN.replace("12.0,11.5,200", "0,11.5,200"), "line 3: the bar has close 0, which must be"),
            (PLAIN.replace("12.5,11.0", "10.5,11.0"), "line 4: the bar has low 11 above high 10.5"),
            (PLAIN.replace("2024-01-03,11.0", "2024-01-03,13"), "line 3: the bar has open 13 above high"),
            (PLAIN.replace("11.0,10.5,100", "9,10.5,100"), "line 2: the bar has low 9.5 above close 9"),
            (PLAIN.replace("01-04", "01-03"), "line 4: 2024-01-03 is there already, on line 3"),
            (PLAIN.replace("2024-01-04", "2024-02-02"), "line 4: '2024-02-02' is in the future"),
            (PLAIN.replace("2024-01-04", "9999-01-04"), "line 4: '9999-01-04' is no date"),
            (PLAIN.replace("2024-01-04", "2024-02-30"), "line 4: '2024-02-30' is no date"),
            (PLAIN.replace("2024-01-04", "01/04/2024"), "line 4: '01/04/2024' is no date; write it as YYYY"),
            (PLAIN.replace("2024-01-04", ""), "line 4: '' is no date"),
            (PLAIN.replace(",9.5,", ",abc,"), "line 2: 'abc' is no number, in the column low"),
            (PLAIN.replace(",9.5,", ",,"), "line 2: '' is no number, in the column low"),
            (PLAIN.replace(",9.5,", ",nan,"), "line 2: 'nan' is no number, in the column low"),
            (PLAIN.replace(",11.5,9.5", ",inf,9.5"), "line 2: 'inf' is no number, in the column high"),
            (PLAIN.replace(",11.5,9.5", ",1e999,9.5"), "line 2: the bar has high inf, which must be"),
            (PLAIN.replace(",9.5,", ',"1,00",'), "line 2: '1,00' is no number, in the column low"),
            (PLAIN.replace(",100\n", ",1e30\n"), "line 2: '1e30' is no volume"),
            (PLAIN.replace(",100\n", ",-1\n"), "line 2: the bar has volume -1, which must be at least 0"),
            (PLAIN.replace(",200\n", ",=1+1\n"), "line 3: '=1[+]1' looks like a spreadsheet formula"),
            (PLAIN.replace("2024-01-03", "@SUM(A1)"), "line 3: '@SUM.A1.' looks like a spreadsheet formula"),
            (PLAIN.replace(",200\n", ",+2\n"), "line 3: '[+]2' looks like a spreadsheet formula"),
            (PLAIN.replace(",200\n", ",\" =cmd|'/C calc'!A0\"\n"), "line 3: .* looks like a spreadsheet"),
            (PLAIN.replace(",200\n", ",-cmd|x\n"), "line 3: '-cmd.x' looks like a spreadsheet formula"),
            (PLAIN.replace("Volume", "=Volume"), "line 1: '=Volume' looks like a spreadsheet formula"),
            (PLAIN.replace(",200\n", ',"200\n'), "this is not CSV"),
            (PLAIN.replace(",200\n", ",200\0\n"), "line 3: .* is no number, in the column volume"),
        ],
    )  # fmt: skip
    def test_each_fault_has_its_sentence(self, text, words):
        assert re.search(words, refusal(text)), refusal(text)

    def test_only_closed_days(self):
        row = ROWS.splitlines()[0].removeprefix("2024-01-02")
        sentence = refusal(HEADER + f"2024-01-06{row}\n2024-01-07{row}\n")
        assert "not one of its 2 days is a finished session of XNYS, the calendar of NEW" in sentence

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (bytes(range(256)), "there is no column Date"),
            (PLAIN.replace("9.5", "9é").encode("cp1252"), "line 2: '9é' is no number, in the column low"),
            (b"PK\x03\x04" + bytes(100), "this is an Excel workbook or a ZIP archive, not CSV"),
            (b"<!DOCTYPE html><html>", "this is a web page, not CSV"),
            (b'{"prices": []}', "this is JSON, not CSV"),
            (PLAIN.encode("utf-16")[:-1], "this is not UTF-16 text"),
        ],
    )
    def test_what_is_no_text(self, content, words):
        assert words in refusal(content)

    def test_two_tickers_are_two_series(self):
        lines = PLAIN.splitlines()
        text = "\n".join([f"{lines[0]},Symbol", f"{lines[1]},AAPL", f"{lines[2]},MSFT"])
        upload = parsed(text)
        assert upload.tickers == ("AAPL", "MSFT")
        assert list(upload.of("MSFT")["close"]) == [12.0]
        assert upload.of("IBM").empty

    @pytest.mark.parametrize("ticker", ["../../etc/passwd", "A/B", "A B", "A..B", "é", "A" * 21, "A\0"])
    def test_a_ticker_that_is_none(self, ticker):
        lines = PLAIN.splitlines()
        text = "\n".join([f"{lines[0]},Ticker", *(f"{line},{ticker}" for line in lines[1:])])
        assert "line 2" in refusal(text)
        assert "is not a ticker" in refusal(text)

    def test_a_file_name_that_is_no_ticker(self):
        sentence = refusal(PLAIN, "my shares.csv")
        assert "the ticker is taken from the file's name" in sentence
        assert "'my shares' is not a ticker" in sentence
        assert parsed(PLAIN, "AAPL.csv").tickers == ("AAPL",)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
    def test_whatever_the_content_it_is_bars_or_one_sentence(self, content):
        for data in (content, PLAIN.encode() + content, HEADER.encode() + content):
            try:
                validate_bars(parse_bytes(data, "NEW.csv", NOW).bars, "here")
            except StockcastError:
                refusal(data)


class TestSource:
    @pytest.fixture
    def inbox(self, tmp_path) -> Path:
        folder = tmp_path / "inbox"
        folder.mkdir()
        return folder

    @pytest.fixture
    def source(self, inbox) -> CsvSource:
        return CsvSource(inbox, now=lambda: NOW)

    def put(self, inbox: Path, name: str, text: str, age: int = 0) -> Path:
        path = inbox / name
        path.write_text(text)
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
        return path

    def test_parse_a_path(self, inbox):
        path = self.put(inbox, "NEW.csv", PLAIN)
        assert len(parse(path).bars) == 3
        with pytest.raises(StockcastError, match=r"There is no CSV file .*gone.csv"):
            parse(inbox / "gone.csv")

    def test_a_ticker_in_any_case_and_by_column(self, inbox, source):
        self.put(inbox, "new.csv", PLAIN)
        self.put(inbox, "other.csv", PLAIN.replace("0\n", "0,msft\n").replace("Volume", "Volume,Ticker"))
        assert source.tickers() == ["MSFT", "NEW"]
        assert len(source.bars("MSFT", None, date(2024, 1, 31))) == 3
        assert len(source.bars("NEW", None, date(2024, 1, 31))) == 3
        assert source.first_session("NEW") == date(2024, 1, 2)

    def test_the_newer_file_wins_per_day(self, inbox, source):
        self.put(inbox, "NEW.csv", HEADER + ROWS, age=100)
        newer = "Ticker," + HEADER + "NEW,2024-01-03,20,21,19,20.5,20.5,7\nNEW,2024-01-05,20,21,19,20.5,20.5,7\n"
        self.put(inbox, "correction.csv", newer)
        bars = source.bars("NEW", date(2024, 1, 2), date(2024, 1, 31))
        assert list(bars["close"]) == [11.0, 20.5, 11.5, 20.5]
        assert list(bars["date"].dt.day) == [2, 3, 4, 5]

    def test_a_bad_file_is_set_aside_and_the_rest_serves(self, inbox, source):
        self.put(inbox, "NEW.csv", PLAIN, age=100)
        bad = "Ticker," + HEADER + "new,2024-01-05,-1,21,19,20,20,7\n"
        self.put(inbox, "bad.csv", bad)
        with pytest.raises(StockcastError, match=r"bad.csv, line 2: .*rejected/bad.csv.$") as caught:
            source.bars("NEW", None, date(2024, 1, 31))
        assert (inbox / "rejected" / "bad.csv").read_text() == bad
        reason = (inbox / "rejected" / "bad.csv.reason.txt").read_text()
        assert reason.strip() in str(caught.value)
        assert not (inbox / "bad.csv").exists()
        assert len(source.bars("NEW", None, date(2024, 1, 31))) == 3
        assert source.tickers() == ["NEW"]

    def test_the_newer_of_two_files_that_do_not_fit_each_other_is_set_aside(self, inbox, source):
        self.put(inbox, "NEW.csv", PLAIN, age=300)
        self.put(inbox, "pence.csv", "Ticker," + HEADER + "NEW,2024-01-05,1150,1200,1100,1150,1150,7\n", age=200)
        self.put(inbox, "later.csv", "Ticker," + HEADER + "NEW,2024-01-08,11,12,11,11.5,11.5,7\n", age=100)
        with pytest.raises(
            StockcastError, match=r"^pence.csv: the bar of NEW on 2024-01-05 has .*rejected/pence.csv.$"
        ):
            source.bars("NEW", None, date(2024, 1, 31))
        assert (inbox / "rejected" / "pence.csv.reason.txt").read_text().startswith("pence.csv: the bar of NEW")
        assert len(source.bars("NEW", None, date(2024, 1, 31))) == 4

    def test_what_only_a_run_for_the_day_refuses_is_set_aside_too(self, inbox, source):
        rows = [f"2024-01-{day:02d},10,11,9,10,10,{0 if day == 11 else 50}\n" for day in (2, 3, 4, 5, 8, 9, 10, 11)]
        self.put(inbox, "NEW.csv", HEADER + "".join(rows))
        assert len(source.bars("NEW", None, date(2024, 1, 31))) == 8
        with pytest.raises(StockcastError, match=r"NEW on 2024-01-11 has no volume, .*rejected/NEW.csv.$"):
            source.bars("NEW", date(2024, 1, 10), date(2024, 1, 11))

    @pytest.mark.parametrize("marks", ["", '"'])
    def test_a_large_file_is_known_by_its_beginning(self, inbox, source, marks):
        days = sessions("XNYS", "1995-01-03", "2023-12-29")
        row = ",".join(f"{marks}{value}{marks}" for value in (10, 11, 9, 10, 10, 5))
        text = "".join(f"{marks}{day:%Y-%m-%d}{marks},{row}\n" for day in days)
        self.put(inbox, "AAPL Historical Data.csv", HEADER + text)
        assert (inbox / "AAPL Historical Data.csv").stat().st_size > 2**17
        assert source.tickers() == ["AAPL"]
        assert len(source.bars("AAPL", None, date(2024, 1, 31))) == len(days)

    def test_a_large_file_of_several_tickers_is_known_by_the_whole(self, inbox, source):
        days = sessions("XNYS", "2015-01-02", "2023-12-29")
        rows = [f"{day:%Y-%m-%d},10,11,9,10,10,5,{ticker}\n" for ticker in ("AA", "BB", "CC") for day in days]
        self.put(inbox, "all.csv", HEADER.replace("Volume", "Volume,Name") + "".join(rows))
        assert source.tickers() == ["AA", "BB", "CC"]
        assert len(source.bars("CC", None, date(2024, 1, 31))) == len(days)

    def test_market_values_beside_the_bars_of_a_share_make_it_no_coin(self, inbox, source):
        days = sessions("XNYS", "2023-11-01", "2023-12-29")
        rows = [f"{day:%Y-%m-%d},10,11,9,10,10,5,IBM,1e9\n" for day in days]
        self.put(inbox, "x.csv", HEADER.replace("Volume", "Volume,Symbol,Marketcap") + "".join(rows))
        assert source.tickers() == ["IBM"]
        assert len(source.bars("IBM", None, date(2024, 1, 31))) == len(days)

    def test_a_bad_file_of_another_ticker_is_left_alone(self, inbox, source):
        self.put(inbox, "NEW.csv", PLAIN)
        self.put(inbox, "OTHER.csv", "rubbish")
        (inbox / "BIN.csv").write_bytes(bytes(range(256)))
        assert len(source.bars("NEW", None, date(2024, 1, 31))) == 3
        assert sorted(path.name for path in inbox.iterdir()) == ["BIN.csv", "NEW.csv", "OTHER.csv"]

    def test_a_replaced_file_is_read_again(self, inbox, source):
        self.put(inbox, "NEW.csv", PLAIN, age=100)
        assert source.bars("NEW", None, date(2024, 1, 31))["close"][0] == 11.0
        self.put(inbox, "NEW.csv", PLAIN.replace(",11.0,10.5", ",11.2,10.5"))
        assert source.bars("NEW", None, date(2024, 1, 31))["close"][0] == 11.2

    def test_a_file_that_is_too_large_is_set_aside_unread(self, inbox, source, monkeypatch):
        monkeypatch.setattr("stockcast_assets.market.sources.uploads.MAX_BYTES", 100)
        self.put(inbox, "NEW.csv", PLAIN)
        with pytest.raises(StockcastError, match=r"NEW.csv has .* MB, and .*split it by years.*rejected/"):
            source.bars("NEW", None, date(2024, 1, 31))

    @pytest.mark.parametrize(
        ("ticker", "start", "end", "words"),
        [
            ("MSFT", None, date(2024, 1, 31), "No CSV file in .* is of MSFT: put MSFT.csv there"),
            ("../NEW", None, date(2024, 1, 31), "is not a ticker"),
            (
                "NEW",
                date(2024, 1, 8),
                date(2024, 1, 9),
                "NEW has no bar from 2024-01-08 to 2024-01-09, as .*: upload a CSV",
            ),
            ("NEW", date(2024, 2, 1), date(2024, 2, 1), "not over yet"),
        ],
    )
    def test_what_cannot_be_had_is_said(self, inbox, source, ticker, start, end, words):
        self.put(inbox, "NEW.csv", PLAIN)
        with pytest.raises(StockcastError, match=words):
            source.bars(ticker, start, end)

    def test_an_empty_frame_means_closed_or_too_early(self, inbox, source):
        self.put(inbox, "NEW.csv", PLAIN)
        assert source.bars("NEW", None, date(2024, 1, 1)).empty
        assert source.bars("NEW", date(2024, 1, 6), date(2024, 1, 7)).empty

    def test_a_missing_folder_has_no_tickers(self, tmp_path):
        source = source_from("csv", tmp_path / "nowhere")
        assert source.name == "csv"
        assert source.tickers() == []


class TestDividendsOfAdjustedCloses:
    """Yahoo's own export names no dividend: its adjusted closes tell them."""

    def export(self, bars: pd.DataFrame, decimals: int) -> str:
        columns = {"date": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Close"}
        named = bars.rename(columns=columns | {"adj_close": "Adj Close", "volume": "Volume"})
        named = named[[*columns.values(), "Adj Close", "Volume"]]
        return named.assign(**{"Adj Close": named["Adj Close"].round(decimals)}).to_csv(index=False)

    @pytest.mark.parametrize("ticker", ["AAPL", "IBM", "GOOG"])
    def test_total_returns_are_those_of_the_file(self, sample_bars, ticker):
        true = sample_bars[ticker].tail(1500).reset_index(drop=True)
        bars = parsed(self.export(true, 6), f"{ticker}.csv").bars
        assert list(bars["dividend"] > 0)[1:] == list(true["dividend"] > 0)[1:]
        np.testing.assert_allclose(bars["dividend"][1:], true["dividend"][1:], atol=1e-3)
        total = np.log(total_return_close(bars["close"].to_numpy(), bars["dividend"].to_numpy()))
        np.testing.assert_allclose(np.diff(total), np.diff(np.log(true["adj_close"])), atol=1e-6)

    def test_rounding_to_cents_is_no_dividend(self, sample_bars):
        true = sample_bars["GOOG"].tail(1500)
        assert set(parsed(self.export(true, 2), "GOOG.csv").bars["dividend"]) == {0.0}

    def test_closes_before_a_split_that_are_in_old_shares_are_brought_to_new_ones(self):
        old = "".join(f"2024-01-0{day},40,44,36,40,10,100\n" for day in (2, 3))
        bars = parsed(HEADER + old + "2024-01-04,10,11,9,10,10,400\n").bars
        assert list(bars["close"]) == [10, 10, 10]
        assert list(bars["volume"]) == [400, 400, 400]
        assert list(bars["split_ratio"]) == [1, 1, 4]
        assert set(bars["dividend"]) == {0.0}

    def test_a_step_of_the_adjusted_close_that_is_no_split_is_refused(self):
        old = "".join(f"2024-01-0{day},40,44,36,40,10,100\n" for day in (2, 3))
        sentence = refusal(HEADER + old + "2024-01-04,9,9.8,8.1,9,9.3,400\n")
        assert "line 4: only the adjusted close, not the close, is adjusted for a split of about 4.13" in sentence


class TestSize:
    def test_reading_stops_at_the_rows_a_file_can_have(self):
        with pytest.raises(StockcastError, match="line 4: more than 2 rows; upload one file per ticker"):
            parse_bytes(PLAIN.encode(), "NEW.csv", NOW, most_rows=2)

    def test_memory_stays_near_the_size_of_the_file(self, tmp_path):
        """40 MB that would be 300,000 bars: refused after as many rows as there can be, in a process of its own."""
        path = tmp_path / "NEW.csv"
        line = "2024-01-02,10.0,11.5,9.5,11.0,10.5,100," + "x" * 90 + "\n"
        path.write_text("Date,Open,High,Low,Close,Adj Close,Volume,Comment\n" + line * 300_000)
        size = path.stat().st_size
        code = (
            "import re, sys, psutil; from pathlib import Path\n"
            "from stockcast_assets.errors import StockcastError\n"
            "from stockcast_assets.market.sources import csvfile, uploads\n"
            "uploads.MAX_BYTES = 2**40\n"
            "csvfile.parse\n"
            "before = psutil.Process().memory_info().rss\n"
            "try: csvfile.parse(Path(sys.argv[1]))\n"
            "except StockcastError as error: print(error)\n"
            # Linux: the highest memory of this program; getrusage also counts the test's that started it.
            "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]\n"
            "print(int(peak) * 1024 - before)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        sentence, peak = done.stdout.splitlines()
        assert "more than 50,000 rows" in sentence
        assert int(peak) < 2 * size


def test_what_was_left_out_is_said_once_per_version(tmp_path, caplog):
    path = tmp_path / "NEW.csv"
    path.write_text(PLAIN + "2024-01-06,10,11,9,10,10,100\n")
    source = CsvSource(tmp_path, now=lambda: NOW)
    for _ in range(3):
        source.bars("NEW", None, date(2024, 1, 5))
    assert caplog.text.count("days on which XNYS is closed") == 1
    path.write_text(PLAIN + "2024-01-07,10,11,9,10,10,1000\n")
    source.bars("NEW", None, date(2024, 1, 5))
    assert caplog.text.count("days on which XNYS is closed") == 2
