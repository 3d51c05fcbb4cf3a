"""Laws of reading files: spelling has no meaning, no day moves, no step is unexplained, no work explodes."""

import csv
import io
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.adjust import total_return_close
from stockcast_assets.market.calendars import sessions, time_zone
from stockcast_assets.market.sources.files import parse_bytes
from stockcast_assets.market.sources.files.text import MAX_COLUMNS

NOW = pd.Timestamp("2024-06-01 12:00", tz="UTC").as_unit("ns")
MARKETS = {"AAPL": "XNYS", "7203.T": "XTKS", "VOD.L": "XLON", "BHP.AX": "XASX", "SAP.DE": "XETR", "ETH-USD": "24/7"}
STOCKS = [ticker for ticker, calendar in MARKETS.items() if calendar != "24/7"]

often = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def series(draw: st.DrawFn, tickers: tuple[str, ...] = tuple(MARKETS), least: int = 14) -> tuple[str, pd.DataFrame]:
    """A ticker, and bars of consecutive sessions whose closes move by less than a tenth a day."""
    ticker = draw(st.sampled_from(tickers))
    start = draw(st.dates(pd.Timestamp("2000-01-03").date(), pd.Timestamp("2023-12-01").date()))
    days = sessions(MARKETS[ticker], start, pd.Timestamp(start) + pd.Timedelta(days=60))
    days = days[: draw(st.integers(least, 30))]
    n = len(days)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = draw(st.sampled_from((3.0, 80.0, 900.0, 41_000.0))) * np.exp(random.normal(0, 0.02, n).cumsum())
    opened = close * np.exp(random.normal(0, 0.005, n))
    prices = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.01,
        "low": np.minimum(opened, close) * 0.99,
        "close": close,
    }
    frame = pd.DataFrame({"date": days} | {name: column.round(2) for name, column in prices.items()})
    return ticker, frame.assign(volume=random.integers(1000, 9_000_000, n))


@dataclass(frozen=True)
class Spelling:
    """One way to write bars."""

    encoding: str
    separator: str
    comma: bool
    thousands: str
    date: str
    names: dict[str, str]
    ticker_column: bool
    remark: bool
    columns: int
    rows: int
    line_end: str

    def date_of(self, day: pd.Timestamp, zone: str) -> str:
        local = day.tz_localize(zone)
        written = {
            "serial": lambda: str((day - pd.Timestamp("1899-12-30")).days),
            "seconds": lambda: str(int(local.timestamp())),
            "millis": lambda: str(int(day.timestamp()) * 1000),
            "stamp": lambda: str(local),
            "utc": lambda: f"{local.tz_convert('UTC'):%Y-%m-%dT%H:%M:%SZ}",
            "us": lambda: f"{day.month}/{day.day}/{day.year}",
        }
        return written[self.date]() if self.date in written else f"{day:{self.date}}"

    def number(self, value: float, decimals: int) -> str:
        text = f"{value:,.{decimals}f}"
        mark = "," if self.comma else "."
        return text.replace(".", "#").replace(",", self.thousands).replace("#", mark)

    def write(self, ticker: str, bars: pd.DataFrame) -> bytes:
        zone = time_zone(MARKETS[ticker])
        table = {self.names["date"]: [self.date_of(day, zone) for day in bars["date"]]}
        for name in ("open", "high", "low", "close"):
            table[self.names[name]] = [self.number(value, 2) for value in bars[name]]
        table[self.names["volume"]] = [self.number(value, 0) for value in bars["volume"]]
        if self.ticker_column:
            table["Symbol"] = [ticker] * len(bars)
        if self.remark:
            table["Change %"] = ["-0.49%"] * len(bars)
        order = np.random.default_rng(self.columns).permutation(list(table))
        shuffled = np.random.default_rng(self.rows).permutation(len(bars))
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.separator, lineterminator=self.line_end)
        writer.writerow(order)
        writer.writerows([table[name][row] for name in order] for row in shuffled)
        return text.getvalue().encode(self.encoding)


NAMES = (
    {name: name.title() for name in ("date", "open", "high", "low", "close", "volume")},
    {"date": "timestamp", "open": "1. open", "high": "2. high", "low": "3. low", "close": "4. close", "volume": "VOL."},
    {"date": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Price", "volume": "Vol."},
    {"date": "Datum", "open": "Eröffn.", "high": "Hoch", "low": "Tief", "close": "Schlusskurs", "volume": "Stücke"},
    {"date": "<DATE>", "open": "<OPEN>", "high": "<HIGH>", "low": "<LOW>", "close": "<CLOSE>", "volume": "<VOL>"},
)

DATES = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "us",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%m/%d/%y",
]
DATES += ["%Y-%m-%d 16:00:00", "serial", "seconds", "millis", "stamp", "utc"]

spellings = st.builds(
    Spelling,
    encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")),
    separator=st.sampled_from((",", ";", "\t", "|")),
    comma=st.booleans(),
    thousands=st.sampled_from(("", "'", "\u00a0")),
    date=st.sampled_from(DATES),
    names=st.sampled_from(NAMES),
    ticker_column=st.booleans(),
    remark=st.booleans(),
    columns=st.integers(0, 99),
    rows=st.integers(0, 99),
    line_end=st.sampled_from(("\n", "\r\n")),
)


