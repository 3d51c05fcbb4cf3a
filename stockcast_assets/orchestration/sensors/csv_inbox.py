"""The `csv_inbox` sensor: every complete version of an uploaded file becomes bars, once."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.market.sources.uploads import MAX_BYTES, Upload, UploadChanged, Uploads, UploadUnavailable
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.orchestration.jobs import Jobs
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.launch import UPLOAD, Launch, Reason
from stockcast_assets.orchestration.planning.planner import World
from stockcast_assets.orchestration.planning.ranges import session_stretches
from stockcast_assets.orchestration.planning.world import read_runs
from stockcast_assets.orchestration.sensors.ticks import result
from stockcast_assets.orchestration.tickers import TickerState
from stockcast_assets.sandbox import Sandbox, SandboxExceeded, SandboxUnavailable
from stockcast_assets.tables import EARNINGS_DATES, PRICE_HISTORY, RAW_PRICES

if TYPE_CHECKING:
    from stockcast_assets.market.sources.files import ParsedUpload

# A file still being copied changes between two looks; an object in a bucket appears whole.
SETTLED = timedelta(seconds=5)

_HEAD_BYTES = 4096
"""What tells a file of reports from one of bars."""

TICK_FILES, TICK_S = 200, 20.0
"""What one tick takes on; the others have their turn in the next."""


@dataclass(frozen=True)
class Inbox:
    """Where uploads come from and which days they may fill.

    Attributes:
        uploads: the folder or bucket.
        first_daily_key: bars before it belong to `price_history`.
        last_daily_key: bars after it have no key; None if the keys are open-ended.
        calendars: the enabled exchange calendars.
        calendar_table: the user's own table of calendars, if there is one.
        tickers_per_run: how many tickers a run makes at most.
    """

    uploads: Uploads
    first_daily_key: date
    last_daily_key: date | None
    calendars: tuple[str, ...]
    calendar_table: Path | None = None
    tickers_per_run: int = sys.maxsize

    def sandbox(self) -> Sandbox:
        """Where files are parsed: the process of the sensors has to outlive each of them."""
        return Sandbox(None if self.calendar_table is None else partial(calendars.extend_rules, self.calendar_table))

    def parse(self, upload: Upload, sandbox: Sandbox) -> ParsedUpload:
        """The file's bars.

        Raises:
            StockcastError: if the file is bad or the calendar of one of its tickers is not enabled.
        """
        from stockcast_assets.market.sources.files import parse_bytes, require_enabled

        content = self.uploads.read(upload)
        if not upload.name.isascii() and not _is_unicode(upload.name):
            raise StockcastError(f"{upload.label}: the file's name is no UTF-8; rename it and upload it again.")
        try:
            parsed = sandbox.call(parse_bytes, content, upload.name, utc_now())
        except SandboxUnavailable as error:
            raise UploadUnavailable(f"{upload.label} was not read. {error}") from error
        except SandboxExceeded as error:
            raise StockcastError(
                f"{upload.label}: reading it {error}, where a file of {MAX_BYTES // 2**20} MB takes some seconds; "
                "export it again as plain CSV with one line per day, or split it by years."
            ) from error
        require_enabled(parsed, upload.label, self.calendars)
        return parsed

    def wanted(self, upload: Upload, sandbox: Sandbox) -> tuple[list[Launch], Sequence[str], Sequence[str]]:
        """What a file asks for, the tickers that it brings, and notes on what was left out of it.

        Raises:
            StockcastError: if it is bad.
        """
        from stockcast_assets.market.sources.files import is_earnings, read_earnings

        if is_earnings(self.uploads.read(upload, _HEAD_BYTES)):
            named = dict.fromkeys(read_earnings(self.uploads.read(upload), upload.label)["ticker"])
            reason = Reason(UPLOAD, f"{upload.name} {upload.version}")
            # It brings no ticker: one without bars is no use, and reads the file when it comes.
            return [Launch((EARNINGS_DATES.name,), (ticker,), reason=reason) for ticker in named], (), ()
        parsed = self.parse(upload, sandbox)
        return list(self.needs(upload, parsed)), parsed.tickers, parsed.notes

    def needs(self, upload: Upload, parsed: ParsedUpload) -> Iterator[Launch]:
        """What materialises exactly the sessions in the file, market-closed days between them included."""
        reason = Reason(UPLOAD, f"{upload.name} {upload.version}", (("source", "csv"),))
        start = pd.Timestamp(self.first_daily_key)
        for ticker, bars in parsed.bars.groupby("ticker", sort=False):
            days, whom = pd.DatetimeIndex(bars["date"]), (str(ticker),)
            if (days < start).any():
                yield Launch((PRICE_HISTORY.name,), whom, reason=reason)
            daily = days[days >= start]
            if self.last_daily_key is not None:
                daily = daily[daily <= pd.Timestamp(self.last_daily_key)]
            for first, last in session_stretches(str(ticker), daily):
                yield Launch((RAW_PRICES.name,), whom, first, last, reason)


def _told(upload: Upload) -> str:
    return f"unreadable {upload.version}"


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _load(cursor: str) -> tuple[dict[str, str], list[Launch]]:
    """The version of each file that was dealt with, and the runs that are not done yet; once there were no runs."""
    stored = json.loads(cursor)
    versions, needs = (stored["files"], stored["needs"]) if isinstance(stored.get("needs"), list) else (stored, [])
    return {str(name): str(version) for name, version in versions.items()}, [Launch.load(need) for need in needs]


def build_csv_inbox(jobs: Jobs, inbox: Inbox, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor. Its cursor holds the version of each file it has dealt with, and the runs that are not done yet."""

    @dg.sensor(
        name="csv_inbox",
        jobs=[jobs.ingest_earnings, jobs.ingest_history, jobs.ingest_daily],
        minimum_interval_seconds=30,
        default_status=status,
        description=(
            "Adds the tickers of an uploaded CSV file if they are new, and materialises exactly the sessions in the "
            "file. A bad file is moved to rejected/ with the reason beside it."
        ),
    )
    def csv_inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        done, needs = understood(_load, context.cursor, "The cursor", context.log.warning) or ({}, [])
        present = {upload.name: upload for upload in inbox.uploads.files()}
        handled = {name: version for name, version in done.items() if name in present}
        tickers: list[str] = []

        def take(upload: Upload, sandbox: Sandbox) -> None:
            try:
                wanted, named, notes = inbox.wanted(upload, sandbox)
            except UploadChanged:
                return
            except UploadUnavailable as error:
                # It is told once, and looked at again: it may become readable as it is.
                if handled.get(upload.name) != _told(upload):
                    context.log.warning(str(error))
                handled[upload.name] = _told(upload)
                return
            except StockcastError as error:
                try:
                    place = inbox.uploads.reject(upload, str(error))
                except UploadChanged:
                    return
                except UploadUnavailable as stuck:
                    # It is told once, and holds no other file up.
                    context.log.error(f"{error} {stuck}")
                    handled[upload.name] = upload.version
                    return
                context.log.warning(f"{error} The file is now {place}.")
                return
            for note in notes:
                context.log.info(f"{upload.label}: {note}")
            needs.extend(wanted)
            tickers.extend(named)
            handled[upload.name] = upload.version

        for stray in inbox.uploads.strays():
            if done.get(stray.name) != stray.version:
                context.log.warning(stray.fault)
            handled[stray.name] = stray.version
        now, begun = utc_now(), time.monotonic()
        open_ones = [
            upload
            for upload in present.values()
            if handled.get(upload.name) != upload.version and upload.settled(now, SETTLED)
        ]
        # Those that could not be read come last, so that they take no other's turn.
        turn = sorted(open_ones, key=lambda upload: handled.get(upload.name) == _told(upload))[:TICK_FILES]
        with inbox.sandbox() as sandbox:
            for upload in turn:
                if time.monotonic() - begun > TICK_S:
                    break
                try:
                    take(upload, sandbox)
                except Exception:
                    # A mistake of ours, not the file's: it stays, and the others have nothing to do with it.
                    context.log.exception(f"{upload.label} was left where it is: it could not be taken.")
                    handled[upload.name] = upload.version
        seen, new = World(utc_now(), [], {}), list[str]()
        if needs:
            seen = read_runs(context.instance, utc_now(), inbox.tickers_per_run)
            new = [ticker for ticker in dict.fromkeys(tickers) if ticker not in seen.states]
            # They are partitions before the runs begin.
            states = {**seen.states, **dict.fromkeys(new, TickerState())}
            seen = replace(seen, order=[*seen.order, *new], states=states)
        plan = planner.plan_needs(seen, needs)
        cursor = json.dumps({"files": handled, "needs": [need.dump() for need in plan.left]}, sort_keys=True)
        return result(context, seen, plan, plan.in_words() or "No new complete file.", cursor, new)

    return csv_inbox
