"""The stored drift reports: one JSON a day, and how they are pruned.

The JSON of a day is about 8 KB: a year of 50 tickers takes 100 MB. Evidently's page is 4 MB, nearly all of it the same
script, and over a second of drawing, so it is drawn when somebody opens it.

The history itself is the table `drift_report`, so nothing has to be kept for it here, and no index: which days there
are is in the names.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from stockcast_assets.errors import StockcastError
from stockcast_assets.google.storage import StorageClients
from stockcast_assets.keys import validate_ticker
from stockcast_assets.libraries import pd
from stockcast_assets.monitoring.drift import DriftResult, compared_windows
from stockcast_assets.monitoring.evidently_page import evidently_page
from stockcast_assets.places import BucketFiles, Files, FolderFiles, at_place

SETTING = "STOCKCAST_REPORTS"

Key = tuple[str, date]

_NAME = re.compile(r"(?P<folder>[^/]+)/(?P<day>\d{4}-\d{2}-\d{2})\.json")
_HEAD = (
    '<header style="font: 1rem/1.5 sans-serif; padding: .8rem 1.6rem; background: #0f766e; color: #fff">'
    "<strong>{title}</strong><br>{text}<br>"
    '<a style="color: inherit" href="{back}">Back to the monitoring page</a></header>'
)


@dataclass(frozen=True)
class Pruned:
    """What pruning removed, or would remove: names below the place, and how many reports stay."""

    removed: tuple[str, ...]
    kept: int


class ReportStore:
    """Drift reports at a folder or at `gs://bucket/prefix`: one folder per ticker, `YYYY-MM-DD.json` in it.

    Files appear whole or not at all. Storing the same results again changes no JSON byte.

    Args:
        location: the place; a folder need not exist yet.
        gcp_project: Google Cloud project to act for; the credentials' own if None.
        gcp_credentials: base64-encoded service-account key; Application Default Credentials if None.
        gcs: a `GCSResource` to read a bucket by, instead of these two.
    """

    def __init__(
        self,
        location: Path | str,
        gcp_project: str | None = None,
        gcp_credentials: str | None = None,
        gcs: StorageClients | None = None,
    ) -> None:
        folder = partial(FolderFiles, what="drift report", again="run drift_report again")
        self._files: Files = at_place(location, SETTING, folder, BucketFiles, gcp_project, gcp_credentials, gcs)

    @property
    def location(self) -> str:
        """Where the reports are."""
        return self._files.location

    def save(self, results: Sequence[DriftResult]) -> dict[Key, str]:
        """Store the reports of any number of tickers and days.

        Args:
            results: one per (ticker, day).

        Returns:
            For each (ticker, day), the `report_uri`: in a folder the JSON's path relative to the root's parent, so that
            moving the whole home leaves the stored addresses valid; in a bucket its gs:// address.

        Raises:
            StockcastError: a file could not be written.
        """
        self._files.write({_name(result.ticker, result.day): result.json for result in results})
        return {(result.ticker, result.day): self.uri(result.ticker, result.day) for result in results}

    def uri(self, ticker: str, day: date) -> str:
        """The address of a day's report, as `save` returns it."""
        return self._files.address(_name(ticker, day))

    def record(self, ticker: str, day: date) -> dict[str, Any] | None:
        """The stored JSON of a day as a dict, or None if there is none."""
        text = self._files.text(_name(ticker, day))
        return None if text is None else json.loads(text)

    def require_record(self, ticker: str, day: date) -> dict[str, Any]:
        """The stored JSON of a day.

        Raises:
            StockcastError: if there is none, whether it was pruned or never made.
        """
        record = self.record(ticker, day)
        if record is None:
            raise StockcastError(
                f"There is no drift report of {ticker} on {day} in {self.location}: it was pruned "
                "(STOCKCAST_REPORTS_KEEP_DAYS) or never made; materialise drift_report for that day to have it."
            )
        return record

    def page(self, ticker: str, day: date, series: pd.DataFrame) -> str:
        """Evidently's full report of a day, drawn from its windows (over a second).

        Args:
            ticker: ticker symbol.
            day: a day with a stored report.
            series: the series compared, as `drift.drift_report` takes them; a feature that is not in it is left out,
                and the page says so.

        Raises:
            StockcastError: the day has no report, or the series no longer hold its windows.
        """
        record = self.require_record(ticker, day)
        bounds = [date.fromisoformat(record[name][end]) for name in ("reference", "current") for end in ("from", "to")]
        windows = compared_windows(series, *bounds)
        for name, window in zip(("reference", "current"), windows, strict=True):
            if len(window) != record[name]["sessions"]:
                raise StockcastError(
                    f"The drift report of {ticker} on {day} compared {record[name]['sessions']} sessions and the "
                    f"warehouse now holds {len(window)} of them; materialise drift_report again."
                )
        drawn = {row["feature"]: row["threshold"] for row in record["features"] if row["feature"] in series}
        page = evidently_page(*windows, drawn)
        absent = [row["feature"] for row in record["features"] if row["feature"] not in drawn]
        title = f"Drift of {ticker} on {day}"
        reference, current = ("{from} to {to}".format(**record[name]) for name in ("reference", "current"))
        text = f"Sessions of {current} against those of {reference}; residuals against what forecasts promised."
        limits = ", ".join(f"{feature} {threshold:.2f}" for feature, threshold in drawn.items())
        text += " Evidently calls the first “current” and the second “reference”."
        text += f" A feature drifted if its distance reaches its limit: {limits}."
        shared = int(windows[1]["date"].isin(windows[0]["date"]).sum())
        if shared:
            text += f" {shared} of the recent sessions belong to the training window, too."
        if absent:
            text += f" Drawn without {', '.join(absent)}: the model that made them does not serve that day now."
        # Evidently names neither the ticker nor the day.
        back = f"../../monitoring?{urlencode({'ticker': ticker, 'date': str(day)})}"
        head = _HEAD.format(title=html.escape(title), text=html.escape(text), back=html.escape(back))
        page = page.replace("</head>", f"<title>{html.escape(title)} · stockcast</title></head>", 1)
        return re.sub(r"<body[^>]*>", lambda body: body.group() + head, page, count=1)

    def prune(self, keep_days: int, dry_run: bool = False) -> Pruned:
        """Remove the reports of each ticker that are older than `keep_days` before its newest one.

        Ages count from the ticker's newest report, not from today: a ticker whose runs ended keeps its last ones. Only
        what is named as `save` names a report is ever removed. The rows of `drift_report` stay.

        Args:
            keep_days: days of reports to keep, at least 1.
            dry_run: remove nothing, only say what would be.

        Raises:
            StockcastError: if `keep_days` is less than 1, or the place cannot be read or written.
        """
        if keep_days < 1:
            raise StockcastError(f"{keep_days} days of reports cannot be kept: use at least 1.")
        days_of: dict[str, dict[str, date]] = {}
        for name, (ticker, day) in _reports(self._files.names()).items():
            days_of.setdefault(ticker, {})[name] = day
        old = [
            name
            for named in days_of.values()
            for name, day in named.items()
            if day < max(named.values()) - timedelta(days=keep_days)
        ]
        if not dry_run:
            self._files.delete(old)
        return Pruned(tuple(sorted(old)), sum(map(len, days_of.values())) - len(old))


def _name(ticker: str, day: date) -> str:
    return f"{quote(validate_ticker(ticker), safe='')}/{day.isoformat()}.json"


def _reports(names: Iterable[str]) -> dict[str, Key]:
    """Ticker and day of what is named exactly as a report is; anything else is left out."""
    found = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        try:
            ticker, day = unquote(match["folder"]), date.fromisoformat(match["day"])
            if _name(ticker, day) == name:
                found[name] = (ticker, day)
        except (StockcastError, ValueError):
            continue
    return found
