"""Where the bars stand in a file: which line names the columns, which columns are read, for one ticker or for many."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from stockcast_assets.inputs import shown
from stockcast_assets.market.sources.files import names
from stockcast_assets.market.sources.files.dates import looks_like_date
from stockcast_assets.market.sources.files.fault import refuse
from stockcast_assets.market.sources.files.numbers import is_absent, is_formula
from stockcast_assets.market.sources.files.symbols import is_symbol
from stockcast_assets.market.sources.files.text import SEPARATORS, Record, declared_separator, sample, split

HEAD_LINES = 30
"""Lines in which the names of the columns are looked for."""

_NEEDED = "it needs Date, Open, High, Low and Close, and Volume if there is one"
_INDEX_NAMES = ("", "unnamed0", "index", "price", "ticker", "level0", "levelname")
_BINANCE = ("date", "open", "high", "low", "close", "volume")
_FIRST_WINS = ("date", "ticker", "volume", "period", "time")
_EPOCH = re.compile(r"\d{13}(?:\d{3})?", re.ASCII)


@dataclass(frozen=True)
class Field:
    """A column that is read: what it holds, its name in the file, where it stands, and of which ticker it is."""

    role: str
    name: str
    index: int
    ticker: str | None = None


@dataclass(frozen=True)
class Layout:
    """How to read the lines of a file.

    Attributes:
        fields: the columns that are read.
        left: names of the columns that are not.
        width: cells that every line must have.
        header: the line with the names; None if the file has none.
        body: position among the records (blank lines do not count) of the first that may be a bar.
        tickers: line and name of each ticker that the header names, once.
        preamble: how many lines stand before the header.
    """

    fields: tuple[Field, ...]
    left: tuple[str, ...]
    width: int
    header: int | None
    body: int
    tickers: tuple[tuple[int, str], ...] = ()
    preamble: int = 0
    names: frozenset[str] = field(default_factory=frozenset)

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(each.role for each in self.fields)


def separator_of(content: bytes, encoding: str) -> str:
    """The character that separates the cells: the one that makes most sense of the names of the columns."""
    lines = sample(content, encoding, HEAD_LINES)
    declared = declared_separator(lines)
    if declared is not None:
        return declared
    scores = {separator: _best(split(lines, separator)) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: scores[separator])
    return best if scores[best][0] else SEPARATORS[0]


def layout_of(head: Sequence[Record]) -> Layout:
    """The layout of a file that begins with these lines.

    Raises:
        Fault: if they name no columns of bars, or one that would be needed to read the others is unknown.
    """
    if not head:
        refuse(f"the file is empty; {_NEEDED}")
    place = max(range(len(head)), key=lambda position: (_score(head[position].cells), -position))
    if _score(head[place].cells) < 2 and (layout := _headerless(head[0])) is not None:
        return layout
    header = head[place]
    if (layout := _wide(head, place)) is not None:
        return layout
    chosen: dict[str, tuple[int, Field]] = {}
    for index, name in enumerate(header.cells):
        for meaning in names.meanings(name):
            field_ = Field(meaning.role, name, index)
            rank, other = chosen.get(meaning.role, (meaning.rank, None))
            twice = other is not None and names.plain(name) == names.plain(other.name)
            if other is not None and rank == meaning.rank and (twice or meaning.role not in _FIRST_WINS):
                refuse(f"two columns say {shown(name)}; remove one and upload the file again", header.line)
            if other is None or meaning.rank < rank:
                chosen[meaning.role] = (meaning.rank, field_)
    _settle_time(chosen)
    following = head[place + 1].cells if place + 1 < len(head) else []
    if "date" not in chosen:
        unnamed = next((i for i, name in enumerate(header.cells) if names.plain(name) in _INDEX_NAMES), None)
        if unnamed is not None and unnamed < len(following) and looks_like_date(following[unnamed]):
            chosen["date"] = (0, Field("date", header.cells[unnamed], unnamed))
    fields = [found for _, found in chosen.values()]
    _check(fields, header)
    return _finished(fields, header, place, place + 1)


def _score(cells: Sequence[str]) -> int:
    """How many different things that a bar has the cells name; 0 for a line that also has numbers in their place."""
    roles = {meaning.role for cell in cells if cell for meaning in names.meanings(cell)}
    known = len(roles & {"date", "open", "high", "low", "close", "adj_close", "volume"})
    return max(known, len({role for role, _ in filter(None, map(_split_name, cells))} & set(names.PRICES)))


def _best(found: Sequence[Record]) -> tuple[int, int]:
    """The best score of a line, and its cells."""
    return max(((_score(record.cells), len(record.cells)) for record in found), default=(0, 0))


def _split_name(name: str) -> tuple[str, str] | None:
    """What and whose a column is that is called `Close_AAPL`, `AAPL.Close` or `('Close', 'AAPL')`."""
    bare = name.removeprefix("('").removesuffix("')").replace("', '", "_")
    if len(bare) > names.MAX_NAME:
        return None
    for place in {place for mark in "_. " for place in (bare.find(mark), bare.rfind(mark)) if place > 0}:
        first, second = bare[:place], bare[place + 1 :]
        for what, whose in ((first, second), (second, first)):
            role = next((meaning.role for meaning in names.meanings(what) if meaning.rank == 0), None)
            if role in _PER_TICKER and is_symbol(whose) and not names.meanings(whose):
                return role, whose
    return None


_PER_TICKER = ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio", "capital_gain")


def _wide(head: Sequence[Record], place: int) -> Layout | None:
    """The layout of a table with the tickers in the header, as pandas writes yfinance's; None if it is none."""
    header = head[place]
    roles = {
        index: next((meaning.role for meaning in names.meanings(name) if meaning.role in _PER_TICKER), None)
        for index, name in enumerate(header.cells)
    }
    first = names.plain(header.cells[0]) in _INDEX_NAMES
    held = {index: role for index, role in roles.items() if role and not (index == 0 and first)}
    top, body, line, tickers = place, place + 1, header.line, {}
    if set(names.PRICES) <= set(held.values()):
        for other in (place + 1, place - 1):
            if 0 <= other < len(head) and _names_tickers(head[other].cells, held):
                tickers = {index: head[other].cells[index].upper() for index in held}
                top, body, line = min(place, other), max(place, other) + 1, head[other].line
                break
        else:
            return None
    else:
        found = {index: split_ for index, name in enumerate(header.cells) if (split_ := _split_name(name))}
        held = {index: role for index, (role, _) in found.items()}
        tickers = {index: ticker.upper() for index, (_, ticker) in found.items()}
        if not set(names.PRICES) <= set(held.values()):
            return None
    dated = next((i for i, name in enumerate(header.cells) if _is_date_name(name) and i not in held), None)
    if body < len(head) and _is_index_line(head[body].cells):
        dated = next(i for i, cell in enumerate(head[body].cells) if cell)
        body += 1
    if dated is None and names.plain(header.cells[0]) in (*_INDEX_NAMES, "index"):
        dated = 0
    if dated is None:
        refuse(f"there is no column Date: {_NEEDED}", header.line)
    fields = [Field("date", header.cells[dated] or "Date", dated)]
    seen: set[tuple[str, str]] = set()
    for index, role in held.items():
        if (role, tickers[index]) in seen:
            refuse(
                f"two columns say {shown(header.cells[index])} of {shown(tickers[index])}; remove one and upload "
                "the file again",
                header.line,
            )
        seen.add((role, tickers[index]))
        fields.append(Field(role, header.cells[index], index, tickers[index]))
    named = tuple((line, ticker) for ticker in dict.fromkeys(tickers.values()))
    for ticker in dict.fromkeys(tickers.values()):
        _check([each for each in fields if each.ticker in (None, ticker)], header)
    return _finished(fields, header, top, body, named)


