"""Printing: a rich table for people, one JSON document with `--json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from stockcast_assets.cli.terminal import out
from stockcast_assets.inputs import printable
from stockcast_assets.libraries import pd
from stockcast_assets.masking import redact

Row = dict[str, Any]

_LONGEST_WORD = 24


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
    text = redact(json.dumps(_numbers(document), indent=2, default=plain, allow_nan=False))
    print(text.replace("\x7f", "\\u007f"))  # noqa: T201


def _numbers(document: object) -> object:
    """The document with null for every number that is none: JSON knows neither NaN nor infinity."""
    if isinstance(document, dict):
        return {key: _numbers(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_numbers(value) for value in document]
    return plain(document) if isinstance(document, float) else document


def figure(value: float, form: str = ".4f") -> str:
    """A number as a person reads it; a dash for one that is none."""
    return format(value, form) if math.isfinite(value) else "–"


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


def print_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[object]], drop: Sequence[Sequence[str]] = ()
) -> None:
    """A titled table; numbers to the right. No word, number or date is broken.

    Args:
        title: of the table.
        headings: of the columns.
        rows: their cells.
        drop: headings of the columns that a narrow terminal goes without, those first to go first. If it is still too
            narrow, each row is printed as lines, a heading and its value.
    """
    # Not the table's own title, which is broken at the table's width: a path is there to be copied.
    out.print(title, style="table.title", soft_wrap=True)
    left, cells = list(headings), [[cell(value) for value in row] for row in rows]
    to_go = iter(drop)
    while (table := _table(left, headings, rows, cells)) is None and (gone := next(to_go, None)) is not None:
        left = [heading for heading in left if heading not in gone]
    if table is not None:
        out.print(table)
        return
    wide = max(map(len, headings))
    for row in cells:
        out.print()
        for heading, value in zip(headings, row, strict=True):
            text = " ".join((value.plain if isinstance(value, Text) else value).split("\n"))
            out.print(f"{heading:{wide}}  {text}", soft_wrap=True)


def _table(
    left: Sequence[str],
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    cells: Sequence[Sequence[str | Text]],
) -> Table | None:
    """The table of the columns that are left; None if the terminal is too narrow for their words."""
    chosen = [index for index, heading in enumerate(headings) if heading in left]
    columns = [[headings[index], *(row[index] for row in cells)] for index in chosen]
    # A path or a digest may be longer than a line, and is broken then.
    least = [min(max(map(_longest_word, column)), _LONGEST_WORD) for column in columns]
    room = out.width - 1 - sum(width + 2 for width in least)
    if room < 0:
        return None
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    # Rich would take from the widest columns first, and cut the words of one while another has room.
    for index, width in zip(
        chosen, _shared(least, [max(map(_longest_line, column)) for column in columns], room), strict=True
    ):
        numeric = any(isinstance(plain(row[index]), int | float) for row in rows)
        table.add_column(headings[index], justify="right" if numeric else "left", width=width, overflow="fold")
    for row in cells:
        table.add_row(*(row[index] for index in chosen))
    return table


def _shared(least: Sequence[int], wanted: Sequence[int], room: int) -> list[int]:
    """The widths of columns that need `least` each and have `room` together for more, none more than is `wanted`."""
    widths = list(least)
    modest = sorted(range(len(least)), key=lambda index: wanted[index] - least[index])
    for place, index in enumerate(modest):
        more = min(max(0, wanted[index] - least[index]), room // (len(modest) - place))
        widths[index] += more
        room -= more
    return widths


def _longest_word(text: str | Text) -> int:
    words = (text.plain if isinstance(text, Text) else text).split()
    return max((cell_len(word) for word in words), default=0)


def _longest_line(text: str | Text) -> int:
    lines = (text.plain if isinstance(text, Text) else text).split("\n")
    return max(map(cell_len, lines))
