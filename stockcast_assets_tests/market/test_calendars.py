"""Calendars: which sessions a ticker trades."""

import json
import re
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

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
        ("BRK.B", "XNYS"),
        ("BAC-PL", "XNYS"),
        ("2222.SR", "XSAU"),
        ("PTT.BK", "XBKK"),
        ("8069.TWO", "XTAI"),
        ("BTC-CAD", "24/7"),
        ("BTC-USDT", "24/7"),
        ("BTCUSDT", "24/7"),
        ("SOL16116-USD", "24/7"),
        ("GC=F", "CMES"),
        ("KC=F", "IEPA"),
        ("VX=F", "XCBF"),
        ("^NSEI", "XBOM"),
        ("^STOXX50E", "XPAR"),
        ("RELIANCE.NS", "XBOM"),
        ("7203.QQ", "unknown"),
        ("^NOPE", "unknown"),
        ("COIN-XYZZ", "unknown"),
        ("005930", "unknown"),
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


KEPT_FILES = st.one_of(
    st.none(), st.binary(max_size=50), st.sampled_from([b"[]", b"{}", b'{"of": 1}', b'{"of": null, "closed": ["x"]}'])
)


@settings(max_examples=15)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from([["XNYS"], ["XLON"], ["XNYS", "XLON"]]),
            st.dates(date(2024, 1, 1), date(2024, 2, 1)),
            st.dates(date(2024, 2, 1), date(2024, 4, 1)),
            st.sampled_from(["", "[closed]\nXNYS = [2024-01-18]\n", "[open]\nXNYS = [2024-01-15]\n"]),
        ),
        min_size=2,
        max_size=4,
    ),
    junk=KEPT_FILES,
)
def test_closed_days_that_are_kept_are_those_that_would_be_found(asked: list[tuple[Any, ...]], junk: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table, kept = Path(folder) / "calendars.toml", Path(folder) / calendars.KEPT
        if junk is not None:
            kept.write_bytes(junk)
        for codes, start, end, lines in [*asked, *asked]:
            table.write_text(lines)
            calendars.extend_rules(table)
            found = [day.date() for day in calendars.closed_days(codes, start, end)]
            assert calendars.kept_closed_days(codes, start, end) == found
            # What was just kept is taken from there.
            stored = json.loads(kept.read_bytes())
            kept.write_text(json.dumps(stored | {"closed": ["1999-12-31"]}))
            assert calendars.kept_closed_days(codes, start, end) == [date(1999, 12, 31)]
            kept.write_text(json.dumps(stored))
        assert [path.name for path in Path(folder).iterdir() if path.name.startswith(calendars.KEPT)] == [
            calendars.KEPT
        ]


def test_closed_days_need_no_place_to_be_kept(tmp_path: Path) -> None:
    calendars.extend_rules(tmp_path / "no" / "such" / "calendars.toml")
    new_year = date(2024, 1, 1)
    assert calendars.kept_closed_days(["XNYS"], new_year, new_year) == [new_year]


def test_an_unknown_code_is_named() -> None:
    with pytest.raises(StockcastError, match="'XMARS'"):
        calendars.validate_calendars(["XNYS", "XMARS"])


def test_nobody_guesses_where_a_ticker_trades(tmp_path: Path) -> None:
    table = tmp_path / "calendars.toml"
    calendars.extend_rules(table)
    for ticker in ("7203.QQ", "^NOPE", "COIN-XYZZ", "005930"):
        with pytest.raises(StockcastError, match="Nobody knows on which days") as told:
            calendars.known_calendar_for(ticker)
        # The sentence holds the line, and the line helps.
        line, section = re.search(r"the line `(.*?)` under (\[\w+\]) into", str(told.value)).groups()  # type: ignore[union-attr]
        assert str(table) in str(told.value)
        table.write_text(f"{section}\n{line}\n")
        calendars.extend_rules(table)
        assert calendars.known_calendar_for(ticker) == "XLON"
        # What is stored of such a ticker is still looked at.
        table.unlink()
        calendars.extend_rules(table)
        assert calendars.is_session(calendars.calendar_for(ticker), "2024-01-03")


def test_known_corrections_are_packaged() -> None:
    assert not any(calendars.is_session("XKRX", day) for day in ("2026-06-03", "2026-07-17"))
    assert not any(calendars.is_session("XHKG", day) for day in ("2023-09-01", "2023-09-08"))
    assert calendars.is_session("XBOM", "2026-02-01")
    assert calendars.session_close("XBOM", "2026-02-01") == pd.Timestamp("2026-02-01 10:00", tz="UTC")
    assert [f"{day:%m-%d}" for day in calendars.next_sessions("XKRX", "2026-07-16", 2)] == ["07-20", "07-21"]
    assert calendars.previous_session("XKRX", "2026-07-18") == pd.Timestamp("2026-07-16")
    assert pd.Timestamp("2026-07-17") in calendars.closed_days(["XKRX"], "2026-07-13", "2026-07-20")


def test_a_persons_days_win_over_the_library_and_the_package(tmp_path: Path) -> None:
    table = tmp_path / "calendars.toml"
    table.write_text('[closed]\nXNYS = [2024-01-03, "2024-01-04"]\n[open]\nXNYS = [2024-01-06]\nXKRX = [2026-07-17]\n')
    calendars.extend_rules(table)
    week = calendars.sessions("XNYS", "2024-01-02", "2024-01-08")
    assert [day.day for day in week] == [2, 5, 6, 8]
    assert calendars.is_session("XKRX", "2026-07-17")
    assert not calendars.is_session("XKRX", "2026-06-03")


@pytest.mark.parametrize(
    "text",
    [
        '[closed]\nXNYS = ["soon"]',
        "[closed]\nXNYS = 7",
        "[open]\nXMARS = [2024-01-01]",
        '[optional]\n"24/5" = ["13-45"]',
    ],
)
def test_bad_days_are_one_sentence(tmp_path: Path, text: str) -> None:
    table = tmp_path / "calendars.toml"
    table.write_text(text)
    with pytest.raises(StockcastError, match=r"calendars\.toml") as caught:
        calendars.extend_rules(table)
    assert "\n" not in str(caught.value)


def test_days_that_may_be_without_a_bar(tmp_path: Path) -> None:
    table = tmp_path / "calendars.toml"
    table.write_text("[closed]\nKO = [2024-01-03]\n")
    calendars.extend_rules(table)

    def expected(ticker: str, first: str, last: str) -> list[str]:
        return [f"{day:%m-%d}" for day in calendars.expected_sessions(ticker, first, last)]

    assert expected("EURUSD=X", "2024-12-24", "2025-01-02") == ["12-24", "12-26", "12-27", "12-30", "12-31", "01-02"]
    # They are sessions nevertheless: a bar of them is no bar too many.
    assert calendars.is_session("24/5", "2024-12-25")
    assert expected("GC=F", "2024-01-12", "2024-01-16") == ["01-12", "01-16"]
    assert expected("KO", "2024-01-02", "2024-01-04") == ["01-02", "01-04"]
    assert expected("AAPL", "2024-01-02", "2024-01-04") == ["01-02", "01-03", "01-04"]
    assert list(calendars.left_out_days("KO")) == [pd.Timestamp("2024-01-03")]
    assert calendars.last_expected_session("EURUSD=X", "2024-12-25") == pd.Timestamp("2024-12-24")


def test_what_evidence_closed_holds_for_every_process_and_can_be_revised(tmp_path: Path) -> None:
    table = tmp_path / "calendars.toml"
    calendars.extend_rules(table)
    calendars.learn_closed("XKRX", "2025-05-12", 'none of "005930.KS", 000660.KS has a bar')
    calendars.learn_closed("XKRX", "2025-05-14", "none has")
    calendars.extend_rules(tmp_path / "elsewhere" / "calendars.toml")
    assert len(calendars.expected_sessions("005930.KS", "2025-05-12", "2025-05-14")) == 3
    calendars.extend_rules(table)
    [left] = calendars.expected_sessions("005930.KS", "2025-05-12", "2025-05-14")
    assert left == pd.Timestamp("2025-05-13")
    assert "evidence" in calendars.why_optional("005930.KS", pd.Timestamp("2025-05-12"))
    # The keys do not change under a run: the day stays one.
    assert not len(calendars.closed_days(["XKRX"], "2025-05-12", "2025-05-14"))
    table.write_text("[open]\nXKRX = [2025-05-12]\n")
    calendars.extend_rules(table)
    assert len(calendars.expected_sessions("005930.KS", "2025-05-12", "2025-05-14")) == 2


@settings(max_examples=40)
@given(
    st.sets(st.dates(date(2024, 1, 1), date(2024, 3, 31)), max_size=6),
    st.sets(st.dates(date(2024, 1, 1), date(2024, 3, 31)), max_size=6),
)
def test_a_calendar_is_the_librarys_but_for_the_days_named(closed: set[date], opened: set[date]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        calendars.extend_rules(Path(folder) / "calendars.toml")
        before = set(calendars.sessions("XNYS", "2024-01-01", "2024-03-31"))
        days = {
            name: ", ".join(map(str, sorted(days))) for name, days in (("closed", closed), ("open", opened - closed))
        }
        (Path(folder) / "calendars.toml").write_text(
            "".join(f"[{name}]\nXNYS = [{text}]\n" for name, text in days.items())
        )
        calendars.extend_rules(Path(folder) / "calendars.toml")
    now = set(calendars.sessions("XNYS", "2024-01-01", "2024-03-31"))
    assert now == (before | {pd.Timestamp(day) for day in opened}) - {pd.Timestamp(day) for day in closed}
    for day in now:
        assert calendars.session_close("XNYS", day).tz_convert("America/New_York").date() == day.date()
