"""CSV that a spreadsheet may open: a cell that somebody else wrote is text there, and no formula."""

from __future__ import annotations

import re
from csv import QUOTE_NONNUMERIC

from stockcast_assets.libraries import pd

# Spreadsheets execute a cell that begins with one of these (OWASP, CSV injection), the full-width forms included.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def safe_cell(cell: object) -> object:
    """The cell, with an apostrophe before a text that a spreadsheet would execute; numbers stay numbers."""
    risky = isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA_STARTS) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if risky else cell


def to_csv(frame: pd.DataFrame) -> str:
    """The frame without its index as CSV, in which no text cell can be taken for a formula."""
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz", "timedelta"])
    out = frame.assign(**{name: texts[name].astype("object").map(safe_cell) for name in texts.columns})
    out.columns = [str(safe_cell(str(name))) for name in out.columns]
    # Quoted, because a bare carriage return in a text would end its row.
    return out.to_csv(index=False, quoting=QUOTE_NONNUMERIC)
