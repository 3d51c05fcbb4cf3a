"""A ticker's part of its universe's model, as it is published: the network, or one of the steps before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import History, Rows
from stockcast_assets.forecasting.models.average import mean_quantiles, mean_tails
from stockcast_assets.forecasting.models.baselines import Naive
from stockcast_assets.forecasting.npz import Reference
from stockcast_assets.forecasting.serving.calibration import Calibration
from stockcast_assets.forecasting.serving.forecaster import naive_beside
from stockcast_assets.forecasting.universe.contenders import OwnFit
from stockcast_assets.forecasting.universe.inputs import Series
from stockcast_assets.forecasting.universe.network import STRETCH, WINDOW, Question, UniverseModel
from stockcast_assets.libraries import np
from stockcast_assets.market.indicators import Floats
from stockcast_assets.methods import AVERAGE, HAR_EARNINGS, LSTM, MIX_EARNINGS, NAIVE_PREFIX, OF_NETWORK


@dataclass(frozen=True)
class UniverseForecaster:
    """A ticker's model of a month, one of `serving.forecaster.Published`; it looks at the ticker's `Series`.

    Attributes:
        ticker: whose bars the own part was fitted on.
        method: what it publishes: "lstm", "average" (of it and MIX_EARNINGS, its start), or "naive_" and the name of a
            baseline.
        trained_to: the last session known to the own part.
        naive: the baselines that look at the ticker's bars alone.
        own: the ticker's part, with the baselines that look at market and reports.
        calibration: of what is published of the network, after every outcome known at the end of the training.
        universe: where the networks are.
        model: the networks.
    """

    ticker: str
    method: str
    trained_to: date
    naive: Mapping[str, Naive]
    own: OwnFit
    calibration: Calibration
    universe: Reference
    model: UniverseModel

    @property
    def goes_on_from(self) -> Calibration | None:
        """The calibration at the end of the training; None if a baseline is published."""
        return self.calibration if self.method in OF_NETWORK else None

    @property
    def tails(self) -> Floats | None:
        """Of the published method, as in `models.tails`."""
        if self.method == AVERAGE:
            return mean_tails(self.own.tails.get(LSTM), self.own.tails.get(MIX_EARNINGS))
        name = self.method.removeprefix(NAIVE_PREFIX)
        return self.naive[name].tails if name in self.naive else self.own.tails.get(name)

    def first_needed(self, dates: np.ndarray, row: int) -> int:
        """Number of the first session that a forecast as of `row` looks at, the recursions apart."""
        if self.method not in OF_NETWORK:
            return row
        earliest = int(dates.searchsorted(np.datetime64(self.trained_to), side="right")) - HORIZON
        # A stretch begins up to STRETCH - 1 sessions before a row, and reads WINDOW - 1 before itself.
        return max(0, min(row, earliest) - WINDOW - STRETCH + 2)

    def raw(self, series: Series, rows: Rows) -> Floats:
        """[n, HORIZON, quantiles] of the published method, not calibrated."""
        if self.method in OF_NETWORK:
            return self.raw_of([self], [series], [rows])[0]
        name = self.method.removeprefix(NAIVE_PREFIX)
        if name in self.naive:
            return self.naive[name].predict(series.history, rows).quantiles
        return self.own.quantiles(series, rows, None)[name]

    def beside(self, series: Series, rows: Rows) -> dict[str, Floats]:
        """[n, HORIZON, quantiles] by each of BESIDE, fitted on the same sessions."""
        with_reports = self.own.quantiles_by(HAR_EARNINGS, self.own.start.har_earnings(series, rows))
        return {**naive_beside(self.naive, series.history, rows), HAR_EARNINGS: with_reports}

    @classmethod
    def raw_of(cls, models: Sequence[UniverseForecaster], seen: Sequence[Series], rows: Sequence[Rows]) -> list[Floats]:
        """`raw` of many, in a fraction of the time: networks that they share are asked once."""
        found: dict[int, Floats] = {}
        together: dict[int, list[int]] = {}
        for number, model in enumerate(models):
            if model.method in OF_NETWORK:
                together.setdefault(id(model.model), []).append(number)
            else:
                found[number] = model.raw(seen[number], rows[number])
        for numbers in together.values():
            networks = models[numbers[0]].model
            starts = [models[number].own.start for number in numbers]
            sigmas = [start.sigma(seen[number], rows[number]) for number, start in zip(numbers, starts, strict=True)]
            asked = [
                Question(seen[number], start, rows[number], sigma)
                for number, start, sigma in zip(numbers, starts, sigmas, strict=True)
            ]
            for number, sigma, scales in zip(numbers, sigmas, networks.log_scales_of(asked), strict=True):
                own = models[number].own
                quantiles = own.quantiles_by(LSTM, sigma * np.exp(scales))
                averaged = models[number].method == AVERAGE
                found[number] = (
                    mean_quantiles(quantiles, own.quantiles_by(MIX_EARNINGS, sigma)) if averaged else quantiles
                )
        return [found[number] for number in range(len(models))]

    def require_rows(self, history: History, rows: Rows) -> None:
        """Raise StockcastError if a row precedes the end of the training, or has too short a past."""
        earliest = history.dates[rows.min()].date()
        if earliest < self.trained_to or rows.min() < self._first_row(history):
            raise StockcastError(
                f"The model of {self.ticker} was trained on sessions up to {self.trained_to} and cannot forecast "
                f"as of {earliest} from bars that begin on {history.dates[0].date()}: "
                "use the model of that month, with the full history."
            )

    def hindcast(self, series: Series) -> tuple[Rows, Floats]:
        """What the model says as of every row it has the inputs for, those it was trained on included.

        The intervals are calibrated as they were at the end of the training, at every row alike.
        """
        rows = np.arange(self._first_row(series.history), len(series.history))
        raw = self.raw(series, rows)
        return rows, raw if self.goes_on_from is None else self.goes_on_from.apply(raw)

    def _first_row(self, history: History) -> int:
        return history.first_row + (WINDOW - 1 if self.method in OF_NETWORK else 0)
