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
        values: Floats = windows - self.mean
        values /= self.std
        return np.clip(values, -CLIP, CLIP, out=values)


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
    states: Floats | Singles = inputs
    for layer in weights.layers:
        placed, block, slot = in_blocks(states, numbers)
        states = hidden_states(layer, placed, block, slot)
    placed, block, slot = in_blocks(states[:, -1:], numbers)
    scales = placed[:, 0] @ weights.head + weights.head_bias
    values: Floats = scales[block, slot].astype(np.float64)
    return values


def in_blocks(inputs: Floats | Singles, numbers: Rows) -> tuple[Singles, Rows, Rows]:
    """[n, steps, ...] as [blocks, steps, BLOCK, ...] with zeros elsewhere, and the block and slot of each row."""
    blocks, block = np.unique(numbers // BLOCK, return_inverse=True)
    slot = numbers % BLOCK
    placed = np.zeros((len(blocks), inputs.shape[1], BLOCK, *inputs.shape[2:]), np.float32)
    placed[block, :, slot] = inputs
    return placed, block, slot


def hidden_states(layer: Layer, inputs: Singles, block: Rows, slot: Rows, steps: Rows | None = None) -> Singles:
    """[n, all steps, units] of the sequences in `slot` [n] of `block` [n] of inputs [blocks, all steps, BLOCK, inputs].

    A standard LSTM (Hochreiter & Schmidhuber, 1997; Gers et al., 2000), with the sigmoid as (1 + tanh(x / 2)) / 2.
    Whole blocks are multiplied; what nobody asks for takes no further time.

    Args:
        layer: the weights.
        inputs: standardised.
        block: [n] where the sequences are: in which block,
        slot: [n] and there in which place.
        steps: [n] how many steps of each are asked for, all if None; what comes after them may be zero.
    """
    units, n = len(layer.recurrent), len(block)
    halved = np.ones(4 * units, np.float32)
    halved[: 2 * units] = halved[3 * units :] = 0.5
    kernel, recurrent, bias = layer.kernel * halved, layer.recurrent * halved, layer.bias * halved
    # The blocks that go on for longest first, so that those which go on are the first ones at every step.
    longest = np.zeros(len(inputs), np.int64)
    np.maximum.at(longest, block, inputs.shape[1] if steps is None else steps)
    order = np.argsort(-longest, kind="stable")
    inputs, longest = inputs[order], longest[order]
    place = np.argsort(order)[block]
    sequences = np.argsort(place, kind="stable")
    place, slot = place[sequences], slot[sequences]
    states = np.zeros((n, inputs.shape[1], units), np.float32)
    hidden = np.zeros((len(inputs), BLOCK, units), np.float32)
    cell = np.zeros((n, units), np.float32)
    for step in range(int(longest.max(initial=0))):
        blocks = int(np.searchsorted(-longest, -step))
        still = slice(int(place.searchsorted(blocks)))
        at = place[still], slot[still]
        gates = (hidden[:blocks] @ recurrent)[at]
        gates += (inputs[:blocks, step] @ kernel)[at] + bias
        np.tanh(gates, out=gates)
        i, f, c, o = (gates[:, k * units : (k + 1) * units] for k in range(4))
        cell[still] = 0.5 * ((1 + f) * cell[still] + (1 + i) * c)
        hidden[at] = 0.5 * (1 + o) * np.tanh(cell[still])
        states[sequences[still], step] = hidden[at]
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