@often
@given(series(), spellings)
def test_however_bars_are_written_they_are_the_same(made: tuple[str, pd.DataFrame], spelling: Spelling) -> None:
    ticker, bars = made
    upload = parse_bytes(spelling.write(ticker, bars), f"{ticker}.csv", NOW)
    assert upload.tickers == (ticker,)
    assert list(upload.bars["date"]) == list(bars["date"])
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(upload.bars[name], bars[name])
    assert set(upload.bars["dividend"]) == {0.0}
    assert set(upload.bars["split_ratio"]) == {1.0}


@often
@given(
    series(),
    st.sampled_from(("00:00", "09:30", "12:00", "16:00")),
    st.sampled_from(("UTC", "own", "Asia/Tokyo", "America/New_York", "Europe/London", "seconds", "millis")),
)
def test_no_day_moves_whatever_clock_the_stamps_are_of(made: tuple[str, pd.DataFrame], hour: str, clock: str) -> None:
    ticker, bars = made
    zone = time_zone(MARKETS[ticker])
    local = pd.DatetimeIndex([pd.Timestamp(f"{day:%Y-%m-%d} {hour}").tz_localize(zone) for day in bars["date"]])
    if clock in ("seconds", "millis"):
        stamps = [str(int(at.timestamp()) * (1000 if clock == "millis" else 1)) for at in local]
    else:
        stamps = [str(at) for at in local.tz_convert(zone if clock == "own" else clock)]
    text = bars.assign(date=stamps).to_csv(index=False)
    assert list(parse_bytes(text.encode(), f"{ticker}.csv", NOW).bars["date"]) == list(bars["date"])


@often
@given(series(tuple(STOCKS)), st.sampled_from((-1, 1)))
def test_days_of_another_time_zone_are_never_stored(made: tuple[str, pd.DataFrame], shift: int) -> None:
    ticker, bars = made
    text = bars.assign(date=bars["date"] + pd.Timedelta(days=shift)).to_csv(index=False)
    with pytest.raises(StockcastError, match=r"another market's or another time zone's|days seem to be those"):
        parse_bytes(text.encode(), f"{ticker}.csv", NOW)


STYLES = ("tiingo", "alpha vantage", "adjusted only", "yahoo", "yahoo adjusted only")


@often
@given(
    series(tuple(STOCKS), least=20),
    st.sampled_from((2.0, 3.0, 4.0, 7.0, 20.0, 0.1, 0.05, 1.5)),
    st.integers(3, 12),
    st.sampled_from((0.0, 0.002, 0.03)),
    st.integers(13, 18),
    st.sampled_from(STYLES),
)
def test_prices_are_in_one_kind_of_shares_and_total_returns_are_true(
    made: tuple[str, pd.DataFrame], ratio: float, split_at: int, payout: float, paid_at: int, style: str
) -> None:
    """Bars in today's shares are true; the file has them as a vendor would, as traded or not."""
    ticker, true = made
    n = len(true)
    split, dividend = np.ones(n), np.zeros(n)
    split[split_at], dividend[paid_at] = ratio, round(payout * true["close"].iloc[paid_at], 4)
    total = total_return_close(true["close"].to_numpy(), dividend)
    adjusted = total / total[-1] * true["close"].iloc[-1]
    file = true.copy()
    if not style.startswith("yahoo"):
        before = np.arange(n) < split_at
        for name in ("open", "high", "low", "close"):
            file[name] = np.where(before, file[name] * ratio, file[name])
        file["volume"] = np.where(before, file["volume"] / ratio, file["volume"])
    columns = {
        "tiingo": {"adjClose": adjusted, "divCash": dividend, "splitFactor": split},
        "alpha vantage": {"adjusted_close": adjusted, "dividend_amount": dividend, "split_coefficient": split},
        "adjusted only": {"Adjusted_close": adjusted},
        "yahoo": {"Dividends": dividend, "Stock Splits": np.where(split == 1, 0, split)},
        "yahoo adjusted only": {"Adj Close": adjusted},
    }
    text = file.assign(**columns[style]).to_csv(index=False)
    bars = parse_bytes(text.encode(), f"{ticker}.csv", NOW).bars
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(bars[name], true[name], rtol=1e-6)
    np.testing.assert_allclose(bars["volume"], true["volume"], rtol=1e-3, atol=1)
    found = total_return_close(bars["close"].to_numpy(), bars["dividend"].to_numpy())
    np.testing.assert_allclose(np.diff(np.log(found)), np.diff(np.log(total)), atol=2e-5)
    assert (bars["dividend"] < 0.5 * bars["close"]).all()


