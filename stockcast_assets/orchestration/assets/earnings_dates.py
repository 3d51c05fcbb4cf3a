"""`earnings_dates`: when companies report, as far as it was known at the end of each day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import validate_ticker
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.earnings import FILED, SAID, Told, known, told
from stockcast_assets.market.sources.base import Source, TellsReports
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.assets.bars import first_sources
from stockcast_assets.orchestration.assets.metadata import show, timed
from stockcast_assets.orchestration.assets.specs import table_asset
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.tables import EARNINGS_DATES
from stockcast_assets.warehouse import KeyedFrame, Warehouse

CHANGES = "changes"
"""Metadata of an observation of `earnings_dates`: JSON, what a source said otherwise, a sentence each."""

SINCE = "since"
"""Metadata of the same observation: JSON {ticker, first}, the first day that would have looked different."""

_SAME = timedelta(days=5)
"""Days by which sources differ about one and the same report."""

_ABOUT = """
Each row is a statement with the day at whose end it was known: that a report came, will come, or does not come after
all. What a day knew never changes when a report is moved later: the old day is cancelled, the new one announced.

The key is asked for when a ticker is new, and every evening. **A source that does not answer changes nothing** and
stops nothing: what is stored stays, and the key's metadata says why. A CSV file `Ticker,Date[,When][,Known]` in the
uploads wins over what the source says of the same report.
"""


def build_earnings_dates() -> dg.AssetsDefinition:
    """What is said of the reports of a ticker."""

    @table_asset(EARNINGS_DATES, "market", ticker_partitions, "pandas", about=_ABOUT)
    @timed
    def earnings_dates(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], sources: dg.ResourceParam[Sources]
    ) -> KeyedFrame:
        tickers, now = [validate_ticker(key) for key in context.partition_keys], utc_now()
        stored = warehouse.read(EARNINGS_DATES, tickers=tickers)
        began = first_sources(warehouse, tickers)
        frames, empty = [stored.iloc[:0]], {}
        for ticker in tickers:
            own = stored[stored["ticker"] == ticker].reset_index(drop=True)
            asked = [sources.get("csv"), *([] if began.get(ticker) == "csv" else [sources.get()])]
            said, silent = _said(asked, ticker, own)
            found = told(own, said, now)
            frames.append(found.rows)
            show(context, {ticker: _shown(found, now, silent)})
            if silent:
                context.log.warning(f"{ticker}: {silent}")
            if found.changes or found.since:
                _observe(context, ticker, found)
            if found.rows.empty:
                empty[ticker] = "no report is known"
        return KeyedFrame(pd.concat(frames, ignore_index=True), empty)

    return earnings_dates


def _said(asked: list[Source], ticker: str, stored: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """What the sources say together, the first one first, and why one of them says nothing."""
    said, silent = pd.DataFrame(columns=list(SAID)), []
    for source in dict.fromkeys(asked):
        if not isinstance(source, TellsReports):
            continue
        try:
            more = source.earnings(ticker)
        except StockcastError as error:
            silent.append(str(error))
            # What it said before still holds.
            more = stored.loc[(stored["source"] == source.name) & ~stored["cancelled"].astype(bool), list(SAID)]
        days = pd.DatetimeIndex(said["date"])
        near = [bool((abs(days - day) <= _SAME).any()) for day in more["date"]]
        more = more[~np.array(near, dtype=bool)]
        said = more if said.empty else pd.concat([said, more], ignore_index=True) if len(more) else said
    return said, " ".join(silent)


def _shown(found: Told, now: pd.Timestamp, silent: str) -> dict[str, Any]:
    holds = known(found.rows, now.tz_localize(None))
    came = holds.loc[holds["kind"] == FILED, "date"]
    coming = holds[(holds["kind"] != FILED) & (holds["date"] >= now.tz_localize(None).normalize())]
    shown: dict[str, Any] = {"reports": len(came)}
    if len(came):
        shown["last report"] = f"{came.iloc[-1]:%Y-%m-%d}"
    if len(coming):
        first = coming.iloc[0]
        shown["next report"] = f"{first['date']:%Y-%m-%d}, {first['hour']}, {first['kind']}"
    if found.changes:
        shown[CHANGES] = "; ".join(found.changes)
    if silent:
        shown["not heard"] = silent
    return shown


def _observe(context: dg.AssetExecutionContext, ticker: str, found: Told) -> None:
    """Record what is said otherwise now, and since when it would have been."""
    metadata = {CHANGES: dg.MetadataValue.json(list(found.changes))}
    if found.since is not None:
        metadata[SINCE] = dg.MetadataValue.json({"ticker": ticker, "first": found.since.isoformat()})
    words = "; ".join(found.changes) or f"{ticker}: a statement is gone"
    context.log_event(dg.AssetObservation(EARNINGS_DATES.name, partition=ticker, description=words, metadata=metadata))
