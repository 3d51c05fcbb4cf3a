"""Yahoo's oddities, each an answer of a server of its shape: what is stored, what is left out, which sentence stops.

Every kind was reported by somebody who uses Yahoo's bars; the answers here are made up.
"""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market import calendars
from stockcast_assets.market.calendars import sessions
from stockcast_assets.market.evidence import plainly_closed
from stockcast_assets.market.sources.base import NOTES
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets_tests.market.sources.fake_yahoo import Bar, FakeYahoo, Listing, serving

BAR: Bar = (10.0, 11.0, 9.0, 10.5, 100)
NULLS: Bar = (None, None, None, None, None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYahoo]:
    with serving(tmp_path_factory.mktemp("yahoo")) as server:
        yield server


@pytest.fixture
def yahoo(server: FakeYahoo, clock: Callable, tmp_path: Path) -> Callable[..., YahooSource]:
    """`yahoo("2026-08-01", ticker=listing)` is the source on that day, when Yahoo lists that."""
    calendars.extend_rules(tmp_path / "calendars.toml")

    def at(day: str, listings: dict[str, Listing]) -> YahooSource:
        server.listings = listings
        return YahooSource(now=clock(f"{day} 23:30"), attempts=1, pause_s=0.01)

    yield at
    calendars.extend_rules(tmp_path / "none.toml")


def listed(
    calendar: str, first: str, last: str, zone: str = "America/New_York", without: tuple[str, ...] = (), **more: object
) -> Listing:
    """A listing with a bar of every session but some."""
    days = [f"{day:%Y-%m-%d}" for day in sessions(calendar, first, last) if f"{day:%Y-%m-%d}" not in without]
    facts = {"first_trade": "1999-01-04", "last_trade": last, "opens_at": "09:30"} | more
    return Listing(zone=zone, bars=dict.fromkeys(days, BAR), **facts)


def days_of(bars: pd.DataFrame) -> list[str]:
    return [f"{day:%m-%d}" for day in bars["date"]]


