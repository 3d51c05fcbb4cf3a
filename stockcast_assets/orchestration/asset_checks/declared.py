"""The asset checks: what is stored obeys its declaration, and holds what only the whole slice can show.

They read back what the run just wrote and block what is downstream.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from stockcast_assets.inputs import shortlist
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.earnings import ANNOUNCED, EXPECTED, FILED, HOURS
from stockcast_assets.orchestration.assets.specs import days_by_ticker, has_keys, rows_of_keys
from stockcast_assets.tables import (
    ALL_TABLES,
    EARNINGS_DATES,
    FORECASTS,
    MARKET_STATE,
    PRICE_HISTORY,
    QUANTILE_COLUMNS,
    SCENARIOS,
    TAIL_COLUMNS,
    TRAINED_MODEL,
    UNIVERSE_MODEL,
    Table,
)
from stockcast_assets.warehouse import Warehouse

_LOWEST, _HIGHEST = TAIL_COLUMNS

Rule = tuple[str, "Callable[[pd.DataFrame], Any]"]

# Rules that tie columns together; the bounds of single columns are in the declarations.
_ROW_RULES: dict[str, tuple[Rule, ...]] = {
    EARNINGS_DATES.name: (
        ("hour is none there is", lambda rows: ~rows["hour"].isin(HOURS)),
        ("kind is none there is", lambda rows: ~rows["kind"].isin((FILED, ANNOUNCED, EXPECTED))),
        ("a report came before its day", lambda rows: (rows["kind"] == FILED) & (rows["known_on"] < rows["date"])),
    ),
    MARKET_STATE.name: (
        (
            "n_members is not the number of members",
            lambda rows: rows["members"].str.count(" ") + 1 != rows["n_members"],
        ),
    ),
    FORECASTS.name: (
        (
            "quantiles cross",
            lambda rows: (np.diff(rows[[_LOWEST, *QUANTILE_COLUMNS, _HIGHEST]].to_numpy(), axis=1) < 0).any(axis=1),
        ),
        ("target_date is not after date", lambda rows: rows["target_date"] <= rows["date"]),
    ),
    SCENARIOS.name: (
        (
            "n_members is not the number of members",
            lambda rows: rows["members"].str.count(" ") + 1 != rows["n_members"],
        ),
    ),
    TRAINED_MODEL.name: (
        (
            "the training knew the month of use",
            lambda rows: (rows["trained_to"] >= rows["date"]) & rows["trigger"].isna(),
        ),
        (
            "the training knew the end of the month of use",
            lambda rows: rows["trained_to"] >= rows["date"] + pd.offsets.MonthEnd(0),
        ),
        (
            "one of universe_run_id and universe_sha256 lacks",
            lambda rows: rows["universe_run_id"].isna() != rows["universe_sha256"].isna(),
        ),
    ),
    UNIVERSE_MODEL.name: (
        ("the training knew the month of use", lambda rows: rows["trained_to"] >= rows["date"]),
        (
            "n_members is not the number of members",
            lambda rows: rows["members"].str.count(" ") + 1 != rows["n_members"],
        ),
    ),
}


MOST_KEYS = 10
"""Keys that a check names; their number says how many there are."""


def faults(table: Table, rows: "pd.DataFrame") -> list[str]:
    """What is wrong with rows of a table, one sentence per rule broken, with the keys that break it.

    Rules are the declaration's (required, bounds, primary key) and those between columns.
    """
    found = []

    def note(rule: str, broken: "pd.Series | np.ndarray") -> None:
        where = np.flatnonzero(np.asarray(broken, dtype=bool))
        if len(where):
            found.append(f"{rule} in {len(where)} rows: {_named(rows.iloc[where])}")

    for column in table.columns:
        values = rows[column.name]
        if column.required:
            note(f"{column.name} is null", values.isna())
        bounds: tuple[tuple[str, float | None, Callable[[Any, float], Any]], ...] = (
            ("not above", column.gt, lambda v, b: ~(v > b)),
            ("below", column.ge, lambda v, b: v < b),
            ("above", column.le, lambda v, b: v > b),
        )
        for words, bound, breaks in bounds:
            if bound is not None:
                note(f"{column.name} is {words} {bound:g}", values.notna() & breaks(values, bound))
    note(f"the key ({', '.join(table.primary_key)}) repeats", rows.duplicated(list(table.primary_key)))
    for words, rule in _ROW_RULES.get(table.name, ()):
        note(words, rule(rows))
    return found


def _named(rows: "pd.DataFrame") -> str:
    """The tickers and days of rows, each once; the first few."""
    columns = [rows[name].astype(str) for name in ("ticker", "date") if name in rows]
    return shortlist(list(dict.fromkeys(" ".join(key) for key in zip(*columns, strict=True))), MOST_KEYS)


def _stored_rows(context: dg.AssetCheckExecutionContext, warehouse: Warehouse, table: Table) -> "pd.DataFrame":
    """The rows of the run's keys, or the whole table if the check is executed alone."""
    if table is UNIVERSE_MODEL or not has_keys(context):
        return warehouse.read(table)
    if table in (MARKET_STATE, SCENARIOS):
        return warehouse.read(table, start=context.partition_keys[0], end=context.partition_keys[-1])
    if table in (PRICE_HISTORY, EARNINGS_DATES):
        return warehouse.read(table, tickers=list(context.partition_keys))
    days = days_by_ticker(context.partition_keys)
    first, last = min(d[0] for d in days.values()), max(d[-1] for d in days.values())
    return rows_of_keys(warehouse.read(table, tickers=list(days), start=first.date(), end=last.date()), days)


