"""What is stored of a ticker: its models, and `price_history` and `raw_prices` as one series, checked for gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from stockcast_assets.as_known import AsKnown
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.serving.forecaster import Published
from stockcast_assets.forecasting.serving.predict import looks_around
from stockcast_assets.forecasting.universe.earnings import reports_of
from stockcast_assets.forecasting.universe.inputs import Surroundings
from stockcast_assets.forecasting.universe.market import market_from
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.adjust import one_series, with_total_return
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.assets.specs import shown_days
from stockcast_assets.orchestration.stored import Stored, look
from stockcast_assets.tables import (
    EARNINGS_DATES,
    MARKET_STATE,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
    UNIVERSE_MODEL,
)
from stockcast_assets.warehouse import Warehouse

# No exchange stays closed longer; a wider hole before the first daily key means that the start date was moved.
LONGEST_CLOSURE = timedelta(days=30)


def stored_models(warehouse: Warehouse, tickers: Sequence[str], until: date | pd.Timestamp) -> pd.DataFrame:
    """The rows of `trained_model` of some tickers, of the months up to the one of `until`."""
    return warehouse.read(TRAINED_MODEL, tickers=tickers, end=pd.Timestamp(until).date())


def stored_networks(warehouse: Warehouse) -> dict[pd.Timestamp, Mapping[Any, Any]]:
    """The rows of `universe_model`, by month of use."""
    return {row["date"]: row for row in warehouse.read(UNIVERSE_MODEL).to_dict("records")}


def first_sources(warehouse: Warehouse, tickers: Sequence[str]) -> dict[str, str]:
    """The source that each ticker is asked of; tickers without a bar are left out.

    It is csv for a ticker that has bars by CSV only: no other source may know it. Else it is that of the first stored
    bar that did not come by CSV, so bars supplied by CSV move no ticker, however many and however old they are.
    """
    found: dict[str, str] = {}
    for table in (PRICE_HISTORY, RAW_PRICES):
        without = [ticker for ticker in tickers if found.get(ticker, "csv") == "csv"]
        bars = warehouse.read(table, tickers=without, columns=["ticker", "date", "source"])
        bars = bars.assign(by_csv=bars["source"] == "csv").sort_values(["by_csv", "date"], kind="stable")
        first = bars.groupby("ticker")["source"].first().items()
        found |= {str(ticker): str(source) for ticker, source in first}
    return found


def source_of(warehouse: Warehouse, ticker: str) -> str | None:
    """The source that a ticker is asked of, None if it has no stored bar; see `first_sources`."""
    return first_sources(warehouse, [ticker]).get(ticker)


def read_bars(
    warehouse: Warehouse,
    tickers: Sequence[str],
    until: date | pd.Timestamp,
    since: date | pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Every stored bar of the tickers from `since` (None: the first) to `until`, both included.

    Returns:
        Long frame with the columns of `raw_prices`, as `one_series` makes it.
    """
    end = pd.Timestamp(until).date()
    start = None if since is None else pd.Timestamp(since).date()
    daily = warehouse.read(RAW_PRICES, tickers=tickers, start=start, end=end)
    past = warehouse.read(PRICE_HISTORY, tickers=tickers, start=start, end=end)
    return one_series(daily, past)


def surroundings(warehouse: Warehouse, tickers: Sequence[str], until: date | pd.Timestamp) -> Surroundings:
    """What forecasts of these tickers as of the days up to `until` depend on beside their own bars, as it is stored.

    All statements on reports are there: those that were known later change nothing on a day before.
    """
    states = warehouse.read(MARKET_STATE, end=pd.Timestamp(until).date())
    return Surroundings(market_from(states), reports_of(warehouse.read(EARNINGS_DATES, tickers=tickers)))


def surroundings_of(
    models: Iterable[Published], warehouse: Warehouse, until: date | pd.Timestamp
) -> Surroundings | None:
    """What forecasts by these models as of the days up to `until` depend on beside their tickers' bars, if anything."""
    around = [model.ticker for model in models if looks_around([model])]
    return surroundings(warehouse, around, until) if around else None


