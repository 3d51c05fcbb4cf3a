"""`stockcast evaluate`: how good the forecasts are, walked forward through the stored history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.text import Text

from stockcast_assets.as_known import AsKnown, past_day
from stockcast_assets.cli.beside import Beside, judged_beside, progress_bar
from stockcast_assets.cli.days import checked_tickers, latest_session
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session
from stockcast_assets.cli.tables import figure, plain, print_json, print_table
from stockcast_assets.cli.terminal import err, out, stacked, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.inputs import in_order, parse_day
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.methods import METHODS, method_label
from stockcast_assets.orchestration.assets.bars import bars_as_known, complete_bars
from stockcast_assets.orchestration.build import registry_from
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.spreadsheet import to_csv

if TYPE_CHECKING:
    from stockcast_assets.forecasting.evaluation.walkforward import WalkForward

EXPERIMENT = "stockcast-evaluation"


def run(
    call: Invocation,
    asked: Sequence[str] | None,
    first_text: str | None,
    last_text: str | None,
    beside: Beside,
    report: Path | None,
    as_known_on: str | None,
) -> None:
    """Evaluate the tickers on the as-of days from first to last, print it, and store page and metrics."""
    require_report(report)
    others = beside.load()
    known_on = None if as_known_on is None else past_day(as_known_on)
    with open_session(call, models=True) as session:
        session.require_rows_here()
        # Here, because it brings plotly along, which takes a second and no other command needs.
        from stockcast_assets.forecasting.evaluation.report import evaluation_html
        from stockcast_assets.forecasting.evaluation.walkforward import walk_forward
        from stockcast_assets.forecasting.models.statistical import require_stats

        if beside.statistical:
            require_stats()
        first = parse_day(first_text) if first_text else None
        last = parse_day(last_text) if last_text else None
        if first is not None and last is not None:
            in_order(first, last)
        if known_on is None:
            tickers = _tickers(session, asked or ())
            until = {ticker: _until(session, ticker, last) for ticker in tickers}
            bars = _bars(session, until)
        else:
            world = AsKnown(session.warehouse, known_on)
            tickers = list(asked or ()) or _none_given()
            bars = {ticker: bars_as_known(world, [ticker])[ticker] for ticker in tickers}
            until = {ticker: of_ticker["date"].iloc[-1] for ticker, of_ticker in bars.items()}
        end = last or max(until.values()).date()
        with progress_bar() as bar:
            task = bar.add_task("fitting", total=None)
            walk = walk_forward(
                bars,
                first,
                end,
                statistical=beside.statistical,
                workers=session.settings.train_workers,
                progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            )
        walk = judged_beside(walk, bars, others)
        path = report or session.settings.home / "reports" / "evaluation" / _file_name(
            tickers, walk.first_day, walk.last_day, known_on
        )
        write_report(path, evaluation_html(walk))
        with err.status("logging to MLflow …"):
            link = log_to_mlflow(session, walk, path, known_on)
        if call.as_json:
            print_json({**document(walk), "as_known_on": known_on})
        else:
            _print(walk)
            if known_on is not None:
                out.print(f"By the bars as they were known at the end of {known_on}.", style="dim", soft_wrap=True)
        err.print(f"Report: {path}", soft_wrap=True)
        err.print(f"MLflow: {link}", soft_wrap=True)


def _tickers(session: Session, asked: Sequence[str]) -> list[str]:
    tickers = checked_tickers(session.settings, session.sources.get(), asked)
    return tickers or _none_given()


def _none_given() -> NoReturn:
    raise StockcastError("No ticker is given: write them as `stockcast evaluate AAPL MSFT`.")


def _until(session: Session, ticker: str, last: date | None) -> pd.Timestamp:
    """The last session needed: HORIZON after the last as-of day, whose outcomes they are, if there are so many."""
    newest = latest_session(session.settings, session.sources.get(), ticker)
    if last is None:
        return newest
    return min(newest, calendars.next_sessions(calendars.calendar_for(ticker), pd.Timestamp(last), HORIZON)[-1])


def _bars(session: Session, until: dict[str, pd.Timestamp]) -> dict[str, pd.DataFrame]:
    """The stored bars of each ticker up to its day, ingested first where they are missing."""
    add_tickers(session.instance, until)
    session.runner.ingest(until)
    found: dict[str, pd.DataFrame] = {}
    for ticker, day in until.items():
        found |= complete_bars(
            session.warehouse, session.instance, [ticker], day, session.settings.start_date, session.sources
        )
        if found[ticker].empty:
            raise StockcastError(f"{ticker} has no bar up to {day.date()}: ask for a later --to.")
    return found


def document(walk: WalkForward) -> dict[str, object]:
    """The `--json` document: headline numbers pooled, at the top level too, and per ticker, intervals, all scores."""
    from stockcast_assets.forecasting.evaluation.scores import SCORES

    pooled = walk.headline()
    return {
        **pooled,
        "pooled": pooled,
        "by_ticker": {ticker: walk.headline(ticker) for ticker in walk.tickers},
        "intervals": {
            "pooled": walk.intervals(),
            "by_ticker": {ticker: walk.intervals(ticker) for ticker in walk.tickers},
        },
        "contenders": {
            row["contender"]: {name: plain(row[name]) for name in SCORES} for row in walk.scores().to_dict("records")
        },
    }


def _print(walk: WalkForward) -> None:
    from stockcast_assets.forecasting.evaluation.scores import SCORES
    from stockcast_assets.forecasting.evaluation.walkforward import HEADLINES

    rows = []
    for of in [None, *walk.tickers] if len(walk.tickers) > 1 else walk.tickers:
        headline, intervals = walk.headline(of), walk.intervals(of)
        low, high = intervals["coverage_80"]
        rows.append(
            [
                "all" if of is None else of,
                *(_ratio(float(headline[key]), *intervals[key]) for key in HEADLINES),
                f"{headline['coverage_80']:.1%}\n\\[{low:.0%}, {high:.0%}]",
                headline["n_cases"],
            ]
        )
    headings = [
        f"{metric if metric == 'pinball' else 'RMSE'} /\n{METHODS[other].heading}"
        for metric, other in HEADLINES.values()
    ]
    print_table(
        f"LSTM against each contender [95 % interval], as-of days {walk.first_day} to {walk.last_day}",
        ["ticker", *headings, "inside\n80 %", "days"],
        rows,
    )
    scores = walk.scores()
    print_table(
        "Every contender, all horizons and tickers",
        ["contender", *SCORES],
        [[method_label(row["contender"]), *(figure(row[name]) for name in SCORES)] for _, row in scores.iterrows()],
    )
    out.print(
        "Ratios below 1 mean the LSTM is better; an interval that holds 1 is no difference. "
        "A forecast is a range of what may happen, not advice.",
        style="dim",
        soft_wrap=True,
    )


def _ratio(ratio: float, low: float, high: float) -> Text:
    style = "green" if high < 1 else "red" if low > 1 else "default"
    return stacked(styled((f"{ratio:.3f}", style)), styled((f"[{low:.3f}, {high:.3f}]", style)))


def log_to_mlflow(session: Session, walk: WalkForward, page: Path, known_on: date | None = None) -> str:
    """Record the headline numbers and the page as a run of EXPERIMENT; returns the run's link.

    Raises:
        StockcastError: if MLflow cannot be reached or refuses.
    """
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException
    from mlflow.utils.time import get_current_time_millis

    tracking = registry_from(session.settings)
    experiment = tracking.experiment_id(EXPERIMENT)
    window = f"{walk.first_day} to {walk.last_day}"
    now = get_current_time_millis()
    metrics = []
    for ticker in [None, *walk.tickers]:
        # MLflow refuses some signs that tickers have, such as ^ and =.
        prefix = "" if ticker is None else re.sub(r"[^A-Za-z0-9.-]", "_", ticker) + "/"
        values = {key: float(value) for key, value in walk.headline(ticker).items()}
        for key, (low, high) in walk.intervals(ticker).items():
            values |= {f"{key}_low": low, f"{key}_high": high}
        metrics += [Metric(prefix + key, value, now, 0) for key, value in values.items()]
    params = {**walk.config.to_dict(), "contenders": ", ".join(walk.pooled.contenders), "retrains": walk.retrains}
    try:
        client = tracking.client
        told = {
            "stockcast.tickers": ",".join(walk.tickers),
            "stockcast.from": str(walk.first_day),
            "stockcast.to": str(walk.last_day),
            **({"stockcast.as_known_on": str(known_on)} if known_on else {}),
        }
        with tracking.new_run(experiment, f"{', '.join(walk.tickers)} {window}"[:250], told) as run_id:
            client.log_batch(run_id, metrics, [Param(name, str(value)[:500]) for name, value in params.items()])
            client.log_artifact(run_id, str(page))
            client.log_text(run_id, to_csv(walk.pooled.table()), "scores.csv")
    except MlflowException as error:
        raise tracking.trouble("log the evaluation", error) from error
    return tracking.link(experiment, run_id)


def _file_name(tickers: list[str], first: date, last: date, known_on: date | None) -> str:
    names = "_".join(tickers) if len(tickers) <= 4 else f"{len(tickers)}_tickers"
    known = f"_as_known_on_{known_on}" if known_on else ""
    return f"{names.replace('/', '-')}_{first}_{last}{known}.html"


def require_report(path: Path | None) -> None:
    """Before an evaluation, which may take long.

    Raises:
        StockcastError: if its page could not be written there.
    """
    if path is not None:
        write_report(path, None)


def write_report(path: Path, text: str | None) -> None:
    """Write an evaluation's page, or, of None, only see that it can be.

    Raises:
        StockcastError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("a" if text is None else "w", encoding="utf-8") as file:
            file.write(text or "")
        if new and text is None:
            path.unlink()
    except OSError as error:
        raise StockcastError(
            f"The report {path} could not be written ({error.strerror}): name another file with --report."
        ) from error
