"""The LSTM as plain arrays: forward pass in numpy, so that forecasting needs no TensorFlow.

A matmul's last bits depend on the shape of the batch. Here as-of rows are multiplied in blocks of one fixed shape, in
which a session's place depends on its number in the ticker's history alone and absent sessions are zeros: a row's bits
do not depend on which other days share the call. In float32, as the weights were trained: half the time of float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from stockcast_assets.forecasting.config import MEDIAN
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.models.baselines import Forecast
from stockcast_assets.forecasting.models.volatility import QuarterlyHar, Volatility
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASE = QuarterlyHar.name
"""The baseline whose interval the network starts from."""

CLIP = 5.0
BLOCK = 4
"""Consecutive sessions that are multiplied together."""

Singles: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each feature over training rows."""

    mean: Floats
    std: Floats

    def apply(self, windows: Floats) -> Floats:
        return np.clip((windows - self.mean) / self.std, -CLIP, CLIP)


def fit_scaler(history: History, rows: Rows) -> Scaler:
    """Means and deviations of the inputs on `rows`."""
    values = history.features[rows]
    return Scaler(values.mean(axis=0), np.maximum(values.std(axis=0), 1e-8))


@dataclass(frozen=True)
class Layer:
    """One LSTM layer in Keras' layout (gates i, f, c, o).

    `kernel` [inputs, 4 units], `recurrent` [units, 4 units], `bias` [4 units].
    """

    kernel: Singles
    recurrent: Singles
    bias: Singles


@dataclass(frozen=True)
class Weights:
    """The LSTM `layers`, the first of which reads the features, `head` [units, HORIZON] and `head_bias` [HORIZON]."""

    layers: tuple[Layer, ...]
    head: Singles
    head_bias: Singles


def log_scales(weights: Weights, inputs: Floats, numbers: Rows) -> Floats:
    """Log of the interval's scale in units of sigma, [n, HORIZON], of standardised windows [n, steps, features].

    Linear in the last hidden state of the last layer.

    Args:
        weights: the network.
        inputs: a window per row.
        numbers: each row's number in the ticker's history, all different.
    """
    placed, block, slot = in_blocks(inputs, numbers)
    for layer in weights.layers:
        placed = hidden_states(layer, placed)
    scales = placed[:, -1] @ weights.head + weights.head_bias
    values: Floats = scales[block, slot].astype(np.float64)
    return values


def in_blocks(inputs: Floats, numbers: Rows) -> tuple[Singles, Rows, Rows]:
    """[n, steps, ...] as [blocks, steps, BLOCK, ...] with zeros elsewhere, and the block and slot of each row."""
    blocks, block = np.unique(numbers // BLOCK, return_inverse=True)
    slot = numbers % BLOCK
    placed = np.zeros((len(blocks), inputs.shape[1], BLOCK, *inputs.shape[2:]), np.float32)
    placed[block, :, slot] = inputs
    return placed, block, slot


def hidden_states(layer: Layer, inputs: Singles) -> Singles:
    """[blocks, steps, BLOCK, units] of inputs [blocks, steps, BLOCK, inputs].

    A standard LSTM (Hochreiter & Schmidhuber, 1997; Gers et al., 2000), with the sigmoid as (1 + tanh(x / 2)) / 2.
    """
    units = len(layer.recurrent)
    halved = np.ones(4 * units, np.float32)
    halved[: 2 * units] = halved[3 * units :] = 0.5
    recurrent = layer.recurrent * halved
    projected = inputs @ (layer.kernel * halved) + layer.bias * halved
    states = np.empty((*inputs.shape[:3], units), np.float32)
    hidden = np.zeros((len(inputs), BLOCK, units), np.float32)
    cell = np.zeros_like(hidden)
    for step in range(inputs.shape[1]):
        gates = hidden @ recurrent
        gates += projected[:, step]
        np.tanh(gates, out=gates)
        i, f, c, o = (gates[..., k * units : (k + 1) * units] for k in range(4))
        cell = 0.5 * ((1 + f) * cell + (1 + i) * c)
        hidden = 0.5 * (1 + o) * np.tanh(cell)
        states[:, step] = hidden
    return states


def pooled_shape(shape: Floats) -> Floats:
    """[HORIZON, quantiles] with each horizon's median and the spread around it averaged over the horizons.

    Returns over sigma have nearly the same form at every horizon, so the average is less noisy than each.
    """
    median = shape[:, MEDIAN, None]
    values: Floats = median + (shape - median).mean(axis=0)
    return values


@dataclass(frozen=True)
class Lstm:
    """A fitted LSTM, a contender like the baselines: quantile = exp(weight · log scale) · sigma · shape.

    `shape` [HORIZON, quantiles] in units of the sigma of `volatility`; `weight` is the network's share in the geometric
    mean of its scale and that sigma; `tails` [HORIZON, 2] as in `models.tails`.
    """

    weights: Weights
    scaler: Scaler
    volatility: Volatility
    shape: Floats
    window: int
    weight: float
    tails: Floats | None = None

    def predict(self, history: History, rows: Rows) -> Forecast:
        inputs = self.scaler.apply(history.windows(rows, self.window))
        log_scale = self.weight * log_scales(self.weights, inputs, history.skipped + rows)
        scale = np.exp(log_scale) * self.volatility.sigma(history, rows)
        quantiles = np.sort(scale[:, :, None] * self.shape, axis=2)
        return Forecast(quantiles, quantiles[:, :, MEDIAN])
