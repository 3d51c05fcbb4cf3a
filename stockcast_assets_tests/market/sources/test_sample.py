"""The sample is checked against what is known of those companies, not against itself."""

from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources import source_from
from stockcast_assets.market.sources.sample import TICKERS, SampleSource, to_yahoo_convention
from stockcast_assets.market.sources.validate import validate_bars

END = date(2013, 3, 1)


@pytest.fixture(scope="module")
def source() -> SampleSource:
    return SampleSource()


@pytest.fixture(scope="module")
def as_traded() -> pd.DataFrame:
    package = Path(find_spec("bokeh_sampledata").origin).parent
    return pd.read_csv(package / "_data" / "stocks.csv.gz", parse_dates=["Date"]).set_index(["Ticker", "Date"])


@pytest.mark.parametrize("ticker", TICKERS)
def test_every_session_is_there_and_possible(source, ticker):
    bars = validate_bars(source.bars(ticker, None, END), "sample")
    first = source.first_session(ticker)
    assert first == (date(2004, 8, 19) if ticker == "GOOG" else date(2000, 3, 1))
    assert list(bars["date"]) == list(sessions("XNYS", first, END))
    assert set(bars["source"]) == {"sample"}
    assert set(bars["ticker"]) == {ticker}


def test_splits_are_the_ones_that_happened(source):
    found = [
        (ticker, f"{row.date:%Y-%m-%d}", row.split_ratio)
        for ticker in TICKERS
        for row in source.bars(ticker, None, END).query("split_ratio != 1").itertuples()
    ]
    assert found == [("AAPL", "2000-06-21", 2.0), ("AAPL", "2005-02-28", 2.0), ("MSFT", "2003-02-18", 2.0)]


def test_split_adjustment_is_exact(source, as_traded):
    bars = source.bars("AAPL", None, END).set_index("date")
    raw = as_traded.loc["AAPL"]
    for start, end, shares in [
        ("2000-03-01", "2000-06-20", 4),
        ("2000-06-21", "2005-02-25", 2),
        ("2005-02-28", END, 1),
    ]:
        ours, theirs = bars.loc[start:end], raw.loc[start:end]
        for name in ("Open", "High", "Low", "Close"):
            assert (ours[name.lower()] * shares == theirs[name]).all()
        assert (ours["volume"] == theirs["Volume"] * shares).all()


def test_dividends_are_the_ones_that_were_paid(source):
    def paid(ticker: str) -> dict[str, float]:
        bars = source.bars(ticker, None, END).query("dividend > 0")
        return dict(zip(bars["date"].dt.strftime("%Y-%m-%d"), bars["dividend"], strict=True))

    assert paid("AAPL") == {"2012-08-09": 2.65, "2012-11-07": 2.65, "2013-02-07": 2.65}
    assert paid("GOOG") == {}
    microsoft = paid("MSFT")
    assert len(microsoft) == 37
    assert microsoft["2003-02-19"] == 0.08
    assert microsoft["2004-11-15"] == 3.08
    ibm = paid("IBM")
    assert len(ibm) == 52
    assert ibm["2012-11-07"] == 0.85


@pytest.mark.parametrize("ticker", TICKERS)
def test_adjusted_returns_are_the_files_own(source, as_traded, ticker):
    ours = np.log(source.bars(ticker, None, END)["adj_close"]).diff()[1:]
    theirs = np.log(as_traded.loc[ticker, "Adj Close"]).diff()[1:]
    assert np.abs(ours.to_numpy() - theirs.to_numpy()).max() < 1e-12


def test_the_last_adjusted_close_is_the_close(source):
    for ticker in TICKERS:
        last = source.bars(ticker, None, END).iloc[-1]
        assert last["adj_close"] == last["close"]


def test_a_range_is_inclusive_and_stamped(clock):
    bars = SampleSource(now=clock("2024-02-01 12:00")).bars("IBM", date(2013, 2, 26), END)
    assert list(bars["date"].dt.day) == [26, 27, 28, 1]
    assert list(bars.index) == [0, 1, 2, 3]
    assert set(bars["ingested_at"]) == {pd.Timestamp("2024-02-01 12:00", tz="UTC")}


def test_the_caller_cannot_spoil_the_cache(source):
    source.bars("IBM", None, END).loc[:, "close"] = -1.0
    assert (source.bars("IBM", None, END)["close"] > 0).all()


@pytest.mark.parametrize(
    ("ticker", "start", "end"),
    [
        ("AAPL", date(2012, 12, 25), date(2012, 12, 25)),
        ("AAPL", date(2013, 2, 16), date(2013, 2, 18)),
        ("GOOG", date(2000, 3, 1), date(2004, 8, 18)),
        ("GOOG", None, date(2004, 8, 18)),
    ],
)
def test_an_empty_frame_means_closed_or_too_early(source, ticker, start, end):
    bars = source.bars(ticker, start, end)
    assert bars.empty
    validate_bars(bars, "sample")


@pytest.mark.parametrize(
    ("ticker", "start", "end", "words"),
    [
        ("FB", None, END, "no ticker 'FB': use AAPL, GOOG, IBM, MSFT"),
        ("../AAPL", None, END, "no ticker"),
        ("AAPL", date(2013, 3, 4), date(2013, 3, 8), "run from 2000-03-01 to 2013-03-01"),
        ("AAPL", date(2190, 3, 4), date(2190, 3, 8), "2190-03-04 is in the future"),
    ],
)
def test_what_cannot_be_had_is_said(source, ticker, start, end, words):
    with pytest.raises(StockcastError, match=words):
        source.bars(ticker, start, end)


def test_a_session_that_goes_on_is_said(clock):
    source = SampleSource(now=clock("2024-02-01 15:00"))
    with pytest.raises(StockcastError, match=r"AAPL on 2024-02-01 is not over yet: .* after 2024-02-01 21:00 UTC"):
        source.bars("AAPL", date(2024, 2, 1), date(2024, 2, 1))


def test_tickers_and_factory(tmp_path):
    source = source_from("sample", tmp_path)
    assert source.name == "sample"
    assert source.tickers() == ["AAPL", "GOOG", "IBM", "MSFT"]
    with pytest.raises(StockcastError, match=r"no source 'google'.*yahoo, csv, sample"):
        source_from("google", tmp_path)


def test_a_split_for_three_and_a_reverse_split():
    days = pd.bdate_range("2020-01-01", periods=4)
    raw = pd.DataFrame({"Date": days, "Close": [30.0, 10.0, 10.0, 100.0], "Volume": [10, 30, 30, 3]})
    raw = raw.assign(Open=raw["Close"], High=raw["Close"], Low=raw["Close"]).assign(**{"Adj Close": 10.0})
    bars = to_yahoo_convention(raw)
    assert list(bars["split_ratio"]) == [1.0, 3.0, 1.0, 0.1]
    assert np.allclose(bars["close"], 100.0)
    assert list(bars["volume"]) == [3, 3, 3, 3]
    assert not bars["dividend"].any()
