"""Earnings dates from the real yfinance client, against the local server."""

from collections.abc import Iterator

import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.earnings import AFTER_CLOSE, ANNOUNCED, BEFORE_OPEN, EXPECTED, FILED, NO_HOUR, SAID
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets_tests.market.sources.fake_yahoo import FakeYahoo, Listing, serving

MOMENTS = (
    "July 25, 2024 at 4 PM EDT",
    "April 25, 2024 at 7 AM EDT",
    "January 25, 2024 at 4 PM EST",
    "October 26, 2023 at 12 AM EDT",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYahoo]:
    with serving(tmp_path_factory.mktemp("yahoo")) as server:
        server.listings = {"AAPL": Listing(reports=MOMENTS), "^GSPC": Listing()}
        yield server


@pytest.fixture
def source(clock) -> YahooSource:
    return YahooSource(now=clock("2024-04-10 22:30"), attempts=3, pause_s=0.01)


def test_yahoos_calendar_says_what_came_what_is_announced_and_what_is_guessed(
    server: FakeYahoo, source: YahooSource
) -> None:
    said = source.earnings("AAPL")
    assert list(said.columns) == list(SAID)
    assert list(zip(said["date"].dt.strftime("%Y-%m-%d"), said["hour"], said["kind"], strict=True)) == [
        ("2023-10-26", NO_HOUR, FILED),
        ("2024-01-25", AFTER_CLOSE, FILED),
        ("2024-04-25", BEFORE_OPEN, ANNOUNCED),
        ("2024-07-25", AFTER_CLOSE, EXPECTED),
    ]
    assert said["known_on"].tolist()[:2] == [pd.Timestamp("2023-10-27"), pd.Timestamp("2024-01-25")]
    assert said["known_on"].isna().tolist()[2:] == [True, True]


def test_a_symbol_without_reports_has_none(server: FakeYahoo, source: YahooSource) -> None:
    assert source.earnings("^GSPC").empty


def test_a_refusal_is_asked_again_and_then_told(server: FakeYahoo, source: YahooSource) -> None:
    server.calendar_answers.extend([(503, ""), (429, "Too Many Requests")])
    assert len(source.earnings("AAPL")) == 4
    server.calendar_answers.extend([(503, "")] * 3)
    with pytest.raises(StockcastError, match="answered HTTP 503 when asked for AAPL: try again later"):
        source.earnings("AAPL")
    assert not server.calendar_answers


def test_a_page_that_cannot_be_read_is_a_sentence(server: FakeYahoo, source: YahooSource) -> None:
    server.calendar_answers.append((200, "<table><tr><th>Symbol</th></tr><tr><td>AAPL</td></tr></table>"))
    with pytest.raises(StockcastError, match="cannot read Yahoo Finance's answer for AAPL"):
        source.earnings("AAPL")
