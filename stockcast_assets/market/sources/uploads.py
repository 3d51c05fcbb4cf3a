"""The place where people put CSV files: a folder, or a prefix of a Cloud Storage bucket.

Both are read, and bad files set aside in `rejected/`, through the same three methods. Nothing here knows what
is in a file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.storage import SCHEME, BucketPlace, patience
from stockcast_assets.libraries import pd

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket

MAX_BYTES = 10 * 2**20
"""Size cap of one upload: 400 years of daily bars of one ticker."""

REJECTED = "rejected"


class UploadUnavailable(StockcastError):
    """A file or the place cannot be read or written now: not the content's fault, so no reason to reject it."""


class UploadChanged(UploadUnavailable):
    """A file changed or went away while it was looked at."""


@dataclass(frozen=True)
class Upload:
    """A file as it was when it was listed; `version` is another as soon as its content is."""

    name: str
    version: str
    modified: pd.Timestamp
    size: int

    @property
    def label(self) -> str:
        """The name as it can stand in a sentence."""
        return self.name if self.name.isprintable() else ascii(self.name)


class Uploads(Protocol):
    """A place with uploads."""

    location: str

    def files(self) -> list[Upload]:
        """The CSV files there, oldest first; those in `rejected/` and hidden ones are none.

        Raises:
            UploadUnavailable: if the place cannot be read.
        """

    def read(self, upload: Upload, first_bytes: int | None = None) -> bytes:
        """Content of a file, or its beginning.

        Raises:
            UploadUnavailable: if it cannot be read; UploadChanged if it is no longer the version listed.
            StockcastError: if it is larger than `MAX_BYTES`; such a file is never read whole.
        """

    def reject(self, upload: Upload, reason: str) -> str:
        """Move a file to `rejected/`, the reason beside it as `<name>.reason.txt`; return where it is now.

        An earlier rejected file is never overwritten: the new one is called `<name>.1.csv` and so on.

        Raises:
            UploadUnavailable: if it cannot be moved; UploadChanged if it is no longer the version listed. It
                stays where it is.
        """


def open_uploads(location: Path | str, gcp_project: str | None = None, gcp_credentials: str | None = None) -> Uploads:
    """The uploads at a folder or at `gs://bucket/prefix`.

    Args:
        location: the place; a folder need not exist yet.
        gcp_project: Google Cloud project to act for; the credentials' own if None.
        gcp_credentials: base64-encoded service-account key; Application Default Credentials if None.

    Raises:
        StockcastError: if the place is malformed or there are no credentials for it.
    """
    if str(location).startswith(SCHEME):
        return BucketUploads(str(location), gcp_project, gcp_credentials)
    return FolderUploads(Path(location))


def reject(path: Path, reason: str) -> Path:
    """Move a file to `rejected/` beside it, with the reason as `<name>.reason.txt`; return its new path.

    The reason file reserves the name before the move, so that two processes never choose the same one and an
    earlier rejected file is never overwritten.

    Raises:
        FileNotFoundError: if the file is gone.
        OSError: if the folder cannot be written.
    """
    folder = path.parent / REJECTED
    folder.mkdir(exist_ok=True)
    for name in _free_names(path.name):
        target, note = folder / name, folder / f"{name}.reason.txt"
        if target.exists():
            continue
        try:
            handle = note.open("x", encoding="utf-8")
        except FileExistsError:
            continue
        try:
            with handle:
                handle.write(f"{reason}\n")
            path.rename(target)
        except OSError:
            note.unlink(missing_ok=True)
            raise
        return target
    raise AssertionError("names never run out")


