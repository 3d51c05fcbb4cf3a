"""What is kept of each ticker in Dagster's instance: a key space of our own beside the ticker partitions.

A record is a key of the dynamic partitions `KEY_SPACE`, which no asset has: kind, ticker and value as JSON. Every
storage of Dagster's keeps such keys, in one table with the ticker partitions, so that one query reads both, and a
record counts as long as it is younger than its ticker's partition. Whoever removes a ticker, also in Dagster's UI,
thereby ends all that was recorded of it; added again, it is new.

A record is replaced by adding the new one and then removing the old: whatever dies in between, the newest counts.
Of what the records of a past day tell, those of states are not removed, and each coming and going is one of its own.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import dagster as dg

from stockcast_assets.dagster_private.partition_rows import add_unless_there, partition_rows
from stockcast_assets.orchestration.fence import understood

TICKERS = "ticker"
"""The dynamic partitions that are the tickers."""

KEY_SPACE = "stockcast/tickers"

STATE, DAILY, SEEN, GONE, COMPANY = "state", "daily", "seen", "gone", "company"
"""Kinds of records: a person's word, the session a ticker was brought up to, where it stood among the others and since
when, since when it does no more, and what its source calls the company."""

_KEPT = (STATE,)
"""Kinds of which the newest record counts and earlier ones stay: they tell what was known before."""

_MOVED = "moved"
_CURSORS = {STATE: "stockcast/ticker/state/", DAILY: "stockcast/ticker/daily/"}


class Record(NamedTuple):
    """One thing that is kept of a ticker.

    Attributes:
        kind: what it is.
        ticker: of whom.
        value: whatever JSON can hold.
    """

    kind: str
    ticker: str
    value: Any

    def dump(self) -> str:
        """Its key."""
        return json.dumps(self, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def load(cls, key: str) -> "Record":
        """What `dump` made.

        Raises:
            Exception: if the key is of another form.
        """
        kind, ticker, value = json.loads(key)
        if not isinstance(kind, str) or not isinstance(ticker, str):
            raise ValueError("kind and ticker are texts")
        return cls(kind, ticker, value)


Places = Mapping[str, Sequence[int]]
"""Where each ticker stood among the others: one number for each time that it was added, ascending."""


@dataclass(frozen=True)
class TickerSpace:
    """The tickers and their records at one moment.

    Attributes:
        tickers: the partitions in insertion order, each with its place.
        records: with their places, ascending.
    """

    tickers: Mapping[str, int]
    records: Sequence[tuple[Record, int]]

    def values(self) -> dict[str, dict[str, Any]]:
        """What was recorded of each ticker since it was added, by kind."""
        found: dict[str, dict[str, Any]] = {ticker: {} for ticker in self.tickers}
        for record, at in self.records:
            if record.ticker in found and at > self.tickers[record.ticker]:
                found[record.ticker][record.kind] = record.value
        return found

    def added_again(self) -> set[str]:
        """The tickers that were there before, and removed in between."""
        return {record.ticker for record, at in self.records if at < self.tickers.get(record.ticker, 0)}

    def places(self) -> Places:
        """Of the tickers that are there and of those that were."""
        return places(record for record, _ in self.records)


def read(instance: dg.DagsterInstance) -> TickerSpace:
    """The tickers and what is recorded of them, in one query. Records of earlier releases are moved here first."""
    rows = partition_rows(instance, (TICKERS, KEY_SPACE))
    if not any(row.definition == KEY_SPACE for row in rows):
        _move(instance, [row.key for row in rows])
        rows = partition_rows(instance, (TICKERS, KEY_SPACE))
    return TickerSpace(
        {row.key: row.id for row in rows if row.definition == TICKERS},
        [(record, row.id) for row in rows if row.definition == KEY_SPACE for record in loaded([row.key])],
    )


def loaded(keys: Iterable[str]) -> Iterator[Record]:
    """The records that are understood."""
    for key in keys:
        record = understood(Record.load, key, "A record of a ticker")
        if record is not None:
            yield record


def _move(instance: dg.DagsterInstance, tickers: Sequence[str]) -> None:
    """Earlier releases kept the records among the cursors of Dagster's daemons. They stay there, for those releases."""
    old = {prefix + ticker: (kind, ticker) for ticker in tickers for kind, prefix in _CURSORS.items()}
    stored = instance.daemon_cursor_storage.get_cursor_values(set(old)) if old else {}
    moved = [Record(*old[name], _value(text)) for name, text in stored.items()]
    # Whoever opens the same home at the same moment moves the same.
    add_unless_there(instance, KEY_SPACE, [record.dump() for record in (*moved, Record(_MOVED, "", None))])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def put(instance: dg.DagsterInstance, records: Iterable[Record]) -> None:
    """Record these in place of what was recorded of the same kinds and tickers; earlier states stay."""
    new = {(record.kind, record.ticker): record.dump() for record in records}
    replaced = [
        old.dump()
        for old, _ in read(instance).records
        if (old.kind, old.ticker) in new and (old.kind not in _KEPT or old.dump() in new.values())
    ]
    again = set(replaced) & set(new.values())
    for key in again:
        # Of a former life, or before a later record: only what is added now is the newest.
        instance.delete_dynamic_partition(KEY_SPACE, key)
    instance.add_dynamic_partitions(KEY_SPACE, list(new.values()))
    for key in set(replaced) - again:
        instance.delete_dynamic_partition(KEY_SPACE, key)


