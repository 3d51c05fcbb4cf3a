"""What a ticker adds to a universe's model, fitted on its own past: its volatilities, and what returns over them do.

Every contender is a sigma times fixed quantiles, the network's like those of the steps that it is built from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


def quantiles_over(series: Series, rows: Rows, sigma: Floats) -> Floats:
    """[HORIZON, quantiles] of returns over `sigma` on `rows`: its level times the form that all horizons share."""
    level = level_of(series, rows, sigma)
    return level[:, None] * shape_of(series, rows, sigma * level)


def tails_over(series: Series, rows: Rows, sigma: Floats) -> Floats:
    """[HORIZON, 2] tails of returns over `sigma` on `rows`, in the form that all horizons share."""
    return pooled_tails(series.history.targets[rows] / (sigma * level_of(series, rows, sigma)))


def fit_own(series: Series, rows: Rows, model: UniverseModel) -> OwnFit:
    """Fit a ticker beside `model` on `rows`, whose targets must be known; the model need not have seen the ticker."""
    start = fit_start(series, rows, model.pooled)
    unshaped = OwnFit(start, {})
    sigmas = unshaped.sigmas(series, rows, model)
    return OwnFit(
        start,
        {name: quantiles_over(series, rows, sigma) for name, sigma in sigmas.items()},
        {name: tails_over(series, rows, sigma) for name, sigma in sigmas.items()},
    )
