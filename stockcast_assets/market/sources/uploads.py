"""The place where people put CSV files: one of `places`, whose files strangers write.

Folder and bucket are read, and bad files set aside in `rejected/`, through the same methods. Nothing here knows what
is in a file.

Whoever may put a file here decides its name, its times, its kind and how long it is. So only plain files are opened,
no link is followed, what a listing says is checked again on what was opened, and what is read is bounded by bytes that
arrive, not by the size that is stated.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.storage import StorageClients, patience
from stockcast_assets.libraries import pd
from stockcast_assets.places import BucketFiles, Files, FolderFiles, at_place

if TYPE_CHECKING:
    from google.cloud.storage import Blob

MAX_BYTES = 10 * 2**20
"""Size cap of one upload: 400 years of daily bars of one ticker."""

MAX_FILES = 20_000
"""Files that a place may hold at once: each is looked at in every tick."""

SETTING = "STOCKCAST_UPLOADS"
REJECTED = "rejected"

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class UploadUnavailable(StockcastError):
    """A file or the place cannot be read or written now: not the content's fault, so no reason to reject it."""


class UploadChanged(UploadUnavailable):
    """A file changed or went away while it was looked at."""


class UploadTooLarge(StockcastError):
    """A file holds more bytes than an upload may have, whatever size is stated of it."""


@dataclass(frozen=True)
class Upload:
    """A file as it was when it was listed.

    Attributes:
        name: its name in the place; bytes that are no UTF-8 are lone surrogates in it.
        version: another one as soon as the content is.
        modified: when the content was written, as its writer says.
        size: bytes.
        stored: when the place says that it was last touched; `modified` if it says nothing.
    """

    name: str
    version: str
    modified: pd.Timestamp
    size: int
    stored: pd.Timestamp | None = None

    @property
    def label(self) -> str:
        """The name as it can stand in a sentence."""
        return label(self.name)

    def settled(self, now: pd.Timestamp, pause: timedelta) -> bool:
        """Whether nothing has changed it for a `pause`.

        A writer may say any time, a future one too; then what the place says counts. Where both lie ahead, a clock
        was wrong once, and waiting for it would take for ever.
        """
        ages = (now - time for time in (self.modified, self.stored) if time is not None)
        return next((age for age in ages if age >= timedelta(0)), pause) >= pause


@dataclass(frozen=True)
class Stray:
    """Something that is called like an upload and is none: it is left where it is and never opened."""

    name: str
    version: str
    fault: str


def label(name: str) -> str:
    """A file's name as it can stand in a sentence."""
    return name if name.isprintable() else ascii(name)


class Uploads(Files, Protocol):
    """A place with uploads: what it holds may be anything, and change while it is looked at."""

    def files(self) -> list[Upload]:
        """The CSV files there, oldest first; those in `rejected/` and hidden ones are none.

        Raises:
            UploadUnavailable: if the place cannot be read.
        """

    def strays(self) -> list[Stray]:
        """What is called like a CSV file and cannot be one.

        Raises:
            UploadUnavailable: if the place cannot be read.
        """

    def read(self, upload: Upload, first_bytes: int | None = None) -> bytes:
        """Content of a file, or its beginning.

        Raises:
            UploadUnavailable: if it cannot be read; UploadChanged if it is no longer the version listed.
            UploadTooLarge: if it is larger than `MAX_BYTES`; such a file is never read whole.
        """

    def reject(self, upload: Upload, reason: str) -> str:
        """Move a file to `rejected/`, the reason beside it as `<name>.reason.txt`; return where it is now.

        An earlier rejected file is never overwritten: the new one is called `<name>.1.csv` and so on.

        Raises:
            UploadUnavailable: if it cannot be moved; UploadChanged if it is no longer the version listed. It
                stays where it is.
        """


def open_uploads(
    location: Path | str,
    gcp_project: str | None = None,
    gcp_credentials: str | None = None,
    gcs: StorageClients | None = None,
) -> Uploads:
    """The uploads at a folder or at `gs://bucket/prefix`.

    Args:
        location: the place; a folder need not exist yet.
        gcp_project: Google Cloud project to act for; the credentials' own if None.
        gcp_credentials: base64-encoded service-account key; Application Default Credentials if None.
        gcs: a `GCSResource` to read a bucket by, instead of these two.

    Raises:
        StockcastError: if the place is malformed or there are no credentials for it.
    """
    return at_place(location, SETTING, FolderUploads, BucketUploads, gcp_project, gcp_credentials, gcs)


def reject(path: Path, reason: str) -> Path:
    """Move a file to `rejected/` beside it, with the reason as `<name>.reason.txt`; return its new path.

    The reason file reserves the name before the move, so that two processes never choose the same one and an
    earlier rejected file is never overwritten. `rejected/` is a folder, never a link to one: it would lead anywhere.

    Raises:
        FileNotFoundError: if the file is gone.
        OSError: if the folder cannot be written.
    """
    folder = path.parent / REJECTED
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in _free_names(path.name):
            note = f"{name}.reason.txt"
            if _is_there(name, place):
                continue
            try:
                handle = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
            except FileExistsError:
                continue
            try:
                with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"{reason}\n")
                os.rename(path, name, dst_dir_fd=place)
            except OSError:
                os.unlink(note, dir_fd=place)
                raise
            return folder / name
    finally:
        os.close(place)
    raise AssertionError("names never run out")


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


