"""How long something will take: as long as it took here before, or as it would beside what runs here now."""

import os
from collections.abc import Mapping
from statistics import median

import dagster as dg

from stockcast_assets.cli.session import Session
from stockcast_assets.cores import usable_cores
from stockcast_assets.keys import month_of
from stockcast_assets.libraries import pd
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.orchestration.planning.launch import Launch
from stockcast_assets.tables import TRAINED_MODEL, UNIVERSE_MODEL

SECONDS_PER_KEY = {"trained_model": 8.0, "universe_model": 30.0}
"""Seconds a key takes where no run was measured yet: a model of a long history on two idle cores, the networks of
four tickers, else `DEFAULT_SECONDS`."""

DEFAULT_SECONDS = 0.05

_BUSY = 2.0
"""Slowness that is worth a word: the runs that a command did itself just before are no more."""


def slowness(cores: int, load: float) -> float:
    """How many times longer work takes than on two idle cores, never less than once.

    Args:
        cores: those of this machine that may be used.
        load: how many processes want one, on average over the last minute.
    """
    used = min(cores, 2)
    return 2 / used * max(1.0, (load + used) / cores)


def here_now() -> float:
    """`slowness` of this machine."""
    return slowness(usable_cores(), os.getloadavg()[0])


def seconds_per_key(instance: dg.DagsterInstance, launch: Launch) -> float:
    """The median of the last runs of the same assets, else what is documented, beside what runs here now."""
    wanted, beside = {dg.AssetKey(name) for name in launch.assets}, dg.AssetKey(MARKET_DAYS)
    measured = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]), limit=50):
        run = record.dagster_run
        if {*(run.asset_selection or ())} - {beside} != wanted or not (record.start_time and record.end_time):
            continue
        made = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
        if made:
            measured.append((record.end_time - record.start_time) / len(made))
    if measured:
        return median(measured)
    return SECONDS_PER_KEY.get(launch.assets[0], DEFAULT_SECONDS) * here_now()


def training_ahead(session: Session, days: Mapping[str, pd.Timestamp]) -> str | None:
    """What trainings forecasts as of these days need first, and how long they take here; None if none."""
    months = {ticker: [pd.Timestamp(month_of(day))] for ticker, day in days.items()}
    untrained = tuple(session.runner.missing(TRAINED_MODEL.name, months))
    if not untrained:
        return None
    seconds = len(untrained) * seconds_per_key(session.instance, Launch((TRAINED_MODEL.name,), untrained))
    networks = session.runner.without_networks({months[ticker][0] for ticker in untrained})
    seconds += len(networks) * seconds_per_key(session.instance, Launch((UNIVERSE_MODEL.name,), ()))
    models = "A model is" if len(untrained) == 1 else f"{len(untrained)} models are"
    slow = " (this machine is slow or busy)" if here_now() >= _BUSY else ""
    return f"{models} trained first: about {_in_words(seconds)}{slow}."


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
