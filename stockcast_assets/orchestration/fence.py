"""The fence around what others wrote: cursors, tags, metadata, stored states.

Anybody may report an event, tag a run or edit a cursor. The loops that all automation depends on read such texts here
only: what cannot be understood is left out, and a line says so.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from stockcast_assets.inputs import printable, shown

Parsed = TypeVar("Parsed")
Tell = Callable[[str], object]

_log = logging.getLogger(__name__)


def understood(parse: Callable[[Any], Parsed], written: Any, what: str, tell: Tell = _log.warning) -> Parsed | None:
    """What `parse` makes of something that somebody wrote, or None if it makes nothing of it.

    Args:
        parse: may raise whatever it likes.
        written: its argument; of None and the empty string nothing is made, without a line.
        what: what was written, for the line.
        tell: who is told the line.
    """
    if written is None or written == "":
        return None
    try:
        return parse(written)
    # Whatever somebody wrote, the worst it may do is not to count.
    except Exception as error:
        reason = printable(str(error).split("\n", 1)[0][:150])
        tell(f"{what} cannot be understood and is left out: {shown(str(written))} ({type(error).__name__}: {reason}).")
        return None
