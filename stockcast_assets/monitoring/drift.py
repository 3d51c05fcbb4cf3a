"""Data drift of a ticker: its recent sessions against the window its model was trained on.

Only scale-free series are compared (returns, ranges, ratios, oscillators): price levels always drift.

The distance is Evidently's `wasserstein` (first Wasserstein distance over the reference's standard deviation)
and the threshold is calibrated on the reference itself: the 99th percentile of the distances between each
block of as many sessions and the rest of the reference. Daily features are autocorrelated, so tests that
assume independent draws are useless here. Measured on AAPL, GOOG, IBM and MSFT, 2003-2013, every fifth
session, share of days with at least one of the five features "drifted": Kolmogorov-Smirnov p < .05 99 %,
p < .001 92 %; normed Wasserstein > 0.1 (Evidently's default) 100 %, > 0.3 99 %; calibrated 95th percentile
14 %, 99th percentile 5.4 % (22 % in 2008, none in 2010 and 2011).
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stockcast_assets.errors import StockcastError
from stockcast_assets.market import indicators
from stockcast_assets.tables import DRIFT_REPORT

Floats = NDArray[np.float64]

FEATURES = ("log_return", "log_range", "volume_ratio", "rsi_14", "macd_hist_ratio")
METHOD = "wasserstein"
CURRENT_SESSIONS = 60
FALSE_ALARM_QUANTILE = 0.99
# Evidently's own default for this distance. A lower threshold would only come from a constant series.
LEAST_THRESHOLD = 0.1
# Evidently's floor for the norm: keeps a constant reference from dividing by zero.
LEAST_NORM = 0.001
HISTOGRAM_BINS = 30


@dataclass(frozen=True)
class DriftResult:
    """One ticker's drift on one day.

    Attributes:
        ticker: ticker symbol.
        day: last session of the current window.
        rows: one row per compared feature, columns of `drift_report` without `report_uri`.
        json: the same with sample sizes, moments and histograms of both windows; the same input gives the
            same text.
        html: builds Evidently's full report when called (about 4 MB, and a second of work).
    """

    ticker: str
    day: date
    rows: pd.DataFrame
    json: str
    html: Callable[[], str] = field(repr=False, compare=False)

    @property
    def drifted(self) -> bool:
        """Whether any feature drifted."""
        return bool(self.rows["drifted"].any())


def drift_features(bars: pd.DataFrame) -> pd.DataFrame:
    """The compared series of one ticker.

    Args:
        bars: `raw_prices` columns of one ticker from its first stored bar, sorted by date.

    Returns:
        `date` and `FEATURES`, one row per bar, NaN while warming up or undefined (no volume, say):
        `log_return` of the dividend-adjusted close; `log_range` log(high / low); `volume_ratio` log of volume
        over its 20-session mean; `rsi_14`; `macd_hist_ratio` MACD histogram over the adjusted close.
        A row depends on its own and earlier bars only.
    """
    close = bars["adj_close"].to_numpy(np.float64)
    high, low = bars["high"].to_numpy(np.float64), bars["low"].to_numpy(np.float64)
    volume = bars["volume"].to_numpy(np.float64)
    *_, histogram = indicators.macd(close)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_ratio = np.log(volume / indicators.sma(volume, 20))
    columns = (
        indicators.log_returns(close),
        np.log(high / low),
        np.where(np.isfinite(volume_ratio), volume_ratio, np.nan),
        indicators.rsi(close),
        histogram / close,
    )
    return pd.DataFrame({"date": bars["date"].to_numpy(), **dict(zip(FEATURES, columns, strict=True))})


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


def drift_report(
    ticker: str,
    day: date,
    features: pd.DataFrame,
    reference_from: date,
    reference_to: date,
    current_sessions: int = CURRENT_SESSIONS,
) -> DriftResult:
    """Compare the last `current_sessions` up to `day` with the reference window.

    Args:
        ticker: ticker symbol, for the rows and the messages.
        day: a session of the frame; later rows are ignored.
        features: result of `drift_features`.
        reference_from: first date of the reference (the training window of the month's model).
        reference_to: its last date, not after `day`.
        current_sessions: length of the current window.

    Raises:
        StockcastError: `day` has no bar, the reference ends after `day`, a window is too short, or no feature
            has values in both windows. A feature without values in one of them is left out and named in the
            JSON.
    """
    where = f"Drift of {ticker} on {day}"
    if reference_to > day:
        raise StockcastError(f"{where}: the reference ends later, on {reference_to}; use data up to the day.")
    known = features[features["date"] <= pd.Timestamp(day)]
    if known.empty or known["date"].iloc[-1] != pd.Timestamp(day):
        raise StockcastError(f"{where}: there is no bar for that day; materialise raw_prices for it first.")
    reference = known[known["date"].between(pd.Timestamp(reference_from), pd.Timestamp(reference_to))]
    current = known.tail(current_sessions)
    for name, window, least in (
        ("current", current, current_sessions),
        ("reference", reference, 2 * current_sessions),
    ):
        if len(window) < least:
            raise StockcastError(
                f"{where}: the {name} window has {len(window)} sessions and needs {least}; "
                "ingest an earlier history or choose a later day."
            )

    compared = [
        feature
        for feature in FEATURES
        if reference[feature].count() >= 2 * current_sessions and current[feature].count() >= current_sessions // 2
    ]
    if not compared:
        raise StockcastError(f"{where}: no feature has values in both windows; check the ticker's prices.")

    thresholds = {
        feature: calibrated_threshold(reference[feature].dropna().to_numpy(), current_sessions) for feature in compared
    }
    scores = {feature: _distance(reference[feature], current[feature]) for feature in compared}
    bounds = {
        f"{name}_{end}": window["date"].iloc[position]
        for name, window in (("reference", reference), ("current", current))
        for end, position in (("from", 0), ("to", -1))
    }
    columns = [name for name in DRIFT_REPORT.column_names if name != "report_uri"]
    rows = pd.DataFrame(
        {
            "ticker": ticker,
            "date": pd.Timestamp(day),
            "feature": compared,
            "method": METHOD,
            "score": [scores[feature] for feature in compared],
            "threshold": [thresholds[feature] for feature in compared],
            "drifted": [scores[feature] >= thresholds[feature] for feature in compared],
            **bounds,
        }
    )[columns]
    text = _json(ticker, day, rows, reference, current)
    return DriftResult(ticker, day, rows, text, lambda: html_report(reference, current, thresholds))


def html_report(reference: pd.DataFrame, current: pd.DataFrame, thresholds: dict[str, float]) -> str:
    """Evidently's report of the two windows as one self-contained page, about 4 MB.

    Args:
        reference: `drift_features` rows of the reference window.
        current: those of the current window.
        thresholds: distance from which a feature counts as drifted; its keys are the features shown.
    """
    # Evidently asks for consent by environment variable, and reads it on import.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = list(thresholds)
    definition = DataDefinition(numerical_columns=columns)
    report = Report(
        [
            DataDriftPreset(
                columns=columns,
                per_column_method=dict.fromkeys(columns, METHOD),
                per_column_threshold=thresholds,
            )
        ]
    )
    snapshot = report.run(
        Dataset.from_pandas(current[columns].reset_index(drop=True), definition),
        Dataset.from_pandas(reference[columns].reset_index(drop=True), definition),
    )
    return snapshot.get_html_str(as_iframe=False)


def _distance(reference: pd.Series, current: pd.Series) -> float:
    # Evidently's report takes 0.1 s a feature, nearly all of it for drawing. Its registered test gives the
    # same score alone in a millisecond, so every day is scored and only the pages that are kept are drawn.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently.legacy.calculations.stattests import wasserstein_stat_test
    from evidently.legacy.core import ColumnType

    result = wasserstein_stat_test(reference.dropna(), current.dropna(), ColumnType.Numerical, None)
    return float(result.drift_score)


def _json(ticker: str, day: date, rows: pd.DataFrame, reference: pd.DataFrame, current: pd.DataFrame) -> str:
    def window(frame: pd.DataFrame) -> dict[str, Any]:
        first, last = frame["date"].iloc[0], frame["date"].iloc[-1]
        return {"from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}", "sessions": len(frame)}

    features = [
        {
            **row,
            **_distributions(reference[row["feature"]], current[row["feature"]]),
        }
        for row in rows[["feature", "method", "score", "threshold", "drifted"]].to_dict("records")
    ]
    record = {
        "ticker": ticker,
        "date": day.isoformat(),
        "drifted": bool(rows["drifted"].any()),
        "reference": window(reference),
        "current": window(current),
        "features": features,
        "not_compared": sorted(set(FEATURES) - set(rows["feature"])),
    }
    return json.dumps(record, sort_keys=True, allow_nan=False, separators=(",", ":")) + "\n"


def _distributions(reference: pd.Series, current: pd.Series) -> dict[str, Any]:
    samples = {"reference": reference.dropna().to_numpy(), "current": current.dropna().to_numpy()}
    edges = np.histogram_bin_edges(np.concatenate(list(samples.values())), HISTOGRAM_BINS)
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
