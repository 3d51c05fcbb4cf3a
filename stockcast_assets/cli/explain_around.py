"""What a forecast by a universe's model saw beside its ticker's bars: the networks, the market, the reports."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any

import dagster as dg

from stockcast_assets.cli.tables import Row, plain
from stockcast_assets.forecasting.universe import earnings
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.keys import NotAKey, key_day
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.earnings import known
from stockcast_assets.orchestration.assets.bars import stored_networks
from stockcast_assets.tables import EARNINGS_DATES, MARKET_STATE
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.warehouse import Warehouse

_NEAR = 60
"""Days before and after the forecast of which statements are shown: reports in reach, and a little more."""


def around(model: UniverseForecaster, day: date, warehouse: Warehouse, registry: ModelRegistry) -> Row:
    """What stands behind a forecast of the model as of the day, beside its ticker's bars."""
    return {
        "universe_model": _networks(model, warehouse, registry),
        "market_state": _market(day, warehouse),
        "earnings_dates": _reports(model.ticker, day, warehouse),
    }


def _networks(model: UniverseForecaster, warehouse: Warehouse, registry: ModelRegistry) -> Row:
    of = model.universe
    row: Mapping[Any, Any] = next(
        (row for row in stored_networks(warehouse).values() if row["run_id"] == of.run_id), {}
    )
    return {
        "mlflow_run_id": of.run_id,
        "mlflow_link": registry.run_link(of.run_id),
        "sha256": of.sha256,
        "verified": registry.has(of.run_id, of.sha256),
        "month_of_use": plain(row.get("date")),
        "version": plain(row.get("model_version")),
        "members": str(row.get("members", "")).split(),
        "trained_to": plain(row.get("trained_to")),
        "reason": plain(row.get("reason")),
    }


def _market(day: date, warehouse: Warehouse) -> Row:
    """The recorded day that the forecast saw, the last one up to its own."""
    states = warehouse.read(MARKET_STATE, end=day, columns=["date", "log_variance", "mean_return", "members"])
    if states.empty:
        return {"days": 0, "day": None, "log_variance": None, "mean_return": None, "members": []}
    newest = states.iloc[-1]
    return {
        "days": len(states),
        "day": plain(newest["date"]),
        "log_variance": plain(newest["log_variance"]),
        "mean_return": plain(newest["mean_return"]),
        "members": newest["members"].split(),
    }


def _reports(ticker: str, day: date, warehouse: Warehouse) -> Row:
    """The statements that held on the day, and the weekdays from the nearest report to each session ahead."""
    rows = warehouse.read(EARNINGS_DATES, tickers=[ticker])
    held = known(rows, day)
    near = held[(held["date"] - pd.Timestamp(day)).abs() <= pd.Timedelta(days=_NEAR)]
    of = earnings.reports_of(rows).get(ticker, earnings.Reports.none())
    offsets = earnings.plain(earnings.offsets(np.array([day], "datetime64[D]"), of))[0]
    return {
        "known": len(held),
        "statements": [
            {name: plain(row[name]) for name in ("date", "hour", "kind", "known_on", "source")}
            for row in near.to_dict("records")
        ],
        "weekdays_from_the_nearest": [int(each) if abs(each) < earnings.FAR else None for each in offsets],
    }


def words(seen: Row) -> list[list[object]]:
    """The same as rows of the table that `explain` prints."""
    networks, market, reports = seen["universe_model"], seen["market_state"], seen["earnings_dates"]
    verdict = "verified against the stored file" if networks["verified"] else "NOT the stored file's"
    told = [
        f"{each['date']} ({each['kind']}, {each['hour']}, known on {each['known_on']})"
        for each in reports["statements"]
    ]
    offsets = reports["weekdays_from_the_nearest"]
    near = ", ".join("–" if each is None else f"{each:+d}" for each in offsets)
    return [
        [
            "networks",
            f"universe_model of {networks['month_of_use'] or 'a month that has no row'}, {len(networks['members'])} "
            f"members, MLflow run {networks['mlflow_run_id']}, SHA-256 {networks['sha256']}, {verdict}",
        ],
        ["market", f"market_state of {market['day']} and {market['days'] - 1} days before, members {_named(market)}"],
        [
            "reports",
            f"{reports['known']} known on the day; near it: {'; '.join(told) or 'none'}. Weekdays from the nearest "
            f"known or expected one to each session ahead: {near}",
        ],
    ]


def _named(market: Row) -> str:
    names = market["members"]
    return f"{len(names)}: {' '.join(names[:8])}{' …' if len(names) > 8 else ''}"


def market_made_again(since: pd.Timestamp, day: date, instance: dg.DagsterInstance) -> list[date]:
    """The market's days up to a day whose keys were made after a moment, ascending."""
    later = dg.AssetRecordsFilter(dg.AssetKey(MARKET_STATE.name), after_timestamp=since.timestamp())
    keys = {str(record.partition_key) for record in instance.fetch_materializations(later, limit=1_000).records}
    found = []
    for key in keys:
        with suppress(NotAKey):
            found.append(key_day(key))
    return sorted(one for one in found if one <= day)


def later_statements(ticker: str, since: pd.Timestamp, day: date, warehouse: Warehouse) -> int:
    """How many statements on reports that the day knew were recorded after a moment."""
    rows = warehouse.read(EARNINGS_DATES, tickers=[ticker])
    return int(((rows["recorded_at"] > since) & (rows["known_on"] <= pd.Timestamp(day))).sum())
