"""Every vendor's file says the same bars, and the docs' table says what becomes of each."""

import re

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.files import parse_bytes, tickers_of
from stockcast_assets.market.sources.validate import validate_bars
from stockcast_assets_tests.market.sources.formats import BEGIN, DOCS, EX_DATE, FORMATS, STOCK, Format, written

NOW = pd.Timestamp("2024-02-01 12:00", tz="UTC").as_unit("ns")
READ = [each for each in FORMATS if each.tickers]
REFUSED = [each for each in FORMATS if not each.tickers]


def called(each: Format) -> str:
    return f"{each.vendor}: {each.what}"


@pytest.mark.parametrize("file", READ, ids=called)
def test_the_bars_are_those_that_were_meant(file: Format) -> None:
    upload = parse_bytes(file.data, file.name, NOW)
    assert upload.tickers == file.tickers
    assert tickers_of(file.data, file.name) == file.tickers
    bars = validate_bars(upload.of(file.tickers[0]), "here")
    assert list(bars["date"]) == [bar.day for bar in file.bars]
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(bars[name], [getattr(bar, name) for bar in file.bars], rtol=1e-9)
    volume = [bar.volume if file.with_volume else 0 for bar in file.bars]
    np.testing.assert_allclose(bars["volume"], volume, rtol=1e-6, atol=1)
    dividends = np.zeros(len(bars))
    dividends[file.ex_dividend] = file.dividend
    np.testing.assert_allclose(bars["dividend"], dividends, atol=1e-3)
    np.testing.assert_allclose(bars["split_ratio"], np.where(bars["date"] == STOCK[EX_DATE].day, file.split, 1.0))
    if len(file.tickers) > 1:
        np.testing.assert_allclose(upload.of(file.tickers[1])["close"], [2 * bar.close for bar in file.bars])


@pytest.mark.parametrize("file", REFUSED, ids=called)
def test_what_is_refused_is_refused_in_one_sentence(file: Format) -> None:
    with pytest.raises(StockcastError) as caught:
        parse_bytes(file.data, file.name, NOW)
    sentence = str(caught.value)
    assert file.refused in sentence
    assert re.fullmatch(rf"{re.escape(file.name)}(?:, line \d+)?: [^\n]+\.", sentence)


def test_there_are_formats_of_many_vendors() -> None:
    assert len(FORMATS) >= 60
    assert len({each.vendor for each in READ}) >= 20


def test_the_table_of_the_docs_is_current() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert BEGIN in text
    assert text == written(text), "run python -m stockcast_assets_tests.market.sources.formats"


def hourly(hours: int) -> str:
    moments = pd.date_range("2023-03-04 05:00", periods=hours, freq="h")
    rows = (
        f"{at:%Y-%m-%d %H:%M:%S},{10 + i % 7},{12 + i % 7},{8 + i % 7},{11 + i % 7},2" for i, at in enumerate(moments)
    )
    return "\n".join(["Date,Open,High,Low,Close,Volume", *rows]) + "\n"


def test_where_nothing_ever_closes_whole_days_are_made_of_intraday_bars() -> None:
    text = hourly(24 * 4)
    upload = parse_bytes(text.encode(), "BTC-USD.csv", NOW)
    table = pd.read_csv(pd.io.common.StringIO(text), parse_dates=["Date"]).set_index("Date")
    daily = table.resample("D").agg({"Open": "first", "High": "max", "Low": "min", "Close": "last", "Volume": "sum"})
    whole = daily.iloc[1:-1]
    assert list(upload.bars["date"]) == list(whole.index)
    for name in ("Open", "High", "Low", "Close", "Volume"):
        assert list(upload.bars[name.lower()]) == list(whole[name])
    assert any("made 3 daily bars of intraday ones, one every 60 minutes" in note for note in upload.notes)
    assert any("2 days without some of the intraday bars (first: 2023-03-04)" in note for note in upload.notes)


def test_where_an_auction_closes_the_day_they_are_refused() -> None:
    with pytest.raises(StockcastError, match="these are intraday bars"):
        parse_bytes(hourly(24 * 4).encode(), "AAPL.csv", NOW)