def _is_date_name(name: str) -> bool:
    return any(meaning.role == "date" for meaning in names.meanings(name))


def _is_index_line(cells: Sequence[str]) -> bool:
    """Whether a line names only the column of dates, as pandas writes an index under two lines of names."""
    filled = [cell for cell in cells if cell]
    return len(filled) == 1 and _is_date_name(filled[0])


def _names_tickers(cells: Sequence[str], held: dict[int, str]) -> bool:
    if len(cells) <= max(held) or names.plain(cells[0]) not in ("", "ticker", "price", "symbol", "unnamed0"):
        return False
    return all(is_symbol(cells[i].upper()) and not is_absent(cells[i]) for i in held)


def _settle_time(chosen: dict[str, tuple[int, Field]]) -> None:
    """A column called Time is the date if no other is; one that holds dates is no time."""
    date, time = chosen.get("date"), chosen.get("time")
    if date and time and date[1].index == time[1].index:
        del chosen["time"]


def _check(fields: Sequence[Field], header: Record) -> None:
    roles = {each.role for each in fields}
    for role in ("date", *names.PRICES):
        if role not in roles:
            refuse(f"there is no column {role.title()}: {_NEEDED}", header.line)


def _finished(
    fields: Sequence[Field],
    header: Record,
    place: int,
    body: int,
    tickers: tuple[tuple[int, str], ...] = (),
) -> Layout:
    used = {each.index for each in fields}
    left = [name for index, name in enumerate(header.cells) if index not in used and name]
    plain_roles = {each.role for each in fields}
    for name in left:
        redundant = any(meaning.role in plain_roles for meaning in names.meanings(name))
        if names.is_suspect(name) and not names.is_companion(name) and not redundant:
            refuse(
                f"the column {shown(name)} seems to say that prices are adjusted, or of dividends or splits, in a way "
                "that stockcast does not know; call it Adj Close, Dividends or Stock Splits if it is one of these, "
                "else remove it, and upload the file again",
                header.line,
            )
    for each in fields:
        if is_formula(each.name):
            refuse(
                f"{shown(each.name)} looks like a spreadsheet formula; replace it by its value and upload the file "
                "again",
                header.line,
            )
    width = max((index + 1 for index, name in enumerate(header.cells) if name), default=0)
    return Layout(
        tuple(fields),
        tuple(left),
        max(width, *(each.index + 1 for each in fields)),
        header.line,
        body,
        tickers,
        place,
        frozenset(names.plain(name) for name in header.cells),
    )


def _headerless(first: Record) -> Layout | None:
    """The one file without names that is common: Binance's klines, twelve columns of which two are times."""
    cells = first.cells
    if len(cells) != 12 or not (_EPOCH.fullmatch(cells[0]) and _EPOCH.fullmatch(cells[6])):
        return None
    fields = tuple(Field(role, role.title(), index) for index, role in enumerate(_BINANCE))
    return Layout(fields, (), 12, None, 0, names=frozenset({"klines"}))
