"""GJR-GARCH with Student's t, the textbook's volatility with a leverage effect: a contender of the evaluation.

It comes with the extra `stats` (arch) and is never published. Fitted once on what a fold knows (Glosten, Jagannathan &
Runkle, 1993); each as-of day the recursion is run over the returns up to that day, with its parameters held. Its
quantiles are those of what it standardised (filtered historical simulation), as those of every volatility here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.models.baselines import Naive
from stockcast_assets.forecasting.models.tails import tails_of
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import GJR_GARCH

_PERCENT = 100.0
"""Returns are fitted in per cent: the likelihood is badly scaled otherwise."""


@dataclass(frozen=True)
class GarchVolatility:
    """sigma²(t+1) = omega + (alpha + gamma [e(t) < 0]) e(t)² + beta sigma²(t), e = r - mu, in per cent.

    `first` is the variance that the recursion starts from.
    """

    name: ClassVar[str] = GJR_GARCH
    mu: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    first: float

    def sigma(self, history: History, rows: Rows) -> Floats:
        """[n, HORIZON]"""
        shocks = np.diff(history.log_close) * _PERCENT - self.mu
        news = (self.omega + (self.alpha + self.gamma * (shocks < 0)) * shocks**2).tolist()
        ahead = [self.first]
        for of_session in news:
            ahead.append(of_session + self.beta * ahead[-1])
        variance = np.array(ahead)[rows]
        # A shock to come is negative as often as not.
        persistence = self.alpha + self.gamma / 2 + self.beta
        together = np.zeros((len(rows), HORIZON))
        total = np.zeros(len(rows))
        for h in range(HORIZON):
            total = total + variance
            together[:, h] = total
            variance = self.omega + persistence * variance
        sigma: Floats = np.sqrt(together) / _PERCENT
        return sigma


def fit_garch(history: History, rows: Rows) -> Naive:
    """Fit by maximum likelihood on the returns known once the targets of `rows` are.

    Raises:
        ModuleNotFoundError: if arch is not installed.
    """
    from arch import arch_model

    returns = np.diff(history.log_close[: rows[-1] + HORIZON + 1]) * _PERCENT
    model = arch_model(returns, mean="Constant", vol="GARCH", p=1, o=1, q=1, dist="t", rescale=False)
    found = model.fit(disp="off", show_warning=False).params
    mu, omega, alpha, gamma, beta = (float(found[name]) for name in ("mu", "omega", "alpha[1]", "gamma[1]", "beta[1]"))
    volatility = GarchVolatility(mu, omega, alpha, gamma, beta, float(returns.var()))
    standardised = history.targets[rows] / volatility.sigma(history, rows)
    return Naive(volatility, np.quantile(standardised, QUANTILES, axis=0).T, tails_of(standardised))
