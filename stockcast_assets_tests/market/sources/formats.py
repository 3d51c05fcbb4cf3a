"""Files in the shapes of many vendors, all of the same made-up bars, and what becomes of each.

The table of formats in docs/market-data.md is written from here: `python -m stockcast_assets_tests.market.sources.formats`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from stockcast_assets.market.calendars import sessions

DOCS = Path(__file__).parents[3] / "docs" / "market-data.md"
BEGIN, END = "<!-- formats: begin, written by the tests -->", "<!-- formats: end -->"

EX_DATE = 4
"""Which bar has a dividend or a split, in the files that tell of one."""


@dataclass(frozen=True)
class Bar:
    """One made-up bar."""

    day: pd.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: int

    @property
    def ohlc(self) -> tuple[float, float, float, float]:
        return self.open, self.high, self.low, self.close

    @property
    def us(self) -> str:
        return f"{self.day.month}/{self.day.day}/{self.day.year}"

    def times(self, factor: float) -> "Bar":
        return Bar(self.day, *(price * factor for price in self.ohlc), round(self.volume / factor))


def bars(calendar: str = "XNYS") -> list[Bar]:
    """Bars of every session from 2023-03-06 to 2023-03-21."""
    days = sessions(calendar, "2023-03-06", "2023-03-21")
    return [Bar(day, 50.0 + i, 51.75 + i, 48.75 + i, 50.5 + i, 2_000_000 + 1000 * i) for i, day in enumerate(days)]


STOCK, COIN = bars(), bars("24/7")


@dataclass(frozen=True)
class Format:
    """A vendor's file.

    Attributes:
        vendor: whose it is.
        what: what is special about it.
        name: the file's name.
        content: the file.
        tickers: those it is read as; none if it is refused.
        refused: words of the sentence, if it is.
        bars: the bars it is of.
        dividend: cash of the ex-date, if it tells of one.
        ex_dividend: which bar that is.
        split: new shares per old one of the ex-date, if it tells of one.
        with_volume: whether it has volumes.
        shown: what the table in the docs says of it, if not the usual.
    """

    vendor: str
    what: str
    name: str
    content: str | bytes
    tickers: tuple[str, ...] = ()
    refused: str = ""
    bars: list[Bar] = field(default_factory=lambda: STOCK)
    dividend: float = 0.0
    ex_dividend: int = EX_DATE
    split: float = 1.0
    with_volume: bool = True
    shown: str = ""

    @property
    def data(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.encode()


def lines(header: str, row: Callable[[Bar], str], of: Iterable[Bar] = STOCK, end: str = "") -> str:
    return "\n".join([header, *map(row, of)]) + "\n" + end


def plain(bar: Bar, day: str | None = None, separator: str = ",") -> str:
    date = day or f"{bar.day:%Y-%m-%d}"
    return separator.join([date, *(f"{price:.2f}" for price in bar.ohlc), str(bar.volume)])


def european(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def quoted(cells: Iterable[object]) -> str:
    return ",".join(f'"{cell}"' for cell in cells)


def as_traded(factor: float) -> list[Bar]:
    """The bars as they were traded before a split on the ex-date."""
    return [bar.times(factor) if place < EX_DATE else bar for place, bar in enumerate(STOCK)]


def _adjusted(bar: Bar, dividend: float, factor: float = 1.0) -> float:
    """The adjusted close of a bar, given a dividend on the ex-date."""
    before = bar.day < STOCK[EX_DATE].day
    return bar.close * (STOCK[EX_DATE].close / (STOCK[EX_DATE].close + dividend) if before else 1.0) * factor


def _event(bar: Bar, value: float, none: float) -> float:
    return value if bar.day == STOCK[EX_DATE].day else none


OHLCV = "Date,Open,High,Low,Close,Volume"
CASH, RATIO = 0.5, 4.0
_RAW = as_traded(RATIO)
_WIDE = list(zip(STOCK, [bar.times(2) for bar in STOCK], strict=True))


def _tiingo(bar: Bar) -> str:
    now = next(each for each in STOCK if each.day == bar.day)
    opened, high, low, close = bar.ohlc
    cash, ratio = (CASH if bar.day == STOCK[2].day else 0.0), _event(bar, RATIO, 1.0)
    return (
        f"{bar.day:%Y-%m-%d}T00:00:00.000Z,{close},{high},{low},{opened},{bar.volume},{now.close},{now.high},{now.low},"
        f"{now.open},{now.volume},{cash * RATIO},{ratio}"
    )


def _yfinance_wide(by_ticker: bool) -> str:
    fields = ("Close", "High", "Low", "Open", "Volume")
    tickers = ("AAPL", "MSFT")
    pairs = [(f, t) for t in tickers for f in fields] if by_ticker else [(f, t) for f in fields for t in tickers]
    names, owners = ",".join(f for f, _ in pairs), ",".join(t for _, t in pairs)
    head = [f"Ticker,{owners}", f"Price,{names}"] if by_ticker else [f"Price,{names}", f"Ticker,{owners}"]
    body = [
        f"{both[0].day:%Y-%m-%d}," + ",".join(str(getattr(both[tickers.index(t)], f.lower())) for f, t in pairs)
        for both in _WIDE
    ]
    return "\n".join([*head, "Date" + "," * len(pairs), *body]) + "\n"


def _reordered(bar: Bar) -> str:
    return f"{bar.close},{bar.high},{bar.low},{bar.open},{bar.volume}"


def _epoch(bar: Bar, unit: int) -> int:
    return int(bar.day.timestamp()) * unit


FORMATS: list[Format] = [
    Format("Yahoo Finance", "export", "AAPL.csv", lines("Date,Open,High,Low,Close,Adj Close,Volume", lambda b: f"{b.day:%Y-%m-%d},{b.open},{b.high},{b.low},{b.close},{_adjusted(b, CASH):.6f},{b.volume}"), ("AAPL",), dividend=CASH),
    Format("Yahoo Finance", "export, saved again by Excel in the United States", "AAPL.csv", lines("Date,Open,High,Low,Close,Adj Close,Volume", lambda b: f"{b.us},{b.open},{b.high},{b.low},{b.close},{b.close},{b.volume}"), ("AAPL",)),
    Format("Yahoo Finance", "table copied from the page, dividends in lines of their own", "AAPL.csv", lines("Date,Open,High,Low,Close Close price adjusted for splits.,Adj Close Adjusted close price adjusted for splits and dividend and/or capital gain distributions.,Volume", lambda b: f'"{b.day:%b} {b.day.day}, {b.day.year}",{b.open},{b.high},{b.low},{b.close},{b.close},"{b.volume:,}"' + (f'\n"{b.day:%b} {b.day.day}, {b.day.year}",{CASH} Dividend,,,,,' if b is STOCK[EX_DATE] else "")), ("AAPL",), dividend=CASH),
    Format("Yahoo Finance", "a row of nulls with a dividend, which goes to the next session", "AAPL.csv", lines(f"{OHLCV},Dividends", lambda b: f"{plain(b)},0.0" if b is not STOCK[3] else f"{b.day:%Y-%m-%d},null,null,null,null,null,{CASH}"), ("AAPL",), bars=[b for b in STOCK if b is not STOCK[3]], dividend=CASH, ex_dividend=3),
    Format("Yahoo Finance", "the newest row twice", "AAPL.csv", lines(OHLCV, plain, [*STOCK, STOCK[-1]]), ("AAPL",)),
    Format("Yahoo Finance", "the newest row twice, with another volume", "AAPL.csv", lines(OHLCV, plain, [*STOCK, Bar(STOCK[-1].day, *STOCK[-1].ohlc, 7)]), refused="2023-03-21 is there already, on line 13"),
    Format("yfinance", "`history().to_csv()`, stamps with offset", "AAPL.csv", lines(f"{OHLCV},Dividends,Stock Splits", lambda b: f"{plain(b, f'{b.day:%Y-%m-%d} 00:00:00-05:00')},{_event(b, CASH, 0.0)},0.0"), ("AAPL",), dividend=CASH),
    Format("yfinance", "`history(repair=True)`, capital gains", "SPY.csv", lines(f"{OHLCV},Dividends,Stock Splits,Repaired?,Capital Gains", lambda b: f"{plain(b)},{_event(b, 0.3, 0.0)},0.0,False,{_event(b, 0.2, 0.0)}"), ("SPY",), dividend=CASH, shown="read; capital gains count as dividends"),
    Format("yfinance", "`download()`, three lines of names", "whatever.csv", "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\n" + lines("Date,,,,,", lambda b: f"{b.day:%Y-%m-%d},{_reordered(b)}"), ("AAPL",)),
    Format("yfinance", "`download()`, index without a name", "whatever.csv", "Price,Close,High,Low,Open,Volume\n" + lines("Ticker,AAPL,AAPL,AAPL,AAPL,AAPL", lambda b: f"{b.day:%Y-%m-%d},{_reordered(b)}"), ("AAPL",)),
    Format("yfinance", "`download()` of two tickers", "whatever.csv", _yfinance_wide(False), ("AAPL", "MSFT")),
    Format("yfinance", "`download(group_by='ticker')` of two tickers", "whatever.csv", _yfinance_wide(True), ("AAPL", "MSFT")),
    Format("yfinance", "`reset_index()`", "AAPL.csv", "Date,Close,High,Low,Open,Volume\n" + lines(",AAPL,AAPL,AAPL,AAPL,AAPL", lambda b: f"{b.day:%Y-%m-%d},{_reordered(b)}"), ("AAPL",)),
    Format("yfinance", "`reset_index()` with row numbers", "AAPL.csv", "Price,Date,Close,High,Low,Open,Volume\n" + lines("Ticker,,AAPL,AAPL,AAPL,AAPL,AAPL", lambda b: f"{STOCK.index(b)},{b.day:%Y-%m-%d},{_reordered(b)}"), ("AAPL",)),
    Format("yfinance", "index without a name, one line of names", "AAPL.csv", lines(",Close,High,Low,Open,Volume", lambda b: f"{b.day:%Y-%m-%d},{_reordered(b)}"), ("AAPL",)),
    Format("yfinance", "names joined, `Close_AAPL`", "x.csv", lines("Date,Close_AAPL,High_AAPL,Low_AAPL,Open_AAPL,Volume_AAPL", lambda b: f"{b.day:%Y-%m-%d},{_reordered(b)}"), ("AAPL",)),
    Format("yfinance", "stacked, two tickers", "x.csv", lines("Date,Ticker,Close,High,Low,Open,Volume", lambda b: f"{b.day:%Y-%m-%d},AAPL,{_reordered(b)}\n{b.day:%Y-%m-%d},MSFT,{_reordered(b.times(2))}"), ("AAPL", "MSFT")),
    Format("R, quantmod", "`AAPL.Open`, `AAPL.Adjusted`", "x.csv", lines('"Index","AAPL.Open","AAPL.High","AAPL.Low","AAPL.Close","AAPL.Volume","AAPL.Adjusted"', lambda b: f'"{b.day:%Y-%m-%d}",{b.open},{b.high},{b.low},{b.close},{b.volume},{_adjusted(b, CASH):.6f}'), ("AAPL",), dividend=CASH),
    Format("Alpha Vantage", "TIME_SERIES_DAILY_ADJUSTED: as traded, split and dividend beside", "daily_adjusted_AAPL.csv", lines("timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient", lambda b: f"{b.day:%Y-%m-%d},{b.open},{b.high},{b.low},{b.close},{STOCK[_RAW.index(b)].close},{b.volume},0.0000,{_event(b, RATIO, 1.0)}", reversed(_RAW)), ("AAPL",), split=RATIO),
    Format("Alpha Vantage", "its JSON's names, `1. open` …", "AAPL.csv", lines("date,1. open,2. high,3. low,4. close,5. adjusted close,6. volume,7. dividend amount,8. split coefficient", lambda b: f"{b.day:%Y-%m-%d},{b.open},{b.high},{b.low},{b.close},{STOCK[_RAW.index(b)].close},{b.volume},0.0000,{_event(b, RATIO, 1.0)}", _RAW), ("AAPL",), split=RATIO),
    Format("Tiingo", "as traded, `splitFactor`, adjusted columns beside", "AAPL.csv", lines("date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor", _tiingo, _RAW), ("AAPL",), dividend=CASH, ex_dividend=2, split=RATIO),
    Format("EODHD", "as traded, only `Adjusted_close` knows of a split", "AAPL.US.csv", lines("Date,Open,High,Low,Close,Adjusted_close,Volume", lambda b: f"{b.day:%Y-%m-%d},{b.open},{b.high},{b.low},{b.close},{STOCK[_RAW.index(b)].close},{b.volume}", _RAW), ("AAPL",), split=RATIO),
    Format("EODHD", "a reverse split", "PENY.US.csv", lines("Date,Open,High,Low,Close,Adjusted_close,Volume", lambda b: f"{b.day:%Y-%m-%d},{b.open},{b.high},{b.low},{b.close},{STOCK[as_traded(0.1).index(b)].close},{b.volume}", as_traded(0.1)), ("PENY",), split=0.1),
    Format("Nasdaq Data Link", "WIKI: `Ex-Dividend`, `Split Ratio`, `Adj. Close`", "AAPL.csv", lines("Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. High,Adj. Low,Adj. Close,Adj. Volume", lambda b: f"{plain(b)},0.0,{_event(b, RATIO, 1.0)},1,1,1,{STOCK[_RAW.index(b)].close},1", _RAW), ("AAPL",), split=RATIO),
    Format("Sharadar", "`closeadj`, `closeunadj`, a column of tickers", "SEP.csv", lines("ticker,date,open,high,low,close,volume,closeadj,closeunadj,lastupdated", lambda b: f"AAPL,{plain(b)},{_adjusted(b, CASH):.6f},{b.close * 2},2023-03-22"), ("AAPL",), dividend=CASH),
    Format("nasdaq.com", "`Close/Last`, `$`", "AAPL.csv", lines("Date,Close/Last,Volume,Open,High,Low", lambda b: f"{b.day:%m/%d/%Y},${b.close},{b.volume},${b.open},${b.high},${b.low}", reversed(STOCK)), ("AAPL",)),
    Format("nasdaq.com", "under the name it is downloaded by", "HistoricalData_1679400000000.csv", lines("Date,Close/Last,Volume,Open,High,Low", lambda b: f"{b.day:%m/%d/%Y},${b.close},{b.volume},${b.open},${b.high},${b.low}"), refused="the ticker is taken from the file's name"),
    Format("Investing.com", "United States, volumes like `1.23M`", "AAPL Historical Data.csv", "\ufeff" + lines('"Date","Price","Open","High","Low","Vol.","Change %"', lambda b: quoted([f"{b.day:%m/%d/%Y}", b.close, b.open, b.high, b.low, f"{b.volume / 1e6:.3f}M", "-0.49%"]), reversed(STOCK)), ("AAPL",)),
    Format("Investing.com", "an index, thousands separated, no volume", "DAX Historical Data.csv", "\ufeff" + lines('"Date","Price","Open","High","Low","Vol.","Change %"', lambda b: quoted([f"{b.day:%m/%d/%Y}", *(f"{p * 100:,.2f}" for p in (b.close, b.open, b.high, b.low)), "", "1.00%"])), ("^GDAXI",), bars=[b.times(100) for b in STOCK], with_volume=False),
    Format("Investing.com", "German", "SAP.DE.csv", "\ufeff" + lines('"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"', lambda b: quoted([f"{b.day:%d.%m.%Y}", *map(european, (b.close, b.open, b.high, b.low)), f"{b.volume / 1e6:.3f}M".replace(".", ","), "-0,49%"])), ("SAP.DE",)),
    Format("Investing.com", "Spanish", "SAN.MC.csv", "\ufeff" + lines('"Fecha","Último","Apertura","Máximo","Mínimo","Vol.","% var."', lambda b: quoted([f"{b.day:%d.%m.%Y}", *map(european, (b.close, b.open, b.high, b.low)), "", "-0,49%"])), ("SAN.MC",), with_volume=False),
    Format("Stooq", "under the name it is downloaded by", "aapl_us_d.csv", lines(OHLCV, plain), ("AAPL",)),
    Format("Stooq", "volumes with decimals", "aapl_us_d.csv", lines(OHLCV, lambda b: f"{plain(b)}.3000"), ("AAPL",), shown="read; volumes are rounded"),
    Format("Stooq", "currencies, no volume", "eurusd_d.csv", lines("Date,Open,High,Low,Close", lambda b: plain(b).rpartition(",")[0]), ("EURUSD=X",), with_volume=False),
    Format("Stooq", "`<TICKER>`, `<PER>`, dates like 20230306", "aapl.us.csv", lines("<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>", lambda b: f"AAPL.US,D,{b.day:%Y%m%d},000000,{b.open},{b.high},{b.low},{b.close},{b.volume},0"), ("AAPL",)),
    Format("Stooq", "Polish names", "PKN.WA.csv", lines("Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", plain), ("PKN.WA",)),
    Format("Google Sheets", "GOOGLEFINANCE, United States", "GOOG.csv", lines(OHLCV, lambda b: plain(b, f"{b.us} 16:00:00")), ("GOOG",)),
    Format("Google Sheets", "GOOGLEFINANCE, day first", "GOOG.csv", lines(OHLCV, lambda b: plain(b, f"{b.day:%d/%m/%Y} 16:00:00")), ("GOOG",)),
    Format("any", "dates of which nothing says whether the month or the day comes first", "BTC-USD.csv", lines(OHLCV, lambda b: plain(b, f"{b.day:%m/%d/%Y}"), COIN[:5]), refused="write the dates as YYYY-MM-DD"),
    Format("Excel", "serial dates", "AAPL.csv", lines(OHLCV, lambda b: plain(b, str((b.day - pd.Timestamp("1899-12-30")).days))), ("AAPL",)),
    Format("Excel", "“Unicode text”: UTF-16 and tabs", "AAPL.csv", lines(OHLCV.replace(",", "\t"), lambda b: plain(b, separator="\t")).encode("utf-16"), ("AAPL",)),
    Format("Excel", "semicolons and decimal commas, `sep=;`", "SAP.DE.csv", "sep=;\n" + lines(OHLCV.replace(",", ";"), lambda b: plain(b, f"{b.day:%d.%m.%Y}", ";").replace(".", ",").replace(",", ".", 2)), ("SAP.DE",)),
    Format("Kaggle", "S&P 500 5 years: `Name`", "AAL_data.csv", lines("date,open,high,low,close,volume,Name", lambda b: f"{plain(b)},AAL"), ("AAL",)),
    Format("Kaggle", "all_stocks_5yr: one ticker after the other", "all_stocks_5yr.csv", lines("date,open,high,low,close,volume,Name", lambda b: f"{plain(b)},AAL") + lines("", lambda b: f"{plain(b.times(2))},AAPL"), ("AAL", "AAPL")),
    Format("Kaggle", "coin_Bitcoin: symbol without quote currency", "coin_Bitcoin.csv", lines("SNo,Name,Symbol,Date,High,Low,Open,Close,Volume,Marketcap", lambda b: f"1,Bitcoin,BTC,{b.day:%Y-%m-%d} 23:59:59,{b.high},{b.low},{b.open},{b.close},{b.volume}.75,8e11", COIN), ("BTC-USD",), bars=COIN, shown="read as BTC-USD"),
    Format("Binance", "klines without names", "BTCUSDT-1d-2023-03.csv", "\n".join(f"{_epoch(b, 1000)},{b.open},{b.high},{b.low},{b.close},{b.volume}.5,{_epoch(b, 1000) + 86_399_999},1.5,7,1.5,1.5,0" for b in COIN), ("BTC-USDT",), bars=COIN),
    Format("Binance", "klines since 2025, microseconds", "ETHUSDT-1d-2025-03.csv", "\n".join(f"{_epoch(b, 10**6)},{b.open},{b.high},{b.low},{b.close},{b.volume}.5,{_epoch(b, 10**6) + 1},1.5,7,1.5,1.5,0" for b in COIN), ("ETH-USDT",), bars=COIN),
    Format("CryptoDataDownload", "an address above the names", "Gemini_BTCUSD_d.csv", "https://www.CryptoDataDownload.com\n" + lines("unix,date,symbol,open,high,low,close,Volume BTC,Volume USD", lambda b: f"{_epoch(b, 1)},{b.day:%Y-%m-%d} 00:00:00,BTC/USD,{b.open},{b.high},{b.low},{b.close},{b.volume},51234580.8", reversed(COIN)), ("BTC-USD",), bars=COIN),
    Format("CoinMarketCap", "semicolons, moments in UTC", "BTC-USD.csv", lines("timeOpen;timeClose;timeHigh;timeLow;open;high;low;close;volume;marketCap;timestamp", lambda b: f'"{b.day:%Y-%m-%d}T00:00:00.000Z";"x";"x";"x";{b.open};{b.high};{b.low};{b.close};{b.volume}.2;1;"{b.day:%Y-%m-%d}T23:59:59.999Z"', COIN), ("BTC-USD",), bars=COIN),
    Format("Barchart", "`Last`, `%Chg`, a line of words at the end", "aapl_price-history-03-22-2023.csv", lines("Time,Open,High,Low,Last,Change,%Chg,Volume", lambda b: f"{b.day:%m/%d/%Y},{b.open},{b.high},{b.low},{b.close},0.5,+0.49%,{b.volume}", end='"Downloaded from Barchart.com as of 03-22-2023 04:01pm CST"\n'), ("AAPL",)),
    Format("MarketWatch", "`Download Data - STOCK_US_XNAS_AAPL`", "Download Data - STOCK_US_XNAS_AAPL.csv", lines(OHLCV, lambda b: f'{b.day:%m/%d/%Y},"{b.open:.2f}","{b.high:.2f}","{b.low:.2f}","{b.close:.2f}","{b.volume:,}"'), ("AAPL",)),
    Format("WSJ", "years of two digits, blanks after commas", "AAPL.csv", lines("Date, Open, High, Low, Close, Volume", lambda b: f"{b.day:%m/%d/%y}, {b.open}, {b.high}, {b.low}, {b.close}, {b.volume}"), ("AAPL",)),
    Format("NSE India", "`16-Mar-2023`, `2,509.00`, previous and last traded price beside", "Quote-Equity-RELIANCE-EQ-06-03-2023-to-21-03-2023.csv", "\ufeff" + lines('"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","vwap","52W H","52W L ","VOLUME ","VALUE ","No of trades "', lambda b: quoted([f"{b.day:%d-%b-%Y}", "EQ", *(f"{p * 50:,.2f}" for p in (b.open, b.high, b.low, b.open, b.close, b.close, b.close, b.high, b.low)), f"{b.volume:,}", "5,123,456,789.05", "234,567"]), bars("XBOM")), ("RELIANCE.NS",), bars=[Bar(b.day, *(p * 50 for p in b.ohlc), b.volume) for b in bars("XBOM")]),
    Format("Euronext", "lines before the names, `Number of Shares`", "MC.PA.csv", '"Historical Data"\n"From 2023-03-06 to 2023-03-21"\nFR0000121014\n' + lines("Date;Open;High;Low;Last;Close;Number of Shares;Number of Trades;Turnover;vwap", lambda b: f"{b.day:%d/%m/%Y};{b.open};{b.high};{b.low};{b.close};{b.close};{b.volume};77;1.5;{b.close}"), ("MC.PA",)),
    Format("Ariva", "German names, semicolons", "SAP.DE.csv", lines("Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen", lambda b: ";".join([f"{b.day:%Y-%m-%d}", *map(european, b.ohlc), f"{b.volume:,}".replace(",", "."), "1.234.567"])), ("SAP.DE",)),
    Format("Swiss exchanges", "`11'200.00`", "^SSMI.csv", lines(OHLCV, lambda b: f"{b.day:%Y-%m-%d}," + ",".join(f"{p * 200:,.2f}".replace(",", "'") for p in b.ohlc) + ",0"), ("^SSMI",), bars=[b.times(200) for b in STOCK], with_volume=False),
    Format("MetaTrader", "tabs, dates with points, `<TICKVOL>`", "EURUSD=X.csv", lines("<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>", lambda b: f"{b.day:%Y.%m.%d}\t00:00:00\t{b.open}\t{b.high}\t{b.low}\t{b.close}\t99\t{b.volume}\t3"), ("EURUSD=X",)),
    Format("zipline bundles", "semicolons, `Dividend` and `Split`", "AAPL.csv", lines(f"{OHLCV};Dividend;Split".replace(",", ";"), lambda b: f"{plain(b, separator=';')};0;0"), ("AAPL",)),
    Format("any", "moments in UTC: the exchange's own day counts", "AAPL.csv", lines("timestamp,open,high,low,close,volume", lambda b: plain(b, f"{b.day.tz_localize('America/New_York').tz_convert('UTC')}")), ("AAPL",)),
    Format("any", "milliseconds since 1970", "AAPL.csv", lines(OHLCV, lambda b: plain(b, str(_epoch(b, 1000)))), ("AAPL",)),
    Format("any", "a dash or nothing for the volume", "^STOXX50E.csv", lines(OHLCV, lambda b: plain(b).rpartition(",")[0] + (",-" if STOCK.index(b) % 2 else ",")), ("^STOXX50E",), with_volume=False),
    Format("any", "a comma too many in every row", "AAPL.csv", lines(OHLCV, lambda b: f"{plain(b)},"), ("AAPL",)),
    Format("any", "`Change %` with values like `-0.49%`", "AAPL.csv", lines(f"{OHLCV},Change %", lambda b: f"{plain(b)},-0.49%"), ("AAPL",), shown="read; the column is left"),
    Format("any", "a spreadsheet formula in a column that is read", "AAPL.csv", lines(OHLCV, lambda b: plain(b).replace("50.00", "=25*2")), refused="'=25*2' looks like a spreadsheet formula"),
    Format("any", "a column that says adjusted, dividend, split or factor under an unknown name", "AAPL.csv", lines(f"{OHLCV},Cumulative Split Factor", lambda b: f"{plain(b)},4"), refused="the column 'Cumulative Split Factor' seems to say that prices are adjusted"),
    Format("any", "a split that nothing in the file tells of", "AAPL.csv", lines(OHLCV, plain, _RAW), refused="add a column Stock Splits"),
    Format("any", "a reverse split that nothing in the file tells of", "AAPL.csv", lines(OHLCV, plain, as_traded(0.1)), refused="add a column Stock Splits"),
    Format("any", "weekly bars", "AAPL.csv", lines(OHLCV, plain, [Bar(day, 50, 52, 48, 51, 9) for day in pd.date_range("2023-01-02", "2023-03-20", freq="7D")]), refused="these are weekly bars"),
    Format("any", "monthly bars", "AAPL.csv", lines(OHLCV, plain, [Bar(day, 50, 52, 48, 51, 9) for day in pd.date_range("2022-01-01", "2022-12-01", freq="MS")]), refused="these are monthly bars"),
    Format("any", "intraday bars", "AAPL.csv", lines(OHLCV, lambda b: "\n".join(plain(b, f"{b.day:%Y-%m-%d} {hour}:30:00-05:00") for hour in (10, 11, 12))), refused="these are intraday bars, one every 60 minutes"),
    Format("any", "days of another market or time zone (a stock with weekends)", "AAPL.csv", lines(OHLCV, plain, COIN), refused="of days on which its calendar XNYS is closed"),
    Format("any", "pounds among pence", "EZJ.L.csv", lines(OHLCV, plain, as_traded(100)), refused="looks like a split"),
    Format("any", "one impossible bar of long ago", "AAPL.csv", lines(OHLCV, lambda b: plain(b) if b is not STOCK[5] else f"{b.day:%Y-%m-%d},55,54,56,55,9"), ("AAPL",), bars=[b for b in STOCK if b is not STOCK[5]], shown="read without it"),
    Format("any", "`BRK/B`", "export.csv", lines(f"Symbol,{OHLCV}", lambda b: f"BRK/B,{plain(b)}"), refused="(Yahoo Finance writes BRK-B)"),
    Format("Microsoft Excel", "a workbook that was only renamed", "AAPL.csv", b"PK\x03\x04" + bytes(60), refused="this is an Excel workbook or a ZIP archive"),
]  # fmt: skip


def table() -> str:
    """The formats as a table in Markdown."""
    rows = ["| from | what | stockcast |", "|---|---|---|"]
    for each in FORMATS:
        several = ", one series per ticker" if len(each.tickers) > 1 else ""
        told = [word for word, there in (("dividends", each.dividend), ("splits", each.split != 1)) if there]
        usual = f"read{several}{', with ' + ' and '.join(told) if told else ''}" if each.tickers else "refused"
        rows.append(f"| {each.vendor} | {each.what.replace('|', chr(92) + '|')} | {each.shown or usual} |")
    return "\n".join(rows)


def written(text: str) -> str:
    """The docs' page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    DOCS.write_text(written(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
