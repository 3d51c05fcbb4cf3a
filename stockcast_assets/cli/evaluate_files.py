"""`stockcast evaluate --bars`: the universe's network on files of anybody's bars and reports. Nothing is stored."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockcast_assets.cli.beside import Beside, judged_beside, progress_bar
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import quiet
from stockcast_assets.cli.tables import figure, print_json, print_table
from stockcast_assets.cli.terminal import err
from stockcast_assets.clock import utc_now
from stockcast_assets.cores import usable_cores
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import parse_day, shortlist
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.market.earnings import said_by_file, told
from stockcast_assets.market.sources.files import parse_bytes, read_earnings
from stockcast_assets.methods import HAR, HAR_EARNINGS, LABELS, LSTM, METHODS, RANDOM_WALK, method_label
from stockcast_assets.tables import EARNINGS_DATES, HORIZON

if TYPE_CHECKING:
    from stockcast_assets.forecasting.evaluation.walkforward import WalkForward
    from stockcast_assets.forecasting.universe.earnings import Reports

_MOST_BYTES = 500_000_000
_MOST_ROWS = 5_000_000


def read_bars(paths: Sequence[Path], tell: Callable[[str], object] = lambda note: None) -> dict[str, pd.DataFrame]:
    """Per ticker the bars of all files, dividends reinvested. Nobody asks where they trade: each day is a session.

    Args:
        paths: the files.
        tell: is told what was left out of each, in words.

    Raises:
        StockcastError: if a file is bad, or two of them say different things of a ticker's session.
    """
    frames = []
    for path in paths:
        name = path.name.removesuffix(".gz")
        parsed = parse_bytes(_content(path), name, utc_now(), most_rows=_MOST_ROWS, any_day=True)
        frames.append(parsed.bars)
        for note in parsed.notes:
            tell(f"{name}: {note}.")
    said = ["ticker", "date", "open", "high", "low", "close", "volume"]
    bars = pd.concat(frames, ignore_index=True).drop_duplicates(said)
    bars = bars.sort_values(["ticker", "date"], ignore_index=True)
    twice = bars[bars.duplicated(["ticker", "date"])]
    if len(twice):
        raise StockcastError(
            f"Two files say different things of {twice['ticker'].iloc[0]} on {twice['date'].iloc[0].date()}: name "
            "each session once."
        )
    return {
        str(ticker): with_total_return(of_ticker.reset_index(drop=True)) for ticker, of_ticker in bars.groupby("ticker")
    }


def read_reports(path: Path) -> dict[str, Reports]:
    """Per ticker the earnings reports of a file.

    Raises:
        StockcastError: if it is bad.
    """
    from stockcast_assets.forecasting.universe.earnings import reports_of

    return reports_of(read_statements(path))


def read_statements(path: Path) -> pd.DataFrame:
    """The same as rows of `earnings_dates`.

    Raises:
        StockcastError: if it is bad.
    """
    return statements_of(said_by_file(read_earnings(_content(path), path.name), utc_now().date()))


def statements_of(said: pd.DataFrame) -> pd.DataFrame:
    """What a source says of tickers for the first time, `SAID`, as rows of `earnings_dates`."""
    none, now = EARNINGS_DATES.empty(), utc_now()
    return pd.concat([told(none, of_ticker, now).rows for _, of_ticker in said.groupby("ticker")], ignore_index=True)


def _content(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        words = getattr(error, "strerror", None) or "it is no gzip file"
        raise StockcastError(f"{path} cannot be read ({words}): name a CSV file, or one packed by gzip.") from None
    if len(content) > _MOST_BYTES:
        raise StockcastError(f"{path} holds more than {_MOST_BYTES // 1_000_000} MB: split it.")
    return content


def document(walk: WalkForward) -> dict[str, Any]:
    """What was measured, as `--json` prints it. What cannot be said, as of prices that never moved, is NaN."""
    from stockcast_assets.forecasting.evaluation.coverage import coverage_test, misses
    from stockcast_assets.forecasting.evaluation.scores import coverage_by_day, share_won
    from stockcast_assets.forecasting.universe.walkforward import STEPS_OF_VALUE

    pooled, each = walk.pooled, walk.by_ticker
    scores = walk.scores().set_index("contender")
    years = pooled.dates.year.to_numpy()
    inside = coverage_by_day(list(walk.cases.values()), LSTM).to_numpy() * pooled.cases
    losses = pooled.table().query("horizon > 0").pivot_table("pinball", "horizon", "contender", sort=False)
    by_year = {
        int(year): {
            **_standing({name: of_days[years == year].sum() for name, of_days in pooled.pinball.items()}),
            "coverage_80": float(inside[years == year].sum() / pooled.cases[years == year].sum()),
            "n_cases": int(pooled.cases[years == year].sum()),
        }
        for year in np.unique(years)
    }
    by_horizon = {horizon: _standing(losses.loc[horizon].to_dict()) for horizon in losses.index.tolist()}
    total = {name: of_days.sum() for name, of_days in pooled.pinball.items()}
    return {
        "first_day": walk.first_day,
        "last_day": walk.last_day,
        "n_cases": int(pooled.cases.sum()),
        "contenders": {
            name: {
                "pinball_ratio_har": pooled.pinball_ratio(name, HAR),
                "pinball_ratio_har_interval": pooled.pinball_ratio_interval(name, HAR),
                "pinball_ratio_har_earnings": pooled.pinball_ratio(name, HAR_EARNINGS),
                "dm_vs_har": scores.loc[name, "dm_pinball_vs_har"],
                "rmse_ratio_rw": pooled.rmse_ratio(name, RANDOM_WALK),
                "coverage_50": scores.loc[name, "coverage_50"],
                "coverage_80": scores.loc[name, "coverage_80"],
                "coverage_90": scores.loc[name, "coverage_90"],
                "tickers_better_than_har": sum(of.pinball_ratio(name, HAR) < 1 for of in each.values()),
                "share_of_reachable": share_won(total, HAR, name),
            }
            for name in pooled.contenders
        },
        "dm_vs_har_earnings": _diebold_mariano(walk, LSTM, HAR_EARNINGS),
        "value_added": [
            {
                "from": before,
                "to": after,
                "pinball_ratio": pooled.pinball_ratio(after, before),
                # What there is to reach begins at HAR.
                "share_of_reachable": share_won(total, before, after) if before != RANDOM_WALK else math.nan,
            }
            for before, after in pairwise(STEPS_OF_VALUE)
        ],
        "by_year": {year: of["pinball_ratio_har"] for year, of in by_year.items()},
        "by_horizon": {horizon: of["pinball_ratio_har"] for horizon, of in by_horizon.items()},
        "years": by_year,
        "horizons": by_horizon,
        "by_ticker": {
            ticker: {
                **_standing({name: of_days.sum() for name, of_days in each[ticker].pinball.items()}),
                "n_cases": int(each[ticker].cases.sum()),
                **_tests(coverage_test(misses(cases, LSTM))),
            }
            for ticker, cases in walk.cases.items()
        },
    }


def _standing(losses: Mapping[str, float]) -> dict[str, float]:
    """Where the network stands on some cases, by every contender's loss on them."""
    from stockcast_assets.forecasting.evaluation.scores import loss_ratio, share_won

    return {
        "pinball_ratio_har": loss_ratio(losses[LSTM], losses[HAR]),
        "pinball_ratio_har_earnings": loss_ratio(losses[LSTM], losses[HAR_EARNINGS]),
        "share_of_reachable": share_won(losses, HAR, LSTM),
    }


