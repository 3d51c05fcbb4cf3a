"""Partitions: which keys there are."""

from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.orchestration.partitions import daily_partitions, monthly_partitions


def days(definition: dg.MultiPartitionsDefinition, now: datetime | None = None) -> list[str]:
    return list(definition.time_window_dimension.partitions_def.get_partition_keys(current_time=now))


def test_the_last_day_is_a_key_and_closed_days_are_none() -> None:
    closed = pd.DatetimeIndex(["2013-02-16", "2013-02-17", "2013-02-18"])
    assert days(daily_partitions(date(2013, 2, 14), date(2013, 2, 20), closed)) == [
        "2013-02-14",
        "2013-02-15",
        "2013-02-19",
        "2013-02-20",
    ]


def test_a_day_is_a_key_once_it_is_over() -> None:
    daily = daily_partitions(date(2024, 5, 29), None)
    assert days(daily, datetime(2024, 5, 31, 23, 59, tzinfo=UTC)) == ["2024-05-29", "2024-05-30"]
    assert days(daily, datetime(2024, 6, 1, 0, 0, tzinfo=UTC))[-1] == "2024-05-31"


def test_a_month_is_a_key_from_its_first_day() -> None:
    monthly = monthly_partitions(date(2024, 4, 17), None)
    assert days(monthly, datetime(2024, 5, 31, 23, tzinfo=UTC)) == ["2024-04-01", "2024-05-01"]
    assert days(monthly, datetime(2024, 6, 1, 1, tzinfo=UTC))[-1] == "2024-06-01"


@pytest.mark.parametrize("end", [date(2013, 3, 1), date(2013, 3, 15), date(2013, 3, 31)])
def test_the_month_of_the_end_date_is_the_last(end: date) -> None:
    assert days(monthly_partitions(date(2013, 1, 20), end)) == ["2013-01-01", "2013-02-01", "2013-03-01"]


def test_keys_are_written_as_dagster_writes_them() -> None:
    assert partition_key("AAPL", "2024-05-31") == dg.MultiPartitionKey({"ticker": "AAPL", "date": "2024-05-31"})
    assert month_of(pd.Timestamp("2024-05-31")) == date(2024, 5, 1)
