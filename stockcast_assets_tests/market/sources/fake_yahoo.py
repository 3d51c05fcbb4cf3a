"""A local server that speaks as much of Yahoo Finance as the real yfinance client asks for.

It is a proxy that answers in the name of every host it is asked to connect to, with a certificate of its own.
So the client is pointed to it by HTTPS_PROXY and CURL_CA_BUNDLE alone, in this process or in another.
"""

import json
import math
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd
import pytest
import yfinance
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyrate_limiter import Duration, Limiter, Rate

from stockcast_assets.market.sources import rate_limit, yahoo

Bar = tuple[float | None, float | None, float | None, float | None, int | None]


@dataclass
class Listing:
    """A ticker as Yahoo knows it: bars (open, high, low, close, volume) by day, and what it says about them."""

    zone: str = "America/New_York"
    opens_at: str = "09:30"
    bars: dict[str, Bar] = field(default_factory=dict)
    adjusted: dict[str, float] = field(default_factory=dict)
    dividends: dict[str, float] = field(default_factory=dict)
    splits: dict[str, tuple[int, int]] = field(default_factory=dict)
    first_trade: str | None = None
    last_trade: str | None = None
    live: tuple[str, Bar] | None = None
    """A row that is appended whatever range is asked for, as Yahoo does while a market is open."""
    twice: str | None = None
    """A day whose row is sent twice."""
    kind: str = "EQUITY"
    currency: str = "USD"
    symbol: str | None = None
    """What the answer says it is of."""
    company: object = None
    """What the answer calls the company."""
    reports: tuple[str, ...] = ()
    """Moments of earnings reports in Yahoo's words: `April 25, 2024 at 4 PM EDT`."""

    def calendar(self, ticker: str) -> str:
        """The page of the ticker's reports; one without a table if it has none."""
        rows = "".join(
            f"<tr><td>{ticker}</td><td>{ticker} Inc.</td><td>{moment}</td><td>1.5</td><td>-</td><td>-</td></tr>"
            for moment in self.reports
        )
        names = ("Symbol", "Company", "Earnings Date", "EPS Estimate", "Reported EPS", "Surprise (%)")
        head = "".join(f"<th>{name}</th>" for name in names)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        return f"<html><body>{table}</body></html>"

    def moment(self, day: str) -> int:
        return int(pd.Timestamp(f"{day} {self.opens_at}", tz=self.zone).timestamp())

    def chart(self, start: int, end: int) -> dict:
        days = [day for day in sorted(self.bars) if start <= self.moment(day) < end]
        if self.twice in days:
            days.insert(days.index(self.twice), self.twice)
        rows = [(day, self.bars[day]) for day in days] + ([self.live] if self.live else [])
        meta = {
            "currency": self.currency,
            "instrumentType": self.kind,
            "exchangeTimezoneName": self.zone,
            "priceHint": 2,
            "dataGranularity": "1d",
            "validRanges": ["1d", "5d", "1mo", "max"],
        }
        if self.symbol is not None:
            meta["symbol"] = self.symbol
        if self.company is not None:
            meta["shortName"] = self.company
        for name, day in [("firstTradeDate", self.first_trade), ("regularMarketTime", self.last_trade)]:
            if day is not None:
                meta[name] = self.moment(day)
        columns = zip(*(row for _, row in rows), strict=True) if rows else ()
        quote = dict(zip(("open", "high", "low", "close", "volume"), map(list, columns), strict=False))
        result = {"meta": meta, "indicators": {"quote": [quote]}}
        if rows:
            result["timestamp"] = [self.moment(day) for day, _ in rows]
            result["indicators"]["adjclose"] = [{"adjclose": [self.adjusted.get(day, row[3]) for day, row in rows]}]
        result["events"] = {
            "dividends": {
                str(self.moment(day)): {"amount": amount, "date": self.moment(day)}
                for day, amount in self.dividends.items()
                if start <= self.moment(day) < end
            },
            "splits": {
                str(self.moment(day)): {
                    "date": self.moment(day),
                    "numerator": new,
                    "denominator": old,
                    "splitRatio": f"{new}:{old}",
                }
                for day, (new, old) in self.splits.items()
                if start <= self.moment(day) < end
            },
        }
        return {"chart": {"result": [result], "error": None}}


