"""`stockcast backfill`: materialise again, exactly."""

from datetime import date

import pandas as pd

from stockcast_assets.automation.jobs import DAILY_ASSETS
from stockcast_assets.automation.ranges import add_tickers
from stockcast_assets.automation.runs import Step
from stockcast_assets.cli.days import check_known, check_ticker, latest_session, parse_day
from stockcast_assets.cli.session import Session, err, open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.errors import StockcastError
from stockcast_assets.partitions import month_of
from stockcast_assets.tables import PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL

ASSETS = (PRICE_HISTORY.name, RAW_PRICES.name, *(a for a in DAILY_ASSETS if a != RAW_PRICES.name), TRAINED_MODEL.name)


def run(
    tickers: str, first_text: str | None, last_text: str | None, assets: str | None, as_json: bool, debug: bool
) -> None:
    """Materialise the assets of the tickers for every day from first to last."""
    with open_session(debug) as session:
        names = _names(assets)
        wanted = [check_ticker(session.settings, t.strip()) for t in tickers.split(",") if t.strip()]
        if not wanted:
            raise StockcastError("No ticker is given: use --tickers AAPL,MSFT.")
        for ticker in wanted:
            check_known(session.settings, session.sources.get(), ticker)
        first, last = _bounds(session, wanted, first_text, last_text)
        add_tickers(session.instance, wanted)
        steps = _plan(session, tuple(dict.fromkeys(wanted)), names, first, last)
        err.print(f"{len(steps)} runs for {len(wanted)} tickers, {first} to {last}.", highlight=False)
        _bring_up_inputs(session, wanted, names, first, last)
        for step in steps:
            session.runner.run(step)
        rows = [[str(step), round(seconds, 1)] for step, seconds in session.runner.finished]
        if as_json:
            print_json({"runs": [{"run": name, "seconds": seconds} for name, seconds in rows]})
            return
        print_table("Runs", ["run", "seconds"], rows)


def _names(assets: str | None) -> tuple[str, ...]:
    if assets is None:
        return ASSETS
    names = tuple(dict.fromkeys(name.strip() for name in assets.split(",") if name.strip()))
    for name in names:
        if name not in ASSETS:
            raise StockcastError(f"{name!r} is no asset: choose from {', '.join(ASSETS)}.")
    return names


def _bounds(session: Session, tickers: list[str], first_text: str | None, last_text: str | None) -> tuple[date, date]:
    settings = session.settings
    first = parse_day(first_text) if first_text else settings.start_date
    newest = [latest_session(settings, session.sources.get(), ticker).date() for ticker in tickers]
    last = parse_day(last_text) if last_text else max(newest)
    if first > last:
        raise StockcastError(f"--from {first} is after --to {last}: swap them.")
    if first < settings.start_date:
        raise StockcastError(
            f"--from {first} is before the first daily key: set STOCKCAST_START_DATE={settings.start_date} earlier."
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


def _bring_up_inputs(session: Session, tickers: list[str], names: tuple[str, ...], first: date, last: date) -> None:
    """Bars and models that the assets need and that were never materialised; what is there is left alone."""
    if names == (PRICE_HISTORY.name,):
        return
    before = pd.Timestamp(first) - pd.Timedelta(days=1)
    until = before if RAW_PRICES.name in names else pd.Timestamp(last)
    session.runner.ingest(dict.fromkeys(tickers, until))
