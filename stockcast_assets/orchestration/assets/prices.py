"""`price_history` and `raw_prices`: the bars, as the source reports them.

Every fetch asks for a few stored sessions again. What the source now says otherwise is recorded as an observation
of `raw_prices` (see `REVISIONS`), from which the sensor `revisions` launches what must be materialised again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import partition_key, validate_ticker
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.evidence import plainly_closed
from stockcast_assets.market.past import Merged, merge_past
from stockcast_assets.market.revisions import Revision, detect
from stockcast_assets.market.sources import SOURCES
from stockcast_assets.market.sources.base import COMPANY, DEEP_PAST, NOTES, MissingBars, Source
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.market.sources.validate import leave_out, refuse_implausible
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.assets.bars import closed_or_unlisted, first_sources, read_bars
from stockcast_assets.orchestration.assets.metadata import show, show_days, timed
from stockcast_assets.orchestration.assets.price_revisions import with_price_revisions
from stockcast_assets.orchestration.assets.run_config import RunInput, configured_by
from stockcast_assets.orchestration.assets.specs import (
    days_by_ticker,
    keyed,
    missing_days,
    rows_of_keys,
    shown_days,
    table_asset,
)
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.ticker_space import remember_companies
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES
from stockcast_assets.warehouse import KeyedFrame, Warehouse

REVISIONS = "revisions"
"""Metadata of an observation of `raw_prices`: JSON, a list of {ticker, date, kind, column, before, after}."""

TOUCHED = "touched"
"""Metadata of the same observation: JSON {ticker, first, last, history}, the keys that must be fetched again:
`raw_prices` of the ticker from `first` to `last` (null: none), and its `price_history` if `history`."""

LATE_TICKERS = "late_tickers"
"""Metadata of a failure of `raw_prices` or `price_history`: JSON {ticker: reason}, all tickers that stopped the run."""

LEFT_OUT = "left_out"
"""Metadata of an observation of `raw_prices` or `price_history`: JSON, sentences on real bars that are not stored."""

OVERLAP = 10
"""Stored sessions that every fetch asks for again."""

_OVERLAP_DAYS = 25
"""Calendar days in which ten sessions lie, with a long holiday among them."""

_FETCHERS = 4
_WORDS = "nothing was written; try again later or supply the bars as CSV"
_OR_WITHOUT = f"{_WORDS}, or leave the day out by the line {{line}}"


_HISTORY = """
One key is one ticker, so ten years of bars cost one provider call and one event. Indicators, models and drift read
these bars and those of `raw_prices` as one series. **To fetch a past again** (after a split, or a correction),
materialise the ticker's key; the sensor `revisions` does so by itself. A stored bar stays unless the source (or the
uploaded file) has that day: the key's metadata says how many stayed. Only the config `replace: true` removes rows.
"""

_DAILY = """
A day on which the ticker's market was closed materialises with 0 rows and says so. A source that sends nothing for an
open day, or an implausible bar, **fails the run and writes nothing**; `daily_catch_up` tries the late tickers again.
Every fetch compares ten stored sessions with what the source says now: a difference is an observation of this asset.
"""


class IngestConfig(RunInput):
    """Where this run fetches from; the CSV inbox asks for `csv`, everything else for each ticker's own source.

    With `replace`, stored bars that the source does not send are removed; else they stay, or the run is refused.
    """

    source: Literal[SOURCES] | None = None  # type: ignore[valid-type]
    replace: bool = False


@dataclass
class Fetched:
    """What came of one ticker: bars of the keys asked for and why others have none, or the reason it is late."""

    ticker: str
    bars: pd.DataFrame | None = None
    empty: dict[Any, str] = field(default_factory=dict)
    revisions: list[Revision] = field(default_factory=list)
    late: str | None = None
    missing: tuple[pd.Timestamp, ...] = ()
    notes: list[str] = field(default_factory=list)
    company: str | None = None


def keep_first_seen(fetched: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Give bars whose values did not change the `ingested_at` they were first stored with.

    So fetching the same bars again changes no bit of the table.
    """
    values = [name for name in RAW_PRICES.column_names if name != "ingested_at"]
    known = stored[[*values, "ingested_at"]].rename(columns={"ingested_at": "first_seen"})
    merged = fetched.merge(known, on=values, how="left")
    return fetched.assign(ingested_at=merged["first_seen"].fillna(merged["ingested_at"]).to_numpy())


