"""When drift lasts, coverage is lost, or skill is: in words, for the checks of quality and the sensor `retraining`.

Thresholds and what they cost. Outcomes of ten overlapping horizons are nowhere near independent, so the tests ask for
much and the cool-down bounds what a false alarm can cost: one training per ticker and `COOL_DOWN` sessions.

- Drift of inputs or of residuals: half of the last `WINDOW` reports, of one of the two kinds. A report counts if any
  feature of the kind is above a threshold that 99 % of quiet windows stay below; about one day in twenty of AAPL, GOOG,
  IBM and MSFT was, for each kind (`bench/drift.py`, docs/drift.md). Neighbouring windows share 59 of 60 sessions, so
  one excursion lasts. Drift of predictions does not count: a model that widens its intervals in a storm does what it
  learnt, and training teaches it nothing about that; if they are too wide, the residuals tell.
- Skill: the pinball loss exceeds that of HAR, as it was stored with each forecast, by a twentieth over the last
  `SCORED` sessions. Simulated on 2,000 windows (`bench/live.py --skill`): a sigma that strays from HAR's by 5 %,
  knowing nothing (autocorrelation 0.95), does that in 0.1 % of them; by 10 %, in 2 %; by 20 %, in 15 %; by 40 %, in
  half. Late forecasts count: they knew no more.
- Skill of forecasts that were stored without HAR's, by earlier releases: the squared error of the median exceeds the
  random walk's by a fifth. Simulated on 2,000 random walks: a median that strays from the last close by a tenth of the
  standard deviation, knowing nothing (autocorrelation 0.9), does that in 0.1 % of all windows; by a fifth, in 8 %.
- Coverage of the 80 % interval outside 70-90 % over `SCORED` sessions, at horizon 1 alone, since its outcomes do not
  overlap: a calibrated interval does that in 3.4 % of all windows (binomial, 60 draws).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from stockcast_assets.forecasting.evaluation.scores import ratio_interval
from stockcast_assets.libraries import pd
from stockcast_assets.methods import HAR
from stockcast_assets.monitoring.series import INPUTS, RESIDUALS
from stockcast_assets.tables import DRIFT_REPORT, FORECAST_ACCURACY, PINBALL_COLUMNS
from stockcast_assets.warehouse import Warehouse

HAR_PINBALL = PINBALL_COLUMNS[HAR]

WINDOW = 20
"""Drift reports that are looked at."""

DRIFTED_SHARE = 0.5
"""Share of them that must have drifted."""

COUNTED_KINDS = (INPUTS, RESIDUALS)
"""The kinds of drift that count."""

SCORED = 60
"""Target sessions over which skill and coverage are judged."""

MOST_PINBALL = 1.05
"""Pinball loss over HAR's from which a forecast has lost its skill."""

LEAST_SKILL = 1.20
"""Mean squared error over that of the random walk from which one has whose HAR is not known."""

COVERAGE = (0.70, 0.90)
"""What the 80 % interval may cover, at horizon 1."""


def coverage(errors: pd.DataFrame) -> float:
    """Share of outcomes inside the 80 % interval at horizon 1."""
    return float(errors.loc[errors["horizon"] == 1, "inside_80"].mean())


def skill_ratio(errors: pd.DataFrame) -> float:
    """Mean squared error of the median forecast over the random walk's, all horizons; each counts alike.

    Errors grow with the horizon, so each horizon is divided by its own naive error first.
    """
    squared = errors.assign(own=errors["error"] ** 2, naive=errors["naive_error"] ** 2)
    by_horizon = squared.groupby("horizon")[["own", "naive"]].mean()
    by_horizon = by_horizon[by_horizon["naive"] > 0]
    return float((by_horizon["own"] / by_horizon["naive"]).mean()) if len(by_horizon) else 1.0


