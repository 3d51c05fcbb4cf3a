"""What is there of each asset: the rows of the warehouse beside what Dagster remembers. The one place that compares.

Dagster remembers each key that was materialised, and with it how many rows; the warehouse has the rows. They part
when a warehouse is exchanged, restored or cut, and when runs are deleted. A key is *there* if it has its rows, or if
nothing says that it ever had any: its market was closed, or its own event says that it rightfully has none, or somebody
reported it by hand. It is *lost* if its event says that there were rows. It is *untold* if it has rows of which Dagster
knows nothing.

One query per table, and one look at the events of the keys that nothing else explains: a handful in a sound home.

A run stores its rows before it records them, so the rows are asked for first: of what it does meanwhile, the record is
seen at most. A key whose rows are fewer than its record says is counted again then, and lost only if nothing moved.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import dagster as dg

from stockcast_assets.keys import NotAKey, days_of, parse_key, partition_key, ticker_of
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.graph import KEY_OF, ORDER
from stockcast_assets.tables import ALL_TABLES, FORECASTS, HORIZON, UNIVERSE_MODEL, Table
from stockcast_assets.warehouse import Warehouse

_TABLES: Mapping[str, Table] = {table.name: table for table in ALL_TABLES}
_WHOLE = {FORECASTS.name: HORIZON}
"""Rows that a key has, where that is known without asking."""

ROW_COUNTS = ("dagster/partition_row_count", "dagster/row_count")
"""Metadata of a materialisation: how many rows its key has, the most exact first."""

_ASKED_AT_ONCE = 500
_MOST_ASKED = 2_000
"""Unexplained keys of an asset up to which each is looked up; of more, some tell of all."""

_SAMPLE = 100


@dataclass(frozen=True)
class Stored:
    """What is there of some assets.

    Attributes:
        rows: by asset, the keys that have all of their rows, with how many.
        remembered: by asset, the keys that Dagster says were materialised.
        lost: by asset, the remembered keys whose rows are gone, with the run (or event) that knew of them.
    """

    rows: Mapping[str, Mapping[str, int]]
    remembered: Mapping[str, Collection[str]]
    lost: Mapping[str, Mapping[str, str]]

    def known(self, asset: str) -> set[str]:
        """The keys that were made once: whatever is not among them has never been there."""
        return {*self.rows[asset], *self.remembered[asset]}

    def there(self, asset: str) -> set[str]:
        """The keys that need not be made."""
        return self.known(asset) - self.lost[asset].keys()

    def untold(self, asset: str) -> set[str]:
        """The keys that have rows of which Dagster knows nothing."""
        return self.rows[asset].keys() - set(self.remembered[asset])

    def lost_days(self, asset: str) -> dict[str, list[date]]:
        """The days of each ticker whose rows are lost, ascending, of an asset with a key a day."""
        return days_of(self.lost[asset], set(map(ticker_of, self.lost[asset])))


def look(
    instance: dg.DagsterInstance,
    warehouse: Warehouse,
    assets: Iterable[str] = ORDER,
    tickers: Collection[str] | None = None,
) -> Stored:
    """What is there of the assets, for some tickers or all.

    Raises:
        StockcastError: if the warehouse cannot be read.
    """
    wanted = list(assets)
    rows, remembered, lost = {}, {}, {}
    for asset in wanted:
        counts = _counts(warehouse, _TABLES[asset], tickers)
        keys = instance.get_materialized_partitions(dg.AssetKey(asset))
        remembered[asset] = keys if tickers is None else {key for key in keys if ticker_of(key) in tickers}
        lost[asset] = _lost(instance, asset, remembered[asset], counts)
        if lost[asset]:
            before, counts = counts, _counts(warehouse, _TABLES[asset], tickers)
            lost[asset] = {key: run for key, run in lost[asset].items() if counts.get(key) == before.get(key)}
        rows[asset] = {key: count for key, count in counts.items() if count >= _WHOLE.get(asset, 1)}
    return Stored(rows, remembered, lost)


def trained_months(instance: dg.DagsterInstance, warehouse: Warehouse) -> set[pd.Timestamp]:
    """The months of use whose shared networks were trained, or found impossible.

    Raises:
        StockcastError: if the warehouse cannot be read.
    """
    remembered = instance.get_materialized_partitions(dg.AssetKey(UNIVERSE_MODEL.name))
    stored = warehouse.count_rows(UNIVERSE_MODEL, ["date"]).column("date").to_pylist()
    return {pd.Timestamp(month) for month in [*remembered, *stored]}


def _counts(warehouse: Warehouse, table: Table, tickers: Collection[str] | None) -> dict[str, int]:
    """How many rows each key of a table has."""
    by_ticker = KEY_OF[table.name] == "ticker"
    names = ["ticker"] if by_ticker else ["ticker", "date"]
    counted = warehouse.count_rows(table, names, None if tickers is None else sorted(tickers))
    of, times = counted.column("ticker").to_pylist(), counted.column("rows").to_pylist()
    if by_ticker:
        return dict(zip(of, times, strict=True))
    days = counted.column("date").to_pylist()
    return {partition_key(ticker, day): count for day, ticker, count in zip(days, of, times, strict=True)}


def _lost(
    instance: dg.DagsterInstance, asset: str, remembered: Collection[str], counts: Mapping[str, int]
) -> dict[str, str]:
    doubtful = sorted(_unexplained(asset, remembered, counts))
    if len(doubtful) <= _MOST_ASKED:
        events = _events(instance, asset, doubtful)
        return {key: run for key in doubtful if (run := _had_more(events.get(key), counts.get(key, 0)))}
    asked = [*doubtful[:_SAMPLE], *doubtful[-_SAMPLE:]]
    events = _events(instance, asset, asked)
    runs = [run for key in asked if (run := _had_more(events.get(key), counts.get(key, 0)))]
    return dict.fromkeys(doubtful, runs[-1]) if runs else {}


def _unexplained(asset: str, remembered: Collection[str], counts: Mapping[str, int]) -> Iterator[str]:
    """The remembered keys that have fewer rows than they may have had, unless their market was closed."""
    # A ticker's past is one key of any number of rows.
    whole = math.inf if KEY_OF[asset] == "ticker" else _WHOLE.get(asset, 1)
    short = {}
    for text in remembered:
        if counts.get(text, 0) < whole:
            with suppress(NotAKey):
                short[text] = parse_key(text)
    if KEY_OF[asset] != "ticker-day":
        yield from short
        return
    days = [key.day for key in short.values() if key.day is not None]
    open_on: dict[str, set[date]] = {}
    for text, key in short.items():
        calendar = calendars.calendar_for(key.ticker)
        if calendar not in open_on:
            open_on[calendar] = {day.date() for day in calendars.sessions(calendar, min(days), max(days))}
        if key.day in open_on[calendar]:
            yield text


def _events(instance: dg.DagsterInstance, asset: str, keys: Sequence[str]) -> dict[str, dg.EventLogRecord]:
    """The newest materialisation of each key."""
    found: dict[str, dg.EventLogRecord] = {}
    for start in range(0, len(keys), _ASKED_AT_ONCE):
        part = keys[start : start + _ASKED_AT_ONCE]
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=part)
        cursor, more = None, True
        while more and not found.keys() >= set(part):
            answer = instance.fetch_materializations(wanted, limit=1_000, cursor=cursor)
            for record in answer.records:
                found.setdefault(str(record.partition_key), record)
            cursor, more = answer.cursor, answer.has_more
    return found


def _had_more(event: dg.EventLogRecord | None, rows: int) -> str | None:
    """The run that stored more rows of a key than there are, or the report of no run; None if none says so."""
    if event is None or event.asset_materialization is None:
        return None
    metadata = event.asset_materialization.metadata
    told = next((metadata[name].value for name in ROW_COUNTS if name in metadata), None)
    if not isinstance(told, int) or told <= rows:
        return None
    return event.run_id or f"event-{event.storage_id}"