def complete_bars(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    tickers: Sequence[str],
    until: date | pd.Timestamp,
    first_daily_key: date,
    sources: Sources,
) -> dict[str, pd.DataFrame]:
    """The bars of each ticker up to `until`, refusing to compute on a series with holes.

    Returns:
        {ticker: bars}; a ticker that was not listed yet has an empty frame. `adj_close` is `total_return_close`,
        which knows only the dividends up to each day.

    Raises:
        StockcastError: if a ticker's deep past was never materialised, or a session between the first daily
            key (or the day it was listed) and `until` is missing.
    """
    by_ticker, faults = _looked_at(warehouse, instance, tickers, until, first_daily_key, sources, to_the_end=True)
    for fault in faults.values():
        raise fault
    return by_ticker


def bars_as_known(
    world: AsKnown, tickers: Sequence[str], until: date | pd.Timestamp | None = None
) -> dict[str, pd.DataFrame]:
    """As `complete_bars` of a past day's world, which Dagster's memory is no measure of; by default to their last bar.

    Raises:
        StockcastError: if a ticker had no bar then, or a session between its first and its last is missing.
    """
    bars = with_total_return(read_bars(world, tickers, world.day if until is None else until))
    found = {str(ticker): part.reset_index(drop=True) for ticker, part in bars.groupby("ticker")}
    for ticker in tickers:
        if ticker not in found:
            now = read_bars(world.now, [ticker], world.day)["ingested_at"]
            since = f"its first bar was stored on {now.min():%Y-%m-%d}" if len(now) else "no bar of it is stored"
            raise StockcastError(f"No bar of {ticker} was known at the end of {world.day}: {since}.")
        series = found[ticker]
        gaps = _lacking(ticker, series, series["date"].iloc[0], series["date"].iloc[-1])
        if len(gaps):
            raise StockcastError(
                f"The bars of {ticker} that were known at the end of {world.day} lack {shown_days(list(gaps))}: ask "
                "for what was known on a later day."
            )
    return found


