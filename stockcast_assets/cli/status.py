"""`stockcast status`: what is stored."""

from stockcast_assets.as_known import AsKnown, past_day, world_of
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.tables import Row, plain, print_json, print_table
from stockcast_assets.cli.terminal import err, out, warn
from stockcast_assets.market import calendars
from stockcast_assets.market.known import day_ends_at
from stockcast_assets.orchestration import ticker_space
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.orchestration.planning.reconcile import survey
from stockcast_assets.orchestration.tickers import states_known
from stockcast_assets.tables import DRIFT_REPORT, FORECASTS, PRICE_HISTORY, RAW_PRICES, STORED_TABLES
from stockcast_assets.warehouse import Warehouse


def run(call: Invocation, as_known_on: str | None) -> None:
    """Print tickers and tables, as they are or as they were known at the end of a day."""
    day = None if as_known_on is None else past_day(as_known_on)
    with open_session(call) as session:
        settings, world = session.settings, world_of(session.warehouse, day)
        if isinstance(world, AsKnown):
            known = list(states_known(ticker_space.read(session.instance), day_ends_at(world.day)))
            parted = []
        else:
            known = known_tickers(session.instance)
            parted = survey(session.instance, world, session.other_warehouse).sentences()
        tickers = [_ticker(world, ticker) for ticker in known]
        tables = [
            {"table": table.name, "rows": rows, "sha256": digest}
            for table in STORED_TABLES
            for rows, digest in [world.content_hash(table)]
        ]
        place = world.place
        if call.as_json:
            document = {"warehouse": place, "source": settings.source, "tickers": tickers, "tables": tables}
            print_json({**document, "parted": parted, "as_known_on": day})
            return
        if isinstance(world, AsKnown):
            err.print(world.words, soft_wrap=True)
        print_table(
            "Tickers",
            ["ticker", "calendar", "first bar", "last bar", "bars", "last forecast", "method", "drift"],
            [list(row.values()) for row in tickers],
        )
        print_table(f"Tables in {place}", ["table", "rows"], [[row["table"], row["rows"]] for row in tables])
        for sentence in parted:
            warn(sentence)
        out.print(f"Source: {settings.source}; daily keys from {settings.start_date}.", style="dim")


def _ticker(warehouse: Warehouse, ticker: str) -> Row:
    read = warehouse.read
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
