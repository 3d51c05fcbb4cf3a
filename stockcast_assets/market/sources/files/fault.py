"""What can be wrong with a file."""

from typing import NoReturn

REMEDY = "correct it and upload the file again"


class Fault(Exception):
    """What is wrong, without the file's name; with the line if it is one line's fault."""

    def __init__(self, words: str, line: int | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.line = line


def refuse(words: str, line: int | None = None) -> NoReturn:
    """Raise `Fault`."""
    raise Fault(words, line)
