"""A universe's month and a ticker's own part as plain arrays and back: npz, read without pickle, checked by digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import Any

from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import HAR_WINDOWS
from stockcast_assets.forecasting.models.network import Layer, Scaler, Singles
from stockcast_assets.forecasting.models.volatility import HarVolatility
from stockcast_assets.forecasting.npz import numbers, opened, to_npz
from stockcast_assets.forecasting.universe.contenders import BASELINES, OwnFit
from stockcast_assets.forecasting.universe.earnings import WIDTH, EventFactor
from stockcast_assets.forecasting.universe.fitting import HIDDEN, UNITS
from stockcast_assets.forecasting.universe.inputs import HEAD_INPUTS, STEP_INPUTS
from stockcast_assets.forecasting.universe.month import MonthModel, Vintage
from stockcast_assets.forecasting.universe.network import Network, UniverseModel
from stockcast_assets.forecasting.universe.start import MARKET_WINDOWS, Pooled, Start
from stockcast_assets.inputs import validate_ticker
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import LSTM
from stockcast_assets.tables import TAILS

FORMAT = 1

_MOST_NETWORKS = 16
_MOST_VINTAGES = 12
_MAX_LOG_SCALE = 300.0
_MOST_WIDTHS = 100.0
"""Widths of the 90 % interval beyond which no 1 % or 99 % quantile lies."""
_HAR = len(HAR_WINDOWS) + 3
_OFFSETS = 2 * WIDTH
_LEVELS = ("pooled_scale", "mix_scale", "scale", "har_scale")


def month_bytes(month: MonthModel) -> bytes:
    """The month as npz; equal months give equal bytes."""
    arrays: dict[str, np.ndarray] = {}
    for number, vintage in enumerate(month.vintages):
        arrays |= {f"{number}.{name}": array for name, array in _model_arrays(vintage.model).items()}
    meta = {
        "format": FORMAT,
        "vintages": [
            {
                "origin": vintage.origin.isoformat(),
                "networks": len(vintage.model.networks),
                "members": list(vintage.members),
                "n_samples": vintage.n_samples,
                "fingerprint": vintage.fingerprint,
                "learnt": vintage.learnt,
                "shaped": vintage.model.pooled.shape is not None,
            }
            for vintage in month.vintages
        ],
    }
    return to_npz(arrays, meta)


def month_of_bytes(data: bytes, sha256: str) -> MonthModel:
    """Read what `month_bytes` wrote.

    Raises:
        ModelFileError: if the digest differs, or the file is odd in any way; see `npz.opened`.
    """
    with opened(data, sha256, "universe's model file", "universe_model") as (arrays, meta):
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {str(meta['format'])[:20]}")
        if not 1 <= len(meta["vintages"]) <= _MOST_VINTAGES:
            raise ValueError("it has no fit, or too many")
        vintages = tuple(_vintage(arrays, number, told) for number, told in enumerate(meta["vintages"]))
        if sorted({vintage.origin for vintage in vintages}) != [vintage.origin for vintage in vintages]:
            raise ValueError("its fits are not in order")
    return MonthModel(vintages)


def _vintage(arrays: Mapping[str, np.ndarray], number: int, told: Mapping[str, Any]) -> Vintage:
    own = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{number}.")}
    return Vintage(
        date.fromisoformat(told["origin"]),
        # Files of earlier releases do not say it.
        _model(own, int(told["networks"]), bool(told.get("shaped", False))),
        tuple(map(validate_ticker, told["members"])),
        int(told["n_samples"]),
        str(told["fingerprint"]),
        bool(told["learnt"]),
    )


def _model_arrays(model: UniverseModel) -> dict[str, np.ndarray]:
    networks = model.networks
    layer = {f.name: np.stack([getattr(network.lstm, f.name) for network in networks]) for f in fields(Layer)}
    rest = {
        f.name: np.stack([getattr(network, f.name) for network in networks])
        for f in fields(Network)
        if f.name != "lstm"
    }
    shared = {f"pooled.{f.name}": getattr(model.pooled, f.name) for f in fields(Pooled)}
    pooled = {name: array for name, array in shared.items() if array is not None}
    scalers = {
        f"{name}.{f.name}": getattr(scaler, f.name)
        for name, scaler in (("steps", model.steps), ("heads", model.heads))
        for f in fields(Scaler)
    }
    return {**layer, **rest, **pooled, **scalers}


def _model(arrays: Mapping[str, np.ndarray], count: int, shaped: bool) -> UniverseModel:
    if not 1 <= count <= _MOST_NETWORKS:
        raise ValueError(f"it has {count} networks")

    def each(name: str, *shape: int) -> Sequence[Singles]:
        return list(numbers(arrays, name, count, *shape).astype(np.float32, copy=False))

    layers = map(
        Layer, each("kernel", STEP_INPUTS, 4 * UNITS), each("recurrent", UNITS, 4 * UNITS), each("bias", 4 * UNITS)
    )
    networks = tuple(
        map(
            Network, layers, each("state_hidden", UNITS, HIDDEN), each("head_hidden", HEAD_INPUTS, HIDDEN),
            each("hidden_bias", HIDDEN), each("hidden_out", HIDDEN), each("state_out", UNITS, HORIZON),
            each("out_bias", HORIZON),
        )
    )  # fmt: skip
    for network in networks:
        # States and what is mixed of them lie within (-1, 1), so this bounds the logarithm of every scale.
        largest = np.abs(network.state_out).sum(axis=0) + np.abs(network.hidden_out).sum() + np.abs(network.out_bias)
        if largest.max() > _MAX_LOG_SCALE:
            raise ValueError("state_out scales beyond any number")
    return UniverseModel(networks, _scaler(arrays, "steps", STEP_INPUTS), _scaler(arrays, "heads", HEAD_INPUTS), Pooled(
        numbers(arrays, "pooled.coefficients", HORIZON, _HAR + MARKET_WINDOWS),
        numbers(arrays, "pooled.har_factor", _OFFSETS, above=0),
        numbers(arrays, "pooled.mix_factor", _OFFSETS, above=0),
        numbers(arrays, "pooled.shape", HORIZON, len(QUANTILES)) if shaped else None,
    ))  # fmt: skip


def _scaler(arrays: Mapping[str, np.ndarray], name: str, inputs: int) -> Scaler:
    return Scaler(numbers(arrays, f"{name}.mean", inputs), numbers(arrays, f"{name}.std", inputs, above=0))


def own_arrays(own: OwnFit) -> dict[str, np.ndarray]:
    """A ticker's own part, without what all tickers of the universe share."""
    start = own.start
    return {
        "own.har": start.har.coefficients,
        "own.level": np.array([start.level]),
        "own.market_level": start.market_level,
        "own.factor": start.factor.by_offset,
        "own.har_factor": start.har_factor.by_offset,
        **{f"own.{name}": getattr(start, name) for name in _LEVELS},
        **{f"own.shape.{name}": shape for name, shape in own.shapes.items()},
        **{f"own.tails.{name}": tails for name, tails in own.tails.items()},
    }