def remember_companies(instance: dg.DagsterInstance, names: Mapping[str, str]) -> None:
    """Record what the companies of tickers are called; one query if nothing is new."""
    known = read(instance).values() if names else {}
    changed = {ticker: name for ticker, name in names.items() if known.get(ticker, {}).get(COMPANY) != name}
    if changed:
        put(instance, [Record(COMPANY, ticker, name) for ticker, name in changed.items()])


def enrol(instance: dg.DagsterInstance, now: datetime) -> None:
    """Note where each ticker stands, once, so that runs that name it as an end of their range outlive its removal; and
    which ones are there no more."""
    space = read(instance)
    new = [
        Record(SEEN, ticker, {"place": space.tickers[ticker], "since": now.isoformat()}).dump()
        for ticker, values in space.values().items()
        if SEEN not in values
    ]
    last = {record.ticker: record.kind for record, _ in space.records if record.kind in (SEEN, GONE)}
    new += [
        Record(GONE, ticker, {"since": now.isoformat()}).dump()
        for ticker, kind in last.items()
        if kind == SEEN and ticker not in space.tickers
    ]
    if new:
        instance.add_dynamic_partitions(KEY_SPACE, new)


def places(records: Iterable[Record]) -> Places:
    """The places that were noted."""
    found: dict[str, list[int]] = {}
    for record in records:
        if record.kind == SEEN and isinstance(record.value, dict) and isinstance(record.value.get("place"), int):
            found.setdefault(record.ticker, []).append(record.value["place"])
    return found


def between(tickers: Sequence[str], first: str, last: str, noted: Callable[[], Places]) -> list[str]:
    """The tickers from the first to the last, ends included, in order.

    Args:
        tickers: those that are there, in insertion order.
        first: begin of a range that was valid once; it may be gone by now, or stand at the end again.
        last: its end, of which the same is true.
        noted: where they stood; asked for only if the ends do not tell. Without it nothing is between them.
    """
    if first in tickers and last in tickers and tickers.index(first) <= tickers.index(last):
        return list(tickers[tickers.index(first) : tickers.index(last) + 1])
    stood = noted()
    spans = [(end, start) for start in stood.get(first, ()) for end in stood.get(last, ()) if start <= end]
    if not spans:
        return []
    end, start = max(spans)
    return [ticker for ticker in tickers if any(start <= place <= end for place in stood.get(ticker, ()))]
