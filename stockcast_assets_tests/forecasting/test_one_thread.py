"""How many cores a machine has moves no bit of what is computed on it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from datetime import date

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.evaluation.scores import diebold_mariano
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.one_thread import one_thread
from stockcast_assets.forecasting.risk.portfolio import contributions, tail, value_at_risk_contributions
from stockcast_assets.forecasting.universe.inputs import series_of
from stockcast_assets.forecasting.universe.market import market_of
from stockcast_assets.forecasting.universe.month import teachers
from stockcast_assets.forecasting.universe.training import prepare_training

Bars = dict[str, pd.DataFrame]
COPIES = 6
"""Of each ticker of the sample: a pooled regression of so many rows is shared among threads where there are some."""


def what_networks_are_trained_on(bars: Bars) -> bytes:
    histories = {
        f"{ticker}{copy}": prepare(of.tail(len(of) - 40 * copy).reset_index(drop=True))
        for ticker, of in bars.items()
        for copy in range(COPIES)
    }
    series = series_of(histories, market_of(histories), {})
    folds = teachers(series, date(2013, 1, 1), ModelConfig())
    assert len(folds) == len(histories)
    return pickle.dumps(prepare_training(series, folds))


def baselines(bars: Bars) -> bytes:
    histories = [prepare(of) for of in bars.values()]
    rows = [np.arange(each.first_row, len(each) - 10) for each in histories]
    return pickle.dumps([fit_naive(each, of) for each, of in zip(histories, rows, strict=True)])


def risk_of_holdings(_: Bars) -> bytes:
    gains = np.random.default_rng(7).normal(size=(40, 5000))
    shares = [share(gains, 0.01) for share in (contributions, value_at_risk_contributions)]
    return pickle.dumps((tail(gains.sum(axis=0), 0.05), shares))


def significance(_: Bars) -> bytes:
    return pickle.dumps(diebold_mariano(np.random.default_rng(7).normal(size=50_000), 10))


@pytest.mark.parametrize("computed", [what_networks_are_trained_on, baselines, risk_of_holdings, significance])
def test_the_bits_are_the_same_on_any_number_of_threads(computed: Callable[[Bars], object], sample: Bars) -> None:
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(computed(sample))
    assert all(each == found[0] for each in found[1:])


def threads() -> list[int]:
    """Of NumPy's BLAS; SciPy brings another."""
    return [library["num_threads"] for library in threadpool_info() if "numpy" in library["filepath"]]


def test_the_number_of_threads_is_given_back() -> None:
    with threadpool_limits(3, user_api="blas"):
        assert threads() == [3]
        with suppress(ZeroDivisionError), one_thread():
            with one_thread():
                assert threads() == [1]
            assert threads() == [1]
            _ = 1 / 0
        assert threads() == [3]
