"""The world of a past day: the tables as they were known at its end, for reading.

A table comes back as it was where its rows, or what was kept of them, carry the moment at which they became known: bars
(`price_revisions`), forecasts (the ledger), statements on earnings reports (`known_on`). What is a function of these is
computed from them: indicators, scores. Of the others, which carry no moment, come the rows stored now of days up to
then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import NamedTuple

from stockcast_assets.clock import utc_today
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import parse_day
from stockcast_assets.libraries import pa, pd
from stockcast_assets.market import indicators
from stockcast_assets.market.adjust import one_series
from stockcast_assets.market.known import as_known, day_ends_at
from stockcast_assets.monitoring import accuracy, ledger
from stockcast_assets.tables import (
    EARNINGS_DATES,
    FORECAST_ACCURACY,
    FORECASTS,
    INDICATORS,
    PRICE_HISTORY,
    PRICE_REVISIONS,
    PUBLISHED_FORECASTS,
    RAW_PRICES,
    TRAINED_MODEL,
    Column,
    Table,
)
from stockcast_assets.warehouse import TableRef, Warehouse, frames
from stockcast_assets.warehouse.base import Added
from stockcast_assets.warehouse.slices import Newest, Slice, Values, Windows


class _Asked(NamedTuple):
    """The rows of a read: of some tickers (None: all), from a day to before another one (None: no bound)."""

    tickers: list[str] | None
    start: pd.Timestamp | None
    end: pd.Timestamp | None

    @classmethod
    def of(cls, part: Slice) -> _Asked:
        """What a slice says that `Warehouse.read` made."""
        (box,) = part.boxes
        tickers, start, end = None, None, None
        for condition in box:
            if isinstance(condition, Values) and condition.expr == "ticker":
                tickers = list(condition.values)
            elif isinstance(condition, Windows) and condition.expr == "date" and len(condition.spans) == 1:
                start, end = (None if bound is None else pd.Timestamp(bound) for bound in condition.spans[0])
            else:
                raise NotImplementedError(f"the world of a past day is not asked for {condition}")
        return cls(tickers, start, end)

    @property
    def last(self) -> date | None:
        return None if self.end is None else (self.end - pd.Timedelta(days=1)).date()

    def whole(self) -> _Asked:
        """The same tickers from their first day on."""
        return self._replace(start=None)

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Those of a frame that are of the days asked for."""
        inside = pd.Series(True, frame.index)
        if self.start is not None:
            inside &= frame["date"] >= self.start
        if self.end is not None:
            inside &= frame["date"] < self.end
        return frame[inside].reset_index(drop=True)


