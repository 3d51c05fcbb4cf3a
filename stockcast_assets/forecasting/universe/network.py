"""The universe's networks as plain arrays: forward pass in numpy, in blocks of one shape (see `models.network`)."""

from __future__ import annotations

from dataclasses import dataclass

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import Rows
from stockcast_assets.forecasting.models.network import BLOCK, Layer, Scaler, Singles, hidden_states, in_blocks
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.start import Pooled, Start
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats

WINDOW = 22
"""Sessions that a forecast reads. Training sees up to 48; more than this changes nothing that can be measured."""


@dataclass(frozen=True)
class Network:
    """log scale_h = w_h . state + v . tanh(A state + B head_h + b) + c_h.

    Attributes:
        lstm: reads the inputs of the sessions.
        state_hidden, head_hidden, hidden_bias: A [units, hidden], B [head inputs, hidden], b [hidden].
        hidden_out: v [hidden].
        state_out, bias: w [units, HORIZON], c [HORIZON].
    """

    lstm: Layer
    state_hidden: Singles
    head_hidden: Singles
    hidden_bias: Singles
    hidden_out: Singles
    state_out: Singles
    bias: Singles

    def log_scales(self, windows: Singles, heads: Singles) -> Singles:
        """[blocks, BLOCK, HORIZON] of standardised windows [blocks, steps, BLOCK, inputs] and heads
        [blocks, BLOCK, HORIZON, head inputs]."""
        state = hidden_states(self.lstm, windows)[:, -1]
        told = heads.reshape(len(heads), BLOCK * HORIZON, -1) @ self.head_hidden
        mixed = np.tanh((state @ self.state_hidden)[:, :, None] + told.reshape(*heads.shape[:3], -1) + self.hidden_bias)
        # Term by term: numpy would choose a kernel by the number of rows.
        extra = np.add.reduce(mixed * self.hidden_out, axis=-1)
        values: Singles = state @ self.state_out + extra + self.bias
        return values


@dataclass(frozen=True)
class UniverseModel:
    """What a month's training over all tickers gives: it forecasts any ticker, seen or not.

    Attributes:
        networks: their log scales are averaged.
        steps, heads: scalers of the inputs.
        pooled: the pooled part of every ticker's start.
    """

    networks: tuple[Network, ...]
    steps: Scaler
    heads: Scaler
    pooled: Pooled

    def sigma(self, series: Series, start: Start, rows: Rows) -> Floats:
        """[n, HORIZON] standard deviations of the next 1..HORIZON returns, up to a level per horizon."""
        sigma = start.sigma(series, rows)
        return sigma * np.exp(self.log_scales(series, start, rows, sigma))

    def log_scales(self, series: Series, start: Start, rows: Rows, sigma: Floats) -> Floats:
        """[n, HORIZON] what the networks make of the start's `sigma`."""
        numbers = series.history.skipped + rows
        steps = standardised(self.steps, start.steps(series))
        windows = steps[np.maximum(rows[:, None] + np.arange(1 - WINDOW, 1), 0)]
        heads = standardised(self.heads, start.head(series, rows, sigma))
        placed, block, slot = in_blocks(windows, numbers)
        placed_heads = in_blocks(heads[:, None], numbers)[0][:, 0]
        total = sum(network.log_scales(placed, placed_heads).astype(np.float64) for network in self.networks)
        values: Floats = np.asarray(total)[block, slot] / len(self.networks)
        return values


def standardised(scaler: Scaler, values: Floats) -> Floats:
    """What is not known yet counts as average."""
    return np.nan_to_num(scaler.apply(values))
