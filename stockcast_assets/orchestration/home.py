"""The Dagster home that goes with the settings."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from stockcast_assets.masking import credentials
from stockcast_assets.private_files import make_private
from stockcast_assets.settings import Settings


def _shipped(name: str) -> Path:
    """`dagster.yaml` or `workspace.yaml`: beside the package in a wheel's install, one folder up in a checkout."""
    packaged = Path(__file__).parents[1] / name
    return packaged if packaged.exists() else Path(__file__).parents[2] / name


def workspace() -> Path:
    """The file that names the code location, so that Dagster knows it as `stockcast` however it was started: what
    schedules and sensors remember is kept by that name."""
    return _shipped("workspace.yaml")


_EVENT_LOG = """
# The place and format of Dagster's own event log, written in one transaction per range of keys.
event_log_storage:
  module: stockcast_assets.event_log
  class: BatchingEventLogStorage
"""


def default_config() -> str:
    """`dagster.yaml` of a new home: the project's, with the event log of a home that stays.

    The project's own file is also read by `dagster dev` without a home, whose event log lies somewhere temporary.
    """
    return _shipped("dagster.yaml").read_text() + _EVENT_LOG


def dagster_home(settings: Settings) -> Path:
    """The Dagster home, made on first use: DAGSTER_HOME if that is set, else the one in STOCKCAST_HOME.

    What is in STOCKCAST_HOME is this account's alone afterwards. An existing `dagster.yaml` is left as it is, so that
    a user may change it.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home)
    make_private(settings.home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text(default_config())
    os.environ["DAGSTER_HOME"] = str(home)
    return home


_IN_CLEAR = re.compile(r"^\s*([\w-]*(?:password|passwd|secret|token))\s*:\s*([^\s{#][^#]*)", re.IGNORECASE)
_NAMED = re.compile(r"^\s*([\w-]+)\s*:\s*(\S.*)")


def passwords_in_clear(home: Path) -> list[str]:
    """The fields of `dagster.yaml` that hold a password: Dagster shows the file to whoever reaches its UI, and hands it
    to its processes on their command lines."""
    file = home / "dagster.yaml"
    found = []
    for line in file.read_text(errors="replace").splitlines() if file.exists() else ():
        if (clear := _IN_CLEAR.match(line)) is not None:
            found.append(clear[1])
        elif (named := _NAMED.match(line)) is not None and credentials(named[2].strip("'\" ")) is not None:
            found.append(named[1])
    return found


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The real instance of these settings: its runs are the ones the Dagster UI shows."""
    dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance
