"""The libraries that take long to import, each loaded by the first line that uses it.

The definitions are loaded by the user interface, by every code server, run and command. Most of those never look at
a frame, and pandas, NumPy, PyArrow and their friends take longer to import than Dagster itself. A module that takes
its library from here costs nothing until one of its functions runs; it must postpone its annotations
(`from __future__ import annotations`) and build nothing from the library at its top level.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["duckdb", "exchange_calendars", "np", "pa", "pc", "pd", "pq", "talib"]


class _Library(ModuleType):
    """A module's stand-in, which imports it when a name of it is asked for the first time.

    Unlike `importlib.util.LazyLoader` it leaves the import to Python's own lock, so threads may be the first.
    """

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import duckdb
    import exchange_calendars
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import talib
else:
    duckdb = _Library("duckdb")
    exchange_calendars = _Library("exchange_calendars")
    np = _Library("numpy")
    pa = _Library("pyarrow")
    pc = _Library("pyarrow.compute")
    pd = _Library("pandas")
    pq = _Library("pyarrow.parquet")
    talib = _Library("talib")
