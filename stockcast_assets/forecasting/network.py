"""The LSTM as plain arrays: forward pass in numpy, so that forecasting needs no TensorFlow.

A matmul's last bits depend on the shape of the batch. Here every as-of row is multiplied alone (one vector
times matrix product each), so its bits do not depend on which other days share the call.
"""

from dataclasses import dataclass

import numpy as np

from stockcast_assets.forecasting.baselines import Forecast, HarVolatility, Rows
from stockcast_assets.forecasting.config import HORIZON, MEDIAN
from stockcast_assets.forecasting.features import History
from stockcast_assets.market.indicators import Floats

CLIP = 5.0


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each feature over training rows."""

    mean: Floats
    std: Floats

    def apply(self, windows: Floats) -> Floats:
        return np.clip((windows - self.mean) / self.std, -CLIP, CLIP)


def fit_scaler(history: History, rows: Rows) -> Scaler:
    values = history.features[rows]
    return Scaler(values.mean(axis=0), np.maximum(values.std(axis=0), 1e-8))


@dataclass(frozen=True)
class Weights:
    """Weights in Keras' layout (gates i, f, c, o).

    `kernel` [features, 4 units], `recurrent` [units, 4 units], `bias` [4 units], `head` [units, 2 HORIZON],
    `head_bias` [2 HORIZON], `shape` [HORIZON, quantiles].
    """

    kernel: Floats
    recurrent: Floats
    bias: Floats
    head: Floats
    head_bias: Floats
    shape: Floats


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _times(rows: Floats, matrix: Floats) -> Floats:
    return np.matmul(rows[:, None, :], matrix)[:, 0, :]


def standardised_quantiles(weights: Weights, inputs: Floats) -> Floats:
    """Quantiles in units of sigma, [n, HORIZON, quantiles], of standardised windows [n, steps, features].

    quantile = location + exp(log scale) · shape, location and log scale linear in the last hidden state.
    """
    units = len(weights.recurrent)
    hidden = np.zeros((len(inputs), units))
    cell = np.zeros_like(hidden)
    for step in range(inputs.shape[1]):
        gates = _times(np.ascontiguousarray(inputs[:, step]), weights.kernel) + _times(
            hidden, weights.recurrent
        )
        gates += weights.bias
        i, f, c, o = (gates[:, k * units : (k + 1) * units] for k in range(4))
        cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(c)
        hidden = _sigmoid(o) * np.tanh(cell)
    outputs = _times(hidden, weights.head) + weights.head_bias
    location, log_scale = outputs[:, :HORIZON, None], outputs[:, HORIZON:, None]
    return location + np.exp(log_scale) * weights.shape


@dataclass(frozen=True)
class Lstm:
    """A fitted LSTM: a contender like the baselines."""

    weights: Weights
    scaler: Scaler
    har: HarVolatility
    window: int

    def predict(self, history: History, rows: Rows) -> Forecast:
        inputs = self.scaler.apply(history.windows(rows, self.window))
        standardised = standardised_quantiles(self.weights, inputs)
        quantiles = np.sort(standardised * self.har.sigma(history, rows)[:, :, None], axis=2)
        return Forecast(quantiles, quantiles[:, :, MEDIAN])