@pytest.mark.parametrize(
    ("name", "ticker"),
    [
        ("vod_uk_d.csv", "VOD.L"),
        ("btc_v_d.csv", "BTC-USD"),
        ("AAPL (2).csv", "AAPL"),
        ("AAPL Historical Data (1).csv", "AAPL"),
        ("EUR_USD Historical Data.csv", "EURUSD=X"),
        ("BTC_USD Bitfinex Historical Data.csv", "BTC-USD"),
        ("NASDAQ_AAPL, 1D.csv", "AAPL"),
        ("BINANCE_BTCUSD, 1D_8f0e1.csv", "BTC-USD"),
        ("MacroTrends_Data_Download_KO.csv", "KO"),
        ("^GSPC.csv", "^GSPC"),
        ("7203.T.csv", "7203.T"),
        ("VOD.LSE.csv", "VOD.L"),
        ("EURUSD.FOREX.csv", "EURUSD=X"),
        ("brk-b.csv", "BRK-B"),
        ("DATA.csv", "DATA"),
    ],
)
def test_names_of_files_give_tickers(name: str, ticker: str) -> None:
    assert tickers_of(b"Date,Open,High,Low,Close\n", name) == (ticker,)


@pytest.mark.parametrize("name", ["export.csv", "Data.csv", "HistoricalData_1705.csv", "my shares.csv", "pkn_d.csv"])
def test_names_that_give_none_are_refused_with_how_to_name_them(name: str) -> None:
    with pytest.raises(StockcastError, match="the ticker is taken from the file's name") as caught:
        parse_bytes(FORMATS[0].data, name, NOW)
    assert "name the file after the ticker (MSFT.csv" in str(caught.value)


def test_alpaca_counts_trades_of_shares_too() -> None:
    stamps = (bar.day.tz_localize("America/New_York").tz_convert("UTC").isoformat() for bar in STOCK)
    rows = (f"AAPL,{at},10,12,9,11,5,7,10.5" for at in stamps)
    text = "\n".join(["symbol,timestamp,open,high,low,close,volume,trade_count,vwap", *rows])
    upload = parse_bytes(text.encode(), "x.csv", NOW)
    assert upload.tickers == ("AAPL",)
    assert list(upload.bars["date"]) == [bar.day for bar in STOCK]


def test_a_name_that_is_no_ticker_is_left() -> None:
    rows = (f"Apple Inc.,{bar.day:%Y-%m-%d},10,12,9,11,5" for bar in STOCK)
    upload = parse_bytes("\n".join(["Name,Date,Open,High,Low,Close,Volume", *rows]).encode(), "AAPL.csv", NOW)
    assert upload.tickers == ("AAPL",)
    assert upload.left == ("Name",)


def test_what_a_file_lacks_and_how_yahoo_writes_a_class_of_shares_is_noted() -> None:
    rows = (f"{bar.day:%Y-%m-%d},10,12,9,11,5" for bar in STOCK[::2])
    upload = parse_bytes("\n".join(["Date,Open,High,Low,Close,Volume", *rows]).encode(), "BRK.B.csv", NOW)
    assert upload.tickers == ("BRK.B",)
    assert any("no row of 5 of the 11 sessions" in note for note in upload.notes)
    assert any("(Yahoo Finance writes BRK-B)" in note for note in upload.notes)


def test_a_dividend_after_the_last_session_of_a_file_is_told() -> None:
    rows = [f"{bar.day:%Y-%m-%d},10,12,9,11,5,0" for bar in STOCK[:-1]]
    text = "\n".join(["Date,Open,High,Low,Close,Volume,Dividends", *rows, f"{STOCK[-1].day:%Y-%m-%d},,,,,,0.5"])
    upload = parse_bytes(text.encode(), "AAPL.csv", NOW)
    assert len(upload.bars) == len(STOCK) - 1
    assert "left out a dividend that no later session of the file can take (first: 2023-03-21)" in upload.notes
