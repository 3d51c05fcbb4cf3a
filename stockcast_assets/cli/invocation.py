"""How a command is wanted: what every command takes, wherever it stands on the command line."""

import shlex
from dataclasses import dataclass


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
