"""Fitting one LSTM with TensorFlow: the only module that trains, and it runs in worker processes.

The graph is traced once per shape and process; every fit starts from the same seeded weights and optimiser
state, on one thread, so its bits do not depend on what the process fitted before or on the machine's cores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from stockcast_assets.forecasting.config import HORIZON, QUANTILES, ModelConfig
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.models.baselines import Naive
from stockcast_assets.forecasting.models.network import Layer, Lstm, Weights, fit_scaler, pooled_shape
from stockcast_assets.forecasting.models.tails import pooled_as
from stockcast_assets.libraries import np

LossCurve = list[dict[str, float]]


@dataclass(frozen=True)
class Trainer:
    """A traced training graph and how to put it back to its initial state."""

    step: Callable[..., Any]
    loss: Callable[..., Any]
    reset: Callable[[], None]
    weights: Callable[[], Weights]


@cache
def _trainer(config: ModelConfig, features: int) -> Trainer:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(config.seed)
    lstms, stack = [], []
    for number in range(1, config.layers + 1):
        lstms.append(keras.layers.LSTM(config.units, unroll=True, return_sequences=number < config.layers))
        stack += [lstms[-1], keras.layers.Dropout(config.dropout, seed=config.seed + number - 1)]
    # Zeros: before the first step every interval is exactly the baseline's.
    head = keras.layers.Dense(HORIZON, kernel_initializer="zeros")
    network = keras.Sequential([keras.Input((config.window, features)), *stack, head])
    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(network.trainable_variables)
    state = [*network.variables, *optimizer.variables]
    initial = [variable.numpy() for variable in state]
    levels = tf.constant(QUANTILES, tf.float32)

    def pinball(x: Any, y: Any, shape: Any, training: bool) -> Any:
        below = y[:, :, None] - tf.exp(network(x, training=training))[:, :, None] * shape
        return tf.reduce_mean(tf.maximum(levels * below, (levels - 1) * below), axis=(1, 2))

    inputs = tf.TensorSpec((None, config.window, features), tf.float32)
    targets = tf.TensorSpec((None, HORIZON), tf.float32)
    shapes = tf.TensorSpec((HORIZON, len(QUANTILES)), tf.float32)
    batches = tf.TensorSpec((config.batch_size,), tf.int32)
    masks = tf.TensorSpec((config.batch_size,), tf.float32)

    @tf.function(input_signature=[inputs, targets, shapes, batches, masks], autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any, shape: Any, batch: Any, mask: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = pinball(tf.gather(x, batch), tf.gather(y, batch), shape, training=True)
            loss = tf.reduce_sum(losses * mask) / tf.reduce_sum(mask)
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return tf.reduce_sum(losses * mask)

    @tf.function(input_signature=[inputs, targets, shapes], autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def loss(x: Any, y: Any, shape: Any) -> Any:
        return tf.reduce_mean(pinball(x, y, shape, training=False))

    def reset() -> None:
        for variable, value in zip(state, initial, strict=True):
            variable.assign(value)

    def weights() -> Weights:
        return Weights(tuple(Layer(*lstm.get_weights()) for lstm in lstms), *head.get_weights())

    return Trainer(step, loss, reset, weights)


def forget_graphs() -> None:
    """Free every traced graph: a process that fits many configurations would otherwise keep them all."""
    import keras

    _trainer.cache_clear()
    keras.backend.clear_session()


def fit_lstm(
    history: History,
    rows: Rows,
    validation: Rows,
    base: Naive,
    config: ModelConfig,
    observe: Callable[[int, float], None] | None = None,
) -> tuple[Lstm, LossCurve]:
    """Fit the interval's scale on `rows`, stop early on `validation`, keep the best epoch.

    Targets are in units of the volatility of `base`; the network scales its quantiles, pooled over the horizons. Loss:
    mean pinball. `observe` gets each epoch's number and validation loss; what it raises ends the fit.

    Returns:
        The LSTM and its loss curve: one {"epoch", "train", "validation"} per epoch; epoch 0 is the interval of `base`.
        As in Keras, `train` is the mean over the epoch's batches while the weights move, dropout included.
    """
    import tensorflow as tf

    scaler = fit_scaler(history, rows)
    shape = pooled_shape(base.shape)

    def tensors(of: Rows) -> tuple[Any, Any, Any]:
        inputs = scaler.apply(history.windows(of, config.window))
        targets = history.targets[of] / base.volatility.sigma(history, of)
        return tuple(tf.constant(values.astype(np.float32)) for values in (inputs, targets, shape))

    trainer = _trainer(config, history.features.shape[1])
    trainer.reset()
    known, judged = tensors(rows), tensors(validation)
    generator = np.random.default_rng(config.seed)
    padded = -(-len(rows) // config.batch_size) * config.batch_size
    mask = (np.arange(padded) < len(rows)).astype(np.float32)

    curve: LossCurve = []
    best, best_loss, waited = trainer.weights(), np.inf, 0
    train_loss = float(trainer.loss(*known))
    for epoch in range(config.epochs + 1):
        if epoch > 0:
            order = np.zeros(padded, np.int32)
            order[: len(rows)] = generator.permutation(len(rows))
            sums = []
            for start in range(0, padded, config.batch_size):
                part = slice(start, start + config.batch_size)
                sums.append(trainer.step(*known, tf.constant(order[part]), tf.constant(mask[part])))
            train_loss = sum(map(float, sums)) / len(rows)
        measured = float(trainer.loss(*judged))
        curve.append({"epoch": epoch, "train": train_loss, "validation": measured})
        if observe is not None:
            observe(epoch, measured)
        if measured < best_loss:
            best, best_loss, waited = trainer.weights(), measured, 0
        else:
            waited += 1
            if waited == config.patience:
                break
    tails = pooled_as(base.shape, base.tails)
    return Lstm(best, scaler, base.volatility, shape, config.window, config.lstm_weight, tails), curve
