"""How a command is wanted: what every command takes, wherever it stands on the command line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Invocation:
    """What `stockcast` was told beside a command and its own arguments.

    Attributes:
        as_json: print one JSON document instead of a table.
        debug: show Dagster's log, and tracebacks.
    """

    as_json: bool = False
    debug: bool = False
