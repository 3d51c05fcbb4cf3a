"""Bringing the warehouse, Dagster and MLflow back together: what parted, in sentences, and what mends it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dagster as dg

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist
from stockcast_assets.keys import month_of, parse_key, ticker_of
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.assets.bars import stored_models
from stockcast_assets.orchestration.graph import ORDER
from stockcast_assets.orchestration.planning.launch import COMMAND, Launch
from stockcast_assets.orchestration.planning.planner import Attempt
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.orchestration.planning.restore import restoring
from stockcast_assets.orchestration.planning.world import at_work
from stockcast_assets.orchestration.stored import ROW_COUNTS, Stored, look
from stockcast_assets.tables import PRICE_HISTORY, TRAINED_MODEL, UNIVERSE_MODEL
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.warehouse import TableRef, Warehouse

TOLD_AT_START = 2_000
"""Keys that the start of a server reports to Dagster at most: some milliseconds each."""


@dataclass(frozen=True)
class Parted:
    """Where the warehouse, Dagster and MLflow part.

    Attributes:
        place: the warehouse.
        stored: what is there.
        tickers: the ticker partitions, in their order.
        strangers: tickers that have rows, where Dagster knows no ticker at all.
        left_behind: that the rows are all in the other warehouse, and what to do, in a sentence.
        at_work: the runs that are writing: of what they stored they will tell Dagster themselves.
    """

    place: str
    stored: Stored
    tickers: Sequence[str]
    strangers: Sequence[str] = ()
    left_behind: str | None = None
    at_work: Sequence[Attempt] = ()

    @property
    def lost(self) -> dict[str, list[str]]:
        """By asset, the lost keys of tickers that there are."""
        return _of(self.tickers, self.stored.lost)

    @property
    def untold(self) -> dict[str, list[str]]:
        """By asset, the keys of such tickers that have rows of which Dagster knows nothing, nor will by itself."""
        told = {(asset, ticker) for run in self.at_work for asset in run.assets for ticker in run.tickers}
        return _of(
            self.tickers,
            {
                asset: [key for key in self.stored.untold(asset) if (asset, ticker_of(key)) not in told]
                for asset in self.stored.rows
            },
        )

    @property
    def written(self) -> tuple[set[str], set[str]]:
        """The assets and the tickers of which something is to be made or told."""
        keys_of = [*self.lost.items(), *self.untold.items()]
        return {asset for asset, _ in keys_of}, {ticker_of(key) for _, keys in keys_of for key in keys}

    def loss(self) -> str | None:
        """What is lost and what to do, in a sentence; None if nothing is."""
        if self.left_behind is not None:
            return self.left_behind
        if not (lost := self.lost):
            return None
        return (
            f"{self.place} has lost rows that Dagster remembers ({_counted(lost)}): `stockcast reconcile` makes them "
            "again."
        )

    def sentences(self) -> list[str]:
        """What parted and what to do, a sentence each; none if all is in order."""
        told = []
        if self.strangers:
            told.append(
                f"{self.place} has rows of {shortlist(self.strangers)} and Dagster knows no ticker: `stockcast tickers "
                f"add {' '.join(self.strangers)}` goes on with them."
            )
        if loss := self.loss():
            told.append(loss)
        if untold := self.untold:
            told.append(
                f"Dagster does not know of rows in {self.place} ({_counted(untold)}): `stockcast reconcile` tells it."
            )
        return told


def left_behind(instance: dg.DagsterInstance, warehouse: Warehouse, other: Warehouse | None) -> str | None:
    """That the settings name another warehouse than the one that has this home's rows, and what to do, in a sentence;
    None if they do not. The other one is looked at only where nothing is in the first.

    Raises:
        StockcastError: if the warehouse cannot be read.
    """
    if other is None or warehouse.stored(TableRef(warehouse.schema, PRICE_HISTORY.name)) is not None:
        return None
    if not instance.get_materialized_partitions(dg.AssetKey(PRICE_HISTORY.name)):
        return None
    with suppress(StockcastError):
        if other.stored(TableRef(other.schema, PRICE_HISTORY.name)) is not None:
            return (
                f"{warehouse.place} is empty, and this home's rows are in {other.place}: `stockcast warehouse copy "
                f"--from {other.kind} --to {warehouse.kind}` brings them; a new beginning needs another STOCKCAST_HOME."
            )
    return None


def survey(
    instance: dg.DagsterInstance, warehouse: Warehouse, other: Warehouse | None = None, in_turn: bool = False
) -> Parted:
    """Compare them: a query per table.

    Args:
        instance: what Dagster remembers.
        warehouse: what is there.
        other: where the rows may have been before.
        in_turn: that nobody else writes, because the caller has the turn: a run that seems to is dead.

    Raises:
        StockcastError: if the warehouse cannot be read.
    """
    stored, tickers = look(instance, warehouse), known_tickers(instance)
    with_rows = {parse_key(key).ticker for keys in stored.rows.values() for key in keys} if not tickers else ()
    runs = [] if in_turn or not any(map(stored.untold, stored.rows)) else at_work(instance)
    return Parted(warehouse.place, stored, tickers, sorted(with_rows), left_behind(instance, warehouse, other), runs)


def tell_dagster(instance: dg.DagsterInstance, parted: Parted, most: int | None = None) -> int:
    """Report the rows that Dagster does not know of, so that its pages show their keys; returns how many keys.

    Nothing is reported if there are more than `most`.
    """
    untold = parted.untold
    count = sum(map(len, untold.values()))
    if most is not None and count > most:
        return 0
    for asset in filter(untold.__contains__, ORDER):
        for key in untold[asset]:
            rows = parted.stored.rows[asset][key]
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    asset,
                    partition=key,
                    description="These rows were in the warehouse and Dagster did not know of them.",
                    metadata=dict.fromkeys(ROW_COUNTS, rows),
                )
            )
    return count


def next_restoring(parted: Parted) -> list[Launch]:
    """The runs that bring back what comes first of the lost rows of each ticker; none if nothing is lost."""
    needs = restoring(parted.stored.lost, list(parted.tickers))
    groups: dict[tuple[object, ...], list[Launch]] = {}
    for launches in needs.values():
        for launch in launches:
            groups.setdefault((launch.assets, launch.first, launch.last), []).append(launch)
    return [
        Launch(same[0].assets, tuple(launch.tickers[0] for launch in same), same[0].first, same[0].last, COMMAND)
        for same in groups.values()
    ]


def unreadable_models(warehouse: Warehouse, registry: ModelRegistry, tickers: Sequence[str]) -> dict[str, pd.Timestamp]:
    """The tickers whose newest model cannot be read as its row states it, with the month to train again.

    Raises:
        StockcastError: if MLflow does not answer, or the warehouse cannot be read.
    """
    lost = {_universe_of(row) for row in unreadable_networks(warehouse, registry, tickers)}
    return {
        row["ticker"]: pd.Timestamp(month_of(row["date"]))
        for row in _newest(warehouse, tickers)
        if _universe_of(row) in lost or not registry.has(row["run_id"], row["weights_sha256"])
    }


def unreadable_networks(
    warehouse: Warehouse, registry: ModelRegistry, tickers: Sequence[str]
) -> list[Mapping[Any, Any]]:
    """The newest models whose shared networks cannot be read, one row for each of these.

    Raises:
        StockcastError: if MLflow does not answer, or the warehouse cannot be read.
    """
    named = {_universe_of(row): row for row in _newest(warehouse, tickers) if _universe_of(row) is not None}
    return [row for networks, row in named.items() if networks is not None and not registry.has(*networks)]


def _newest(warehouse: Warehouse, tickers: Sequence[str]) -> list[Mapping[Any, Any]]:
    rows = stored_models(warehouse, tickers, pd.Timestamp.max)
    return list(rows.sort_values(["trained_to", "date"]).groupby("ticker").tail(1).to_dict("records"))


def _universe_of(row: Mapping[Any, Any]) -> tuple[str, str] | None:
    """Run and digest of the networks that a model serves with."""
    run_id = row["universe_run_id"]
    return None if pd.isna(run_id) else (run_id, row["universe_sha256"])


def training_networks(rows: Sequence[Mapping[Any, Any]]) -> list[Launch]:
    """The runs that train the networks of these models again: by the same bars they get the same file in its place."""
    months = sorted({month_of(row["date"]) for row in rows})
    return [Launch((UNIVERSE_MODEL.name,), (), month, month) for month in months]


def training(months: Mapping[str, pd.Timestamp]) -> list[Launch]:
    """The runs that train these again."""
    tickers_of: dict[pd.Timestamp, list[str]] = {}
    for ticker, month in months.items():
        tickers_of.setdefault(month, []).append(ticker)
    return [
        Launch((TRAINED_MODEL.name,), tuple(tickers), month.date(), month.date())
        for month, tickers in sorted(tickers_of.items())
    ]


def _of(tickers: Collection[str], keys_of: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    there = set(tickers)
    found = {asset: sorted(key for key in keys if ticker_of(key) in there) for asset, keys in keys_of.items()}
    return {asset: keys for asset, keys in found.items() if keys}


def _counted(keys_of: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{asset}: {len(keys):,} {'key' if len(keys) == 1 else 'keys'}" for asset, keys in keys_of.items())
