"""Heads of the ledger where its user keeps them, out of reach of who can write the warehouse: one file each time."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.storage import SCHEME, StorageClients
from stockcast_assets.libraries import pd
from stockcast_assets.monitoring.ledger import Anchor, Head, head_hash
from stockcast_assets.places import BucketFiles, Files, FolderFiles, at_place

SETTING = "STOCKCAST_LEDGER_HEADS"
_GIT_S = 60.0


class HeadStore:
    """The place of the heads: a folder, which may be a git repository, or a prefix of a bucket; or none.

    Args:
        location: the place; None keeps no heads.
        gcp_project: Google Cloud project to act for.
        gcp_credentials: base64-encoded service-account key.
        gcs: a `GCSResource` to use instead of these two.

    Raises:
        StockcastError: if the place is malformed.
    """

    def __init__(
        self,
        location: str | None,
        gcp_project: str | None = None,
        gcp_credentials: str | None = None,
        gcs: StorageClients | None = None,
    ) -> None:
        self.location = location
        self._files: Files | None = None
        if location is not None:
            folder = partial(FolderFiles, what="head of the ledger", again="run `stockcast ledger head --write`")
            self._files = at_place(location, SETTING, folder, BucketFiles, gcp_project, gcp_credentials, gcs)

    def write(self, at: pd.Timestamp, heads: Mapping[str, Head]) -> None:
        """Keep some tickers' heads as a file of their own; in a git repository, as a commit of its own, too.

        A branch that follows another one is pushed there.

        Raises:
            StockcastError: if the place cannot be used.
        """
        if self._files is None or self.location is None:
            return
        name, head = f"{at:%Y-%m-%dT%H%M%S.%fZ}.json", head_hash(heads)
        document = {"at": at.isoformat(), "head": head, "heads": {ticker: list(own) for ticker, own in heads.items()}}
        self._files.write({name: json.dumps(document, indent=1, sort_keys=True) + "\n"})
        folder = Path(self.location)
        if not self.location.startswith(SCHEME) and (folder / ".git").exists():
            _git(folder, "add", "--", name)
            _git(folder, "commit", "--quiet", "--message", f"Head of the ledger {head}", "--", name)
            if _follows(folder):
                _git(folder, "push", "--quiet")

    def anchors(self) -> list[Anchor]:
        """All heads that are kept.

        Raises:
            StockcastError: if the place cannot be read, or a file in it is no such head.
        """
        if self._files is None:
            return []
        found = []
        for name in self._files.names():
            if not name.endswith(".json") or name.startswith(".git/"):
                continue
            try:
                document = json.loads(self._files.text(name) or "")
                heads = {ticker: Head(int(entry), str(digest)) for ticker, (entry, digest) in document["heads"].items()}
                told = document["head"]
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise StockcastError(
                    f"{name} in {SETTING}={self.location} is no head of the ledger ({error}): move it elsewhere."
                ) from error
            if told != head_hash(heads):
                raise StockcastError(
                    f"{name} in {SETTING}={self.location} was changed: its heads are not those of its hash. Take the "
                    "file from a copy of the place, or remove it."
                )
            found.append(Anchor(f"{name} in {self.location}", heads))
        return found


def _git(folder: Path, *arguments: str) -> None:
    program = shutil.which("git")
    if program is None:
        raise StockcastError(f"{SETTING}={folder} is a git repository, but git is not installed: install it.")
    try:
        subprocess.run([program, "-C", str(folder), *arguments], check=True, capture_output=True, timeout=_GIT_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        words = " ".join(said.decode(errors="replace").split())[:200].rstrip(".")
        raise StockcastError(
            f"git {arguments[0]} failed in {SETTING}={folder} ({words}): put the repository right; the file is there."
        ) from error


def _follows(folder: Path) -> bool:
    """Whether the branch has one elsewhere that it follows."""
    try:
        _git(folder, "rev-parse", "--abbrev-ref", "@{upstream}")
    except StockcastError:
        return False
    return True
