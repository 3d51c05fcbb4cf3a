"""What defines a model, and the constants that every part of the forecasting core shares."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from stockcast_assets import tables
from stockcast_assets.errors import StockcastError

HORIZON = tables.HORIZON
PURGE = HORIZON
"""Sessions left out between rows learnt from and rows judged, because a target looks HORIZON ahead."""

QUANTILES = tables.QUANTILES
MEDIAN = QUANTILES.index(0.5)


@dataclass(frozen=True)
class ModelConfig:
    """Hyperparameters of one model and of its walk-forward proof.

    `test_sessions` before the end of the history are forecast in `folds` equal folds, each by a model that
    knows nothing after the fold's start; the last `validation_sessions` of what a model may know stop its
    training early. Short histories use proportionally less of both. `lstm_weight` is the network's share in the
    published scale, the rest being the baseline's: combining halves the estimation noise of the network alone.
    """

    units: int = 64
    layers: int = 1
    window: int = 10
    dropout: float = 0.2
    learning_rate: float = 3e-4
    batch_size: int = 256
    epochs: int = 20
    patience: int = 4
    lstm_weight: float = 0.5
    validation_sessions: int = 252
    test_sessions: int = 756
    folds: int = 3
    aci_step: float = 0.0025
    seed: int = 20130301

    def __post_init__(self) -> None:
        for name, valid, rule in (
            ("units", 1 <= self.units <= 1024, "between 1 and 1024"),
            ("layers", 1 <= self.layers <= 4, "between 1 and 4"),
            ("window", 1 <= self.window <= 120, "between 1 and 120"),
            ("dropout", 0 <= self.dropout < 1, "in [0, 1)"),
            ("learning_rate", 0 < self.learning_rate < 1, "in (0, 1)"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("patience", self.patience >= 1, "at least 1"),
            ("lstm_weight", 0 < self.lstm_weight <= 1, "in (0, 1]"),
            ("validation_sessions", self.validation_sessions >= 1, "at least 1"),
            ("test_sessions", self.test_sessions >= 1, "at least 1"),
            ("folds", self.folds >= 1, "at least 1"),
            ("aci_step", 0 <= self.aci_step < 1, "in [0, 1)"),
        ):
            if not valid:
                raise StockcastError(
                    f"The model setting {name}={getattr(self, name)} is out of range: use a value {rule}."
                )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """The config whose fields are `values`; absent fields keep their defaults.

        Raises:
            StockcastError: if a name is no field or a value is out of range.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise StockcastError(
                f"The model settings name {', '.join(unknown)}, which stockcast does not know: "
                f"use {', '.join(field.name for field in fields(cls))}."
            )
        return cls(**values)