def _tests(found: Any) -> dict[str, float]:
    return {
        "coverage_80_next_session": 1 - found.misses / found.n,
        "kupiec_p": found.kupiec_p,
        "christoffersen_p": found.christoffersen_p,
    }


def _diebold_mariano(walk: WalkForward, name: str, other: str) -> float:
    from stockcast_assets.forecasting.evaluation.scores import diebold_mariano

    pooled = walk.pooled
    return diebold_mariano((pooled.pinball[name] - pooled.pinball[other]) / pooled.cases, HORIZON)[0]


_STANDING = (f"/ {METHODS[HAR].heading}", f"/ {LABELS[HAR_EARNINGS]}", "of reachable")


def show(found: dict[str, Any]) -> None:
    """The document as tables for people."""
    print_table(
        f"Loss of the interval (pinball), as-of days {found['first_day']} to {found['last_day']}, "
        f"{found['n_cases']:,} cases x {HORIZON} sessions ahead; below 1 is better",
        [
            "contender",
            f"/ {METHODS[HAR].heading}",
            "95 % interval",
            "DM",
            f"/ {LABELS[HAR_EARNINGS]}",
            "of reachable",
            "RMSE / RW",
            "80 %",
            "90 %",
            "better on",
        ],
        [
            [
                method_label(name),
                figure(row["pinball_ratio_har"]),
                " to ".join(figure(bound, ".3f") for bound in row["pinball_ratio_har_interval"]),
                figure(row["dm_vs_har"], "+.1f"),
                figure(row["pinball_ratio_har_earnings"]),
                figure(row["share_of_reachable"], ".0%"),
                figure(row["rmse_ratio_rw"], ".3f"),
                f"{row['coverage_80']:.1%}",
                f"{row['coverage_90']:.1%}",
                f"{row['tickers_better_than_har']} of {len(found['by_ticker'])}",
            ]
            for name, row in found["contenders"].items()
        ],
    )
    print_table(
        "What each step adds",
        ["from", "to", "pinball", "of reachable"],
        [
            [
                LABELS[step["from"]],
                LABELS[step["to"]],
                figure(step["pinball_ratio"]),
                figure(step["share_of_reachable"], ".0%"),
            ]
            for step in found["value_added"]
        ],
    )
    print_table(
        "LSTM by year",
        ["year", *_STANDING, "80 %", "days"],
        [[year, *_shown(row), f"{row['coverage_80']:.1%}", row["n_cases"]] for year, row in found["years"].items()],
    )
    print_table(
        "LSTM by sessions ahead",
        ["sessions ahead", *_STANDING],
        [[horizon, *_shown(row)] for horizon, row in found["horizons"].items()],
    )
    print_table(
        "LSTM by ticker; p-values of its 80 % interval of the next session",
        ["ticker", *_STANDING, "80 %", "Kupiec", "Christoffersen", "days"],
        [
            [
                ticker,
                *_shown(row),
                f"{row['coverage_80_next_session']:.1%}",
                f"{row['kupiec_p']:.2f}",
                f"{row['christoffersen_p']:.2f}",
                row["n_cases"],
            ]
            for ticker, row in found["by_ticker"].items()
        ],
    )


