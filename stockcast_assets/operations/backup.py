"""A home in one file, taken while it is in use, and put back into an empty place.

The order is what makes a backup of a home at work a right one: first what Dagster recorded, then the tables, then
MLflow's records, then the model files. So no record is of rows that are not there, no row of a model that is not there;
rows without a record are made again, and making them again changes nothing.
"""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from stockcast_assets import __version__
from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import duckdb
from stockcast_assets.orchestration.home import check_files, dagster_home, open_instance, usable
from stockcast_assets.settings import Settings
from stockcast_assets.warehouse.duckdb import is_busy, warehouse_file

MANIFEST = "stockcast-backup.json"
_ORDER = ("dagster", "warehouse.duckdb", "mlflow.db")
_NOT_KEPT = (".lock", ".pid", ".wal", "-wal", "-shm", "-journal")
_SQLITE = b"SQLite format 3\0"
_BUSY_S = 60.0
_BLOCK = 1 << 20


def back_up(settings: Settings, target: Path) -> dict[str, object]:
    """Write the home into the file `target`, a compressed tar archive that only this account may read.

    Returns:
        The manifest: when it was made, the SHA-256 of each file, and what is kept elsewhere and so is not in it.

    Raises:
        StockcastError: if there is no home, a database of it is damaged, the file exists or cannot be written, or a run
            writes the tables for longer than a minute.
    """
    home = settings.home
    check_files(settings)
    if not home.is_dir():
        raise StockcastError(f"There is no home at {home}: name it with STOCKCAST_HOME.")
    if target.exists():
        raise StockcastError(f"{target} exists: name a new file.")
    elsewhere = kept_elsewhere(settings)
    digests: dict[str, str] = {}
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
            for path in _files(home, {target, unfinished}):
                name = str(path.relative_to(home))
                with _still(path, target.parent) as copy:
                    if copy is not None:
                        digests[name] = _digest(copy)
                        archive.add(copy, name, recursive=False)
            manifest: dict[str, object] = {
                "stockcast": __version__,
                "made": utc_now().isoformat(timespec="seconds"),
                "files": digests,
                "elsewhere": elsewhere,
            }
            content = json.dumps(manifest, indent=1).encode()
            entry = tarfile.TarInfo(MANIFEST)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
        unfinished.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise _not_written(error, target, home) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def _not_written(error: Exception, target: Path, home: Path) -> StockcastError:
    file, why = getattr(error, "filename", None), getattr(error, "strerror", None) or error
    if file is not None and Path(os.fsdecode(file)).is_relative_to(home):
        return StockcastError(
            f"{os.fsdecode(file)} cannot be read ({why}), so there is no backup: see that this account may read all of "
            "the home."
        )
    return StockcastError(
        f"The backup {target} could not be written ({why}): see that the folder is there, that this account may write "
        "it, and that the disk has room."
    )


def restore(archive: Path, home: Path) -> dict[str, object]:
    """Put a backup into the empty place `home`: all of it, compared with its manifest, or nothing.

    Returns:
        The manifest.

    Raises:
        StockcastError: if something is at `home`, nothing can be there, or the file is no whole backup.
    """
    with usable(home, "STOCKCAST_HOME"):
        if home.exists() and any(home.iterdir()):
            raise StockcastError(f"{home} is not empty: set STOCKCAST_HOME to a place where there is nothing yet.")
        if not archive.exists():
            raise StockcastError(f"{archive} is no whole backup of stockcast (there is no such file): name another.")
        home.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(prefix=f".{home.name}-", dir=home.parent)
    with beside as folder:
        place = Path(folder) / "home"
        place.mkdir(mode=0o700)
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(place, filter="data")
            manifest: dict[str, object] = json.loads((place / MANIFEST).read_bytes())
            expected = dict(manifest["files"])  # type: ignore[call-overload]
            (place / MANIFEST).unlink()
            found = {str(path.relative_to(place)): _digest(path) for path in place.rglob("*") if path.is_file()}
        except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
            raise StockcastError(f"{archive} is no whole backup of stockcast ({error}): take another.") from error
        if found != expected:
            wrong = sorted({name for name, _ in found.items() ^ expected.items()})
            raise StockcastError(f"{archive} is damaged: {', '.join(wrong[:3])} differ from its list; take another.")
        for path in place.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        if home.exists():
            home.rmdir()
        shutil.move(place, home)
    return manifest


