"""The real yfinance client, over HTTPS, against a local server that speaks Yahoo's chart API."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd
import pytest
from pyrate_limiter import Limiter, Rate

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.sources import rate_limit, source_from, yahoo
from stockcast_assets.market.sources.validate import validate_bars
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets_tests.market.sources.fake_yahoo import Bar, FakeYahoo, Listing, Script, refusal, serving

BAR: Bar = (10.0, 11.0, 9.0, 10.5, 100)
EMPTY: Bar = (None, None, None, None, None)
TOO_MANY = (429, "Too Many Requests")
NOW = "2024-01-10 23:00"
WEEK = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[FakeYahoo]:
    with serving(tmp_path_factory.mktemp("yahoo")) as server:
        yield server


@pytest.fixture
def fake(server) -> FakeYahoo:
    """The server, knowing AAPL for a week and a half of 2024, and nothing gone wrong yet."""
    server.answers.clear()
    server.charts.clear()
    server.always = None
    days = [f"{day:%Y-%m-%d}" for day in sessions("XNYS", "2023-12-01", "2024-01-10")]
    server.listings = {
        "AAPL": Listing(bars=dict.fromkeys(days, BAR), first_trade="1980-12-12", last_trade="2024-01-10")
    }
    return server


@pytest.fixture
def source(clock) -> YahooSource:
    return YahooSource(now=clock(NOW), pause_s=0.01)


def asked(fake: FakeYahoo) -> list[tuple[str, str]]:
    """The ranges the client asked for, as dates in New York, the end excluded."""
    return [
        tuple(
            f"{pd.Timestamp(int(query[name]), unit='s', tz='UTC').tz_convert('America/New_York'):%Y-%m-%d}"
            for name in ("period1", "period2")
        )
        for query in fake.charts
        if "period1" in query
    ]


class TestGoodAnswers:
    def test_bars_as_yahoo_has_them(self, fake, source):
        listing = fake.listings["AAPL"]
        listing.bars["2024-01-03"] = (101.5, 103.25, 100.0, 102.0, 1_234_567_890_123)
        listing.adjusted["2024-01-03"] = 51.0
        bars = validate_bars(source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 8)), "here")
        assert list(bars["date"].dt.strftime("%Y-%m-%d")) == WEEK
        second = bars.iloc[1]
        assert tuple(second[["open", "high", "low", "close", "adj_close"]]) == (101.5, 103.25, 100, 102, 51)
        assert second["volume"] == 1_234_567_890_123
        assert set(bars["source"]) == {"yahoo"}
        assert set(bars["ingested_at"]) == {pd.Timestamp(NOW, tz="UTC")}
        assert asked(fake) == [("2024-01-02", "2024-01-09")]

    def test_one_day(self, fake, source):
        bars = source.bars("AAPL", date(2024, 1, 5), date(2024, 1, 5))
        assert list(bars["date"]) == [pd.Timestamp("2024-01-05")]
        assert asked(fake) == [("2024-01-05", "2024-01-06")]

    def test_from_the_first_bar_there_is(self, fake, source):
        assert len(source.bars("AAPL", None, date(2024, 1, 9))) == len(fake.listings["AAPL"].bars) - 1
        assert asked(fake)[0][0] == "1990-01-02"

    def test_dividend_and_split_on_their_days(self, fake, source):
        fake.listings["AAPL"].dividends = {"2024-01-03": 0.24}
        fake.listings["AAPL"].splits = {"2024-01-05": (4, 1), "2024-01-08": (1, 10)}
        bars = source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 8))
        assert list(bars["dividend"]) == [0, 0.24, 0, 0, 0]
        assert list(bars["split_ratio"]) == [1, 1, 1, 4, 0.1]

    def test_an_answer_is_never_remembered(self, fake, source):
        source.bars("AAPL", date(2024, 1, 5), date(2024, 1, 5))
        fake.listings["AAPL"].bars["2024-01-05"] = (10.0, 11.0, 9.0, 9.5, 100)
        assert source.bars("AAPL", date(2024, 1, 5), date(2024, 1, 5))["close"][0] == 9.5

    def test_london_keeps_its_own_day(self, fake, source):
        days = [f"{day:%Y-%m-%d}" for day in sessions("XLON", "2023-06-01", "2023-06-30")]
        fake.listings["VOD.L"] = Listing(
            zone="Europe/London", opens_at="00:00", bars=dict.fromkeys(days, BAR), first_trade="1988-07-01",
            last_trade="2024-01-10", currency="GBp",
        )  # fmt: skip
        bars = source.bars("VOD.L", date(2023, 6, 1), date(2023, 6, 30))
        assert list(bars["date"].dt.strftime("%Y-%m-%d")) == days

    def test_tokyo_is_a_day_ahead_of_new_york(self, fake, clock):
        days = [f"{day:%Y-%m-%d}" for day in sessions("XTKS", "2024-01-02", "2024-01-05")]
        fake.listings["7203.T"] = Listing(
            zone="Asia/Tokyo", opens_at="09:00", bars=dict.fromkeys(days, BAR), first_trade="1999-05-06",
            last_trade="2024-01-05", currency="JPY",
        )  # fmt: skip
        source = YahooSource(now=clock("2024-01-05 06:30"))
        assert len(source.bars("7203.T", date(2024, 1, 2), date(2024, 1, 5))) == 2
        source = YahooSource(now=clock("2024-01-05 06:29"))
        assert len(source.bars("7203.T", date(2024, 1, 2), date(2024, 1, 5))) == 1

    def test_a_24_7_ticker_has_weekends_and_no_today(self, fake, clock):
        days = [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-01-01", "2024-01-10")]
        fake.listings["ETH-USD"] = Listing(
            zone="UTC", opens_at="00:00", bars=dict.fromkeys(days, BAR), first_trade="2017-11-09",
            last_trade="2024-01-10", kind="CRYPTOCURRENCY",
        )  # fmt: skip
        source = YahooSource(now=clock("2024-01-10 18:00"))
        bars = source.bars("ETH-USD", date(2024, 1, 5), date(2024, 1, 10))
        assert list(bars["date"].dt.day) == [5, 6, 7, 8, 9]

    @pytest.mark.parametrize(("ticker", "zone"), [("^FTSE", "Europe/London"), ("EURUSD=X", "Europe/London")])
    def test_indices_and_currencies(self, fake, source, ticker, zone):
        days = ["2024-01-03", "2024-01-04", "2024-01-05"]
        fake.listings[ticker] = Listing(
            zone=zone, opens_at="00:00", bars=dict.fromkeys(days, (1.1, 1.2, 1.0, 1.15, 0)), first_trade="2003-12-01",
            last_trade="2024-01-10", kind="INDEX",
        )  # fmt: skip
        bars = source.bars(ticker, date(2024, 1, 3), date(2024, 1, 5))
        assert list(bars["date"].dt.strftime("%Y-%m-%d")) == days
        assert set(bars["ticker"]) == {ticker}

    def test_what_the_ticker_was_listed_on_is_learnt(self, fake, source):
        days = [day for day in fake.listings["AAPL"].bars if day >= "2023-12-20"]
        fake.listings["AAPL"] = Listing(
            bars=dict.fromkeys(days, BAR), first_trade="2023-12-20", last_trade="2024-01-10"
        )
        assert source.first_session("AAPL") is None
        bars = source.bars("AAPL", date(2023, 12, 1), date(2024, 1, 9))
        assert source.first_session("AAPL") == date(2023, 12, 20) == bars["date"].iloc[0].date()

    def test_bars_on_closed_days_are_left_out(self, fake, source):
        fake.listings["AAPL"].bars |= {"2024-01-01": BAR, "2024-01-06": BAR}
        bars = source.bars("AAPL", date(2023, 12, 29), date(2024, 1, 9))
        assert not bars["date"].isin(pd.to_datetime(["2024-01-01", "2024-01-06"])).any()

    def test_a_row_sent_twice_counts_once(self, fake, source):
        fake.listings["AAPL"].twice = "2024-01-03"
        assert list(source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 4))["date"].dt.day) == [2, 3, 4]

    def test_a_hole_in_a_long_range_is_reported_not_refused(self, fake, source, caplog):
        fake.listings["AAPL"].bars["2023-12-20"] = EMPTY
        bars = source.bars("AAPL", date(2023, 12, 1), date(2024, 1, 9))
        assert len(bars) == 25
        assert "did not send 1 of 26 bars of AAPL, the first one that of 2023-12-20" in caplog.text


class TestUnfinished:
    @pytest.fixture(autouse=True)
    def live(self, fake) -> None:
        fake.listings["AAPL"].live = ("2024-01-10", (10.0, 10.1, 9.9, 10.0, 7))

    def test_the_running_session_is_never_asked_for_nor_taken(self, fake, clock):
        source = YahooSource(now=clock("2024-01-10 20:59"))
        bars = source.bars("AAPL", date(2024, 1, 8), date(2024, 1, 10))
        assert list(bars["date"].dt.day) == [8, 9]
        assert asked(fake) == [("2024-01-08", "2024-01-10")]

    def test_a_closed_session_settles_for_half_an_hour(self, fake, clock):
        source = YahooSource(now=clock("2024-01-10 21:29"))
        with pytest.raises(StockcastError, match=r"AAPL on 2024-01-10 is not over yet.*after 2024-01-10 21:30 UTC"):
            source.bars("AAPL", date(2024, 1, 10), date(2024, 1, 10))
        assert fake.charts == []
        fake.listings["AAPL"].live = None
        source = YahooSource(now=clock("2024-01-10 21:30"))
        assert len(source.bars("AAPL", date(2024, 1, 10), date(2024, 1, 10))) == 1

    def test_an_early_close(self, fake, clock):
        fake.listings["AAPL"].bars["2023-11-24"] = BAR
        source = YahooSource(now=clock("2023-11-24 18:30"))
        assert len(source.bars("AAPL", date(2023, 11, 24), date(2023, 11, 24))) == 1

    def test_the_row_of_nulls_of_a_session_that_has_just_begun(self, fake, clock):
        fake.listings["AAPL"].live = ("2024-01-10", EMPTY)
        source = YahooSource(now=clock("2024-01-10 14:31"))
        assert len(source.bars("AAPL", date(2024, 1, 8), date(2024, 1, 10))) == 2


class TestEmptyMeansClosedOrTooEarly:
    def test_closed_days_are_not_even_asked_for(self, fake, source):
        bars = source.bars("AAPL", date(2024, 1, 6), date(2024, 1, 7))
        assert bars.empty
        validate_bars(bars, "here")
        assert fake.charts == []

    def test_before_the_listing(self, fake, source):
        fake.listings["AAPL"].first_trade = "2023-12-01"
        assert source.bars("AAPL", date(2023, 11, 1), date(2023, 11, 30)).empty
        assert source.first_session("AAPL") == date(2023, 12, 1)
        assert source.bars("AAPL", None, date(2023, 11, 30)).empty


class TestBadAnswers:
    def refused(self, source, words: str, start=date(2024, 1, 2), end=date(2024, 1, 8), ticker="AAPL") -> None:
        with pytest.raises(StockcastError, match=words) as caught:
            source.bars(ticker, start, end)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")

    def test_unknown_ticker(self, fake, source):
        self.refused(source, "Yahoo Finance knows no ticker 'NOPE': look its symbol up", ticker="NOPE")
        assert len(fake.charts) == 1

    def test_a_ticker_that_is_none_is_not_asked_for(self, fake, source):
        self.refused(source, "is not a ticker", ticker="../AAPL")
        assert fake.charts == []

    def test_nothing_in_the_range(self, fake, source):
        for day in WEEK:
            del fake.listings["AAPL"].bars[day]
        self.refused(source, r"has no bar of AAPL from 2024-01-02 to 2024-01-08, although .*last trade .*2024-01-10")

    def test_delisted(self, fake, source):
        fake.listings["AAPL"] = Listing(bars={"2023-12-01": BAR}, first_trade="1980-12-12", last_trade="2023-12-01")
        self.refused(source, "no bar of AAPL .*its last trade there was on 2023-12-01: .*as a CSV file")
        assert len(source.bars("AAPL", None, date(2024, 1, 8))) == 1

    @pytest.mark.parametrize(
        ("gone", "words"),
        [
            (WEEK[:2], "did not send 2 of 5 bars of AAPL, the first one that of 2024-01-02"),
            (WEEK[-1:], "did not send 1 of 5 bars of AAPL, the first one that of 2024-01-08"),
            (WEEK[2:3], "did not send 1 of 5 bars of AAPL, the first one that of 2024-01-04"),
        ],
        ids=["beginning", "end", "middle"],
    )
    @pytest.mark.parametrize("how", ["absent", "null"])
    def test_part_of_the_range(self, fake, source, gone, words, how):
        for day in gone:
            if how == "absent":
                del fake.listings["AAPL"].bars[day]
            else:
                fake.listings["AAPL"].bars[day] = EMPTY
        self.refused(source, words)

    @pytest.mark.parametrize(
        ("bar", "words"),
        [
            ((None, 11.0, 9.0, 10.5, 100), "the bar of AAPL on 2024-01-04 has no open"),
            ((10.0, 11.0, 9.0, None, 100), "the bar of AAPL on 2024-01-04 has no close"),
            ((10.0, 8.0, 9.0, 10.5, 100), "the bar of AAPL on 2024-01-04 has low 9 above high 8"),
            ((0.0, 11.0, 9.0, 10.5, 100), "open 0, which must be greater than 0"),
            ((10.0, 11.0, 9.0, 1050.0, 100), "close 1050 above high 11"),
            ((10.0, 11.0, 9.0, 10.5, -1), "volume -1"),
        ],
    )
    def test_an_impossible_bar(self, fake, source, bar, words):
        fake.listings["AAPL"].bars["2024-01-04"] = bar
        self.refused(source, f"Yahoo Finance: .*{words}.*; try again later, or supply")

    def test_no_volume_is_none_traded(self, fake, source):
        fake.listings["AAPL"].bars["2024-01-04"] = (10.0, 11.0, 9.0, 10.5, None)
        assert source.bars("AAPL", date(2024, 1, 4), date(2024, 1, 4))["volume"][0] == 0

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ((200, "[]"), "gave no bars of AAPL"),
            ((200, json.dumps({"chart": {"result": [{"meta": {}}], "error": None}})), "answer for AAPL"),
            ((401, refusal("Unauthorized", "Invalid Crumb")), "gave no bars of AAPL .*Invalid Crumb"),
            ((422, refusal("Unprocessable", "Invalid input")), "gave no bars of AAPL .*Invalid input"),
            ((403, "forbidden"), "sent no data when asked for AAPL: try again later"),
        ],
    )
    def test_nonsense(self, fake, source, answer, words):
        source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 8))
        fake.always = answer
        self.refused(source, words)


class TestPatience:
    @pytest.fixture(autouse=True)
    def known(self, fake, source) -> None:
        """The time zone of the ticker is known already, so that each try is one request."""
        source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 8))
        fake.charts.clear()

    def bars(self, source) -> pd.DataFrame:
        return source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 8))

    @pytest.mark.parametrize(
        "answers",
        [
            [TOO_MANY],
            [TOO_MANY] * 5,
            [(503, "unavailable")],
            [(500, refusal("Internal Server Error", "oops"))] * 3,
            [(502, "<html>"), TOO_MANY, TOO_MANY, (504, "")],
            [(200, "<html>Will be right back</html>")],
            [(200, "{not json")],
        ],
    )
    def test_later_is_asked_again(self, fake, source, answers):
        fake.answers.extend(answers)
        assert len(self.bars(source)) == 5
        assert not fake.answers

    @pytest.mark.parametrize(
        ("answer", "words", "requests"),
        [
            (TOO_MANY, "refused the bars of AAPL 4 times for too many requests: try again in a quarter", 8),
            ((503, ""), "answered HTTP 503 when asked for AAPL: try again later", 4),
            ((200, "<html>"), "sent no data when asked for AAPL: try again later", 4),
        ],
    )
    def test_but_not_forever(self, fake, clock, answer, words, requests):
        fake.always = answer
        source = YahooSource(now=clock(NOW), attempts=4, pause_s=0.01)
        with pytest.raises(StockcastError, match=words):
            self.bars(source)
        assert len(fake.charts) == requests

    def test_too_many_requests_for_a_new_ticker(self, fake, source):
        fake.listings["NEWCOMER"] = fake.listings["AAPL"]
        fake.answers.extend([TOO_MANY] * 4)
        assert len(source.bars("NEWCOMER", date(2024, 1, 2), date(2024, 1, 8))) == 5

    def test_a_server_error_for_a_new_ticker_is_not_taken_for_an_unknown_one(self, fake, clock):
        fake.always = (503, "")
        source = YahooSource(now=clock(NOW), attempts=2, pause_s=0.01)
        with pytest.raises(StockcastError, match="answered HTTP 503 when asked for NEWCOMER"):
            source.bars("NEWCOMER", date(2024, 1, 2), date(2024, 1, 8))

    def test_pauses_grow_and_differ(self, fake, clock, monkeypatch):
        pauses: list[float] = []
        here, sleep = threading.get_ident(), time.sleep

        def nap(seconds: float) -> None:
            """What other threads of this process do is not ours to see."""
            (pauses.append if threading.get_ident() == here else sleep)(seconds)

        monkeypatch.setattr("tenacity.nap.time.sleep", nap)
        # Other threads draw from the random numbers that all of the process share.
        monkeypatch.setattr("tenacity.wait.random", random.Random(1))
        fake.always = (503, "")
        for _ in range(32):
            with pytest.raises(StockcastError):
                self.bars(YahooSource(now=clock(NOW), attempts=5, pause_s=2.0))
        grid = np.array(pauses).reshape(32, 4)
        assert (grid <= [2, 4, 8, 16]).all()
        assert (grid >= 0).all()
        assert grid[:, 3].mean() > 2 * grid[:, 1].mean()
        assert len(np.unique(grid)) == grid.size

    def test_silence_times_out(self, fake, clock, monkeypatch):
        monkeypatch.setattr(yahoo, "_TIMEOUT_S", 0.3)
        fake.stalls = True
        try:
            with pytest.raises(StockcastError, match=r"cannot be reached \(Timeout\): check the network"):
                self.bars(YahooSource(now=clock(NOW), pause_s=0.01))
        finally:
            fake.stalls = False
            fake.delay.set()
            fake.delay.clear()
        assert len(fake.charts) == 3

    def test_no_way_to_yahoo(self, fake, clock, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with pytest.raises(StockcastError, match=r"cannot be reached .*check the network, and HTTPS_PROXY"):
            self.bars(YahooSource(now=clock(NOW), pause_s=0.01))

    def test_the_rate_is_kept(self, fake, source, monkeypatch):
        limiter = Limiter(Rate(2, 400))
        monkeypatch.setattr(rate_limit, "own_limiter", lambda: limiter)
        started = time.monotonic()
        for _ in range(5):
            source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 8))
        assert time.monotonic() - started >= 0.8


def test_factory(tmp_path):
    source = source_from("yahoo", tmp_path)
    assert source.name == "yahoo"
    assert source.tickers() == []


class TestOverlap:
    def test_stored_sessions_come_along_in_the_same_request(self, fake, source):
        bars = source.bars("AAPL", date(2024, 1, 8), date(2024, 1, 9), overlap=date(2024, 1, 3))
        assert list(bars["date"].dt.day) == [3, 4, 5, 8, 9]
        assert asked(fake) == [("2024-01-03", "2024-01-10")]

    def test_one_of_them_may_be_missing_but_none_that_is_owed(self, fake, source):
        del fake.listings["AAPL"].bars["2024-01-03"]
        bars = source.bars("AAPL", date(2024, 1, 8), date(2024, 1, 9), overlap=date(2024, 1, 3))
        assert list(bars["date"].dt.day) == [4, 5, 8, 9]
        del fake.listings["AAPL"].bars["2024-01-08"]
        with pytest.raises(StockcastError, match="did not send 1 of 2 bars of AAPL, the first one that of 2024-01-08"):
            source.bars("AAPL", date(2024, 1, 8), date(2024, 1, 9), overlap=date(2024, 1, 3))
        del fake.listings["AAPL"].bars["2024-01-09"]
        with pytest.raises(StockcastError, match="has no bar of AAPL from 2024-01-08"):
            source.bars("AAPL", date(2024, 1, 8), date(2024, 1, 9), overlap=date(2024, 1, 3))


class TestScript:
    """The fake tells events as Yahoo does: in the shares of the day it is asked."""

    DAYS = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05")

    def shown(self, fake, source, today: str, **events) -> pd.DataFrame:
        script = Script(dict.fromkeys(self.DAYS, (100.0, 110.0, 90.0, 100.0, 1000)), **events)
        fake.show({"AAPL": script}, today)
        return source.bars("AAPL", date(2024, 1, 2), date.fromisoformat(today))

    def test_a_split_rescales_the_days_before_it_once_it_is_there(self, fake, source):
        splits = {"2024-01-04": (4, 1)}
        assert list(self.shown(fake, source, "2024-01-03", splits=splits)["close"]) == [100, 100]
        after = self.shown(fake, source, "2024-01-04", splits=splits)
        assert list(after["close"]) == [25, 25, 100]
        assert list(after["volume"]) == [4000, 4000, 1000]
        assert list(after["split_ratio"]) == [1, 1, 4]

    def test_a_dividend_moves_adjusted_closes_only(self, fake, source):
        after = self.shown(fake, source, "2024-01-04", dividends={"2024-01-03": 2.0})
        assert list(after["close"]) == [100, 100, 100]
        assert list(after["adj_close"]) == [98, 100, 100]
        assert list(after["dividend"]) == [0, 2, 0]

    def test_a_correction_shows_from_its_day_on(self, fake, source):
        corrections = {"2024-01-03": ("2024-01-05", (100.0, 110.0, 90.0, 101.0, 1000))}
        assert self.shown(fake, source, "2024-01-04", corrections=corrections)["close"][1] == 100
        assert self.shown(fake, source, "2024-01-05", corrections=corrections)["close"][1] == 101

    def test_a_late_bar_and_an_outage(self, fake, source, clock):
        with pytest.raises(StockcastError, match="that of 2024-01-04"):
            self.shown(fake, source, "2024-01-04", arrives={"2024-01-04": "2024-01-05"})
        assert len(self.shown(fake, source, "2024-01-05", arrives={"2024-01-04": "2024-01-05"})) == 4
        fake.show({}, "2024-01-05", outage=True)
        with pytest.raises(StockcastError, match="HTTP 503"):
            YahooSource(now=clock(NOW), attempts=2, pause_s=0.01).bars("AAPL", date(2024, 1, 2), date(2024, 1, 5))


ASK = """
import sys
from datetime import date
import pandas as pd
import yfinance
from pyrate_limiter import Rate
from stockcast_assets.market.sources import rate_limit, yahoo
yfinance.set_tz_cache_location(sys.argv[1])
rate_limit.RATES = (Rate(3, 1500),)
source = yahoo.YahooSource(now=lambda: pd.Timestamp("2024-01-10 23:00", tz="UTC"))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    source.bars("AAPL", date(2024, 1, 5), date(2024, 1, 5))
"""


@pytest.mark.parametrize("machines", ["one machine", "two machines"])
def test_two_processes_share_one_rate_limit(fake, tmp_path, machines, request):
    apart = machines == "two machines"
    shared = {"STOCKCAST_RATE_LIMIT": request.getfixturevalue("valkey")} if apart else {}
    environment = {**os.environ, **fake.environment(), **shared}
    fake.moments.clear()
    folders = [tmp_path / "here", tmp_path / "there"] if apart else [tmp_path, tmp_path]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(tmp_path / name)],
            env=environment | {"TMPDIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, folder in zip(("one", "two"), folders, strict=True)
    ]
    for process in asking:
        assert process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    for process in asking:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in asking:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    sent = sorted(fake.moments)
    assert len(sent) >= 8
    # However long a request takes to arrive: each three of them came a window of 1.5 seconds after the three before.
    for number, moment in enumerate(sent):
        assert moment - begun >= number // 3 * 1.5 - 0.01
    files = [path.name for path in tmp_path.rglob("stockcast-*/*.sqlite")]
    assert files == ([] if apart else ["yahoo-requests.sqlite"])
