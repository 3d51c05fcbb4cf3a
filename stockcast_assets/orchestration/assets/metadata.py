"""What the Dagster UI shows of each key: its numbers, which Dagster plots over the keys, links and pictures.

Metadata of a run is repeated with every key of it, so what is long goes on one key, and what all share nowhere.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
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

PACKAGE = Path(__file__).parents[2]

MOST_CHARTS = 20
"""Tickers of a run that get a picture: it is 45 KB of the event log and 0.1 s of drawing."""

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
        keys = len(context.partition_keys) if context.assets_def.partitions_def is not None else 1
        seconds = (time.monotonic() - started) / max(1, keys)
        context.add_output_metadata({"seconds per key": round(seconds, 4)})
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


def number(value: Any) -> dg.MetadataValue:
    """A number with as many digits as somebody reads."""
    return dg.MetadataValue.float(float(f"{float(value):.7g}"))


def numbers(rows: pd.DataFrame, labels: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Columns of a frame with one row per (ticker, date) as numbers of its keys; nulls are left out.

    Args:
        rows: `ticker`, `date` and the columns.
        labels: what each column is called in the UI.
    """
    keys = [partition_key(ticker, day) for ticker, day in zip(rows["ticker"], rows["date"], strict=True)]
    shown: dict[str, dict[str, Any]] = {key: {} for key in keys}
    for column, label in labels.items():
        for key, value in zip(keys, rows[column], strict=True):
            if pd.notna(value):
                shown[key][label] = number(value)
    return shown


def newest_days(rows: pd.DataFrame) -> dict[str, pd.Timestamp]:
    """The last `date` of each `ticker`, of the first `MOST_CHARTS` tickers: the keys that get a picture."""
    newest = rows.groupby("ticker")["date"].max().head(MOST_CHARTS)
    return {str(ticker): day for ticker, day in newest.items()}


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
