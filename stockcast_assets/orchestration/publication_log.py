"""What Dagster remembers of publications: the heads that each of them left."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from stockcast_assets.monitoring.ledger import Anchor, Head
from stockcast_assets.tables import PUBLISHED_FORECASTS

HEADS = "heads"
"""Metadata of the ledger's asset: the heads that a publication left, by ticker."""

_AT_ONCE = 200


def anchors(instance: dg.DagsterInstance) -> Iterator[Anchor]:
    """The heads that every publication left, the newest first; what others wrote into the log is none."""
    cursor, more = None, True
    while more:
        answer = instance.fetch_materializations(dg.AssetKey(PUBLISHED_FORECASTS.name), _AT_ONCE, cursor)
        for record in answer.records:
            event = record.asset_materialization
            told = event.metadata[HEADS].value if event is not None and HEADS in event.metadata else None
            if isinstance(told, dict):
                heads = {
                    str(ticker): Head(head[0], head[1])
                    for ticker, head in told.items()
                    if isinstance(head, list) and len(head) == len(Head._fields)
                }
                yield Anchor(f"run {record.run_id}", heads)
        cursor, more = answer.cursor, answer.has_more
