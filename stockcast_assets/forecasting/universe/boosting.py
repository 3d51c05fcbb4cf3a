"""Pooled LightGBM on the network's inputs: what boosted trees make of them, a contender of the evaluation.

It comes with the extra `stats` (lightgbm) and is never published. It learns what the network's variance loss does, from
the session's inputs and the horizon's, and scales the same start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import Rows
from stockcast_assets.forecasting.models.network import Scaler, Singles
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.network import standardised
from stockcast_assets.forecasting.universe.start import Start
from stockcast_assets.forecasting.universe.training import Prepared
from stockcast_assets.market.indicators import Floats

_ROUNDS = 200
_PARAMETERS = {
    "objective": "regression", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 500,
    "feature_fraction": 0.5, "bagging_fraction": 0.2, "bagging_freq": 1, "lambda_l2": 10.0, "num_threads": 1,
    "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip


@dataclass(frozen=True)
class Boosted:
    """Fitted trees of all tickers, with the scalers of what they look at."""

    trees: Any
    steps: Scaler
    heads: Scaler

    def sigma(self, series: Series, start: Start, rows: Rows) -> Floats:
        """[n, HORIZON] standard deviations of the next 1..HORIZON returns, up to a level per horizon."""
        sigma = start.sigma(series, rows)
        steps = standardised(self.steps, start.steps(series)[rows])
        heads = standardised(self.heads, start.head(series, rows, sigma))
        log_ratio = self.trees.predict(_table(steps, heads), num_threads=1).reshape(len(rows), HORIZON)
        scaled: Floats = sigma * np.exp(log_ratio / 2)
        return scaled


def fit_boosted(prepared: Prepared, seed: int = 1) -> Boosted:
    """Fit on the known rows of all training tickers.

    Raises:
        ModuleNotFoundError: if lightgbm is not installed.
    """
    import lightgbm

    data = prepared.data
    known = data.flags(data.known) > 0
    inputs = _table(data.steps[known], data.heads[known])
    learnt = lightgbm.Dataset(inputs, data.log_ratio[known].ravel(), free_raw_data=True)
    return Boosted(lightgbm.train({**_PARAMETERS, "seed": seed}, learnt, _ROUNDS), prepared.steps, prepared.heads)


def _table(steps: Floats | Singles, heads: Floats | Singles) -> Singles:
    """[n x HORIZON, inputs] a row per session and horizon."""
    together = np.concatenate([np.repeat(steps, HORIZON, axis=0), heads.reshape(len(steps) * HORIZON, -1)], axis=1)
    table: Singles = together.astype(np.float32)
    return table
