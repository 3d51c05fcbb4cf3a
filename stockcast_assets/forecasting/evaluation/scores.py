"""Walk-forward proof: rolling origin, the same cases for every contender, scores with their uncertainty.

Scores are of log returns from the as-of close. References: pinball loss (Koenker & Bassett, 1978), CRPS as
the integral of twice the pinball loss over the quantile levels, MASE (Hyndman & Koehler, 2006), moving-block
bootstrap (Künsch, 1989), Diebold-Mariano test with Newey-West variance and the small-sample correction of
Harvey, Leybourne & Newbold (1997).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, PURGE, QUANTILES, ModelConfig
from stockcast_assets.forecasting.features import HAR_WINDOWS, History, Rows
from stockcast_assets.forecasting.models.baselines import Forecast
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import DRIFT, HAR, LSTM, ORACLE, RANDOM_WALK, RATIOS

BLOCK_SESSIONS = 20
RESAMPLES = 1000
POOLED = 0
"""The `horizon` of a table row that pools all horizons."""

MIN_SESSIONS = 250
_MIN_VALIDATION = 20

_COVERAGES = ((50, 2, 4), (80, 1, 5), (90, 0, 6))
_PINBALL = {key: ratio.baseline for key, ratio in RATIOS.items() if ratio.metric == "pinball"}
_HEADLINES = (
    "rmse_ratio_rw", "rmse_ratio_rw_low", "rmse_ratio_rw_high", "rmse_ratio_drift", "pinball", *_PINBALL,
    "coverage_80",
)  # fmt: skip
SCORES = (
    "rmse", "mae", "mase", "pinball", "crps", "coverage_50", "coverage_80", "coverage_90", "directional_accuracy",
)  # fmt: skip
METRICS = (
    "n", *SCORES, "dm_squared_vs_random_walk", "dm_squared_p", "dm_pinball_vs_har", "dm_pinball_p",
)  # fmt: skip


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, rows that stop the training, rows to judge: PURGE sessions apart."""

    train: Rows
    validation: Rows
    test: Rows

    @property
    def known(self) -> Rows:
        """Every row a contender may learn from: training and validation with the purge between them."""
        return np.arange(self.train[0], self.validation[-1] + 1)


