"""`scenarios`: of which past sessions the joint scenarios of a day's forecasts are made, a key per day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from stockcast_assets.as_known import AsKnown
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import Needed, prepare_many
from stockcast_assets.forecasting.risk.scenarios import (
    FEWEST,
    Residuals,
    as_day,
    digest_of,
    draws,
    packed,
    sessions_drawn,
)
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.market.indicators import Floats
from stockcast_assets.orchestration.assets.bars import bars_as_known, read_bars
from stockcast_assets.orchestration.assets.metadata import show, timed
from stockcast_assets.orchestration.assets.specs import of_all, of_period, table_asset
from stockcast_assets.tables import FORECASTS, PRICE_HISTORY, QUANTILE_COLUMNS, RAW_PRICES, SCENARIOS
from stockcast_assets.warehouse import KeyedFrame, Warehouse

FORECAST_COLUMNS = ("ticker", "date", "horizon", "last_close", *QUANTILE_COLUMNS)

_ABOUT = """
A key per day, of all tickers that have a forecast as of it. Each past session of the last five years is a scenario:
what the tickers did together after it, in units of their volatility before it, laid on the published median and 90 %
interval. So no draw is stored and no seed is needed: the sessions are, and the digest of all that follows from them.
**A key that is made again has the members that it had.** docs/risk.md says what the scenarios mean for holdings.
"""


def build_scenarios(days: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The scenarios of each day; `days` are the daily keys."""

    @table_asset(
        SCENARIOS,
        "forecasting",
        days,
        "numpy",
        about=_ABOUT,
        deps=[
            dg.AssetDep(FORECASTS.name, partition_mapping=of_period()),
            of_all(RAW_PRICES.name),
            of_all(PRICE_HISTORY.name),
        ],
    )
    @timed
    # Dagster looks at what an asset returns: a frame's type would import pandas with the definitions.
    def scenarios(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> Any:
        asked = sorted(pd.Timestamp(key) for key in context.partition_keys)
        rows = scenarios_of(warehouse, asked)
        there = dict(zip(rows["date"], rows.to_dict("records"), strict=True))
        lacking = f"no ticker has a forecast of the day and {FEWEST} sessions of which ten more were known"
        empty = {f"{day:%Y-%m-%d}": lacking for day in asked if day not in there}
        told = {
            f"{day:%Y-%m-%d}": {"members": int(row["n_members"]), "scenarios": int(row["n_sessions"])}
            for day, row in there.items()
        }
        show(context, told | {key: {"no rows": reason} for key, reason in empty.items()})
        return KeyedFrame(rows, empty)

    return scenarios


def scenarios_of(warehouse: Warehouse, days: Sequence[pd.Timestamp]) -> pd.DataFrame:
    """Rows of `scenarios` of days, ascending; a day of which no ticker has a forecast and enough past has none.

    A function of the bars up to each day, its forecasts and the members that it was recorded with, to the last bit.
    """
    first, last = days[0].date(), days[-1].date()
    recorded = warehouse.read(SCENARIOS, start=first, end=last, columns=["date", "members"])
    members_of = {day: names.split() for day, names in zip(recorded["date"], recorded["members"], strict=True)}
    said = published(warehouse, None, first, last)
    past = residuals_of(warehouse, sorted({ticker for ticker, _ in said}), last)
    rows = []
    for day in days:
        now = as_day(day)
        with_forecast = sorted(ticker for ticker, of_day in said if of_day == day)
        asked = members_of.get(day, with_forecast)
        members = [
            ticker
            for ticker in with_forecast
            if ticker in asked and ticker in past and (past[ticker].known_on <= now).sum() >= FEWEST
        ]
        if not members:
            continue
        sessions = sessions_drawn([past[ticker] for ticker in members], now)
        drawn = {ticker: draws(past[ticker], sessions, said[ticker, day], now) for ticker in members}
        rows.append((day, len(members), " ".join(members), len(sessions), packed(sessions), digest_of(drawn)))
    return pd.DataFrame(rows, columns=SCENARIOS.column_names) if rows else SCENARIOS.empty()


def published(
    warehouse: Warehouse, tickers: Sequence[str] | None, first: date, last: date
) -> dict[tuple[str, pd.Timestamp], Floats]:
    """By ticker and as-of day [HORIZON, quantiles] of the log returns that are published."""
    rows = warehouse.read(FORECASTS, tickers=tickers, start=first, end=last, columns=list(FORECAST_COLUMNS))
    rows = rows.sort_values(["ticker", "date", "horizon"], ignore_index=True)
    closes = rows["last_close"].to_numpy(np.float64)
    returns = np.log(rows[list(QUANTILE_COLUMNS)].to_numpy(np.float64) / closes[:, None])
    keys = zip(rows["ticker"].tolist()[::HORIZON], rows["date"].tolist()[::HORIZON], strict=True)
    return {key: returns[HORIZON * place : HORIZON * (place + 1)] for place, key in enumerate(keys)}


def residuals_of(warehouse: Warehouse, tickers: Iterable[str], until: date) -> dict[str, Residuals]:
    """Of each ticker with a bar, of the bars up to a day."""
    return {ticker: Residuals.of(history) for ticker, history in histories_of(warehouse, tickers, until).items()}


def histories_of(warehouse: Warehouse, tickers: Iterable[str], until: date) -> Mapping[str, Any]:
    """The `History` of each ticker with a bar, from its first one up to a day.

    Raises:
        StockcastError: if the warehouse is a past day's world, in which a ticker had no bar, or not all of them.
    """
    wanted = list(tickers)
    if not wanted:
        return {}
    if isinstance(warehouse, AsKnown):
        own = list(bars_as_known(warehouse, wanted, until).values())
    else:
        bars = with_total_return(read_bars(warehouse, wanted, until))
        own = [part.reset_index(drop=True) for _, part in bars.groupby("ticker", sort=True)]
    return {one.ticker: one for one in prepare_many([Needed(part, 0, len(part)) for part in own])}
