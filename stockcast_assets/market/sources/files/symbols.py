"""Which ticker a file is of, as its vendor writes it in a column or in the file's name, in Yahoo Finance's spelling."""

import re

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shown, validate_ticker

# ISO codes of currencies with a market of their own, to tell a pair of currencies from a coin's price.
_FIAT = frozenset(
    str.split(
        "USD EUR GBP JPY CHF CAD AUD NZD SEK NOK DKK PLN CZK HUF TRY ZAR MXN BRL CNY CNH HKD SGD KRW INR THB ILS RUB"
    )
)
_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "BTC", "ETH", "BNB", "TRY", "JPY", "KRW")

# Endings by which Stooq, EODHD and others name an exchange, and Yahoo's for the same; None: no ending.
_COUNTRIES = {
    "US": "",
    "UK": ".L",
    "LSE": ".L",
    "DE": ".DE",
    "XETRA": ".DE",
    "JP": ".T",
    "HK": ".HK",
    "KO": ".KS",
    "KQ": ".KQ",
    "NSE": ".NS",
    "BSE": ".BO",
    "AU": ".AX",
    "FR": ".PA",
}
_INDICES = {
    "S&P 500": "^GSPC",
    "Dow Jones Industrial Average": "^DJI",
    "NASDAQ Composite": "^IXIC",
    "Nasdaq 100": "^NDX",
    "DAX": "^GDAXI",
    "FTSE 100": "^FTSE",
    "CAC 40": "^FCHI",
    "Nikkei 225": "^N225",
    "Hang Seng": "^HSI",
    "EURO STOXX 50": "^STOXX50E",
    "Euro Stoxx 50": "^STOXX50E",
    "Nifty 50": "^NSEI",
    "KOSPI": "^KS11",
}
# Names that programs give by themselves; in capitals some are tickers.
_GENERIC = frozenset(
    str.split(
        "export data table quotes quote prices price history download historical historicaldata historicalprices ohlc "
        "ohlcv stock stocks daily bars output result results untitled sheet1 book1"
    )
)

_COPY = re.compile(r" ?(?:\(\d{1,3}\)|- Copy)$")
_NAMES = (
    re.compile(r"(?P<stooq>[\w^.-]{1,20}?)_d", re.ASCII),
    re.compile(r"daily_(?:adjusted_)?(?P<plain>[\w.^-]{1,20})", re.ASCII),
    re.compile(r"(?P<plain>[\w.^-]{1,20})_(?:data|daily|history|historical|prices|stock|ohlcv|full)", re.ASCII),
    re.compile(r"(?P<plain>[\w.^-]{1,20})_(?:daily_historical-data|price-history)[-\d]*", re.ASCII),
    re.compile(r"(?P<investing>.{1,60}?)(?: Stock Price| [A-Z][a-z]+)? Historical Data(?: - Investing\.com)?"),
    re.compile(r"Quote-Equity-(?P<nse>[A-Z0-9&-]{1,20})-(?:EQ|BE|BZ|SM)\b.*"),
    re.compile(r"Download Data - STOCK_US_[A-Z]{4}_(?P<plain>[A-Z.]{1,8})"),
    re.compile(r"MacroTrends_Data_Download_(?P<plain>[A-Z.]{1,8})"),
    re.compile(r"(?P<pair>[A-Z0-9]{5,14})-1d-\d{4}.*"),
    re.compile(r"[A-Z][A-Za-z]{2,12}_(?P<pair>[A-Z0-9]{5,14})_d"),
    re.compile(r"[A-Z]{3,12}_(?P<view>[A-Z0-9.]{1,14}), 1D(?:_\w{1,12})?"),
    re.compile(r"(?P<country>[\w^-]{1,16}\.[A-Za-z]{2,6})", re.ASCII),
)


class NoTicker(Exception):
    """No ticker follows from a name; the words complete "the file's name gives the ticker, and …"."""


