"""What comes with a run's forecasts: their entries in the ledger, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import dagster as dg

from stockcast_assets import __version__, clock
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.serving.rounding import as_said
from stockcast_assets.libraries import pd
from stockcast_assets.monitoring import ledger
from stockcast_assets.monitoring.heads import HeadStore
from stockcast_assets.monitoring.ledger import Head
from stockcast_assets.orchestration.assets.specs import table_beside
from stockcast_assets.orchestration.publication_log import HEADS
from stockcast_assets.tables import FORECASTS, PUBLISHED_FORECASTS
from stockcast_assets.tracking.serving import Serving
from stockcast_assets.warehouse import KeyedFrame, Warehouse
from stockcast_assets.warehouse.frames import Addition

_ABOUT = """
Nobody makes it: **an entry is stored in the same transaction as the forecast it tells of**, or neither is. A forecast
that is repaired is a further entry, with the next `revision`; one that is made again and says the same adds nothing.
What was published after its target session opened is `late`, and no forecast. `stockcast ledger verify` proves that no
row was changed, removed or put in; each publication leaves the heads of the tickers' chains here.
"""

Served: TypeAlias = "Mapping[str, Sequence[tuple[Serving, Sequence[pd.Timestamp]]]]"


def stored_heads(warehouse: Warehouse, tickers: Sequence[str] | None = None) -> dict[str, Head]:
    """The heads of the ledger's chains."""
    columns = [*ledger.ORDER, "digest"]
    return ledger.heads_of(warehouse.newest(PUBLISHED_FORECASTS, ledger.ORDER[1:], columns, tickers))


def ledger_spec() -> dg.AssetSpec:
    """The ledger in the graph: nobody makes it, it grows with the forecasts."""
    return table_beside(PUBLISHED_FORECASTS, "forecasting", [FORECASTS.name], published, _ABOUT)


def published(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    store: HeadStore,
    made: KeyedFrame,
    served: Served,
    bars: Mapping[str, pd.DataFrame],
) -> KeyedFrame:
    """The forecasts of a run as they are to be stored: with what the ledger has to say of them.

    Args:
        context: of the run's step.
        warehouse: where both are stored.
        store: where the ledger's heads are kept beside it.
        made: the forecasts.
        served: which model made those of which days.
        bars: of each ticker, from the first stored one on.
    """
    if made.frame.empty:
        return made
    known = _known(served, bars)
    # Else the ledger would tell of a repair where only another machine was at work.
    made = replace(made, frame=as_said(made.frame, _said_of_the_same(warehouse, made.frame, known)))

    def addition() -> Addition | None:
        stored = _entries_of(warehouse, made.frame)
        before = stored_heads(warehouse, sorted(made.frame["ticker"].unique()))
        now = clock.utc_now()
        rows = ledger.new_entries(made.frame, stored, before, known, now, __version__)
        if rows.empty:
            return None
        heads = ledger.heads_of(rows)
        firsts = rows[rows["horizon"] == 1]
        told = {
            "ledger head": ledger.head_hash(heads),
            "published at": dg.MetadataValue.timestamp(now.timestamp()),
        }
        # Dagster plots numbers, and these are of the run, not of a key.
        event = {
            "entries": len(firsts),
            "revisions": int((firsts["revision"] > 0).sum()),
            "late rows": int(rows["late"].sum()),
            HEADS: {ticker: list(head) for ticker, head in heads.items()},
        }
        return Addition(PUBLISHED_FORECASTS, rows, told, event, lambda: _keep(context, store, now, heads))

    return replace(made, adding=addition)


def _entries_of(warehouse: Warehouse, frame: pd.DataFrame) -> pd.DataFrame:
    """The ledger's rows of the keys of forecasts, and perhaps of other days between them."""
    tickers, days = sorted(frame["ticker"].unique()), frame["date"]
    return warehouse.read(PUBLISHED_FORECASTS, tickers=tickers, start=days.min(), end=days.max())


def _said_of_the_same(warehouse: Warehouse, frame: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The ledger's newest rows of the same keys, by the same model of the same bars."""
    newest = ledger.newest_revisions(_entries_of(warehouse, frame))
    digests = ["model_digest", "data_digest"]
    now = newest[ledger.KEY].merge(known, on=ledger.KEY, how="left")[digests]
    before = newest[digests].reset_index(drop=True)
    return newest[(before.eq(now) | (before.isna() & now.isna())).all(axis=1).to_numpy(bool)]


def _known(served: Served, bars: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    rows = []
    for ticker, groups in served.items():
        digests = ledger.bars_digests(bars[ticker], [day for _, asked in groups for day in asked])
        for serving, asked in groups:
            model = None if serving.model is None else serving.model.sha256
            rows += [(ticker, day, model, digests[day]) for day in asked]
    return pd.DataFrame(rows, columns=["ticker", "date", "model_digest", "data_digest"])


def _keep(context: dg.AssetExecutionContext, store: HeadStore, now: pd.Timestamp, heads: Mapping[str, Head]) -> None:
    """Keep the heads; a place that cannot be reached now stops no forecast, because the next heads tell of these."""
    try:
        store.write(now, heads)
    except StockcastError as error:
        context.log.warning(f"{error} The forecasts and the ledger are stored; only this head is not kept there.")
