"""How a command is wanted: what every command takes, wherever it stands on the command line."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stockcast_assets.stopping import Stopped

PARTS_STORED = "what was done of it is stored."
"""What `Invocation.repeatable` says of a command that stores part after part."""


@dataclass(frozen=True)
class Invocation:
    """What `stockcast` was told beside a command and its own arguments.

    Attributes:
        as_json: print one JSON document instead of a table.
        debug: show Dagster's log, and tracebacks.
        words: of the command line, behind `stockcast`.
    """

    as_json: bool = False
    debug: bool = False
    words: tuple[str, ...] = ()

    def again(self) -> str:
        """The same command line, to be copied."""
        return shlex.join(("stockcast", *self.words))

    @contextmanager
    def repeatable(self, told: str = "nothing of it was stored.") -> Iterator[None]:
        """Let a command that begins anew say so when a signal stops it: what is left of it, and its own line again."""
        try:
            yield
        except Stopped as stopped:
            if not stopped.resume:
                stopped.told, stopped.resume = told, self.again()
            raise
