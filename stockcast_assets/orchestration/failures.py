"""Why a run or a tick failed, in a sentence, from what Dagster recorded: one way for commands and alerts."""

from dataclasses import dataclass
from typing import Protocol

import dagster as dg

from stockcast_assets.errors import StockcastError


class RecordedError(Protocol):
    """An error as Dagster keeps it, with its causes."""

    @property
    def message(self) -> str: ...
    @property
    def cls_name(self) -> str | None: ...
    @property
    def cause(self) -> "RecordedError | None": ...


@dataclass(frozen=True)
class Failure:
    """Why a run failed: in words, and whether they are a sentence of ours, which says what to do."""

    words: str
    ours: bool
    step: str | None = None


def root_cause(error: RecordedError, step: str | None = None) -> Failure:
    """The error of ours in a chain of causes, else the innermost."""
    ours = {StockcastError.__name__, *(kind.__name__ for kind in StockcastError.__subclasses__())}
    while error.cls_name not in ours and error.cause is not None:
        error = error.cause
    words = (error.message.strip() or "its log says more.").splitlines()[0]
    # The message begins with the name of the class.
    return Failure(words.partition(": ")[2], True, step) if error.cls_name in ours else Failure(words, False, step)


def why_failed(instance: dg.DagsterInstance, run_id: str) -> Failure:
    """Why a run failed: the first step that did, else what Dagster's monitor found at its end."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        if event is not None and event.step_failure_data.error is not None:
            return root_cause(event.step_failure_data.error, event.step_key)
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        if entry.dagster_event and entry.dagster_event.message:
            return Failure(entry.dagster_event.message.strip().splitlines()[0], False)
    return Failure("its log says more.", False)
