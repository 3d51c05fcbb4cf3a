"""Adaptive conformal inference: interval widths that learn from outcomes as they become known.

Gibbs & Candès (2021), kept per interval as a log factor on the distance from the median: the more horizons
missed the interval, the more it widens; the more hit it, the more it narrows. One factor serves all horizons,
whose overlapping outcomes carry nearly the same news. An as-of day D knows only the outcomes of forecasts made
HORIZON or more sessions earlier.
"""

from dataclasses import dataclass

import numpy as np

from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.market.indicators import Floats

_PAIRS = tuple((low, len(QUANTILES) - 1 - low) for low in range(MEDIAN))
_MISSES = np.array([2 * QUANTILES[low] for low, _ in _PAIRS])


@dataclass(frozen=True)
class Calibration:
    """`log_factors` [intervals] from the widest interval to the narrowest, and the `step`."""

    log_factors: Floats
    step: float

    @classmethod
    def start(cls, step: float) -> "Calibration":
        return cls(np.zeros(len(_PAIRS)), step)

    def apply(self, quantiles: Floats) -> Floats:
        """Widen or narrow `quantiles` [..., HORIZON, quantiles] around their median; the result is sorted."""
        factors = np.ones(len(QUANTILES))
        for (low, high), log_factor in zip(_PAIRS, self.log_factors, strict=True):
            factors[low] = factors[high] = np.exp(log_factor)
        median = quantiles[..., MEDIAN, None]
        return np.sort(median + (quantiles - median) * factors, axis=-1)

    def learn(self, quantiles: Floats, outcome: Floats) -> "Calibration":
        """The calibration after a day whose raw `quantiles` [HORIZON, quantiles] met `outcome` [HORIZON]."""
        issued = self.apply(quantiles)
        misses = [((outcome < issued[:, low]) | (outcome > issued[:, high])).mean() for low, high in _PAIRS]
        return Calibration(self.log_factors + self.step * (np.array(misses) - _MISSES), self.step)


def calibrate(quantiles: Floats, outcomes: Floats, start: Calibration) -> tuple[Floats, Calibration]:
    """Calibrate consecutive as-of days, each with what had become known by then.

    Args:
        quantiles: [n, HORIZON, quantiles] raw forecasts of consecutive sessions.
        outcomes: [n, HORIZON] what happened.
        start: the calibration that the first HORIZON days use.

    Returns:
        The calibrated quantiles and the calibration once every outcome is known.
    """
    out = np.empty_like(quantiles)
    state = start
    for day in range(len(quantiles)):
        if day >= HORIZON:
            state = state.learn(quantiles[day - HORIZON], outcomes[day - HORIZON])
        out[day] = state.apply(quantiles[day])
    for day in range(max(0, len(quantiles) - HORIZON), len(quantiles)):
        state = state.learn(quantiles[day], outcomes[day])
    return out, state
