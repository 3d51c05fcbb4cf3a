"""Dagster runs on request: what the command line does, in the real instance, through the same jobs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import dagster as dg

from stockcast_assets.dagster_private.machine import this_machine
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.failures import why_failed
from stockcast_assets.orchestration.graph import DERIVED_ASSETS
from stockcast_assets.orchestration.jobs import job_for
from stockcast_assets.orchestration.planning.launch import Launch
from stockcast_assets.orchestration.planning.ranges import (
    known_tickers,
    month_stretches,
    session_stretches,
    ticker_ranges,
)
from stockcast_assets.orchestration.planning.requests import run_config, run_tags
from stockcast_assets.tables import FORECASTS, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL

Days = Mapping[str, Sequence[pd.Timestamp]]
Observer = Callable[["Launch"], Any]


@dataclass
class Runner:
    """Launches one after the other and waits for each.

    Attributes:
        defs: the code location.
        instance: the Dagster instance whose event log and UI will show the runs.
        first_daily_key: STOCKCAST_START_DATE.
        observe: called with each launch; a context manager around its run, for progress.
        log_level: Dagster's console log level.
    """

    defs: dg.Definitions
    instance: dg.DagsterInstance
    first_daily_key: date
    observe: Observer
    log_level: str = "CRITICAL"
    finished: list[tuple[Launch, float]] = field(default_factory=list)

    def run(self, launch: Launch) -> None:
        """Materialise exactly the keys of the launch. A training gets what was tuned.

        Raises:
            StockcastError: if the run fails; with the reason the failing asset gave.
        """
        config = run_config(self.instance, launch)
        loggers = {"console": {"config": {"log_level": self.log_level}}}
        job = self.defs.resolve_job_def(job_for(launch.assets))
        known = known_tickers(self.instance)
        for first, last in ticker_ranges(known, launch.tickers):
            part = replace(launch, tickers=(first, last))
            started = time.monotonic()
            with self.observe(launch):
                result = job.execute_in_process(
                    instance=self.instance,
                    asset_selection=[dg.AssetKey(name) for name in launch.assets],
                    tags={**run_tags(part), **this_machine()},
                    run_config={**config, "loggers": loggers},
                    raise_on_error=False,
                )
                if not result.success:
                    failure = why_failed(self.instance, result.run_id)
                    if failure.ours:
                        raise StockcastError(failure.words)
                    raise StockcastError(
                        f"{failure.step or 'The run'} failed: {failure.words} (run {result.run_id}; `stockcast ui` "
                        "shows its log)."
                    )
            self.finished.append((launch, time.monotonic() - started))

    def missing(self, asset: str, wanted: Days) -> dict[str, list[pd.Timestamp]]:
        """The days of `wanted` that were never materialised, per ticker."""
        done = self.instance.get_materialized_partitions(dg.AssetKey(asset))
        gaps = {
            ticker: [day for day in days if partition_key(ticker, day) not in done] for ticker, days in wanted.items()
        }
        return {ticker: days for ticker, days in gaps.items() if days}

    def bring_up(self, wanted: Days) -> None:
        """Materialise whatever is missing for a forecast of each (ticker, session) of `wanted`.

        The deep past of the ticker, its bars from the first daily key on, the models of the months used, then
        indicators, forecasts, drift and accuracy of the sessions asked for. What is there already is left alone.

        Raises:
            StockcastError: if a run fails.
        """
        self.ingest({ticker: days[-1] for ticker, days in wanted.items()})
        months = {ticker: sorted({pd.Timestamp(month_of(day)) for day in days}) for ticker, days in wanted.items()}
        untrained = self.missing(TRAINED_MODEL.name, months)
        for tickers, first, last in _rectangles(untrained, lambda _, of_ticker: month_stretches(of_ticker)):
            self.run(Launch((TRAINED_MODEL.name,), tickers, first, last))
        for tickers, first, last in _rectangles(self.missing(FORECASTS.name, wanted), session_stretches):
            self.run(Launch(DERIVED_ASSETS, tickers, first, last))

    def ingest(self, until: Mapping[str, pd.Timestamp]) -> None:
        """Materialise the bars that are missing up to a session of each ticker, the deep past included.

        Raises:
            StockcastError: if a run fails.
        """
        done = self.instance.get_materialized_partitions(dg.AssetKey(PRICE_HISTORY.name))
        if without_past := tuple(ticker for ticker in until if ticker not in done):
            self.run(Launch((PRICE_HISTORY.name,), without_past))
        sessions = {
            ticker: list(calendars.sessions(calendars.calendar_for(ticker), self.first_daily_key, day))
            for ticker, day in until.items()
        }
        for tickers, first, last in _rectangles(self.missing(RAW_PRICES.name, sessions), session_stretches):
            self.run(Launch((RAW_PRICES.name,), tickers, first, last))


def _rectangles(
    wanted: Days, stretches_of: Callable[[str, Sequence[pd.Timestamp]], Iterable[tuple[date, date]]]
) -> Iterable[tuple[tuple[str, ...], date, date]]:
    """Few rectangles that together are exactly `wanted`: tickers that want the same stretch share a run."""
    tickers_of: dict[tuple[date, date], list[str]] = defaultdict(list)
    for ticker, days in wanted.items():
        for stretch in stretches_of(ticker, days):
            tickers_of[stretch].append(ticker)
    for (first, last), tickers in sorted(tickers_of.items()):
        yield tuple(tickers), first, last
