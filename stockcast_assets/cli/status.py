"""`stockcast status`: what is stored."""

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session
from stockcast_assets.cli.tables import Row, plain, print_json, print_table
from stockcast_assets.cli.terminal import out, warn
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.orchestration.planning.reconcile import survey
from stockcast_assets.tables import DRIFT_REPORT, FORECASTS, PRICE_HISTORY, RAW_PRICES, STORED_TABLES


def run(call: Invocation) -> None:
    """Print tickers and tables."""
    with open_session(call) as session:
        settings = session.settings
        tickers = [_ticker(session, ticker) for ticker in known_tickers(session.instance)]
        tables = [
            {"table": table.name, "rows": rows, "sha256": digest}
            for table in STORED_TABLES
            for rows, digest in [session.warehouse.content_hash(table)]
        ]
        place = session.warehouse.place
        parted = survey(session.instance, session.warehouse, session.other_warehouse).sentences()
        if call.as_json:
            document = {"warehouse": place, "source": settings.source, "tickers": tickers, "tables": tables}
            print_json({**document, "parted": parted})
            return
        print_table(
            "Tickers",
            ["ticker", "calendar", "first bar", "last bar", "bars", "last forecast", "method", "drift"],
            [list(row.values()) for row in tickers],
        )
        print_table(f"Tables in {place}", ["table", "rows"], [[row["table"], row["rows"]] for row in tables])
        for sentence in parted:
            warn(sentence)
        out.print(f"Source: {settings.source}; daily keys from {settings.start_date}.", style="dim")


def _ticker(session: Session, ticker: str) -> Row:
    read = session.warehouse.read
    dates = [
        date
        for table in (PRICE_HISTORY, RAW_PRICES)
        for date in read(table, tickers=[ticker], columns=["date"])["date"]
    ]
    made = read(FORECASTS, tickers=[ticker], columns=["date", "method"])
    drift = read(DRIFT_REPORT, tickers=[ticker], columns=["date", "drifted"])
    newest = made.iloc[-1] if len(made) else None
    return {
        "ticker": ticker,
        "calendar": calendars.calendar_for(ticker),
        "first_bar": plain(min(dates)) if dates else None,
        "last_bar": plain(max(dates)) if dates else None,
        "bars": len(set(dates)),
        "last_forecast": None if newest is None else plain(newest["date"]),
        "method": None if newest is None else newest["method"],
        "drift": bool(drift[drift["date"] == drift["date"].max()]["drifted"].any()) if len(drift) else None,
    }
