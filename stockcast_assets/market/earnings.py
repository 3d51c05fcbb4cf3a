"""What is said of earnings reports, and when it was known.

A statement is a row of `earnings_dates`: that a report came (`filed`), will come (`announced`) or is thought to come
(`expected`) on a day, or that none comes, and the day at whose end that was known. Of a day the newest statement holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from stockcast_assets.libraries import pd
from stockcast_assets.tables import EARNINGS_DATES

BEFORE_OPEN, AFTER_CLOSE, UNKNOWN = "before open", "after close", ""
NO_HOUR = "unknown"
"""What `earnings_dates` says of a report without hour."""

HOURS = (BEFORE_OPEN, AFTER_CLOSE, NO_HOUR)

FILED, ANNOUNCED, EXPECTED = "filed", "announced", "expected"


def known(frame: pd.DataFrame, on: date | pd.Timestamp) -> pd.DataFrame:
    """The statements that held at the end of a day, one per ticker and report, by ticker and date.

    Args:
        frame: rows of `earnings_dates`.
        on: the day. What was known later changes nothing.
    """
    seen = frame[frame["known_on"] <= pd.Timestamp(on)].sort_values(["ticker", "date", "known_on"])
    newest = seen.drop_duplicates(["ticker", "date"], keep="last")
    return newest[~newest["cancelled"].astype(bool)].reset_index(drop=True)


SAID = ("ticker", "date", "hour", "kind", "known_on", "source")
"""What a source says of a ticker's reports. `known_on` is null where the source does not say since when it is known."""


def filed(tickers: pd.Series, dates: pd.Series, hours: pd.Series, source: str) -> pd.DataFrame:
    """Reports that came: known at the end of their day if their hour is, else a day later. `SAID`."""
    late = pd.to_timedelta((hours == NO_HOUR).astype(int), unit="D")
    frame = {"ticker": tickers, "date": dates, "hour": hours, "kind": FILED, "known_on": dates + late, "source": source}
    return pd.DataFrame(frame, columns=list(SAID))