class FolderUploads(FolderFiles):
    """Uploads in a folder of this machine."""

    def files(self) -> list[Upload]:
        """See `Uploads.files`."""
        found = [_described(name, status) for name, status in self._entries() if stat.S_ISREG(status.st_mode)]
        return sorted(found, key=lambda upload: (upload.modified, upload.name))

    def strays(self) -> list[Stray]:
        """See `Uploads.strays`."""
        return [
            Stray(
                name,
                f"{status.st_ino}-{status.st_ctime_ns}-{status.st_mode:o}",
                f"{label(name)} is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no plain file')} and was left where it "
                "is: put a plain file there.",
            )
            for name, status in self._entries()
            if not stat.S_ISREG(status.st_mode)
        ]

    def _entries(self) -> list[tuple[str, os.stat_result]]:
        found: list[tuple[str, os.stat_result]] = []
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    if not _is_csv(entry.name):
                        continue
                    if len(found) == MAX_FILES:
                        raise UploadUnavailable(_too_many(self.location))
                    with contextlib.suppress(FileNotFoundError):
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UploadUnavailable(
                f"The uploads folder {self.root} cannot be read ({error.strerror}): check "
                "STOCKCAST_UPLOADS and the folder's permissions."
            ) from error
        return found

    def read(self, upload: Upload, first_bytes: int | None = None) -> bytes:
        """See `Uploads.read`."""
        wanted = _wanted(upload, first_bytes)
        try:
            # What has become a link or a pipe since it was listed is neither followed nor waited for.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            with os.fdopen(os.open(self.root / upload.name, flags), "rb") as file:
                if not _is_version(upload, os.fstat(file.fileno())):
                    raise _changed(upload)
                content = file.read(wanted)
                if not _is_version(upload, os.fstat(file.fileno())):
                    raise _changed(upload)
        except OSError as error:
            if self._gone(upload):
                raise _changed(upload) from error
            raise UploadUnavailable(
                f"{upload.label} cannot be read ({error.strerror}): check the file's permissions."
            ) from error
        return content

    def reject(self, upload: Upload, reason: str) -> str:
        """See `Uploads.reject`."""
        if self._gone(upload):
            raise _changed(upload)
        try:
            return label(str(reject(self.root / upload.name, reason)))
        except FileNotFoundError as error:
            raise _changed(upload) from error
        except OSError as error:
            raise UploadUnavailable(
                f"{upload.label} cannot be moved to {REJECTED}/ ({error.strerror}): remove it by hand."
            ) from error

    def _gone(self, upload: Upload) -> bool:
        """Whether the version listed is there no more."""
        try:
            return not _is_version(upload, (self.root / upload.name).lstat())
        except OSError:
            return True


class BucketUploads(BucketFiles):
    """Uploads under a prefix of a Cloud Storage bucket."""

    def files(self) -> list[Upload]:
        """See `Uploads.files`."""
        found = []
        for blob in self._objects():
            with contextlib.suppress(_Unlikely):
                found.append(self._described(blob))
        return sorted(found, key=lambda upload: (upload.modified, upload.name))

    def strays(self) -> list[Stray]:
        """See `Uploads.strays`."""
        found = []
        for blob in self._objects():
            try:
                self._described(blob)
            except _Unlikely as unlikely:
                name = blob.name.removeprefix(self.place.prefix)
                words = f"{label(name)} {unlikely} and was left where it is: upload it again."
                found.append(Stray(name, str(blob.generation), words))
        return found

    def _objects(self) -> list[Blob]:
        with self._explained():
            found: list[Blob] = []
            for blob in self.bucket.list_blobs(prefix=self.place.prefix, delimiter="/", **patience()):
                if not _is_csv(blob.name.removeprefix(self.place.prefix)):
                    continue
                if len(found) == MAX_FILES:
                    raise UploadUnavailable(_too_many(self.location))
                found.append(blob)
            return found

    def _described(self, blob: Blob) -> Upload:
        try:
            return Upload(
                name=blob.name.removeprefix(self.place.prefix),
                version=str(int(blob.generation)),
                modified=pd.Timestamp(blob.updated).tz_convert("UTC").as_unit("ns"),
                size=max(0, int(blob.size)),
            )
        except (TypeError, ValueError) as error:
            raise _Unlikely("is listed without its size, time or generation") from error

    def read(self, upload: Upload, first_bytes: int | None = None) -> bytes:
        """See `Uploads.read`."""
        wanted = _wanted(upload, first_bytes)
        if upload.size == 0:
            return b""
        # As it is stored: the client would unpack what says that it is packed, to any size, before it hands it out.
        stored = _Bounded(wanted)
        blob = self._blob(upload)
        with self._explained(upload):
            try:
                blob.download_to_file(
                    stored, end=wanted - 1, raw_download=True, if_generation_match=int(upload.version), **patience()
                )
            except _Full as error:
                if first_bytes is None:
                    words = f"sends more than the {upload.size} bytes that it is listed with"
                    raise UploadTooLarge(_too_large(upload, words)) from error
        content = stored.getvalue()
        if content[:2] != _GZIP or blob.content_encoding != "gzip":
            return content
        return _unpacked(upload, content, first_bytes)

    def reject(self, upload: Upload, reason: str) -> str:
        """See `Uploads.reject`."""
        from google.api_core.exceptions import PreconditionFailed

        with self._explained(upload):
            bucket, source, generation = self.bucket, self._blob(upload), int(upload.version)
            for name in _free_names(upload.name):
                target = f"{self.place.prefix}{REJECTED}/{name}"
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
                return self.address(f"{REJECTED}/{name}")
        raise AssertionError("names never run out")

    def _blob(self, upload: Upload) -> Blob:
        return self.bucket.blob(f"{self.place.prefix}{upload.name}", generation=int(upload.version))

    @contextlib.contextmanager
    def _explained(self, upload: Upload | None = None) -> Iterator[None]:
        from google.api_core.exceptions import NotFound, PreconditionFailed
        from google.cloud.storage.exceptions import DataCorruption

        with self.place.explained(UploadUnavailable):
            try:
                yield
            except (NotFound, PreconditionFailed, DataCorruption) as error:
                if upload is None:
                    raise
                raise _changed(upload) from error


