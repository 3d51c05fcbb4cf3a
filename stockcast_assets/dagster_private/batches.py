"""Which events an event log may store together, whatever database it is on."""

from collections.abc import Sequence

from dagster import DagsterEventType, EventLogEntry

BATCH_SIZE = "1000"

_BATCHED = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}


def split(events: Sequence[EventLogEntry]) -> tuple[list[EventLogEntry], list[EventLogEntry]]:
    """Those that may be stored together, and those that must be stored one by one."""
    together = [event for event in events if event.dagster_event_type in _BATCHED]
    return together, [event for event in events if event.dagster_event_type not in _BATCHED]


def last_of_each_asset(events: Sequence[EventLogEntry], ids: Sequence[int]) -> list[tuple[EventLogEntry, int]]:
    """Of each kind and asset the last event with its id, by asset: each would overwrite what was the asset's last."""
    last = {
        (str(event.get_dagster_event().asset_key), event.get_dagster_event().event_type_value): (event, id_)
        for event, id_ in zip(events, ids, strict=True)
    }
    # Sorted by asset only: the kinds stay in the order in which they happened.
    return [last[key] for key in sorted(last, key=lambda key: key[0])]
