"""What holdings may gain or lose: value at risk, expected shortfall, whose risk it is, and whether it was true before.

Money is in the unit of the prices, and a loss is positive where it is called one. Scenarios weigh the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stockcast_assets.forecasting.evaluation.coverage import CoverageTest, coverage_test
from stockcast_assets.forecasting.risk.scenarios import FEWEST, Days, Residuals, draws, sessions_drawn
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats

LEVELS = (0.01, 0.05)
"""Shares of the scenarios that a value at risk leaves out."""

_SIMULATIONS = 1000

_SILVERMAN, _NORMAL_IQR = 0.9, 1.34
"""Silverman's rule of thumb (1986) for a normal kernel: its factor, and how far apart a normal's quartiles are."""


class Tail(NamedTuple):
    """The worst `level` of the outcomes.

    Attributes:
        level: their share.
        value_at_risk: the loss that is exceeded in no more than that share.
        expected_shortfall: the mean loss within it.
    """

    level: float
    value_at_risk: float
    expected_shortfall: float


def tail_weights(gains: Floats, level: float) -> Floats:
    """[n] the weight of each outcome in the mean of the worst `level` of them; the one at its edge counts in part."""
    order = np.argsort(gains, kind="stable")
    share = level * len(gains)
    whole = math.floor(share)
    weights = np.zeros(len(gains))
    weights[order[:whole]] = 1.0
    weights[order[min(whole, len(gains) - 1)]] += share - whole
    found: Floats = weights / share
    return found


def tail(gains: Floats, level: float) -> Tail:
    """Value at risk and expected shortfall of outcomes [n] (Acerbi & Tasche, 2002)."""
    at = min(math.floor(level * len(gains)), len(gains) - 1)
    return Tail(level, -float(np.sort(gains)[at]), -float((tail_weights(gains, level) * gains).sum()))


def contributions(gains: Floats, level: float) -> Floats:
    """[positions] what each position adds to the expected shortfall of them all (Euler; Tasche, 1999).

    It is what the position loses, on average, where all together lose most. They add up to the whole.

    Args:
        gains: [positions, n] of each position in each scenario.
        level: the share of the scenarios.
    """
    found: Floats = -(gains * tail_weights(gains.sum(axis=0), level)).sum(axis=1)
    return found


def value_at_risk_contributions(gains: Floats, level: float) -> Floats:
    """[positions] what each position adds to the value at risk of them all (Euler; Tasche, 1999; Hallerbach, 2003).

    It is what the position loses, on average, where all together lose about as much as the value at risk: scenarios
    weigh by a normal kernel around it (Epperlein & Smillie, 2006). The parts are scaled to add up to the whole.

    Args:
        gains: [positions, n] of each position in each scenario.
        level: the share of the scenarios.
    """
    total = gains.sum(axis=0)
    at_risk = tail(total, level).value_at_risk
    # Of a perfect hedge nothing is left but what rounding leaves.
    rounding = np.finfo(np.float64).eps * len(gains) * np.abs(gains).sum(axis=0).max()
    beyond = np.where(np.abs(total + at_risk) > rounding, total + at_risk, 0.0)
    # Nothing can be scaled to nothing.
    width = _bandwidth(total) if abs(at_risk) > rounding else 0.0
    while width > rounding:
        shares = _lost(gains, np.exp(-0.5 * (beyond / width) ** 2))
        loss = shares.sum()
        if abs(loss - at_risk) <= abs(at_risk) / 2:
            scaled: Floats = shares * (at_risk / loss)
            return scaled
        # Scaling would blow up, or turn round, what is lost where all together lose much less or gain.
        width /= 2
    return _lost(gains, beyond == 0)


def _lost(gains: Floats, weights: Floats) -> Floats:
    shares: Floats = -(gains * (weights / weights.sum())).sum(axis=1)
    return shares


def _bandwidth(outcomes: Floats) -> float:
    low, high = np.quantile(outcomes, (0.25, 0.75))
    spreads = [spread for spread in (float(outcomes.std()), float(high - low) / _NORMAL_IQR) if spread > 0]
    return float(_SILVERMAN * min(spreads, default=0.0) * len(outcomes) ** -0.2)


def gains_of(value: float, returns: Floats) -> Floats:
    """What a position worth `value`, negative if it is short, gains at log `returns`."""
    return value * np.expm1(returns)


class Stretch(NamedTuple):
    """A past stretch of sessions, as it would be for today's holdings.

    Attributes:
        first, last: the session before it, and its last one.
        gain: of all positions.
    """

    first: np.datetime64
    last: np.datetime64
    gain: float


def worst_stretches(
    values: Mapping[str, float], closes: Mapping[str, tuple[Days, Floats]], sessions: int, most: int
) -> list[Stretch]:
    """The `most` worst stretches of that many sessions in which all tickers traded, none overlapping another.

    Args:
        values: of the position in each ticker.
        closes: each ticker's sessions and the logarithm of its closes in the same shares throughout.
        sessions: the length.
        most: how many.
    """
    shared: Days = _shared([closes[ticker][0] for ticker in values])
    if len(shared) <= sessions:
        return []
    gains = np.zeros(len(shared) - sessions)
    for ticker, value in values.items():
        days, log_close = closes[ticker]
        own = log_close[days.searchsorted(shared)]
        gains += gains_of(value, own[sessions:] - own[:-sessions])
    found: list[Stretch] = []
    taken = np.zeros(len(gains), bool)
    for place in np.argsort(gains, kind="stable").tolist():
        if len(found) == most or gains[place] >= 0:
            break
        if not taken[place]:
            found.append(Stretch(shared[place], shared[place + sessions], float(gains[place])))
            taken[max(0, place - sessions + 1) : place + sessions] = True
    return found


def _shared(days: Sequence[Days]) -> Days:
    shared = days[0]
    for others in days[1:]:
        shared = np.intersect1d(shared, others, assume_unique=True)
    return shared


@dataclass(frozen=True)
class Holding:
    """What the past says of one position.

    Attributes:
        residuals: of its ticker.
        said: for each as-of day [quantiles] of the next session's log return, as it was published.
        values: for each of these days what the position was worth.
        happened: for each of these days, of those whose next session is known, its log return.
    """

    residuals: Residuals
    said: Mapping[np.datetime64, Floats]
    values: Mapping[np.datetime64, float]
    happened: Mapping[np.datetime64, float]


@dataclass(frozen=True)
class Backtest:
    """Whether the tails of one session ahead were true.

    Attributes:
        level: the share that was promised.
        test: how often the loss was larger than the value at risk, with Kupiec's and Christoffersen's tests.
        shortfall_ratio: mean loss of those days over the expected shortfall of the same days; NaN if there are none.
        shortfall_z: Acerbi & Székely's (2014) second statistic; 0 if true, below it losses were larger or more.
        shortfall_p: how often a true expected shortfall has one as low, by their simulation from the scenarios.
    """

    level: float
    test: CoverageTest
    shortfall_ratio: float
    shortfall_z: float
    shortfall_p: float


def backtest(holdings: Mapping[str, Holding]) -> tuple[Days, list[Backtest]]:
    """Value at risk and expected shortfall of the next session, as of each day on which all positions have a forecast
    and enough past, against what happened.

    Every day is judged by what was known at its end: its scenarios are those that it would have been told.

    Returns:
        The days, and a result for each of LEVELS; none if there is no day.
    """
    shared: set[np.datetime64] = set.intersection(*({*one.said} & {*one.happened} for one in holdings.values()))
    days, losses, scenarios = [], [], []
    for day in sorted(shared):
        gains = next_session({ticker: (one, one.said[day], one.values[day]) for ticker, one in holdings.items()}, day)
        if len(gains) < FEWEST:
            continue
        days.append(day)
        scenarios.append(gains)
        losses.append(-sum(one.values[day] * math.expm1(one.happened[day]) for one in holdings.values()))
    if not days:
        return np.empty(0, "datetime64[D]"), []
    return np.array(days), [judged(np.array(losses), scenarios, level) for level in LEVELS]


def next_session(positions: Mapping[str, tuple[Holding, Floats, float]], day: np.datetime64) -> Floats:
    """[scenarios] what all positions gain in the next session, where all of them have a residual."""
    sessions = sessions_drawn([one.residuals for one, _, _ in positions.values()], day)
    total = np.zeros(len(sessions))
    for one, quantiles, value in positions.values():
        total += gains_of(value, draws(one.residuals, sessions, quantiles[None], day)[:, 0])
    complete: Floats = total[np.isfinite(total)]
    return complete


def judged(losses: Floats, scenarios: Sequence[Floats], level: float) -> Backtest:
    """What was promised against what happened.

    Args:
        losses: [days] that happened.
        scenarios: per day the gains that were thought possible.
        level: of the tails.
    """
    tails = [tail(gains, level) for gains in scenarios]
    at_risk, shortfall = (np.array([one[field] for one in tails]) for field in (1, 2))
    exceeded = losses > at_risk
    ratio = float(losses[exceeded].mean() / shortfall[exceeded].mean()) if exceeded.any() else math.nan
    z, p = _shortfall_test(losses, scenarios, at_risk, shortfall, level)
    return Backtest(level, coverage_test(exceeded, round(100 * (1 - level))), ratio, z, p)


def _shortfall_test(
    losses: Floats, scenarios: Sequence[Floats], at_risk: Floats, shortfall: Floats, level: float
) -> tuple[float, float]:
    if (shortfall <= 0).any():
        return math.nan, math.nan
    units = level * shortfall
    z = 1 - float(np.where(losses > at_risk, losses / units, 0.0).mean())
    generator = np.random.default_rng(20130301)
    simulated = np.zeros(_SIMULATIONS)
    for gains, edge, unit in zip(scenarios, at_risk, units, strict=True):
        drawn = -gains[generator.integers(0, len(gains), _SIMULATIONS)]
        simulated += np.where(drawn > edge, drawn / unit, 0.0)
    return z, float((1 - simulated / len(scenarios) <= z).mean())
