"""A trained model as bytes and back: one npz of plain arrays, read without pickle and checked by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from typing import Any, TypeAlias, get_args

from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import Decision
from stockcast_assets.forecasting.evaluation.scores import METRICS, Evaluation
from stockcast_assets.forecasting.features import FEATURE_NAMES, HAR_WINDOWS
from stockcast_assets.forecasting.models.baselines import Naive
from stockcast_assets.forecasting.models.network import BASE, Layer, Lstm, Scaler, Weights
from stockcast_assets.forecasting.models.volatility import (
    QUARTER_DAYS,
    HarVolatility,
    PlainName,
    PlainVolatility,
    QuarterlyHar,
    Volatility,
)
from stockcast_assets.forecasting.npz import ModelFileError, Reference, numbers, opened, to_npz
from stockcast_assets.forecasting.serving.calibration import Calibration
from stockcast_assets.forecasting.serving.forecaster import CalibratedLstm, Forecaster
from stockcast_assets.forecasting.universe.artifact import own_arrays, own_of_arrays, tails_in
from stockcast_assets.forecasting.universe.contenders import BASELINES
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.month import MonthModel
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import NAIVE_PREFIX, OF_NETWORK

FORMAT = 2
OF_UNIVERSE = 3
"""Format of a ticker's part of its universe's model."""
_READ = (1, FORMAT, OF_UNIVERSE)
"""Formats that can be read: the first had no pattern of the quarter."""

Universe: TypeAlias = Callable[[Reference], MonthModel]
"""Loads the universe's model that a file refers to; raises ModelFileError if it cannot serve."""

_SHAPE = (HORIZON, len(QUANTILES))
_HAR_REGRESSORS = len(HAR_WINDOWS) + 3
_MAX_LOG_SCALE = 300.0

_TAILS = "tails"
_COEFFICIENTS, _PATTERN = "har.coefficients", "har.pattern"
_FACTORS = "calibration.log_factors"


@dataclass(frozen=True)
class TrainedModel:
    """A ticker's model with its proof.

    Attributes:
        forecaster: what forecasts.
        config: the hyperparameters.
        evaluation: the walk-forward scores against the baselines.
        decision: what is published, and why.
        history: loss curve of the final fit, {"epoch", "train", "validation"}; epoch 0 is the baseline's interval, and
            a model without a network has none.
        trained_from, trained_to: first session learnt from, last session known.
        n_samples: training samples of the final fit; 0 without a network.
        code_version: the stockcast that made it.
    """

    forecaster: Forecaster | UniverseForecaster
    config: ModelConfig
    evaluation: Evaluation
    decision: Decision
    history: list[dict[str, float]]
    trained_from: date
    trained_to: date
    n_samples: int
    code_version: str

    def summary(self) -> dict[str, float | int]:
        """The LSTM's headline numbers against the baselines, NaN without a network: see `Evaluation.summary`."""
        return self.evaluation.summary()

    @cached_property
    def _bytes(self) -> bytes:
        evaluation = self.evaluation
        arrays: dict[str, Any] = {
            **_own_arrays(self.forecaster),
            **_naive_arrays(self.forecaster.naive),
            "evaluation.days": (evaluation.dates.to_numpy().astype("datetime64[D]").astype(np.int64)),
            "evaluation.cases": evaluation.cases.astype(np.float32),
            "evaluation.squared": np.array(list(evaluation.squared.values())).astype(np.float32),
            "evaluation.pinball": np.array(list(evaluation.pinball.values())).astype(np.float32),
            "evaluation.scores": evaluation.scores,
        }
        meta = {
            "format": FORMAT if isinstance(self.forecaster, Forecaster) else OF_UNIVERSE,
            "ticker": self.forecaster.ticker,
            "config": self.config.to_dict(),
            "trained_from": self.trained_from.isoformat(),
            "trained_to": self.trained_to.isoformat(),
            "n_samples": self.n_samples,
            "code_version": self.code_version,
            "decision": vars(self.decision),
            "history": self.history,
            "naive_scales": {name: naive.volatility.name for name, naive in self.forecaster.naive.items()},
            "contenders": evaluation.contenders,
        }
        if isinstance(self.forecaster, UniverseForecaster):
            meta["universe"] = vars(self.forecaster.universe)
        return to_npz(arrays, meta)

    def to_bytes(self) -> bytes:
        """The model as npz; equal models give equal bytes."""
        return self._bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes, sha256: str, universe: Universe | None = None) -> TrainedModel:
        """Read what `to_bytes` wrote.

        Args:
            data: the file.
            sha256: the digest that it must have.
            universe: where a ticker's part finds the networks that it was made beside.

        Raises:
            ModelFileError: if the digest differs, or the file is of another format, too large or odd in any way.
                Nothing is read before the digest is checked, and nothing in the file is ever executed.
        """
        with opened(data, sha256, "model file", "trained_model") as (arrays, meta):
            if meta["format"] in _READ:
                return _assemble(arrays, meta, universe)
        raise ModelFileError(
            f"The model file {sha256[:12]}… has format {str(meta['format'])[:20]}, this stockcast reads up to "
            f"{FORMAT}: materialise trained_model for that month again."
        )


