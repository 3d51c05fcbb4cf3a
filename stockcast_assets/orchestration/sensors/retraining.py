"""When a model is trained again within its month: a pure decision with its reason, and the sensor that acts on it.

What lasting drift, lost coverage and lost skill are is in `asset_checks/thresholds.py`. The other reasons:

- Age: a model older than STOCKCAST_MODEL_MAX_AGE_DAYS may not serve (see `tracking/serving.py`).
- Corporate action: a split or correction rewrote bars that the model was trained on, as the revisions on record say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import dagster as dg

from stockcast_assets.clock import utc_now
from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market import calendars
from stockcast_assets.methods import OF_NETWORK
from stockcast_assets.orchestration.asset_checks.thresholds import (
    lasting_drift,
    lost_coverage,
    lost_skill,
    recent_drift,
    recent_errors,
)
from stockcast_assets.orchestration.assets.bars import stored_models
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.orchestration.jobs import Jobs
from stockcast_assets.orchestration.planning import planner
from stockcast_assets.orchestration.planning.launch import RETRAINING, Launch, Reason
from stockcast_assets.orchestration.planning.world import Universe, read_runs
from stockcast_assets.orchestration.sensors.revisions import revisions
from stockcast_assets.orchestration.sensors.ticks import result
from stockcast_assets.tables import FORECAST_ACCURACY, TRAINED_MODEL
from stockcast_assets.warehouse import Warehouse

COOL_DOWN = 10
"""Sessions between two trainings of a ticker, whatever their reason."""


@dataclass(frozen=True)
class Signals:
    """What is known of one ticker's model at the end of a session.

    Attributes:
        known_until: the newest session.
        trained_to: last session known to the newest model; None if there is none.
        sessions_since: sessions of the ticker's calendar after it.
        drifted: by kind, for each of the last `WINDOW` reports, oldest first, whether any feature of it drifted.
        errors: the scores by horizon of the last `SCORED` target sessions.
        revised: kinds of revisions of bars up to `trained_to`, found since the model was trained.
        lstm: whether the model in use is a network: a naive method learns nothing from training.
        max_age_days: STOCKCAST_MODEL_MAX_AGE_DAYS.
    """

    known_until: date
    trained_to: date | None
    sessions_since: int
    drifted: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    errors: pd.DataFrame | None = None
    revised: tuple[str, ...] = ()
    lstm: bool = True
    max_age_days: int = 92


def reason_to_retrain(signals: Signals) -> str | None:
    """Why the model should be trained again now, in words; None if it should not."""
    if signals.trained_to is None or signals.sessions_since < COOL_DOWN:
        return None
    if signals.revised:
        kinds = " and ".join(sorted(set(signals.revised)))
        return f"the source has revised bars that the model was trained on ({kinds})"
    age = (signals.known_until - signals.trained_to).days
    if age > signals.max_age_days:
        return f"the newest model knows nothing after {signals.trained_to}, {age} days ago"
    if not signals.lstm:
        return None
    return lasting_drift(signals.drifted) or lost_coverage(signals.errors) or lost_skill(signals.errors)


def read_signals(
    warehouse: Warehouse, instance: dg.DagsterInstance, tickers: Mapping[str, date], max_age_days: int
) -> dict[str, Signals]:
    """The signals of each ticker at the end of its session given, with one read per table."""
    if not tickers:
        return {}
    models = stored_models(warehouse, list(tickers), max(tickers.values()))
    drifted, errors = recent_drift(warehouse, tickers), recent_errors(warehouse, tickers)
    revised = revisions(instance)
    found = {}
    for ticker, until in tickers.items():
        own = models[models["ticker"] == ticker].sort_values(["date", "trained_to"])
        newest = None if own.empty else own.iloc[-1]
        trained_to = None if newest is None else newest["trained_to"].date()
        calendar = calendars.calendar_for(ticker)
        since = 0 if trained_to is None else max(len(calendars.sessions(calendar, trained_to, until)) - 1, 0)
        found[ticker] = Signals(
            until,
            trained_to,
            since,
            drifted[ticker],
            errors[ticker],
            _revised_since(revised, ticker, trained_to),
            newest is not None and newest["method"] in OF_NETWORK,
            max_age_days,
        )
    return found


def _revised_since(revised: pd.DataFrame, ticker: str, trained_to: date | None) -> tuple[str, ...]:
    """Kinds of revisions found after the last session the model knew, of bars it was trained on.

    A dividend belongs to total returns whenever it is known, and a bar that is missing now taught nothing wrong.
    """
    if trained_to is None or revised.empty:
        return ()
    after = revised["found_at"] > pd.Timestamp(trained_to, tz="UTC") + pd.Timedelta(days=1)
    own = revised[(revised["ticker"] == ticker) & after & revised["kind"].isin(["split", "correction"])]
    return tuple(own.loc[pd.to_datetime(own["date"]) <= pd.Timestamp(trained_to), "kind"])


def build_retraining(
    jobs: Jobs, universe: Universe, max_age_days: int, status: dg.DefaultSensorStatus
) -> dg.SensorDefinition:
    """The sensor. Its cursor is the newest due day and who was looked at: a day gives one decision per ticker.

    What was decided is a need for the planner, which launches it, and again if it fails.
    """

    @dg.sensor(
        name="retraining",
        jobs=[jobs.monthly_training],
        minimum_interval_seconds=3600,
        default_status=status,
        description="Once a day: trains a ticker's model again if drift, skill, coverage, age or revised bars say so.",
    )
    def retraining(context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.SensorResult:
        now = utc_now()
        days = universe.days(now)
        if not days:
            return dg.SensorResult(skip_reason="No day is over yet.")
        stored = understood(_Cursor.load, context.cursor, "The cursor", context.log.warning) or _Cursor("")
        seen = read_runs(context.instance, now, universe.tickers_per_run)
        looked_at = stored.looked_at if stored.day == days[-1].isoformat() else frozenset()
        scored = context.instance.get_materialized_partitions(dg.AssetKey(FORECAST_ACCURACY.name))
        watched: dict[str, date] = {}
        for ticker, state in seen.states.items():
            session = calendars.previous_session(calendars.calendar_for(ticker), days[-1]).date()
            # A day that is late or still running is looked at by a later tick.
            if ticker not in looked_at and state.state == "active" and partition_key(ticker, session) in scored:
                watched[ticker] = session
        # After its month a model would serve no day.
        needs, skipped = [need for need in stored.needs if need.first == month_of(days[-1])], []
        for ticker, signals in read_signals(warehouse, context.instance, watched, max_age_days).items():
            why = reason_to_retrain(signals)
            if why is None:
                continue
            need = _need(ticker, signals.known_until, why)
            if planner.is_under_way(seen, need) or not _may_be_used(signals.known_until):
                skipped.append(f"{ticker}: {why}; a training is under way or the month's last day is reached.")
            else:
                needs.append(need)
        plan = planner.plan_needs(seen, needs)
        cursor = _Cursor(days[-1].isoformat(), looked_at | set(watched), tuple(plan.left)).dump()
        words = " ".join([*skipped, plan.in_words()]).strip() or "No model needs to be trained again."
        return result(context, seen, plan, words, cursor)

    return retraining


@dataclass(frozen=True)
class _Cursor:
    """The newest due day, the tickers that have their decision of it, and the trainings that are not done yet."""

    day: str
    looked_at: frozenset[str] = frozenset()
    needs: tuple[Launch, ...] = ()

    @classmethod
    def load(cls, cursor: str) -> _Cursor:
        stored = json.loads(cursor)
        return cls(stored["day"], frozenset(stored["looked_at"]), tuple(map(Launch.load, stored.get("needs", ()))))

    def dump(self) -> str:
        needs = [need.dump() for need in self.needs]
        return json.dumps({"day": self.day, "looked_at": sorted(self.looked_at), "needs": needs})


def _may_be_used(known_until: date) -> bool:
    """Whether a day of the month is left that a model known until then could serve; else the month's own comes next."""
    return known_until < (pd.Timestamp(known_until) + pd.offsets.MonthEnd(0)).date()


def _need(ticker: str, known_until: date, why: str) -> Launch:
    month, until = month_of(known_until), known_until.isoformat()
    reason = Reason(RETRAINING, f"{until}: {why}", (("known_until", until), ("trigger", why)))
    return Launch((TRAINED_MODEL.name,), (ticker,), month, month, reason)
