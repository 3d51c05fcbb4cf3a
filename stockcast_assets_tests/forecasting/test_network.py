"""The numpy forward pass is Keras' LSTM, and a row's bits are its own."""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.forecasting.config import HORIZON, MEDIAN
from stockcast_assets.forecasting.features import FEATURE_NAMES, prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.network import BASE, Layer, Lstm, Weights, fit_scaler, log_scales, pooled_shape
from stockcast_assets_tests.forecasting.conftest import made_up_bars

UNITS, WINDOW, FEATURES = 64, 10, len(FEATURE_NAMES)


@pytest.fixture(scope="module", params=[1, 2], ids=["one layer", "two layers"])
def weights(request: pytest.FixtureRequest) -> Weights:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape, scale=0.3 / np.sqrt(len(layers) + 1)).astype(np.float32)

    layers: list[Layer] = []
    for inputs in (FEATURES, UNITS)[: request.param]:
        layers.append(Layer(drawn(inputs, 4 * UNITS), drawn(UNITS, 4 * UNITS), drawn(4 * UNITS)))
    return Weights(tuple(layers), drawn(UNITS, HORIZON), drawn(HORIZON))


def keras_log_scales(weights: Weights, inputs: np.ndarray) -> np.ndarray:
    """What Keras' own layers say; runs where TensorFlow is."""
    import keras

    last = len(weights.layers) - 1
    lstms = [keras.layers.LSTM(UNITS, dtype="float64", return_sequences=k < last) for k in range(last + 1)]
    head = keras.layers.Dense(HORIZON, dtype="float64")
    network = keras.Sequential([keras.Input((WINDOW, FEATURES), dtype="float64"), *lstms, head])
    for lstm, layer in zip(lstms, weights.layers, strict=True):
        lstm.set_weights([layer.kernel, layer.recurrent, layer.bias])
    head.set_weights([weights.head, weights.head_bias])
    return np.asarray(network(inputs))


def test_it_equals_keras(weights: Weights, worker: ProcessPoolExecutor) -> None:
    inputs = np.random.default_rng(1).normal(size=(50, WINDOW, FEATURES))
    expected = worker.submit(keras_log_scales, weights, inputs).result()
    np.testing.assert_allclose(log_scales(weights, inputs, np.arange(50)), expected, atol=5e-6)


INPUTS = np.random.default_rng(2).normal(size=(300, WINDOW, FEATURES))


@given(rows=st.sets(st.integers(0, 299), min_size=1, max_size=40), first=st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_row_alone_has_the_bits_it_has_beside_any_others(weights: Weights, rows: set[int], first: int) -> None:
    """Whichever rows are asked for together, in whatever order, wherever the history begins."""
    chosen = np.array(list(rows))
    together = log_scales(weights, INPUTS[chosen], first + chosen)
    for place, row in enumerate(chosen[:5]):
        alone = log_scales(weights, INPUTS[row : row + 1], np.array([first + row]))
        assert alone.tobytes() == together[place : place + 1].tobytes()


def test_an_untrained_head_gives_the_interval_it_starts_from(weights: Weights) -> None:
    history = prepare(made_up_bars(700))
    rows = np.arange(history.first_row + WINDOW, len(history) - HORIZON)
    base = fit_naive(history, rows)[BASE]
    zeros = Weights(weights.layers, 0 * weights.head, 0 * weights.head_bias)
    lstm = Lstm(zeros, fit_scaler(history, rows), base.volatility, pooled_shape(base.shape), WINDOW, 1.0)
    ours, theirs = lstm.predict(history, rows), base.predict(history, rows)
    np.testing.assert_allclose(ours.point, theirs.point)
    spread = ours.quantiles[:, :, -1] - ours.point
    sigma = base.volatility.sigma(history, rows)
    np.testing.assert_allclose(spread, sigma * (lstm.shape[:, -1] - lstm.shape[:, MEDIAN]))
    assert (np.diff(ours.quantiles, axis=2) >= 0).all()


def test_pooling_keeps_medians_and_averages_spreads() -> None:
    shape = np.sort(np.random.default_rng(3).normal(size=(HORIZON, 7)), axis=1)
    pooled = pooled_shape(shape)
    np.testing.assert_allclose(pooled[:, MEDIAN], shape[:, MEDIAN])
    spread = pooled - pooled[:, MEDIAN, None]
    np.testing.assert_allclose(spread, np.broadcast_to(spread[0], spread.shape), atol=1e-12)
    np.testing.assert_allclose(spread[0], (shape - shape[:, MEDIAN, None]).mean(axis=0))