def fallbacks(rows: "pd.DataFrame") -> list[str]:
    """Why forecasts were not made by their month's model: once per ticker, month and reason."""
    return sorted(reason.rstrip(".") for reason in rows["fallback"].dropna().unique())


@dataclass(frozen=True)
class Check:
    """A check of a table's stored rows: `faults` finds what is wrong with them, a sentence each."""

    table: Table
    name: str
    description: str
    faults: "Callable[[pd.DataFrame], list[str]]"
    blocking: bool = True


CHECKS = (
    *(
        Check(
            table,
            "obeys_its_declaration",
            "Reads back what the run just wrote: no null where none may be, every value inside its bounds, no key "
            "twice, and the rules between columns (quantiles do not cross, no training knew its month of use). Red "
            "means that a stored row breaks the declaration; nothing downstream runs. Executed alone, it reads the "
            "whole table.",
            partial(faults, table),
        )
        for table in (*ALL_TABLES, SCENARIOS)
    ),
    Check(
        FORECASTS,
        "served_by_the_months_model",
        "The model that the month's row names made the forecasts: no file was damaged, no model is missing. Red means "
        "that an earlier champion or a baseline stepped in, so there is a forecast, under its own name; the key's "
        "metadata says why, and training the month again repairs it. Blocks nothing.",
        fallbacks,
        blocking=False,
    ),
)


def checked(rows: int) -> str:
    """What a check without a fault says: whether there was anything to check at all."""
    if not rows:
        return "Nothing was checked: no row is stored of these keys; their market was closed, or nothing came yet."
    return f"{rows} rows checked."


def _build(check: Check) -> dg.AssetChecksDefinition:
    # Without partitions of its own: it knows the run's keys anyway, and Dagster would plan it once per key.
    @dg.asset_check(
        asset=check.table.name,
        name=check.name,
        description=check.description,
        blocking=check.blocking,
        config_schema={},
    )
    def run(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
        rows = _stored_rows(context, warehouse, check.table)
        found = check.faults(rows)
        return dg.AssetCheckResult(
            passed=not found,
            description="; ".join(found) or checked(len(rows)),
            metadata={"rows": len(rows), "rules broken": len(found)},
        )

    return run


def build_checks() -> list[dg.AssetChecksDefinition]:
    """Every check, as Dagster runs it after its asset."""
    return [_build(check) for check in CHECKS]
