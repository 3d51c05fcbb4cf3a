"""What was read last, kept while the warehouse stays as it was, and shown while a run holds it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stockcast_assets.errors import WarehouseBusyError

MOST_ENTRIES = 300

_oldest_shown: ContextVar[datetime | None] = ContextVar("oldest_shown", default=None)
# After one read found the file held, the others of the page do not wait for it. Only of this page: somebody who
# tries again is to see what is stored by then.
_found_held: ContextVar[bool] = ContextVar("found_held", default=False)


@dataclass(frozen=True)
class _Entry:
    version: Hashable
    read_at: datetime
    value: Any


class Cache:
    """Values by key, each with the version of the warehouse it was read from.

    Args:
        version: what changes when the warehouse does, cheap to ask.
    """

    def __init__(self, version: Callable[[], Hashable]) -> None:
        self._version = version
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """The value of `key`, read again if the warehouse changed since.

        While a run holds the warehouse the value read before is given, and `shown_since` says from when it is.

        Raises:
            WarehouseBusyError: a run holds the warehouse and the value was never read before.
        """
        version = self._version()
        with self._lock:
            entry = self._entries.get(key)
        if entry is not None and entry.version == version:
            return entry.value
        if entry is not None and _found_held.get():
            return _shown(entry)
        try:
            value = read()
        except WarehouseBusyError:
            _found_held.set(True)
            if entry is None:
                raise
            return _shown(entry)
        with self._lock:
            # The version from before the read: what was written meanwhile makes the next visitor read again.
            self._entries[key] = _Entry(version, datetime.now(UTC), value)
            self._entries.move_to_end(key)
            while len(self._entries) > MOST_ENTRIES:
                self._entries.popitem(last=False)
        return value


def _shown(entry: _Entry) -> Any:
    oldest = _oldest_shown.get()
    _oldest_shown.set(entry.read_at if oldest is None else min(oldest, entry.read_at))
    return entry.value


def start_page() -> None:
    """Forget what was shown and found held before; called at the start of each page."""
    _oldest_shown.set(None)
    _found_held.set(False)


def shown_since() -> datetime | None:
    """When the oldest data on this page was read, if a run kept the page from reading it again; else None."""
    return _oldest_shown.get()
