"""Is every ticker's newest row there, and every row before it? Two checks per table, asked by a sensor, too.

Dagster's own freshness checks and policies look at when an asset was last materialised, as a whole. Here an asset is
fresh while 499 of 500 tickers are, and nothing is expected on a ticker's holidays. So the stored rows are compared with
each ticker's own sessions, and one evaluation names the tickers that lack some.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.inputs import shortlist
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.orchestration.planning.world import Universe
from stockcast_assets.orchestration.stored import Stored, look
from stockcast_assets.orchestration.tickers import TickerState, ticker_states
from stockcast_assets.tables import FORECASTS, INDICATORS, RAW_PRICES, Table
from stockcast_assets.warehouse import Warehouse

TABLES = (RAW_PRICES, INDICATORS, FORECASTS)
"""Tables with a row for each session of a ticker. The others rightfully have none on some."""

LATENESS = timedelta(hours=6)
"""How long after a day is due its rows may still be missing: three of the four first waits for a late source."""

FRESH, COMPLETE = "fresh", "keys_complete"
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """What one check of one table found: a sentence per ticker at fault, and how many tickers were looked at."""

    table: Table
    check: str
    faults: Mapping[str, str]
    tickers: int

    @property
    def words(self) -> str:
        if not self.tickers:
            return "No ticker was watched: none is active and brought up yet."
        if not self.faults:
            return f"{self.tickers} tickers, all in order."
        shown = "; ".join(list(self.faults.values())[:_SHOWN])
        more = f"; and {len(self.faults) - _SHOWN} more" if len(self.faults) > _SHOWN else ""
        return f"{len(self.faults)} of {self.tickers} tickers: {shown}{more}."

    @property
    def metadata(self) -> dict[str, Any]:
        """Of the check's result."""
        return {
            "tickers": dg.MetadataValue.json(dict(self.faults)),
            "tickers watched": self.tickers,
            "tickers at fault": len(self.faults),
        }


def stale(rows: "pd.DataFrame", states: Mapping[str, TickerState], expected_until: "pd.Timestamp") -> dict[str, str]:
    """The tickers whose newest row is older than their last session up to `expected_until`, with a sentence each.

    Args:
        rows: ticker and date of the stored rows.
        states: of the tickers to look at; only active ones that were brought up count, and none that is uploaded.
        expected_until: the newest day of which rows may be asked for.
    """
    newest = rows.groupby("ticker")["date"].max()
    found = {}
    for ticker, state in states.items():
        if state.state != "active" or state.daily_from is None or state.uploaded:
            continue
        expected = calendars.last_expected_session(ticker, expected_until)
        last = newest.get(ticker)
        if last is None:
            found[ticker] = f"{ticker} has no row at all"
        elif last < expected:
            found[ticker] = f"{ticker} ends on {last:%Y-%m-%d} and should reach {expected:%Y-%m-%d}"
    return found


def gaps(rows: "pd.DataFrame", states: Mapping[str, TickerState], from_bring_up: bool) -> dict[str, str]:
    """The tickers that have no row for a session between their first and their newest, with a sentence each.

    Args:
        rows: ticker and date of the stored rows, duplicates allowed.
        states: as in `stale`.
        from_bring_up: whether only the sessions from the ticker's bring-up on count, since single older ones may have
            been asked for by hand.
    """
    days_of = {ticker: pd.DatetimeIndex(part.unique()) for ticker, part in rows.groupby("ticker")["date"]}
    found = {}
    for ticker, state in states.items():
        days = days_of.get(ticker)
        if state.state != "active" or state.daily_from is None or days is None:
            continue
        first = pd.Timestamp(state.daily_from) if from_bring_up else days.min()
        missing = calendars.expected_sessions(ticker, first, days.max()).difference(days)
        if len(missing):
            found[ticker] = f"{ticker} has no row for {shortlist([day.date() for day in missing], _SHOWN)}"
    return found


def findings(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    universe: Universe,
    now: "pd.Timestamp",
    tables: Sequence[Table] = TABLES,
) -> list[Finding]:
    """Both checks of the tables for every active ticker, with one read of two columns per table."""
    states = ticker_states(instance, known_tickers(instance))
    watched = {ticker: state for ticker, state in states.items() if state.state == "active" and state.daily_from}
    days = universe.days(now - LATENESS)
    found = []
    stored = look(instance, warehouse, [table.name for table in tables], watched.keys())
    for table in tables:
        rows = warehouse.read(table, tickers=list(watched), start=universe.first_daily_key, columns=["ticker", "date"])
        late = stale(rows, watched, pd.Timestamp(days[-1])) if days else {}
        lacking = gaps(rows, watched, from_bring_up=table is not RAW_PRICES) | _lost(stored, table, watched)
        found.append(Finding(table, FRESH, late, len(watched)))
        found.append(Finding(table, COMPLETE, lacking, len(watched)))
    return found


def _lost(stored: Stored, table: Table, watched: Collection[str]) -> dict[str, str]:
    """The tickers that have lost rows which Dagster remembers, with a sentence each."""
    found = {}
    for ticker, days in stored.lost_days(table.name).items():
        if ticker in watched:
            found[ticker] = f"{ticker} has lost its rows of {shortlist(days, _SHOWN)}"
    return found


_ABOUT_FRESH = (
    "Every active ticker's newest row is its calendar's last finished session. Red names the tickers that are late: "
    "look at the last runs of daily_forecast and at the source. Evaluated after each run, and every hour by the sensor "
    "freshness, so that it turns red even when no run starts at all."
)
_ABOUT_COMPLETE = (
    "Every session between a ticker's first daily key and its newest row has a row, and no row that Dagster remembers "
    "is lost. Red names the days: `stockcast reconcile` makes lost rows again, `stockcast backfill --missing-only` "
    "fills what never was."
)


def build_freshness_checks(universe: Universe) -> list[dg.AssetChecksDefinition]:
    """The checks, as Dagster runs them after their assets or on request; they block nothing."""
    return [_build(table, universe) for table in TABLES]


def _build(table: Table, universe: Universe) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"{table.name}_in_time",
        specs=[
            dg.AssetCheckSpec(FRESH, asset=table.name, description=_ABOUT_FRESH),
            dg.AssetCheckSpec(COMPLETE, asset=table.name, description=_ABOUT_COMPLETE),
        ],
        config_schema={},
    )
    def run(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        for finding in findings(warehouse, context.instance, universe, utc_now(), [table]):
            yield dg.AssetCheckResult(
                asset_key=table.name,
                check_name=finding.check,
                passed=not finding.faults,
                description=finding.words,
                metadata=finding.metadata,
            )

    return run