@dataclass
class Script:
    """What happens to a ticker, day by day; `listing` is how Yahoo shows it on one of these days.

    Attributes:
        traded: bars as they were traded, in the shares and units of their own day.
        splits: (new, old) shares by ex-date.
        dividends: cash per share of the ex-date.
        corrections: by session, the day from which Yahoo shows another bar, and that bar (in the session's shares).
        arrives: by session, the day on which its bar is there; without an entry its own day.
        announced: by ex-date of a dividend, the day from which Yahoo knows it; without an entry its own day.
    """

    traded: dict[str, Bar]
    splits: dict[str, tuple[int, int]] = field(default_factory=dict)
    dividends: dict[str, float] = field(default_factory=dict)
    corrections: dict[str, tuple[str, Bar]] = field(default_factory=dict)
    arrives: dict[str, str] = field(default_factory=dict)
    announced: dict[str, str] = field(default_factory=dict)
    first_trade: str = "1980-12-12"

    def listing(self, today: str) -> Listing:
        """Bars up to `today`, in today's shares, with the events known by then."""
        splits = {day: ratio for day, ratio in self.splits.items() if day <= today}
        shown = Listing(splits=splits, first_trade=self.first_trade, last_trade=today)
        days = [day for day in sorted(self.traded) if self.arrives.get(day, day) <= today]
        for day in days:
            known_from, corrected = self.corrections.get(day, ("9999", self.traded[day]))
            *prices, volume = corrected if known_from <= today else self.traded[day]
            shares = math.prod(new / old for ex_date, (new, old) in splits.items() if ex_date > day)
            opening, high, low, close = (price / shares for price in prices)
            shown.bars[day] = (opening, high, low, close, round(volume * shares))
            if day in self.dividends and self.announced.get(day, day) <= today:
                shown.dividends[day] = self.dividends[day] / shares
        kept = 1.0
        for earlier, day in zip([None, *days[:-1]][::-1], days[::-1], strict=True):
            shown.adjusted[day] = shown.bars[day][3] * kept
            if day in shown.dividends and earlier is not None:
                kept *= 1 - shown.dividends[day] / shown.bars[earlier][3]
        return shown


Answer = tuple[int, str]
"""An HTTP status and a body."""


def refusal(code: str, description: str) -> str:
    """The body of an error in Yahoo's shape."""
    return json.dumps({"chart": {"result": None, "error": {"code": code, "description": description}}})


class FakeYahoo:
    """The server. `listings` is what it knows; `answers` are given to chart requests first, one each, and `hostile`
    writes to whoever asks for a chart what it likes."""

    def __init__(self, folder: Path) -> None:
        self.listings: dict[str, Listing] = {}
        self.answers: deque[Answer] = deque()
        self.calendar_answers: deque[Answer] = deque()
        self.calendars: list[str] = []
        self.always: Answer | None = None
        self.delay = threading.Event()
        self.stalls = False
        self.hostile: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.charts: list[dict[str, str]] = []
        self.moments: list[float] = []
        self.certificate = folder / "yahoo.pem"
        self._tls = _tls(self.certificate)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.proxy = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def show(self, scripts: dict[str, Script], today: str, outage: bool = False) -> None:
        """Be Yahoo on that day; in an outage every request for bars is answered 503."""
        self.listings = {ticker: script.listing(today) for ticker, script in scripts.items()}
        self.always = (503, "") if outage else None

    def close(self) -> None:
        self.delay.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        """The variables that lead a client here."""
        bundle = str(self.certificate)
        return {"HTTPS_PROXY": self.proxy, "CURL_CA_BUNDLE": bundle, "REQUESTS_CA_BUNDLE": bundle}

    def answer(self, path: str) -> Answer:
        self.moments.append(time.monotonic())
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/calendar/earnings":
            self.calendars.append(query["symbol"])
            if self.calendar_answers:
                return self.calendar_answers.popleft()
            listing = self.listings.get(query["symbol"])
            return 200, (listing or Listing()).calendar(query["symbol"])
        if "/finance/chart/" not in url.path:
            return 200, "crumb"
        self.charts.append(query)
        if self.stalls:
            self.delay.wait()
        if self.answers:
            return self.answers.popleft()
        if self.always is not None:
            return self.always
        listing = self.listings.get(unquote(url.path.rpartition("/")[2]))
        if listing is None:
            return 404, refusal("Not Found", "No data found, symbol may be delisted")
        if "period1" not in query:
            return 200, json.dumps(listing.chart(0, 2**40))
        start, end = int(query["period1"]), int(query["period2"])
        body = listing.chart(start, end)
        if listing.first_trade and end <= listing.moment(listing.first_trade):
            words = f"Data doesn't exist for startDate = {start}, endDate = {end}"
            return 400, refusal("Bad Request", words)
        return 200, json.dumps(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        yahoo = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.connection = yahoo._tls.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)
                self.close_connection = False

            def do_GET(self) -> None:
                status, body = yahoo.answer(self.path)
                if yahoo.hostile is not None and "/finance/chart/" in self.path:
                    self.close_connection = True
                    with suppress(OSError):
                        yahoo.hostile(self)
                    return
                content = body.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def serving(folder: Path) -> Iterator[FakeYahoo]:
    """A fake to which this process's yfinance is led, without its rate limit."""
    yfinance.set_tz_cache_location(str(folder))
    server = FakeYahoo(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        unlimited = Limiter(Rate(1000, Duration.SECOND))
        patch.setattr(rate_limit, "own_limiter", lambda: unlimited)
        yahoo._session.cache_clear()
        yield server
    yahoo._session.cache_clear()
    server.close()


def _tls(authority_file: Path) -> ssl.SSLContext:
    """A server context for Yahoo's host names; the certificate to trust is written to `authority_file`."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("fake authority", authority_key, "fake authority", authority_key, hosts=[])
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _certificate(
        "fake Yahoo", key, "fake authority", authority_key, hosts=["*.yahoo.com", "*.finance.yahoo.com"]
    )
    authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = authority_file.with_suffix(".chain")
    chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    hosts: list[str],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
