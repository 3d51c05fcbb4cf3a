"""A small declared table, frames for it, and Dagster runs as someone else's project would make them."""

import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd

from stockcast_assets.tables import Column, Table
from stockcast_assets.warehouse import TableRef, asset_metadata, frames
from stockcast_assets.warehouse.slices import Slice, slice_of

PRICES = Table(
    "prices",
    "Closing prices",
    (
        Column("ticker", "STRING", "Ticker", required=True),
        Column("date", "DATE", "Session", required=True),
        Column("close", "FLOAT64", "Close", required=True),
        Column("volume", "INT64", "Shares"),
        Column("stored_at", "TIMESTAMP", "When", required=True),
    ),
    ("ticker", "date"),
)
# A clean process that has imported what the processes of these tests need, and forks one in no time.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "google.cloud.bigquery",
        "pyarrow.dataset",
        "pyarrow.pandas_compat",
        *(
            f"stockcast_assets_tests.warehouse.{name}"
            for name in ("test_bigquery", "test_duckdb", "histories", "published", "revised")
        ),
    ]
)
TICKERS = dg.DynamicPartitionsDefinition(name="ticker")
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2025-01-01")
TICKER_DAYS = dg.MultiPartitionsDefinition({"ticker": TICKERS, "date": DAYS})
BY_TICKER_AND_DAY = {"ticker": "ticker", "date": "date"}
METADATA = asset_metadata(PRICES, BY_TICKER_AND_DAY)
HOSTILE = [
    "a\0b",
    "' OR TRUE --",
    "\\') OR TRUE -- ",
    "../../x",
    '"; DROP TABLE prices; --',
    "💥",
    "a\\",
    "`",
    "@keys_0",
]


def prices(rows: Iterable[tuple[str, str, float]]) -> pd.DataFrame:
    """A frame for PRICES from (ticker, day, close)."""
    frame = pd.DataFrame(list(rows), columns=["ticker", "date", "close"])
    return pd.DataFrame(
        {
            "ticker": frame["ticker"].astype(object),
            "date": pd.to_datetime(frame["date"]),
            "close": frame["close"].astype(float),
            "volume": pd.array([100] * len(frame), dtype="Int64"),
            "stored_at": pd.Timestamp("2024-06-01 12:00", tz="UTC"),
        }
    )


def of_keys(keys: Iterable[str], close: float = 1.0) -> pd.DataFrame:
    """One row for each `day|ticker` key."""
    return prices((key.split("|", 1)[1], key.split("|", 1)[0], close) for key in keys)


def keys_slice(keys: Iterable[str]) -> Slice:
    return slice_of(keys, TICKER_DAYS, BY_TICKER_AND_DAY, "prices")


def write(warehouse: Any, frame: pd.DataFrame, part: Slice | None = None, attempt: str | None = None) -> None:
    """Replace a slice of PRICES (default: the whole table)."""
    data, contract = frames.to_arrow(frame, PRICES.name, PRICES)
    warehouse.replace(TableRef(warehouse.schema, PRICES.name), data, part or Slice.whole(), contract, attempt)


def closes(warehouse: Any) -> dict[tuple[str, str], float]:
    """What PRICES holds: (ticker, day) to close."""
    frame = warehouse.read(PRICES)
    days = frame["date"].dt.strftime("%Y-%m-%d")
    assert len(set(zip(frame["ticker"], days, strict=True))) == len(frame)
    return dict(zip(zip(frame["ticker"], days, strict=True), frame["close"], strict=True))


def instance(tickers: Sequence[str] = ("AAPL", "MSFT")) -> dg.DagsterInstance:
    made = dg.DagsterInstance.ephemeral()
    made.add_dynamic_partitions("ticker", list(tickers))
    return made


def run(
    assets: Any,
    io_manager: Any,
    on: dg.DagsterInstance | None = None,
    key: str | None = None,
    between: tuple[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialise assets for one key, or for the range between two."""
    tags: Mapping[str, str] = {}
    if between is not None:
        tags = {
            "dagster/asset_partition_range_start": between[0],
            "dagster/asset_partition_range_end": between[1],
        }
    return dg.materialize(
        assets if isinstance(assets, list) else [assets],
        instance=on or instance(),
        resources={"io_manager": io_manager},
        partition_key=key,
        tags=dict(tags),
        raise_on_error=False,
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The sentence a failed run ends with."""
    assert not result.success
    error = result.get_step_failure_events()[0].step_failure_data.error
    while error.cause is not None:
        error = error.cause
    name, _, sentence = error.message.strip().partition(": ")
    assert name == "stockcast_assets.errors.StockcastError", error.message
    assert "\n" not in sentence
    return sentence