def build_price_history(first_daily_key: date) -> dg.AssetsDefinition:
    """Every bar before the first daily key, one key per ticker."""

    @table_asset(PRICE_HISTORY, "market", ticker_partitions, "pandas", about=_HISTORY, config=IngestConfig)
    @timed
    @configured_by(IngestConfig)
    def price_history(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
    ) -> KeyedFrame:
        end = first_daily_key - timedelta(days=1)
        tickers = [validate_ticker(key) for key in context.partition_keys]
        reach = first_daily_key + timedelta(days=_OVERLAP_DAYS)
        # A repair fetches the daily bars next, which are in other shares until then.
        looked_at = [] if tags.REPAIR in context.run.tags else tickers
        daily = warehouse.read(RAW_PRICES, tickers=looked_at, start=first_daily_key, end=reach)
        own = {ticker: rows.head(OVERLAP) for ticker, rows in daily.groupby("ticker")}
        there = dict(iter(warehouse.read(PRICE_HISTORY, tickers=tickers).groupby("ticker")))
        source_for = _sources_for(config, sources, warehouse, tickers)

        def fetch(ticker: str) -> Fetched:
            source, stored = source_for[ticker], own.get(ticker, daily.iloc[:0])
            before = there.get(ticker, daily.iloc[:0]).reset_index(drop=True)
            # Where the start date was moved back, the key still holds bars after its end.
            until = max([pd.Timestamp(end), *before["date"].tail(1)])
            # One request more than the past: the first daily bars show whether both are in the same shares.
            bars = source.bars(ticker, None, max([until, *stored["date"].tail(1)]).date())
            notes, company = list(bars.attrs.get(NOTES, ())), bars.attrs.get(COMPANY)
            # Nobody will correct a single bar of years ago, and it must not shut the ticker out.
            bars, left_out = leave_out(bars, pd.Timestamp(utc_now().date()) - DEEP_PAST)
            notes += [f"left out as implausible: {bar}" for bar in left_out]
            refuse_implausible(bars, None, f"The source {source.name}", _remedy(source))
            past = bars[bars["date"] <= until].reset_index(drop=True)
            merged = Merged(past, 0) if config.replace else merge_past(before, past, utc_now())
            gone = before[~before["date"].isin(merged.bars["date"])]
            _tell_of_stored(context, ticker, source.name, merged, gone)
            empty = {ticker: f"no bars before {first_daily_key}"} if merged.bars.empty else {}
            splits = [revision for revision in detect(stored, bars) if revision.kind == "split"]
            return Fetched(ticker, merged.bars, empty, splits, notes=notes, company=company)

        results = _fetch_all(context, fetch, tickers)
        for result in results:
            context.log.info(f"{result.ticker}: {len(result.bars)} bars up to {end}")  # type: ignore[arg-type]
            _tell_notes(context, result, result.ticker)
            if result.revisions:
                _observe(context, warehouse, result, first_daily_key, result.ticker, history=False)
        fetched = pd.concat([result.bars for result in results], ignore_index=True)
        show(context, {str(ticker): _ends(bars) for ticker, bars in fetched.groupby("ticker")})
        empty = {key: reason for result in results for key, reason in result.empty.items()}
        stored = pd.concat([daily.iloc[:0], *there.values()], ignore_index=True)
        made = KeyedFrame(keep_first_seen(fetched, stored), empty)
        return with_price_revisions(
            warehouse, PRICE_HISTORY, made, lambda: warehouse.read(PRICE_HISTORY, tickers=tickers)
        )

    return price_history


