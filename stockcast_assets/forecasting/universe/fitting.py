"""Fitting a network of the universe with TensorFlow, in a worker process of its own.

Rows are learnt from in chunks of consecutive sessions of one ticker with a loss at each session after the first few:
one recurrent step per row instead of a window's. Two losses see different things. The variance loss learns the mean
variance to come, less what all tickers of a day had in common; the pinball loss learns what the forecast is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.models.network import Layer, Singles
from stockcast_assets.forecasting.universe.network import Network
from stockcast_assets.libraries import np

Loss = Literal["variance", "pinball"]

UNITS = 64
HIDDEN = 32
DROPOUT = 0.2
LEARNING_RATE = 2e-3
CHUNK = 48
BURN_IN = 9
"""First sessions of a chunk that are read but not learnt from."""
CHUNKS_PER_STEP = 16
MOST_CHUNKS = 6_000
"""Chunks of an epoch, what some 80 tickers have in twelve years: of a larger universe each epoch draws so many."""
MOST_JUDGED = 1_000
"""Chunks of the validation rows that stop the training: of a larger universe always the same draw."""
VARIANCE_EPOCHS = 6
PINBALL_EPOCHS = 14
PATIENCE = 4

_LEARNT = CHUNK - BURN_IN


@dataclass(frozen=True)
class TrainingSet:
    """All rows of all training tickers one after the other, CHUNK empty rows before, between and after them.

    Attributes:
        steps: [rows, inputs] standardised inputs.
        heads: [rows, HORIZON, head inputs] standardised.
        log_ratio: [rows, HORIZON] log of the variance to come over the start's, centred.
        targets: [rows, HORIZON] returns in units of the start's sigma.
        shape: [tickers, HORIZON, quantiles] quantiles of each ticker's `targets`.
        ticker: [rows] number of the ticker.
        known, train, validation: [tickers, 2] first and last row of each stretch.
    """

    steps: Singles
    heads: Singles
    log_ratio: Singles
    targets: Singles
    shape: Singles
    ticker: np.ndarray
    known: np.ndarray
    train: np.ndarray
    validation: np.ndarray

    def flags(self, stretches: np.ndarray) -> Singles:
        """[rows] 1 inside the stretches."""
        inside = np.zeros(len(self.ticker), np.float32)
        for first, last in stretches:
            inside[first : last + 1] = 1
        return inside


@dataclass(frozen=True)
class _Graph:
    step: Callable[..., Any]
    forward: Callable[..., Any]
    reset: Callable[[int], None]
    weights: Callable[[], list[Singles]]
    assign: Callable[[list[Singles]], None]


def _initial(inputs: int, head_inputs: int, seed: int) -> list[Singles]:
    """Glorot and orthogonal weights, forget gates open; what leads to the scale is zero: step 0 is the start itself."""
    generator = np.random.default_rng(seed)

    def glorot(rows: int, columns: int) -> np.ndarray:
        values: np.ndarray = generator.uniform(-1, 1, (rows, columns)) * np.sqrt(6 / (rows + columns))
        return values

    gates = [np.linalg.qr(generator.normal(size=(UNITS, UNITS)))[0] for _ in range(4)]
    bias = np.zeros(4 * UNITS)
    bias[UNITS : 2 * UNITS] = 1
    weights = [
        glorot(inputs, 4 * UNITS), np.concatenate(gates, axis=1), bias, glorot(UNITS, HIDDEN),
        glorot(head_inputs, HIDDEN), np.zeros(HIDDEN), np.zeros((HIDDEN, 1)), np.zeros((UNITS, HORIZON)),
        np.zeros(HORIZON),
    ]  # fmt: skip
    return [array.astype(np.float32) for array in weights]


@cache
def _graph(inputs: int, head_inputs: int, loss: Loss) -> _Graph:
    import tensorflow as tf

    variables = [tf.Variable(value) for value in _initial(inputs, head_inputs, 0)]
    first = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
    second = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
    taken = tf.Variable(0.0)
    halved = np.ones(4 * UNITS, np.float32)
    halved[: 2 * UNITS] = halved[3 * UNITS :] = 0.5
    levels = tf.constant(QUANTILES, tf.float32)

    def outputs(steps: Any, heads: Any, keep: Any) -> Any:
        """[chunks * learnt, HORIZON]"""
        kernel, recurrent, bias, state_hidden, head_hidden, hidden_bias, hidden_out, state_out, out_bias = variables
        projected = tf.reshape(steps, [-1, inputs]) @ (kernel * halved) + bias * halved
        projected = tf.unstack(tf.reshape(projected, [-1, CHUNK, 4 * UNITS]), axis=1)
        hidden = cell = tf.zeros([tf.shape(steps)[0], UNITS])
        states = []
        for number, of_session in enumerate(projected):
            i, f, c, o = tf.split(tf.tanh(of_session + hidden @ (recurrent * halved)), 4, axis=1)
            cell = 0.5 * ((1 + f) * cell + (1 + i) * c)
            hidden = 0.5 * (1 + o) * tf.tanh(cell)
            if number >= BURN_IN:
                states.append(hidden)
        # One mask for all sessions of a chunk.
        state = tf.reshape(tf.stack(states, axis=1) * keep[:, None, :], [-1, UNITS])
        told = tf.reshape(tf.reshape(heads, [-1, head_inputs]) @ head_hidden, [-1, HORIZON, HIDDEN])
        mixed = tf.tanh((state @ state_hidden)[:, None, :] + told + hidden_bias)
        extra = tf.reshape(tf.reshape(mixed, [-1, HIDDEN]) @ hidden_out, [-1, HORIZON])
        return state @ state_out + extra + out_bias

    def losses(scales: Any, targets: Any, shape: Any) -> Any:
        if loss == "variance":
            return tf.reduce_mean((targets - 2 * scales) ** 2, axis=1)
        below = targets[:, :, None] - tf.exp(scales)[:, :, None] * shape
        return tf.reduce_mean(tf.maximum(levels * below, (levels - 1) * below), axis=(1, 2))

    def spec(*shape: int) -> Any:
        return tf.TensorSpec((None, *shape), tf.float32)

    signature = [
        spec(CHUNK, inputs), spec(HORIZON, head_inputs), spec(UNITS), spec(HORIZON), spec(HORIZON, len(QUANTILES)),
        spec(),
    ]  # fmt: skip

    @tf.function(input_signature=signature, autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def step(steps: Any, heads: Any, keep: Any, targets: Any, shape: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            each = losses(outputs(steps, heads, keep), targets, shape)
            total = tf.reduce_sum(each * weight) / tf.reduce_sum(weight)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(total, variables), 1.0)
        # Adam (Kingma & Ba, 2015).
        taken.assign_add(1.0)
        rate = LEARNING_RATE * tf.sqrt(1 - 0.999**taken) / (1 - 0.9**taken)
        for variable, m, v, gradient in zip(variables, first, second, gradients, strict=True):
            m.assign(0.9 * m + 0.1 * gradient)
            v.assign(0.999 * v + 0.001 * gradient * gradient)
            variable.assign_sub(rate * m / (tf.sqrt(v) + 1e-8))
        return total

    @tf.function(input_signature=signature, autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def forward(steps: Any, heads: Any, keep: Any, targets: Any, shape: Any, weight: Any) -> Any:
        each = losses(outputs(steps, heads, keep), targets, shape)
        return tf.reduce_sum(each * weight), tf.reduce_sum(weight)

    def assign(values: list[Singles]) -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def reset(seed: int) -> None:
        assign(_initial(inputs, head_inputs, seed))
        for moment in (*first, *second):
            moment.assign(np.zeros(moment.shape, np.float32))
        taken.assign(0.0)

    return _Graph(step, forward, reset, lambda: [variable.numpy() for variable in variables], assign)


def fit_network(data: TrainingSet, loss: Loss, seed: int) -> tuple[Network, int]:
    """One network, and after how many epochs.

    The variance loss learns from all known rows for a fixed number of epochs; the pinball loss stops on the
    validation rows, which are purged from those it learns from.
    """
    graph = _graph(data.steps.shape[1], data.heads.shape[2], loss)
    graph.reset(seed)
    generator = np.random.default_rng(seed)
    stretches = data.known if loss == "variance" else data.train
    flags = data.flags(stretches)
    epochs = VARIANCE_EPOCHS if loss == "variance" else PINBALL_EPOCHS
    best, best_loss, best_epoch = graph.weights(), _validation(graph, data, loss), 0
    for epoch in range(1, epochs + 1):
        for chunks in _batches(stretches, generator):
            keep = (generator.random((len(chunks), UNITS)) >= DROPOUT).astype(np.float32) / np.float32(1 - DROPOUT)
            batch = _batch(data, chunks, flags, loss)
            if batch[-1].any():
                graph.step(*batch[:2], keep, *batch[2:])
        if loss == "variance":
            best, best_epoch = graph.weights(), epoch
            continue
        measured = _validation(graph, data, loss)
        if measured < best_loss:
            best, best_loss, best_epoch = graph.weights(), measured, epoch
        elif epoch - best_epoch == PATIENCE:
            break
    kernel, recurrent, bias, state_hidden, head_hidden, hidden_bias, hidden_out, state_out, out_bias = best
    lstm = Layer(kernel, recurrent, bias)
    network = Network(lstm, state_hidden, head_hidden, hidden_bias, hidden_out[:, 0], state_out, out_bias)
    return network, best_epoch


def _starts(stretches: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """First rows of the chunks whose learnt parts cover the stretches; the first of each is `phase` rows early."""
    each = [
        np.arange(first - BURN_IN - phase, last - BURN_IN + 1, _LEARNT)
        for (first, last), phase in zip(stretches, phases, strict=True)
    ]
    return np.concatenate(each)


def _batches(stretches: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Chunks in a new order, cut anew; the last batch is filled up."""
    starts = generator.permutation(_starts(stretches, generator.integers(0, _LEARNT, len(stretches))))[:MOST_CHUNKS]
    for first in range(0, len(starts), CHUNKS_PER_STEP):
        batch = starts[first : first + CHUNKS_PER_STEP]
        lacking = CHUNKS_PER_STEP - len(batch)
        yield np.concatenate([batch, generator.choice(starts, lacking)]) if lacking else batch


def _batch(data: TrainingSet, chunks: np.ndarray, flags: Singles, loss: Loss) -> tuple[Singles, ...]:
    rows = chunks[:, None] + np.arange(CHUNK)
    learnt = rows[:, BURN_IN:].ravel()
    targets = data.log_ratio if loss == "variance" else data.targets
    return data.steps[rows], data.heads[learnt], targets[learnt], data.shape[data.ticker[learnt]], flags[learnt]


def _validation(graph: _Graph, data: TrainingSet, loss: Loss) -> float:
    starts = _starts(data.validation, np.zeros(len(data.validation), np.int64))
    if len(starts) > MOST_JUDGED:
        starts = np.sort(np.random.default_rng(0).choice(starts, MOST_JUDGED, replace=False))
    flags = data.flags(data.validation)
    total = count = 0.0
    for first in range(0, len(starts), 8 * CHUNKS_PER_STEP):
        chunks = starts[first : first + 8 * CHUNKS_PER_STEP]
        batch = _batch(data, chunks, flags, loss)
        losses, weights = graph.forward(*batch[:2], np.ones((len(chunks), UNITS), np.float32), *batch[2:])
        total, count = total + float(losses), count + float(weights)
    return total / count
