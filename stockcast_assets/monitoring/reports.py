"""Where drift reports live on disk, and which of them keep their page.

The JSON of a day is about 4 KB and is kept for every day. Evidently's page is 4 MB, nearly all of it the same
script, so per ticker only the latest day's and those of the last `keep_drifted` drifted days are kept; any
other is drawn again when somebody opens it. A year of 50 tickers takes 50 MB of JSON, and at most 6 pages a
ticker, 1.2 GB, however many years are stored; one page for every day would take 50 GB a year.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.tickers import validate_ticker
from stockcast_assets.monitoring.drift import DriftResult, html_report

Key = tuple[str, date]


class ReportStore:
    """Drift reports under `root`, one folder per ticker and `YYYY-MM-DD.json` / `.html` in it.

    Files appear whole or not at all. Storing the same results again changes no JSON byte.
    """

    def __init__(self, root: Path, keep_drifted: int = 5) -> None:
        self.root = Path(root)
        self.keep_drifted = keep_drifted

    def save(self, results: Sequence[DriftResult]) -> dict[Key, str]:
        """Store the reports of any number of tickers and days, and prune the pages no longer kept.

        Args:
            results: one per (ticker, day).

        Returns:
            For each (ticker, day), the `report_uri`: the JSON's path relative to the root's parent, so that
            moving the whole home leaves the stored addresses valid.

        Raises:
            StockcastError: a file could not be written.
        """
        for result in results:
            self._write(self._path(result.ticker, result.day, "json"), result.json)
        for ticker in dict.fromkeys(result.ticker for result in results):
            self._keep_pages(ticker, {result.day: result for result in results if result.ticker == ticker})
        return {(result.ticker, result.day): self.uri(result.ticker, result.day) for result in results}

    def uri(self, ticker: str, day: date) -> str:
        """The address of a day's report, as `save` returns it."""
        return self._path(ticker, day, "json").relative_to(self.root.parent).as_posix()

    def record(self, ticker: str, day: date) -> dict[str, Any] | None:
        """The stored JSON of a day as a dict, or None if there is none."""
        path = self._path(ticker, day, "json")
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def page(self, ticker: str, day: date) -> Path | None:
        """The stored HTML page of a day, or None if it is not among those kept (see `render`)."""
        path = self._path(ticker, day, "html")
        return path if path.exists() else None

    def render(self, ticker: str, day: date, features: pd.DataFrame) -> str:
        """The full report of a day: the stored page, else drawn again from its windows (about a second).

        Args:
            ticker: ticker symbol.
            day: a day with a stored report.
            features: `drift.drift_features` of the ticker's bars.

        Raises:
            StockcastError: the day has no report, or the bars no longer hold its windows.
        """
        if (page := self.page(ticker, day)) is not None:
            return page.read_text("utf-8")
        record = self.record(ticker, day)
        if record is None:
            raise StockcastError(f"There is no drift report of {ticker} on {day}; materialise drift_report for it.")
        windows = {}
        for name in ("reference", "current"):
            bounds = record[name]
            inside = features["date"].between(pd.Timestamp(bounds["from"]), pd.Timestamp(bounds["to"]))
            windows[name] = features[inside]
            if len(windows[name]) != bounds["sessions"]:
                raise StockcastError(
                    f"The drift report of {ticker} on {day} compared {bounds['sessions']} sessions and the "
                    f"warehouse now holds {len(windows[name])} of them; materialise drift_report again."
                )
        thresholds = {row["feature"]: row["threshold"] for row in record["features"]}
        return html_report(windows["reference"], windows["current"], thresholds)

    def _keep_pages(self, ticker: str, fresh: dict[date, DriftResult]) -> None:
        keep = set(self._kept_days(ticker))
        for day in sorted(keep & fresh.keys()):
            self._write(self._path(ticker, day, "html"), fresh[day].html())
        for page in self._folder(ticker).glob("*.html"):
            if date.fromisoformat(page.stem) not in keep:
                page.unlink(missing_ok=True)

    def _kept_days(self, ticker: str) -> Iterator[date]:
        # From what is stored, not from what this run wrote: the order of a backfill changes no page.
        drifted = 0
        for index, path in enumerate(sorted(self._folder(ticker).glob("*.json"), reverse=True)):
            if drifted == self.keep_drifted:
                return
            has_drifted = json.loads(path.read_text("utf-8"))["drifted"]
            drifted += has_drifted
            if has_drifted or index == 0:
                yield date.fromisoformat(path.stem)

    def _folder(self, ticker: str) -> Path:
        return self.root / quote(validate_ticker(ticker), safe="")

    def _path(self, ticker: str, day: date, kind: str) -> Path:
        return self._folder(ticker) / f"{day.isoformat()}.{kind}"

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
                f"The drift report {path} could not be written ({error.strerror}); "
                "free some space or make the folder writable, then run drift_report again."
            ) from error
