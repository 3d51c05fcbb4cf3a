"""Forecasts from a frame of anybody's bars, without a warehouse."""

from __future__ import annotations

from collections.abc import Mapping

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.serving.forecaster import Published
from stockcast_assets.forecasting.serving.predict import COLUMNS, forecast
from stockcast_assets.keys import validate_ticker
from stockcast_assets.libraries import np, pd
from stockcast_assets.market import calendars
from stockcast_assets.market.adjust import with_total_return

PRICES = ("open", "high", "low", "close")
REQUIRED = ("date", *PRICES, "volume")

_OTHER_NAMES: Mapping[str, str] = {"adjclose": "adj_close", "adjusted_close": "adj_close", "dividends": "dividend"}


def normalized(frame: pd.DataFrame, ticker: str | None = None) -> pd.DataFrame:
    """A frame of one ticker's daily bars with the columns that forecasting needs, sorted by date.

    Names may be in any case, with spaces, as yfinance has them; the dates may be the index, and carry a time zone.

    Args:
        frame: `date`, `open`, `high`, `low`, `close` in the same shares throughout, `volume`, and perhaps `adj_close`
            or `dividend` (cash per share). With dividends the adjusted close is computed from them; with neither,
            none was paid.
        ticker: whose bars they are; None: as the column `ticker` says. It decides the calendar of the sessions ahead.

    Returns:
        ticker, date (midnight, no zone), open, high, low, close, adj_close, volume.

    Raises:
        StockcastError: if a column is missing, a date or number cannot be read, a session is there twice, or the
            frame holds another ticker or several.
    """
    bars = frame if "date" in map(_plain, frame.columns) else frame.reset_index(names="date")
    bars = bars.rename(columns=_plain)
    bars = bars.loc[:, ~bars.columns.duplicated()]
    missing = [name for name in REQUIRED if name not in bars]
    if missing or bars.empty:
        what = f"lack {', '.join(missing)}" if missing else "are none"
        raise StockcastError(f"The bars {what}: give a frame with one row per session and {', '.join(REQUIRED)}.")
    named = {str(one) for one in bars["ticker"]} if "ticker" in bars else set()
    if ticker is None and len(named) != 1:
        has = f"hold {len(named)} tickers" if named else "have no column ticker"
        raise StockcastError(f"The bars {has}: name the one whose bars they are, and give only its bars.")
    ticker = validate_ticker(named.pop() if ticker is None else ticker)
    if named - {ticker}:
        raise StockcastError(f"The bars are of {', '.join(sorted(named))}, not of {ticker}: give only its bars.")
    numbers = [name for name in (*PRICES, "volume", "adj_close", "dividend") if name in bars]
    try:
        days = pd.DatetimeIndex(pd.to_datetime(bars["date"]))
        values = bars[numbers].astype(np.float64)
    except (ValueError, TypeError) as error:
        raise StockcastError(f"The bars of {ticker} cannot be read ({error}): give dates and numbers.") from None
    days = days.tz_localize(None).normalize().as_unit("ns")
    out = values.assign(ticker=ticker, date=days).sort_values("date", ignore_index=True)
    twice = out["date"].duplicated()
    if twice.any():
        raise StockcastError(f"The bars of {ticker} have {out['date'][twice].iloc[0].date()} twice: keep one of them.")
    if "adj_close" not in out:
        out["adj_close"] = out["close"]
    if "dividend" in out:
        out = with_total_return(out.fillna({"dividend": 0.0}))
    return out[["ticker", "date", *PRICES, "adj_close", "volume"]]


def _plain(name: object) -> str:
    plain = "_".join(str(name).strip().lower().split())
    return _OTHER_NAMES.get(plain, plain)


def forecast_from(model: Published, bars: pd.DataFrame) -> pd.DataFrame:
    """The forecast as of the last of a ticker's `normalized` bars, with the session that each row is for.

    Returns:
        One row per horizon, columns as in the table `forecasts` up to `method`.

    Raises:
        StockcastError: if the bars end before the model's training, or are too few.
    """
    last = bars["date"].iloc[-1]
    made = forecast({model.ticker: model}, {model.ticker: bars}, {model.ticker: [last]})
    return with_target_dates(made[COLUMNS])


def with_target_dates(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Add the session each horizon is for, from the ticker's own calendar."""
    targets = {
        (ticker, day): calendars.next_sessions(calendars.calendar_for(ticker), day, HORIZON)
        for ticker, day in forecasts[["ticker", "date"]].drop_duplicates().itertuples(index=False)
    }
    rows = forecasts[["ticker", "date", "horizon"]].itertuples(index=False)
    return forecasts.assign(target_date=[targets[ticker, day][horizon - 1] for ticker, day, horizon in rows])
