"""Telling a person: failed runs and red checks, one sentence each, to where STOCKCAST_ALERTS says.

Whatever should wake somebody is a run or an asset check: stale tickers, gaps, drift, lost coverage, damaged models.
So the sensor looks at these two, and at ticks that failed, since no run begins then. A subject is told once, and again
every `AGAIN` while it lasts; what was told is in the sensor's cursor, which Dagster keeps over restarts.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.dagster_private.reads import check_summaries
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import parse_key
from stockcast_assets.libraries import pd
from stockcast_assets.masking import redact, remember, secrets_of_notification
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.failures import root_cause, why_failed
from stockcast_assets.orchestration.fence import understood

AGAIN = timedelta(hours=24)
"""How long a subject that was told is left alone."""

MOST_AT_ONCE = 20
"""Sentences in one message; of the others it says how many."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """What is wrong: the subject by which it is told once, and the sentence."""

    subject: str
    words: str


@dataclass
class AlertHistory:
    """The sensor's memory: when each subject was told last, and up to which moment failed runs were looked at."""

    since: pd.Timestamp
    subjects: dict[str, pd.Timestamp] = field(default_factory=dict)

    @classmethod
    def load(cls, cursor: str) -> AlertHistory:
        stored = json.loads(cursor)
        subjects = {subject: pd.Timestamp(moment) for subject, moment in stored["subjects"].items()}
        history = cls(pd.Timestamp(stored["since"]), subjects)
        if any(moment.tzinfo is None for moment in (history.since, *subjects.values())):
            raise ValueError("a moment without a time zone")
        return history

    def dump(self) -> str:
        subjects = {subject: moment.isoformat() for subject, moment in self.subjects.items()}
        return json.dumps({"since": self.since.isoformat(), "subjects": subjects}, sort_keys=True)

    def news(self, problems: Iterable[Problem], now: pd.Timestamp) -> list[Problem]:
        """The problems to tell now: those not told yet, and those told long ago; each subject once."""
        found = {problem.subject: problem for problem in problems}
        return [
            problem
            for subject, problem in found.items()
            if subject not in self.subjects or now - self.subjects[subject] >= AGAIN
        ]

    def forget(self, red_checks: Iterable[str], now: pd.Timestamp) -> None:
        """Forget checks that are green again, at once, and runs after a while, so that a new failure is told."""
        red = set(red_checks)
        self.subjects = {
            subject: moment
            for subject, moment in self.subjects.items()
            if subject in red or (not subject.startswith("check ") and now - moment < AGAIN)
        }


def send(problems: Sequence[Problem], urls: Sequence[str]) -> None:
    """Send the sentences to every URL, as one message; to the log if there is no URL.

    Raises:
        StockcastError: if a URL is none of Apprise's, or the message did not get there. Credentials are masked.
    """
    shown = [redact(problem.words) for problem in problems[:MOST_AT_ONCE]]
    if len(problems) > MOST_AT_ONCE:
        shown.append(f"And {len(problems) - MOST_AT_ONCE} more: see the Dagster UI.")
    if not urls:
        for words in shown:
            _log.warning("alert: %s", words)
        return
    # What the library logs of a failed request may hold the address with its secrets.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    import apprise

    remember(secret for url in urls for secret in secrets_of_notification(url))
    refused = []
    for position, url in enumerate(urls, 1):
        target = apprise.Apprise.instantiate(url)
        if target is None:
            raise StockcastError(
                f"STOCKCAST_ALERTS: entry {position}{_scheme(url)} is no Apprise URL; write it like "
                "slack://…, mailto://… or json://host/path."
            )
        if not target.notify(title=f"stockcast: {len(problems)} to look at", body="\n".join(shown)):
            refused.append(_place(target.url(privacy=True)))
    if refused:
        raise StockcastError(f"STOCKCAST_ALERTS: the message did not reach {', '.join(refused)}; it is tried again.")


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return f" ({scheme}://…)" if separator and scheme.isalnum() else ""


def _place(url: str) -> str:
    """A URL that Apprise has masked, up to its host: in paths and parameters it leaves tokens of one's own."""
    scheme, _, rest = url.partition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    return redact(f"{scheme}://{host}")


def failed_runs(instance: dg.DagsterInstance, since: pd.Timestamp) -> list[Problem]:
    """The runs that failed since a moment. A late ticker is a subject of its own, whichever run it stopped."""
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since.to_pydatetime())
    problems = []
    for record in instance.get_run_records(filters, limit=200, ascending=True):
        run = record.dagster_run
        start, end = (run.tags.get(tag, "") for tag in (tags.RANGE_START, tags.RANGE_END))
        keys = start if start == end else f"{start} to {end}"
        if run.tags.get(tags.LATE):
            key = understood(parse_key, start, f"The key of the run {run.run_id[:8]}")
            day = "its past" if key is None or key.day is None else key.day
            problems += [
                Problem(f"late {ticker}", f"{ticker} is late at the source for {day} (run {run.run_id[:8]}).")
                for ticker in run.tags[tags.LATE].split(",")
            ]
            continue
        problems.append(
            Problem(
                f"run {run.job_name} {keys}",
                f"The run {run.run_id[:8]} of {run.job_name} ({keys or 'no keys'}) failed: "
                f"{why_failed(instance, run.run_id).words}",
            )
        )
    return problems


def failed_ticks(instance: dg.DagsterInstance, since: pd.Timestamp) -> list[Problem]:
    """The schedules and sensors with a tick that failed since a moment: nothing begins a run in their place."""
    problems = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since.timestamp(), limit=20)
        for tick in ticks:
            if tick.is_failure:
                reason = root_cause(tick.error).words if tick.error else "its log says more."
                what = state.instigator_type.value.lower()
                words = f"A tick of the {what} {state.instigator_name} failed: {reason}"
                problems.append(Problem(f"tick {what} {state.instigator_name}", words))
                break
    return problems


def red_checks(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> list[Problem]:
    """The checks whose newest evaluation failed."""
    problems = []
    for key, summary in check_summaries(instance, checks).items():
        record = summary.last_completed_check_execution_record
        event = record.event.dagster_event if record is not None and record.event is not None else None
        if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            name = f"{key.asset_key.to_user_string()}, {key.name}"
            problems.append(Problem(f"check {name}", f"Check {name}: {evaluation.description or 'failed'}"))
    return problems


def build_alerts(
    urls: Sequence[str], checks: Sequence[dg.AssetCheckKey], status: dg.DefaultSensorStatus
) -> dg.SensorDefinition:
    """The sensor. A message that did not get through is sent again by the next tick."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Tells failed runs, failed ticks and red checks, each subject once a day, to STOCKCAST_ALERTS or the log."
        ),
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = utc_now()
        # A sensor that never ran tells nothing of the past.
        history = understood(AlertHistory.load, context.cursor, "The cursor", context.log.warning) or AlertHistory(now)
        red = red_checks(context.instance, checks)
        history.forget([problem.subject for problem in red], now)
        ticks = failed_ticks(context.instance, history.since)
        news = history.news([*red, *ticks, *failed_runs(context.instance, history.since)], now)
        if news:
            try:
                send(news, urls)
            except StockcastError as error:
                context.log.error(str(error))
                return dg.SensorResult(skip_reason=str(error), cursor=history.dump())
            history.subjects |= {problem.subject: now for problem in news}
        history.since = now
        words = " ".join(problem.words for problem in news[:MOST_AT_ONCE]) or "Nothing new to tell."
        return dg.SensorResult(skip_reason=words, cursor=history.dump())

    return alerts
