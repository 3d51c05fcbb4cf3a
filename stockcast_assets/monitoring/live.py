"""How forecasts did after publication: beside the baselines stored with them, and against their own probabilities.

The scores are those of an evaluation (`forecasting.evaluation`), of what was published instead of what a walk-forward
says. Ratios are sums of pinball losses, below 1 the published forecast is better; their intervals are of a block
bootstrap over as-of days, which keeps the tickers of a day together. A forecast that was late is none, so what came in
time and what did not are never summed up together (`by_publication`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stockcast_assets.forecasting.evaluation.coverage import CoverageTest, coverage_test
from stockcast_assets.forecasting.evaluation.scores import ratio_interval
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import BESIDE, HAR
from stockcast_assets.tables import PINBALL_COLUMNS, QUANTILES

PUBLISHED = "published"
STEPS = (*BESIDE, PUBLISHED)
"""Each is the one before and something more: the volatility of late, its memory, the reports, the network."""

COLUMNS = (
    *("ticker", "date", "horizon", "as_of_date", "inside_80", "late", "pit", "pinball", "crps", "interval_score_80"),
    *PINBALL_COLUMNS.values(),
)
"""What is read of `forecast_accuracy`."""

WINDOWS: Mapping[str, int | None] = {"60 sessions": 60, "250 sessions": 250, "Since the beginning": None}
"""How far back is looked, in target sessions of each ticker."""

IN_TIME, LATE, UNKNOWN = "in time", "late", "not known"
"""When a forecast was published; not known is what an earlier release stored without a ledger."""

PIT_BUCKETS = 10
TICKER_COLUMNS = ("ticker", "date", "horizon", "as_of_date", "inside_80", "late", "pinball", PINBALL_COLUMNS[HAR])
"""What `by_ticker` beside HAR reads of it."""

LEAST_SESSIONS = 40
"""Days below which a bootstrap of 20-session blocks says nothing."""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Ratio:
    """Pinball loss over another's on the same forecasts.

    Attributes:
        value: the ratio; below 1 is better.
        low, high: its 95 % interval; None with fewer than LEAST_SESSIONS days.
        forecasts: how many both made.
    """

    value: float
    low: float | None
    high: float | None
    forecasts: int

    @property
    def lost(self) -> bool:
        """Whether it is above 1 by more than chance explains."""
        return self.low is not None and self.low > 1

    @property
    def won(self) -> bool:
        """Whether it is below 1 by more than chance explains."""
        return self.high is not None and self.high < 1


@dataclass(frozen=True)
class Coverage:
    """The 80 % interval of one ticker's next session, whose outcomes do not overlap: what it missed, and the tests."""

    ticker: str
    test: CoverageTest


@dataclass(frozen=True)
class Live:
    """Scores of published forecasts.

    Attributes:
        forecasts, sessions: how many, and of how many target sessions, from `first` to `last`.
        against: the published forecast beside each baseline that was stored with any of them.
        steps: what each step adds to the one before: (before, after, after / before).
        held: share of closes inside the 80 % interval; `held_low` and `held_high` as of `Ratio`.
        coverage: the tests of each ticker.
        pit: [PIT_BUCKETS] share of outcomes by the probability that was given to less; all alike if it is right.
        reliability: [quantiles] share of outcomes at or below each quantile; the level if it is right.
        crps, interval_score: means, of log returns.
    """

    forecasts: int
    sessions: int
    first: pd.Timestamp
    last: pd.Timestamp
    against: Mapping[str, Ratio]
    steps: tuple[tuple[str, str, Ratio], ...]
    held: float
    held_low: float | None
    held_high: float | None
    coverage: tuple[Coverage, ...]
    pit: Floats
    reliability: Floats
    crps: float
    interval_score: float


