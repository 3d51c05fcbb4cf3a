"""Fitting one LSTM with TensorFlow: the only module that trains, and it runs in worker processes.

The graph is traced once per shape and process; every fit starts from the same seeded weights and optimiser
state, on one thread, so its bits do not depend on what the process fitted before or on the machine's cores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stockcast_assets.forecasting.baselines import Naive, Rows
from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES, ModelConfig
from stockcast_assets.forecasting.features import History
from stockcast_assets.forecasting.network import Lstm, Weights, fit_scaler

CALM = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclass(frozen=True)
class Trainer:
    """A traced training graph and how to put it back to its initial state."""

    step: Callable[..., Any]
    loss: Callable[..., Any]
    reset: Callable[[np.ndarray], None]
    read: Callable[[], list[np.ndarray]]


@cache
def _trainer(config: ModelConfig, features: int) -> Trainer:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(config.seed)
    lstm = keras.layers.LSTM(config.units, unroll=True)
    dropout = keras.layers.Dropout(config.dropout, seed=config.seed)
    head = keras.layers.Dense(2 * HORIZON, kernel_initializer="zeros")
    network = keras.Sequential([keras.Input((config.window, features)), lstm, dropout, head])
    shape = tf.Variable(tf.zeros((HORIZON, len(QUANTILES))), name="shape")
    trained = [*network.trainable_variables, shape]
    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(trained)
    state = [*network.variables, *optimizer.variables]
    initial = [variable.numpy() for variable in state]
    levels = tf.constant(QUANTILES, tf.float32)

    def quantiles(x: Any, training: bool) -> Any:
        outputs = network(x, training=training)
        return outputs[:, :HORIZON, None] + tf.exp(outputs[:, HORIZON:, None]) * shape

    def pinball(y: Any, predicted: Any) -> Any:
        below = y[:, :, None] - predicted
        return tf.reduce_mean(tf.maximum(levels * below, (levels - 1) * below), axis=(1, 2))

    def huber(y: Any, location: Any) -> Any:
        off = tf.abs(y - location)
        return tf.reduce_mean(tf.where(off < 1, 0.5 * off * off, off - 0.5), axis=1)

    data = tf.TensorSpec((None, config.window, features), tf.float32)
    target = tf.TensorSpec((None, HORIZON), tf.float32)

    @tf.function(
        input_signature=[
            data,
            target,
            tf.TensorSpec((config.batch_size,), tf.int32),
            tf.TensorSpec((config.batch_size,), tf.float32),
        ],
        jit_compile=False,
    )
    def step(x: Any, y: Any, batch: Any, weight: Any) -> None:
        y_batch = tf.gather(y, batch)
        with tf.GradientTape() as tape:
            predicted = quantiles(tf.gather(x, batch), training=True)
            losses = pinball(y_batch, predicted)
            losses += config.location_weight * huber(y_batch, predicted[:, :, MEDIAN])
            loss = tf.reduce_sum(losses * weight) / tf.reduce_sum(weight)
        optimizer.apply(tape.gradient(loss, trained), trained)

    @tf.function(input_signature=[data, target], jit_compile=False)
    def loss(x: Any, y: Any) -> Any:
        return tf.reduce_mean(pinball(y, quantiles(x, training=False)))

    def reset(start_shape: np.ndarray) -> None:
        for variable, value in zip(state, initial, strict=True):
            variable.assign(value)
        shape.assign(start_shape)

    def read() -> list[np.ndarray]:
        kernel, recurrent, bias = lstm.get_weights()
        return [kernel, recurrent, bias, *head.get_weights(), shape.numpy()]

    return Trainer(step, loss, reset, read)


def fit_lstm(
    history: History, rows: Rows, validation: Rows, naive: Naive, config: ModelConfig
) -> tuple[Lstm, list[dict[str, float]]]:
    """Fit on `rows`, stop early on `validation`, keep the best epoch; epoch 0 is the HAR baseline `naive`.

    Returns:
        The LSTM and its loss curve: one {"epoch", "train", "validation"} per epoch, mean pinball in sigmas.
    """
    scaler = fit_scaler(history, rows)

    def arrays(of: Rows) -> tuple[np.ndarray, np.ndarray]:
        inputs = scaler.apply(history.windows(of, config.window))
        targets = history.targets[of] / naive.har.sigma(history, of)
        return inputs.astype(np.float32), targets.astype(np.float32)

    import tensorflow as tf

    trainer = _trainer(config, history.features.shape[1])
    trainer.reset(naive.shape)
    x, y = map(tf.constant, arrays(rows))
    x_validation, y_validation = map(tf.constant, arrays(validation))
    generator = np.random.default_rng(config.seed)
    batches = -(-len(rows) // config.batch_size)
    weight = np.zeros(batches * config.batch_size, np.float32)
    weight[: len(rows)] = 1

    curve: list[dict[str, float]] = []
    best, best_loss, waited = trainer.read(), np.inf, 0
    for epoch in range(config.epochs + 1):
        if epoch > 0:
            order = np.zeros(len(weight), np.int32)
            order[: len(rows)] = generator.permutation(len(rows))
            for batch in range(batches):
                part = slice(batch * config.batch_size, (batch + 1) * config.batch_size)
                trainer.step(x, y, tf.constant(order[part]), tf.constant(weight[part]))
        measured = float(trainer.loss(x_validation, y_validation))
        curve.append({"epoch": epoch, "train": float(trainer.loss(x, y)), "validation": measured})
        if measured < best_loss:
            best, best_loss, waited = trainer.read(), measured, 0
        else:
            waited += 1
            if waited >= config.patience:
                break
    weights = Weights(*(values.astype(np.float64) for values in best))
    return Lstm(weights, scaler, naive.har, config.window), curve
