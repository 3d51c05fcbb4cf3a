"""The Dagster home that goes with the settings."""

import errno
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from shlex import quote
from typing import Any

import dagster as dg
import yaml
from filelock import FileLock

from stockcast_assets.databases import Database
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.training.tuning import studies_file
from stockcast_assets.home_memory import FILE, Memory, memorise, recall
from stockcast_assets.masking import credentials, redact
from stockcast_assets.private_files import make_private
from stockcast_assets.settings import SAMPLE, Settings, start_of, start_of_new_home
from stockcast_assets.tracking.client import sqlite_database
from stockcast_assets.warehouse.duckdb import warehouse_file

_CONFIG = "dagster.yaml"
_ANOTHER_CONFIG = "correct it, or move it aside (`mv {0} {0}.damaged`), and the next command writes the usual one"
_NO_ADDRESS = re.compile(r"\?|%[0-9A-Fa-f]{2}")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
_SQLITE_NO_ROOM = ("disk is full", "readonly database", "unable to open database file", "disk I/O error")


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

    Raises:
        StockcastError: if the folder cannot be used.
    """
    make_home(settings)
    home = _dagster_folder(settings)
    with usable(home, "DAGSTER_HOME" if "DAGSTER_HOME" in os.environ else "STOCKCAST_HOME"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(home / _CONFIG):
            (home / _CONFIG).write_text(default_config())
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


def check_home(settings: Settings) -> None:
    """Change nothing.

    Raises:
        StockcastError: if STOCKCAST_HOME is something that cannot be a folder of databases.
    """
    with usable(settings.home, "STOCKCAST_HOME"):
        return


def require_one_world(settings: Settings) -> None:
    """Keep the bundled history and all other bars apart.

    Raises:
        StockcastError: if the home remembers to hold one of them, and the settings ask for the other.
    """
    asked, memory = settings.source, recall(settings.home)
    held = asked if memory is None else memory.source
    if (held == SAMPLE) != (asked == SAMPLE):
        what = "the bundled history of the demo" if held == SAMPLE else f"bars of {held}"
        other = quote(f"{settings.home}-{asked}")
        raise StockcastError(
            f"{settings.home} holds {what}, with which bars of {asked} must not mix: set STOCKCAST_HOME={other} or "
            f"another folder for {asked}, or leave STOCKCAST_SOURCE out to go on with what is here."
        )


def remember(settings: Settings, source: str) -> None:
    """Let a home remember where its bars come from, and since when it has daily keys.

    Raises:
        StockcastError: if the folder cannot be used.
    """
    start = start_of_new_home(source)
    if settings.database.exists() or settings.dagster_home.exists():
        start = start_of(None, source)
    make_home(settings)
    file = settings.home / FILE
    if file.is_dir():
        raise StockcastError(
            f"{file} is a folder instead of the file in which a home remembers where its bars come from: move it aside "
            f"(`mv {quote(str(file))} {quote(str(file))}.damaged`), and the next command writes it."
        )
    with usable(settings.home, "STOCKCAST_HOME"):
        memorise(settings.home, Memory(source, start.isoformat()))


def make_home(settings: Settings) -> None:
    """Make STOCKCAST_HOME, and what is in it this account's alone.

    Raises:
        StockcastError: if the folder cannot be used.
    """
    with usable(settings.home, "STOCKCAST_HOME"):
        make_private(settings.home)


@contextmanager
def usable(folder: Path, setting: str) -> Iterator[None]:
    """What is done with a folder that a setting names.

    Raises:
        StockcastError: if it cannot be a folder of databases, or something in it cannot be written or read.
    """
    if _NO_ADDRESS.search(str(folder)) or not str(folder).isprintable():
        raise StockcastError(
            f"{setting}={str(folder)!r} has a sign that means something else in the address of a database (a question "
            "mark, %20 or the like, a control character): choose a folder without it."
        )
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(folder.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
        yield
    except OSError as error:
        raise StockcastError(
            f"The folder {folder} cannot be used ({error.strerror}): set {setting} to a folder that this account may "
            "write, on a disk with room."
        ) from error


def _dagster_folder(settings: Settings) -> Path:
    return Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home)


def models_database(settings: Settings) -> Database | None:
    """MLflow's file, if the models are in one."""
    return sqlite_database(settings.mlflow_tracking_uri)


def tunings_database(settings: Settings) -> Database:
    """Optuna's file."""
    return studies_file(settings.home / "optuna.db")


def tables_database(settings: Settings) -> Database | None:
    """The warehouse's file, if there is one."""
    return warehouse_file(settings.database) if settings.warehouse == "duckdb" else None


def dagster_databases(settings: Settings) -> list[Database]:
    """Dagster's files, unless its configuration keeps them elsewhere.

    Raises:
        StockcastError: if `dagster.yaml` cannot be read.
    """
    folder = _dagster_folder(settings)
    if _is_elsewhere(folder):
        return []
    history = folder / "history"
    return [
        Database(history / "runs.db", "sqlite", "the list of Dagster's runs", "the list begins anew"),
        Database(
            history / "runs" / "index.db",
            "sqlite",
            "the tickers, their states and which keys were materialised",
            "`stockcast status` names the tickers to add again, `stockcast reconcile` then tells Dagster of their rows",
        ),
        Database(
            folder / "schedules" / "schedules.db",
            "sqlite",
            "the states of schedules and sensors",
            "they begin anew with the next tick",
        ),
    ]