class FolderUploads:
    """Uploads in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._folder = folder

    def files(self) -> list[Upload]:
        """See `Uploads.files`."""
        found = []
        try:
            for entry in os.scandir(self._folder):
                if _is_csv(entry.name) and entry.is_file():
                    found.append(_described(entry.name, entry.stat()))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UploadUnavailable(
                f"The uploads folder {self._folder} cannot be read ({error.strerror}): check "
                "STOCKCAST_UPLOADS and the folder's permissions."
            ) from error
        return sorted(found, key=lambda upload: (upload.modified, upload.name))

    def read(self, upload: Upload, first_bytes: int | None = None) -> bytes:
        """See `Uploads.read`."""
        wanted = _wanted(upload, first_bytes)
        try:
            with (self._folder / upload.name).open("rb") as file:
                content = file.read(wanted)
                after = _described(upload.name, os.fstat(file.fileno()))
        except FileNotFoundError as error:
            raise _changed(upload) from error
        except OSError as error:
            raise UploadUnavailable(
                f"{upload.label} cannot be read ({error.strerror}): check the file's permissions."
            ) from error
        if after.version != upload.version:
            raise _changed(upload)
        return content

    def reject(self, upload: Upload, reason: str) -> str:
        """See `Uploads.reject`."""
        path = self._folder / upload.name
        try:
            if _described(upload.name, path.stat()).version != upload.version:
                raise _changed(upload)
            return str(reject(path, reason))
        except FileNotFoundError as error:
            raise _changed(upload) from error
        except OSError as error:
            raise UploadUnavailable(
                f"{upload.label} cannot be moved to {REJECTED}/ ({error.strerror}): remove it by hand."
            ) from error


class BucketUploads:
    """Uploads under a prefix of a Cloud Storage bucket."""

    def __init__(self, location: str, project: str | None = None, credentials: str | None = None) -> None:
        self.location = location
        self._place = BucketPlace(location, "STOCKCAST_UPLOADS", project, credentials)
        self._prefix = self._place.prefix

    def files(self) -> list[Upload]:
        """See `Uploads.files`."""
        with self._explained():
            blobs = list(self._bucket().list_blobs(prefix=self._prefix, delimiter="/", **patience()))
        found = [
            Upload(
                name=blob.name.removeprefix(self._prefix),
                version=str(blob.generation),
                modified=pd.Timestamp(blob.updated).as_unit("ns"),
                size=int(blob.size),
            )
            for blob in blobs
            if _is_csv(blob.name.removeprefix(self._prefix))
        ]
        return sorted(found, key=lambda upload: (upload.modified, upload.name))

    def read(self, upload: Upload, first_bytes: int | None = None) -> bytes:
        """See `Uploads.read`."""
        wanted = _wanted(upload, first_bytes)
        if upload.size == 0:
            return b""
        with self._explained(upload):
            return self._blob(upload).download_as_bytes(
                end=wanted - 1, if_generation_match=int(upload.version), **patience()
            )

    def reject(self, upload: Upload, reason: str) -> str:
        """See `Uploads.reject`."""
        from google.api_core.exceptions import PreconditionFailed

        with self._explained(upload):
            bucket, source, generation = self._bucket(), self._blob(upload), int(upload.version)
            for name in _free_names(upload.name):
                target = f"{self._prefix}{REJECTED}/{name}"
                note = bucket.blob(f"{target}.reason.txt")
                if bucket.blob(target).exists(**patience()):
                    continue
                try:
                    note.upload_from_string(
                        f"{reason}\n", "text/plain; charset=utf-8", if_generation_match=0, **patience()
                    )
                except PreconditionFailed:
                    continue
                try:
                    bucket.copy_blob(
                        source,
                        bucket,
                        target,
                        source_generation=generation,
                        if_generation_match=0,
                        if_source_generation_match=generation,
                        **patience(),
                    )
                except Exception:
                    note.delete(**patience())
                    raise
                # If it was replaced meanwhile, the version that was bad is set aside and the new one stays.
                source.delete(if_generation_match=generation, **patience())
                return f"{SCHEME}{self._place.name}/{target}"
        raise AssertionError("names never run out")

    def _blob(self, upload: Upload) -> Blob:
        return self._bucket().blob(f"{self._prefix}{upload.name}", generation=int(upload.version))

    def _bucket(self) -> Bucket:
        return self._place.bucket()

    @contextlib.contextmanager
    def _explained(self, upload: Upload | None = None) -> Iterator[None]:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with self._place.explained(UploadUnavailable):
            try:
                yield
            except (NotFound, PreconditionFailed) as error:
                if upload is None:
                    raise
                raise _changed(upload) from error


def _is_csv(name: str) -> bool:
    return "/" not in name and not name.startswith(".") and name.lower().endswith(".csv")


def _free_names(name: str) -> Iterator[str]:
    path = PurePosixPath(name)
    stem = path.stem.encode()[:150].decode(errors="ignore")
    yield f"{stem}{path.suffix}"
    number = 1
    while True:
        yield f"{stem}.{number}{path.suffix}"
        number += 1


def _described(name: str, status: os.stat_result) -> Upload:
    return Upload(
        name=name,
        version=f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}",
        modified=pd.Timestamp(status.st_mtime_ns, unit="ns", tz="UTC"),
        size=status.st_size,
    )


def _wanted(upload: Upload, first_bytes: int | None) -> int:
    if first_bytes is not None:
        return min(first_bytes, max(upload.size, 1))
    if upload.size > MAX_BYTES:
        raise StockcastError(
            f"{upload.label} has {upload.size / 2**20:.1f} MB, and an upload at most {MAX_BYTES // 2**20}: "
            "split it by years, one ticker per file."
        )
    return max(upload.size, 1)


def _changed(upload: Upload) -> UploadChanged:
    return UploadChanged(f"{upload.label} changed while it was read: try again when it is completely written.")
