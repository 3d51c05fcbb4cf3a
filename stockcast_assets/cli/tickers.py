"""`stockcast tickers`: which tickers are forecast."""

from stockcast_assets.automation.ranges import add_tickers, known_tickers
from stockcast_assets.cli.days import check_known, check_ticker
from stockcast_assets.cli.session import err, open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.errors import StockcastError
from stockcast_assets.market import calendars
from stockcast_assets.partitions import ticker_partitions


def add(tickers: list[str], as_json: bool, debug: bool) -> None:
    """Add tickers the source knows; all of them or, if one is wrong, none."""
    with open_session(debug) as session:
        for ticker in tickers:
            check_ticker(session.settings, ticker)
            check_known(session.settings, session.sources.get(), ticker)
        new = add_tickers(session.instance, dict.fromkeys(tickers))
        if as_json:
            print_json({"added": new, "tickers": known_tickers(session.instance)})
            return
        already = [ticker for ticker in tickers if ticker not in new]
        if new:
            err.print(f"Added {', '.join(new)}. `stockcast forecast {new[0]}` brings it up at once.", highlight=False)
        if already:
            err.print(f"Already there: {', '.join(already)}.", highlight=False)


def remove(tickers: list[str], as_json: bool, debug: bool) -> None:
    """Remove tickers from the partitions; rows stay in the warehouse.

    Raises:
        StockcastError: if a ticker is not there, or comes back by STOCKCAST_TICKERS.
    """
    with open_session(debug) as session:
        known = known_tickers(session.instance)
        for ticker in tickers:
            if ticker not in known:
                raise StockcastError(f"{ticker} is not among the tickers ({', '.join(known) or 'there are none'}).")
            if ticker in session.settings.tickers:
                raise StockcastError(f"{ticker} is set in STOCKCAST_TICKERS and would come back: take it out there.")
        for ticker in tickers:
            session.instance.delete_dynamic_partition(str(ticker_partitions.name), ticker)
        if as_json:
            print_json({"removed": tickers, "tickers": known_tickers(session.instance)})
            return
        err.print(f"Removed {', '.join(tickers)}. Their stored rows stay in the warehouse.", highlight=False)


def show(as_json: bool, debug: bool) -> None:
    """Print the tickers."""
    with open_session(debug) as session:
        rows = [(ticker, calendars.calendar_for(ticker)) for ticker in known_tickers(session.instance)]
        if as_json:
            print_json([{"ticker": ticker, "calendar": calendar} for ticker, calendar in rows])
            return
        if not rows:
            err.print("There is no ticker yet: add one with `stockcast tickers add MSFT`.")
            return
        print_table("Tickers", ["ticker", "calendar"], rows)
