"""Where reports, and heads of the ledger, are kept: a folder, or a prefix of a Cloud Storage bucket.

Nothing here knows what is in a file.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.storage import SCHEME, BucketPlace, StorageClients, patience

SETTING = "STOCKCAST_REPORTS"
HEAD = "head of the ledger"
_AGAIN = {"drift report": "run drift_report again", HEAD: "run `stockcast ledger head --write`"}
_REQUESTS_AT_ONCE = 8
_TYPES = {".json": "application/json"}

In = TypeVar("In")
Out = TypeVar("Out")


class Files(Protocol):
    """Texts by name; a name may have folders in it, parted by /. All methods raise StockcastError in one sentence."""

    location: str

    def address(self, name: str) -> str:
        """What to store as the address of a file."""

    def names(self) -> list[str]:
        """Every file there, sorted."""

    def read(self, name: str) -> str | None:
        """A file's text; None if there is none."""

    def write(self, texts: Mapping[str, str]) -> None:
        """Store texts by name. Each appears whole or not at all."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is no error."""


def open_files(
    location: Path | str,
    gcp_project: str | None = None,
    gcp_credentials: str | None = None,
    gcs: StorageClients | None = None,
    *,
    setting: str = SETTING,
    what: str = "drift report",
) -> Files:
    """The files at a folder, which need not exist yet, or at `gs://bucket/prefix`.

    For the sentences, `setting` names the place and `what` is in a file.

    Raises:
        StockcastError: if the place is malformed.
    """
    if str(location).startswith(SCHEME):
        return BucketFiles(BucketPlace(str(location), setting, gcp_project, gcp_credentials, gcs))
    return FolderFiles(Path(location), what)


class FolderFiles:
    """Files in a folder of this machine."""

    def __init__(self, root: Path, what: str = "drift report") -> None:
        self.root = root
        self._what = what
        self.location = str(root)

    def address(self, name: str) -> str:
        """Relative to the folder's parent, so that moving the whole home leaves stored addresses valid."""
        return f"{self.root.name}/{name}"

    def names(self) -> list[str]:
        """See `Files.names`. Hidden files are none."""
        found = self.root.rglob("*") if self.root.is_dir() else ()
        return sorted(
            path.relative_to(self.root).as_posix() for path in found if not path.name.startswith(".") and path.is_file()
        )

    def read(self, name: str) -> str | None:
        """See `Files.read`."""
        try:
            return (self.root / name).read_text("utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StockcastError(
                f"{self.root / name} cannot be read ({error.strerror}): check the file's permissions."
            ) from error

    def write(self, texts: Mapping[str, str]) -> None:
        """See `Files.write`."""
        for name, text in texts.items():
            self._write(self.root / name, text)

    def delete(self, names: Iterable[str]) -> None:
        """See `Files.delete`."""
        for name in names:
            try:
                (self.root / name).unlink(missing_ok=True)
            except OSError as error:
                raise StockcastError(
                    f"{self.root / name} cannot be removed ({error.strerror}): check the folder's permissions."
                ) from error

    def _write(self, path: Path, text: str) -> None:
        temporary: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=path.parent, prefix=".", suffix=".tmp", delete=False
            ) as file:
                temporary = file.name
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise StockcastError(
                f"The {self._what} {path} could not be written ({error.strerror}); "
                f"free some space or make the folder writable, then {_AGAIN[self._what]}."
            ) from error


class BucketFiles:
    """Files under a prefix of a bucket; several requests are under way at a time."""

    def __init__(self, place: BucketPlace) -> None:
        self.location = place.location
        self._place = place

    def address(self, name: str) -> str:
        """Its gs:// address."""
        return f"{SCHEME}{self._place.name}/{self._place.prefix}{name}"

    def names(self) -> list[str]:
        """See `Files.names`."""
        prefix = self._place.prefix
        with self._place.explained():
            blobs = self._bucket.list_blobs(prefix=prefix, **patience())
            return sorted(blob.name.removeprefix(prefix) for blob in blobs)

    def read(self, name: str) -> str | None:
        """See `Files.read`."""
        from google.api_core.exceptions import NotFound

        with self._place.explained():
            try:
                found: str | None = self._bucket.blob(f"{self._place.prefix}{name}").download_as_text(
                    encoding="utf-8", **patience()
                )
                return found
            except NotFound:
                # Only a missing file: a missing bucket is told by the sentence.
                if self._bucket.exists(**patience()):
                    return None
                raise

    def write(self, texts: Mapping[str, str]) -> None:
        """See `Files.write`."""

        def upload(name: str) -> None:
            kind = _TYPES.get(Path(name).suffix, "text/plain; charset=utf-8")
            with self._place.explained():
                self._bucket.blob(f"{self._place.prefix}{name}").upload_from_string(texts[name], kind, **patience())

        self._at_once(upload, list(texts))

    def delete(self, names: Iterable[str]) -> None:
        """See `Files.delete`."""
        from google.api_core.exceptions import NotFound

        def remove(name: str) -> None:
            with self._place.explained():
                try:
                    self._bucket.blob(f"{self._place.prefix}{name}").delete(**patience())
                except NotFound:
                    return

        self._at_once(remove, list(names))

    @property
    def _bucket(self) -> Any:  # the client's type is known only where it is installed
        return self._place.bucket()

    def _at_once(self, do: Callable[[In], Out], items: list[In]) -> list[Out]:
        if not items:
            return []
        # Opened here, not by whichever thread is first.
        with self._place.explained():
            self._place.bucket()
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return list(pool.map(do, items))