class AsKnown(Warehouse):
    """A warehouse as it was known at the end of a day, UTC. It cannot be written.

    Args:
        warehouse: the one that is.
        day: the day.
    """

    def __init__(self, warehouse: Warehouse, day: date) -> None:
        self.now = warehouse
        self.day = day
        self.kind, self.schema = warehouse.kind, warehouse.schema
        self._before = day_ends_at(day)
        self._read: Mapping[str, Callable[[_Asked], pd.DataFrame]] = {
            RAW_PRICES.name: lambda asked: self._bars(RAW_PRICES, asked),
            PRICE_HISTORY.name: lambda asked: self._bars(PRICE_HISTORY, asked),
            INDICATORS.name: self._indicators,
            FORECASTS.name: self._forecasts,
            FORECAST_ACCURACY.name: self._scores,
            PUBLISHED_FORECASTS.name: lambda asked: self._until(PUBLISHED_FORECASTS, "published_at", asked),
            PRICE_REVISIONS.name: lambda asked: self._until(PRICE_REVISIONS, "revised_at", asked),
            EARNINGS_DATES.name: lambda asked: self._until(EARNINGS_DATES, "known_on", asked),
            TRAINED_MODEL.name: self._models,
        }

    @property
    def words(self) -> str:
        """What it shows, in a sentence."""
        return words_of(self.day)

    @property
    def place(self) -> str:
        return f"{self.now.place} as known on {self.day}"

    @property
    def version(self) -> str:
        return f"{self.now.version} as known on {self.day}"

    @property
    def written_at(self) -> datetime | None:
        return self.now.written_at

    def full_name(self, ref: TableRef) -> str:
        return self.now.full_name(ref)

    def stored(self, ref: TableRef) -> Table | None:
        return self.now.stored(ref)

    def migration(self, ref: TableRef, column: str, stored: str, declared: Column | None) -> str:
        return self.now.migration(ref, column, stored, declared)

    def replace(
        self,
        ref: TableRef,
        data: pa.Table,
        part: Slice,
        contract: Table,
        attempt: str | None = None,
        added: Added | None = None,
    ) -> None:
        """Raises StockcastError: the past cannot be written."""
        raise StockcastError(f"The world of {self.day} can be read and not written: leave out --as-known-on.")

    def select(
        self,
        ref: TableRef,
        part: Slice,
        contract: Table,
        columns: Sequence[str],
        order_by: Sequence[str],
        newest: Newest | None = None,
    ) -> pa.Table | None:
        asked = _Asked.of(part)
        read = self._read.get(ref.name)
        frame = self._until(contract, "date", asked) if read is None else read(asked)
        if newest is not None:
            frame = frame.sort_values(list(newest.by)).drop_duplicates(newest.of, keep="last")
        if order_by:
            frame = frame.sort_values(list(order_by))
        wanted = frames.wanted_columns(contract, columns)
        return frames.to_arrow(frame[list(columns)], contract.name, replace(wanted, primary_key=()))[0]

    def _now(self, table: Table, asked: _Asked) -> pd.DataFrame:
        return self.now.read(table, tickers=asked.tickers, start=asked.start, end=asked.last)

    def _until(self, table: Table, known: str, asked: _Asked) -> pd.DataFrame:
        """The rows whose column `known` says that they were known."""
        rows = self._now(table, asked)
        end = self._before if rows[known].dt.tz is not None else self._before.tz_localize(None)
        return rows[rows[known] < end].reset_index(drop=True)

    def _models(self, asked: _Asked) -> pd.DataFrame:
        rows = self._until(TRAINED_MODEL, "date", asked)
        return rows[rows["trained_to"] < self._before.tz_localize(None)].reset_index(drop=True)

    def _bars(self, table: Table, asked: _Asked) -> pd.DataFrame:
        return as_known(self._now(table, asked), self._now(PRICE_REVISIONS, asked), table.name, self._before)

    def _series(self, asked: _Asked) -> pd.DataFrame:
        """The bars of both tables from the first one on, as one series."""
        return one_series(self._bars(RAW_PRICES, asked.whole()), self._bars(PRICE_HISTORY, asked.whole()))

    def _indicators(self, asked: _Asked) -> pd.DataFrame:
        bars = self._series(asked)
        if bars.empty:
            return INDICATORS.empty()
        daily = pd.MultiIndex.from_frame(self._bars(RAW_PRICES, asked)[ledger.KEY])
        computed = asked.rows(indicators.compute(bars))
        return computed[pd.MultiIndex.from_frame(computed[ledger.KEY]).isin(daily)].reset_index(drop=True)

    def _forecasts(self, asked: _Asked) -> pd.DataFrame:
        published = self._until(PUBLISHED_FORECASTS, "published_at", asked)
        return ledger.newest_revisions(published)[FORECASTS.column_names].reset_index(drop=True)

    def _scores(self, asked: _Asked) -> pd.DataFrame:
        bars, entries = self._series(asked), self._until(PUBLISHED_FORECASTS, "published_at", asked.whole())
        there = pd.MultiIndex.from_frame(bars[ledger.KEY])
        made = ledger.newest_revisions(entries)[FORECASTS.column_names]
        closed = [pd.MultiIndex.from_frame(made[["ticker", day]]).isin(there) for day in ("date", "target_date")]
        due = made[closed[0] & closed[1]]
        if due.empty:
            return FORECAST_ACCURACY.empty()
        days = sorted({day.date() for day in due["target_date"]})
        return asked.rows(accuracy.score(accuracy.promised(due, entries[accuracy.ENTRY_COLUMNS]), bars, days))


def words_of(day: date) -> str:
    """What the world of a day shows, in a sentence or two."""
    return (
        f"The world as it was known at the end of {day} (UTC): bars, forecasts and earnings dates of then, and what "
        "follows from them. Models (but for their cards), drift, the market's state and scenarios are those stored now "
        "of days up to then."
    )


def past_day(text: str) -> date:
    """A day of which it can be said what was known at its end; of today it is what is known now.

    Raises:
        StockcastError: if it is no date, or still to come.
    """
    day = parse_day(text)
    if day > utc_today():
        raise StockcastError(f"{day} is still to come: ask for what was known on a day up to {utc_today()}.")
    return day


def world_of(warehouse: Warehouse, day: date | None) -> Warehouse:
    """The warehouse as known at the end of a day; as it is if there is none."""
    return warehouse if day is None else AsKnown(warehouse, day)
