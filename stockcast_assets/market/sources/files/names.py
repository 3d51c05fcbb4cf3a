"""What the columns of a file mean, by the names that vendors, exchanges and libraries give them.

The names were collected from the vendors' own exports and documentation: Yahoo Finance and yfinance, Alpha Vantage,
Tiingo, EODHD, Nasdaq and Nasdaq Data Link, Stooq, Investing.com in eight languages, Barchart, MarketWatch and WSJ,
Google Sheets, Binance, CryptoDataDownload, CoinMarketCap, Kaggle's best known sets, NSE and BSE India, Euronext,
Nasdaq Nordic, Ariva, MetaTrader, Finam, Tushare and AkShare, FinanceDataReader, quantmod, TradingView, Sharadar.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

PRICES = ("open", "high", "low", "close")
MAX_NAME = 200


@dataclass(frozen=True)
class Meaning:
    """What a column holds; of two columns that hold the same, that of the lower rank is used."""

    role: str
    rank: int = 0


_ROLES: dict[str, tuple[str, ...]] = {
    # role: names of rank 0, then of rank 1 and so on, separated by |
    "date": (
        "date tradedate tradingdate formatteddate datum fecha data tarih 日期 날짜 일자 日付 交易日期",
        "datetime timestamp dateandtime dates",
        "time t opentime windowstart timeclose timeopen",
        "unix unixtime unixtimestamp epoch",
    ),
    "time": ("time heure hora zeit ora",),
    "open": (
        "open openprice opening openingprice pxopen o erster eroffnung eroffnungskurs eroffn ouv ouverture apertura "
        "abertura otwarcie acilis acılıs 开盘 开盘价 시가 始値",
        "first",
    ),
    "high": (
        "high highprice highest dayhigh pxhigh h hoch hochst hochstkurs tageshoch plushaut haut maximo maxima massimo "
        "najwyzszy yuksek hoog 最高 最高价 고가 高値",
        "max",
    ),
    "low": (
        "low lowprice lowest daylow pxlow l tief tiefst tiefstkurs tagestief plusbas bas minimo minima minimum "
        "najnizszy dusuk laag 最低 最低价 저가 安値",
        "min",
    ),
    "close": (
        "close closeprice closing closingprice closelast c schluss schlusskurs schlusspreis cloture cierre fechamento "
        "chiusura zamkniecie closeclosepriceadjustedforsplits 收盘 收盘价 종가 終値",
        "last lastprice price pxlast zuletzt dernier ultimo laatste simdi settle settlement settleprice lasttrade",
        "ltp",
    ),
    "adj_close": (
        "adjclose adjustedclose adjcloseprice adjustedcloseprice adjustedclosingprice closeadj closeadjusted adjusted "
        "adjclosing adjcloseadjustedclosepriceadjustedforsplitsanddividendandorcapitalgaindistributions",
    ),
    "volume": (
        "volume vol volumes tradedvolume tradingvolume totalvolume sharevolume noofshares numberofshares sharestraded "
        "totaltradedquantity totaltradedqty tottrdqty ttltrdqnty pxvolume v stuecke stucke wolumen volumen hac hacim "
        "成交量 거래량 出来高",
        "volumefrom tickvol",
    ),
    "dividend": (
        "dividend dividends div divs dividendamount dividendsamount divcash exdividend cashdividend cashdividends "
        "dividendpershare dividende dividenden",
    ),
    "capital_gain": ("capitalgains capitalgain",),
    "split_ratio": ("stocksplits stocksplit splitratio splitcoefficient splitfactor split splits",),
    "ticker": (
        "symbol ticker tickersymbol stocksymbol tickers symbols",
        "tscode actsymbol stockcode scripcode code instrument stock stockname",
        "name",
    ),
    "period": ("per period interval timeframe",),
}

_MEANINGS: dict[str, dict[str, int]] = {}
for _role, _ranked in _ROLES.items():
    for _rank, _names in enumerate(_ranked):
        for _name in _names.split():
            _MEANINGS.setdefault(_name, {})[_role] = _rank

# Beside the plain column of the same name they say nothing more.
_COMPANION = re.compile(r"(?:adj|adjusted)(?:open|high|low|volume|vol|o|h|l|v)|closeunadj|closeunadjusted")
_SUSPECT = re.compile("adj|div|split|factor|cfac|bonus|rights|spinoff|spunoff|distribution|capitalgain|reinvest")
_NUMBERED = re.compile(r"\s*\d{1,2}[ab]?\.\s*")
_VOLUME_OF = re.compile(r"volume([a-z]{2,6})")
_IN_BRACKETS = re.compile(r"[(\[][^()\[\]]{0,40}[)\]]\s*$")


@lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A column's name in letters and digits alone: `Adj. Close*` and `adj_close` are `adjclose`."""
    shortened = _NUMBERED.sub("", name[:MAX_NAME], count=1) if name[:1].isdigit() else name[:MAX_NAME]
    letters = unicodedata.normalize("NFKD", shortened).casefold()
    return "".join(letter for letter in letters if letter.isalnum())


@lru_cache(maxsize=4096)
def meanings(name: str) -> tuple[Meaning, ...]:
    """What a column may hold by its name; nothing if it says nothing about a bar."""
    if len(name) > MAX_NAME:
        return ()
    for written in (name, _without_unit(name)):
        key = unicodedata.normalize("NFC", plain(written))
        if found := _MEANINGS.get(key):
            return tuple(Meaning(role, rank) for role, rank in found.items())
    # CryptoDataDownload: the first of "Volume BTC" and "Volume USD" counts coins.
    return (Meaning("volume", 2),) if _VOLUME_OF.fullmatch(plain(name)) else ()


def is_suspect(name: str) -> bool:
    """Whether a column that is not read seems to say that prices are adjusted, or not all there is to a return."""
    letters = plain(name) if len(name) <= MAX_NAME else name.casefold()
    return bool(_SUSPECT.search(letters.replace("individual", "")))


def is_companion(name: str) -> bool:
    """Whether a column is an adjusted open, high, low or volume, which the plain ones and the events make again."""
    return bool(_COMPANION.fullmatch(plain(name)))


def _without_unit(name: str) -> str:
    """`Open (USD)` without the unit; what is in brackets stays if it may change the meaning."""
    unit = _IN_BRACKETS.search(name)
    if unit is None or _SUSPECT.search(plain(unit.group())):
        return name
    return name[: unit.start()]
