"""`stockcast backfill`: materialise again, exactly."""

from __future__ import annotations

import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date

import typer

from stockcast_assets.cli.days import checked_tickers, forget_if_empty, latest_session
from stockcast_assets.cli.estimate import seconds_per_key
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, apart, failure, open_session, resumable
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import err, is_terminal, warn
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import in_order, listed, one_of, parse_day
from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources import Source
from stockcast_assets.orchestration.assets.bars import first_sources
from stockcast_assets.orchestration.graph import KEY_OF, STAGES
from stockcast_assets.orchestration.planning.launch import COMMAND, Launch, Reason
from stockcast_assets.orchestration.planning.ranges import (
    add_tickers,
    known_tickers,
    month_stretches,
    shards,
    stretches,
)
from stockcast_assets.orchestration.stored import look, trained_months
from stockcast_assets.orchestration.tickers import set_state, ticker_states
from stockcast_assets.tables import EARNINGS_DATES, HORIZON, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL, UNIVERSE_MODEL

ASSETS = (*(name for stage in STAGES for name in stage), UNIVERSE_MODEL.name)

_FETCHED = frozenset({PRICE_HISTORY.name, RAW_PRICES.name})

MANY_KEYS = 100_000
"""Keys of an asset from which on Dagster's pages become slow."""

LONG = 600.0
"""Seconds from which on a backfill asks before it begins."""


@dataclass(frozen=True)
class Options:
    """The options of a backfill: only what is missing, only the estimate, without asking; where bars come from, and
    whether stored bars that do not come are removed, and whether the daemon has the runs launched."""

    missing_only: bool = False
    dry_run: bool = False
    yes: bool = False
    source: str | None = None
    replace: bool = False
    queued: bool = False

    @property
    def fetching(self) -> Reason:
        """Why bars are fetched, with the config of the assets that do."""
        config = {"source": self.source, "replace": self.replace}
        return replace(COMMAND, config=tuple((name, value) for name, value in config.items() if value))


@dataclass(frozen=True)
class Estimate:
    """What the launches of a backfill take."""

    keys: int
    runs: int
    source_calls: int
    rows: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.keys:,} keys in {self.runs} runs, {self.source_calls} requests to the source, about {self.rows:,} "
            f"rows and {self.seconds / 60:.1f} minutes."
        )


def run(
    call: Invocation,
    tickers: Sequence[str],
    first_text: str | None,
    last_text: str | None,
    assets: str | None,
    options: Options,
) -> None:
    """Materialise the assets of the tickers for every day from first to last.

    Of what is missing, it is every ticker there is if none is named. A ticker that fails leaves the others alone: its
    runs are repeated without it, and it is named at the end.

    Raises:
        StockcastError: if an argument is wrong, the person declines, or a ticker failed.
    """
    with open_session(call, models=True) as session:
        session.require_rows_here()
        session.runner.queued = options.queued
        if options.queued and not options.dry_run:
            session.runner.require_daemon()
        names = _names(assets)
        if options.missing_only and not tickers:
            tickers = known_tickers(session.instance)
        _check_replace(options, assets, names)
        sources = _sources(session, options, tickers)
        for ticker, source in sources.items():
            checked_tickers(session.settings, source, [ticker])
        wanted = tuple(sources)
        if not wanted:
            raise StockcastError("No ticker is given: write them as `stockcast backfill AAPL MSFT`.")
        first, last = _bounds(session, sources, first_text, last_text)
        new = [] if options.dry_run else add_tickers(session.instance, wanted)
        launches = _plan(session, wanted, names, (first, last), options.fetching)
        if options.missing_only:
            launches = [part for launch in launches for part in _missing(session, launch)]
        estimate = _estimate(session, launches)
        err.print(f"{', '.join(wanted)}, {first} to {last}: {estimate}")
        _warn_of_many_keys(session, wanted)
        if options.dry_run:
            if call.as_json:
                print_json({"estimate": asdict(estimate), "runs": [str(launch) for launch in launches]})
            else:
                print_table("Runs", ["run"], [[str(launch)] for launch in launches])
            return
        if estimate.seconds > LONG and not options.yes and is_terminal(sys.stdin) and not typer.confirm("Go on?"):
            raise StockcastError("Nothing was run; --yes begins without asking.")
        failed: dict[str, str] = {}
        left = list(launches)
        # What is asked for of the deep past comes first: it is an input of all else, and fetched once.
        past = [launch for launch in launches if launch.assets == (PRICE_HISTORY.name,)]
        with resumable(session, lambda: _command(wanted, left, (first, last), options)):
            for launch in past:
                _run_apart(session, launch, failed, options.missing_only)
                left.remove(launch)
            if names != (PRICE_HISTORY.name,):
                until = pd.Timestamp(first) - pd.Timedelta(days=1) if RAW_PRICES.name in names else pd.Timestamp(last)
                going = [ticker for ticker in wanted if ticker not in failed]
                failed |= apart(going, lambda tickers: session.runner.ingest(dict.fromkeys(tickers, until)))
            for launch in launches[len(past) :]:
                if TRAINED_MODEL.name in launch.assets:
                    session.runner.train_networks(pd.Timestamp(month) for month in _days(session, launch))
                _run_apart(session, launch, failed, options.missing_only)
                left.remove(launch)
        if options.source not in (None, "csv"):
            _bring_up_from_source(session, [ticker for ticker in wanted if ticker not in failed])
        rows = [[str(launch), round(seconds, 1)] for launch, seconds in session.runner.finished]
        if call.as_json:
            runs = [{"run": name, "seconds": seconds} for name, seconds in rows]
            print_json({"runs": runs, "failed": failed} if failed else {"runs": runs})
        else:
            print_table("Runs", ["run", "seconds"], rows)
        forget_if_empty(session, [ticker for ticker in new if ticker in failed])
        if failed:
            raise failure(failed, wanted)


