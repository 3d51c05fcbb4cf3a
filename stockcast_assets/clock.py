"""The clock: the only place that asks what time it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TypeAlias

from stockcast_assets.libraries import pd

Clock: TypeAlias = "Callable[[], pd.Timestamp]"


def utc_today() -> date:
    """The day it is in UTC."""
    return datetime.now(UTC).date()


def utc_now() -> pd.Timestamp:
    """Now, in UTC, to the microsecond: the finest step both warehouses store."""
    return pd.Timestamp.now("UTC").floor("us").as_unit("ns")