def _own_arrays(forecaster: Forecaster | UniverseForecaster) -> dict[str, np.ndarray]:
    if isinstance(forecaster, Forecaster):
        return _network_arrays(forecaster.network)
    return {**own_arrays(forecaster.own), _FACTORS: forecaster.calibration.log_factors}


def _network_arrays(network: CalibratedLstm | None) -> dict[str, np.ndarray]:
    if network is None:
        return {}
    lstm = network.lstm
    return {
        **{
            _of_layer(number, field.name): getattr(layer, field.name)
            for number, layer in enumerate(lstm.weights.layers, start=1)
            for field in fields(Layer)
        },
        "weights.head": lstm.weights.head,
        "weights.head_bias": lstm.weights.head_bias,
        "shape": lstm.shape,
        **_tails_arrays(_TAILS, lstm.tails),
        "scaler.mean": lstm.scaler.mean,
        "scaler.std": lstm.scaler.std,
        _FACTORS: network.calibration.log_factors,
    }


def _of_layer(number: int, name: str) -> str:
    # Files that were written when there was one layer have it under these names.
    return f"weights.{name}" if number == 1 else f"weights.{number}.{name}"


def _network(arrays: Mapping[str, np.ndarray], config: ModelConfig) -> CalibratedLstm | None:
    if "shape" not in arrays:
        return None
    inputs, units = len(FEATURE_NAMES), config.units
    layers = []
    for number in range(1, config.layers + 1):
        shapes = {"kernel": (inputs, 4 * units), "recurrent": (units, 4 * units), "bias": (4 * units,)}
        layers.append(
            Layer(**{name: numbers(arrays, _of_layer(number, name), *shape) for name, shape in shapes.items()})
        )
        inputs = units
    head, head_bias = numbers(arrays, "weights.head", units, HORIZON), numbers(arrays, "weights.head_bias", HORIZON)
    # A hidden state lies within (-1, 1), so this bounds the logarithm of every scale.
    if (np.abs(head).sum(axis=0) + np.abs(head_bias)).max() > _MAX_LOG_SCALE:
        raise ValueError("weights.head scales beyond any number")
    features = len(FEATURE_NAMES)
    lstm = Lstm(
        weights=Weights(tuple(layers), head, head_bias),
        scaler=Scaler(numbers(arrays, "scaler.mean", features), numbers(arrays, "scaler.std", features, above=0)),
        volatility=_volatility(BASE if _PATTERN in arrays else HarVolatility.name, arrays),
        shape=numbers(arrays, "shape", *_SHAPE),
        window=config.window,
        weight=config.lstm_weight,
        tails=tails_in(arrays, _TAILS),
    )
    return CalibratedLstm(lstm, Calibration(numbers(arrays, _FACTORS, MEDIAN), config.aci_step))


def _naive_arrays(naive: Mapping[str, Naive]) -> dict[str, np.ndarray]:
    arrays = {f"naive.{name}": one.shape for name, one in naive.items()}
    # The network's volatility is the one of the baseline that it starts from, and all baselines have the same HAR.
    for name, one in naive.items():
        arrays |= _volatility_arrays(one.volatility) | _tails_arrays(f"naive.{name}.{_TAILS}", one.tails)
    return arrays


def _tails_arrays(name: str, tails: Floats | None) -> dict[str, np.ndarray]:
    return {} if tails is None else {name: tails}


