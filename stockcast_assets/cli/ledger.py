"""`stockcast ledger`: whether what was published still stands as it was, and the hash that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import typer

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import out, warn
from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.monitoring import ledger
from stockcast_assets.monitoring.ledger import Fault
from stockcast_assets.orchestration.assets.publication import stored_heads
from stockcast_assets.orchestration.build import heads_from
from stockcast_assets.orchestration.publication_log import anchors
from stockcast_assets.tables import FORECASTS, PUBLISHED_FORECASTS

_SHOWN = 20


def verify(call: Invocation, tickers: Sequence[str] | None) -> None:
    """Compute every digest anew, and compare with `forecasts` and with the heads that are remembered elsewhere.

    Exit status 1 if something is wrong.
    """
    with open_session(call) as session:
        rows = session.warehouse.read(PUBLISHED_FORECASTS, tickers=tickers)
        place = session.warehouse.place
        found, unknown, told = _faults(session, tickers, rows)
    heads = ledger.heads_of(rows)
    if call.as_json:
        print_json(
            {
                "warehouse": place,
                "rows": len(rows),
                "tickers": len(heads),
                "heads_remembered": told,
                "head": ledger.head_hash(heads),
                "late_rows": int(rows["late"].sum()),
                "forecasts_without_entry": unknown,
                "faults": [asdict(fault) for fault in found],
            }
        )
    else:
        for fault in found[:_SHOWN]:
            out.print(f"✗ {fault}", soft_wrap=True, highlight=False)
        if len(found) > _SHOWN:
            out.print(f"… and {len(found) - _SHOWN} tickers more.")
        if not found:
            entries = sum(head.entry for head in heads.values())
            out.print(
                f"{entries} entries of {len(heads)} tickers in {place} stand as they were published, and {told} heads "
                f"that are remembered elsewhere agree. Head: {ledger.head_hash(heads)}",
                soft_wrap=True,
                highlight=False,
            )
        if unknown:
            warn(
                f"{unknown} forecasts have no entry: a release that kept no ledger stored them. They are no evidence "
                "of what was promised."
            )
    if found:
        raise typer.Exit(1)


def _faults(session: Session, tickers: Sequence[str] | None, rows: pd.DataFrame) -> tuple[list[Fault], int, int]:
    """What is wrong, how many forecasts have no entry, and how many remembered heads were compared."""
    remembered = [*heads_from(session.settings).anchors(), *anchors(session.instance)]
    if tickers is not None:
        chosen = set(tickers)
        remembered = [
            ledger.Anchor(each.where, {ticker: head for ticker, head in each.heads.items() if ticker in chosen})
            for each in remembered
        ]
    found = ledger.faults(rows, remembered)
    made = session.warehouse.read(FORECASTS, tickers=tickers)
    # Of a broken chain nobody can say what its forecasts should be.
    other, unknown = ledger.unpublished(rows, made[~made["ticker"].isin([fault.ticker for fault in found])])
    return [*found, *other], unknown, sum(len(each.heads) for each in remembered)


def head(call: Invocation, write: bool) -> None:
    """Print each ticker's head and the hash of them all; `write` keeps them in STOCKCAST_LEDGER_HEADS, too.

    Raises:
        StockcastError: if they are to be kept and no place is set, or it cannot be used.
    """
    with open_session(call) as session:
        heads = stored_heads(session.warehouse)
        if write:
            store = heads_from(session.settings)
            if store.location is None:
                raise StockcastError(
                    "No place is set for the ledger's heads: set STOCKCAST_LEDGER_HEADS to a folder, a git repository "
                    "or gs://bucket/prefix."
                )
            store.write(utc_now(), heads)
    whole = ledger.head_hash(heads)
    if call.as_json:
        print_json({"head": whole, "heads": {ticker: own._asdict() for ticker, own in heads.items()}})
        return
    print_table(
        "Heads of the ledger", ["ticker", "entries", "digest"], [[ticker, *own] for ticker, own in heads.items()]
    )
    out.print(f"Head: {whole}", soft_wrap=True, highlight=False)
