"""Drift of a ticker: its recent sessions against what they are to be like, for each kind of `series`.

- Inputs and predictions against the window the month's model was trained on, less its last sessions: as many as the
  recent window has, so that no session is compared with itself, whatever the day of the month. Both windows of the
  predictions are the same model's, so neither a new model nor how long forecasts have been stored shows as drift.
- Residuals against what the published forecasts promised of the very same sessions: uniform outcomes. They need no
  earlier forecasts to compare with, only enough that are scored; and a model is not judged on what it was trained on.

The distance is Evidently's `wasserstein` (first Wasserstein distance over the reference's standard deviation). It is
computed here from SciPy's: Evidently takes longer to import than a run of one day takes otherwise, and only its page
(`evidently_page`) needs it. A test compares the scores with those of Evidently's report.

The threshold of inputs and predictions is calibrated on the reference itself: the 99th percentile of the distances
between each block of as many sessions and the rest of the reference. Daily features are autocorrelated, so tests that
assume independent draws are useless here. Measured on AAPL, GOOG, IBM and MSFT, 2003-2013, every fifth
session, share of days with at least one of the five inputs "drifted": Kolmogorov-Smirnov p < .05 99 %,
p < .001 92 %; normed Wasserstein > 0.1 (Evidently's default) 100 %, > 0.3 99 %; calibrated 95th percentile
14 %, 99th percentile 5.4 % (22 % in 2008, none in 2010 and 2011).

The threshold of residuals is the 99th percentile of as many independent uniform draws, which is what right forecasts
give. `bench/drift.py` measures all three; docs/drift.md has the figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.monitoring.series import FEATURES, INPUTS, KIND_OF, PREDICTIONS, RESIDUALS
from stockcast_assets.tables import DRIFT_REPORT

METHOD = "wasserstein"
CURRENT_SESSIONS = 60
LEAST_CURRENT = CURRENT_SESSIONS // 2
"""Values of a feature that the current window needs at least."""

LEAST_REFERENCE = 2 * CURRENT_SESSIONS
"""Values of a feature that the reference window needs at least."""

LEAST_TRAINED = LEAST_REFERENCE + CURRENT_SESSIONS
"""Sessions that the training window needs at least."""

FALSE_ALARM_QUANTILE = 0.99
# Evidently's own default for this distance. A lower threshold would only come from a constant series.
LEAST_THRESHOLD = 0.1
# Evidently's floor for the norm: keeps a constant reference from dividing by zero.
LEAST_NORM = 0.001
HISTOGRAM_BINS = 30
PROBABILITY_BINS = 10
_SIMULATIONS = 20_000


@dataclass(frozen=True)
class DriftResult:
    """One ticker's drift on one day.

    Attributes:
        ticker: ticker symbol.
        day: last session of the current window.
        rows: one row per compared feature, columns of `drift_report` without `report_uri`.
        too_few: why a kind has no row, in words, by kind.
        json: the same with sample sizes, moments and histograms of both windows; the same input gives the
            same text.
    """

    ticker: str
    day: date
    rows: pd.DataFrame
    too_few: Mapping[str, str]
    json: str

    @property
    def drifted(self) -> bool:
        """Whether any feature drifted."""
        return bool(self.rows["drifted"].any())


def calibrated_threshold(reference: Floats, sessions: int) -> float:
    """The distance that a window of `sessions` stays below 99 % of the time while nothing changes.

    Args:
        reference: one feature in time order, without NaN, longer than `sessions`.
        sessions: length of the current window.

    Returns:
        99th percentile over blocks of `sessions` (starting every third of a block) of the normed Wasserstein
        distance between the block and the rest of the reference; at least `LEAST_THRESHOLD`.
    """
    # The days of a month share their reference, so its thresholds are found once.
    return _calibrated(reference.tobytes(), sessions)


@lru_cache(maxsize=512)
def _calibrated(reference_bytes: bytes, sessions: int) -> float:
    reference = np.frombuffer(reference_bytes)
    n = len(reference)
    order = np.argsort(reference, kind="stable")
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    starts = range(0, n - sessions + 1, max(1, sessions // 3))
    member = np.zeros((len(starts), n))
    for row, start in zip(member, starts, strict=True):
        row[rank[start : start + sessions]] = 1.0
    # W1 of two samples is the area between their distribution functions; both live on the same sorted grid.
    inside = np.cumsum(member, axis=1)
    rest = (np.arange(1.0, n + 1) - inside) / (n - sessions)
    area = np.abs(inside / sessions - rest)[:, :-1] * np.diff(reference[order])
    distances = area.sum(axis=1) / max(float(np.std(reference)), LEAST_NORM)
    return max(float(np.quantile(distances, FALSE_ALARM_QUANTILE)), LEAST_THRESHOLD)


def promised_threshold(sessions: int) -> float:
    """The distance from uniform that `sessions` independent uniform outcomes stay below 99 % of the time."""
    return _promised_threshold(sessions)


@lru_cache(maxsize=CURRENT_SESSIONS)
def _promised_threshold(sessions: int) -> float:
    draws = np.sort(np.random.default_rng(0).random((_SIMULATIONS, sessions)), axis=1)
    # W1 is the area between the quantile functions: a step per draw, and the diagonal.
    step = np.arange(sessions) / sessions
    above, below = step + 1 / sessions - draws, step - draws
    area = ((above * np.abs(above) - below * np.abs(below)) / 2).sum(axis=1)
    # Over the standard deviation of a uniform outcome, as Evidently divides.
    return float(np.quantile(area * np.sqrt(12), FALSE_ALARM_QUANTILE))


def compared_windows(
    series: pd.DataFrame, reference_from: date, reference_to: date, current_from: date, current_to: date
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The reference and the current window of every feature.

    Args:
        series: `date` and any columns of `series.FEATURES`, one row per session in time order.
        reference_from: first session of the reference.
        reference_to: its last.
        current_from: first of the recent sessions.
        current_to: the last of them.

    Returns:
        Two frames like `series`. What is to be expected of residuals does not lie in another window: their reference
        is evenly spread from 0 to 1.
    """
    reference = _between(series, reference_from, reference_to)
    promised = (np.arange(len(reference)) + 0.5) / max(len(reference), 1)
    expected = {feature: promised for feature in FEATURES[RESIDUALS] if feature in series}
    return reference.assign(**expected), _between(series, current_from, current_to)