def _sources(session: Session, options: Options, tickers: Sequence[str]) -> dict[str, Source]:
    """Where the bars of each ticker come from: what was said, else csv for one that came by it, else the default."""
    if options.source is not None:
        return dict.fromkeys(tickers, session.sources.get(options.source))
    began = first_sources(session.warehouse, tickers)
    return {ticker: session.sources.get("csv" if began.get(ticker) == "csv" else None) for ticker in tickers}


def _check_replace(options: Options, assets: str | None, names: Sequence[str]) -> None:
    """Raise StockcastError unless `--replace` says of which assets rows may be removed."""
    if options.replace and (assets is None or not set(names) <= _FETCHED):
        raise StockcastError(
            "--replace removes stored bars that the source does not send, so name where: --assets price_history, "
            "--assets raw_prices or --assets price_history,raw_prices."
        )


def _bring_up_from_source(session: Session, tickers: Sequence[str]) -> None:
    """Let tickers that came by CSV, but have bars of another source now, be brought up from there."""
    states = ticker_states(session.instance, tickers)
    by_csv = [ticker for ticker in tickers if states[ticker].state == "active" and states[ticker].uploaded]
    for ticker, source in first_sources(session.warehouse, by_csv).items():
        if source != "csv":
            set_state(session.instance, ticker, "active")


def _command(tickers: Sequence[str], left: Sequence[Launch], span: tuple[date, date], options: Options) -> str:
    """The command line for what is left of a backfill: its tickers and days, and the assets not made yet."""
    assets = [name for name in ASSETS if any(name in launch.assets for launch in left)]
    flags = {
        "--missing-only": options.missing_only,
        "--yes": options.yes,
        "--replace": options.replace,
        "--queued": options.queued,
    }
    return shlex.join(
        [
            *("stockcast", "backfill", *tickers, "--from", f"{span[0]}", "--to", f"{span[1]}"),
            *(("--assets", ",".join(assets)) if assets else ()),
            *(("--source", options.source) if options.source else ()),
            *(flag for flag, given in flags.items() if given),
        ]
    )


def _run_apart(session: Session, launch: Launch, failed: dict[str, str], missing_only: bool = False) -> None:
    """Run a launch for the tickers that have not failed; if it fails, each of them alone, noting who does.

    Raises:
        StockcastError: if one for all tickers together fails.
    """
    if not launch.tickers:
        for part in _missing(session, launch) if missing_only else [launch]:
            session.runner.run(part)
        return

    def together(tickers: Sequence[str]) -> None:
        of_them = replace(launch, tickers=tuple(tickers))
        with session.runner.turn(launch.assets, tickers):
            # Asked again: whoever had the turn before may have made them.
            for part in _missing(session, of_them) if missing_only else [of_them]:
                session.runner.run(part)

    failed.update(apart([ticker for ticker in launch.tickers if ticker not in failed], together))


def _missing(session: Session, launch: Launch) -> Iterator[Launch]:
    """The parts of a launch that together are exactly its keys of which one of its assets is not there."""
    if not launch.tickers:
        there = trained_months(session.instance, session.warehouse)
        for start, end in month_stretches(month for month in _days(session, launch) if month not in there):
            yield replace(launch, first=start, last=end)
        return
    stored = look(session.instance, session.warehouse, launch.assets, launch.tickers)
    done = [stored.there(name) for name in launch.assets]
    if launch.first is None or launch.last is None:
        tickers = tuple(ticker for ticker in launch.tickers if not all(ticker in keys for keys in done))
        if tickers:
            yield replace(launch, tickers=tickers)
        return
    days = _days(session, launch)
    place = {day: position for position, day in enumerate(days)}
    tickers_of: dict[tuple[date, date], list[str]] = defaultdict(list)
    for ticker in launch.tickers:
        missing = [day for day in days if not all(partition_key(ticker, day) in keys for keys in done)]
        for stretch in stretches(missing, lambda earlier, later: place[later] == place[earlier] + 1):
            tickers_of[stretch].append(ticker)
    for (start, end), together in sorted(tickers_of.items()):
        yield replace(launch, tickers=tuple(together), first=start, last=end)