def build_raw_prices(daily: dg.MultiPartitionsDefinition, first_daily_key: date) -> dg.AssetsDefinition:
    """One bar per ticker and session."""

    @table_asset(RAW_PRICES, "market", daily, "pandas", about=_DAILY, config=IngestConfig)
    @timed
    @configured_by(IngestConfig)
    def raw_prices(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
    ) -> KeyedFrame:
        days = days_by_ticker(context.partition_keys)
        stored = _stored_around(warehouse, days)
        with_csv = [ticker for ticker in days if ((stored["ticker"] == ticker) & (stored["source"] == "csv")).any()]
        source_for = _sources_for(config, sources, warehouse, list(days), with_csv)
        others = {ticker: _compared(stored, ticker, asked) for ticker, asked in days.items()}
        known = {} if config.replace else dict(iter(stored.groupby("ticker")["date"]))
        results = _fetch_all(
            context,
            lambda ticker: refuse_loss(
                _fetch_days(source_for[ticker], ticker, days[ticker], others[ticker]), known.get(ticker, ())
            ),
            list(days),
            observe=lambda result: _observe(
                context, warehouse, result, first_daily_key, partition_key(result.ticker, days[result.ticker][-1])
            ),
            look_for_closed=lambda results: _close_by_evidence(context, warehouse, source_for, results),
        )
        for result in results:
            _tell_notes(context, result, partition_key(result.ticker, days[result.ticker][-1]))
        fetched = pd.concat([result.bars for result in results], ignore_index=True)
        show_days(context, fetched, {"close": "close", "volume": "volume"})
        closed = {key: reason for result in results for key, reason in result.empty.items()}
        made = keyed(context, keep_first_seen(fetched, stored), closed)
        return with_price_revisions(warehouse, RAW_PRICES, made, lambda: _stored_of(warehouse, days))

    return raw_prices


def _fetch_days(source: Source, ticker: str, asked: Sequence[pd.Timestamp], stored: pd.DataFrame) -> Fetched:
    """The bars of the days asked for, compared with those stored around them in one and the same request.

    Raises:
        StockcastError: if a day's bar is missing or implausible.
    """
    overlap = stored["date"].iloc[0].date() if len(stored) else None
    bars = source.bars(ticker, asked[0].date(), asked[-1].date(), overlap)
    notes, company = list(bars.attrs.get(NOTES, ())), bars.attrs.get(COMPANY)
    refuse_implausible(bars, asked[0], f"The source {source.name}", _remedy(source))
    revisions = detect(stored, bars)
    split = next((revision for revision in revisions if revision.kind == "split"), None)
    if split is not None:
        # A bar is never stored beside bars in other shares.
        late = (
            f"{split}: the bars stored before are in other shares and must be fetched again first, as the sensor "
            f"revisions does, or `stockcast backfill --tickers {ticker} --assets price_history,raw_prices`; nothing "
            "was written."
        )
        return Fetched(ticker, revisions=[split], late=late)
    own = rows_of_keys(bars, {ticker: list(asked)})
    absent = missing_days(own, {ticker: list(asked)}).get(ticker, [])
    reasons = closed_or_unlisted(ticker, absent, source.first_session(ticker))
    unexplained = [day for day in absent if (ticker, day) not in reasons]
    if unexplained:
        raise MissingBars(
            f"The source {source.name} has no bar of {ticker} for {shown_days(unexplained)}, although the "
            f"market was open: {_WORDS}; if it was closed, write "
            f"{calendars.closing_line(calendars.calendar_for(ticker), unexplained)}.",
            unexplained,
        )
    return Fetched(ticker, own, reasons, revisions, notes=notes, company=company)


def refuse_loss(fetched: Fetched, stored: Iterable[pd.Timestamp]) -> Fetched:
    """Return what was fetched unless a day that would be empty now has a stored bar.

    A check after the run would be red when the bar is gone; so the run is, before anything is written.

    Raises:
        StockcastError: naming the days, and the word that removes them.
    """
    lost = sorted({day for _, day in fetched.empty} & set(stored))
    if lost:
        reason = fetched.empty[fetched.ticker, lost[0]]
        raise StockcastError(
            f"{fetched.ticker} has a stored bar of {shown_days(lost)}, which this run would remove ({reason}): nothing "
            "was written. If the day was a session, say so under [open] in calendars.toml; else remove it by "
            f"`stockcast backfill --tickers {fetched.ticker} --assets raw_prices --from {lost[0].date()} "
            f"--to {lost[-1].date()} --replace`."
        )
    return fetched


