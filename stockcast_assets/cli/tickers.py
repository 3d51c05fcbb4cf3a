"""`stockcast tickers`: which tickers are forecast, and in which state each is."""

from stockcast_assets.cli.days import checked_tickers
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import err
from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import validate_reason
from stockcast_assets.market import calendars
from stockcast_assets.orchestration.planning.ranges import add_tickers, known_tickers, remove_tickers
from stockcast_assets.orchestration.tickers import State, set_state, ticker_states


def add(call: Invocation, tickers: list[str]) -> None:
    """Add tickers the source knows; all of them or, if one is wrong, none."""
    with open_session(call, tables=False) as session:
        wanted = checked_tickers(session.settings, session.sources.get(), tickers)
        new = add_tickers(session.instance, wanted)
        if call.as_json:
            print_json({"added": new, "tickers": known_tickers(session.instance)})
            return
        already = [ticker for ticker in tickers if ticker not in new]
        if new:
            err.print(f"Added {', '.join(new)}. `stockcast forecast {new[0]}` brings it up at once.")
        if already:
            err.print(f"Already there: {', '.join(already)}.")


def remove(call: Invocation, tickers: list[str]) -> None:
    """Remove tickers from the partitions; rows stay in the warehouse.

    Raises:
        StockcastError: if a ticker is not there, or comes back by STOCKCAST_TICKERS.
    """
    with open_session(call, tables=False) as session:
        _check_present(session, tickers)
        for ticker in tickers:
            if ticker in session.settings.tickers:
                raise StockcastError(f"{ticker} is set in STOCKCAST_TICKERS and would come back: take it out there.")
        remove_tickers(session.instance, tickers)
        if call.as_json:
            print_json({"removed": tickers, "tickers": known_tickers(session.instance)})
            return
        err.print(f"Removed {', '.join(tickers)}. Their stored rows stay in the warehouse.")


def change(call: Invocation, tickers: list[str], state: State, reason: str) -> None:
    """Put tickers into a state; all of them or, if one is not there, none.

    Raises:
        StockcastError: if a ticker is not there.
    """
    with open_session(call, tables=False) as session:
        _check_present(session, tickers)
        reason = validate_reason(reason)
        for ticker in tickers:
            set_state(session.instance, ticker, state, reason)
        if call.as_json:
            print_json({"state": state, "reason": reason, "tickers": tickers})
            return
        names = ", ".join(tickers)
        if state == "active":
            err.print(f"{names}: forecast again from the newest session on.")
        else:
            err.print(f"{names}: {state}, no more runs. The stored rows stay.")


def show(call: Invocation) -> None:
    """Print the tickers with their states."""
    with open_session(call, tables=False) as session:
        known = known_tickers(session.instance)
        states = ticker_states(session.instance, known)
        rows = [
            (
                ticker,
                states[ticker].company or None,
                calendars.calendar_for(ticker),
                str(states[ticker]),
                states[ticker].daily_from,
                states[ticker].reason,
            )
            for ticker in known
        ]
        headings = ["ticker", "company", "calendar", "state", "daily_from", "reason"]
        if call.as_json:
            print_json([dict(zip(headings, row, strict=True)) for row in rows])
            return
        if not rows:
            err.print("There is no ticker yet: add one with `stockcast tickers add MSFT`.")
            return
        print_table("Tickers", ["ticker", "company", "calendar", "state", "daily since", "reason"], rows)


def _check_present(session: Session, tickers: list[str]) -> None:
    known = known_tickers(session.instance)
    for ticker in tickers:
        if ticker not in known:
            raise StockcastError(f"{ticker} is not among the tickers ({', '.join(known) or 'there are none'}).")