class _Unlikely(Exception):
    """An object of which the listing does not say what it says of every object."""


class _Full(Exception):
    """More bytes arrived than were asked for."""


class _Bounded(io.BytesIO):
    """Keeps so many bytes and ends the transfer with the next one."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: Any) -> int:
        room = self._limit - self.tell()
        super().write(data[:room])
        if len(data) > room:
            raise _Full
        return len(data)


_FIRST_MOMENT, _LAST_MOMENT = -2_208_988_800 * 10**9, 7_258_118_400 * 10**9
"""1900 and 2200, in nanoseconds since 1970."""

_GZIP = b"\x1f\x8b"


def _unpacked(upload: Upload, content: bytes, first_bytes: int | None) -> bytes:
    limit = MAX_BYTES if first_bytes is None else first_bytes
    unpacking = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacking.decompress(content, limit + 1)
    except zlib.error as error:
        raise StockcastError(
            f"{upload.label} says that it is packed as gzip and is not ({error}): upload it again without "
            "Content-Encoding."
        ) from error
    if first_bytes is not None:
        return unpacked[:first_bytes]
    if len(unpacked) > limit:
        raise UploadTooLarge(_too_large(upload, f"unpacks to more than {limit / 2**20:.1f} MB"))
    return unpacked


def _is_csv(name: str) -> bool:
    return "/" not in name and not name.startswith(".") and name.lower().endswith(".csv")


def _free_names(name: str) -> Iterator[str]:
    path = PurePosixPath(os.fsencode(name).decode(errors="replace"))
    stem = path.stem.encode()[:150].decode(errors="ignore")
    yield f"{stem}{path.suffix}"
    number = 1
    while True:
        yield f"{stem}.{number}{path.suffix}"
        number += 1


def _described(name: str, status: os.stat_result) -> Upload:
    return Upload(
        name=name,
        version=_version(status),
        modified=_moment(status.st_mtime_ns),
        size=status.st_size,
        stored=_moment(status.st_ctime_ns),
    )


def _version(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _is_version(upload: Upload, status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and _version(status) == upload.version


def _moment(nanoseconds: int) -> pd.Timestamp:
    """A file's time, or the nearest one that can be reckoned with: a writer may set any of 64 bits of seconds."""
    return pd.Timestamp(min(max(nanoseconds, _FIRST_MOMENT), _LAST_MOMENT), unit="ns", tz="UTC")


def _wanted(upload: Upload, first_bytes: int | None) -> int:
    if first_bytes is not None:
        return min(first_bytes, max(upload.size, 1))
    if upload.size > MAX_BYTES:
        raise UploadTooLarge(_too_large(upload, f"has {upload.size / 2**20:.1f} MB"))
    return max(upload.size, 1)


def _too_large(upload: Upload, words: str) -> str:
    return (
        f"{upload.label} {words}, and an upload has at most {MAX_BYTES // 2**20}: split it by years, one ticker per "
        "file."
    )


def _too_many(location: str) -> str:
    return f"{location} holds more than {MAX_FILES:,} CSV files: move those elsewhere that were taken long ago."


def _changed(upload: Upload) -> UploadChanged:
    return UploadChanged(f"{upload.label} changed while it was read: try again when it is completely written.")
