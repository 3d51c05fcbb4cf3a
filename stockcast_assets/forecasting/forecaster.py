"""What a trained model leaves for forecasting: the published method, whatever it is, as plain arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.baselines import Naive, Rows
from stockcast_assets.forecasting.calibration import Calibration
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import History
from stockcast_assets.forecasting.network import Lstm
from stockcast_assets.market.indicators import Floats

LSTM = "lstm"
NAIVE_PREFIX = "naive_"


@dataclass(frozen=True)
class CalibratedLstm:
    """The network, and the calibration of its intervals after every outcome known at the end of the training."""

    lstm: Lstm
    calibration: Calibration

    def first_row(self, history: History) -> int:
        """First row with a full window of features."""
        return history.first_row + self.lstm.window - 1

    def quantiles(self, history: History, rows: Rows, last_trained: int) -> Floats:
        """[n, HORIZON, quantiles]; `last_trained` is the row of the last session known to the training.

        The calibration goes on from there with hindcasts by this same network, so the result is a function of the
        model and the bars up to each row.
        """
        hindcast = np.arange(last_trained - HORIZON + 1, rows.max() - HORIZON + 1)
        needed = np.union1d(hindcast, rows)
        raw = dict(zip(needed.tolist(), self.lstm.predict(history, needed).quantiles, strict=True))
        state = self.calibration
        states = {last_trained: state}
        for row in hindcast.tolist():
            state = state.learn(raw[row], history.targets[row])
            states[row + HORIZON] = state
        return np.stack([states[row].apply(raw[row]) for row in rows.tolist()])


@dataclass(frozen=True)
class Forecaster:
    """A ticker's model of a month.

    Attributes:
        ticker: whose bars it was trained on.
        method: what it publishes: "lstm" or "naive_" and the name of one of `naive`.
        trained_to: the last session known to the training.
        naive: the baselines fitted on the same sessions.
        network: the LSTM; None if the history was too short to train one.
    """

    ticker: str
    method: str
    trained_to: date
    naive: Mapping[str, Naive]
    network: CalibratedLstm | None

    def quantiles(self, history: History, rows: Rows) -> Floats:
        """Published quantiles of the log returns at each as-of row, [n, HORIZON, quantiles].

        A function of the model and the bars up to each row.

        Raises:
            StockcastError: if a row precedes the end of the training, or has too short a past.
        """
        if len(rows) == 0:
            return np.empty((0, HORIZON, len(QUANTILES)))
        earliest = history.dates[rows.min()].date()
        first_row = 0 if self.network is None else self.network.first_row(history)
        if earliest < self.trained_to or rows.min() < first_row:
            raise StockcastError(
                f"The model of {self.ticker} was trained on sessions up to {self.trained_to} and cannot forecast "
                f"as of {earliest} from bars that begin on {history.dates[0].date()}: "
                "use the model of that month, with the full history."
            )
        if self.network is not None and self.method == LSTM:
            last_trained = int(history.dates.searchsorted(pd.Timestamp(self.trained_to), side="right")) - 1
            return self.network.quantiles(history, rows, last_trained)
        return self.naive[self.method.removeprefix(NAIVE_PREFIX)].predict(history, rows).quantiles
