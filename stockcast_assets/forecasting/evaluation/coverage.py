"""Whether an interval holds what it promises, and whether its misses come in clusters.

Tests of one session ahead, whose cases do not overlap: unconditional coverage (Kupiec, 1995) and independence
(Christoffersen, 1998), both likelihood ratios with one degree of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stockcast_assets.forecasting.config import QUANTILES
from stockcast_assets.forecasting.evaluation.scores import Cases
from stockcast_assets.libraries import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INTERVALS = {80: (QUANTILES.index(0.10), QUANTILES.index(0.90)), 90: (QUANTILES.index(0.05), QUANTILES.index(0.95))}


@dataclass(frozen=True)
class CoverageTest:
    """Share of misses, and the p-values that it is the promised one and that a miss says nothing of the next day."""

    n: int
    misses: int
    kupiec_p: float
    christoffersen_p: float


def misses(cases: Cases, name: str, share: int = 80) -> NDArray[np.bool_]:
    """[n] whether the next session's return lay outside the `share` % interval of a contender."""
    low, high = _INTERVALS[share]
    quantiles = cases.forecasts[name].quantiles[:, 0]
    outcome = cases.targets[:, 0]
    return (outcome < quantiles[:, low]) | (outcome > quantiles[:, high])


def coverage_test(missed: NDArray[np.bool_], share: int = 80) -> CoverageTest:
    """Both tests of a series of misses; a p-value of 1 where there is nothing to test."""
    n, count = len(missed), int(missed.sum())
    promised = 1 - share / 100
    kupiec = 2 * (_likelihood(n - count, count, count / n) - _likelihood(n - count, count, promised)) if n else 0.0
    pairs = np.bincount(2 * missed[:-1].astype(int) + missed[1:].astype(int), minlength=4).astype(int)
    stay, begin, end, again = (int(pair) for pair in pairs)
    overall = (begin + again) / max(1, n - 1)
    independence = 2 * (
        _likelihood(stay, begin, begin / max(1, stay + begin))
        + _likelihood(end, again, again / max(1, end + again))
        - _likelihood(stay + end, begin + again, overall)
    )
    return CoverageTest(n, count, _p(kupiec), _p(independence))


def _likelihood(hits: int, missed: int, rate: float) -> float:
    """Log likelihood; what did not happen adds nothing."""
    return (hits * math.log(1 - rate) if hits else 0.0) + (missed * math.log(rate) if missed else 0.0)


def _p(ratio: float) -> float:
    """Of chi-squared with one degree of freedom."""
    return math.erfc(math.sqrt(max(0.0, ratio) / 2))
