"""The numbers on the pages: plain functions of frames, no Streamlit."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockcast_assets.forecasting.evaluation.scores import ratio_interval
from stockcast_assets.tables import HORIZON, QUANTILE_COLUMNS, RSI, VOLATILITY

SESSIONS_PER_YEAR = {True: 365, False: 252}
# Fewer scored sessions than this and a bootstrap over 20-session blocks says nothing.
LEAST_SESSIONS = 40


@dataclass(frozen=True)
class Skill:
    """How published forecasts did against the random walk, over all horizons.

    Attributes:
        value: 1 - RMSE / RMSE of the random walk, relative errors; positive is better.
        low, high: its 95 % block-bootstrap interval, None with fewer than `LEAST_SESSIONS` sessions.
        coverage: share of closes inside the 80 % interval.
        forecasts: number of scored forecasts.
        sessions: number of target sessions.
    """

    value: float
    low: float | None
    high: float | None
    coverage: float
    forecasts: int
    sessions: int


def skill(accuracy: pd.DataFrame) -> Skill | None:
    """Skill of the scored forecasts; None if there are none.

    Args:
        accuracy: rows of `forecast_accuracy`, one or more tickers. Errors count relative to the actual close,
            so that tickers weigh alike.
    """
    if accuracy.empty:
        return None
    squares = pd.DataFrame(
        {
            "date": accuracy["date"],
            "ours": (accuracy["error"] / accuracy["actual_close"]) ** 2,
            "naive": (accuracy["naive_error"] / accuracy["actual_close"]) ** 2,
        }
    )
    daily = squares.groupby("date")[["ours", "naive"]].sum()
    ours, naive = daily["ours"].to_numpy(np.float64), daily["naive"].to_numpy(np.float64)
    low = high = None
    if len(daily) >= LEAST_SESSIONS and naive.min() > 0:
        best, worst = ratio_interval(ours, naive)
        low, high = 1 - math.sqrt(worst), 1 - math.sqrt(best)
    ratio = math.sqrt(ours.sum() / naive.sum()) if naive.sum() > 0 else 1.0
    return Skill(1 - ratio, low, high, float(accuracy["inside_80"].mean()), len(accuracy), len(daily))


def error_by_horizon(accuracy: pd.DataFrame) -> pd.DataFrame:
    """`horizon`, `rmse` and `naive_rmse` in per cent of the actual close, one row per horizon."""
    relative = pd.DataFrame(
        {
            "horizon": accuracy["horizon"],
            "rmse": accuracy["error"] / accuracy["actual_close"],
            "naive_rmse": accuracy["naive_error"] / accuracy["actual_close"],
        }
    )
    squared = relative.set_index("horizon").pow(2).groupby(level=0).mean()
    return squared.pow(0.5).mul(100).reset_index()


def coverage_over_time(accuracy: pd.DataFrame, sessions: int = 20) -> pd.DataFrame:
    """`date` and `coverage`: share of closes inside the 80 % interval, last `sessions` target sessions."""
    daily = accuracy.groupby("date")["inside_80"].agg(["sum", "count"])
    rolled = daily.rolling(sessions, min_periods=min(5, len(daily))).sum()
    return (rolled["sum"] / rolled["count"]).rename("coverage").reset_index().dropna()


def drift_days(drift: pd.DataFrame) -> pd.DataFrame:
    """One row per day, newest first.

    Returns:
        `date`, `drifted`, the `feature` with the highest `ratio` (score / threshold), `drifted_features`, how many
        are at or above their threshold, and `kinds`, of which kinds they are.
    """
    ratio = drift.assign(ratio=drift["score"] / drift["threshold"])
    worst = ratio.loc[ratio.groupby("date")["ratio"].idxmax(), ["date", "feature", "ratio"]]
    count = drift.groupby("date")["drifted"].sum().rename("drifted_features").reset_index()
    kinds = drift[drift["drifted"]].groupby("date")["kind"].agg(lambda found: ", ".join(dict.fromkeys(sorted(found))))
    days = worst.merge(count, on="date").assign(drifted=lambda d: d["drifted_features"] > 0)
    days["kinds"] = days["date"].map(kinds).fillna("")
    order = ["date", "drifted", "kinds", "feature", "ratio", "drifted_features"]
    return days.sort_values("date", ascending=False, ignore_index=True)[order]


def universe(indicators: pd.DataFrame, forecasts: pd.DataFrame, drift: pd.DataFrame) -> pd.DataFrame:
    """The latest state of every ticker, one row each.

    Args:
        indicators: recent `indicators` rows (`close`, `pct_return`, `rsi_14`, `volatility_20`, …).
        forecasts: recent `forecasts` rows.
        drift: recent `drift_report` rows.

    Returns:
        `ticker`, `as_of`, `close`, `change`, `outlook` (median of session 10 against the last close), `low`
        and `high` (80 % interval of session 10), `width` (its width over the last close), `method`,
        `rsi_14`, `volatility` (of 20 sessions, a year; of 365 sessions where weekends are some), `drifted`,
        `closes` (a list for a sparkline). Ratios are fractions.
    """
    latest = indicators.sort_values("date").groupby("ticker").tail(1).set_index("ticker")
    closes = indicators.sort_values("date").groupby("ticker")["close"].agg(list)
    ends = forecasts[forecasts["horizon"] == HORIZON].sort_values("date").groupby("ticker").tail(1).set_index("ticker")
    newest = drift[drift["date"] == drift.groupby("ticker")["date"].transform("max")]
    tickers = sorted({*latest.index, *ends.index})
    frame = pd.DataFrame(index=pd.Index(tickers, name="ticker"))
    frame["as_of"] = latest["date"]
    frame["close"] = latest["close"]
    frame["change"] = latest["pct_return"]
    frame["outlook"] = ends["close_p50"] / ends["last_close"] - 1
    frame["low"], frame["high"] = ends["close_p10"], ends["close_p90"]
    frame["width"] = (ends["close_p90"] - ends["close_p10"]) / ends["last_close"]
    frame["method"] = ends["method"]
    frame[RSI] = latest[RSI]
    weekends = (indicators["date"].dt.dayofweek >= 5).groupby(indicators["ticker"]).any()
    frame["volatility"] = latest[VOLATILITY] * weekends.map(SESSIONS_PER_YEAR).pow(0.5)
    frame["drifted"] = newest.groupby("ticker")["drifted"].any()
    frame["closes"] = closes
    return frame.reset_index()


def chance_of_rise(forecast: pd.DataFrame) -> pd.Series:
    """Probability that each row's close will be above its last close, read off its quantiles.

    Between two quantiles it is taken to grow evenly; outside the outermost it is that one's, 0.05 or 0.95.
    """
    levels = np.array([int(name.removeprefix("close_p")) / 100 for name in QUANTILE_COLUMNS])
    below = [
        np.interp(last, quantiles, levels)
        for last, quantiles in zip(forecast["last_close"], forecast[list(QUANTILE_COLUMNS)].to_numpy(), strict=True)
    ]
    return pd.Series(1 - np.array(below), index=forecast.index, dtype=float)


def sessions_ahead(forecast: pd.DataFrame) -> pd.DataFrame:
    """One row per session ahead, for people.

    Returns:
        `target_date`, `low`, `median` and `high` (of the 80 % interval), each also as a change against the last close
        (`low_change`, `change`, `high_change`, fractions), and `rise`, the chance of one.
    """
    rows = forecast.sort_values("horizon")
    last = rows["last_close"]
    return pd.DataFrame(
        {
            "target_date": rows["target_date"],
            "low": rows["close_p10"],
            "median": rows["close_p50"],
            "high": rows["close_p90"],
            "low_change": rows["close_p10"] / last - 1,
            "change": rows["close_p50"] / last - 1,
            "high_change": rows["close_p90"] / last - 1,
            "rise": chance_of_rise(rows),
        }
    ).reset_index(drop=True)


def price(value: float | None) -> str:
    """A price with as many decimals as its size deserves, or a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4g}"


def per_cent(value: float | None, decimals: int = 1, sign: bool = False) -> str:
    """A fraction as per cent, or a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{decimals}%}".replace("%", " %").replace("-", "−")