def _days(session: Session, launch: Launch) -> list[pd.Timestamp]:
    """The time keys of a launch, months or days."""
    if launch.first is None or launch.last is None:
        return []
    if TRAINED_MODEL.name in launch.assets or not launch.tickers:
        return list(pd.date_range(launch.first, launch.last, freq="MS"))
    return [pd.Timestamp(day) for day in session.daily_keys(launch.first, launch.last)]


def _estimate(session: Session, launches: Sequence[Launch]) -> Estimate:
    keys = runs = calls = rows = 0
    seconds = 0.0
    known = known_tickers(session.instance)
    for launch in launches:
        times = len(_days(session, launch)) or 1
        its_tickers = len(launch.tickers) or 1
        its_keys = its_tickers * times * len(launch.assets)
        keys += its_keys
        order = [*known, *(t for t in launch.tickers if t not in known)]
        runs += len(shards(order, launch.tickers, session.settings.tickers_per_run)) or 1
        if launch.assets[0] in (PRICE_HISTORY.name, RAW_PRICES.name):
            calls += len(launch.tickers)
        for name in launch.assets:
            per_key = _ROWS_PER_KEY.get(name, 1)
            rows += its_tickers * times * per_key
        seconds += its_keys * seconds_per_key(session.instance, launch)
    return Estimate(keys, runs, calls, rows, seconds)


_ROWS_PER_KEY = {PRICE_HISTORY.name: 2500, "forecasts": HORIZON, "forecast_accuracy": HORIZON, "drift_report": 10}


def _warn_of_many_keys(session: Session, tickers: Sequence[str]) -> None:
    """Say when an asset has more keys than Dagster's pages are made for, and the way out."""
    everyone = len({*known_tickers(session.instance), *tickers})
    days = len(session.daily_keys(session.settings.start_date, date.max))
    if everyone * days > MANY_KEYS:
        warn(
            f"{everyone} tickers × {days:,} days since {session.settings.start_date} are "
            f"{everyone * days:,} keys per asset; Dagster's pages become slow from {MANY_KEYS:,} on. A later "
            "STOCKCAST_START_DATE has fewer: the rows stay, and the older bars become price_history."
        )


def _names(assets: str | None) -> tuple[str, ...]:
    if assets is None:
        # Reports are asked for every evening, and networks are trained once; who wants either now names it.
        return tuple(name for name in ASSETS if name not in (EARNINGS_DATES.name, UNIVERSE_MODEL.name))
    # Of a text that lists none, one_of says that it is no asset.
    return tuple(one_of(name, ASSETS, "asset") for name in listed(assets) or [assets])


def _bounds(
    session: Session, sources: Mapping[str, Source], first_text: str | None, last_text: str | None
) -> tuple[date, date]:
    settings = session.settings
    first = parse_day(first_text) if first_text else settings.start_date
    newest = [latest_session(settings, source, ticker).date() for ticker, source in sources.items()]
    last = parse_day(last_text) if last_text else max(newest)
    if first > last and last_text is None:
        raise StockcastError(f"--from {first} is after the newest session there is, {last}: name an earlier day.")
    in_order(first, last)
    if first < settings.start_date:
        raise StockcastError(
            f"--from {first} is before the first daily key: set STOCKCAST_START_DATE (now {settings.start_date}) to an "
            "earlier day, or ask for a later one."
        )
    if last > max(newest):
        raise StockcastError(f"--to {last} is after the newest session there is, {max(newest)}: name an earlier day.")
    return first, last


def _plan(
    session: Session, tickers: tuple[str, ...], names: tuple[str, ...], span: tuple[date, date], fetching: Reason
) -> list[Launch]:
    """The runs in the order of the graph. Days on which no enabled calendar trades have no key."""
    first, last = span
    days = session.daily_keys(first, last)
    if not days:
        raise StockcastError(f"No enabled calendar trades between {first} and {last}.")
    bounds = {
        "ticker": (None, None),
        "ticker-day": (days[0], days[-1]),
        "ticker-month": (month_of(first), month_of(last)),
    }
    launches = [
        Launch(assets, tickers, *bounds[KEY_OF[assets[0]]], fetching if assets[0] in _FETCHED else COMMAND)
        for stage in STAGES
        if (assets := tuple(name for name in stage if name in names))
    ]
    if UNIVERSE_MODEL.name in names:
        # After the bars, before the models that are judged beside them.
        place = sum(launch.assets[0] in (*_FETCHED, EARNINGS_DATES.name) for launch in launches)
        launches.insert(place, Launch((UNIVERSE_MODEL.name,), (), *bounds["ticker-month"]))
    return launches
