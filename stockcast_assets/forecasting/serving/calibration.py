"""Adaptive conformal inference: interval widths that learn from outcomes as they become known.

Gibbs & Candès (2021), kept per interval as a log factor on the distance from the median: the more horizons
missed the interval, the more it widens; the more hit it, the more it narrows. One factor serves all horizons,
whose overlapping outcomes carry nearly the same news. An as-of day D knows only the outcomes of forecasts made
HORIZON or more sessions earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats


@dataclass(frozen=True)
class Calibration:
    """`log_factors` [..., intervals] from the widest interval to the narrowest, and the `step` [..., 1] or a number."""

    log_factors: Floats
    step: float | Floats

    @classmethod
    def start(cls, step: float) -> Calibration:
        return cls(np.zeros(MEDIAN), step)

    def apply(self, quantiles: Floats) -> Floats:
        """Widen or narrow `quantiles` [..., HORIZON, quantiles] around their median; the result is sorted."""
        outer = np.exp(self.log_factors)
        factors = np.concatenate((outer, np.ones((*outer.shape[:-1], 1)), outer[..., ::-1]), axis=-1)
        median = quantiles[..., MEDIAN, None]
        return np.sort(median + (quantiles - median) * factors[..., None, :], axis=-1)

    def learn(self, quantiles: Floats, outcome: Floats) -> Calibration:
        """The calibration after a day whose raw `quantiles` [..., HORIZON, quantiles] met `outcome` [..., HORIZON]."""
        issued = self.apply(quantiles)
        below = outcome[..., None] < issued[..., :MEDIAN]
        above = outcome[..., None] > issued[..., :MEDIAN:-1]
        misses = (below | above).sum(axis=-2) / HORIZON
        return Calibration(self.log_factors + self.step * (misses - 2 * np.array(QUANTILES[:MEDIAN])), self.step)


def replay(
    starts: Sequence[Calibration], quantiles: Sequence[Floats], outcomes: Sequence[Floats]
) -> list[list[Calibration]]:
    """The calibrations of several models before and after each of their days, all models a day at a time.

    Args:
        starts: each model's first calibration.
        quantiles: per model [days, HORIZON, quantiles] raw forecasts.
        outcomes: per model [days, HORIZON] what happened.

    Returns:
        Per model days + 1 calibrations. Each is a function of its own model's days alone, to the last bit.
    """
    states = [[start] for start in starts]
    for day in range(max(map(len, outcomes), default=0)):
        going_on = [model for model, of_model in enumerate(outcomes) if len(of_model) > day]
        together = Calibration(
            np.stack([states[model][day].log_factors for model in going_on]),
            np.array([[starts[model].step] for model in going_on]),
        )
        learnt = together.learn(
            np.stack([quantiles[model][day] for model in going_on]),
            np.stack([outcomes[model][day] for model in going_on]),
        )
        for model, log_factors in zip(going_on, learnt.log_factors, strict=True):
            states[model].append(Calibration(log_factors, starts[model].step))
    return states


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


def calibrate_each(
    quantiles: Mapping[str, Floats], outcomes: Floats, step: float
) -> tuple[dict[str, Floats], dict[str, Calibration]]:
    """`calibrate` of several forecasts of the same days, each with a calibration of its own, in the time of one.

    Args:
        quantiles: by name [n, HORIZON, quantiles] raw forecasts of consecutive sessions.
        outcomes: [n, HORIZON] what happened.
        step: of every calibration.

    Returns:
        By name what `calibrate` returns.
    """
    together, state = calibrate(np.stack(list(quantiles.values()), axis=1), outcomes, Calibration.start(step))
    factors = np.broadcast_to(state.log_factors, (len(quantiles), MEDIAN))
    return (
        {name: together[:, place].copy() for place, name in enumerate(quantiles)},
        {name: Calibration(factors[place].copy(), step) for place, name in enumerate(quantiles)},
    )
