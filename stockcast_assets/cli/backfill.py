"""`stockcast backfill`: materialise again, exactly."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from statistics import median

import dagster as dg
import typer

from stockcast_assets.cli.days import checked_tickers, forget_if_empty, latest_session
from stockcast_assets.cli.session import Session, open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import err, warn
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import in_order, listed, one_of, parse_day
from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources import Source
from stockcast_assets.orchestration.assets.prices import first_sources
from stockcast_assets.orchestration.jobs import DAILY_ASSETS
from stockcast_assets.orchestration.planning.ranges import add_tickers, known_tickers, stretches, ticker_ranges
from stockcast_assets.orchestration.planning.runner import Step
from stockcast_assets.orchestration.tickers import set_state, ticker_states
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL

ASSETS = (PRICE_HISTORY.name, RAW_PRICES.name, *(a for a in DAILY_ASSETS if a != RAW_PRICES.name), TRAINED_MODEL.name)


_FETCHED = frozenset({PRICE_HISTORY.name, RAW_PRICES.name})

MANY_KEYS = 100_000
"""Keys of an asset from which on Dagster's pages become slow."""

LONG = 600.0
"""Seconds from which on a backfill asks before it begins."""

SECONDS_PER_KEY = {"trained_model": 8.0}
"""Seconds a key takes where no run was measured yet: a model of a long history on two cores, else `DEFAULT_SECONDS`."""

DEFAULT_SECONDS = 0.05


@dataclass(frozen=True)
class Manner:
    """How a backfill goes about it: only what is missing, only the estimate, without asking; where bars come from, and
    whether stored bars that do not come are removed."""

    missing_only: bool = False
    dry_run: bool = False
    yes: bool = False
    source: str | None = None
    replace: bool = False

    @property
    def ingest(self) -> dict[str, object]:
        """The config of the assets that fetch bars."""
        config: dict[str, object] = {"source": self.source} if self.source else {}
        return config | ({"replace": True} if self.replace else {})


@dataclass(frozen=True)
class Estimate:
    """What the steps of a backfill take."""

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
    tickers: str,
    first_text: str | None,
    last_text: str | None,
    assets: str | None,
    manner: Manner,
    as_json: bool,
    debug: bool,
) -> None:
    """Materialise the assets of the tickers for every day from first to last.

    A ticker that fails leaves the others alone: its runs are repeated without it, and it is named at the end.

    Raises:
        StockcastError: if an argument is wrong, the person declines, or a ticker failed.
    """
    with open_session(debug, models=True) as session:
        names = _names(assets)
        _check_replace(manner, assets, names)
        sources = _sources(session, manner, [name.strip() for name in tickers.split(",") if name.strip()])
        for ticker, source in sources.items():
            checked_tickers(session.settings, source, [ticker])
        wanted = tuple(sources)
        if not wanted:
            raise StockcastError("No ticker is given: use --tickers AAPL,MSFT.")
        first, last = _bounds(session, sources, first_text, last_text)
        new = [] if manner.dry_run else add_tickers(session.instance, wanted)
        steps = [
            replace(step, ingest=manner.ingest) if step.assets[0] in _FETCHED else step
            for step in _plan(session, wanted, names, first, last)
        ]
        if manner.missing_only:
            steps = [part for step in steps for part in _missing(session, step)]
        estimate = _estimate(session, steps)
        err.print(f"{', '.join(wanted)}, {first} to {last}: {estimate}")
        _warn_of_many_keys(session, wanted)
        if manner.dry_run:
            if as_json:
                print_json({"estimate": asdict(estimate), "runs": [str(step) for step in steps]})
            else:
                print_table("Runs", ["run"], [[str(step)] for step in steps])
            return
        if estimate.seconds > LONG and not manner.yes and sys.stdin.isatty() and not typer.confirm("Go on?"):
            raise StockcastError("Nothing was run; --yes begins without asking.")
        failed: dict[str, str] = {}
        # What is asked for of the deep past comes first: it is an input of all else, and fetched once.
        past = [step for step in steps if step.assets == (PRICE_HISTORY.name,)]
        for step in past:
            _run_apart(session, step, failed)
        if names != (PRICE_HISTORY.name,):
            until = pd.Timestamp(first) - pd.Timedelta(days=1) if RAW_PRICES.name in names else pd.Timestamp(last)
            _ingest_apart(session, [ticker for ticker in wanted if ticker not in failed], until, failed)
        for step in steps[len(past) :]:
            _run_apart(session, step, failed)
        if manner.source not in (None, "csv"):
            _bring_up_from_source(session, [ticker for ticker in wanted if ticker not in failed])
        rows = [[str(step), round(seconds, 1)] for step, seconds in session.runner.finished]
        if as_json:
            runs = [{"run": name, "seconds": seconds} for name, seconds in rows]
            print_json({"runs": runs, "failed": failed} if failed else {"runs": runs})
        else:
            print_table("Runs", ["run", "seconds"], rows)
        forget_if_empty(session, [ticker for ticker in new if ticker in failed])
        if failed:
            reasons = " ".join(f"[{ticker}] {reason}" for ticker, reason in failed.items())
            raise StockcastError(f"{len(failed)} of {len(wanted)} tickers failed: {reasons}")


def _sources(session: Session, manner: Manner, tickers: Sequence[str]) -> dict[str, Source]:
    """Where the bars of each ticker come from: what was said, else csv for one that came by it, else the default."""
    if manner.source is not None:
        return dict.fromkeys(tickers, session.sources.get(manner.source))
    began = first_sources(session.warehouse, tickers)
    return {ticker: session.sources.get("csv" if began.get(ticker) == "csv" else None) for ticker in tickers}


