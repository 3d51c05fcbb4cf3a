"""Where files are kept: a folder, or a prefix of a Cloud Storage bucket, behind one interface.

Reports are kept so, heads of the ledger, and uploads, which add to it what strangers' files need
(`market/sources/uploads.py`). Nothing here knows what is in a file.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.storage import SCHEME, BucketPlace, StorageClients, patience

_REQUESTS_AT_ONCE = 8
_TYPES = {".json": "application/json"}

In = TypeVar("In")
Out = TypeVar("Out")
OfFolder = TypeVar("OfFolder")
OfBucket = TypeVar("OfBucket")


class Files(Protocol):
    """Texts by name; a name may have folders in it, parted by /. All methods raise StockcastError in one sentence."""

    location: str

    def address(self, name: str) -> str:
        """What to store as the address of a file."""

    def names(self) -> list[str]:
        """Every file there, sorted."""

    def text(self, name: str) -> str | None:
        """A file's text; None if there is none."""

    def write(self, texts: Mapping[str, str]) -> None:
        """Store texts by name. Each appears whole or not at all."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is no error."""


def at_place(
    location: Path | str,
    setting: str,
    folder: Callable[[Path], OfFolder],
    bucket: Callable[[BucketPlace], OfBucket],
    gcp_project: str | None = None,
    gcp_credentials: str | None = None,
    gcs: StorageClients | None = None,
) -> OfFolder | OfBucket:
    """What one of two classes makes of a folder, which need not exist yet, or of `gs://bucket/prefix`.

    Args:
        location: the place.
        setting: the environment variable that names it, for the sentences.
        folder: makes it of a folder.
        bucket: makes it of a prefix of a bucket.
        gcp_project: Google Cloud project to act for; the credentials' own if None.
        gcp_credentials: base64-encoded service-account key; Application Default Credentials if None.
        gcs: a `GCSResource` to reach a bucket by, instead of these two.

    Raises:
        StockcastError: if the place is malformed or there are no credentials for it.
    """
    if str(location).startswith(SCHEME):
        return bucket(BucketPlace(str(location), setting, gcp_project, gcp_credentials, gcs))
    return folder(Path(location))


class FolderFiles:
    """Files in a folder of this machine.

    Where one cannot be written, the sentence says `what` it is and how to do it `again`.
    """

    def __init__(self, root: Path, what: str = "file", again: str = "do it again") -> None:
        self.root = root
        self.location = str(root)
        self._what, self._again = what, again

    def address(self, name: str) -> str:
        """Relative to the folder's parent, so that moving the whole home leaves stored addresses valid."""
        return f"{self.root.name}/{name}"

    def names(self) -> list[str]:
        """See `Files.names`. Hidden files are none."""
        found = self.root.rglob("*") if self.root.is_dir() else ()
        return sorted(
            path.relative_to(self.root).as_posix() for path in found if not path.name.startswith(".") and path.is_file()
        )

    def text(self, name: str) -> str | None:
        """See `Files.text`."""
        try:
            return (self.root / name).read_bytes().decode("utf-8")
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
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False) as file:
                temporary = file.name
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise StockcastError(
                f"The {self._what} {path} could not be written ({error.strerror}); free some space or make the folder "
                f"writable, then {self._again}."
            ) from error


class BucketFiles:
    """Files under a prefix of a bucket; several requests are under way at a time."""

    def __init__(self, place: BucketPlace) -> None:
        self.location = place.location
        self.place = place

    def address(self, name: str) -> str:
        """Its gs:// address."""
        return f"{SCHEME}{self.place.name}/{self.place.prefix}{name}"

    def names(self) -> list[str]:
        """See `Files.names`."""
        prefix = self.place.prefix
        with self.place.explained():
            blobs = self.bucket.list_blobs(prefix=prefix, **patience())
            return sorted(blob.name.removeprefix(prefix) for blob in blobs)

    def text(self, name: str) -> str | None:
        """See `Files.text`."""
        from google.api_core.exceptions import NotFound

        with self.place.explained():
            try:
                found: str | None = self.bucket.blob(f"{self.place.prefix}{name}").download_as_text(
                    encoding="utf-8", **patience()
                )
                return found
            except NotFound:
                # Only a missing file: a missing bucket is told by the sentence.
                if self.bucket.exists(**patience()):
                    return None
                raise

    def write(self, texts: Mapping[str, str]) -> None:
        """See `Files.write`."""

        def upload(name: str) -> None:
            kind = _TYPES.get(Path(name).suffix, "text/plain; charset=utf-8")
            with self.place.explained():
                self.bucket.blob(f"{self.place.prefix}{name}").upload_from_string(texts[name], kind, **patience())

        self._at_once(upload, list(texts))

    def delete(self, names: Iterable[str]) -> None:
        """See `Files.delete`."""
        from google.api_core.exceptions import NotFound

        def remove(name: str) -> None:
            with self.place.explained():
                try:
                    self.bucket.blob(f"{self.place.prefix}{name}").delete(**patience())
                except NotFound:
                    return

        self._at_once(remove, list(names))

    @property
    def bucket(self) -> Any:  # the client's type is known only where it is installed
        """The bucket; no request is made yet."""
        return self.place.bucket()

    def _at_once(self, do: Callable[[In], Out], items: list[In]) -> list[Out]:
        if not items:
            return []
        # Opened here, not by whichever thread is first.
        with self.place.explained():
            self.place.bucket()
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return list(pool.map(do, items))
