"""The LSTM as plain arrays: forward pass in numpy, so that forecasting needs no TensorFlow.

A matmul's last bits depend on the shape of the batch. Here every as-of row is multiplied alone (one vector
times matrix product each), so its bits do not depend on which other days share the call.
"""

from dataclasses import dataclass

import numpy as np

from stockcast_assets.forecasting.baselines import Forecast, HarVolatility, Rows
from stockcast_assets.forecasting.config import MEDIAN
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

    `kernel` [features, 4 units], `recurrent` [units, 4 units], `bias` [4 units], `head` [units, HORIZON],
    `head_bias` [HORIZON].
    """

    kernel: Floats
    recurrent: Floats
    bias: Floats
    head: Floats
    head_bias: Floats


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _times(rows: Floats, matrix: Floats) -> Floats:
    return np.matmul(rows[:, None, :], matrix)[:, 0, :]


def log_scales(weights: Weights, inputs: Floats) -> Floats:
    """Log of the interval's scale in units of sigma, [n, HORIZON], of standardised windows [n, steps, features].

    Linear in the last hidden state of a standard LSTM (Hochreiter & Schmidhuber, 1997; Gers et al., 2000).
    """
    units = len(weights.recurrent)
    hidden = np.zeros((len(inputs), units))
    cell = np.zeros_like(hidden)
    for step in range(inputs.shape[1]):
        gates = _times(np.ascontiguousarray(inputs[:, step]), weights.kernel) + _times(hidden, weights.recurrent)
        gates += weights.bias
        i, f, c, o = (gates[:, k * units : (k + 1) * units] for k in range(4))
        cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(c)
        hidden = _sigmoid(o) * np.tanh(cell)
    return _times(hidden, weights.head) + weights.head_bias


def pooled_shape(shape: Floats) -> Floats:
    """[HORIZON, quantiles] with each horizon's median and the spread around it averaged over the horizons.

    Returns over sigma have nearly the same form at every horizon, so the average is less noisy than each.
    """
    median = shape[:, MEDIAN, None]
    return median + (shape - median).mean(axis=0)


@dataclass(frozen=True)
class Lstm:
    """A fitted LSTM, a contender like the baselines: quantile = exp(weight · log scale) · sigma · shape.

    `shape` [HORIZON, quantiles] in units of the HAR volatility's sigma; `weight` is the network's share in the
    geometric mean of its scale and the HAR's.
    """

    weights: Weights
    scaler: Scaler
    har: HarVolatility
    shape: Floats
    window: int
    weight: float

    def predict(self, history: History, rows: Rows) -> Forecast:
        inputs = self.scaler.apply(history.windows(rows, self.window))
        scale = np.exp(self.weight * log_scales(self.weights, inputs)) * self.har.sigma(history, rows)
        quantiles = np.sort(scale[:, :, None] * self.shape, axis=2)
        return Forecast(quantiles, quantiles[:, :, MEDIAN])