def _fetch_all(
    context: dg.AssetExecutionContext,
    fetch: Callable[[str], Fetched],
    tickers: Sequence[str],
    observe: Callable[[Fetched], None] | None = None,
    look_for_closed: Callable[[Sequence[Fetched]], bool] | None = None,
) -> list[Fetched]:
    """Fetch every ticker, a few at a time, before judging any.

    `look_for_closed` says whether what came shows that an exchange was closed; then the late ones are fetched again.

    Raises:
        dg.Failure: if one is late, naming all that are (see `LATE_TICKERS`).
    """

    def attempt(ticker: str) -> Fetched:
        try:
            return fetch(ticker)
        except StockcastError as error:
            return Fetched(ticker, late=str(error), missing=error.days if isinstance(error, MissingBars) else ())

    with ThreadPoolExecutor(_FETCHERS) as pool:
        results = list(pool.map(attempt, tickers))
    if look_for_closed is not None and look_for_closed(results):
        results = [result if result.late is None else attempt(result.ticker) for result in results]
    for result in results:
        if result.revisions and observe is not None:
            observe(result)
    remember_companies(context.instance, {each.ticker: each.company for each in results if each.company})
    late = {result.ticker: result.late for result in results if result.late is not None}
    if late:
        context.instance.add_run_tags(context.run_id, {tags.LATE: ",".join(late)})
        sentence = _sentence(late, len(results))
        # The command line looks for the sentence in the cause.
        raise dg.Failure(
            description=sentence, metadata={LATE_TICKERS: dg.MetadataValue.json(late)}, allow_retries=False
        ) from StockcastError(sentence)
    return results


def _tell_of_stored(
    context: dg.AssetExecutionContext, ticker: str, source: str, merged: Merged, gone: pd.DataFrame
) -> None:
    """Put on the key which stored bars the source did not send, whether they stay or were told to go."""
    if merged.kept:
        rescaled = "" if merged.factor == 1.0 else f", brought into today's shares by {merged.factor:.6g}"
        words = f"{merged.kept} bars of {len(merged.bars)} are as stored before: {source} did not send them{rescaled}"
        context.log.warning(f"{ticker}: {words}.")
        show(context, {ticker: {"kept bars": merged.kept, "kept": words}})
    if len(gone):
        words = f"{len(gone)} stored bars removed, as asked for (first: {gone['date'].iloc[0]:%Y-%m-%d})"
        context.log.warning(f"{ticker}: {words}.")
        show(context, {ticker: {"removed bars": len(gone), "removed": words}})


def _tell_notes(context: dg.AssetExecutionContext, fetched: Fetched, key: str) -> None:
    """Put what was left out of a ticker's bars on a key's page, and on the asset's."""
    if not fetched.notes:
        return
    words = "; ".join(fetched.notes)
    context.log.warning(f"{fetched.ticker}: {words}.")
    show(context, {key: {"left out": words}})
    context.log_event(
        dg.AssetObservation(
            context.asset_key,
            partition=key,
            description=f"{fetched.ticker}: {words}",
            metadata={LEFT_OUT: dg.MetadataValue.json(fetched.notes)},
        )
    )


def _close_by_evidence(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    source_for: Mapping[str, Source],
    results: Sequence[Fetched],
) -> bool:
    """Learn the days on which an exchange was plainly closed; whether there is one."""
    lacking: dict[tuple[str, pd.Timestamp], list[str]] = {}
    for result in results:
        for day in result.missing:
            lacking.setdefault((calendars.calendar_for(result.ticker), day), []).append(result.ticker)
    found = False
    for (calendar, day), tickers in sorted(lacking.items()):
        others = [
            ticker
            for ticker in context.instance.get_dynamic_partitions(str(ticker_partitions.name))
            if calendars.calendar_for(ticker) == calendar
        ]
        stored = warehouse.read(RAW_PRICES, tickers=others, start=day.date(), end=day.date(), columns=["ticker"])
        if len(stored):
            continue
        asked = {ticker: source_for.get(ticker, source_for[tickers[0]]) for ticker in {*tickers, *others}}
        because = plainly_closed(calendar, day, asked)
        if because is not None:
            calendars.learn_closed(calendar, day, because)
            context.log.warning(f"{because} To revise it: calendars.toml, [open].")
            found = True
    return found


def _ends(bars: pd.DataFrame) -> dict[str, Any]:
    return {"first bar": f"{bars['date'].min():%Y-%m-%d}", "last bar": f"{bars['date'].max():%Y-%m-%d}"}


