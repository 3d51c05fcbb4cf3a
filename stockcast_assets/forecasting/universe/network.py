"""The universe's networks as plain arrays: forward pass in numpy, in blocks of one shape (see `models.network`).

Sessions are read in stretches: each begins at a multiple of STRETCH in the ticker's history, with the sessions before
it that its first one needs. So a forecast's window has between WINDOW and WINDOW + STRETCH - 1 sessions, which its
number in the history decides and nothing else, and a recursion serves many sessions instead of one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import Rows
from stockcast_assets.forecasting.models.network import BLOCK, Layer, Scaler, Singles, hidden_states
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.start import Pooled, Start
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats

WINDOW = 22
"""Sessions that a forecast reads at least; more than this changes nothing that can be measured."""

STRETCH = 22
"""Sessions that share a recursion. WINDOW + STRETCH - 1 is less than the training sees at once."""


_TOGETHER = 64
"""Tickers whose blocks go through the networks at once: more would leave the processor's cache."""


class Asked(NamedTuple):
    """What the networks read for n rows of one or many tickers.

    Attributes:
        stretches: [blocks, WINDOW + STRETCH - 1, BLOCK, inputs] standardised inputs of the sessions, zeros where none
            is.
        heads: [places, BLOCK, HORIZON, head inputs] standardised, of the sessions of each stretch that are asked for.
        block, place: [places] where in the stretches each is.
        at, slot: [n] the place and the slot of each row.
    """

    stretches: Singles
    heads: Singles
    block: Rows
    place: Rows
    at: Rows
    slot: Rows


@dataclass(frozen=True)
class Network:
    """log scale_h = w_h . state + v . tanh(A state + B head_h + b) + c_h.

    Attributes:
        lstm: reads the inputs of the sessions.
        state_hidden, head_hidden, hidden_bias: A [units, hidden], B [head inputs, hidden], b [hidden].
        hidden_out: v [hidden].
        state_out, out_bias: w [units, HORIZON], c [HORIZON].
    """

    lstm: Layer
    state_hidden: Singles
    head_hidden: Singles
    hidden_bias: Singles
    hidden_out: Singles
    state_out: Singles
    out_bias: Singles

    def log_scales(self, asked: Asked) -> Singles:
        """[n, HORIZON]"""
        at, slot = asked.at, asked.slot
        stretches, stretch = np.unique(asked.block[at] * BLOCK + slot, return_inverse=True)
        steps = np.zeros(len(stretches), np.int64)
        np.maximum.at(steps, stretch, WINDOW + asked.place[at])
        states = hidden_states(self.lstm, asked.stretches, stretches // BLOCK, stretches % BLOCK, steps)
        state = np.zeros((len(asked.heads), BLOCK, states.shape[-1]), np.float32)
        state[at, slot] = states[stretch, WINDOW - 1 + asked.place[at]]
        told = asked.heads.reshape(len(asked.heads), BLOCK * HORIZON, -1) @ self.head_hidden
        told = told.reshape(*asked.heads.shape[:3], -1)
        mixed = np.tanh((state @ self.state_hidden)[at, slot][:, None] + told[at, slot] + self.hidden_bias)
        # Term by term: numpy would choose a kernel by the number of rows.
        extra = np.add.reduce(mixed * self.hidden_out, axis=-1)
        values: Singles = (state @ self.state_out)[at, slot] + extra + self.out_bias
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
        return self.log_scales_of([self.asked(series, start, rows, sigma)])[0]

    def asked(self, series: Series, start: Start, rows: Rows, sigma: Floats) -> Asked:
        """What the networks read for the rows of a ticker, whose `sigma` [n, HORIZON] the start says."""
        numbers = series.history.skipped + rows
        blocks, block = np.unique(numbers // (STRETCH * BLOCK), return_inverse=True)
        steps = standardised(self.steps, start.steps(series)).astype(np.float32)
        # [blocks, slots] the first row of each stretch, and of it all rows that it reads.
        firsts = (blocks[:, None] * BLOCK + np.arange(BLOCK)) * STRETCH - series.history.skipped
        read = firsts[:, None] + np.arange(1 - WINDOW, STRETCH)[:, None]
        there = (read >= 0) & (read < len(steps))
        stretches = np.where(there[..., None], steps[np.clip(read, 0, len(steps) - 1)], np.float32(0))
        places, at = np.unique(block * STRETCH + numbers % STRETCH, return_inverse=True)
        slot = numbers // STRETCH % BLOCK
        heads = np.zeros((len(places), BLOCK, HORIZON, len(self.heads.mean)), np.float32)
        heads[at, slot] = standardised(self.heads, start.head(series, rows, sigma))
        return Asked(stretches, heads, places // STRETCH, places % STRETCH, at, slot)

    def log_scales_of(self, asked: Sequence[Asked]) -> list[Floats]:
        """[n, HORIZON] of each ticker: the same bits as alone, in a fraction of the time."""
        found: list[Floats] = []
        # numpy lets other threads go on while it multiplies; the scales are added up in the networks' order.
        with ThreadPoolExecutor(min(len(self.networks), os.cpu_count() or 1)) as threads:
            for first in range(0, len(asked), _TOGETHER):
                part = asked[first : first + _TOGETHER]
                of_each = threads.map(Network.log_scales, self.networks, repeat(_joined(part)))
                total = sum(scales.astype(np.float64) for scales in of_each)
                values = np.asarray(total) / len(self.networks)
                found += np.split(values, np.cumsum([len(one.at) for one in part])[:-1])
        return found


def _joined(asked: Sequence[Asked]) -> Asked:
    """The blocks and places of many tickers one after the other."""
    blocks = np.cumsum([0, *(len(one.stretches) for one in asked)])
    places = np.cumsum([0, *(len(one.heads) for one in asked)])
    return Asked(
        np.concatenate([one.stretches for one in asked]),
        np.concatenate([one.heads for one in asked]),
        np.concatenate([one.block + before for one, before in zip(asked, blocks, strict=False)]),
        np.concatenate([one.place for one in asked]),
        np.concatenate([one.at + before for one, before in zip(asked, places, strict=False)]),
        np.concatenate([one.slot for one in asked]),
    )


def standardised(scaler: Scaler, values: Floats) -> Floats:
    """What is not known yet counts as average."""
    return np.nan_to_num(scaler.apply(values))
