"""The rules of what comes in from outside, each in one place: tickers, days, ranges, lists, choices and words.

Commands, settings, run configurations, sensors and uploads ask here, so that all of them refuse the same things in the
same words. Here is also how a text that somebody else wrote is shown: nothing in it is obeyed.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import date

from stockcast_assets.errors import StockcastError

_TICKER = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

MOST_OF_A_REASON = 500
"""Characters of a reason in words."""

_SHOWN = 40
"""Characters of a wrong input that an error repeats."""


def printable(text: str, lines: bool = False) -> str:
    """`text` with every character that a terminal or an editor would obey written as its escape, as in Python.

    Those are control characters (C0, DEL, C1), what turns the direction of writing, what has no width, line and
    paragraph separators, and what UTF-8 cannot write (file names may hold it).

    Args:
        text: anything.
        lines: whether line feeds and tabs stay, in a text of several lines that we lay out ourselves.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(
        char if char in kept or char.isprintable() or unicodedata.category(char) == "Zs" else _escape(char)
        for char in text
    )


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def shown(text: str) -> str:
    """A wrong input as an error repeats it: in quotes, cut short, printable."""
    length = min(len(text), _SHOWN)
    # One strange character is written as up to ten.
    while len(said := printable(repr(text if length == len(text) else f"{text[:length]}…"))) > 3 * _SHOWN:
        length = length * 2 // 3
    return said


def shortlist(names: Sequence[object], most: int = 5) -> str:
    """The first names for a sentence, and how many more there are."""
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def validate_ticker(ticker: str) -> str:
    """Return `ticker` unchanged if it is a well-formed symbol.

    Raises:
        StockcastError: if it is not 1-20 characters of A-Z 0-9 . ^ = - beginning with a letter, digit or ^,
            or contains "..".
    """
    if not _is_ticker(ticker):
        raise StockcastError(
            f"{shown(ticker)} is not a ticker: use 1 to 20 characters of A-Z 0-9 . ^ = -, upper case, "
            "beginning with a letter, a digit or ^ (for example MSFT, VOD.L, ETH-USD)."
        )
    return ticker


def typed_tickers(words: Iterable[str]) -> list[str]:
    """The tickers that a person typed: separated by commas or blanks, in any case, each once.

    Raises:
        StockcastError: for the first that is none, and for words without any.
    """
    words = list(words)
    parts = [part for word in words for part in re.split(r"[,\s]+", word) if part]
    if words and not parts:
        # The value of a variable that is not set, as likely as not: it must not mean every ticker.
        raise StockcastError(f"No ticker is given: {shown(words[0])} names none; write them as AAPL MSFT.")
    return list(dict.fromkeys(_in_capitals(part) for part in parts))


def _in_capitals(text: str) -> str:
    # Outside of ASCII there are letters whose capitals are others, or two.
    capitals = text.upper() if text.isascii() else text
    return capitals if _is_ticker(capitals) else validate_ticker(text)


def _is_ticker(text: str) -> bool:
    return _TICKER.fullmatch(text) is not None and ".." not in text


def parse_day(text: str) -> date:
    """A date written YYYY-MM-DD.

    Raises:
        StockcastError: if it is not one.
    """
    try:
        # fromisoformat alone would also take 20130215 and 2013-W07-5.
        if not _DAY.fullmatch(text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise StockcastError(f"{shown(text)} is not a date: write it as YYYY-MM-DD, for example 2013-02-15.") from None


def looks_like_day(text: str) -> bool:
    """Whether a word is meant as YYYY-MM-DD, though there may be no such day."""
    return _DAY.fullmatch(text) is not None


def parse_month(text: str) -> date:
    """The first day of a month written YYYY-MM.

    Raises:
        StockcastError: if it is none.
    """
    try:
        return parse_day(f"{text}-01")
    except StockcastError:
        raise StockcastError(f"{shown(text)} is not a month: write it as YYYY-MM, for example 2013-02.") from None


def in_order(first: date, last: date, names: tuple[str, str] = ("--from", "--to")) -> tuple[date, date]:
    """The two days, if the first is not after the last.

    Raises:
        StockcastError: otherwise; `names` are what the person wrote them as.
    """
    if first > last:
        raise StockcastError(f"{names[0]} {first} is after {names[1]} {last}: swap them.")
    return first, last


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list, each once, blanks around them taken off."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def one_of(name: str, allowed: Collection[str], what: str) -> str:
    """The name, if it is among the allowed ones.

    Raises:
        StockcastError: otherwise; `what` is what it should be, "asset" for example.
    """
    if name not in allowed:
        raise StockcastError(f"{shown(name)} is no {what}: choose from {', '.join(allowed)}.")
    return name


def validate_reason(text: str, name: str = "--reason") -> str:
    """Words that are stored and shown wherever their subject is, blanks around them taken off.

    Raises:
        StockcastError: if they are longer than `MOST_OF_A_REASON`, or not one line of printable text.
    """
    text = text.strip()
    if printable(text) != text:
        raise StockcastError(f"{name} {shown(text)} has characters that are not printable: write one line of text.")
    if len(text) > MOST_OF_A_REASON:
        raise StockcastError(f"{name} has {len(text)} characters: write at most {MOST_OF_A_REASON}.")
    return text
