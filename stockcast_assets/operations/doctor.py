"""Every part that stockcast stands on, looked at once: what was found, and how to mend what is wrong.

Nothing is changed but that a home which is not there yet is made; one part that is out of order hides no other.
"""

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.dagster_private.migrations import is_of_an_earlier_dagster
from stockcast_assets.errors import StockcastError
from stockcast_assets.market import calendars
from stockcast_assets.masking import redact, without_credentials
from stockcast_assets.orchestration.build import sources_from, uploads_from, warehouse_from
from stockcast_assets.orchestration.home import (
    check_home,
    dagster_home,
    models_database,
    open_instance,
    passwords_in_clear,
    tables_database,
    tunings_database,
)
from stockcast_assets.orchestration.planning.ranges import known_tickers
from stockcast_assets.private_files import whose_path
from stockcast_assets.settings import Settings
from stockcast_assets.tables import STORED_TABLES
from stockcast_assets.warehouse.transfer import compare

State = Literal["ok", "warning", "fault"]

_GB = 2**30
_LITTLE, _TOO_LITTLE = 5 * _GB, _GB
_ANSWERS_S = 10.0
_WAITS_S = 3600.0
_CLOCKS_DIFFER_S = 60.0
_PACKAGES = ("dagster", "dagster-webserver", "mlflow", "duckdb", "tensorflow-cpu", "pandas", "evidently")


@dataclass(frozen=True)
class Finding:
    """What a part is like.

    Attributes:
        part: its name.
        state: whether it works, works but not for long, or does not.
        found: what was seen.
        mend: what to do, if there is something.
    """

    part: str
    state: State
    found: str
    mend: str = ""


@dataclass
class _Patient:
    settings: Settings
    warnings: list[str]
    instance: dg.DagsterInstance | None = None
    tickers: list[str] = field(default_factory=list)


def examine(settings: Settings, warnings: list[str]) -> Iterator[Finding]:
    """Every part in turn.

    Args:
        settings: as read.
        warnings: what reading them warned of.
    """
    patient = _Patient(settings, warnings)
    for part in (_settings, _versions, _home, _disk, _permissions):
        yield from _seen(part, patient)
    try:
        with open_instance(settings) as instance:
            patient.instance = instance
            patient.tickers = known_tickers(instance)
            yield from _seen(_instance, patient)
            yield from _seen(_queue, patient)
            yield from _seen(_clock, patient)
    except Exception as error:
        yield _fault("instance", error)
    for part in (_warehouse, _models, _source, _calendars):
        yield from _seen(part, patient)


def _seen(part: Callable[[_Patient], Finding], patient: _Patient) -> Iterator[Finding]:
    try:
        yield part(patient)
    except Exception as error:
        yield _fault(part.__name__.lstrip("_"), error)


def _fault(part: str, error: Exception) -> Finding:
    words = redact(" ".join(str(error).split()))[:800]
    if isinstance(error, StockcastError):
        found, _, mend = words.partition(": ")
        return Finding(part, "fault", found, mend or words)
    return Finding(part, "fault", f"{type(error).__name__}: {words}", "see the message; --debug shows where it arose")


def _settings(patient: _Patient) -> Finding:
    if patient.warnings:
        return Finding("settings", "warning", " ".join(patient.warnings), "correct or remove the variable")
    given = sorted(patient.settings.model_fields_set)
    return Finding("settings", "ok", f"{len(given)} set: {', '.join(given)}" if given else "all at their defaults")


