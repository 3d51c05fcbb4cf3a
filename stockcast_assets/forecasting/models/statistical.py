"""AutoETS and Theta, textbook univariate forecasts of the log close: contenders of the evaluation, never published.

They come with the extra `stats` (statsforecast), as does `garch`. Like every contender they are fitted once on what a
fold knows; each as-of day the fitted model is run forward over the closes up to that day, with its form and parameters
held.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.models.baselines import Contender, Forecast
from stockcast_assets.forecasting.models.garch import fit_garch
from stockcast_assets.methods import AUTO_ETS, GJR_GARCH, THETA

UNIVARIATE = (AUTO_ETS, THETA)
PACKAGES = ("arch", "lightgbm", "statsforecast")
"""What the extra `stats` brings."""

_COVERAGES = [round(100 * (QUANTILES[-1 - low] - QUANTILES[low])) for low in range(MEDIAN)]
_COLUMNS = [*(f"lo-{share}" for share in _COVERAGES), "mean", *(f"hi-{share}" for share in reversed(_COVERAGES))]


@dataclass(frozen=True)
class Statistical:
    """A fitted model of statsforecast, with the `predict` of every contender."""

    model: Any

    def predict(self, history: History, rows: Rows) -> Forecast:
        """Its prediction intervals as quantiles; each row sees the closes up to its own day alone."""
        quantiles = np.empty((len(rows), HORIZON, len(QUANTILES)))
        for position, row in enumerate(rows.tolist()):
            known = np.ascontiguousarray(history.log_close[: row + 1])
            said = self.model.forward(y=known, h=HORIZON, level=_COVERAGES)
            levels = np.column_stack([said[column] for column in _COLUMNS])
            quantiles[position] = np.sort(levels - known[-1], axis=1)
        return Forecast(quantiles, quantiles[:, :, MEDIAN])


def fit_statistical(history: History, rows: Rows) -> dict[str, Contender]:
    """Contenders by name, fitted on the closes known once the targets of `rows` are.

    - auto_ets: exponential smoothing, its form chosen by AICc (Hyndman et al., 2002)
    - theta: the standard theta method (Assimakopoulos & Nikolopoulos, 2000)
    - gjr_garch: see `garch`

    Raises:
        StockcastError: if the extra `stats` is not installed.
    """
    require_stats()
    from statsforecast.models import AutoETS, Theta

    known = np.ascontiguousarray(history.log_close[: rows[-1] + HORIZON + 1])
    models: tuple[Any, ...] = (AutoETS(season_length=1), Theta(season_length=1))
    univariate = {name: Statistical(model.fit(known)) for name, model in zip(UNIVARIATE, models, strict=True)}
    return {**univariate, GJR_GARCH: fit_garch(history, rows)}


def require_stats() -> None:
    """Raise StockcastError unless the packages of the extra `stats` are installed."""
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    if lacking:
        raise StockcastError(
            f"The contenders of --with-statistical need {' and '.join(lacking)}, which is not installed: "
            "`pip install 'stockcast-assets[stats]'`, or leave --with-statistical out."
        )
