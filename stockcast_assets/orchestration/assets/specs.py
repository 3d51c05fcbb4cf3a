"""The (ticker, day) keys a run was asked for, grouped the way the pure core wants them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from stockcast_assets.inputs import shortlist
from stockcast_assets.keys import DATE_DIMENSION, TICKER_DIMENSION, parse_daily_key, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.assets.metadata import show
from stockcast_assets.orchestration.assets.run_config import NOTHING, RunInput
from stockcast_assets.tables import Table
from stockcast_assets.warehouse import KeyedFrame, asset_metadata

IDENTITY = dg.IdentityPartitionMapping()
SINGLE_RUN = dg.BackfillPolicy.single_run()

Decorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def days_by_ticker(keys: Iterable[str]) -> dict[str, list[pd.Timestamp]]:
    """`2024-05-31|AAPL`, … → {"AAPL": [2024-05-31, …]}, tickers and days sorted.

    Raises:
        NotAKey: if one is no key, or has no day.
    """
    grouped: dict[str, list[pd.Timestamp]] = defaultdict(list)
    for key in keys:
        ticker, day = parse_daily_key(key)
        grouped[ticker].append(pd.Timestamp(day))
    return {ticker: sorted(grouped[ticker]) for ticker in sorted(grouped)}


def has_keys(context: dg.AssetCheckExecutionContext) -> bool:
    """Whether a check looks at the keys of a run; executed alone, it has none."""
    return bool(context.has_partition_key or context.has_partition_key_range)


def rows_of_keys(frame: pd.DataFrame, days: Mapping[str, list[pd.Timestamp]]) -> pd.DataFrame:
    """The rows whose (ticker, date) was asked for, in a fresh index."""
    asked = pd.MultiIndex.from_tuples([(ticker, day) for ticker in days for day in days[ticker]])
    present = pd.MultiIndex.from_frame(frame[["ticker", "date"]])
    return frame[present.isin(asked)].reset_index(drop=True)


def missing_days(frame: pd.DataFrame, days: Mapping[str, list[pd.Timestamp]]) -> dict[str, list[pd.Timestamp]]:
    """The days asked for that have no row, per ticker; tickers with none missing are left out."""
    present = {ticker: set(part["date"]) for ticker, part in frame.groupby("ticker")}
    missing = {ticker: [day for day in days[ticker] if day not in present.get(ticker, set())] for ticker in days}
    return {ticker: gaps for ticker, gaps in missing.items() if gaps}


def keyed(
    context: dg.AssetExecutionContext, frame: pd.DataFrame, reasons: Mapping[tuple[str, pd.Timestamp], str]
) -> KeyedFrame:
    """The rows of a run with the reason of every key that rightfully has none, which the key's page shows too."""
    empty = {partition_key(ticker, day): reason for (ticker, day), reason in reasons.items()}
    show(context, {key: {"no rows": reason} for key, reason in empty.items()})
    return KeyedFrame(frame, empty)


def shown_days(days: list[pd.Timestamp], most: int = 5) -> str:
    """A list of days for an error sentence, cut after `most`."""
    return shortlist([day.date() for day in days], most)


def same_ticker(date_mapping: dg.PartitionMapping) -> dg.MultiPartitionMapping:
    """Lineage between two ticker × time assets: the same ticker, and `date_mapping` along time."""
    return dg.MultiPartitionMapping(
        {
            TICKER_DIMENSION: dg.DimensionPartitionMapping(TICKER_DIMENSION, IDENTITY),
            DATE_DIMENSION: dg.DimensionPartitionMapping(DATE_DIMENSION, date_mapping),
        }
    )


def of_ticker() -> dg.MultiToSingleDimensionPartitionMapping:
    """Lineage from a ticker × time asset to one partitioned by ticker alone."""
    return dg.MultiToSingleDimensionPartitionMapping(TICKER_DIMENSION)


def of_period() -> dg.MultiToSingleDimensionPartitionMapping:
    """Lineage between a ticker × day (or month) asset and one partitioned by day (or month) alone."""
    return dg.MultiToSingleDimensionPartitionMapping(DATE_DIMENSION)


def of_all(asset: str) -> dg.AssetDep:
    """Lineage from every key of an asset to one of all tickers."""
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


def key_of(partitions_def: dg.PartitionsDefinition | None) -> str:
    """What a key is, as the value of `tags.KEY`."""
    if partitions_def is None:
        return "none"
    if isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return "month" if isinstance(partitions_def, dg.MonthlyPartitionsDefinition) else "day"
    if not isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return "ticker"
    times = partitions_def.time_window_dimension.partitions_def
    return "ticker-month" if isinstance(times, dg.MonthlyPartitionsDefinition) else "ticker-day"


def kinds(*extra: str) -> Mapping[str, Any]:
    """Keyword arguments every asset shares: the owner is the platform, the kinds show in the graph."""
    return {"kinds": {"python", *extra}, "owners": ["team:stockcast"]}


def table_asset(
    table: Table,
    group: str,
    partitions_def: dg.PartitionsDefinition,
    *extra_kinds: str,
    about: str = "",
    links: Mapping[str, str] | None = None,
    config: type[RunInput] | None = None,
    deps: Sequence[str | dg.AssetDep] = (),
    hooks: frozenset[dg.HookDefinition] = frozenset(),
    pool: str | None = None,
) -> Decorator:
    """`dg.asset` for an asset that is stored as a table: all that its declaration and its partitions say.

    Args:
        table: its declaration.
        group: its group.
        partitions_def: its partitions.
        extra_kinds: what it is made with, for the graph.
        about: what somebody who looks at it must know beyond the table's description (markdown).
        links: pages about the whole asset, by name.
        config: what a run may say to it; nothing if None.
        deps: what it reads by itself.
        hooks: what follows its step.
        pool: who writes it; those of its name if None.
    """
    expr: str | dict[str, str] = "ticker"
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        expr = {"ticker": "ticker", "date": "date"}
    elif isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        expr = "date"
    arguments: dict[str, Any] = {
        "name": table.name,
        "description": f"{table.description}\n{about}".strip(),
        "group_name": group,
        "partitions_def": partitions_def,
        "backfill_policy": SINGLE_RUN,
        "metadata": {
            **asset_metadata(table, expr),
            **{name: dg.MetadataValue.url(link) for name, link in (links or {}).items()},
        },
        "tags": {tags.KEY: key_of(partitions_def)},
        "pool": pool or table.name,
        "config_schema": NOTHING if config is None else config.schema_of_runs(),
        "deps": deps,
        "hooks": hooks,
        **kinds(*extra_kinds),
    }
    decorator: Decorator = dg.asset(**arguments)
    return decorator


def table_beside(
    table: Table, group: str, deps: Sequence[str], filled_by: Callable[..., Any], about: str
) -> dg.AssetSpec:
    """An asset that nobody makes: its table is filled in the transactions of others.

    Args:
        table: its declaration.
        group: its group.
        deps: the assets with whose rows its own are stored.
        filled_by: the function that makes its rows, for the link to its code.
        about: what somebody who looks at it must know beyond the table's description (markdown).
    """
    code = filled_by.__code__
    link = dg.LocalFileCodeReference(
        file_path=code.co_filename,
        line_number=code.co_firstlineno,
        label=f"orchestration/assets/{Path(code.co_filename).name}:{code.co_firstlineno}",
    )
    return dg.AssetSpec(
        table.name,
        description=f"{table.description}\n{about}",
        group_name=group,
        deps=list(deps),
        metadata={
            **asset_metadata(table, None),
            "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[link]),
        },
        tags={tags.KEY: key_of(None)},
        **kinds("sql"),
    )
