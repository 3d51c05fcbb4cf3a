"""From the bytes of a file to the cells of its lines: encodings, separators, and bounds on both.

Everything here takes time in proportion to the number of bytes, and no more memory than one line needs.
"""

import codecs
import contextlib
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stockcast_assets.market.sources.files.fault import refuse

SEPARATORS = (",", ";", "\t", "|")
MAX_COLUMNS = 4_000
"""Columns of one file: 500 tickers side by side take 3,000."""

_HEAD_BYTES = 64 * 2**10
_CHUNK = 2**16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = (
    (b"pk\x03\x04", "an Excel workbook or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"par1", "a Parquet file"),
    (b"%pdf", "a PDF"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<table", "a web page"),
    (b"<?xml", "XML"),
    (b"{", "JSON"),
    (b"[{", "JSON"),
)


@dataclass(frozen=True)
class Record:
    """The stripped cells of a line that is not blank, and the line's number."""

    line: int
    cells: list[str]


def encoding_of(content: bytes) -> str:
    """The encoding a text is in: UTF-8, UTF-16 and UTF-32 by their marks or patterns, else Windows-1252.

    Numbers, dates and tickers are the same in Windows-1252 and every other encoding that extends ASCII, so a
    wrong guess can spoil nothing but a name that is then not found.

    Raises:
        Fault: if it is no text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    start = content[:512].lstrip().lower()
    for beginning, words in _OTHERS:
        if start.startswith(beginning):
            refuse(f"this is {words}, not CSV; save the table as CSV UTF-8 and upload that file")
    head = content[:4096]
    if b"\0" in head:
        even, odd = head[::2].count(0), head[1::2].count(0)
        if max(even, odd) > len(head) // 4 and min(even, odd) == 0:
            return "utf-16-le" if odd else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start_at in range(0, len(content), _CHUNK):
            decoder.decode(content[start_at : start_at + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def sample(content: bytes, encoding: str, count: int) -> list[str]:
    """The first lines of a text, whatever is wrong with them."""
    text = content[:_HEAD_BYTES].decode(encoding, errors="replace")
    return list(islice(io.StringIO(text, newline=None), count))


def declared_separator(lines: list[str]) -> str | None:
    """The separator that Excel's own first line `sep=;` declares."""
    first = lines[0].strip().strip('"').lower() if lines else ""
    return first[4] if len(first) == 5 and first.startswith("sep=") and first[4] in SEPARATORS else None


def split(lines: list[str], separator: str) -> list[Record]:
    """Lines cut at a separator, as far as they are CSV: to look at, not to rely on."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    found: list[Record] = []
    with contextlib.suppress(csv.Error):
        found.extend(_records(reader))
    return found


def records(content: bytes, encoding: str, separator: str) -> Iterator[Record]:
    """Every line of the file that is not blank, decoded as it is read.

    Raises:
        Fault: if it is not CSV, or a line has more cells than a file can have columns.
    """
    # Windows-1252 leaves five bytes undefined; all other encodings were checked before or are refused below.
    errors = "replace" if encoding == "cp1252" else "strict"
    lines = io.TextIOWrapper(io.BytesIO(content), encoding=encoding, errors=errors, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for record in _records(reader):
            if len(record.cells) > MAX_COLUMNS:
                refuse(f"more than {MAX_COLUMNS:,} cells; upload fewer tickers per file", record.line)
            yield record
    except csv.Error as error:
        refuse(f"this is not CSV ({error}); export the file again", reader.line_num)
    except UnicodeError:
        refuse("this is not UTF-16 text; save the file as CSV UTF-8 and upload it again", reader.line_num + 1)


def _records(reader: Any) -> Iterator[Record]:  # csv's reader has no public type
    for row in reader:
        cells = [cell.strip(_BLANK) for cell in row]
        if any(cells):
            yield Record(reader.line_num, cells)


_BLANK = " \t\r\n\f\v\u00a0\u202f\u200b\u2009\ufeff"