def check_history(settings: Settings) -> list[Database]:
    """Dagster's files, each of which can be used; nothing is changed.

    Raises:
        StockcastError: if its folder or one of its files cannot be used.
    """
    with usable(settings.home, "STOCKCAST_HOME"), usable(_dagster_folder(settings), "DAGSTER_HOME"):
        databases = dagster_databases(settings)
    for database in databases:
        database.check()
    return databases


def check_files(settings: Settings) -> None:
    """Change nothing.

    Raises:
        StockcastError: if STOCKCAST_HOME or one of the databases in it cannot be used.
    """
    check_home(settings)
    for database in (tables_database(settings), models_database(settings), tunings_database(settings)):
        if database is not None:
            database.check()
    check_history(settings)


def _is_elsewhere(folder: Path) -> bool:
    """Whether `dagster.yaml` keeps Dagster's tables in another place than the files of the folder."""
    return bool(_config(folder / _CONFIG).keys() & {"storage", "run_storage", "schedule_storage"})


def _config(file: Path) -> dict[str, Any]:
    try:
        if not os.path.lexists(file):
            return {}
        # What is no plain file may have no end.
        if not file.is_file():
            raise ValueError("it is no plain file")
        read = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if isinstance(read, dict):
            return read
        why = "it holds no settings"
    except OSError as error:
        why = str(error.strerror)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
    raise StockcastError(
        f"{file} cannot be read as Dagster's configuration ({why}): {_ANOTHER_CONFIG.format(quote(str(file)))}."
    )


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The real instance of these settings: its runs are the ones the Dagster UI shows.

    Raises:
        StockcastError: if its folder or one of its files cannot be used; nothing is changed then.
    """
    databases = check_history(settings)
    home = dagster_home(settings)
    made = all(os.path.lexists(database.path) for database in databases)
    try:
        # Two that make the same tables at once disturb each other.
        with nullcontext() if made else FileLock(home / "opening.lock"):
            instance = dg.DagsterInstance.get()
    except StockcastError:
        raise
    except Exception as error:
        if (told := _without_room(error, settings)) is not None:
            raise told from error
        if (told := _of_deployment(error, home)) is not None:
            raise told from error
        words = " ".join(str(error).split())[:300]
        raise StockcastError(
            f"Dagster cannot be opened in {home} ({type(error).__name__}: {words}): "
            f"{_ANOTHER_CONFIG.format(quote(str(home / _CONFIG)))}."
        ) from error
    with instance:
        yield instance


_NOT_SET = re.compile(r'environment variable "(\w+)" which is not set')


def _of_deployment(error: Exception, home: Path) -> StockcastError | None:
    """What is missing around a `dagster.yaml` that is right."""
    faults = " ".join(str(fault.message) for fault in getattr(error, "errors", ()))
    if names := sorted(set(_NOT_SET.findall(f"{error} {faults}"))):
        return StockcastError(f"{home / _CONFIG} takes {', '.join(names)} from the environment: set it there.")
    if _is_elsewhere(home) and type(error).__module__.startswith(("psycopg2", "sqlalchemy", "dagster_postgres")):
        words = redact(" ".join(str(error.__cause__ or error.__context__ or error).split()))[:300]
        return StockcastError(
            f"The database of {home / _CONFIG} cannot be used ({words}): see that it runs, and that "
            "DAGSTER_POSTGRES_URL is its address."
        )
    return None


def explained(error: BaseException, settings: Settings) -> StockcastError | None:
    """What an unforeseen error comes from, if it is a file or a disk that cannot be used; None if it is not."""
    try:
        check_home(settings)
    except StockcastError as unusable:
        return unusable
    shards = sorted((_dagster_folder(settings) / "history" / "runs").glob("*.db"))
    known = [*dagster_databases(settings), tables_database(settings), models_database(settings)]
    logs = [Database(shard, "sqlite", "the log of one run of Dagster", "that log is lost") for shard in shards]
    try:
        for database in (*filter(None, known), *logs):
            database.check(thoroughly=True)
    except StockcastError as damaged:
        return damaged
    return _without_room(error, settings)


def _without_room(error: BaseException, settings: Settings) -> StockcastError | None:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for one in chain:
        words = " ".join(str(one).split())
        full = isinstance(one, OSError) and one.errno in _NO_ROOM
        if full or (isinstance(one, sqlite3.Error) and any(sign in words for sign in _SQLITE_NO_ROOM)):
            if not settings.home.exists():
                return StockcastError(
                    f"{settings.home} was moved or removed while this ran: set STOCKCAST_HOME to where it is now, and "
                    "try again."
                )
            return StockcastError(
                f"Something could not be written ({words[:200]}): see that the disk of STOCKCAST_HOME={settings.home} "
                "has room and that this account may write there, and try again."
            )
    return None
