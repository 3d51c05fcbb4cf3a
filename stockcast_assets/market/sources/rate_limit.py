"""How often Yahoo Finance is asked: counted for all processes of a user, or of all machines that share a server.

A request is counted at the moment at which it is counted, in turn. The libraries' buckets take the caller's word for
when that is: of two callers whose clocks differ, or of whom one is held up on the way, the earlier one would not see
what the later one has counted already.
"""

from __future__ import annotations

import getpass
import logging
import sqlite3
import tempfile
from functools import lru_cache
from pathlib import Path

from pyrate_limiter import Duration, Limiter, Rate, RateItem, RedisBucket, SQLiteBucket

from stockcast_assets.errors import StockcastError
from stockcast_assets.private_files import own_folder
from stockcast_assets.settings import load_settings

RATES = (Rate(5, Duration.SECOND), Rate(100, Duration.MINUTE))
"""Requests a user of this machine may send to Yahoo. Yahoo publishes no limit, but refuses several hundred a minute."""

_TURN_S = 10
"""Seconds after which a caller that died while it counted holds up nobody any more."""

_log = logging.getLogger(__name__)


class FileBucket(SQLiteBucket):
    """Requests counted in a file, one caller after the other."""

    def put(self, item: RateItem) -> bool:
        """Count a request now, whenever it was asked for; False if a rate is used up."""
        with self.lock:
            item.timestamp = self.now()  # type: ignore[no-untyped-call]
            return super().put(item)


class ServerBucket(RedisBucket):
    """Requests counted on a server by its own clock, one caller after the other."""

    def now(self) -> int:
        """Milliseconds since 1970, as the server has them."""
        seconds, microseconds = self.redis.time()  # type: ignore[misc]  # Of a client that waits.
        return int(seconds) * 1000 + int(microseconds) // 1000

    def put(self, item: RateItem) -> bool:
        """Count a request now, whenever it was asked for; False if a rate is used up."""
        with self.redis.lock(f"{self.bucket_key}:turn", timeout=_TURN_S, sleep=0.01):  # type: ignore[union-attr]
            item.timestamp = self.now()
            return bool(super().put(item))


def wait_for_turn() -> None:
    """Return when the rate limit admits another request."""
    shared = shared_limiter()
    if shared is not None:
        from redis.exceptions import RedisError

        try:
            shared.try_acquire("yahoo")
            return
        except RedisError as error:
            _log.warning("The rate limit of Yahoo Finance holds for this machine alone: %s", error)
    own_limiter().try_acquire("yahoo")


@lru_cache(maxsize=1)
def shared_limiter() -> Limiter | None:
    """The rate limit of all machines, if there is a place to count them together.

    Raises:
        StockcastError: if the place does not answer, or its client is not installed.
    """
    address = load_settings().rate_limit
    if address is None:
        return None
    try:
        from redis import Redis
        from redis.exceptions import RedisError
    except ImportError as error:
        raise StockcastError(
            "STOCKCAST_RATE_LIMIT needs a package that is not installed: `pip install 'stockcast-assets[deploy]'`."
        ) from error
    client = Redis.from_url(address.get_secret_value(), socket_connect_timeout=5, socket_timeout=5)
    try:
        return Limiter(ServerBucket.init(list(RATES), client, "stockcast:yahoo-requests"))
    except RedisError as error:
        raise StockcastError(
            f"STOCKCAST_RATE_LIMIT={address} does not answer ({error}): see that it runs, or leave the setting out."
        ) from error


@lru_cache(maxsize=1)
def own_limiter() -> Limiter:
    """The rate limit, kept in a file that all processes of this user share: Yahoo counts by address."""
    folder = Path(tempfile.gettempdir()) / f"stockcast-{getpass.getuser()}"
    try:
        file = str(own_folder(folder) / "yahoo-requests.sqlite")
        return Limiter(FileBucket.init_from_file(list(RATES), db_path=file, use_file_lock=True))
    except (OSError, KeyError, sqlite3.Error, ImportError) as error:
        _log.warning("The rate limit of Yahoo Finance holds for this process alone: %s", error)
        return Limiter(list(RATES))