def _check_replace(manner: Manner, assets: str | None, names: Sequence[str]) -> None:
    """Raise StockcastError unless `--replace` says of which assets rows may be removed."""
    if manner.replace and (assets is None or not set(names) <= _FETCHED):
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


def _run_apart(session: Session, step: Step, failed: dict[str, str]) -> None:
    """Run a step for the tickers that have not failed; if it fails, each of them alone, noting who does."""
    tickers = tuple(ticker for ticker in step.tickers if ticker not in failed)
    if not tickers:
        return
    try:
        session.runner.run(replace(step, tickers=tickers))
    except StockcastError as error:
        if len(tickers) == 1:
            failed[tickers[0]] = str(error)
            return
        for ticker in tickers:
            _run_apart(session, replace(step, tickers=(ticker,)), failed)


def _ingest_apart(session: Session, tickers: Sequence[str], until: pd.Timestamp, failed: dict[str, str]) -> None:
    """Ingest what is missing up to `until` for all tickers; if that fails, for each alone, noting who does."""
    try:
        session.runner.ingest(dict.fromkeys(tickers, until))
    except StockcastError as error:
        if len(tickers) == 1:
            failed[tickers[0]] = str(error)
            return
        for ticker in tickers:
            _ingest_apart(session, [ticker], until, failed)


def _missing(session: Session, step: Step) -> Iterator[Step]:
    """The parts of a step that together are exactly its keys without a materialisation of one of its assets."""
    done = [session.instance.get_materialized_partitions(dg.AssetKey(name)) for name in step.assets]
    if step.first is None or step.last is None:
        tickers = tuple(ticker for ticker in step.tickers if not all(ticker in keys for keys in done))
        if tickers:
            yield replace(step, tickers=tickers)
        return
    days = _days(session, step)
    place = {day: position for position, day in enumerate(days)}
    tickers_of: dict[tuple[date, date], list[str]] = defaultdict(list)
    for ticker in step.tickers:
        missing = [day for day in days if not all(partition_key(ticker, day) in keys for keys in done)]
        for stretch in stretches(missing, lambda earlier, later: place[later] == place[earlier] + 1):
            tickers_of[stretch].append(ticker)
    for (start, end), together in sorted(tickers_of.items()):
        yield replace(step, tickers=tuple(together), first=start, last=end)


def _days(session: Session, step: Step) -> list[pd.Timestamp]:
    """The time keys of a step, months or days."""
    if step.first is None or step.last is None:
        return []
    if TRAINED_MODEL.name in step.assets:
        return list(pd.date_range(step.first, step.last, freq="MS"))
    return [pd.Timestamp(day) for day in session.daily_keys(step.first, step.last)]


def _estimate(session: Session, steps: Sequence[Step]) -> Estimate:
    keys = runs = calls = rows = 0
    seconds = 0.0
    known = known_tickers(session.instance)
    for step in steps:
        times = len(_days(session, step)) or 1
        step_keys = len(step.tickers) * times * len(step.assets)
        keys += step_keys
        runs += len(ticker_ranges([*known, *(t for t in step.tickers if t not in known)], step.tickers))
        if step.assets[0] in (PRICE_HISTORY.name, RAW_PRICES.name):
            calls += len(step.tickers)
        for name in step.assets:
            per_key = _ROWS_PER_KEY.get(name, 1)
            rows += len(step.tickers) * times * per_key
        seconds += step_keys * _seconds_per_key(session.instance, step)
    return Estimate(keys, runs, calls, rows, seconds)


_ROWS_PER_KEY = {PRICE_HISTORY.name: 2500, "forecasts": 10, "forecast_accuracy": 10, "drift_report": 10}


def _seconds_per_key(instance: dg.DagsterInstance, step: Step) -> float:
    """The median of the last runs of the same assets, else what is documented."""
    wanted = {dg.AssetKey(name) for name in step.assets}
    measured = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]), limit=50):
        run = record.dagster_run
        if set(run.asset_selection or ()) != wanted or not (record.start_time and record.end_time):
            continue
        made = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
        if made:
            measured.append((record.end_time - record.start_time) / len(made))
    if measured:
        return median(measured)
    return SECONDS_PER_KEY.get(step.assets[0], DEFAULT_SECONDS)


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
        return ASSETS
    return tuple(one_of(name, ASSETS, "asset") for name in listed(assets))


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
        raise StockcastError(f"--to {last} is after the newest session there is, {max(newest)}.")
    return first, last


def _plan(session: Session, tickers: tuple[str, ...], names: tuple[str, ...], first: date, last: date) -> list[Step]:
    """The runs in the order of the graph. Days on which no enabled calendar trades have no key."""
    steps = []
    if PRICE_HISTORY.name in names:
        steps.append(Step((PRICE_HISTORY.name,), tickers))
    keys = session.daily_keys(first, last)
    if not keys:
        raise StockcastError(f"No enabled calendar trades between {first} and {last}.")
    if RAW_PRICES.name in names:
        steps.append(Step((RAW_PRICES.name,), tickers, keys[0], keys[-1]))
    if TRAINED_MODEL.name in names:
        steps.append(Step((TRAINED_MODEL.name,), tickers, month_of(first), month_of(last)))
    if derived := tuple(name for name in DAILY_ASSETS if name in names and name != RAW_PRICES.name):
        steps.append(Step(derived, tickers, keys[0], keys[-1]))
    return steps
