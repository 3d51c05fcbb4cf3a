"""Calendars: which sessions a ticker trades."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market import calendars


@pytest.fixture(autouse=True)
def packaged_rules(tmp_path: Path) -> None:
    calendars.extend_rules(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("ticker", "calendar"),
    [
        ("AAPL", "XNYS"),
        ("BRK-B", "XNYS"),
        ("^GSPC", "XNYS"),
        ("^FTSE", "XLON"),
        ("ETH-USD", "24/7"),
        ("BTC-USD", "24/7"),
        ("VOD.L", "XLON"),
        ("005930.KS", "XKRX"),
        ("7203.T", "XTKS"),
        ("EURUSD=X", "24/5"),
    ],
)
def test_the_calendar_follows_the_ticker(ticker: str, calendar: str) -> None:
    assert calendars.calendar_for(ticker) == calendar


def test_a_users_table_wins_over_the_packaged_one(tmp_path: Path) -> None:
    table = tmp_path / "calendars.toml"
    table.write_text('[tickers]\nGOLD = "24/5"\n[suffixes]\n".L" = "XDUB"\n')
    calendars.extend_rules(table)
    assert [calendars.calendar_for(t) for t in ("GOLD", "VOD.L", "AAPL")] == ["24/5", "XDUB", "XNYS"]


@pytest.mark.parametrize("text", ['[tickers]\nA = "XMARS"', "not toml = = ", 'default = "nowhere"'])
def test_a_bad_table_is_one_sentence(tmp_path: Path, text: str) -> None:
    table = tmp_path / "calendars.toml"
    table.write_text(text)
    with pytest.raises(StockcastError, match=r"calendars\.toml") as caught:
        calendars.extend_rules(table)
    assert "\n" not in str(caught.value).strip()


def test_sessions_know_holidays_and_weekends() -> None:
    week = calendars.sessions("XNYS", "2013-02-15", "2013-02-20")
    assert [f"{day:%m-%d}" for day in week] == ["02-15", "02-19", "02-20"]
    assert len(calendars.sessions("24/7", "2013-02-15", "2013-02-20")) == 6
    assert not calendars.is_session("XLON", "2012-12-25")
    assert calendars.is_session("XKRX", "2012-12-24")


def test_next_sessions_are_strictly_after_the_day() -> None:
    ahead = calendars.next_sessions("XNYS", "2013-02-15", 3)
    assert [f"{day:%m-%d}" for day in ahead] == ["02-19", "02-20", "02-21"]
    assert calendars.next_sessions("24/7", "2013-02-15", 1)[0] == pd.Timestamp("2013-02-16")
    with pytest.raises(StockcastError, match="upgrade exchange_calendars"):
        calendars.next_sessions("XNYS", "2100-01-01", 1)


def test_half_days_close_early_and_closes_are_utc() -> None:
    assert calendars.session_close("XNYS", "2012-11-23") == pd.Timestamp("2012-11-23 18:00", tz="UTC")
    assert calendars.session_close("XNYS", "2012-07-02") == pd.Timestamp("2012-07-02 20:00", tz="UTC")
    assert calendars.session_close("24/7", "2012-07-01") == pd.Timestamp("2012-07-02", tz="UTC")
    with pytest.raises(StockcastError, match="no session"):
        calendars.session_close("XNYS", "2012-07-04")


@settings(max_examples=40)
@given(st.dates(pd.Timestamp("2005-01-01").date(), pd.Timestamp("2020-12-31").date()), st.integers(0, 60))
def test_closed_days_and_sessions_split_the_calendar(start: object, length: int) -> None:
    end = pd.Timestamp(start) + pd.Timedelta(days=length)  # type: ignore[arg-type]
    open_days = calendars.sessions("XNYS", start, end).union(calendars.sessions("XLON", start, end))  # type: ignore[arg-type]
    closed = calendars.closed_days(["XNYS", "XLON"], start, end)  # type: ignore[arg-type]
    assert closed.intersection(open_days).empty
    assert len(closed) + len(open_days) == length + 1


def test_an_unknown_code_is_named() -> None:
    with pytest.raises(StockcastError, match="'XMARS'"):
        calendars.validate_calendars(["XNYS", "XMARS"])