def whole_bars(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    tickers: Sequence[str],
    until: date | pd.Timestamp,
    first_daily_key: date,
    sources: Sources,
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """As `complete_bars` of tickers of which some may lack something: each has its bars up to its last stored one.

    Returns:
        {ticker: bars} of those with bars and without holes, and why each other one is left out.
    """
    by_ticker, faults = _looked_at(warehouse, instance, tickers, until, first_daily_key, sources, to_the_end=False)
    left_out = {ticker: str(fault) for ticker, fault in faults.items()}
    left_out |= {ticker: "it has no bar before" for ticker in by_ticker if by_ticker[ticker].empty}
    return {ticker: by_ticker[ticker] for ticker in tickers if ticker not in left_out}, left_out


def _looked_at(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    tickers: Sequence[str],
    until: date | pd.Timestamp,
    first_daily_key: date,
    sources: Sources,
    to_the_end: bool,
) -> tuple[dict[str, pd.DataFrame], dict[str, StockcastError]]:
    """The bars of each ticker up to `until`, and what is wrong with those that have holes.

    A ticker whose bars end before is whole, unless they are to reach `to_the_end`.
    """
    bars = with_total_return(read_bars(warehouse, tickers, until))
    by_ticker = {str(ticker): part.reset_index(drop=True) for ticker, part in bars.groupby("ticker")}
    stored = look(instance, warehouse, [PRICE_HISTORY.name], tickers)
    faults = {}
    for ticker in tickers:
        series = by_ticker.setdefault(ticker, bars.iloc[:0])
        end = pd.Timestamp(until) if to_the_end or series.empty else series["date"].iloc[-1]
        try:
            _require_whole(ticker, series, end, first_daily_key, stored, sources)
        except StockcastError as fault:
            faults[ticker] = fault
    return by_ticker, faults


def _require_whole(
    ticker: str, series: pd.DataFrame, until: pd.Timestamp, first_daily_key: date, stored: Stored, sources: Sources
) -> None:
    started = pd.Timestamp(first_daily_key)
    past = series["date"][series["date"] < started]
    if ticker in stored.lost[PRICE_HISTORY.name]:
        raise StockcastError(
            f"price_history of {ticker} has lost rows that it had, so its indicators would start at the wrong bar: "
            f"fetch it again (`stockcast backfill --tickers {ticker} --assets price_history`)."
        )
    if not (ticker in stored.there(PRICE_HISTORY.name) or len(past)):
        raise StockcastError(
            f"price_history of {ticker} is not materialised, so its indicators would start at the wrong bar: "
            f"materialise it first (`stockcast backfill --tickers {ticker}` does)."
        )
    if len(past) and started - past.iloc[-1] > LONGEST_CLOSURE:
        raise StockcastError(
            f"price_history of {ticker} ends on {past.iloc[-1].date()}, but its daily keys start on "
            f"{started.date()} (STOCKCAST_START_DATE): fetch it again "
            f"(`stockcast backfill --tickers {ticker} --assets price_history`)."
        )
    # A ticker that came by CSV is known to the csv source only, whatever the default source is.
    listed = sources.get(series["source"].iloc[0] if len(series) else None).first_session(ticker)
    if listed is not None:
        started = max(started, pd.Timestamp(listed))
    elif len(series):
        started = max(started, series["date"].iloc[0])
    require_sessions(ticker, series, started, until)


def _lacking(ticker: str, bars: pd.DataFrame, start: pd.Timestamp, until: pd.Timestamp) -> pd.DatetimeIndex:
    return calendars.expected_sessions(ticker, start, until).difference(pd.DatetimeIndex(bars["date"]))


def require_sessions(ticker: str, bars: pd.DataFrame, start: pd.Timestamp, until: pd.Timestamp) -> None:
    """Raise StockcastError if a session of the ticker from `start` to `until` has no bar."""
    gaps = _lacking(ticker, bars, start, until)
    if len(gaps):
        raise StockcastError(
            f"raw_prices of {ticker} has no bar for {shown_days(list(gaps))}: materialise those days first "
            f"(`stockcast backfill --tickers {ticker} --from {gaps[0].date()} --to {gaps[-1].date()}`)."
        )


def closed_or_unlisted(
    ticker: str, days: Iterable[pd.Timestamp], first_bar: date | pd.Timestamp | None
) -> dict[tuple[str, pd.Timestamp], str]:
    """Why a (ticker, day) without a bar rightfully has no row: the market was closed, the ticker was not listed yet, or
    the day is one that may be without a bar."""
    calendar, days = calendars.calendar_for(ticker), list(days)
    optional = set(calendars.optional_days(ticker, days))
    reasons = {}
    for day in days:
        if not calendars.is_session(calendar, day):
            reasons[ticker, day] = "market closed"
        elif first_bar is not None and day < pd.Timestamp(first_bar):
            reasons[ticker, day] = "not listed yet"
        elif day in optional:
            reasons[ticker, day] = calendars.why_optional(ticker, day)
    return reasons


def open_days(
    days: Mapping[str, Sequence[pd.Timestamp]], bars: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, list[pd.Timestamp]], dict[tuple[str, pd.Timestamp], str]]:
    """The days on which each ticker traded, and why each other (ticker, day) rightfully has no row.

    Args:
        days: days asked for, per ticker.
        bars: the bars of each of those tickers, from its first on; a ticker that has none was not listed yet.

    Returns:
        {ticker: days} without tickers that traded on none, and {(ticker, day): reason}.
    """
    traded: dict[str, list[pd.Timestamp]] = {}
    reasons: dict[tuple[str, pd.Timestamp], str] = {}
    for ticker, asked in days.items():
        first_bar = bars[ticker]["date"].iloc[0] if len(bars[ticker]) else pd.Timestamp.max
        there = set(bars[ticker]["date"])
        closed = closed_or_unlisted(ticker, [day for day in asked if day not in there], first_bar)
        reasons |= closed
        if kept := [day for day in asked if (ticker, day) not in closed]:
            traded[ticker] = kept
    return traded, reasons