def by_publication(scored: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows that came IN_TIME, LATE, or of which that is UNKNOWN; only what there is, in this order."""
    late = scored["late"].astype("boolean")
    parts = {IN_TIME: ~late.fillna(True), LATE: late.fillna(False), UNKNOWN: late.isna()}
    return {name: scored[chosen.to_numpy(bool)] for name, chosen in parts.items() if chosen.any()}


def recent(scored: pd.DataFrame, sessions: int | None) -> pd.DataFrame:
    """The rows of each ticker's last target sessions; all if None."""
    if sessions is None or scored.empty:
        return scored
    days = scored[["ticker", "date"]].drop_duplicates().sort_values(["ticker", "date"], ascending=[True, False])
    since = days[days.groupby("ticker").cumcount() < sessions].groupby("ticker")["date"].min()
    return scored[(scored["date"] >= scored["ticker"].map(since)).to_numpy()]


def summarise(scored: pd.DataFrame) -> Live | None:
    """The scores of rows of `forecast_accuracy` (COLUMNS) of one or more tickers; None if none has any."""
    rows = scored[scored["pinball"].notna()]
    if rows.empty:
        return None
    losses = _Losses.of(rows, ["as_of_date"])
    held = rows.groupby("as_of_date")["inside_80"].agg(["sum", "count"]).to_numpy(np.float64)
    low, high = _interval(held[:, 0], held[:, 1])
    pit = rows["pit"].to_numpy(np.float64)
    buckets = np.minimum((pit * PIT_BUCKETS).astype(np.int64), PIT_BUCKETS - 1)
    ordered = np.sort(pit)
    against = {name: losses.ratio(PUBLISHED, name) for name in BESIDE}
    return Live(
        forecasts=len(rows),
        sessions=int(rows["date"].nunique()),
        first=rows["date"].min(),
        last=rows["date"].max(),
        against={name: ratio for name, ratio in against.items() if ratio is not None},
        steps=tuple(losses.steps()),
        held=float(held[:, 0].sum() / held[:, 1].sum()),
        held_low=low,
        held_high=high,
        coverage=tuple(Coverage(ticker, test) for ticker, test in coverage_tests(rows).items()),
        pit=np.bincount(buckets, minlength=PIT_BUCKETS) / len(pit),
        # A quantile's level is the probability below it.
        reliability=np.searchsorted(ordered, np.array(QUANTILES) + _ROUNDING, side="right") / len(pit),
        crps=float(rows["crps"].mean()),
        interval_score=float(rows["interval_score_80"].mean()),
    )


def coverage_tests(scored: pd.DataFrame) -> dict[str, CoverageTest]:
    """By ticker, whether the 80 % interval of the next session holds what it promises."""
    ordered = scored[scored["horizon"] == 1].sort_values(["ticker", "as_of_date"])
    missed = ~ordered["inside_80"].to_numpy(bool)
    found = ordered.groupby("ticker", sort=False).indices
    return {str(ticker): coverage_test(missed[places]) for ticker, places in found.items()}


def by_ticker(scored: pd.DataFrame, other: str = HAR) -> pd.DataFrame:
    """Each ticker's published forecasts beside those of a baseline, those first that lost most.

    Args:
        scored: rows of `forecast_accuracy` (COLUMNS; TICKER_COLUMNS beside HAR).
        other: one of BESIDE.

    Returns:
        ticker, forecasts, ratio, low and high (NaN with fewer than LEAST_SESSIONS days), lost (whether the interval
        lies above 1), held, kupiec_p and christoffersen_p; without tickers that have no such forecast.
    """
    rows = scored[scored["pinball"].notna()]
    tests = coverage_tests(rows)
    held = rows.groupby("ticker")["inside_80"].mean()
    losses = _Losses.of(rows, ["ticker", "as_of_date"], [(other, PUBLISHED)])
    found = []
    for ticker, part in losses.by_ticker():
        ratio = part.ratio(PUBLISHED, other)
        if ratio is not None:
            test = tests.get(ticker)
            p_values = (np.nan, np.nan) if test is None else (test.kupiec_p, test.christoffersen_p)
            found.append((ticker, ratio.forecasts, ratio.value, ratio.low, ratio.high, ratio.lost, *p_values))
    columns = ["ticker", "forecasts", "ratio", "low", "high", "lost", "kupiec_p", "christoffersen_p"]
    table = pd.DataFrame(found, columns=columns).astype({"low": float, "high": float, "lost": bool})
    table.insert(6, "held", table["ticker"].map(held))
    return table.sort_values("ratio", ascending=False, ignore_index=True)


@dataclass(frozen=True)
class _Losses:
    """Pinball losses summed over days, of STEPS, and for each pair of them of the forecasts that both made.

    Attributes:
        sums: by (before, after) three columns, indexed by day or by ticker and day: both losses, and how many.
    """

    sums: Mapping[tuple[str, str], pd.DataFrame]

    @classmethod
    def of(cls, rows: pd.DataFrame, keys: list[str], pairs: Sequence[tuple[str, str]] | None = None) -> _Losses:
        """Of all pairs that ratios and steps take if None."""
        columns = {name: column for name, column in PINBALL_COLUMNS.items() if column in rows}
        losses = {name: rows[column].to_numpy(np.float64) for name, column in columns.items()}
        losses[PUBLISHED] = rows["pinball"].to_numpy(np.float64)
        present = {name: ~np.isnan(values) for name, values in losses.items()}
        there = [name for name in STEPS if name in present and present[name].any()]
        if pairs is None:
            pairs = list(dict.fromkeys([*pairwise(there), *((name, PUBLISHED) for name in there[:-1])]))
        grouped = rows.groupby(keys, sort=True)
        place, index = grouped.ngroup().to_numpy(), grouped.size().index
        sums = {}
        for before, after in pairs:
            both = present[before] & present[after]
            sums[before, after] = pd.DataFrame(
                {
                    name: np.bincount(place[both], weights=values[both], minlength=len(index))
                    for name, values in (
                        ("before", losses[before]),
                        ("after", losses[after]),
                        ("n", both.astype(float)),
                    )
                },
                index=index,
            )
        return cls(sums)

    def ratio(self, name: str, other: str) -> Ratio | None:
        """`name` over `other`, which comes before it in STEPS; None if no forecast has both."""
        sums = self.sums.get((other, name))
        if sums is None or not (there := sums["n"].to_numpy() > 0).any():
            return None
        ours, theirs = sums["after"].to_numpy()[there], sums["before"].to_numpy()[there]
        total = theirs.sum()
        value = float(ours.sum() / total) if total > 0 else 1.0 if ours.sum() == 0 else np.inf
        return Ratio(value, *_interval(ours, theirs), int(sums["n"].sum()))

    def steps(self) -> list[tuple[str, str, Ratio]]:
        """What each step that is there adds to the one before."""
        names = [name for name in STEPS if any(name in pair for pair in self.sums)]
        found = ((before, after, self.ratio(after, before)) for before, after in pairwise(names))
        return [(before, after, ratio) for before, after, ratio in found if ratio is not None]

    def by_ticker(self) -> list[tuple[str, _Losses]]:
        """The losses of each ticker, of sums that are indexed by ticker and day."""
        if not self.sums:
            return []
        index = next(iter(self.sums.values())).index.get_level_values(0)
        begins = np.concatenate(([True], index[1:] != index[:-1]))[: len(index)]
        starts: list[int] = np.flatnonzero(begins).tolist()
        return [
            (str(index[start]), _Losses({pair: sums.iloc[start:end] for pair, sums in self.sums.items()}))
            for start, end in pairwise([*starts, len(index)])
        ]


def _interval(ours: Floats, theirs: Floats) -> tuple[float | None, float | None]:
    if len(ours) < LEAST_SESSIONS or theirs.min() <= 0:
        return None, None
    return ratio_interval(ours, theirs)