def fold_before(first: int, origin: int, test: Rows, validation_sessions: int) -> Fold:
    """The fold whose contenders know the bars before row `origin` only: targets end before it.

    Args:
        first: first row with all inputs.
        origin: first row that is not known; `test` starts there.
        test: rows to judge.
        validation_sessions: at most this many; a fifth of the known rows if that is less.
    """
    known = np.arange(first, origin - PURGE)
    size = max(_MIN_VALIDATION, min(validation_sessions, len(known) // 5))
    return Fold(known[: -size - PURGE], known[-size:], test)


def sessions_needed(config: ModelConfig) -> int:
    """Length of the shortest history to train on: on half of it, at least, features and outcomes are known."""
    shortest = MIN_SESSIONS + config.window - 1
    return max(shortest, shortest // 2 + max(HAR_WINDOWS) - 1 + config.window - 1 + HORIZON)


def plan(history: History, config: ModelConfig) -> tuple[list[Fold], Fold]:
    """The walk-forward folds of a history and the final fit (which judges nothing).

    Raises:
        StockcastError: if the history has fewer than `sessions_needed`.
    """
    n = len(history)
    needed = sessions_needed(config)
    if n < needed:
        raise StockcastError(
            f"Training {history.ticker} needs at least {needed} sessions and has {n}: ingest a longer history, or wait."
        )
    first = history.first_row + config.window - 1
    test_sessions = min(config.test_sessions, (n - HORIZON - first) // 2)
    bounds = np.linspace(n - HORIZON - test_sessions, n - HORIZON, config.folds + 1).round().astype(int)
    folds = [
        fold_before(first, start, np.arange(start, stop), config.validation_sessions)
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        if stop > start
    ]
    return folds, fold_before(first, n, np.arange(0), config.validation_sessions)


def first_origin(history: History, config: ModelConfig) -> int:
    """First row from which a walk-forward may judge: before it lie enough rows to learn from, and the purge."""
    return history.first_row + config.window - 1 + MIN_SESSIONS // 2 + PURGE


def rows_of_year(history: History, year: int, start: date, end: date) -> tuple[int, int]:
    """First and after the last row of the as-of days of a year within `start` to `end` whose outcomes are known.

    Where there is none, the second is not above the first.
    """
    first, last = pd.Timestamp(max(start, date(year, 1, 1))), pd.Timestamp(min(end, date(year, 12, 31)))
    stop = min(int(history.dates.searchsorted(last, side="right")), len(history) - HORIZON)
    return int(history.dates.searchsorted(first)), stop


def yearly(history: History, start: date, end: date, config: ModelConfig) -> list[Fold]:
    """One fold per calendar year of as-of days from `start` to `end`, retrained at each year's start.

    As-of days whose outcomes are not known yet are left out.

    Raises:
        StockcastError: if there is no as-of day with known outcomes, or too short a past to learn from.
    """
    first = history.first_row + config.window - 1
    folds = []
    for year in range(start.year, end.year + 1):
        begin, stop = rows_of_year(history, year, start, end)
        if stop <= begin:
            continue
        if begin < first_origin(history, config):
            raise StockcastError(too_early(history, config, max(start, date(year, 1, 1))))
        folds.append(fold_before(first, begin, np.arange(begin, stop), config.validation_sessions))
    if not folds:
        raise StockcastError(
            f"{history.ticker} has no session from {start} to {end} with {HORIZON} sessions after it: its "
            f"{len(history)} bars reach from {history.dates[0].date()} to {history.dates[-1].date()}."
        )
    return folds


def too_early(history: History, config: ModelConfig, start: date) -> str:
    """The sentence for a history that cannot be judged from `start` on."""
    origin, n = first_origin(history, config), len(history)
    begins = f"{history.ticker} has {n} sessions, from {history.dates[0].date()} to {history.dates[-1].date()}"
    if origin >= n - HORIZON:
        needed = origin + HORIZON + 1
        return f"{begins}, and an evaluation needs at least {needed}: ingest a longer history, or leave the ticker out."
    earliest = history.dates[origin].date()
    return f"{begins}, which leaves too little to learn from before {start}: evaluate from {earliest} on."


@dataclass(frozen=True)
class Cases:
    """What every contender said on the same as-of days of one ticker, and what happened.

    `targets` [n, HORIZON] log returns; `naive_error` [HORIZON] mean absolute h-session return before the
    first case (the denominator of MASE).
    """

    dates: pd.DatetimeIndex
    targets: Floats
    naive_error: Floats
    forecasts: Mapping[str, Forecast]


def pinball_losses(targets: Floats, quantiles: Floats) -> Floats:
    """[..., quantiles] of outcomes [...] and forecasts [..., quantiles]."""
    below = targets[..., None] - quantiles
    levels = np.array(QUANTILES)
    return np.maximum(levels * below, (levels - 1) * below)


def daily_losses(cases: Cases) -> pd.DataFrame:
    """[days, contenders] pinball loss of a ticker's cases, the mean over horizons and quantiles."""
    found = {
        name: pinball_losses(cases.targets, forecast.quantiles).mean(axis=(1, 2))
        for name, forecast in cases.forecasts.items()
    }
    return pd.DataFrame(found, index=cases.dates)


def crps(pinball: Floats) -> Floats:
    """[...] of pinball losses [..., quantiles], as an approximation; the loss is 0 at levels 0 and 1."""
    levels = np.concatenate(([0.0], QUANTILES, [1.0]))
    padded = np.pad(pinball, [(0, 0)] * (pinball.ndim - 1) + [(1, 1)])
    values: Floats = np.sum((padded[..., 1:] + padded[..., :-1]) * np.diff(levels), axis=-1)
    return values


def interval_score(targets: Floats, quantiles: Floats, share: int = 80) -> Floats:
    """[...] width of the `share` % interval, and what misses it by, weighted so that honesty is best (Winkler, 1972).

    Args:
        targets: outcomes [...].
        quantiles: forecasts [..., quantiles].
        share: one of 50, 80 and 90.
    """
    low, high = next((low, high) for of, low, high in _COVERAGES if of == share)
    below, above = quantiles[..., low] - targets, targets - quantiles[..., high]
    missed = np.maximum(below, 0.0) + np.maximum(above, 0.0)
    values: Floats = quantiles[..., high] - quantiles[..., low] + 2 / (1 - share / 100) * missed
    return values


def diebold_mariano(difference: Floats, horizon: int) -> tuple[float, float]:
    """Diebold-Mariano statistic and two-sided p-value of a series of loss differences (ours - theirs).

    Newey-West variance with max(horizon - 1, 4 (n / 100)^(2/9)) lags, for targets that overlap.
    """
    # Here, because SciPy takes seconds to import and nothing else in stockcast needs it.
    from scipy.special import stdtr

    n = len(difference)
    lags = min(max(horizon - 1, int(4 * (n / 100) ** (2 / 9))), n - 1)
    centred = difference - difference.mean()
    variance = centred @ centred / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag]) / n
    if variance <= 0:
        return 0.0, 1.0
    correction = max((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n, 1 / n)
    statistic = float(difference.mean() / np.sqrt(variance / n) * np.sqrt(correction))
    return statistic, float(2 * stdtr(n - 1, -abs(statistic)))


@dataclass(frozen=True)
class Evaluation:
    """Scores of every contender on the same cases.

    Attributes:
        dates: as-of days.
        cases: [days] as-of cases behind each day (one per ticker).
        squared, pinball: per contender [days], summed over the day's tickers and horizons.
        scores: [contender × (pooled, 1..HORIZON), len(METRICS)].
    """

    dates: pd.DatetimeIndex
    cases: Floats
    squared: Mapping[str, Floats]
    pinball: Mapping[str, Floats]
    scores: Floats

    @classmethod
    def without_cases(cls) -> Evaluation:
        """Of a history too short to judge anyone on: no contender, and a summary of NaN."""
        nothing = np.empty(0)
        return cls(pd.DatetimeIndex([]), nothing, {}, {}, np.empty((0, len(METRICS))))

    @property
    def contenders(self) -> list[str]:
        return list(self.pinball)

    def table(self) -> pd.DataFrame:
        """One row per contender and horizon (0 pools them all) with every metric.

        `dm_*` are Diebold-Mariano statistics (negative: better than the one named) with their p-values.
        """
        horizons = [POOLED, *range(1, HORIZON + 1)]
        index = pd.MultiIndex.from_product([self.contenders, horizons], names=["contender", "horizon"])
        table = pd.DataFrame(self.scores, index=index, columns=list(METRICS)).reset_index()
        return table.astype({"n": "int64"})

    def rmse_ratio(self, name: str, other: str) -> float:
        return math.sqrt(loss_ratio(self.squared[name].sum(), self.squared[other].sum()))

    def pinball_ratio(self, name: str, other: str) -> float:
        return loss_ratio(self.pinball[name].sum(), self.pinball[other].sum())

    def rmse_ratio_interval(self, name: str, other: str) -> tuple[float, float]:
        """95 % interval of the RMSE ratio by block bootstrap over days."""
        low, high = ratio_interval(self.squared[name], self.squared[other])
        return float(np.sqrt(low)), float(np.sqrt(high))

    def pinball_ratio_interval(self, name: str, other: str) -> tuple[float, float]:
        """95 % interval of the pinball ratio by block bootstrap over days."""
        return ratio_interval(self.pinball[name], self.pinball[other])

    def summary(self, name: str = LSTM) -> dict[str, float | int]:
        """The headline numbers of one contender; ratios below 1 mean it is better, NaN that there are no cases.

        The constant-volatility baseline is the random walk with its normal quantiles.
        """
        if not self.contenders:
            return dict.fromkeys(_HEADLINES, math.nan) | {"n_cases": 0}
        table = self.table()
        pooled = table[(table["contender"] == name) & (table["horizon"] == POOLED)].iloc[0]
        low, high = self.rmse_ratio_interval(name, RANDOM_WALK)
        return {
            "rmse_ratio_rw": self.rmse_ratio(name, RANDOM_WALK),
            "rmse_ratio_rw_low": low,
            "rmse_ratio_rw_high": high,
            "rmse_ratio_drift": self.rmse_ratio(name, DRIFT),
            "pinball": float(pooled["pinball"]),
            # A model that an earlier release stored was not judged against baselines that came later.
            **{
                key: self.pinball_ratio(name, other) if other in self.pinball else math.nan
                for key, other in _PINBALL.items()
            },
            "coverage_80": float(pooled["coverage_80"]),
            "n_cases": int(self.cases.sum()),
        }


def loss_ratio(loss: float, other: float) -> float:
    """A loss over another; NaN if the other is none, as of prices that never move."""
    return float(loss / other) if other > 0 else math.nan


def share_won(losses: Mapping[str, float], before: str, after: str) -> float:
    """What one contender's loss is below another's, as a share of what the oracle's is below HAR's.

    Args:
        losses: of every contender on the same cases.
        before: the one whose loss is the larger, if something is won.
        after: the one that wins.

    Returns:
        The share; NaN if there is nothing to win.
    """
    reachable = losses[HAR] - losses[ORACLE]
    return float((losses[before] - losses[after]) / reachable) if reachable > 0 else math.nan


def ratio_interval(numerator: Floats, denominator: Floats) -> tuple[float, float]:
    """95 % interval of sum(numerator) / sum(denominator): circular block bootstrap, fixed seed.

    Args:
        numerator: losses of consecutive sessions.
        denominator: losses of the same sessions to compare them with.
    """
    n = len(numerator)
    generator = np.random.default_rng(0)
    starts = generator.integers(0, n, (RESAMPLES, -(-n // BLOCK_SESSIONS)))

    def resampled(losses: Floats) -> Floats:
        cumulative = np.concatenate(([0.0], np.cumsum(np.tile(losses, 1 + -(-BLOCK_SESSIONS // n)))))
        values: Floats = (cumulative[starts + BLOCK_SESSIONS] - cumulative[starts]).sum(axis=1)
        return values

    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.quantile(resampled(numerator) / resampled(denominator), (0.025, 0.975))
    return float(low), float(high)


def coverage_by_day(cases: Sequence[Cases], name: str, share: int = 80) -> pd.Series:
    """Share of a day's outcomes (of all tickers and horizons) inside the `share` % interval, by as-of day."""
    low, high = next((low, high) for of, low, high in _COVERAGES if of == share)
    parts = []
    for one in cases:
        quantiles = one.forecasts[name].quantiles
        inside = (one.targets >= quantiles[:, :, low]) & (one.targets <= quantiles[:, :, high])
        parts.append(pd.Series(inside.mean(axis=1), one.dates))
    return pd.concat(parts).groupby(level=0).mean()


def coverage_interval(cases: Sequence[Cases], name: str, share: int = 80) -> tuple[float, float]:
    """95 % interval of the coverage by block bootstrap over days."""
    by_day = coverage_by_day(cases, name, share).to_numpy()
    return ratio_interval(by_day, np.ones(len(by_day)))


def reliability(cases: Sequence[Cases], name: str) -> Floats:
    """[quantiles] share of outcomes at or below each quantile: equal to the level if the forecast is calibrated."""
    below = [one.targets[:, :, None] <= one.forecasts[name].quantiles for one in cases]
    values: Floats = np.concatenate(below).mean(axis=(0, 1))
    return values


def evaluate(cases: Sequence[Cases]) -> Evaluation:
    """Score every contender on the cases of one ticker, or pooled over several.

    Raises:
        StockcastError: if there is no case, or the contenders differ between tickers.
    """
    if not cases or not sum(len(one.dates) for one in cases):
        raise StockcastError("There is no walk-forward case to evaluate: the history is too short.")
    names = list(cases[0].forecasts)
    if any(list(one.forecasts) != names for one in cases):
        raise StockcastError("The contenders differ between tickers: evaluate each with the same ones.")
    dates, day = np.unique(np.concatenate([one.dates.to_numpy() for one in cases]), return_inverse=True)

    def by_day(values: Floats) -> Floats:
        # Rounded as stored, so that an evaluation read back from an artifact gives the same numbers.
        return np.bincount(day, weights=values, minlength=len(dates)).astype(np.float32).astype(np.float64)

    errors = {name: np.concatenate([one.targets - one.forecasts[name].point for one in cases]) for name in names}
    losses = {
        name: np.concatenate([pinball_losses(one.targets, one.forecasts[name].quantiles) for one in cases])
        for name in names
    }
    scores = []
    for name in names:
        score = _scores(cases, name, errors, losses)
        pooled = np.array([[score["n"].sum(), *(score[metric].mean() for metric in METRICS[1:])]])
        pooled[0, METRICS.index("rmse")] = np.sqrt((score["rmse"] ** 2).mean())
        pooled[0, -4:] = _pooled_tests(day, name, errors, losses)
        scores += [pooled, np.column_stack([score[metric] for metric in METRICS])]
    return Evaluation(
        dates=pd.DatetimeIndex(dates),
        cases=by_day(np.ones(len(day))),
        squared={name: by_day((errors[name] ** 2).sum(axis=1)) for name in names},
        pinball={name: by_day(losses[name].mean(axis=2).sum(axis=1)) for name in names},
        scores=np.concatenate(scores),
    )


def _scores(
    cases: Sequence[Cases], name: str, errors: dict[str, Floats], losses: dict[str, Floats]
) -> dict[str, Floats]:
    """Each metric per horizon, [HORIZON]."""
    targets = np.concatenate([one.targets for one in cases])
    quantiles = np.concatenate([one.forecasts[name].quantiles for one in cases])
    points = np.concatenate([one.forecasts[name].point for one in cases])
    scale = np.concatenate([np.broadcast_to(one.naive_error, one.targets.shape) for one in cases])
    error, loss = errors[name], losses[name].mean(axis=2)
    called = points != 0
    right = called & (np.sign(points) == np.sign(targets))
    inside = {
        f"coverage_{share}": ((targets >= quantiles[:, :, low]) & (targets <= quantiles[:, :, high])).mean(axis=0)
        for share, low, high in _COVERAGES
    }
    days = np.concatenate([one.dates.to_numpy() for one in cases])
    squared_tests = [_test(days, error[:, h] ** 2, errors[RANDOM_WALK][:, h] ** 2, h + 1) for h in range(HORIZON)]
    pinball_tests = [_test(days, loss[:, h], losses[HAR][:, h].mean(axis=1), h + 1) for h in range(HORIZON)]
    return {
        "n": np.full(HORIZON, float(len(targets))),
        "rmse": np.sqrt((error**2).mean(axis=0)),
        "mae": np.abs(error).mean(axis=0),
        "mase": np.divide(np.abs(error), scale, out=np.full(error.shape, np.nan), where=scale > 0).mean(axis=0),
        "pinball": loss.mean(axis=0),
        "crps": crps(losses[name]).mean(axis=0),
        **inside,
        "directional_accuracy": _share(right.sum(axis=0), called.sum(axis=0)),
        "dm_squared_vs_random_walk": np.array([statistic for statistic, _ in squared_tests]),
        "dm_squared_p": np.array([p for _, p in squared_tests]),
        "dm_pinball_vs_har": np.array([statistic for statistic, _ in pinball_tests]),
        "dm_pinball_p": np.array([p for _, p in pinball_tests]),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> Floats:
    """Part / whole; NaN where a contender never called a direction."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _test(days: np.ndarray, ours: Floats, theirs: Floats, horizon: int) -> tuple[float, float]:
    _, day = np.unique(days, return_inverse=True)
    return diebold_mariano(np.bincount(day, weights=ours - theirs) / np.bincount(day), horizon)


def _pooled_tests(
    day: np.ndarray, name: str, errors: dict[str, Floats], losses: dict[str, Floats]
) -> tuple[float, float, float, float]:
    squared = (errors[name] ** 2).mean(axis=1), (errors[RANDOM_WALK] ** 2).mean(axis=1)
    pinball = losses[name].mean(axis=(1, 2)), losses[HAR].mean(axis=(1, 2))
    return *_test(day, *squared, HORIZON), *_test(day, *pinball, HORIZON)
