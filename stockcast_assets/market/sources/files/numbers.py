"""Numbers as people and programs write them: `1234.5`, `1,234.50`, `1.234,50`, `1'234.50`, `$1,234.50`, `1.23M`.

Which of point and comma is the decimal mark is a property of the file, not of a cell: `1,234` alone says nothing.
"""

import re
from collections.abc import Iterable
from typing import Literal

from stockcast_assets.inputs import shown
from stockcast_assets.market.sources.files.fault import refuse

Mark = Literal[".", ","]

ABSENT = frozenset(("", "-", "--", "–", "—", "null", "nan", "none", "n/a", "na", "#n/a", "nat", "."))
MAX_CELL = 64
"""Characters of a date or a number; longer ones are neither."""

_CURRENCY = " $€£¥₹₩"
_PLAIN = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
# Groups of three, or in India of two before the last three.
_GROUPED = re.compile(r"(-?)(\d{1,3}(?:,\d{2,3})*,\d{3})(\.\d+)?", re.ASCII)
_SPACED = str.maketrans("", "", "'’ \u00a0\u202f\u2009")
_SWAPPED = str.maketrans(",.", ".,")
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def is_absent(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in ABSENT


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet would compute the cell rather than show it."""
    if cell[:1] == "-":
        return not (is_absent(cell) or cell[1:2].isdigit() or cell[1:2] in _CURRENCY + ".")
    return cell[:1] in ("=", "+", "@")


def number(cell: str, mark: Mark, units: bool = False) -> float | None:
    """The number a cell says, None if it is none.

    Args:
        cell: the cell, stripped.
        mark: the file's decimal mark.
        units: whether K, M, B or T may follow.
    """
    if len(cell) > MAX_CELL:
        return None
    factor = 1.0
    if units and cell[-1:].upper() in _UNITS:
        factor, cell = _UNITS[cell[-1].upper()], cell[:-1].rstrip()
    text = cell if mark == "." else cell.translate(_SWAPPED)
    if _PLAIN.fullmatch(text):
        return float(text) * factor
    text = text.strip(_CURRENCY).translate(_SPACED)
    if text.startswith("-$"):
        text = f"-{text[2:]}"
    if _PLAIN.fullmatch(text):
        return float(text) * factor
    grouped = _GROUPED.fullmatch(text)
    return float(text.replace(",", "")) * factor if grouped else None


def decimal_mark(prices: Iterable[str], counts: Iterable[str]) -> Mark:
    """Whether the file writes decimals after a point or a comma.

    Args:
        prices: the cells that hold prices.
        counts: the cells that hold volumes, which may be whole.

    Raises:
        Fault: if every price could be read either way.
    """
    doubtful: str | None = None
    for cell in prices:
        told = _tells(cell)
        if told in (".", ","):
            return told  # type: ignore[return-value]  # narrowed by `in`
        if told is not None and doubtful is None:
            doubtful = cell
    for cell in counts:
        told = _tells(cell)
        if told in (".", ","):
            return told  # type: ignore[return-value]  # narrowed by `in`
    if doubtful is not None:
        refuse(
            f"{shown(doubtful)} may mean {doubtful.replace(',', '')} or {doubtful.replace(',', '.')}, and no other "
            "number of the file says which; write it without a comma and upload the file again"
        )
    return "."


def _tells(cell: str) -> str | None:
    """The decimal mark that a cell gives away; "?" if a comma could be either, None if it says nothing."""
    if len(cell) > MAX_CELL or ("," not in cell and "." not in cell):
        return None
    text = cell.rstrip("KMBTkmbt% ").strip(_CURRENCY).translate(_SPACED)
    commas, points = text.count(","), text.count(".")
    if not text.replace(",", "").replace(".", "").lstrip("-").isdigit():
        return None
    if commas and points:
        return "," if text.rfind(",") > text.rfind(".") else "."
    if commas + points > 1:
        return "." if commas else ","
    before, _, after = text.lstrip("-").partition("," if commas else ".")
    surely_decimal = len(after) != 3 or len(before) > 3 or before in ("", "0")
    if points:
        # A lone point is a decimal one unless the file says otherwise elsewhere.
        return "." if surely_decimal else None
    return "," if surely_decimal else "?"