def _versions(patient: _Patient) -> Finding:
    def installed(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"{name} missing"

    found = [f"Python {sys.version_info[0]}.{sys.version_info[1]}", *map(installed, _PACKAGES)]
    missing = [each.split()[0] for each in found if each.endswith(" missing")]
    if missing:
        return Finding("versions", "fault", ", ".join(found), f"pip install {' '.join(missing)}")
    return Finding("versions", "ok", ", ".join(found))


def _home(patient: _Patient) -> Finding:
    home = patient.settings.home
    check_home(patient.settings)
    place = home if home.exists() else next(folder for folder in home.parents if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        mend = "set STOCKCAST_HOME to a folder that this account may write"
        return Finding("home", "fault", f"{home} cannot be written by this account", mend)
    return Finding("home", "ok", f"{home}{'' if home.exists() else ' (made on first use)'}")


def _disk(patient: _Patient) -> Finding:
    home = patient.settings.home
    free = shutil.disk_usage(home if home.exists() else home.anchor).free
    found = f"{free / _GB:,.1f} GB free where {home} is"
    mend = "`stockcast reports prune` removes old drift reports; or move the home to a larger disk"
    state: State = "fault" if free < _TOO_LITTLE else "warning" if free < _LITTLE else "ok"
    return Finding("disk", state, found, "" if state == "ok" else mend)


def _permissions(patient: _Patient) -> Finding:
    home = patient.settings.home
    if (why := whose_path(home)) is not None:
        return Finding("permissions", "fault", f"{home} {why}", f"chown or `chmod -R go-rwx {home}`")
    if home.exists() and home.stat().st_mode & 0o077:
        return Finding("permissions", "warning", f"{home} can be read by other accounts", f"chmod -R go-rwx {home}")
    return Finding("permissions", "ok", "the home is this account's alone")


def _instance(patient: _Patient) -> Finding:
    assert patient.instance is not None
    home = dagster_home(patient.settings)
    storage = type(patient.instance.event_log_storage).__name__
    found = f"{storage} of {home}, {patient.instance.get_runs_count():,} runs, {len(patient.tickers)} tickers"
    if clear := passwords_in_clear(home):
        mend = f"write `{clear[0]}: {{env: NAME}}` in {home / 'dagster.yaml'} and set that variable"
        return Finding("instance", "warning", f"{found}; {', '.join(clear)} stands in clear in dagster.yaml", mend)
    if is_of_an_earlier_dagster(patient.instance):
        found += "; its tables are of an earlier Dagster"
        mend = f"stop what uses it, and `DAGSTER_HOME={home} dagster instance migrate`"
        return Finding("instance", "warning", found, mend)
    if not patient.tickers:
        return Finding("instance", "warning", found, "`stockcast tickers add MSFT`")
    return Finding("instance", "ok", found)


def _queue(patient: _Patient) -> Finding:
    assert patient.instance is not None
    waiting = patient.instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    beats = [status.last_heartbeat for status in patient.instance.get_daemon_statuses().values()]
    newest = max((beat.timestamp for beat in beats if beat is not None), default=None)
    runs = utc_now().timestamp() - newest < _CLOCKS_DIFFER_S * 2 if newest is not None else False
    found = f"{len(waiting)} runs wait; the daemon {'runs' if runs else 'does not run'}"
    oldest = min((record.create_timestamp.timestamp() for record in waiting), default=utc_now().timestamp())
    if waiting and not runs:
        return Finding("queue", "fault", found, "start the daemon: `stockcast ui`, or `dagster-daemon run`")
    if utc_now().timestamp() - oldest > _WAITS_S:
        mend = "see in the Dagster UI which run holds the pool, and end it if it hangs"
        return Finding("queue", "warning", f"{found}; the oldest for more than an hour", mend)
    if not runs and patient.settings.automation:
        return Finding("queue", "warning", found, "nothing runs by itself: start `stockcast ui`")
    return Finding("queue", "ok", found)


def _clock(patient: _Patient) -> Finding:
    assert patient.instance is not None
    records = patient.instance.get_run_records(limit=1)
    mend = "set the machine's clock (`timedatectl set-ntp true`): keys are days, and a wrong day is a wrong key"
    ahead = records[0].create_timestamp.timestamp() - utc_now().timestamp() if records else 0.0
    if ahead > _CLOCKS_DIFFER_S:
        return Finding("clock", "fault", f"the newest run was made {ahead / 3600:,.1f} hours in the future", mend)
    address = patient.settings.mlflow_tracking_uri
    if address.startswith("http"):
        told = parsedate_to_datetime(_answer(address)).timestamp()
        if abs(told - utc_now().timestamp()) > _CLOCKS_DIFFER_S:
            return Finding("clock", "fault", f"MLflow's server says {datetime.fromtimestamp(told, UTC):%F %T}", mend)
    return Finding("clock", "ok", f"{utc_now():%F %T} UTC")


def _warehouse(patient: _Patient) -> Finding:
    if (database := tables_database(patient.settings)) is not None:
        database.check(thoroughly=True)
    warehouse = warehouse_from(patient.settings)
    compared = compare(warehouse, STORED_TABLES)
    differing = [each.table for each in compared if each.differences]
    found = f"{warehouse.place}: {sum(each.created for each in compared)} of {len(compared)} tables"
    if differing:
        mend = "`stockcast warehouse check` says how to migrate"
        return Finding("warehouse", "warning", f"{found}; {', '.join(differing)} differ from their declaration", mend)
    return Finding("warehouse", "ok", found)


def _models(patient: _Patient) -> Finding:
    address = patient.settings.mlflow_tracking_uri
    tunings_database(patient.settings).check(thoroughly=True)
    if (database := models_database(patient.settings)) is not None:
        database.check(thoroughly=True)
    elif address.startswith(("http://", "https://")):
        try:
            _answer(address)
        except (OSError, urllib.error.URLError) as error:
            mend = "start it, or correct STOCKCAST_MLFLOW_URI"
            return Finding("mlflow", "fault", f"{without_credentials(address)} does not answer ({error})", mend)
    return Finding("mlflow", "ok", without_credentials(address))


def _answer(address: str) -> str:
    """The clock of a server, by its health page."""
    url = without_credentials(address).rstrip("/") + "/health"
    try:
        with urllib.request.urlopen(url, timeout=_ANSWERS_S) as response:  # nosec B310
            return str(response.headers["Date"])
    except urllib.error.HTTPError as refused:
        # A proxy that asks for a password answers, too.
        return str(refused.headers["Date"])


def _source(patient: _Patient) -> Finding:
    name = patient.settings.source
    source = sources_from(patient.settings).get()
    if name == "csv":
        count = len(uploads_from(patient.settings).files())
        return Finding("source", "ok", f"csv: {count} files in {patient.settings.uploads_location}")
    known = patient.tickers[0] if patient.tickers else "AAPL"
    first = source.first_session(known)
    if first is None:
        mend = "see whether the provider answers from this network: HTTPS_PROXY, CURL_CA_BUNDLE"
        return Finding("source", "fault", f"{name} knows no first session of {known}", mend)
    return Finding("source", "ok", f"{name}: {known} since {first}")


def _calendars(patient: _Patient) -> Finding:
    codes = patient.settings.calendars
    calendars.validate_calendars(codes)
    others = sorted({calendars.calendar_for(ticker) for ticker in patient.tickers} - set(codes))
    if others:
        mend = f"STOCKCAST_CALENDARS={','.join([*codes, *others])}"
        return Finding("calendars", "fault", f"tickers trade by {', '.join(others)}, which is not in use", mend)
    return Finding("calendars", "ok", ", ".join(codes))
