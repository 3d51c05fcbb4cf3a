"""Daily bars from Yahoo Finance, through yfinance.

What yfinance leaves to its callers is done here. It is asked for raw and adjusted closes and for actions, and
never for a session that is not over. Every request passes one rate limit, which all processes of a user share.
An answer that says "later" is asked again after growing, random pauses. An answer that is empty, has holes or
holds an impossible bar is an error, not data.

Behind a proxy set HTTPS_PROXY, and CURL_CA_BUNDLE if it signs with a certificate of its own.
"""

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from stockcast_assets.clock import Clock, utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import validate_ticker
from stockcast_assets.market import calendars
from stockcast_assets.market.earnings import AFTER_CLOSE, ANNOUNCED, BEFORE_OPEN, EXPECTED, NO_HOUR, SAID, filed
from stockcast_assets.market.sources import rate_limit
from stockcast_assets.market.sources.base import (
    COMPANY,
    DEEP_PAST,
    NOTES,
    MissingBars,
    company_name,
    finished_sessions,
    nothing_to_expect,
    span,
)
from stockcast_assets.market.sources.validate import (
    COLUMNS,
    LIMITS,
    PRICES,
    carry_events,
    leave_out,
    validate_bars,
)
from stockcast_assets.tables import RAW_PRICES

if TYPE_CHECKING:
    import yfinance
    from curl_cffi.requests import Session

GRACE = pd.Timedelta(minutes=30)
"""After its close a session's bar is still being settled; Yahoo's data of some exchanges is 20 minutes late."""

HOLES = 0.05
"""Share of the sessions of a long range that Yahoo may lack, as it does of old or thinly traded tickers."""

CLOSED_SHARE = 0.005
"""Share of a ticker's bars on days its calendar calls closed, from which it is another's; two are let pass anyway."""

SETTLED_AHEAD = timedelta(days=30)
"""Days ahead within which a report's day is taken for announced: companies tell it two to four weeks before."""

_NEW_YORK = "America/New_York"
_TIMEOUT_S = 20.0
_MAX_ANSWER_BYTES = 16 * 2**20
"""Ten times the bars of sixty years."""

_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_FACTS = (
    "symbol",
    "currency",
    "exchangeTimezoneName",
    "firstTradeDate",
    "regularMarketTime",
    "instrumentType",
    "shortName",
)
_CHART, _CALENDAR = "/finance/chart/", "/calendar/earnings"
_LATER = "try again later, or supply those bars as a CSV file"
_LATER_OR_WITHOUT = f"{_LATER}, or leave the day out by the line {{line}}"

_one_at_a_time = threading.Lock()
_log = logging.getLogger(__name__)


class _UnknownTicker(Exception):
    """Yahoo answered 404 for the symbol."""


class _Unavailable(Exception):
    """Yahoo answered that it cannot answer; the words complete "Yahoo Finance …"."""