class TestCalendars:
    @pytest.mark.parametrize(
        ("ticker", "zone", "day"),
        [
            ("005930.KS", "Asia/Seoul", "2026-06-03"),
            ("000660.KS", "Asia/Seoul", "2026-07-17"),
            ("0700.HK", "Asia/Hong_Kong", "2023-09-01"),
            ("0005.HK", "Asia/Hong_Kong", "2023-09-08"),
        ],
    )
    def test_sessions_that_never_were(self, yahoo, ticker, zone, day):
        start, end = pd.Timestamp(day) - pd.Timedelta(days=4), pd.Timestamp(day) + pd.Timedelta(days=4)
        listing = listed(calendars.calendar_for(ticker), str(start.date()), str(end.date()), zone)
        assert day not in listing.bars
        source = yahoo("2026-08-01", {ticker: listing})
        assert list(source.bars(ticker, start.date(), end.date())["date"].astype(str)) == sorted(listing.bars)
        assert source.bars(ticker, date.fromisoformat(day), date.fromisoformat(day)).empty

    def test_one_that_nobody_knew_of_is_a_line_away(self, yahoo, tmp_path):
        listing = listed("XKRX", "2025-05-07", "2025-05-20", "Asia/Seoul", without=("2025-05-14",))
        source = yahoo("2025-06-01", {"005930.KS": listing})
        with pytest.raises(StockcastError, match=r"has no bar of 005930\.KS on 2025-05-14") as told:
            source.bars("005930.KS", date(2025, 5, 14), date(2025, 5, 14))
        for line in ('`"XKRX" = [2025-05-14]` under [closed]', '`"005930.KS" = [2025-05-14]`'):
            assert line in str(told.value)
            (tmp_path / "calendars.toml").write_text(f"[closed]\n{line.split('`')[1]}\n")
            calendars.extend_rules(tmp_path / "calendars.toml")
            assert source.bars("005930.KS", date(2025, 5, 14), date(2025, 5, 14)).empty
            assert days_of(source.bars("005930.KS", date(2025, 5, 13), date(2025, 5, 15))) == ["05-13", "05-15"]

    def test_evidence_needs_two_that_lack_the_day_and_have_those_around_it(self, yahoo):
        day = pd.Timestamp("2025-05-14")

        def without(*days: str) -> Listing:
            return listed("XKRX", "2025-05-07", "2025-05-20", "Asia/Seoul", without=days)

        def judged(**listings: Listing) -> str | None:
            named = {f"00{index}000.KS": listing for index, listing in enumerate(listings.values())}
            source = yahoo("2025-06-01", named)
            return plainly_closed("XKRX", day, dict.fromkeys(named, source))

        assert judged(a=without("2025-05-14"), b=without("2025-05-14")).startswith(
            "XKRX was closed on 2025-05-14: none"
        )
        assert judged(a=without("2025-05-14")) is None
        assert judged(a=without("2025-05-14"), b=without()) is None
        assert judged(a=without("2025-05-14"), b=without("2025-05-14", "2025-05-15")) is None
        assert judged(a=without("2025-05-14"), b=without("2025-05-13", "2025-05-14")) is None

    def test_a_special_session(self, yahoo):
        listing = listed("XBOM", "2026-01-28", "2026-02-05", "Asia/Kolkata", opens_at="09:15")
        assert "2026-02-01" in listing.bars
        bars = yahoo("2026-02-10", {"RELIANCE.NS": listing}).bars("RELIANCE.NS", date(2026, 1, 28), date(2026, 2, 5))
        assert "02-01" in days_of(bars)
        listing.bars["2026-02-07"] = BAR
        listing.bars |= dict.fromkeys(["2026-02-06", "2026-02-09"], BAR)
        bars = yahoo("2026-02-10", {"RELIANCE.NS": listing}).bars("RELIANCE.NS", date(2026, 1, 28), date(2026, 2, 9))
        assert "02-07" not in days_of(bars)
        [note] = bars.attrs[NOTES]
        assert 'XBOM is closed (2026-02-07), which were left out; if it was open, write `"XBOM" = [2026-02-07]`' in note

    def test_gold_traded_on_the_day_of_mourning(self, yahoo):
        listing = listed("CMES", "2025-01-02", "2025-01-15", kind="FUTURE")
        bars = yahoo("2025-01-20", {"GC=F": listing}).bars("GC=F", date(2025, 1, 2), date(2025, 1, 15))
        assert "01-09" in days_of(bars)
        # Of holidays of New York Yahoo may have none: nothing is missing then.
        del listing.bars["2025-01-09"]
        bars = yahoo("2025-01-20", {"GC=F": listing}).bars("GC=F", date(2025, 1, 2), date(2025, 1, 15))
        assert "01-09" not in days_of(bars)

    @pytest.mark.parametrize(
        ("ticker", "calendar", "zone", "kind"),
        [
            ("2222.SR", "XSAU", "Asia/Riyadh", "EQUITY"),
            ("PTT.BK", "XBKK", "Asia/Bangkok", "EQUITY"),
            ("8069.TWO", "XTAI", "Asia/Taipei", "EQUITY"),
            ("^NSEI", "XBOM", "Asia/Kolkata", "INDEX"),
            ("^STOXX50E", "XPAR", "Europe/Berlin", "INDEX"),
            ("BTC-CAD", "24/7", "UTC", "CRYPTOCURRENCY"),
            ("BTC-USDT", "24/7", "UTC", "CRYPTOCURRENCY"),
        ],
    )
    def test_each_ticker_has_its_own_days(self, yahoo, ticker, calendar, zone, kind):
        listing = listed(calendar, "2025-03-03", "2025-04-30", zone, kind=kind, opens_at="00:00")
        bars = yahoo("2025-05-05", {ticker: listing}).bars(ticker, date(2025, 3, 3), date(2025, 4, 30))
        assert list(bars["date"].astype(str)) == sorted(listing.bars)
        assert bars.attrs[NOTES] == []

    @pytest.mark.parametrize(
        ("ticker", "zone", "kind", "line"),
        [
            ("QNBK.QQ", "Asia/Riyadh", "EQUITY", '`".QQ" = "XSAU"` under [suffixes]'),
            ("COIN-XYZZ", "UTC", "CRYPTOCURRENCY", '`"COIN-XYZZ" = "24/7"` under [tickers]'),
            ("^NOPE", "Europe/Warsaw", "INDEX", '`"^NOPE" = "XWAR"` under [tickers]'),
        ],
    )
    def test_yahoo_says_where_an_unknown_one_trades(self, yahoo, ticker, zone, kind, line):
        listing = listed("XSAU", "2025-03-03", "2025-04-30", zone, kind=kind)
        with pytest.raises(StockcastError, match="Nobody knows on which days") as told:
            yahoo("2025-05-05", {ticker: listing}).bars(ticker, date(2025, 4, 1), date(2025, 4, 30))
        assert line in str(told.value)

    def test_bars_on_many_closed_days_are_anothers_calendar(self, yahoo, tmp_path):
        (tmp_path / "calendars.toml").write_text('[tickers]\n"2222.SR" = "XNYS"\n')
        calendars.extend_rules(tmp_path / "calendars.toml")
        listing = listed("XSAU", "2025-03-03", "2025-04-30", "Asia/Riyadh")
        with pytest.raises(StockcastError, match=r"on which XNYS is closed .*Asia/Riyadh: write .*= \"XSAU\"`"):
            yahoo("2025-05-05", {"2222.SR": listing}).bars("2222.SR", date(2025, 3, 3), date(2025, 4, 30))