class PinballRatio(NamedTuple):
    """Pinball loss over HAR's, all horizons, with its 95 % block-bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def pinball_ratio(errors: pd.DataFrame) -> PinballRatio | None:
    """That of the last `SCORED` sessions; None if HAR's is not known for each of them."""
    if not {"pinball", HAR_PINBALL} <= {*errors.columns}:
        return None
    known = errors[errors[["pinball", HAR_PINBALL]].notna().all(axis=1)]
    losses = known.groupby("date")[["pinball", HAR_PINBALL]].sum()
    ours, theirs = (losses[name].to_numpy("float64") for name in losses)
    if len(losses) < SCORED or theirs.min() <= 0:
        return None
    return PinballRatio(float(ours.sum() / theirs.sum()), *ratio_interval(ours, theirs))


def lasting_drift(drifted: Mapping[str, Sequence[bool]]) -> str | None:
    """In words, that drift of a kind that counts lasts; None if none does, or there are too few reports to say."""
    for kind in COUNTED_KINDS:
        found = drifted.get(kind, ())
        if len(found) >= WINDOW and sum(found) >= DRIFTED_SHARE * len(found):
            return f"{sum(found)} of the last {len(found)} drift reports found drift of {kind}"
    return None


def enough_reports(drifted: Mapping[str, Sequence[bool]]) -> bool:
    """Whether there are as many drift reports of a kind that counts as lasting drift takes."""
    return any(len(drifted.get(kind, ())) >= WINDOW for kind in COUNTED_KINDS)


def enough_scores(errors: pd.DataFrame | None) -> bool:
    """Whether as many sessions are scored as a loss of coverage or skill takes."""
    return errors is not None and errors["date"].nunique() >= SCORED


def lost_coverage(errors: pd.DataFrame | None) -> str | None:
    """In words, that the 80 % interval covers too little or too much; None if not, or too few sessions are scored."""
    if errors is None or not enough_scores(errors):
        return None
    covered = coverage(errors)
    if COVERAGE[0] <= covered <= COVERAGE[1]:
        return None
    return f"the 80 % interval covered {covered:.0%} of the last {SCORED} sessions"


def lost_skill(errors: pd.DataFrame | None) -> str | None:
    """In words, that the forecast is worse than HAR's, or where that is not known than the random walk.

    None if it is not, or too few sessions are scored.
    """
    if errors is None or not enough_scores(errors):
        return None
    beside_har = pinball_ratio(errors)
    if beside_har is not None:
        words = f"over the last {SCORED} sessions the pinball loss was {beside_har} times that of HAR"
        return words if beside_har.value > MOST_PINBALL else None
    ratio = skill_ratio(errors)
    if ratio <= LEAST_SKILL:
        return None
    return f"over the last {SCORED} sessions the squared error was {ratio:.2f} times that of the random walk"


def recent_drift(warehouse: Warehouse, tickers: Mapping[str, date]) -> dict[str, dict[str, tuple[bool, ...]]]:
    """`Signals.drifted` of each ticker at the end of its session given."""
    start, end = _window(tickers)
    rows = warehouse.read(DRIFT_REPORT, tickers=list(tickers), start=start, end=end)
    # Earlier releases compared inputs only.
    keyed = rows.assign(kind=rows["kind"].fillna(INPUTS))
    days = keyed.groupby(["ticker", "kind", "date"])["drifted"].any().reset_index()
    return {
        ticker: {
            str(kind): tuple(bool(value) for value in own["drifted"].tail(WINDOW))
            for kind, own in days[days["ticker"] == ticker].groupby("kind")
        }
        for ticker in tickers
    }


def recent_errors(warehouse: Warehouse, tickers: Mapping[str, date]) -> dict[str, pd.DataFrame]:
    """`Signals.errors` of each ticker at the end of its session given."""
    start, end = _window(tickers)
    rows = warehouse.read(FORECAST_ACCURACY, tickers=list(tickers), start=start, end=end)
    found = {}
    for ticker in tickers:
        own = rows[rows["ticker"] == ticker]
        found[ticker] = own[own["date"].isin(sorted(own["date"].unique())[-SCORED:])]
    return found


def _window(tickers: Mapping[str, date]) -> tuple[date, date]:
    """First and last of the days that hold the last `SCORED` sessions, whatever the holidays."""
    last = max(tickers.values())
    return (pd.Timestamp(last) - pd.Timedelta(days=3 * SCORED)).date(), last