def _between(series: pd.DataFrame, first: date, last: date) -> pd.DataFrame:
    dates = series["date"]
    return series.iloc[dates.searchsorted(pd.Timestamp(first)) : dates.searchsorted(pd.Timestamp(last), side="right")]


def drift_report(
    ticker: str,
    day: date,
    series: pd.DataFrame,
    trained_from: date,
    trained_to: date,
    model_version: str | None = None,
) -> DriftResult:
    """Compare the last `CURRENT_SESSIONS` up to `day` with what they are to be like.

    Args:
        ticker: ticker symbol, for the rows and the messages.
        day: a session of the frame; later rows are ignored.
        series: `date` and any columns of `series.FEATURES`, one row per session in time order, NaN where there is
            no value.
        trained_from: first date of the training window of the month's model.
        trained_to: its last date, not after `day`. The reference ends `CURRENT_SESSIONS` sessions before it.
        model_version: the model that made the predictions, for the record.

    Raises:
        StockcastError: `day` has no bar, the training ends after `day`, a window is too short, or no feature
            has values in both windows. A feature without values in one of them is left out and named in the
            JSON.
    """
    where = f"Drift of {ticker} on {day}"
    if trained_to > day:
        raise StockcastError(f"{where}: the training ends later, on {trained_to}; use data up to the day.")
    known = series.iloc[: series["date"].searchsorted(pd.Timestamp(day), side="right")]
    if known.empty or known["date"].iloc[-1] != pd.Timestamp(day):
        raise StockcastError(f"{where}: there is no bar for that day; materialise raw_prices for it first.")
    recent_from = known["date"].iloc[-CURRENT_SESSIONS:].iloc[0].date()
    trained = _between(known, trained_from, trained_to)
    recent = _between(known, recent_from, day)
    for name, window, least in (("current", recent, CURRENT_SESSIONS), ("training", trained, LEAST_TRAINED)):
        if len(window) < least:
            raise StockcastError(
                f"{where}: the {name} window has {len(window)} sessions and needs {least}; "
                "ingest an earlier history or choose a later day."
            )
    reference_to = trained["date"].iloc[-CURRENT_SESSIONS - 1].date()
    reference, current = compared_windows(known, trained_from, reference_to, recent_from, day)

    samples = {
        feature: (_values(reference[feature]), _values(current[feature])) for feature in KIND_OF if feature in known
    }
    compared = [
        feature
        for feature, (past, now) in samples.items()
        if len(past) >= LEAST_REFERENCE and len(now) >= LEAST_CURRENT
    ]
    if not compared:
        raise StockcastError(f"{where}: no feature has values in both windows; check the ticker's prices.")

    thresholds = {
        feature: promised_threshold(len(samples[feature][1]))
        if KIND_OF[feature] == RESIDUALS
        else calibrated_threshold(samples[feature][0], CURRENT_SESSIONS)
        for feature in compared
    }
    scores = {feature: _distance(*samples[feature]) for feature in compared}
    bounds = {
        f"{name}_{end}": window["date"].iloc[position]
        for name, window in (("reference", reference), ("current", current))
        for end, position in (("from", 0), ("to", -1))
    }
    # The forecasts that the residuals are measured against are those of the recent sessions themselves.
    bounds_of = {RESIDUALS: bounds | {f"reference_{end}": bounds[f"current_{end}"] for end in ("from", "to")}}
    columns = [name for name in DRIFT_REPORT.column_names if name != "report_uri"]
    records = [
        {
            "ticker": ticker,
            "date": pd.Timestamp(day),
            "feature": feature,
            "method": METHOD,
            "score": scores[feature],
            "threshold": thresholds[feature],
            "drifted": scores[feature] >= thresholds[feature],
            **bounds_of.get(KIND_OF[feature], bounds),
            "kind": KIND_OF[feature],
        }
        for feature in compared
    ]
    rows = pd.DataFrame(records, columns=columns)
    too_few = _too_few(compared, samples)
    text = _json(ticker, day, records, reference["date"], current["date"], samples, too_few, model_version)
    return DriftResult(ticker, day, rows, too_few, text)


