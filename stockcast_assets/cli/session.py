"""What every command needs: settings, definitions, the instance, and a way to show progress."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import cast

import dagster as dg

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.terminal import Ticking, err, styled, warn
from stockcast_assets.errors import StockcastError
from stockcast_assets.home_memory import recall
from stockcast_assets.json_logs import write_json
from stockcast_assets.market import calendars
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.build import build_definitions, other_warehouse, sources_from, warehouse_from
from stockcast_assets.orchestration.home import (
    check_history,
    check_home,
    dagster_home,
    models_database,
    open_instance,
    passwords_in_clear,
    remember,
    require_one_world,
    tables_database,
    tunings_database,
)
from stockcast_assets.orchestration.planning.launch import Launch
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.orchestration.planning.reconcile import left_behind
from stockcast_assets.orchestration.planning.runner import Runner
from stockcast_assets.settings import SAMPLE, Settings, load_settings
from stockcast_assets.stopping import Stopped
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES
from stockcast_assets.warehouse import Warehouse


@dataclass
class Session:
    """One command's view of stockcast."""

    settings: Settings
    instance: dg.DagsterInstance
    call: Invocation

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.settings, sources=self.sources, warehouse=self.warehouse)

    @cached_property
    def warehouse(self) -> Warehouse:
        return warehouse_from(self.settings)

    @cached_property
    def sources(self) -> Sources:
        return sources_from(self.settings)

    @cached_property
    def other_warehouse(self) -> Warehouse | None:
        """Where the rows may have been before."""
        return other_warehouse(self.settings)

    def require_rows_here(self) -> None:
        """What is asked before anything is computed from the rows.

        Raises:
            StockcastError: if the rows of this home are in the other warehouse, so that all would be made anew.
        """
        if (told := left_behind(self.instance, self.warehouse, self.other_warehouse)) is not None:
            raise StockcastError(told)

    def daily_keys(self, first: date, last: date) -> list[date]:
        """The days from first to last that are keys: days on which no enabled calendar trades are none."""
        definition = self.definitions.resolve_assets_def(RAW_PRICES.name).partitions_def
        keys = cast(dg.MultiPartitionsDefinition, definition).time_window_dimension.partitions_def.get_partition_keys()
        return [day for key in keys if first <= (day := date.fromisoformat(key)) <= last]

    @cached_property
    def runner(self) -> Runner:
        return Runner(
            self.definitions,
            self.instance,
            self.settings.start_date,
            self.warehouse,
            observe=_progress,
            log_level="INFO" if self.call.debug else "CRITICAL",
            waiting=_waiting,
            tickers_per_run=self.settings.tickers_per_run,
            shared_network=self.settings.shared_network,
            tell=warn,
        )


@contextmanager
def _progress(launch: Launch) -> Iterator[None]:
    started = time.monotonic()
    with err.status(Ticking(f"{launch} …", started)):
        yield
    err.print(styled(("✓", "green"), f" {launch} ", (f"{time.monotonic() - started:.1f} s", "dim")))


@contextmanager
def _waiting(pool: str) -> Iterator[None]:
    sentence = f"Another command or run writes {pool}: waiting until it is done"
    err.print(f"{sentence}.", soft_wrap=True)
    with err.status(f"{sentence} …"):
        yield


@contextmanager
def resumable(session: Session, resume: Callable[[], str] | None = None) -> Iterator[None]:
    """Let a command that a signal stops say what is done and which command goes on.

    Args:
        session: of the command.
        resume: the command line that goes on; the same one if None.
    """
    try:
        yield
    except Stopped as stopped:
        done = len(session.runner.finished)
        stopped.told = (
            f"{done or 'No'} {'run' if done == 1 else 'runs'} of it {'is' if done == 1 else 'are'} done and stored, "
            "and the one that was interrupted stored nothing."
        )
        stopped.resume = (resume or session.call.again)()
        raise


def apart(tickers: Sequence[str], work: Callable[[Sequence[str]], None]) -> dict[str, str]:
    """Do something for all tickers together; if that fails, for each alone. Returns why those failed that did."""
    if not tickers:
        return {}
    try:
        work(tickers)
    except StockcastError as error:
        if len(tickers) == 1:
            return {tickers[0]: str(error)}
        return {name: why for ticker in tickers for name, why in apart([ticker], work).items()}
    return {}


def failure(failed: Mapping[str, str], asked: Sequence[str]) -> StockcastError:
    """What is raised at the end of a command of which some tickers failed."""
    reasons = " ".join(f"[{ticker}] {reason}" for ticker, reason in failed.items())
    return StockcastError(f"{len(failed)} of {len(asked)} tickers failed: {reasons}")


def quiet() -> None:
    """Keep the libraries' chatter out of the terminal; the Dagster log has it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    logging.getLogger("dagster").setLevel(logging.ERROR)


def _held(settings: Settings) -> str:
    """Where the bars of a home that remembers nothing come from: the bundled history, if it has no other."""
    if settings.warehouse == "duckdb" and settings.database.exists():
        bars = warehouse_from(settings).read(PRICE_HISTORY, columns=["source"])
        if set(bars["source"]) == {SAMPLE}:
            return SAMPLE
    return settings.source


def read_settings() -> Settings:
    """The settings; what is odd about them is a warning line.

    Raises:
        StockcastError: if one is wrong.
    """
    settings, odd = settings_and_warnings()
    if settings.log_format == "json":
        write_json()
    for sentence in odd:
        warn(sentence)
    return settings


def settings_and_warnings() -> tuple[Settings, list[str]]:
    """The settings, and what is odd about them.

    Raises:
        StockcastError: if one is wrong.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        settings = load_settings()
    return settings, [str(warning.message) for warning in caught]


@contextmanager
def open_session(
    call: Invocation, models: bool = False, tables: bool = True, tunings: bool = False
) -> Iterator[Session]:
    """Settings read and checked, the instance open, the tickers of STOCKCAST_TICKERS present.

    Args:
        call: how the command is wanted.
        models: whether the command uses the models: their file is looked at before anything is done.
        tables: the same of the warehouse.
        tunings: the same of the studies.

    Raises:
        StockcastError: if a setting is wrong, or a file or folder cannot be used; nothing is changed then.
    """
    if not call.debug:
        quiet()
    settings = read_settings()
    check_home(settings)
    used = ((tables, tables_database), (models, models_database), (tunings, tunings_database))
    for database in (of(settings) for is_used, of in used if is_used):
        if database is not None:
            database.check()
    memory = recall(settings.home)
    empty = settings.warehouse == "duckdb" and not settings.database.exists()
    if memory is None or (empty and memory.source != settings.source):
        # Not of a home in which something is damaged: nothing is changed there.
        check_history(settings)
        calendars.extend_rules(settings.home / "calendars.toml")
        remember(settings, _held(settings))
        with warnings.catch_warnings():
            # What there was to warn of was said above.
            warnings.simplefilter("ignore", UserWarning)
            settings = load_settings()
    require_one_world(settings)
    if settings.demo_data and "source" not in settings.model_fields_set:
        err.print(f"{settings.demo_data}: {settings.home} holds the bundled history.", style="dim", soft_wrap=True)
    with open_instance(settings) as instance:
        home = dagster_home(settings)
        for field in passwords_in_clear(home):
            warn(
                f"{home / 'dagster.yaml'} holds {field} in clear, and Dagster shows it in its UI and on command lines: "
                f"write `{field}: {{env: NAME}}` and set that variable."
            )
        session = Session(settings, instance, call)
        session.definitions  # noqa: B018  a wrong ticker or calendar stops here
        add_tickers(instance, settings.tickers)
        yield session
