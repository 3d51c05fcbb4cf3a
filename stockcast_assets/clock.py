"""The clock: the only place that asks what time it is."""

from collections.abc import Callable

import pandas as pd

Clock = Callable[[], pd.Timestamp]


def utc_now() -> pd.Timestamp:
    """Now, in UTC, to the microsecond: the finest step both warehouses store."""
    return pd.Timestamp.now("UTC").floor("us").as_unit("ns")
