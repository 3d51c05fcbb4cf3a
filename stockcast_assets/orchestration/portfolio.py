"""The risk of holdings, of what is stored: read once, computed by `forecasting.risk`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from stockcast_assets.as_known import AsKnown
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.risk.portfolio import (
    LEVELS,
    Holding,
    backtest,
    contributions,
    gains_of,
    tail,
    value_at_risk_contributions,
    worst_stretches,
)
from stockcast_assets.forecasting.risk.report import FAN, PortfolioRisk, Position
from stockcast_assets.forecasting.risk.scenarios import FEWEST, Days, Residuals, as_day, draws, sessions_drawn
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.orchestration.assets.scenarios import histories_of, published
from stockcast_assets.tables import FORECASTS
from stockcast_assets.warehouse import Warehouse

BACKTEST_DAYS = 400
"""Calendar days before the as-of day of which forecasts are judged: about 270 sessions."""

STRETCHES = {1: 5, HORIZON: 5}
"""Lengths of past stretches, in sessions, and how many of each are shown."""


def risk_of(warehouse: Warehouse, quantities: Mapping[str, float], until: date | None = None) -> PortfolioRisk:
    """The risk of holdings as of the newest day, up to `until`, of which all their tickers have a forecast.

    A function of the forecasts and bars of these tickers, up to that day.

    Args:
        warehouse: where forecasts and bars are, now or as known at the end of a day.
        quantities: by ticker, negative where short; at least one.
        until: None for the newest.

    Raises:
        StockcastError: if a ticker is unknown, has no forecast, or too short a past beside the others.
    """
    tickers = sorted(quantities)
    day = _common_day(warehouse, tickers, until)
    first = day.date() - timedelta(days=BACKTEST_DAYS)
    said = published(warehouse, tickers, first, day.date())
    histories = histories_of(warehouse, tickers, day.date())
    past = {ticker: Residuals.of(histories[ticker]) for ticker in tickers}
    sessions, drawn = _drawn(past, {ticker: said[ticker, day] for ticker in tickers}, day)
    closes = {ticker: float(histories[ticker].close[-1]) for ticker in tickers}
    values = {ticker: quantities[ticker] * closes[ticker] for ticker in tickers}
    gains = np.stack([gains_of(values[ticker], drawn[ticker]) for ticker in tickers])
    total = gains.sum(axis=0)
    tails = {1 + place: [tail(total[:, place], level) for level in LEVELS] for place in range(HORIZON)}
    at_risk, shortfall = (
        {(horizon, level): share(gains[:, :, horizon - 1], level) for horizon in (1, HORIZON) for level in LEVELS}
        for share in (value_at_risk_contributions, contributions)
    )
    positions = [
        Position(
            ticker,
            quantities[ticker],
            closes[ticker],
            values[ticker],
            {key: float(share[place]) for key, share in at_risk.items()},
            {key: float(share[place]) for key, share in shortfall.items()},
        )
        for place, ticker in enumerate(tickers)
    ]
    prices = {ticker: (_days(histories[ticker]), histories[ticker].log_close) for ticker in tickers}
    stretches = {length: worst_stretches(values, prices, length, most) for length, most in STRETCHES.items()}
    judged, backtests = backtest(
        {ticker: _holding(ticker, quantities[ticker], histories[ticker], past[ticker], said) for ticker in tickers}
    )
    return PortfolioRisk(
        day, positions, len(sessions), sessions[0].item(), sessions[-1].item(),
        np.quantile(total, FAN, axis=0).T, tails, stretches, len(judged), backtests,
    )  # fmt: skip


def _common_day(warehouse: Warehouse, tickers: list[str], day: date | None) -> pd.Timestamp:
    made = warehouse.read(FORECASTS, tickers=tickers, end=day, columns=["ticker", "date"]).drop_duplicates()
    days = {str(ticker): set(part["date"]) for ticker, part in made.groupby("ticker")}
    when = "" if day is None else f" up to {day}"
    for ticker in tickers:
        if ticker not in days and isinstance(warehouse, AsKnown):
            raise StockcastError(
                f"No forecast of {ticker}{when} had been published by the end of {warehouse.day}: ask for what was "
                "known on a later day, or leave its line out."
            )
        if ticker not in days:
            remedy = f"`stockcast forecast {ticker}`" if day is None else f"`stockcast forecast {ticker} {day}`"
            raise StockcastError(f"{ticker} has no forecast{when}: make it with {remedy}, or leave its line out.")
    common = set.intersection(*days.values())
    if not common:
        newest = ", ".join(f"{ticker} {max(days[ticker]):%Y-%m-%d}" for ticker in tickers[:3])
        if isinstance(warehouse, AsKnown):
            raise StockcastError(
                f"By the end of {warehouse.day} there was no day{when} of which forecasts of all holdings had been "
                f"published (the newest: {newest}): ask for what was known on a later day, or leave lines out."
            )
        raise StockcastError(
            f"There is no day{when} of which all holdings have a forecast (the newest: {newest}): make those of one "
            f"day with `stockcast forecast {' '.join(tickers)} {max(max(own) for own in days.values()):%Y-%m-%d}`."
        )
    return pd.Timestamp(max(common))


def _drawn(
    past: Mapping[str, Residuals], said: Mapping[str, Floats], day: pd.Timestamp
) -> tuple[Days, dict[str, Floats]]:
    """The scenarios in which all tickers have a residual: their sessions, and [n, HORIZON] returns by ticker."""
    now = as_day(day)
    # Not those of the day's row of `scenarios`: it is made again without a word of when, and the backtest has none.
    sessions = sessions_drawn(past.values(), now)
    drawn = {ticker: draws(past[ticker], sessions, said[ticker], now) for ticker in past}
    there = {ticker: np.isfinite(returns[:, -1]) for ticker, returns in drawn.items()}
    complete: Any = np.logical_and.reduce(list(there.values()))
    if complete.sum() < FEWEST:
        fewest = min(there, key=lambda ticker: int(there[ticker].sum()))
        raise StockcastError(
            f"The holdings have {int(complete.sum())} past sessions in common of which ten more were known on "
            f"{day:%Y-%m-%d}, and {FEWEST} are needed; {fewest} has {int(there[fewest].sum())}: leave its line out."
        )
    return sessions[complete], {ticker: returns[complete] for ticker, returns in drawn.items()}


def _days(history: Any) -> Days:
    days: Days = history.dates.to_numpy().astype("datetime64[D]")
    return days


def _holding(
    ticker: str,
    quantity: float,
    history: Any,
    residuals: Residuals,
    said: Mapping[tuple[str, pd.Timestamp], Floats],
) -> Holding:
    days = [day for of_ticker, day in said if of_ticker == ticker]
    rows = history.dates.get_indexer(days)
    values, happened = {}, {}
    for day, row in zip(days, rows, strict=True):
        if 0 <= row < len(history) - 1:
            values[as_day(day)] = quantity * float(history.close[row])
            happened[as_day(day)] = float(history.log_close[row + 1] - history.log_close[row])
    return Holding(residuals, {as_day(day): said[ticker, day][0] for day in days}, values, happened)