def own_of_arrays(arrays: Mapping[str, np.ndarray], pooled: Pooled) -> OwnFit:
    """Read what `own_arrays` made.

    Raises:
        ValueError: if something lacks or is odd.
    """

    def positive(name: str, *shape: int) -> Floats:
        return numbers(arrays, f"own.{name}", *shape, above=0)

    start = Start(
        har=HarVolatility(numbers(arrays, "own.har", HORIZON, _HAR)),
        pooled=pooled,
        level=float(numbers(arrays, "own.level", 1)[0]),
        market_level=numbers(arrays, "own.market_level", MARKET_WINDOWS),
        factor=EventFactor(positive("factor", _OFFSETS)),
        har_factor=EventFactor(positive("har_factor", _OFFSETS)),
        **{name: positive(name, HORIZON) for name in _LEVELS},
    )
    shapes = {name: numbers(arrays, f"own.shape.{name}", HORIZON, len(QUANTILES)) for name in (LSTM, *BASELINES)}
    tails = {name: tails_in(arrays, f"own.tails.{name}") for name in shapes}
    return OwnFit(start, shapes, {name: found for name, found in tails.items() if found is not None})


def tails_in(arrays: Mapping[str, np.ndarray], name: str) -> Floats | None:
    """The tails called `name`, as in `models.tails`; None if the file has none, as those of earlier releases.

    Raises:
        ValueError: if they are odd.
    """
    if name not in arrays:
        return None
    found = numbers(arrays, name, HORIZON, len(TAILS))
    if not ((found >= 0) & (found <= _MOST_WIDTHS)).all():
        raise ValueError(f"{name} has values that cannot be")
    return found