def said_by_file(reports: pd.DataFrame, today: date) -> pd.DataFrame:
    """What a file of reports (see `files.reports`) says on a day, `SAID`.

    A report after `today` is announced; one that was known before its day was announced then, and came.
    """
    frame = reports.assign(hour=reports["when"].replace(UNKNOWN, NO_HOUR))
    over = frame["date"] <= pd.Timestamp(today)
    came = filed(frame["ticker"][over], frame["date"][over], frame["hour"][over], "csv")
    early = frame[~over | (frame["known"] < frame["date"])]
    told = pd.DataFrame(
        {
            "ticker": early["ticker"],
            "date": early["date"],
            "hour": early["hour"],
            "kind": ANNOUNCED,
            "known_on": early["known"],
            "source": "csv",
        }
    )
    return pd.concat([told, came], ignore_index=True).sort_values(["ticker", "date"], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Told:
    """A ticker's statements after a source was asked, and what is new in them.

    Attributes:
        rows: all statements, as `earnings_dates`.
        changes: what is new or different, a sentence each; empty where nothing was stored before.
        since: first day whose end would have looked different; None if no day before today would have.
    """

    rows: pd.DataFrame
    changes: tuple[str, ...]
    since: date | None


def told(stored: pd.DataFrame, said: pd.DataFrame, now: pd.Timestamp) -> Told:
    """Put what is said of a ticker's reports now beside what was stored.

    What is said as before keeps its row, bit for bit. A report that is said on another day, or not at all, where it
    was announced, is cancelled from today on: the past keeps what was known in it. What came is a fact: one that
    nobody had announced is known from its day on, and one that is said no more within the days that the source
    covers never was; both are corrections of the past, as those of bars are. A source covers the days from the first
    report that it says on, and all that are still to come.

    Args:
        stored: the ticker's rows of `earnings_dates`.
        said: `SAID`, all that the source has; nothing is taken for no answer.
        now: the moment of the answer, UTC.
    """
    if said.empty:
        return Told(stored, (), None)
    today = pd.Timestamp(now.date())
    before = {day: rows.to_dict("records") for day, rows in stored.groupby("date")}
    rows: list[dict[Any, Any]] = []
    for day, of_day in said.groupby("date"):
        statements = [row for row in before.pop(day, []) if not (row["kind"] == FILED and row["cancelled"])]
        for line in of_day.to_dict("records"):
            statements = _with(statements, line, today, now)
        rows += statements
    first, last = min(said["date"].min(), today + pd.Timedelta(days=1)), said.loc[said["kind"] == FILED, "date"].max()
    for day, statements in before.items():
        newest = max(statements, key=_known_on)
        if day < first or newest["cancelled"]:
            rows += statements
        elif newest["kind"] != FILED:
            rows += _added(statements, {**newest, "cancelled": True, "known_on": today, "recorded_at": now})
        else:
            rows += [
                {**row, "cancelled": row["cancelled"] or (row["kind"] == FILED and day <= last)} for row in statements
            ]
    frame = pd.DataFrame(rows, columns=EARNINGS_DATES.column_names).astype(
        {
            "date": "datetime64[ns]",
            "known_on": "datetime64[ns]",
            "cancelled": bool,
            "recorded_at": "datetime64[ns, UTC]",
        }
    )
    frame = frame.sort_values(list(EARNINGS_DATES.primary_key), ignore_index=True)
    if stored.empty:
        return Told(frame, (), None)
    values = [name for name in EARNINGS_DATES.column_names if name not in ("recorded_at", "source")]
    both = frame[values].merge(stored[values], how="outer", indicator=True)
    new, gone = (both[both["_merge"] == side] for side in ("left_only", "right_only"))
    since = pd.concat([new, gone])["known_on"].min()
    return Told(frame, tuple(map(_sentence, new.itertuples())), since.date() if since < today else None)


def _with(statements: list[dict[Any, Any]], line: dict[Any, Any], today: pd.Timestamp, now: pd.Timestamp) -> Any:
    """The statements of a day with what is said of it now."""
    known_on = line["known_on"]
    if line["kind"] == FILED:
        came = [row for row in statements if row["kind"] == FILED]
        if any(row["hour"] == line["hour"] for row in came):
            return statements
        others = [row for row in statements if row["kind"] != FILED]
        newest = max(others, key=_known_on, default=None)
        if came:
            known_on = min(map(_known_on, came))
        elif newest and not newest["cancelled"] and newest["recorded_at"] < now:
            # It came as announced: nothing of the past was different.
            known_on = max(today, known_on)
        return _added(others, {**line, "known_on": known_on, "cancelled": False, "recorded_at": now})
    ahead = [row for row in statements if row["kind"] != FILED]
    if any(row["kind"] == FILED for row in statements) and pd.isna(known_on):
        return statements
    told_before = [row for row in ahead if pd.isna(known_on) or row["known_on"] == known_on]
    newest = max(told_before, key=_known_on, default=None)
    if newest and (newest["hour"], newest["kind"], newest["cancelled"]) == (line["hour"], line["kind"], False):
        return statements
    since = today if pd.isna(known_on) else known_on
    return _added(statements, {**line, "known_on": since, "cancelled": False, "recorded_at": now})


def _known_on(row: Mapping[Any, Any]) -> pd.Timestamp:
    day: pd.Timestamp = row["known_on"]
    return day


def _added(statements: list[dict[Any, Any]], row: dict[Any, Any]) -> list[dict[Any, Any]]:
    """With a statement, which takes the place of one of the same day of knowledge; what came stays."""
    same = [other for other in statements if other["known_on"] == row["known_on"]]
    if row["kind"] != FILED and any(other["kind"] == FILED for other in same):
        return statements
    return [*(other for other in statements if other["known_on"] != row["known_on"]), row]


def _sentence(row: Any) -> str:
    hour = "" if row.hour == NO_HOUR else f" {row.hour}"
    return f"{row.ticker}: report of {row.date:%Y-%m-%d}{hour} {'cancelled' if row.cancelled else row.kind}"
