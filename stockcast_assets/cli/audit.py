"""`stockcast audit`: does anything of a day know what came after it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import typer

from stockcast_assets.audit import mine, own, platform
from stockcast_assets.audit.compare import FAILS, ROWS, Moved
from stockcast_assets.audit.worlds import World, bars_and_reports, cuts, world_of
from stockcast_assets.cli.evaluate_files import read_bars, read_statements
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import quiet
from stockcast_assets.cli.tables import plain, print_json, print_table
from stockcast_assets.cli.terminal import err, out, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist
from stockcast_assets.libraries import pd
from stockcast_assets.market.earnings import told
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.tables import EARNINGS_DATES

_LAST = date(2013, 3, 1)
_OF_HOMES = ("AAPL", "MSFT")
"""The tickers of the sample of which the platform's own assets are made, two of which one may end."""


@dataclass(frozen=True)
class Data:
    """On what, and how much, is audited: files of bars (none: the sample), one of reports, drawn cuts, the seed."""

    bars: tuple[Path, ...] = ()
    earnings: Path | None = None
    cuts: int = 6
    seed: int = 0


@dataclass
class Verdict:
    """What was tried on a subject, and the first of what moved, by column."""

    worlds: int = 0
    first: dict[str, Moved] = field(default_factory=dict)

    def add(self, found: Iterable[Moved]) -> None:
        for each in found:
            if each.column not in self.first or each.day < self.first[each.column].day:
                self.first[each.column] = each


def run(call: Invocation, assets: Sequence[str], functions: Sequence[str], data: Data) -> None:
    """Print what knew the future; exit status 1 if something did.

    Raises:
        StockcastError: if there is no such asset or function, it fails on the data as it is, or a file is bad.
    """
    quiet()
    if data.earnings and not data.bars:
        raise StockcastError("--earnings goes with --bars FILE: name the file of bars.")
    names = (*own.NAMES, *(table.name for table in platform.AUDITED))
    if strange := [name for name in assets if name not in names]:
        raise StockcastError(f"There is no asset {strange[0]!r} to audit: there are {shortlist(names, len(names))}.")
    chosen = list(dict.fromkeys(assets or (() if functions else names)))
    subjects = {name: mine.load(name) for name in functions}
    subjects |= {name: subject for name, subject in own.subjects().items() if name in chosen}
    started = time.monotonic()
    verdicts = {name: Verdict() for name in [*subjects, *chosen]}
    world = _world(data)
    for name, subject in subjects.items():
        _try(verdicts[name], name, subject, world, data)
    tables = [name for name in chosen if name not in own.NAMES]
    if tables:
        _make(verdicts, tables, _world(data, _OF_HOMES), data.seed)
    _tell(call, verdicts, time.monotonic() - started)


def _world(data: Data, sample: Sequence[str] = ()) -> World:
    if data.bars:
        statements = EARNINGS_DATES.empty() if data.earnings is None else read_statements(data.earnings)
        return world_of(*bars_and_reports(list(read_bars(data.bars).values()), [statements]), seed=data.seed)
    source = SampleSource()
    tickers = sample or source.tickers()
    now = pd.Timestamp(_LAST, tz="UTC") + pd.Timedelta(days=1)
    reports = [told(EARNINGS_DATES.empty(), source.earnings(ticker), now).rows for ticker in tickers]
    return world_of(*bars_and_reports([source.bars(each, None, _LAST) for each in tickers], reports), seed=data.seed)


def _try(verdict: Verdict, name: str, subject: mine.Mine, world: World, data: Data) -> None:
    days = cuts(world, data.cuts, data.seed)
    with err.status(f"{name}: 0 of {len(days)} cuts …") as status:
        for number, found in enumerate(mine.examine(subject, world, days, data.seed), 1):
            verdict.worlds += 1
            verdict.add(found)
            status.update(f"{name}: {number} of {len(days)} cuts …")


def _make(verdicts: Mapping[str, Verdict], tables: Sequence[str], world: World, seed: int) -> None:
    started = time.monotonic()
    with err.status("making the assets of the world as it is …") as status:
        for attack, found in platform.examine(world, tables, seed=seed):
            for name, moved in found.items():
                verdicts[name].worlds += attack != platform.AS_IT_IS
                verdicts[name].add(moved)
            err.print(styled(("✓", "green"), f" {attack} ", (f"{time.monotonic() - started:.0f} s", "dim")))
            status.update("making the assets of the next world …")


def _tell(call: Invocation, verdicts: Mapping[str, Verdict], seconds: float) -> None:
    leaks = [(name, each) for name, verdict in verdicts.items() for each in verdict.first.values()]
    if call.as_json:
        print_json(
            {
                "clean": not leaks,
                "subjects": [
                    {
                        "name": name,
                        "tried": verdict.worlds,
                        "moved": [_document(each) for each in _in_order(verdict)],
                    }
                    for name, verdict in verdicts.items()
                ],
                "seconds": round(seconds, 1),
            }
        )
    else:
        if leaks:
            print_table(
                "What knew the future",
                ["subject", "column", "first day", "ticker", "cut", "after the cut", "before → after"],
                [_row(name, each) for name, verdict in verdicts.items() for each in _in_order(verdict)],
                drop=[["cut"], ["ticker"]],
            )
        clean = [name for name, verdict in verdicts.items() if not verdict.first]
        if clean:
            out.print(f"No bit moved of {', '.join(clean)}.", soft_wrap=True)
        err.print(f"{sum(verdict.worlds for verdict in verdicts.values())} trials in {seconds:.0f} s.")
    if leaks:
        raise typer.Exit(1)


def _in_order(verdict: Verdict) -> Iterator[Moved]:
    yield from sorted(verdict.first.values(), key=lambda each: (each.column not in (ROWS, FAILS), each.day))


def _row(name: str, each: Moved) -> list[object]:
    return [
        name,
        each.column,
        each.day,
        each.ticker or "–",
        each.cut,
        each.attack,
        f"{_short(each.before)} → {_short(each.after)}",
    ]


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _document(each: Moved) -> dict[str, object]:
    return {
        "column": each.column,
        "first_day": each.day,
        "ticker": each.ticker,
        "cut": each.cut,
        "attack": each.attack,
        "before": _plain(each.before),
        "after": _plain(each.after),
    }


def _plain(value: object) -> object:
    """As JSON knows it; of a value that it does not, the words."""
    known = plain(value)
    return known if known is None or isinstance(known, bool | int | float | str) else str(known)
