"""Daily bars from the CSV files in the uploads; what a file says is read in `files`."""

import logging
from datetime import date
from pathlib import Path

import pandas as pd

from stockcast_assets.clock import Clock, utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import validate_ticker
from stockcast_assets.market.earnings import SAID, said_by_file
from stockcast_assets.market.sources.base import select
from stockcast_assets.market.sources.files import (
    ParsedUpload,
    has_ticker_column,
    is_earnings,
    parse_bytes,
    read_earnings,
    tickers_of,
)
from stockcast_assets.market.sources.files.fault import REMEDY
from stockcast_assets.market.sources.uploads import (
    MAX_BYTES,
    FolderUploads,
    Upload,
    Uploads,
    UploadUnavailable,
    open_uploads,
)
from stockcast_assets.market.sources.validate import first_implausible

_HEAD_BYTES = 64 * 2**10

_log = logging.getLogger(__name__)


def parse(path: Path, now: pd.Timestamp | None = None) -> ParsedUpload:
    """Read one file; see `parse_bytes`.

    Raises:
        StockcastError: if it is too large (it is not read then) or not a file of good bars.
    """
    uploads = FolderUploads(path.parent)
    upload = next((file for file in uploads.files() if file.name == path.name), None)
    if upload is None:
        raise StockcastError(f"There is no CSV file {path}: give the path of a file that ends in .csv.")
    return parse_bytes(uploads.read(upload), path.name, utc_now() if now is None else now)


class CsvSource:
    """Bars from the CSV files in the uploads; where two files of a ticker hold the same day, the newer wins.

    A bad file of the ticker asked for is moved to `rejected/` with the reason beside it, and the reason is
    raised. Files of other tickers, good or bad, are left alone.
    """

    name = "csv"

    def __init__(self, uploads: Uploads | Path | str, now: Clock = utc_now) -> None:
        self._uploads = open_uploads(uploads) if isinstance(uploads, Path | str) else uploads
        self._now = now
        self._tickers: dict[tuple[str, str], tuple[str, ...]] = {}
        self._noted: set[tuple[str, str]] = set()
        self._of_reports: dict[tuple[str, str], bool] = {}

    def bars(self, ticker: str, start: date | None, end: date, overlap: date | None = None) -> pd.DataFrame:
        """See `Source.bars`."""
        now = self._now()
        remedy = f"upload a CSV file with the missing days to {self._uploads.location}"
        chosen = select(self._merged(ticker, now, start, end), ticker, start, end, now, remedy, overlap)
        return chosen.assign(ingested_at=pd.Series(now, chosen.index, dtype="datetime64[ns, UTC]"))

    def first_session(self, ticker: str) -> date | None:
        """See `Source.first_session`."""
        day: date | None = self._merged(ticker, self._now())["date"].iloc[0].date()
        return day

    def tickers(self) -> list[str]:
        """See `Source.tickers`."""
        return sorted({ticker for upload in self._uploads.files() for ticker in self._tickers_of(upload)})

    def earnings(self, ticker: str) -> pd.DataFrame:
        """See `TellsReports.earnings`; where two files name the same day of a ticker, the newer wins."""
        today = self._now().date()
        parts = [
            said_by_file(self._reports(upload), today) for upload in self._uploads.files() if self._is_earnings(upload)
        ]
        said = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(SAID))
        own = said[said["ticker"] == ticker].drop_duplicates(["date", "kind"], keep="last")
        return own.sort_values("date", kind="stable", ignore_index=True)

    def _reports(self, upload: Upload) -> pd.DataFrame:
        try:
            return read_earnings(self._uploads.read(upload), upload.label)
        except UploadUnavailable:
            raise
        except StockcastError as error:
            raise StockcastError(f"{error} The file is now {self._uploads.reject(upload, str(error))}.") from error

    def _is_earnings(self, upload: Upload) -> bool:
        key = (upload.name, upload.version)
        if key not in self._of_reports:
            try:
                self._of_reports[key] = is_earnings(self._uploads.read(upload, _HEAD_BYTES))
            except StockcastError:
                return False
        return self._of_reports[key]

    def _tickers_of(self, upload: Upload) -> tuple[str, ...]:
        if self._is_earnings(upload):
            return ()
        key = (upload.name, upload.version)
        if key not in self._tickers:
            try:
                named = self._named(upload)
            except StockcastError:
                # Whoever asks for the ticker in its name is told why it cannot be read; it is no concern of others.
                return tuple(filter(_is_ticker, tickers_of(b"", upload.name)))
            self._tickers[key] = tuple(filter(_is_ticker, named))
        return self._tickers[key]

    def _named(self, upload: Upload) -> tuple[str, ...]:
        """The tickers a file seems to be of: of a large file with a column of tickers only the whole says which."""
        head = self._uploads.read(upload, _HEAD_BYTES)
        if upload.size > _HEAD_BYTES and upload.size <= MAX_BYTES and has_ticker_column(head):
            head = self._uploads.read(upload)
        return tickers_of(head, upload.name)

    def _merged(
        self, ticker: str, now: pd.Timestamp, start: date | None = None, end: date | None = None
    ) -> pd.DataFrame:
        validate_ticker(ticker)
        files = [upload for upload in self._uploads.files() if ticker in self._tickers_of(upload)]
        if not files:
            raise StockcastError(
                f"No CSV file in {self._uploads.location} is of {ticker}: put {ticker}.csv there, with the "
                "columns Date, Open, High, Low, Close and Volume."
            )
        parts = [self._parsed(upload, now).of(ticker).assign(file=place) for place, upload in enumerate(files)]
        bars = pd.concat(parts, ignore_index=True).drop_duplicates("date", keep="last")
        bars = bars.sort_values("date", ignore_index=True)
        asked = bars if end is None else bars[bars["date"] <= pd.Timestamp(end)]
        self._require_plausible(asked, None if start is None else pd.Timestamp(start), files)
        return bars.drop(columns="file")

    def _require_plausible(self, bars: pd.DataFrame, since: pd.Timestamp | None, files: list[Upload]) -> None:
        """Set the file aside whose bars, each good in itself, are implausible beside those of another, or as new ones.

        Raises:
            StockcastError: if there is such a file; of two that do not fit each other it is the newer one.
        """
        for judged_from in dict.fromkeys((None, since)):
            fault = first_implausible(bars, judged_from)
            if fault is None:
                continue
            row, words = fault
            bar, upload = bars.iloc[row], files[int(bars["file"].iloc[max(row - 1, 0) : row + 1].max())]
            reason = f"{upload.label}: the bar of {bar['ticker']} on {bar['date']:%Y-%m-%d} has {words}; {REMEDY}."
            raise StockcastError(f"{reason} The file is now {self._uploads.reject(upload, reason)}.")

    def _parsed(self, upload: Upload, now: pd.Timestamp) -> ParsedUpload:
        try:
            parsed = parse_bytes(self._uploads.read(upload), upload.name, now)
        except UploadUnavailable:
            raise
        except StockcastError as error:
            place = self._uploads.reject(upload, str(error))
            raise StockcastError(f"{error} The file is now {place}.") from error
        # A daily run parses the file again; what was left out is news once.
        if (upload.name, upload.version) not in self._noted:
            self._noted.add((upload.name, upload.version))
            for note in parsed.notes:
                _log.warning("%s: %s", upload.label, note)
        return parsed


def _is_ticker(ticker: str) -> bool:
    try:
        validate_ticker(ticker)
    except StockcastError:
        return False
    return True