class YahooSource:
    """Bars of any ticker of Yahoo Finance.

    Args:
        now: the clock that says which sessions are over.
        attempts: how often a request that Yahoo refuses or fails is sent in all; one that finds no way to
            Yahoo is sent three times at most.
        pause_s: upper bound of the random pause before the second attempt; it doubles for each further one,
            up to a minute.
    """

    name = "yahoo"

    def __init__(self, now: Clock = utc_now, attempts: int = 6, pause_s: float = 2.0) -> None:
        self._now = now
        self._attempts = attempts
        self._pause_s = pause_s
        self._first: dict[str, date] = {}

    def bars(self, ticker: str, start: date | None, end: date, overlap: date | None = None) -> pd.DataFrame:
        """See `Source.bars`."""
        validate_ticker(ticker)
        now = self._now()
        if calendars.calendar_for(ticker) == calendars.UNKNOWN:
            self._refuse_unknown(ticker, now)
        if nothing_to_expect(ticker, start, end, now, GRACE):
            return RAW_PRICES.empty()
        due = finished_sessions(ticker, start, end, now, GRACE)
        wanted = due if overlap is None else finished_sessions(ticker, overlap, end, now, GRACE)
        answer, facts = self._ask(ticker, wanted[0].date(), wanted[-1].date())
        try:
            first, last = _day(facts, "firstTradeDate"), _day(facts, "regularMarketTime")
            bars, notes = _bars(answer, ticker, wanted, now, facts)
        except _UNREADABLE as error:
            raise _unreadable(ticker, error) from error
        if first is not None:
            self._first[ticker] = first.date()
        # What was asked for by its day is never taken for missing; who asks for all there is cannot name a day.
        old = now.tz_localize(None).normalize() - DEEP_PAST
        bars, left_out = leave_out(bars, old if start is None else min(old, pd.Timestamp(start)))
        if left_out:
            notes.append(f"left out as impossible: {'; '.join(map(str, left_out))}")
        for note in notes:
            _log.warning("%s: %s", ticker, note)
        owed = bars[bars["date"] >= due[0]]
        if owed.empty:
            if (first is not None and due[-1] < first) or len(calendars.optional_days(ticker, due)) == len(due):
                return RAW_PRICES.empty()
            known = "" if last is None else f"; its last trade there was on {last:%Y-%m-%d}"
            lacking = due.difference(calendars.optional_days(ticker, due))
            raise MissingBars(
                f"Yahoo Finance has no bar of {ticker} {span(start, end)}, although its market was open{known}: "
                f"{_LATER}{_if_closed(ticker, lacking, last)}.",
                list(lacking),
            )
        validate_bars(bars, "Yahoo Finance", _LATER_OR_WITHOUT)
        begin = owed["date"].iloc[0] if start is None or first is None else first
        until = due[-1] if last is None else max(last, owed["date"].iloc[-1])
        expected = due[(due >= begin) & (due <= until)]
        gone = [bar.date for bar in left_out]
        _refuse_holes(ticker, expected.difference(pd.DatetimeIndex(gone)), owed["date"], last)
        bars.attrs |= {NOTES: notes, COMPANY: company_name(facts.get("shortName"))}
        return bars

    def first_session(self, ticker: str) -> date | None:
        """The first day Yahoo has of a ticker whose bars were asked for before, else None; see `Source`."""
        return self._first.get(ticker)

    def tickers(self) -> list[str]:
        """Empty: Yahoo's list is open."""
        return []

    def _refuse_unknown(self, ticker: str, now: pd.Timestamp) -> None:
        """Raise StockcastError for a ticker without a calendar, with the line that what Yahoo says of it suggests."""
        _, facts = self._ask(ticker, (now - pd.Timedelta(days=10)).date(), now.date())
        hint = calendars.code_in_zone(facts.get("exchangeTimezoneName"), facts.get("instrumentType"))
        calendars.known_calendar_for(ticker, hint)

    def earnings(self, ticker: str) -> pd.DataFrame:
        """See `TellsReports.earnings`: Yahoo's calendar, past reports and coming ones.

        A day that lies ahead is announced if it lies within SETTLED_AHEAD, an estimate beyond. Morning and evening are
        told by the hour in New York, in which Yahoo gives it.
        """
        validate_ticker(ticker)
        with self._explained(ticker, "reports"):
            rows = self._retrying()(_calendar, ticker)
            today = pd.Timestamp(self._now().date())
            return _reports(rows, ticker, today)

    def _ask(self, ticker: str, first: date, last: date) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Yahoo's rows from `first` to `last`, and what it says about the ticker."""
        with self._explained(ticker, "bars"):
            rows, facts = self._retrying()(_history, ticker, first, last)
            if str(facts["symbol"] or ticker).upper() != ticker:
                raise StockcastError(
                    f"Yahoo Finance answered with {str(facts['symbol'])[:40]!a} when asked for {ticker}: look it up on "
                    f"finance.yahoo.com, as it may have another symbol now, or {_LATER}."
                )
            if (currency := calendars.currency_of(ticker)) and facts["currency"] and facts["currency"] != currency:
                raise StockcastError(
                    f"Yahoo Finance answered in {str(facts['currency'])[:40]!a} when asked for {ticker}, whose prices "
                    f"are in {currency}: look it up on finance.yahoo.com, as the symbol may be another's now, or "
                    f"{_LATER}."
                )
            return rows, facts

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_is_passing),
            wait=wait_random_exponential(multiplier=self._pause_s, max=60),
            stop=self._enough,
            before_sleep=_log_pause,
            reraise=True,
        )

    @contextmanager
    def _explained(self, ticker: str, what: str) -> Iterator[None]:
        """Say in a sentence why Yahoo gave nothing.

        Raises:
            StockcastError: instead of whatever yfinance raises.
        """
        # Two threads that import it at the same time may deadlock.
        with _one_at_a_time:
            from curl_cffi.requests.exceptions import HTTPError, RequestException
            from yfinance.exceptions import YFException, YFRateLimitError

        try:
            yield
        except _UnknownTicker as error:
            other = re.sub(r"[./]([A-Z])$", r"-\1", ticker)
            raise StockcastError(
                f"Yahoo Finance knows no ticker {ticker!r}"
                + (f", did you mean {other}" if other != ticker else "")
                + ": look its symbol up on finance.yahoo.com (London is "
                "VOD.L, crypto is ETH-USD); a delisted ticker's bars can be supplied as a CSV file."
            ) from error
        except YFRateLimitError as error:
            raise StockcastError(
                f"Yahoo Finance refused the {what} of {ticker} {self._attempts} times for too many requests: try "
                "again in a quarter of an hour, with fewer tickers at once."
            ) from error
        except _Unavailable as error:
            raise StockcastError(f"Yahoo Finance {error} when asked for {ticker}: try again later.") from error
        except HTTPError as error:
            raise StockcastError(f"Yahoo Finance refused the {what} of {ticker} ({error}): {_LATER}.") from error
        except RequestException as error:
            raise StockcastError(
                f"Yahoo Finance cannot be reached ({type(error).__name__}): check the network, and HTTPS_PROXY "
                "and CURL_CA_BUNDLE if there is a proxy. `STOCKCAST_HOME=demo stockcast demo` needs no "
                "network: it works on bundled history."
            ) from error
        except YFException as error:
            raise StockcastError(f"Yahoo Finance gave no {what} of {ticker} ({error}): {_LATER}.") from error
        except _UNREADABLE as error:
            raise _unreadable(ticker, error) from error

    def _enough(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        allowed = min(self._attempts, 3) if isinstance(error, OSError) else self._attempts
        return state.attempt_number >= allowed


@contextmanager
def _asking(ticker: str) -> Iterator["yfinance.Ticker"]:
    """The client of yfinance, for one thread at a time and without answers that it remembers."""
    import yfinance
    from yfinance.data import YfData
    from yfinance.exceptions import YFDataException

    # The client keeps one session, one set of cookies and one cache of answers for the whole process.
    with _one_at_a_time:
        yfinance.config.debug.hide_exceptions = False
        YfData.cache_get.cache_clear()
        try:
            yield yfinance.Ticker(ticker, session=_session())
        except (json.JSONDecodeError, YFDataException) as error:
            raise _Unavailable("sent no data") from error


def _history(ticker: str, first: date, last: date) -> tuple[pd.DataFrame, dict[str, Any]]:
    from yfinance.exceptions import YFPricesMissingError

    with _asking(ticker) as client:
        try:
            rows = client.history(
                start=first,
                end=last + timedelta(days=1),
                interval="1d",
                auto_adjust=False,
                actions=True,
                keepna=True,
                timeout=_TIMEOUT_S,
            )
        except YFPricesMissingError as error:
            if error.yahoo_reason is not None and not error.yahoo_reason.startswith("Data doesn't exist"):
                raise
            rows = pd.DataFrame()
        if "exchangeTimezoneName" not in client.history_metadata:
            client.history(period="1d", auto_adjust=False, keepna=True, timeout=_TIMEOUT_S)
        # Listing all of the metadata would make yfinance fetch more of it.
        return rows, {name: client.history_metadata.get(name) for name in _FACTS}


def _calendar(ticker: str) -> pd.DataFrame | None:
    with _asking(ticker) as client:
        rows: pd.DataFrame | None = client.get_earnings_dates(limit=100)
        return rows


def _reports(rows: pd.DataFrame | None, ticker: str, today: pd.Timestamp) -> pd.DataFrame:
    """Yahoo's calendar of a ticker as `SAID`; one row a day."""
    if rows is None or rows.empty:
        return pd.DataFrame(columns=list(SAID))
    moments = pd.DatetimeIndex(rows.index).tz_convert(_NEW_YORK)
    days = moments.tz_localize(None).normalize().as_unit("ns")
    # Midnight stands for no hour.
    hours = np.select(
        [moments.hour == 0, moments.hour < 10, moments.hour >= 16], [NO_HOUR, BEFORE_OPEN, AFTER_CLOSE], NO_HOUR
    )
    found = pd.DataFrame({"ticker": ticker, "date": days, "hour": hours}).sort_values(["date", "hour"])
    found = found.drop_duplicates("date").reset_index(drop=True)
    over = found["date"] <= today
    came = filed(found["ticker"][over], found["date"][over], found["hour"][over], "yahoo")
    kind = np.where(found["date"][~over] <= today + SETTLED_AHEAD, ANNOUNCED, EXPECTED)
    told = found[~over].assign(kind=kind, known_on=pd.Timestamp("NaT"), source="yahoo")[list(SAID)]
    return pd.concat([came, told], ignore_index=True) if len(told) else came


def _unreadable(ticker: str, error: Exception) -> StockcastError:
    words = " ".join(str(error).split())[:200]
    return StockcastError(
        f"yfinance cannot read Yahoo Finance's answer for {ticker} ({type(error).__name__}: {words}): try again later, "
        "and upgrade yfinance if it stays so."
    )


@lru_cache(maxsize=1)
def _session() -> "Session[Any]":
    """The HTTP session that yfinance uses: its usual one, within the rate limit and with statuses as errors.

    yfinance takes a server error on its first request for a ticker for "no such ticker".
    """
    from curl_cffi import CurlECode, CurlOpt, requests

    class PoliteSession(requests.Session[Any]):
        def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
            rate_limit.wait_for_turn()
            if _CHART in url:
                # yfinance names a longer time for some.
                options |= {"allow_redirects": False, "timeout": _TIMEOUT_S}
            try:
                response = super().request(method, url, *args, **options)
            except requests.exceptions.RequestException as error:
                if error.code == CurlECode.FILESIZE_EXCEEDED:
                    raise _Unavailable(f"sent more than {_MAX_ANSWER_BYTES // 2**20} MB") from error
                raise
            if _CHART in url and 300 <= response.status_code < 400:
                raise _Unavailable("sent the request to another address")
            if (_CHART in url or _CALENDAR in url) and response.status_code == 404:
                raise _UnknownTicker
            if (_CHART in url or _CALENDAR in url) and response.status_code >= 500:
                raise _Unavailable(f"answered HTTP {response.status_code}")
            return response

    # Counted as it arrives and as it is unpacked; the time of a request is that of its last byte.
    bounds = {CurlOpt.MAXFILESIZE_LARGE: _MAX_ANSWER_BYTES}
    return PoliteSession(impersonate="chrome", curl_options=bounds, max_redirects=5, timeout=_TIMEOUT_S)


def _is_passing(error: BaseException) -> bool:
    """Whether an error may be gone the next time."""
    from curl_cffi.requests.exceptions import ConnectionError, ProxyError, SSLError, Timeout
    from yfinance.exceptions import YFRateLimitError

    if isinstance(error, SSLError | ProxyError):
        return False
    return isinstance(error, YFRateLimitError | _Unavailable | ConnectionError | Timeout)


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    _log.warning(
        "Yahoo Finance, attempt %d for %s: %s; next in %.1f s",
        state.attempt_number,
        state.args[0],
        str(error) or type(error).__name__,
        pause,
    )


def _bars(
    rows: pd.DataFrame, ticker: str, due: pd.DatetimeIndex, now: pd.Timestamp, facts: dict[str, Any]
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of due sessions as bars, and notes on real ones that were left out.

    Rows of other days and rows without any price are left out; what they say of dividends and splits goes to the next.

    Raises:
        StockcastError: if so many bars lie on closed days that the calendar must be another's.
    """
    if rows.empty:
        return RAW_PRICES.empty(), []
    rows = rows.set_axis(pd.DatetimeIndex(rows.index).tz_localize(None).normalize().as_unit("ns")).sort_index()
    priced = rows[["Open", "High", "Low", "Close"]].notna().any(axis=1).to_numpy()
    within = (rows.index >= due[0]) & (rows.index <= due[-1])
    other = pd.DatetimeIndex(rows.index[priced & within & ~rows.index.isin(due)])
    notes = _refuse_many_closed(ticker, other, len(rows), facts) if len(other) else []
    left_out = rows.index.isin(calendars.left_out_days(ticker))
    if (priced & within & left_out).any():
        notes.append(f"{int((priced & within & left_out).sum())} bars left out, as calendars.toml says")
    bars = pd.DataFrame({"ticker": ticker, "date": rows.index})
    for name in PRICES:
        bars[name] = rows[name.replace("_", " ").title()].to_numpy("float64")
    # More than a whole number can hold is refused with the other bounds.
    volume = rows["Volume"].to_numpy("float64")
    bars["volume"] = np.clip(np.nan_to_num(volume, posinf=np.inf), -1.0, 4 * LIMITS["volume"]).astype("int64")
    bars["dividend"] = rows["Dividends"].to_numpy("float64")
    splits = rows["Stock Splits"].to_numpy("float64")
    bars["split_ratio"] = np.where(splits == 0, 1.0, splits)
    bars["source"] = "yahoo"
    bars["ingested_at"] = pd.Series(now, bars.index, dtype="datetime64[ns, UTC]")
    return carry_events(bars[COLUMNS], priced & rows.index.isin(due) & ~left_out), notes


def _refuse_many_closed(ticker: str, other: pd.DatetimeIndex, total: int, facts: dict[str, Any]) -> list[str]:
    """A note on bars of days on which the ticker's calendar is closed.

    Raises:
        StockcastError: if they are more than a special session or two.
    """
    calendar = calendars.calendar_for(ticker)
    days = ", ".join(f"{day:%Y-%m-%d}" for day in other[:3])
    if len(other) > max(2, CLOSED_SHARE * total):
        zone, kind = facts.get("exchangeTimezoneName"), facts.get("instrumentType")
        hint = calendars.code_in_zone(zone, kind)
        raise StockcastError(
            f"Yahoo Finance has {len(other)} bars of {ticker} on days on which {calendar} is closed (first: {days}), "
            f"so that is not where it trades; Yahoo says {kind or 'nothing of its kind'}, {zone or 'nowhere'}: write "
            f"its calendar, {calendars.line_for(ticker, hint or 'XLON')}, into {calendars.user_table()}."
        )
    opened = ", ".join(f"{day:%Y-%m-%d}" for day in other)
    return [
        f"Yahoo Finance has {len(other)} bars on days on which {calendar} is closed ({days}), which were left out; "
        f'if it was open, write `"{calendar}" = [{opened}]` under [open] in {calendars.user_table()}'
    ]


def _if_closed(ticker: str, days: pd.DatetimeIndex, last: pd.Timestamp | None) -> str:
    """What to write if nothing was traded on a few days that lie before the ticker's last trade."""
    if len(days) == 0 or len(days) > 5 or last is None or last <= days[-1]:
        return ""
    exchange, own = calendars.closing_line(calendars.calendar_for(ticker), days), calendars.closing_line(ticker, days)
    return f"; if its exchange was closed, write {exchange}, or {own} if it alone was not traded"


def _refuse_holes(ticker: str, expected: pd.DatetimeIndex, there: pd.Series, last: pd.Timestamp | None) -> None:
    missing = expected.difference(pd.DatetimeIndex(there))
    missing = missing.difference(calendars.optional_days(ticker, missing))
    if missing.empty:
        return
    words = f"{len(missing)} of {len(expected)} bars of {ticker}, the first one that of {missing[0]:%Y-%m-%d}"
    at_an_end = missing[0] == expected[0] or missing[-1] == expected[-1]
    if at_an_end or len(missing) > HOLES * len(expected):
        raise MissingBars(
            f"Yahoo Finance did not send {words}: {_LATER}{_if_closed(ticker, missing, last)}.", list(missing)
        )
    _log.warning("Yahoo Finance did not send %s", words)


def _day(facts: dict[str, Any], name: str) -> pd.Timestamp | None:
    """A moment of Yahoo's metadata as the day in the exchange's time zone."""
    moment, zone = facts.get(name), facts.get("exchangeTimezoneName")
    if moment is None or zone is None:
        return None
    if not isinstance(moment, pd.Timestamp):
        moment = pd.Timestamp(moment, unit="s", tz="UTC")
    return moment.tz_convert(zone).tz_localize(None).normalize().as_unit("ns")