def _sentence(late: Mapping[str, str], asked: int) -> str:
    if len(late) == 1:
        return next(iter(late.values()))
    shown = " ".join(f"[{ticker}] {reason}" for ticker, reason in list(late.items())[:3])
    more = f" And {len(late) - 3} more." if len(late) > 3 else ""
    return f"{len(late)} of {asked} tickers stopped the run, so nothing was written: {shown}{more}"


def _remedy(source: Source) -> str:
    return "correct it and upload the file again" if source.name == "csv" else _OR_WITHOUT


def _sources_for(
    config: IngestConfig,
    sources: Sources,
    warehouse: Warehouse,
    tickers: Sequence[str],
    with_csv: Sequence[str] | None = None,
) -> dict[str, Source]:
    """Each ticker's source: the one the run was told, else csv for a ticker that began there, else the default.

    `with_csv` are the only ones that may have begun there, if that is known.
    """
    if config.source is not None:
        return dict.fromkeys(tickers, sources.get(config.source))
    began = first_sources(warehouse, tickers if with_csv is None else with_csv)
    return {ticker: sources.get("csv" if began.get(ticker) == "csv" else None) for ticker in tickers}


def _stored_of(warehouse: Warehouse, days: Mapping[str, list[pd.Timestamp]]) -> pd.DataFrame:
    """The stored bars of the days asked for."""
    first, last = min(asked[0] for asked in days.values()), max(asked[-1] for asked in days.values())
    return rows_of_keys(warehouse.read(RAW_PRICES, tickers=list(days), start=first, end=last), days)


def _stored_around(warehouse: Warehouse, days: Mapping[str, Sequence[pd.Timestamp]]) -> pd.DataFrame:
    """Stored bars of the days asked for and of the weeks before; of a ticker without any there, all before."""
    first, last = min(asked[0] for asked in days.values()), max(asked[-1] for asked in days.values())
    near = read_bars(warehouse, list(days), last, since=first - pd.Timedelta(days=_OVERLAP_DAYS))
    earlier = near["ticker"][near["date"] < first]
    alone = [ticker for ticker in days if ticker not in set(earlier)]
    far = read_bars(warehouse, alone, first - pd.Timedelta(days=1))
    return pd.concat([near, far], ignore_index=True).sort_values(["ticker", "date"], ignore_index=True)


def _compared(stored: pd.DataFrame, ticker: str, asked: Sequence[pd.Timestamp]) -> pd.DataFrame:
    """The stored bars that a run over the days asked for leaves as they are: the last ten before, and any between."""
    own = stored[(stored["ticker"] == ticker) & ~stored["date"].isin(list(asked))]
    before = own[own["date"] < asked[0]].tail(OVERLAP)
    between = own[own["date"].between(asked[0], asked[-1])]
    return pd.concat([before, between], ignore_index=True)


def _observe(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    result: Fetched,
    first_daily_key: date,
    key: str,
    history: bool = True,
) -> None:
    """Record what the source says otherwise, and which keys must be fetched again for it."""
    touched = _touched(warehouse, result, first_daily_key, history)
    revisions = [
        {name: value.isoformat() if isinstance(value, date) else value for name, value in vars(revision).items()}
        for revision in result.revisions
    ]
    context.log_event(
        dg.AssetObservation(
            RAW_PRICES.name,
            partition=key if "|" in key else None,
            description="; ".join(map(str, result.revisions)),
            metadata={REVISIONS: dg.MetadataValue.json(revisions), TOUCHED: dg.MetadataValue.json(touched)},
        )
    )


def _touched(warehouse: Warehouse, result: Fetched, first_daily_key: date, history: bool) -> dict[str, Any]:
    split = any(revision.kind == "split" for revision in result.revisions)
    if split:
        days = warehouse.read(RAW_PRICES, tickers=[result.ticker], columns=["ticker", "date"])["date"]
        first, last = (days.iloc[0].date(), days.iloc[-1].date()) if len(days) else (None, None)
    else:
        # A bar the source has no more cannot be fetched again.
        changed = sorted({revision.date for revision in result.revisions if revision.kind != "missing bar"})
        history = any(day < first_daily_key for day in changed)
        daily = [day for day in changed if day >= first_daily_key]
        first, last = (daily[0], daily[-1]) if daily else (None, None)
    return {
        "ticker": result.ticker,
        "first": first and first.isoformat(),
        "last": last and last.isoformat(),
        "history": history,
    }
