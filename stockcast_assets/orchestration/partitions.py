"""The partitions of the assets: ticker × day, ticker × month of use, and ticker alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from stockcast_assets.keys import DATE_DIMENSION, TICKER_DIMENSION
from stockcast_assets.orchestration import ticker_space


class TickerPartitions(dg.DynamicPartitionsDefinition):
    """The tickers. A range of them that was valid when its run was asked for stays so: what is left of it."""

    def get_partition_keys_in_range(self, partition_key_range: dg.PartitionKeyRange) -> Sequence[str]:
        """The tickers of a range, whose ends may have been removed since."""
        first, last = partition_key_range.start, partition_key_range.end
        left = ticker_space.between(self.get_partition_keys(), first, last, _noted)
        # Dagster says what is wrong with a range of which nothing is left.
        return left or super().get_partition_keys_in_range(partition_key_range)


def _noted() -> ticker_space.Places:
    # Within a run Dagster says of which instance.
    keys = dg.DynamicPartitionsDefinition(name=ticker_space.KEY_SPACE).get_partition_keys()
    return ticker_space.places(ticker_space.loaded(keys))


ticker_partitions = TickerPartitions(name=ticker_space.TICKERS)


def daily_partitions(start: date, end: date | None, closed_days: Iterable[date] = ()) -> dg.MultiPartitionsDefinition:
    """Ticker × calendar day from `start` to `end` (the last key), without the days on which nothing trades.

    A day's key exists once the day is over.
    """
    return dg.MultiPartitionsDefinition(
        {
            TICKER_DIMENSION: ticker_partitions,
            DATE_DIMENSION: dg.DailyPartitionsDefinition(
                start_date=start.isoformat(),
                # Dagster's end is exclusive.
                end_date=None if end is None else (end + timedelta(days=1)).isoformat(),
                exclusions=[datetime(day.year, day.month, day.day) for day in closed_days] or None,
            ),
        }
    )


def monthly_partitions(start: date, end: date | None) -> dg.MultiPartitionsDefinition:
    """Ticker × month of use, from the month of `start` to the month of `end`.

    A month's key exists from its first day on: its model is trained on what was known before.
    """
    first = start.replace(day=1)
    after_last = None if end is None else (end.replace(day=1) + timedelta(days=31)).replace(day=1)
    return dg.MultiPartitionsDefinition(
        {
            TICKER_DIMENSION: ticker_partitions,
            DATE_DIMENSION: dg.MonthlyPartitionsDefinition(
                start_date=first.isoformat(),
                end_date=None if after_last is None else after_last.isoformat(),
                end_offset=1,
            ),
        }
    )


def months_of(monthly: dg.MultiPartitionsDefinition) -> dg.MonthlyPartitionsDefinition:
    """The months of use of ticker × month: the keys of what is made for all tickers together."""
    months = monthly.time_window_dimension.partitions_def
    assert isinstance(months, dg.MonthlyPartitionsDefinition)
    return months