def _volatility_arrays(volatility: Volatility) -> dict[str, np.ndarray]:
    if isinstance(volatility, QuarterlyHar):
        return {**_volatility_arrays(volatility.har), _PATTERN: volatility.pattern}
    return {_COEFFICIENTS: volatility.coefficients} if isinstance(volatility, HarVolatility) else {}


def _volatility(name: Any, arrays: Mapping[str, np.ndarray]) -> Volatility:
    if name in get_args(PlainName):
        return PlainVolatility(name)
    har = HarVolatility(numbers(arrays, _COEFFICIENTS, HORIZON, _HAR_REGRESSORS))
    if name == HarVolatility.name:
        return har
    if name == QuarterlyHar.name:
        return QuarterlyHar(har, numbers(arrays, _PATTERN, QUARTER_DAYS, above=0))
    raise ValueError(f"it names the volatility {ascii(name)[:40]}")


def _assemble(arrays: Mapping[str, np.ndarray], meta: dict[str, Any], universe: Universe | None) -> TrainedModel:
    config = ModelConfig.from_dict(meta["config"])
    decision = Decision(**meta["decision"])
    trained_to = date.fromisoformat(meta["trained_to"])
    naive = {
        name: Naive(
            _volatility(volatility, arrays),
            numbers(arrays, f"naive.{name}", *_SHAPE),
            tails_in(arrays, f"naive.{name}.{_TAILS}"),
        )
        for name, volatility in meta["naive_scales"].items()
    }
    forecaster: Forecaster | UniverseForecaster
    if meta["format"] == OF_UNIVERSE:
        reference = Reference(str(meta["universe"]["run_id"]), str(meta["universe"]["sha256"]))
        if universe is None:
            raise ValueError("it is a part of a universe's model, which is not at hand")
        model = universe(reference).newest.model
        calibration = Calibration(numbers(arrays, _FACTORS, MEDIAN), config.aci_step)
        own = own_of_arrays(arrays, model.pooled)
        forecaster = UniverseForecaster(
            meta["ticker"], decision.method, trained_to, naive, own, calibration, reference, model
        )
        publishable = {*OF_NETWORK, *(f"{NAIVE_PREFIX}{name}" for name in (*naive, *BASELINES))}
    else:
        forecaster = Forecaster(meta["ticker"], decision.method, trained_to, naive, _network(arrays, config))
        publishable = {f"{NAIVE_PREFIX}{name}" for name in naive} | set(OF_NETWORK if forecaster.network else ())
    if decision.method not in publishable:
        raise ValueError(f"it publishes {ascii(decision.method)[:40]}, which it does not hold")
    return TrainedModel(
        forecaster=forecaster,
        config=config,
        evaluation=_evaluation(arrays, meta["contenders"]),
        decision=decision,
        history=_history(meta["history"]),
        trained_from=date.fromisoformat(meta["trained_from"]),
        trained_to=trained_to,
        n_samples=int(meta["n_samples"]),
        code_version=str(meta["code_version"]),
    )


def _history(rows: Any) -> list[dict[str, float]]:
    if any(set(row) != {"epoch", "train", "validation"} for row in rows):
        raise ValueError("its loss curve has other columns")
    return list(rows)


def _evaluation(arrays: Mapping[str, np.ndarray], contenders: list[str]) -> Evaluation:
    days, scores = arrays["evaluation.days"], arrays["evaluation.scores"]
    if days.ndim != 1 or days.dtype != np.int64 or scores.dtype.kind != "f":
        raise ValueError("its evaluation has other columns")
    if scores.shape != (len(contenders) * (1 + HORIZON), len(METRICS)):
        raise ValueError("its evaluation has another number of scores")
    per_day = (len(contenders), len(days)) if contenders else (0,)
    squared = numbers(arrays, "evaluation.squared", *per_day).astype(np.float64)
    pinball = numbers(arrays, "evaluation.pinball", *per_day).astype(np.float64)
    return Evaluation(
        dates=pd.DatetimeIndex(days.astype("datetime64[D]").astype("datetime64[ns]")),
        cases=numbers(arrays, "evaluation.cases", len(days)).astype(np.float64),
        squared=dict(zip(contenders, squared, strict=True)),
        pinball=dict(zip(contenders, pinball, strict=True)),
        scores=scores,
    )
