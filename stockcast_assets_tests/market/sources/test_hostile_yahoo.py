"""Whatever answers in Yahoo's name takes bounded time and memory, and leads to one sentence and to no bar."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler

import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources import yahoo
from stockcast_assets.market.sources.yahoo import YahooSource
from stockcast_assets_tests.market.sources.fake_yahoo import FakeYahoo, Listing, serving

DAYS = ("2024-01-02", "2024-01-03")
NOW = pd.Timestamp("2024-01-10 22:00", tz="UTC")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeYahoo]:
    with serving(tmp_path_factory.mktemp("yahoo")) as server:
        yield server


@pytest.fixture
def fake(server: FakeYahoo) -> Iterator[FakeYahoo]:
    yield server
    server.hostile = server.always = None


def refused(fake: FakeYahoo) -> str:
    source = YahooSource(now=lambda: NOW, attempts=2, pause_s=0.01)
    fake.listings["AAPL"] = Listing(
        bars=dict.fromkeys(DAYS, (10.0, 11.0, 9.0, 10.0, 100)), first_trade="1980-12-12", last_trade="2024-01-10"
    )
    with pytest.raises(StockcastError) as caught:
        source.bars("AAPL", date(2024, 1, 2), date(2024, 1, 3))
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert len(sentence) < 600
    assert "AAPL" in sentence or "cannot be reached" in sentence
    return sentence


def begin(handler: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def endless(handler: BaseHTTPRequestHandler) -> None:
    begin(handler, Connection="close")
    while True:
        handler.wfile.write(b" " * 2**20)


def bomb(handler: BaseHTTPRequestHandler) -> None:
    begin(handler, Content_Encoding="gzip", Connection="close")
    handler.wfile.write(gzip.compress(bytes(256 * 2**20), 9))


def promised(handler: BaseHTTPRequestHandler) -> None:
    begin(handler, Content_Length=str(2**40))
    handler.wfile.write(b"{")


@pytest.mark.parametrize("answer", [endless, bomb, promised])
def test_a_body_without_end_is_cut_off(fake: FakeYahoo, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    fake.hostile = answer
    tracemalloc.start()
    try:
        assert "Yahoo Finance sent more than 16 MB when asked for AAPL: try again later" in refused(fake)
        assert tracemalloc.get_traced_memory()[1] < 600 * 2**20
    finally:
        tracemalloc.stop()


def test_a_slow_drip_has_the_time_of_one_request(fake: FakeYahoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        begin(handler, Connection="close")
        while not fake.delay.wait(0.1):
            handler.wfile.write(b" ")

    monkeypatch.setattr(yahoo, "_TIMEOUT_S", 1.0)
    yahoo._session.cache_clear()
    fake.hostile = drip
    begun = time.monotonic()
    try:
        assert "cannot be reached" in refused(fake)
    finally:
        yahoo._session.cache_clear()
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("place", ["https://elsewhere.example/", "http://127.0.0.1:1/", "file:///etc/passwd", "same"])
def test_a_redirect_of_bars_is_not_followed(fake: FakeYahoo, place: str) -> None:
    fake.hostile = lambda handler: begin(
        handler, 302, Content_Length="0", Location=handler.path if place == "same" else place
    )
    assert "sent the request to another address when asked for AAPL" in refused(fake)


def chart(change: Callable[[dict], object]) -> str:
    listing = Listing(bars=dict.fromkeys(DAYS, (10.0, 11.0, 9.0, 10.0, 100)), first_trade="1980-12-12")
    body = listing.chart(0, 2**40)
    change(body["chart"]["result"][0])
    return json.dumps(body)


BODIES: dict[str, str] = {
    "deep": "[" * 1_000_000,
    "deep chart": '{"chart":' * 100_000,
    "a list": "[]",
    "a number": "1e400",
    "a text": '"' + "x" * 100_000 + '"',
    "a page": "<html>" * 10_000,
    "nothing": "",
    "another symbol": chart(lambda result: result["meta"].update(symbol="MSFT")),
    "a symbol that is none": chart(lambda result: result["meta"].update(symbol={"a": "\x1b[2J"})),
    "a zone that is none": chart(lambda result: result["meta"].update(exchangeTimezoneName="../../etc/passwd")),
    "a moment that is none": chart(lambda result: result["meta"].update(firstTradeDate=1e300)),
    "stamps beyond time": chart(lambda result: result.update(timestamp=[10**300, -(10**300)])),
    "stamps that are none": chart(lambda result: result.update(timestamp=["x", None])),
    "infinite prices": chart(lambda result: result["indicators"]["quote"][0].update(close=[float("inf")] * 2)),
    "prices that are no numbers": chart(lambda result: result["indicators"]["quote"][0].update(close=["x", []])),
    "infinite volumes": chart(lambda result: result["indicators"]["quote"][0].update(volume=[float("inf")] * 2)),
    "another length": chart(lambda result: result["indicators"]["quote"][0].update(close=[1.0])),
    "a split by nothing": chart(
        lambda result: result.update(
            events={"splits": {"1": {"date": result["timestamp"][0], "numerator": 1, "denominator": 0}}}
        )
    ),
}


@pytest.mark.parametrize("what", BODIES)
def test_an_odd_answer_is_one_sentence_and_no_bar(fake: FakeYahoo, what: str) -> None:
    fake.always = (200, BODIES[what])
    sentence = refused(fake)
    assert "Yahoo Finance" in sentence
    if what == "another symbol":
        assert "answered with 'MSFT' when asked for AAPL" in sentence