def kept_elsewhere(settings: Settings) -> dict[str, str]:
    """What of this deployment is not in the home, and what takes a backup of it."""
    found = {}
    if settings.warehouse == "bigquery":
        found["tables"] = (
            "BigQuery: `stockcast warehouse copy --from bigquery --to duckdb` first, or BigQuery's snapshots"
        )
    if not settings.mlflow_tracking_uri.startswith("sqlite:"):
        found["models"] = "STOCKCAST_MLFLOW_URI: `pg_dump` of its database, and a copy of its artifacts"
    for name, location in (("uploads", settings.uploads_location), ("reports", settings.reports_location)):
        if not Path(location).is_relative_to(settings.home):
            found[name] = f"{location}: copy it"
    for place, folders, files in os.walk(settings.home):
        for link in (Path(place) / name for name in (*folders, *files)):
            if link.is_symlink():
                found[str(link.relative_to(settings.home))] = f"{link.resolve()}, to which it is a link: copy it"
    with open_instance(settings) as instance:
        if getattr(instance.event_log_storage, "postgres_url", None) is not None:
            found["history"] = "DAGSTER_POSTGRES_URL: `pg_dump` of its database"
        elif not dagster_home(settings).resolve().is_relative_to(settings.home):
            found["history"] = f"{dagster_home(settings)}: copy it while nothing runs"
    return found


def _files(home: Path, but: set[Path]) -> Iterator[Path]:
    """The files of a home in the order that the module tells: what is named in it, then all else."""

    def rank(path: Path) -> tuple[int, str]:
        top = path.relative_to(home).parts[0]
        return (_ORDER.index(top) if top in _ORDER else len(_ORDER), str(path))

    tops = sorted(home.iterdir(), key=rank)
    for top in tops:
        # Looked through when its turn comes: a model that came meanwhile is in.
        for path in _below(top) if top.is_dir() and not top.is_symlink() else [top]:
            if path.is_file() and not path.is_symlink() and path not in but and not path.name.endswith(_NOT_KEPT):
                yield path


def _below(folder: Path) -> list[Path]:
    """The files below a folder, in their order; what goes away meanwhile is left out."""
    return sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names)


@contextmanager
def _still(path: Path, beside: Path) -> Iterator[Path | None]:
    """The file as it is at one moment, whoever writes it, in a folder made `beside`; None if it is gone meanwhile."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
    except FileNotFoundError:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix=".stockcast-", dir=beside) as folder:
        copy = Path(folder) / path.name
        if head == _SQLITE:
            with (
                closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_S)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
        elif path.suffix == ".duckdb":
            _copy_tables(path, copy)
        else:
            try:
                shutil.copy2(path, copy)
            except FileNotFoundError:
                yield None
                return
        yield copy


def _copy_tables(path: Path, copy: Path) -> None:
    """The file with what stands in its log, while nobody writes either."""
    until = time.monotonic() + _BUSY_S
    log = Path(f"{path}.wal")
    while True:
        try:
            # As long as it is open for reading, other processes wait with writing. Whoever closes a file loses all of
            # its process's locks on it, so what it is copied from stays open longer.
            with path.open("rb") as file, duckdb.connect(str(path), read_only=True):
                with copy.open("wb") as copied_to:
                    shutil.copyfileobj(file, copied_to, _BLOCK)
                if log.exists():
                    shutil.copy2(log, f"{copy}.wal")
            with duckdb.connect(str(copy)) as copied:
                copied.execute("CHECKPOINT")
            return
        except duckdb.Error as error:
            if not is_busy(error):
                words = " ".join(str(error).split())[:160].rstrip(".")
                raise warehouse_file(path).damaged(f"is damaged ({words})") from error
            if time.monotonic() > until:
                raise StockcastError(
                    f"{path} is being written for longer than a minute: let the run end, and try again."
                ) from error
            time.sleep(0.2)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