def _values(column: pd.Series) -> Floats:
    values = column.to_numpy(np.float64)
    found: Floats = values[~np.isnan(values)]
    return found


def _too_few(compared: list[str], samples: Mapping[str, tuple[Floats, Floats]]) -> dict[str, str]:
    """Why a kind is not compared at all, in words."""
    there = {KIND_OF[feature] for feature in compared}
    past, now = (
        {kind: max(len(samples[f][window]) if f in samples else 0 for f in of) for kind, of in FEATURES.items()}
        for window in (0, 1)
    )
    needed = f"of the last {CURRENT_SESSIONS} sessions, and {LEAST_CURRENT} are needed"
    words = {
        INPUTS: f"the inputs have values for {past[INPUTS]} sessions of the reference, and {LEAST_REFERENCE} are "
        f"needed, and for {now[INPUTS]} {needed}",
        PREDICTIONS: f"the model can be asked about {past[PREDICTIONS]} sessions of the reference, and "
        f"{LEAST_REFERENCE} are needed, and about {now[PREDICTIONS]} {needed}",
        RESIDUALS: f"there is a scored forecast for {now[RESIDUALS]} {needed}",
    }
    return {kind: sentence for kind, sentence in words.items() if kind not in there}


def _distance(reference: Floats, current: Floats) -> float:
    # Half a second that only runs of this asset have to pay.
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(reference, current)) / max(float(np.std(reference)), LEAST_NORM)


def _json(
    ticker: str,
    day: date,
    records: Sequence[Mapping[str, Any]],
    reference: pd.Series,
    current: pd.Series,
    samples: Mapping[str, tuple[Floats, Floats]],
    too_few: Mapping[str, str],
    model_version: str | None,
) -> str:
    def window(dates: pd.Series) -> dict[str, Any]:
        return {"from": f"{dates.iloc[0]:%Y-%m-%d}", "to": f"{dates.iloc[-1]:%Y-%m-%d}", "sessions": len(dates)}

    told = ("kind", "feature", "method", "score", "threshold", "drifted")
    features = [
        {name: record[name] for name in told} | _distributions(record["kind"], *samples[record["feature"]])
        for record in records
    ]
    record = {
        "ticker": ticker,
        "date": day.isoformat(),
        "drifted": any(record["drifted"] for record in records),
        "reference": window(reference),
        "current": window(current),
        "features": features,
        "not_compared": sorted(set(KIND_OF) - {record["feature"] for record in records}),
        "too_few": too_few,
        "model_version": model_version,
    }
    return json.dumps(record, sort_keys=True, allow_nan=False, separators=(",", ":")) + "\n"


def _distributions(kind: str, reference: Floats, current: Floats) -> dict[str, Any]:
    samples = {"reference": reference, "current": current}
    edges = (
        np.linspace(0, 1, PROBABILITY_BINS + 1)
        if kind == RESIDUALS
        else np.histogram_bin_edges(np.concatenate(list(samples.values())), HISTOGRAM_BINS)
    )
    described: dict[str, Any] = {
        name: {
            "n": len(values),
            "mean": float(f"{values.mean():.9g}"),
            "std": float(f"{values.std():.9g}"),
            "histogram": np.histogram(values, edges)[0].tolist(),
        }
        for name, values in samples.items()
    }
    return {"edges": [float(f"{edge:.6g}") for edge in edges], **described}
