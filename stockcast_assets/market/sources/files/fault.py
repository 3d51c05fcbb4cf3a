"""What can be wrong with a file, and how a stranger's words are quoted in the sentence about it."""

from typing import NoReturn

REMEDY = "correct it and upload the file again"
_QUOTED = 40


class Fault(Exception):
    """What is wrong, without the file's name; with the line if it is one line's fault."""

    def __init__(self, words: str, line: int | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.line = line


def refuse(words: str, line: int | None = None) -> NoReturn:
    """Raise `Fault`."""
    raise Fault(words, line)


def quoted(text: str) -> str:
    """Someone else's text as it can stand in a sentence: short, on one line, nothing but printable characters."""
    shown = text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
    return ascii(shown) if not shown.isprintable() else f"'{shown}'"
