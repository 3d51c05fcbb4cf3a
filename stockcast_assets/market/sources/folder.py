"""A folder of vendors' files, such as Stooq's, to ask for a second opinion. Nothing in it is moved or changed."""

from __future__ import annotations

import logging
from pathlib import Path

from stockcast_assets.clock import Clock, utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.files import parse_bytes, tickers_of
from stockcast_assets.market.sources.uploads import MAX_BYTES
from stockcast_assets.tables import RAW_PRICES

_HEAD_BYTES = 64 * 2**10
_ENDINGS = (".csv", ".txt")
_log = logging.getLogger(__name__)


class FolderSource:
    """Bars from files that end in .csv or .txt, in any format that uploads may have, in the folder and those below it.

    Args:
        folder: where they are.
        now: the clock that says which sessions are over.

    Raises:
        StockcastError: if there is no such folder.
    """

    def __init__(self, folder: Path, now: Clock = utc_now) -> None:
        if not folder.is_dir():
            raise StockcastError(f"STOCKCAST_SECOND_SOURCE names {folder}, which is no folder: make it, or correct it.")
        self._folder, self._now = folder, now
        self._seen: dict[Path, tuple[int, tuple[str, ...]]] = {}

    def bars(self, ticker: str) -> pd.DataFrame:
        """Every bar that a file has of a ticker, by date; of two files with the same day the newer counts.

        Raises:
            StockcastError: if one of its files cannot be read.
        """
        files = [path for path in self._files() if ticker in self._tickers(path)]
        found = []
        for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
            parsed = parse_bytes(path.read_bytes(), path.name, self._now())
            for note in parsed.notes:
                _log.info("%s: %s", path.name, note)
            found.append(parsed.of(ticker))
        if not found:
            return RAW_PRICES.empty()
        merged = pd.concat(found, ignore_index=True).drop_duplicates("date", keep="last")
        return merged.sort_values("date", ignore_index=True)

    def _files(self) -> list[Path]:
        return [
            path
            for path in sorted(self._folder.rglob("*"))
            if path.suffix.lower() in _ENDINGS and path.is_file() and path.stat().st_size <= MAX_BYTES
        ]

    def _tickers(self, path: Path) -> tuple[str, ...]:
        version = path.stat().st_mtime_ns
        if path not in self._seen or self._seen[path][0] != version:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
            self._seen[path] = (version, tickers_of(head, path.name))
        return self._seen[path][1]