class TestSingleBars:
    @pytest.mark.parametrize(
        "bar",
        [
            pytest.param((0.0, 11.0, 9.0, 10.5, 100), id="open of 0"),
            pytest.param((10.0, 8.0, 9.0, 10.5, 100), id="low above high"),
            pytest.param((-37.0, 8.0, -40.0, -37.6, 100), id="below zero"),
            pytest.param((0.1, 0.11, 0.09, 0.105, 100), id="pounds among pence"),
            pytest.param((1e300, 1e300, 1e300, 1e300, 100), id="absurd"),
            pytest.param((10.0, 11.0, 9.0, 10.5, 4 * 10**18), id="absurd volume"),
        ],
    )
    def test_one_of_years_ago_counts_as_missing_and_one_of_now_is_refused_with_a_way_on(self, yahoo, tmp_path, bar):
        listing = listed("XNYS", "2012-01-03", "2012-12-31")
        listing.bars["2012-06-05"] = bar
        bars = yahoo("2024-01-05", {"KO": listing}).bars("KO", None, date(2012, 12, 31))
        assert "06-05" not in days_of(bars)
        assert len(bars) == len(listing.bars) - 1
        assert "left out as impossible: 2012-06-05: " in bars.attrs[NOTES][0]
        if bar[0] == 0.1:
            return  # Beside those before it only: see the test of the runs.
        source = yahoo("2012-06-08", {"KO": listing})
        with pytest.raises(StockcastError, match="the bar of KO on 2012-06-05 has ") as told:
            source.bars("KO", date(2012, 6, 4), date(2012, 6, 6))
        line = str(told.value).split("by the line `")[1].split("`")[0]
        (tmp_path / "calendars.toml").write_text(f"[closed]\n{line}\n")
        calendars.extend_rules(tmp_path / "calendars.toml")
        assert days_of(source.bars("KO", date(2012, 6, 4), date(2012, 6, 6))) == ["06-04", "06-06"]

    def test_what_rows_of_nulls_and_of_closed_days_paid_goes_to_the_next_session(self, yahoo):
        listing = listed("XNYS", "2012-01-03", "2012-12-31")
        listing.bars["2012-06-05"] = NULLS
        listing.dividends = {"2012-06-05": 0.25, "2012-06-09": 0.5}
        bars = yahoo("2024-01-05", {"KO": listing}).bars("KO", None, date(2012, 12, 31)).set_index("date")
        assert bars["dividend"].sum() == 0.75
        assert bars["dividend"]["2012-06-06"] == 0.25

    def test_an_absurd_dividend_is_refused(self, yahoo):
        listing = listed("XNYS", "2024-01-02", "2024-01-10")
        listing.dividends = {"2024-01-05": 1e308}
        with pytest.raises(StockcastError, match=r"dividend 1e\+308, which must be at most"):
            yahoo("2024-01-10", {"KO": listing}).bars("KO", date(2024, 1, 2), date(2024, 1, 10))


class TestCurrencies:
    @pytest.mark.parametrize("holidays", [(), ("2024-12-25", "2025-01-01")], ids=["with", "without"])
    def test_christmas_and_new_year(self, yahoo, holidays):
        listing = listed(
            "24/5", "2024-12-20", "2025-01-06", "Europe/London", holidays, opens_at="00:00", kind="CURRENCY"
        )
        source = yahoo("2025-01-07", {"EURUSD=X": listing})
        assert len(source.bars("EURUSD=X", date(2024, 12, 20), date(2025, 1, 6))) == len(listing.bars)
        assert len(source.bars("EURUSD=X", date(2024, 12, 25), date(2024, 12, 25))) == (0 if holidays else 1)
        if not holidays:
            return
        # Any other weekday is missed.
        del listing.bars["2024-12-27"]
        with pytest.raises(StockcastError, match="did not send 1 of 12 bars"):
            source.bars("EURUSD=X", date(2024, 12, 20), date(2025, 1, 6))

    def test_an_open_just_outside(self, yahoo):
        listing = listed("24/5", "2024-12-16", "2024-12-20", "Europe/London", opens_at="00:00", kind="CURRENCY")
        listing.bars["2024-12-18"] = (1.1 * 1.0005, 1.1, 1.09, 1.095, 0)
        source = yahoo("2025-01-07", {"EURUSD=X": listing, "KO": listing})
        assert len(source.bars("EURUSD=X", date(2024, 12, 16), date(2024, 12, 20))) == 5


def test_brk_dot_b_is_told_how_yahoo_writes_it(yahoo):
    with pytest.raises(StockcastError, match=r"knows no ticker 'BRK\.B', did you mean BRK-B: look"):
        yahoo("2024-01-10", {}).bars("BRK.B", date(2024, 1, 5), date(2024, 1, 9))


def test_an_answer_in_another_currency_is_refused(yahoo):
    euros = listed("XNYS", "2024-01-02", "2024-01-10", currency="EUR")
    with pytest.raises(StockcastError, match="answered in 'EUR' when asked for AAPL, whose prices are in USD"):
        yahoo("2024-01-10", {"AAPL": euros}).bars("AAPL", date(2024, 1, 5), date(2024, 1, 9))


def test_an_answer_of_another_ticker_is_refused(yahoo):
    listing = listed("XNYS", "2024-01-02", "2024-01-10", symbol="META")
    with pytest.raises(StockcastError, match="answered with 'META' when asked for FB: look it up"):
        yahoo("2024-01-10", {"FB": listing}).bars("FB", date(2024, 1, 5), date(2024, 1, 9))
    assert len(yahoo("2024-01-10", {"META": listing}).bars("META", date(2024, 1, 5), date(2024, 1, 9))) == 3
