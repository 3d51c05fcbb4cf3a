"""Dagster runs on request: what the command line does, in the real instance, through the same jobs."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.dagster_private.execution import create_run, enqueue, execute, latest_tries
from stockcast_assets.dagster_private.machine import this_machine
from stockcast_assets.dagster_private.turns import Waiting, turn
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.universe.month import FEWEST
from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.failures import why_failed
from stockcast_assets.orchestration.graph import DERIVED_ASSETS
from stockcast_assets.orchestration.jobs import job_for, with_companions
from stockcast_assets.orchestration.planning.launch import ASSETS_OF, HISTORY, Launch
from stockcast_assets.orchestration.planning.ranges import (
    known_tickers,
    month_stretches,
    session_stretches,
    shards,
)
from stockcast_assets.orchestration.planning.requests import run_config, run_tags
from stockcast_assets.orchestration.slices import slices
from stockcast_assets.orchestration.stored import look, trained_months
from stockcast_assets.orchestration.ticker_space import enrol
from stockcast_assets.stopping import Stopped, shield_children, signalled, stop_if_signalled
from stockcast_assets.tables import FORECASTS, PRICE_HISTORY, RAW_PRICES, SCENARIOS, TRAINED_MODEL, UNIVERSE_MODEL
from stockcast_assets.warehouse import Warehouse

Days = Mapping[str, Sequence[pd.Timestamp]]
Observer = Callable[["Launch"], Any]
Stretches = Callable[[str, Sequence[pd.Timestamp]], Iterable[tuple[date, date]]]

_POLL_S = 1.0
_SILENT_S = 120.0


@dataclass
class Runner:
    """Launches one after the other and waits for each.

    Attributes:
        defs: the code location.
        instance: the Dagster instance whose event log and UI will show the runs.
        first_daily_key: STOCKCAST_START_DATE.
        warehouse: the tables that the runs write.
        observe: called with each launch; a context manager around its run, for progress.
        log_level: Dagster's console log level.
        waiting: called with a table that another process writes; a context manager around the wait for it.
        tickers_per_run: how many tickers a run makes at most.
        shared_network: whether the tickers share networks, which are trained before their models.
        tell: called with a sentence that people should read.
        queued: whether the daemon has the runs launched, those of a launch side by side, instead of this process.
        finished: the launches that are done, each with its seconds.
    """

    defs: dg.Definitions
    instance: dg.DagsterInstance
    first_daily_key: date
    warehouse: Warehouse
    observe: Observer
    log_level: str = "CRITICAL"
    waiting: Waiting = lambda pool: nullcontext()
    tickers_per_run: int = sys.maxsize
    shared_network: bool = False
    tell: Callable[[str], object] = lambda sentence: None
    queued: bool = False
    finished: list[tuple[Launch, float]] = field(default_factory=list)

    def run(self, launch: Launch) -> None:
        """Materialise exactly the keys of the launch. A training gets what was tuned.

        Raises:
            StockcastError: if the run fails; with the reason the failing asset gave.
            Stopped: if a signal came; the run is canceled.
        """
        with self.turn(launch.assets, launch.tickers):
            enrol(self.instance, utc_now())
            loggers = {"console": {"config": {"log_level": self.log_level}}}
            config = {**run_config(self.instance, launch), "loggers": loggers}
            cut = shards(known_tickers(self.instance), launch.tickers, self.tickers_per_run)
            # What is of all tickers is one run.
            parts = [replace(launch, tickers=tickers) for tickers in (cut if launch.tickers else [()])]
            if self.queued:
                self._launch(parts, config)
                return
            for part in parts:
                started = time.monotonic()
                with self.observe(part):
                    self._execute(part, config)
                self.finished.append((part, time.monotonic() - started))

    def _execute(self, launch: Launch, config: Mapping[str, Any]) -> None:
        stop_if_signalled()
        shield_children()
        run = self._created(launch, config, this_machine())
        run = execute(self.defs, self.instance, run, lambda: signalled() is not None)
        # Dagster takes note of a signal, but does not say so to its caller.
        stop_if_signalled()
        self._raise_unless_green(run)

    def _created(
        self, launch: Launch, config: Mapping[str, Any], more_tags: Mapping[str, str] | None = None
    ) -> dg.DagsterRun:
        assets, tags = with_companions(launch.assets), {**run_tags(launch), **(more_tags or {})}
        return create_run(self.defs, job_for(launch.assets), self.instance, assets, tags, config)

    def _launch(self, parts: Sequence[Launch], config: Mapping[str, Any]) -> None:
        """Put the runs into the queue and wait for all of them."""
        self.require_daemon()
        started = time.monotonic()
        ids = []
        for part in parts:
            created = self._created(part, config)
            enqueue(self.instance, created)
            ids.append(created.run_id)
        with self.observe(replace(parts[0], tickers=tuple(ticker for part in parts for ticker in part.tickers))):
            try:
                tries = latest_tries(self.instance, ids)
                while any(run is None or not run.is_finished for run in tries):
                    stop_if_signalled()
                    time.sleep(_POLL_S)
                    tries = latest_tries(self.instance, ids)
            except Stopped:
                for run in latest_tries(self.instance, ids):
                    if run is not None and not run.is_finished:
                        self.instance.run_coordinator.cancel_run(run.run_id)
                raise
            green = [part for part, run in zip(parts, tries, strict=True) if run is not None and run.is_success]
            self.finished += [(part, time.monotonic() - started) for part in green]
            for run in tries:
                assert run is not None
                self._raise_unless_green(run)

    def require_daemon(self) -> None:
        """Raise StockcastError if no daemon is at work, which would have queued runs launched."""
        beats = [beat.timestamp for beat in self.instance.get_daemon_heartbeats().values()]
        if time.time() - max(beats, default=0.0) > _SILENT_S:
            raise StockcastError(
                "No daemon is at work on this instance, so nobody would launch the runs: start `stockcast ui` or "
                "`dagster-daemon run`, or leave --queued out."
            )

    def _raise_unless_green(self, run: dg.DagsterRun) -> None:
        if run.is_success:
            return
        failure = why_failed(self.instance, run.run_id)
        if failure.ours:
            raise StockcastError(failure.words)
        raise StockcastError(
            f"{failure.step or 'The run'} failed: {failure.words} (run {run.run_id}; `stockcast ui` shows its log)."
        )

    def turn(self, assets: Iterable[str], tickers: Iterable[str]) -> AbstractContextManager[None]:
        """Let no other command or run write what a run of these assets and tickers makes meanwhile."""
        if self.queued:
            # Else the runs would wait for this command, which waits for them.
            return nullcontext()
        # All at once: whoever has a part and waits for the rest may wait for one who does the same.
        pools = with_companions(assets)
        return turn(self.instance, pools, slices(pools, tickers), self.waiting)

    def missing(self, asset: str, wanted: Days) -> dict[str, list[pd.Timestamp]]:
        """The days of `wanted` that were never materialised, or whose rows are lost, per ticker."""
        done = look(self.instance, self.warehouse, [asset], wanted).there(asset)
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
        self.train_networks({month for of_ticker in untrained.values() for month in of_ticker})
        self._make_up(TRAINED_MODEL.name, months, lambda _, of_ticker: month_stretches(of_ticker))
        self._make_up(FORECASTS.name, wanted, session_stretches, DERIVED_ASSETS)

    def train_networks(self, months: Iterable[pd.Timestamp]) -> None:
        """Train the networks that the tickers share in these months of use, as far as they were not.

        They stop nothing: a ticker whose month has none gets a network of its own.
        """
        assets, asked = (UNIVERSE_MODEL.name,), set(months)
        if not self.without_networks(asked):
            return
        with self.turn(assets, ()):
            # Asked again: whoever had the turn before may have made them.
            for first, last in month_stretches(self.without_networks(asked)):
                try:
                    self.run(Launch(assets, (), first, last))
                except StockcastError as error:
                    self.tell(f"Every ticker gets a network of its own, because theirs together failed: {error}")

    def without_networks(self, months: Iterable[pd.Timestamp]) -> set[pd.Timestamp]:
        """Those of the months whose shared networks are not trained, if the tickers share any."""
        asked = set(months)
        if not (self.shared_network and asked and len(known_tickers(self.instance)) >= FEWEST):
            return set()
        return asked - trained_months(self.instance, self.warehouse)

    def draw_scenarios(self, days: Iterable[pd.Timestamp]) -> None:
        """Materialise the joint scenarios of the days that have none.

        Raises:
            StockcastError: if a run fails.
        """
        asked = sorted(set(days))
        made = set(self.warehouse.read(SCENARIOS, start=asked[0], end=asked[-1], columns=["date"])["date"])
        if missing := [day for day in asked if day not in made]:
            self.run(Launch((SCENARIOS.name,), (), missing[0].date(), missing[-1].date()))

    def ingest(self, until: Mapping[str, pd.Timestamp]) -> None:
        """Materialise the bars that are missing up to a session of each ticker, the deep past included.

        Raises:
            StockcastError: if a run fails.
        """
        if self._without_past(until):
            past = ASSETS_OF[HISTORY]
            with self.turn(past, until):
                if tickers := self._without_past(until):
                    self.run(Launch(past, tickers))
        sessions = {
            ticker: list(calendars.sessions(calendars.calendar_for(ticker), self.first_daily_key, day))
            for ticker, day in until.items()
        }
        self._make_up(RAW_PRICES.name, sessions, session_stretches)

    def _without_past(self, tickers: Iterable[str]) -> tuple[str, ...]:
        asked = list(tickers)
        done = look(self.instance, self.warehouse, [PRICE_HISTORY.name], asked).there(PRICE_HISTORY.name)
        return tuple(ticker for ticker in asked if ticker not in done)

    def _make_up(self, asset: str, wanted: Days, stretches_of: Stretches, assets: tuple[str, ...] = ()) -> None:
        """Run what is missing of an asset, with `assets` if other ones are made in the same runs."""
        assets = assets or (asset,)
        if not self.missing(asset, wanted):
            return
        with self.turn(assets, wanted):
            # Asked again: whoever had the turn before may have made it.
            for tickers, first, last in _rectangles(self.missing(asset, wanted), stretches_of):
                self.run(Launch(assets, tickers, first, last))


def _rectangles(wanted: Days, stretches_of: Stretches) -> Iterable[tuple[tuple[str, ...], date, date]]:
    """Few rectangles that together are exactly `wanted`: tickers that want the same stretch share a run."""
    tickers_of: dict[tuple[date, date], list[str]] = defaultdict(list)
    for ticker, days in wanted.items():
        for stretch in stretches_of(ticker, days):
            tickers_of[stretch].append(ticker)
    for (first, last), tickers in sorted(tickers_of.items()):
        yield tuple(tickers), first, last
