"""From a launch to the run that does it, and from a run's tags back to why: the only builder of both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.jobs import job_for, with_companions
from stockcast_assets.orchestration.planning.launch import (
    COMMAND,
    DAILY,
    EARNINGS,
    NEWEST,
    REPAIR,
    RESTORE,
    RETRAINING,
    TRAINING,
    UNIVERSE,
    UPLOAD,
    Launch,
    Reason,
)
from stockcast_assets.orchestration.planning.ranges import range_tags
from stockcast_assets.orchestration.planning.tuned import training_run_config
from stockcast_assets.orchestration.ticker_space import enrol
from stockcast_assets.tables import TRAINED_MODEL

_PRIORITY = {DAILY.kind: "10", NEWEST.kind: "5", UNIVERSE.kind: "5", TRAINING.kind: "5"}
_CAUSE_TAG = {
    REPAIR: tags.REPAIR,
    RESTORE: tags.RESTORE,
    RETRAINING: tags.RETRAIN,
    UPLOAD: tags.UPLOAD,
    EARNINGS: tags.EARNINGS,
}


def run_tags(launch: Launch) -> dict[str, str]:
    """The tags of its run: exactly its keys, and why."""
    kind, cause = launch.reason.kind, launch.reason.cause
    ends = (launch.tickers[0], launch.tickers[-1]) if launch.tickers else None
    labels = dict(range_tags(ends, launch.first, launch.last))
    labels[tags.LAUNCHED_BY if kind == COMMAND.kind else tags.STAGE] = kind
    if kind in _PRIORITY:
        labels[tags.PRIORITY] = _PRIORITY[kind]
    if cause:
        # One observation has several runs: whoever looks at one wants to know which.
        labels[_CAUSE_TAG[kind]] = f"{cause} {launch.what}" if kind == REPAIR else cause
    return labels


def reason_of(labels: Mapping[str, str]) -> Reason:
    """Why a run was launched; `COMMAND` for whatever no plan asked for."""
    # Earlier releases gave a repair no stage.
    kind = labels.get(tags.STAGE, REPAIR if tags.REPAIR in labels else COMMAND.kind)
    cause = labels.get(_CAUSE_TAG.get(kind, ""), "")
    return Reason(kind, cause.partition(" ")[0] if kind == REPAIR else cause)


def run_config(instance: dg.DagsterInstance, launch: Launch) -> dict[str, Any]:
    """The configuration of its run; a training gets what was tuned."""
    config = dict(launch.reason.config)
    if TRAINED_MODEL.name in launch.assets:
        return training_run_config(instance, launch.tickers, **config)
    return {"ops": {name: {"config": config} for name in launch.assets}} if config else {}


def requests(instance: dg.DagsterInstance, launches: Iterable[Launch]) -> Sequence[dg.RunRequest]:
    """The run requests of launches. Their ranges outlive the removal of a ticker."""
    asked = list(launches)
    if asked:
        enrol(instance, utc_now())
    return [
        dg.RunRequest(
            run_key=launch.run_key,
            job_name=job_for(launch.assets),
            tags=run_tags(launch),
            asset_selection=[dg.AssetKey(name) for name in with_companions(launch.assets)],
            run_config=run_config(instance, launch),
        )
        for launch in asked
    ]
