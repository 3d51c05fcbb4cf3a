"""Printing: a rich table for people, one JSON document with `--json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from stockcast_assets.cli.terminal import out
from stockcast_assets.inputs import printable
from stockcast_assets.libraries import pd
from stockcast_assets.masking import redact

Row = dict[str, Any]


def plain(value: object) -> object:
    """A value as JSON knows it: dates as ISO text, missing numbers as null."""
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "item"):
        return plain(value.item())
    return None if value is pd.NaT or value is pd.NA else value


def print_json(document: object) -> None:
    """The document on stdout, and nothing else there."""
    # JSON escapes what is not ASCII, and control characters but for DEL.
    text = redact(json.dumps(document, indent=2, default=plain, allow_nan=False))
    print(text.replace("\x7f", "\\u007f"))  # noqa: T201


def cell(value: object) -> str | Text:
    """A value as a person reads it; a `Text` of our own making as it is."""
    if isinstance(value, Text):
        return value
    value = plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return printable(redact(str(value)))


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A titled table; numbers to the right."""
    # Not the table's own title, which is broken at the table's width: a path is there to be copied.
    out.print(title, style="table.title", soft_wrap=True)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, heading in enumerate(headings):
        numeric = any(isinstance(plain(row[index]), int | float) for row in rows)
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=numeric)
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    out.print(table)
