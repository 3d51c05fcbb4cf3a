"""The universe's networks as plain arrays: forward pass in numpy, in blocks of one shape (see `models.network`).

Sessions are read in stretches: each begins at a multiple of STRETCH in the ticker's history, with the sessions before
it that its first one needs. So a forecast's window has between WINDOW and WINDOW + STRETCH - 1 sessions, which its
number in the history decides and nothing else, and a recursion serves many sessions instead of one.

Stretches of many tickers share blocks. In which place of a block a stretch is follows from its number and its ticker's
name, so that it is there alone as beside others, and tickers that are listed for as long fill the blocks evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple
from zlib import crc32

from stockcast_assets.cores import usable_cores
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import Rows
from stockcast_assets.forecasting.models.network import BLOCK, Layer, Scaler, Singles, hidden_states
from stockcast_assets.forecasting.universe.inputs import LEVELLED, Series
from stockcast_assets.forecasting.universe.start import Pooled, Start
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats

WINDOW = 22
"""Sessions that a forecast reads at least; more than this changes nothing that can be measured."""

STRETCH = 22
"""Sessions that share a recursion. WINDOW + STRETCH - 1 is less than the training sees at once."""

_TOGETHER = 64
"""Tickers whose sessions go through the networks at once: more would leave the processor's cache."""


class Question(NamedTuple):
    """The rows of a ticker that are asked about, its start, and what that says for them: `sigma` [rows, HORIZON]."""

    series: Series
    start: Start
    rows: Rows
    sigma: Floats


class Stretches(NamedTuple):
    """The sessions that the networks read for n rows of one or many tickers, in s stretches.

    Attributes:
        inputs: [blocks, WINDOW + STRETCH - 1, BLOCK, inputs] standardised; zeros where no session is.
        block, slot: [s] where in them each stretch is.
        steps: [s] how many sessions of it are asked for.
        of_row, session: [n] the stretch of each row, and its number there.
    """

    inputs: Singles
    block: Rows
    slot: Rows
    steps: Rows
    of_row: Rows
    session: Rows


class Heads(NamedTuple):
    """What the networks' heads are told of n rows.

    Attributes:
        inputs: [blocks, BLOCK, HORIZON, head inputs] standardised.
        block, slot: [n] where in them each row is.
    """

    inputs: Singles
    block: Rows
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

    def log_scales(self, stretches: Stretches, heads: Heads) -> Singles:
        """[n, HORIZON]"""
        at = heads.block, heads.slot
        states = hidden_states(self.lstm, stretches.inputs, stretches.block, stretches.slot, stretches.steps)
        state = np.zeros((len(heads.inputs), BLOCK, states.shape[-1]), np.float32)
        state[at] = states[stretches.of_row, WINDOW - 1 + stretches.session]
        told = heads.inputs.reshape(len(heads.inputs), BLOCK * HORIZON, -1) @ self.head_hidden
        # In place: memory that is asked for anew takes longer than what is done with it.
        mixed = told.reshape(*heads.inputs.shape[:3], -1)[at]
        mixed += (state @ self.state_hidden)[at][:, None]
        mixed += self.hidden_bias
        np.tanh(mixed, out=mixed)
        mixed *= self.hidden_out
        # Term by term: numpy would choose a kernel by the number of rows.
        values: Singles = (state @ self.state_out)[at] + np.add.reduce(mixed, axis=-1) + self.out_bias
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
        return self.log_scales_of([Question(series, start, rows, sigma)])[0]

    def log_scales_of(self, questions: Sequence[Question]) -> list[Floats]:
        """[n, HORIZON] of each ticker: the same bits as alone, in a fraction of the time."""
        found: list[Floats] = []
        # numpy lets other threads go on while it multiplies; the scales are added up in the networks' order.
        with ThreadPoolExecutor(min(len(self.networks), usable_cores())) as threads:
            for first in range(0, len(questions), _TOGETHER):
                part = questions[first : first + _TOGETHER]
                asked = repeat(self._stretches(part)), repeat(self._heads(part))
                of_each = threads.map(Network.log_scales, self.networks, *asked)
                total = sum(scales.astype(np.float64) for scales in of_each)
                values = np.asarray(total) / len(self.networks)
                found += np.split(values, np.cumsum([len(one.rows) for one in part])[:-1])
        return found

    def _stretches(self, questions: Sequence[Question]) -> Stretches:
        series = [one.series for one in questions]
        skipped = np.array([one.history.skipped for one in series])
        ticker = np.repeat(np.arange(len(series)), [len(one.rows) for one in questions])
        turn, session = np.divmod(_numbers(questions), STRETCH)
        turns = int(turn.max(initial=0)) + 1
        stretches, of_row = np.unique(ticker * turns + turn, return_inverse=True)
        of, number = np.divmod(stretches, turns)
        steps = np.zeros(len(of), np.int64)
        np.maximum.at(steps, of_row, WINDOW + session)
        slot = (number + np.array([crc32(one.history.ticker.encode()) for one in series])[of]) % BLOCK
        block = _blocks(slot, -steps)
        lengths = np.array([len(one.steps) for one in series])
        known = np.concatenate([one.steps for one in series])
        known[:, :LEVELLED] -= np.repeat([one.start.level for one in questions], lengths)[:, None]
        read = (number * STRETCH - skipped[of])[:, None] + np.arange(1 - WINDOW, STRETCH)
        there = (read >= 0) & (read < lengths[of, None])
        at = (np.cumsum(lengths) - lengths)[of, None] + np.clip(read, 0, lengths[of, None] - 1)
        values = standardised(self.steps, known).astype(np.float32)[at]
        inputs = np.zeros((int(block.max(initial=-1)) + 1, at.shape[1], BLOCK, values.shape[-1]), np.float32)
        inputs[block, :, slot] = np.where(there[..., None], values, np.float32(0))
        return Stretches(inputs, block, slot, steps, of_row, session)

    def _heads(self, questions: Sequence[Question]) -> Heads:
        told = np.concatenate([one.start.head(one.series, one.rows, one.sigma) for one in questions])
        # A product of so many rows gives one other last bits in another place: its number alone says where it is.
        slot = _numbers(questions) // STRETCH % BLOCK
        block = _blocks(slot, np.zeros(len(slot), np.int64))
        inputs = np.zeros((int(block.max(initial=-1)) + 1, BLOCK, HORIZON, told.shape[-1]), np.float32)
        inputs[block, slot] = standardised(self.heads, told)
        return Heads(inputs, block, slot)


def _numbers(questions: Sequence[Question]) -> Rows:
    """[n] the numbers of all rows in their tickers' histories."""
    return np.concatenate([one.series.history.skipped + one.rows for one in questions])


def _blocks(slots: Rows, order: Rows) -> Rows:
    """[n] the block of each: those of one slot are in one block after the other, by `order`."""
    blocks = np.empty(len(slots), np.int64)
    for slot in range(BLOCK):
        of_slot = np.flatnonzero(slots == slot)
        blocks[of_slot[np.argsort(order[of_slot], kind="stable")]] = np.arange(len(of_slot))
    return blocks


def standardised(scaler: Scaler, values: Floats) -> Floats:
    """What is not known yet counts as average."""
    return np.nan_to_num(scaler.apply(values), copy=False)