def from_cell(cell: str, coin: bool = False) -> str:
    """The ticker that a cell of a ticker column names; the cell in upper case where it is none.

    Args:
        cell: `AAPL`, `aapl.us`, `NASDAQ:AAPL`, `BTC/USD`, …
        coin: whether the file is surely of a coin, so that `BTC` is `BTC-USD` and `BTCUSDT` is `BTC-USDT`.
    """
    symbol = cell.strip().upper()
    market, _, rest = symbol.partition(":")
    if rest and market in ("NASDAQ", "NYSE", "AMEX", "NYSEARCA", "BATS", "BINANCE", "COINBASE", "KRAKEN", "BITSTAMP"):
        symbol = rest
    base, slash, quote = symbol.partition("/")
    if slash and quote in _QUOTES + tuple(_FIAT) and base.isalnum():
        return f"{base}{quote}=X" if base in _FIAT and quote in _FIAT else f"{base}-{quote}"
    if coin:
        return as_coin(symbol) or symbol
    return _in_country(symbol) or symbol


def from_name(stem: str) -> str:
    """The ticker that a file's name, without its ending, gives.

    Raises:
        NoTicker: if it gives none.
    """
    stem = _COPY.sub("", stem.strip())
    if stem.isupper() and _is_ticker(stem) and _in_country(stem) is None:
        return stem
    for pattern in _NAMES:
        found = pattern.fullmatch(stem)
        ticker = _named(found) if found else None
        if ticker is not None:
            return ticker
    if stem.lower() in _GENERIC or re.fullmatch(r"HistoricalData_\d+", stem):
        raise NoTicker(f"{shown(stem)} says none")
    if _is_ticker(stem.upper()) and "_" not in stem:
        return stem.upper()
    raise NoTicker(f"{shown(stem)} is not a ticker")


def suggestion(symbol: str) -> str:
    """Yahoo's spelling of a share class: " (Yahoo Finance writes BRK-B)"; nothing if the symbol is none of those."""
    found = re.fullmatch(r"([A-Z]{1,5})[./]([AB])", symbol)
    return f" (Yahoo Finance writes {found[1]}-{found[2]})" if found else ""


def as_coin(symbol: str) -> str:
    """What the ticker would be if the symbol were a coin: `BTC-USD` of BTC, `BTC-USDT` of BTCUSDT; else nothing."""
    return (_pair(symbol) or f"{symbol}-USD") if symbol.isalnum() else ""


def is_symbol(cell: str) -> bool:
    """Whether a cell of a column called Name is a ticker rather than a company."""
    return cell.isupper() and " " not in cell and _is_ticker(cell)


def _named(found: re.Match[str]) -> str | None:
    [(kind, text)] = [(kind, text) for kind, text in found.groupdict().items() if text]
    ticker: str | None
    if kind == "investing":
        ticker = _INDICES.get(text) or from_cell(text.replace("_", "/")) if text.isupper() or text in _INDICES else None
    elif kind == "nse":
        ticker = f"{text}.NS"
    elif kind == "pair":
        ticker = _pair(text.upper())
    elif kind == "view":
        ticker = _pair(text) or text
    elif kind == "country":
        ticker = _in_country(text.upper())
    elif kind == "stooq":
        ticker = _of_stooq(text.upper())
    else:
        ticker = _in_country(text.upper().replace("_", ".")) or text.upper()
    return ticker if ticker is not None and _is_ticker(ticker) else None


def _of_stooq(text: str) -> str | None:
    base, _, country = text.rpartition("_")
    if base:
        return f"{base}-USD" if country == "V" else _in_country(f"{base}.{country}")
    if len(text) == 6 and text[:3] in _FIAT and text[3:] in _FIAT:
        return f"{text}=X"
    return text if text.startswith("^") else None


def _pair(text: str) -> str | None:
    for quote in _QUOTES:
        if text.endswith(quote) and len(text) - len(quote) >= 2 and text.isalnum():
            return f"{text[: -len(quote)]}-{quote}"
    return None


def _in_country(symbol: str) -> str | None:
    base, dot, ending = symbol.rpartition(".")
    if not dot:
        return None
    if ending in _COUNTRIES:
        # Stooq writes BRK-B.US, and Hong Kong's numbers have four digits at Yahoo.
        return f"{base}{_COUNTRIES[ending]}"
    if ending == "CC":
        return base
    if ending == "FOREX":
        return f"{base}=X"
    return f"^{base}" if ending == "INDX" else None


def _is_ticker(symbol: str) -> bool:
    try:
        validate_ticker(symbol)
    except StockcastError:
        return False
    return True
