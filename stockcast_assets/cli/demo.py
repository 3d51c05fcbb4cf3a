"""`stockcast demo`: the whole graph on the bundled history."""

from __future__ import annotations

import os
import time

from stockcast_assets.cli.days import latest_session
from stockcast_assets.cli.estimate import training_ahead
from stockcast_assets.cli.forecast import ADVICE, describe, print_summary, summary
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session, resumable
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import err, out, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.tables import STORED_TABLES


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
        session.require_rows_here()
        started = time.monotonic()
        tickers = session.sources.get().tickers()
        add_tickers(session.instance, tickers)
        wanted = {ticker: _last_sessions(session, ticker, count) for ticker in tickers}
        if (ahead := training_ahead(session, {ticker: days[-1] for ticker, days in wanted.items()})) is not None:
            err.print(ahead)
        with resumable(session):
            session.runner.bring_up(wanted)
            session.runner.draw_scenarios(day for days in wanted.values() for day in days)
        seconds = time.monotonic() - started
        rows = [
            summary(session, describe(session, ticker, _last_sessions(session, ticker, 1)[0].date()))
            for ticker in tickers
        ]
        hashes = {table.name: session.warehouse.content_hash(table) for table in STORED_TABLES}
        runs = len(session.runner.finished)
        if call.as_json:
            tables = {name: {"rows": count, "sha256": digest} for name, (count, digest) in hashes.items()}
            print_json({"forecasts": rows, "tables": tables, "runs": runs, "seconds": round(seconds, 1)})
            return
        print_summary(rows)
        print_table(
            "Tables", ["table", "rows", "SHA-256 of the contents"], [[n, c, h[:16]] for n, (c, h) in hashes.items()]
        )
        out.print(
            "LSTM skill is 1 - RMSE / RMSE of the random walk on the walk-forward test of each model: about 0 means "
            f"no better than the last close. {ADVICE}",
            style="dim",
            soft_wrap=True,
        )
        err.print(
            f"{runs} runs in {seconds:.0f} s, nothing left to do."
            if runs
            else f"Everything was there already ({seconds:.1f} s)."
        )
        # Make tells its commands how deep they are in it: who has no Makefile has the command itself.
        tool = "make" if "MAKELEVEL" in os.environ else "stockcast"
        err.print(
            styled(
                "Next: ",
                (f"{tool} ui", "bold"),
                " (Dagster, http://127.0.0.1:3000) · ",
                (f"{tool} dashboard", "bold"),
                " (http://127.0.0.1:8501)",
            )
        )


def _last_sessions(session: Session, ticker: str, count: int) -> list[pd.Timestamp]:
    settings = session.settings
    end = latest_session(settings, session.sources.get(), ticker)
    return list(calendars.sessions(calendars.calendar_for(ticker), settings.start_date, end)[-count:])
