"""The sample: thirteen years of real daily bars, packaged with bokeh_sampledata (public domain, Quandl WIKI).

The file's open, high, low, close and volume are as traded, and its adjusted close goes on adjusting for
events after its own end. Both are brought to the convention of Yahoo Finance as of the file's last day:

- The ratio adjusted close / close is constant but for days with an event, where it steps by
  `split × (1 + dividend / close)`. Steps beyond ±25 % are splits: earlier prices are divided by them and
  earlier volumes multiplied, exactly.
- The other steps are dividends. They are **derived**: the file names no dividend, the step gives it back to
  the cent.
- The adjusted close is rebased so that it equals the close on the last day.
"""

from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from stockcast_assets.clock import Clock, utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.market.earnings import NO_HOUR, UNKNOWN, filed
from stockcast_assets.market.sources.base import COMPANY, select
from stockcast_assets.market.sources.files import read_earnings
from stockcast_assets.market.sources.validate import COLUMNS, validate_bars

COMPANIES = {"AAPL": "Apple", "GOOG": "Google", "IBM": "International Business Machines", "MSFT": "Microsoft"}
"""What the companies were called in the sample's years."""

TICKERS = tuple(COMPANIES)
"""The file's fifth series, FB, is left out: 196 sessions are too few to learn from."""

_STEP = 1e-5
"""The smallest step of the adjustment ratio that is an event; between events it is constant to 1e-13."""
_SPLIT = 0.25
_INSTALL = "run `pip install 'bokeh_sampledata>=2026.1'`"


class SampleSource:
    """Bars of AAPL, GOOG, IBM and MSFT from 2000-03-01 (GOOG 2004-08-19) to 2013-03-01, without a network."""

    name = "sample"

    def __init__(self, now: Clock = utc_now) -> None:
        self._now = now

    def bars(self, ticker: str, start: date | None, end: date, overlap: date | None = None) -> pd.DataFrame:
        """See `Source.bars`."""
        now = self._now()
        remedy = "ask for those days, or set STOCKCAST_SOURCE=yahoo"
        chosen = select(_history(_known(ticker)), ticker, start, end, now, remedy, overlap)
        bars = chosen.assign(ingested_at=pd.Series(now, chosen.index, dtype="datetime64[ns, UTC]"))
        bars.attrs[COMPANY] = COMPANIES[ticker]
        return bars

    def first_session(self, ticker: str) -> date | None:
        """See `Source.first_session`."""
        day: date | None = _history(_known(ticker))["date"].iloc[0].date()
        return day

    def tickers(self) -> list[str]:
        """See `Source.tickers`."""
        return list(TICKERS)

    def earnings(self, ticker: str) -> pd.DataFrame:
        """See `TellsReports.earnings`: the days on which results were filed with the SEC, without an hour.

        Facts of EDGAR (www.sec.gov/edgar): the filing dates of forms 8-K with item 2.02, "Results of Operations and
        Financial Condition", which began in August 2004, by Apple (CIK 320193), IBM (51143) and Microsoft (789019).
        Those of Google are not among them and stay unknown.
        """
        reports = read_earnings(Path(__file__).with_name("sample_earnings.csv").read_bytes(), "sample_earnings.csv")
        own = reports[reports["ticker"] == _known(ticker)]
        return filed(own["ticker"], own["date"], own["when"].replace(UNKNOWN, NO_HOUR), self.name)


def _known(ticker: str) -> str:
    if ticker not in TICKERS:
        raise StockcastError(
            f"The sample has no ticker {ticker!r}: use {', '.join(TICKERS)}, or set STOCKCAST_HOME to another folder "
            "and STOCKCAST_SOURCE to yahoo or csv."
        )
    return ticker


@lru_cache(maxsize=len(TICKERS))
def _history(ticker: str) -> pd.DataFrame:
    raw = _read()
    raw = raw[raw["Ticker"] == ticker].sort_values("Date", ignore_index=True)
    bars = to_yahoo_convention(raw)
    rebased = raw["Adj Close"] / raw["Adj Close"].iloc[-1] * raw["Close"].iloc[-1]
    if not np.allclose(bars["adj_close"], rebased, rtol=1e-9, atol=0):
        raise StockcastError(f"The sample's adjusted closes of {ticker} are too coarse: {_INSTALL}.")
    bars = bars.assign(ticker=ticker, source="sample", ingested_at=utc_now())[COLUMNS]
    return validate_bars(bars, "The sample", _INSTALL)


@lru_cache(maxsize=1)
def _read() -> pd.DataFrame:
    package = find_spec("bokeh_sampledata")
    file = Path(package.origin).parent / "_data" / "stocks.csv.gz" if package and package.origin else None
    if file is None or not file.is_file():
        raise StockcastError(f"The sample is not installed: {_INSTALL}.")
    return pd.read_csv(file, parse_dates=["Date"])


def to_yahoo_convention(raw: pd.DataFrame) -> pd.DataFrame:
    """Split-adjust one ticker's bars and derive its splits and dividends (see the module's docstring).

    Args:
        raw: columns Date, Open, High, Low, Close, Volume (as traded) and Adj Close, sorted by Date.

    Returns:
        date, open, high, low, close, adj_close, volume, dividend, split_ratio, row for row.
    """
    close = raw["Close"].to_numpy()
    ratio = raw["Adj Close"].to_numpy() / close
    step = np.append(1.0, ratio[1:] / ratio[:-1])
    is_split = np.abs(step - 1) > _SPLIT
    is_dividend = ~is_split & (np.abs(step - 1) > _STEP)
    split = np.where(is_split, np.round(step, 4), 1.0)
    dividend = np.where(is_dividend, np.round((step - 1) * close, 2), 0.0)
    shares = _later(split)
    kept = 1 / _later(1 + dividend / close)
    return pd.DataFrame(
        {
            "date": raw["Date"],
            "open": raw["Open"] / shares,
            "high": raw["High"] / shares,
            "low": raw["Low"] / shares,
            "close": close / shares,
            "adj_close": close / shares * kept,
            "volume": np.round(raw["Volume"] * shares).astype("int64"),
            "dividend": dividend,
            "split_ratio": split,
        }
    )


def _later(factor: np.ndarray) -> np.ndarray:
    """The product of the factors of all later rows, row for row: 1.0 at the last."""
    return np.append(np.cumprod(factor[::-1])[::-1][1:], 1.0)
