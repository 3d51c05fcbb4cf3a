"""`stockcast demo`: the whole graph on the bundled history."""

from __future__ import annotations

import os
import time

from rich.text import Text

from stockcast_assets.cli.days import latest_session
from stockcast_assets.cli.forecast import describe
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session, resumable
from stockcast_assets.cli.tables import Row, print_json, print_table
from stockcast_assets.cli.terminal import err, out, stacked, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.tables import ALL_TABLES, DRIFT_REPORT, HORIZON


def run(call: Invocation, count: int) -> None:
    """Forecast the last `count` sessions of the sample's tickers and print the newest forecasts.

    Raises:
        StockcastError: if STOCKCAST_SOURCE is set to another source.
    """
    if os.environ.setdefault("STOCKCAST_SOURCE", "sample") != "sample":
        raise StockcastError(
            f"The demo runs on the bundled history, but STOCKCAST_SOURCE={os.environ['STOCKCAST_SOURCE']}: unset it."
        )
    with open_session(call, models=True) as session:
        started = time.monotonic()
        tickers = session.sources.get().tickers()
        add_tickers(session.instance, tickers)
        with resumable(session):
            session.runner.bring_up({ticker: _last_sessions(session, ticker, count) for ticker in tickers})
        seconds = time.monotonic() - started
        rows = [_summary(session, ticker) for ticker in tickers]
        hashes = {table.name: session.warehouse.content_hash(table) for table in ALL_TABLES}
        runs = len(session.runner.finished)
        if call.as_json:
            tables = {name: {"rows": count, "sha256": digest} for name, (count, digest) in hashes.items()}
            print_json({"forecasts": rows, "tables": tables, "runs": runs, "seconds": round(seconds, 1)})
            return
        print_table(
            "Close forecast: median (10 % – 90 %)",
            ["ticker", "as of", "close", "1 session", "5 sessions", "10 sessions", "method", "LSTM skill", "drift"],
            [
                [
                    row["ticker"],
                    row["as_of"],
                    row["last_close"],
                    *(_interval(row[f"session_{h}"]) for h in (1, 5, HORIZON)),
                    row["method"],
                    _skill(row["skill_vs_random_walk"]),
                    row["drift"],
                ]
                for row in rows
            ],
        )
        print_table(
            "Tables", ["table", "rows", "SHA-256 of the contents"], [[n, c, h[:16]] for n, (c, h) in hashes.items()]
        )
        out.print(
            "LSTM skill is 1 - RMSE / RMSE of the random walk on the walk-forward test of each model: about 0 means "
            "no better than the last close. A forecast is a range of what may happen, not advice.",
            style="dim",
            soft_wrap=True,
        )
        err.print(
            f"{runs} runs in {seconds:.0f} s, nothing left to do."
            if runs
            else f"Everything was there already ({seconds:.1f} s)."
        )
        err.print(
            styled(
                "Next: ",
                ("make ui", "bold"),
                " (Dagster, http://127.0.0.1:3000) · ",
                ("make dashboard", "bold"),
                " (http://127.0.0.1:8501)",
            )
        )


def _last_sessions(session: Session, ticker: str, count: int) -> list[pd.Timestamp]:
    settings = session.settings
    end = latest_session(settings, session.sources.get(), ticker)
    return list(calendars.sessions(calendars.calendar_for(ticker), settings.start_date, end)[-count:])


def _summary(session: Session, ticker: str) -> Row:
    day = _last_sessions(session, ticker, 1)[0].date()
    document = describe(session, ticker, day)
    drift = session.warehouse.read(DRIFT_REPORT, tickers=[ticker], start=day, end=day)
    horizons = {row["horizon"]: row for row in document["forecasts"]}
    ratio = document["rmse_ratio_rw"]
    return {
        "ticker": ticker,
        "as_of": document["as_of"],
        "last_close": document["last_close"],
        **{
            f"session_{h}": {name: horizons[h][f"close_{name}"] for name in ("p10", "p50", "p90")}
            for h in (1, 5, HORIZON)
        },
        "method": document["method"],
        "skill_vs_random_walk": None if ratio is None else 1 - ratio,
        "drift": bool(drift["drifted"].any()),
        "reason": document["reason"],
    }


def _interval(quantiles: dict[str, float]) -> Text:
    return stacked("{p50:,.2f}".format(**quantiles), "({p10:,.2f} – {p90:,.2f})".format(**quantiles))


def _skill(skill: float | None) -> str:
    return "–" if skill is None else f"{skill:+.1%}"