def _shown(row: Mapping[str, float]) -> list[str]:
    """The cells of `_STANDING`."""
    return [
        figure(row["pinball_ratio_har"]),
        figure(row["pinball_ratio_har_earnings"]),
        figure(row["share_of_reachable"], ".0%"),
    ]


def chosen(bars: dict[str, pd.DataFrame], text: str | None, option: str) -> list[str]:
    """The tickers of a comma-separated list; all there are if it is not given.

    Raises:
        StockcastError: if the files have no bars of one.
    """
    wanted = list(bars) if text is None else list(_named(text))
    if unknown := [ticker for ticker in wanted if ticker not in bars]:
        raise StockcastError(f"{option}: the files have no bars of {', '.join(unknown)}; they have {', '.join(bars)}.")
    return wanted


def _named(text: str) -> Iterator[str]:
    return (part.strip().upper() for part in text.split(",") if part.strip())


def run(
    call: Invocation,
    tickers: str | None,
    bars_files: Sequence[Path],
    earnings: Path | None,
    first_text: str | None,
    last_text: str | None,
    train_on: str | None,
    beside: Beside,
    report: Path | None,
) -> None:
    """Judge the universe's network on the bars of files, and print it.

    Raises:
        StockcastError: if a file is bad, or there is too little to judge.
    """
    if not bars_files:
        raise StockcastError("--earnings and --train-on go with --bars FILE: name the file of bars.")
    first, last = (None if text is None else parse_day(text) for text in (first_text, last_text))
    if first is not None and last is not None and first > last:
        raise StockcastError(f"--from {first} is after --to {last}: swap them.")
    if report is not None:
        # Not at the top: what it brings along takes seconds.
        from stockcast_assets.cli.evaluate import require_report

        require_report(report)
    others = beside.load()
    quiet()
    tell = partial(err.print, style="dim", markup=False, highlight=False, soft_wrap=True)
    bars = read_bars(bars_files, tell)
    judged = chosen(bars, tickers, "TICKERS")
    teachers = chosen(bars, train_on, "--train-on")
    bars = {ticker: bars[ticker] for ticker in dict.fromkeys([*judged, *teachers])}
    reports = {} if earnings is None else read_reports(earnings)
    if without := sorted(bars.keys() - reports.keys()):
        tell(f"No reports are known of {shortlist(without)}: their intervals know of none.")
    from stockcast_assets.forecasting.evaluation.scores import too_early
    from stockcast_assets.forecasting.features import prepare
    from stockcast_assets.forecasting.universe.walkforward import walk_forward_universe

    end = last or max(of_ticker["date"].iloc[-1] for of_ticker in bars.values()).date()
    with progress_bar() as bar:
        task = bar.add_task("preparing", total=None)
        walk = walk_forward_universe(
            bars, reports, first, end, train_on=teachers, judge=judged, statistical=beside.statistical,
            workers=usable_cores(),
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )  # fmt: skip
    walk = judged_beside(walk, bars, others)
    if report is not None:
        from stockcast_assets.cli.evaluate import write_report
        from stockcast_assets.forecasting.evaluation.report import evaluation_html

        write_report(report, evaluation_html(walk))
    for ticker in judged:
        if ticker not in walk.cases:
            tell(f"{ticker} is left out: {too_early(prepare(bars[ticker]), walk.config, walk.first_day)}")
    found = document(walk)
    print_json(found) if call.as_json else show(found)