@often
@given(series(tuple(STOCKS)), st.sampled_from((2.0, 4.0, 10.0, 0.5, 0.1, 0.05)), st.integers(1, 12))
def test_a_step_that_nothing_explains_is_refused_and_the_remedy_works(
    made: tuple[str, pd.DataFrame], ratio: float, place: int
) -> None:
    ticker, true = made
    file = true.copy()
    for name in ("open", "high", "low", "close"):
        file[name] = np.where(np.arange(len(true)) < place, file[name] * ratio, file[name])
    with pytest.raises(StockcastError, match="add a column Stock Splits"):
        parse_bytes(file.to_csv(index=False).encode(), f"{ticker}.csv", NOW)
    told = file.assign(**{"Stock Splits": np.where(np.arange(len(true)) == place, ratio, 0)})
    bars = parse_bytes(told.to_csv(index=False).encode(), f"{ticker}.csv", NOW).bars
    np.testing.assert_allclose(bars["close"], true["close"], rtol=1e-9)


@often
@given(series(tuple(STOCKS)), st.sets(st.integers(1, 12), min_size=1, max_size=4), st.floats(0.01, 0.4))
def test_the_dividend_of_a_row_without_prices_goes_to_the_next_session(
    made: tuple[str, pd.DataFrame], gone: set[int], cash: float
) -> None:
    ticker, true = made
    text = true.assign(Dividends=np.where(np.isin(np.arange(len(true)), list(gone)), cash, 0.0)).astype(object)
    text.loc[list(gone), ["open", "high", "low", "close", "volume"]] = "null"
    bars = parse_bytes(text.to_csv(index=False).encode(), f"{ticker}.csv", NOW).bars
    kept = true.drop(index=list(gone))
    assert list(bars["date"]) == list(kept["date"])
    assert bars["dividend"].sum() == pytest.approx(len(gone) * cash)
    for place in gone:
        after = kept["date"][kept["date"] > true["date"][place]].iloc[0]
        assert bars.set_index("date")["dividend"][after] > 0


WORK = {
    "digits in one cell": b"Date,Open,High,Low,Close\n2024-01-02,1,2,1," + b"9" * 131_000,
    "points in one cell": b"Date,Open,High,Low,Close\n2024-01-02,1,2,1," + b"1," * 65_000,
    "a long date": b"Date,Open,High,Low,Close\n" + b"2024-01-02 " * 11_000 + b",1,2,1,1",
    "a long name": b"Date,Open,High,Low," + b"Close (" * 18_000 + b"\n",
    "a cell without an end": b'Date,Open,High,Low,Close\n"' + b"x" * 5_000_000,
    "many columns": b",".join(b"c%d" % i for i in range(300_000)),
    "as many columns as may be": b"Date,Open,High,Low,Close,"
    + b",".join(b"Close_A%d" % i for i in range(MAX_COLUMNS - 5))
    + b"\n"
    + b"2024-01-02,1,2,1,1,"
    + b"1," * (MAX_COLUMNS - 6)
    + b"1",
    "a ticker per row": b"Symbol,Date,Open,High,Low,Close\n"
    + b"".join(b"A%d,2024-01-02,1,2,1,1\n" % i for i in range(40_000)),
    "blank lines": b"\n" * 2_000_000 + b"x",
    "words": b"Date,Open,High,Low,Close\n" + b"no date,at,all,,\n" * 300_000,
    "dividends of no prices": b"Date,Open,High,Low,Close,Dividends\n2024-01-02,1,2,1,1,0\n"
    + b"2024-01-03,null,null,null,null,1e-9\n" * 45_000,
    "the same row": b"Date,Open,High,Low,Close\n" + b"2024-01-02,1,2,1,1\n" * 45_000,
    "signs in a name": b"Date,Open,High,Low,Close,Volume\n" + "é".encode() * 1_000_000,
}


@pytest.mark.parametrize("what", WORK)
def test_work_is_in_proportion_to_the_bytes(what: str) -> None:
    """Seconds would be minutes if a pattern tried again or a step looked at everything for everything."""
    started = time.process_time()
    sentence = ""
    try:
        parse_bytes(WORK[what], "NEW.csv", NOW)
    except StockcastError as error:
        sentence = str(error)
    assert len(sentence) < 600
    assert sentence.isprintable()
    assert time.process_time() - started < 6


HOSTILE = ("\x1b[31mred", "=HYPERLINK(1)", "a\u202eb", "x" * 5000, "[/]", "line\u2028two", "<script>")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["date", "price", "name", "ticker", "header"])
def test_what_strangers_wrote_is_quoted_short_and_printable(text: str, place: str) -> None:
    cells = {"header": "Volume", "ticker": "AAPL", "date": "2024-01-03", "price": "2"} | {place: text}
    file = "file" if place != "name" else text[:50].replace("/", "")
    content = (
        f'Symbol,Date,Open,High,Low,Close,"{cells["header"]} moon factor"\nAAPL,2024-01-02,1,2,1,1,5\n'
        f'"{cells["ticker"]}","{cells["date"]}",1,"{cells["price"]}",1,1,5\n'
    )
    if place != "header":
        content = content.replace(" moon factor", "")
    with pytest.raises(StockcastError) as caught:
        parse_bytes(
            content.replace("Symbol", "X").encode() if place == "name" else content.encode(), f"{file}.csv", NOW
        )
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
