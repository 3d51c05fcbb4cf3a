"""Files and folders that are this account's alone, and telling those that are not.

On Windows, whose files have no owner and mode of this kind, nothing is checked or changed.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POSIX = hasattr(os, "geteuid")
_OTHERS = 0o077


def keep_to_oneself() -> int:
    """From now on new files are 0600 and new folders 0700, and no Python that is started imports from where one stands.

    The processes that are started inherit both. Returns the umask that was.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    return os.umask(_OTHERS)


@contextmanager
def private_process() -> Iterator[None]:
    """As `keep_to_oneself`, for a while."""
    safe_path = os.environ.get("PYTHONSAFEPATH")
    umask = keep_to_oneself()
    try:
        yield
    finally:
        os.umask(umask)
        if safe_path is None:
            os.environ.pop("PYTHONSAFEPATH", None)
        else:
            os.environ["PYTHONSAFEPATH"] = safe_path


def whose(found: os.stat_result) -> str | None:
    """Why a file or folder is not this account's alone to change; None if it is.

    root may change everything anyway, and a group that has the account's own number is the account's own.
    """
    if not _POSIX:
        return None
    if found.st_uid not in (os.geteuid(), 0):
        return f"belongs to another account ({_name(found.st_uid)})"
    if stat.S_ISLNK(found.st_mode):
        return None
    if found.st_mode & stat.S_IWOTH:
        return "may be changed by every account of this machine"
    if found.st_mode & stat.S_IWGRP and found.st_gid != found.st_uid:
        return "may be changed by a group of accounts"
    return None


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def whose_path(path: Path) -> str | None:
    """As `whose`, of a path: of the link, if it is one, and of what it leads to. None if there is nothing."""
    try:
        return whose(path.lstat()) or whose(path.stat())
    except FileNotFoundError:
        return None


def own_folder(path: Path) -> Path:
    """The folder, made 0700 unless it is there; links to a folder are not followed.

    Raises:
        PermissionError: if what is there is no folder of this account alone.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{path} is no folder") from None
        if (why := whose(found)) is not None or (_POSIX and found.st_uid != os.geteuid()):
            raise PermissionError(f"{path} {why or 'belongs to root'}") from None
    return path


def make_private(folder: Path) -> None:
    """Take every right of others from the folder and, if others could enter it, from all that is in it.

    What belongs to another account stays as it is, and no link is followed.
    """
    if not _POSIX:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        return
    was_open = bool(found.st_mode & _OTHERS)
    if was_open:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    # Where nobody but the account can enter, what Dagster writes in thousands of files need not be walked through.
    for _, folders, files, descriptor in os.fwalk(folder):
        for name in (*folders, *files):
            _close(name, descriptor)
        if not was_open:
            folders[:] = [name for name in folders if name == "dagster"]


def _close(name: str, descriptor: int) -> None:
    try:
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or not found.st_mode & _OTHERS:
            return
        os.chmod(name, stat.S_IMODE(found.st_mode) & ~_OTHERS, dir_fd=descriptor)
    except FileNotFoundError:
        # Another process took it away meanwhile.
        return
