"""What a trained model leaves for forecasting: the published method, whatever it is, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.models.average import mean_quantiles, mean_tails
from stockcast_assets.forecasting.models.baselines import Naive
from stockcast_assets.forecasting.models.network import BASE, Lstm
from stockcast_assets.forecasting.serving.calibration import Calibration, replay
from stockcast_assets.libraries import np, pd
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import AVERAGE, BESIDE, NAIVE_PREFIX, OF_NETWORK


@dataclass(frozen=True)
class CalibratedLstm:
    """The network, and the calibration of what it publishes after every outcome known at the end of the training."""

    lstm: Lstm
    calibration: Calibration

    def first_row(self, history: History) -> int:
        """First row with a full window of features."""
        return history.first_row + self.lstm.window - 1


@dataclass(frozen=True)
class Forecaster:
    """A ticker's model of a month.

    Attributes:
        ticker: whose bars it was trained on.
        method: what it publishes: "lstm", "average" (of the LSTM and BASE), or "naive_" and the name of one of `naive`.
        trained_to: the last session known to the training.
        naive: the baselines fitted on the same sessions.
        network: the LSTM; None if the history was too short to train one.
    """

    ticker: str
    method: str
    trained_to: date
    naive: Mapping[str, Naive]
    network: CalibratedLstm | None

    def first_needed(self, dates: np.ndarray, row: int) -> int:
        """Number of the first session that a forecast as of `row` looks at, the recursions apart.

        Args:
            dates: the ticker's sessions from its first stored one.
            row: number of the earliest as-of session.
        """
        if (asked := self._asked) is None:
            return row
        earliest = int(dates.searchsorted(np.datetime64(self.trained_to), side="right")) - HORIZON
        return max(0, min(row, earliest) - asked.lstm.window + 1)

    def quantiles(self, history: History, rows: Rows) -> Floats:
        """Published quantiles of the log returns at each as-of row, [n, HORIZON, quantiles].

        A function of the model and the bars up to each row.

        Raises:
            StockcastError: if a row precedes the end of the training, or has too short a past.
        """
        return published_quantiles([self], [history], [history], [rows])[0]

    @property
    def goes_on_from(self) -> Calibration | None:
        """The calibration at the end of the training; None if a baseline is published."""
        return None if self._asked is None else self._asked.calibration

    @property
    def _asked(self) -> CalibratedLstm | None:
        """The network, if what is published asks it."""
        return self.network if self.method in OF_NETWORK else None

    @property
    def tails(self) -> Floats | None:
        """Of the published method, as in `models.tails`."""
        if self._asked is None:
            return self.naive[self.method.removeprefix(NAIVE_PREFIX)].tails
        own = self._asked.lstm.tails
        return mean_tails(own, self.naive[BASE].tails) if self.method == AVERAGE else own

    def raw(self, history: History, rows: Rows) -> Floats:
        """[n, HORIZON, quantiles] of the published method, not calibrated."""
        if self._asked is None:
            return self.naive[self.method.removeprefix(NAIVE_PREFIX)].predict(history, rows).quantiles
        own = self._asked.lstm.predict(history, rows).quantiles
        return mean_quantiles(own, self.naive[BASE].predict(history, rows).quantiles) if self.method == AVERAGE else own

    def beside(self, history: History, rows: Rows) -> dict[str, Floats]:
        """[n, HORIZON, quantiles] by each of BESIDE that the model has, fitted on the same sessions."""
        return naive_beside(self.naive, history, rows)

    @classmethod
    def raw_of(cls, models: Sequence[Forecaster], seen: Sequence[History], rows: Sequence[Rows]) -> list[Floats]:
        """`raw` of many."""
        return [model.raw(history, of_rows) for model, history, of_rows in zip(models, seen, rows, strict=True)]

    def hindcast(self, history: History) -> tuple[Rows, Floats]:
        """What the model says as of every row it has the inputs for, those it was trained on included.

        The intervals are calibrated as they were at the end of the training, at every row alike: what differs between
        two rows is what the model sees there.

        Returns:
            The rows, and their quantiles of the log returns, [n, HORIZON, quantiles].
        """
        if (asked := self._asked) is None:
            rows = np.arange(history.first_row, len(history))
            return rows, self.raw(history, rows)
        rows = np.arange(asked.first_row(history), len(history))
        if not len(rows):
            return rows, np.empty((0, HORIZON, len(QUANTILES)))
        return rows, asked.calibration.apply(self.raw(history, rows))

    def require_rows(self, history: History, rows: Rows) -> None:
        """Raise StockcastError if a row precedes the end of the training, or has too short a past."""
        earliest = history.dates[rows.min()].date()
        first_row = 0 if self.network is None else self.network.first_row(history)
        if earliest < self.trained_to or rows.min() < first_row:
            raise StockcastError(
                f"The model of {self.ticker} was trained on sessions up to {self.trained_to} and cannot forecast "
                f"as of {earliest} from bars that begin on {history.dates[0].date()}: "
                "use the model of that month, with the full history."
            )


def naive_beside(naive: Mapping[str, Naive], history: History, rows: Rows) -> dict[str, Floats]:
    """[n, HORIZON, quantiles] of the log returns by each of BESIDE that `naive` has."""
    return {name: naive[name].predict(history, rows).quantiles for name in BESIDE if name in naive}


class Published(Protocol):
    """A model whose forecasts are published: a ticker's own, or a ticker's part of its universe's.

    `seen` is what the model looks at of its ticker: a `History`, or its place in a universe.
    """

    @property
    def ticker(self) -> str: ...

    @property
    def method(self) -> str: ...

    @property
    def trained_to(self) -> date: ...

    @property
    def goes_on_from(self) -> Calibration | None:
        """The calibration at the end of the training; None if what is published is not calibrated."""

    @property
    def tails(self) -> Floats | None:
        """[HORIZON, 2] as in `models.tails`; None if the model was made by a release that had none."""

    def raw(self, seen: Any, rows: Rows, /) -> Floats:
        """[n, HORIZON, quantiles] of the published method, not calibrated."""

    @classmethod
    def raw_of(cls, models: Sequence[Any], seen: Sequence[Any], rows: Sequence[Rows], /) -> list[Floats]:
        """`raw` of many models of this kind."""

    def beside(self, seen: Any, rows: Rows, /) -> dict[str, Floats]:
        """[n, HORIZON, quantiles] by each of BESIDE that the model has, fitted on the same sessions."""

    def first_needed(self, dates: np.ndarray, row: int) -> int:
        """Number of the first session that a forecast as of `row` looks at, the recursions apart."""

    def require_rows(self, history: History, rows: Rows) -> None:
        """Raise StockcastError if a row precedes the end of the training, or has too short a past."""

    def hindcast(self, seen: Any, /) -> tuple[Rows, Floats]:
        """What the model says as of every row it has the inputs for: the rows, and [n, HORIZON, quantiles]."""


def published_quantiles(
    models: Sequence[Published], histories: Sequence[History], seen: Sequence[Any], rows: Sequence[Rows]
) -> list[Floats]:
    """Published quantiles of many models at their as-of rows, whose calibrations go on together.

    A model's calibration goes on from the end of its training with hindcasts by its own network, so its quantiles are
    a function of the model and what it sees up to each row, whatever models share the call.

    Args:
        models: what forecasts.
        histories: the bars of each model's ticker.
        seen: what each model looks at of its ticker.
        rows: for each model the rows of its history to forecast from, at least one.

    Returns:
        Per model [n, HORIZON, quantiles] of the log returns.
    """
    wanted, trained_of, known_of = [], [], []
    for model, history, of_rows in zip(models, histories, rows, strict=True):
        model.require_rows(history, of_rows)
        last_trained = int(history.dates.searchsorted(pd.Timestamp(model.trained_to), side="right")) - 1
        known = np.arange(last_trained - HORIZON + 1, of_rows.max() - HORIZON + 1)
        known = of_rows[:0] if model.goes_on_from is None else known
        trained_of.append(last_trained)
        known_of.append(known)
        wanted.append(np.union1d(known, of_rows))
    published: list[Floats] = []
    hindcasts, outcomes, starts, asked = [], [], [], []
    for model, history, of_rows, last_trained, known, needed, raw in zip(
        models, histories, rows, trained_of, known_of, wanted, _raw(models, seen, wanted), strict=True
    ):
        published.append(raw[np.searchsorted(needed, of_rows)])
        start = model.goes_on_from
        if start is not None:
            hindcasts.append(raw[np.searchsorted(needed, known)])
            outcomes.append(history.outcomes(known))
            starts.append(start)
            asked.append((len(published) - 1, of_rows - last_trained))
    replayed = replay(starts, hindcasts, outcomes)
    for (place, days), states in zip(asked, replayed, strict=True):
        log_factors = np.stack([states[day].log_factors for day in days.tolist()])
        published[place] = Calibration(log_factors, states[0].step).apply(published[place])
    return published


def _raw(models: Sequence[Published], seen: Sequence[Any], rows: Sequence[Rows]) -> list[Floats]:
    """`raw` of many models; those of one kind at once."""
    found: dict[int, Floats] = {}
    for kind in dict.fromkeys(type(model) for model in models):
        numbers = [number for number, model in enumerate(models) if type(model) is kind]
        of_kind = models[numbers[0]].raw_of(
            [models[number] for number in numbers],
            [seen[number] for number in numbers],
            [rows[number] for number in numbers],
        )
        found |= dict(zip(numbers, of_kind, strict=True))
    return [found[number] for number in range(len(models))]
