"""What a ticker adds to a universe's model, fitted on its own past: its volatilities, and what returns over them do.

Every contender is a sigma times fixed quantiles, the network's like those of the steps that it is built from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stockcast_assets.forecasting.config import MEDIAN
from stockcast_assets.forecasting.features import Rows
from stockcast_assets.forecasting.models.tails import pooled_tails
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.network import UniverseModel
from stockcast_assets.forecasting.universe.start import Start, fit_start, level_of, shape_of
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import HAR_EARNINGS, LSTM, MIX, MIX_EARNINGS

BASELINES = (HAR_EARNINGS, MIX, MIX_EARNINGS)
"""The steps between linear HAR and the network."""


PRIOR_MEDIAN, PRIOR_SPREAD = 4000.0, 1000.0
"""Sessions, of a ticker's own, that the form of all tickers counts as: its median, and the spread around it.

Returns over sigma have nearly the same form for every ticker, and the quantiles of a few years are noisy, most of all
their middle. What knows the ticker alone keeps its own.
"""


@dataclass(frozen=True)
class OwnFit:
    """A ticker beside a universe's model.

    Attributes:
        start: its volatilities.
        shapes: by contender, the network and BASELINES, [HORIZON, quantiles] of returns over its sigma.
        tails: by contender [HORIZON, 2] as in `models.tails`; none in files of releases that had none.
    """

    start: Start
    shapes: Mapping[str, Floats]
    tails: Mapping[str, Floats] = field(default_factory=dict)

    def sigmas(self, series: Series, rows: Rows, model: UniverseModel | None) -> dict[str, Floats]:
        """[n, HORIZON] of every contender; without a `model` of BASELINES alone."""
        sigmas = self.start.sigmas(series, rows)
        found = {name: sigmas[name] for name in BASELINES}
        if model is None:
            return found
        scales = model.log_scales(series, self.start, rows, sigmas[MIX_EARNINGS])
        return {LSTM: sigmas[MIX_EARNINGS] * np.exp(scales), **found}

    def quantiles_by(self, name: str, sigma: Floats) -> Floats:
        """[n, HORIZON, quantiles] of the log returns by a contender's `sigma` [n, HORIZON], not calibrated."""
        return np.sort(sigma[:, :, None] * self.shapes[name], axis=2)

    def quantiles(self, series: Series, rows: Rows, model: UniverseModel | None) -> dict[str, Floats]:
        """[n, HORIZON, quantiles] of the log returns of every contender; the network's are not calibrated."""
        return {name: self.quantiles_by(name, sigma) for name, sigma in self.sigmas(series, rows, model).items()}


def quantiles_over(series: Series, rows: Rows, sigma: Floats, of_all: Floats | None = None) -> Floats:
    """[HORIZON, quantiles] of returns over `sigma` on `rows`: its level times the form that all horizons share.

    Args:
        series: the ticker's.
        rows: what is known.
        sigma: [n, HORIZON] on those.
        of_all: the form of all tickers, [HORIZON, quantiles], to which this one's is shrunk; its own alone if None. A
            price that never moved keeps its own, which has no width.
    """
    level = level_of(series, rows, sigma)
    shape = shape_of(series, rows, sigma * level)
    return level[:, None] * (shape if of_all is None or not shape.any() else shrunk(shape, of_all, len(rows)))


def shrunk(
    own: Floats, of_all: Floats, sessions: int, median: float = PRIOR_MEDIAN, spread: float = PRIOR_SPREAD
) -> Floats:
    """[HORIZON, quantiles] of a form that was seen on so many sessions, and of that of all tickers.

    Args:
        own: the form that was seen, [HORIZON, quantiles].
        of_all: that of all tickers, in the same shape.
        sessions: how many are behind `own`.
        median: how many sessions `of_all` counts as, for its median.
        spread: how many it counts as, for the distances from the median.
    """
    middle = (sessions * own + median * of_all)[:, MEDIAN, None] / (sessions + median)
    around, usual = (form - form[:, MEDIAN, None] for form in (own, of_all))
    return middle + (sessions * around + spread * usual) / (sessions + spread)


def tails_over(series: Series, rows: Rows, sigma: Floats) -> Floats:
    """[HORIZON, 2] tails of returns over `sigma` on `rows`, in the form that all horizons share."""
    return pooled_tails(series.history.targets[rows] / (sigma * level_of(series, rows, sigma)))


def fit_own(series: Series, rows: Rows, model: UniverseModel) -> OwnFit:
    """Fit a ticker beside `model` on `rows`, whose targets must be known; the model need not have seen the ticker."""
    start = fit_start(series, rows, model.pooled)
    unshaped = OwnFit(start, {})
    shapes = dict.fromkeys((MIX, MIX_EARNINGS, LSTM), model.pooled.shape)
    sigmas = unshaped.sigmas(series, rows, model)
    return OwnFit(
        start,
        {name: quantiles_over(series, rows, sigma, shapes.get(name)) for name, sigma in sigmas.items()},
        {name: tails_over(series, rows, sigma) for name, sigma in sigmas.items()},
    )
