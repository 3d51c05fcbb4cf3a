"""What the Dagster UI shows of each key: its numbers, which Dagster plots over the keys, links and pictures.

Metadata of a run is repeated with every key of it, so what is long goes on one key, and what all share nowhere.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import quote, urlencode

import dagster as dg

from stockcast_assets.charts.png import markdown_image
from stockcast_assets.dagster_private.key_metadata import add_key_metadata
from stockcast_assets.dagster_private.reads import function_of
from stockcast_assets.keys import partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.ticker_space import TICKERS

PACKAGE = Path(__file__).parents[2]

MOST_CHARTS = 20
"""Tickers of a run that get a picture: it is 45 KB of the event log and 0.1 s of drawing."""

MOST_PLOTTED = 10
"""Up to so many tickers, each has plots of its own: one page has them all."""

Result = TypeVar("Result")
Given = ParamSpec("Given")


def show(context: dg.AssetExecutionContext, by_key: Mapping[str, Mapping[str, Any]]) -> None:
    """Put metadata on the materialisations of keys, on top of what earlier calls put there."""
    add_key_metadata(context, by_key)


def timed(
    compute: Callable[Concatenate[dg.AssetExecutionContext, Given], Result],
) -> Callable[Concatenate[dg.AssetExecutionContext, Given], Result]:
    """The computation of an asset, with its seconds per key on every materialisation, so that a plot shows it."""

    @wraps(compute)
    def run(context: dg.AssetExecutionContext, *arguments: Given.args, **resources: Given.kwargs) -> Result:
        started = time.monotonic()
        result = compute(context, *arguments, **resources)
        keys = context.partition_keys if context.assets_def.partitions_def is not None else []
        taken = {"seconds per key": round((time.monotonic() - started) / max(1, len(keys)), 4)}
        if keys:
            # After what the asset says of each key: an output's metadata would stand before it on the key's page.
            show(context, dict.fromkeys(keys, taken))
        else:
            context.add_output_metadata(taken)
        return result

    # Dagster looks at the types of context and configuration, not at their names.
    run.__signature__ = inspect.signature(compute, eval_str=True)  # type: ignore[attr-defined]
    return cast(Callable[Concatenate[dg.AssetExecutionContext, Given], Result], run)


def with_code_link(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """The asset with a link to its function in the editor.

    `dg.with_source_code_references` would show the file of a decorator such as `timed`. The label is the path inside
    the package, which says where to look even where the file is on another machine, as in a container.
    """
    compute = inspect.unwrap(function_of(asset))
    code = compute.__code__
    label = f"{Path(code.co_filename).relative_to(PACKAGE).as_posix()}:{code.co_firstlineno}"
    link = dg.LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno, label=label)
    references = dg.CodeReferencesMetadataValue(code_references=[link])
    return asset.map_asset_specs(lambda spec: spec.merge_attributes(metadata={"dagster/code_references": references}))


def plot_names(context: dg.AssetExecutionContext) -> Callable[[str, str], str]:
    """What a number of a ticker is called.

    Dagster plots the numbers of one name of all keys in one line, which would go up and down between the tickers. So
    up to `MOST_PLOTTED` tickers their names are in it.
    """
    if len(context.instance.get_dynamic_partitions(TICKERS)) > MOST_PLOTTED:
        return lambda ticker, label: label
    return lambda ticker, label: f"{ticker}: {label}"


def number(value: Any) -> dg.MetadataValue:
    """A number with as many digits as somebody reads."""
    return dg.MetadataValue.float(float(f"{float(value):.7g}"))


def show_days(
    context: dg.AssetExecutionContext,
    rows: pd.DataFrame,
    labels: Mapping[str, str],
    said: Callable[[Any], Mapping[str, Any]] = lambda row: {},
    chart: Callable[[str, pd.Timestamp], dg.MetadataValue] | None = None,
) -> None:
    """Show what each (ticker, date) of a run is about: its numbers, then words and links, then a picture.

    Args:
        context: the run.
        rows: one row per (ticker, date): `ticker`, `date` and the columns of numbers; nulls are left out.
        labels: what each column of numbers is called.
        said: the words and links of a row, a named tuple of its columns.
        chart: the picture of a ticker on a day, drawn of the newest day of each of the first `MOST_CHARTS` tickers.
    """
    plot = plot_names(context)
    shown: dict[str, dict[str, Any]] = {}
    each: Iterable[Any] = rows.itertuples(index=False)
    for row in each:
        found = {plot(row.ticker, label): getattr(row, column) for column, label in labels.items()}
        plotted = {name: number(value) for name, value in found.items() if pd.notna(value)}
        shown[partition_key(row.ticker, row.date)] = {**plotted, **said(row)}
    if chart is not None:
        for ticker, day in rows.groupby("ticker")["date"].max().head(MOST_CHARTS).items():
            shown[partition_key(str(ticker), day)]["chart"] = chart(str(ticker), day)
    show(context, shown)


def picture(png: bytes, alt: str) -> dg.MetadataValue:
    """A PNG inside the metadata itself."""
    return dg.MetadataValue.md(markdown_image(png, alt))


def forecast_page(dashboard: str, ticker: str, day: pd.Timestamp) -> dg.MetadataValue:
    """The dashboard's page of a forecast."""
    return dg.MetadataValue.url(f"{dashboard}/forecasts?{urlencode({'ticker': ticker, 'date': f'{day:%Y-%m-%d}'})}")


def report_page(dashboard: str, ticker: str, day: pd.Timestamp) -> dg.MetadataValue:
    """Evidently's report of a day, which the dashboard serves."""
    return dg.MetadataValue.url(f"{dashboard}/reports/{quote(ticker, safe='')}/{day:%Y-%m-%d}")


def page(link: str) -> dg.MetadataValue:
    """A link where it is the address of a page, else a text that can be copied."""
    return dg.MetadataValue.url(link) if link.startswith("http") else dg.MetadataValue.text(link)
