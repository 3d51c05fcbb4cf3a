"""Which model serves a day: the rows of `trained_model` and the registry in, forecasters out.

The rows decide, not the registry's aliases: they are a function of the bars and of earlier rows, and they hold the
digest that a model's file must have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import Evaluation, sessions_needed
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.npz import ModelFileError, Reference
from stockcast_assets.forecasting.serving.forecaster import Forecaster, Published
from stockcast_assets.forecasting.training.train import without_network
from stockcast_assets.keys import month_of
from stockcast_assets.libraries import np, pd
from stockcast_assets.methods import AVERAGE, HAR, NAIVE_PREFIX
from stockcast_assets.tracking.registry import ModelRegistry

Row = Mapping[Any, Any]


UNREGISTERED = "none"
"""The model version of a naive forecast that was fitted on the spot."""


def rows_by_ticker(models: pd.DataFrame) -> dict[str, list[Row]]:
    """The rows of `trained_model` per ticker."""
    return {str(ticker): list(part.to_dict("records")) for ticker, part in models.groupby("ticker")}


def row_in_use(rows: Sequence[Row], ticker: str, day: pd.Timestamp) -> Row:
    """The one of a ticker's rows of `trained_model` that an as-of day uses: the newest one that ends before the day.

    Strictly before: a model trained on what the end of a day taught changes no forecast made at the end of that day.
    Without a row of the day's own month it is one of an earlier month.

    Raises:
        StockcastError: if there is none.
    """
    usable = [row for row in rows if row["date"] <= day and row["trained_to"] < day]
    if not usable:
        raise StockcastError(
            f"There is no model of {ticker} for {day:%Y-%m}: materialise trained_model for that month first "
            f"(`stockcast forecast {ticker} {day.date()}` does)."
        )
    return max(usable, key=_by_knowledge)


def champions(rows: Sequence[Row], before: pd.Timestamp) -> list[Row]:
    """The promoted ones of a ticker's rows whose training ended before `before`, the newest first."""
    return [row for row in _newest_first(rows, before) if row["promoted"]]


def stand_ins(rows: Sequence[Row], before: pd.Timestamp) -> list[Row]:
    """Those of a ticker's rows whose own network was published, alone or averaged, as `champions`."""
    return [row for row in _newest_first(rows, before) if row["promoted"] or row["method"] == AVERAGE]


def _newest_first(rows: Sequence[Row], before: pd.Timestamp) -> list[Row]:
    return sorted((row for row in rows if row["trained_to"] < before), key=_by_knowledge, reverse=True)


def _by_knowledge(row: Row) -> tuple[pd.Timestamp, pd.Timestamp]:
    return row["trained_to"], row["date"]


def model_of(row: Row) -> Reference:
    """Which model a row describes: a version's number is one in each registry, and begins anew in the next."""
    return Reference(row["run_id"], row["weights_sha256"])


def serving_row(row: Row, rows: Sequence[Row]) -> Row | None:
    """The one of a ticker's rows whose model serves where `row` is in use: itself or an earlier champion's.

    Rows of earlier releases name it by its version alone. None if it is in no row.
    """
    version, run_id = row["serving_version"], row.get("serving_run_id")
    if pd.isna(version):
        return row
    name, named = ("model_version", version) if pd.isna(run_id) else ("run_id", run_id)
    if row[name] == named:
        return row
    return next((of for of in champions(rows, row["trained_to"]) if of[name] == named), None)


def too_old(row: Row, day: pd.Timestamp, max_age_days: int) -> bool:
    """Whether a champion of an earlier month may no longer serve as of `day`."""
    holds: bool = (day - row["trained_to"]).days > max_age_days
    return holds


def current_champion(
    rows: Sequence[Row],
    known_to: pd.Timestamp,
    last_day: pd.Timestamp,
    registry: ModelRegistry,
    max_age_days: int,
) -> tuple[Row, Evaluation] | None:
    """The champion that a model trained up to `known_to` has to face, with its walk-forward scores.

    It is young enough to serve until `last_day`, the end of the month of use, and its file is intact.
    """
    for row in champions(rows, known_to):
        if too_old(row, last_day, max_age_days):
            return None
        try:
            return row, registry.load_model(row["model_name"], row["run_id"], row["weights_sha256"]).evaluation
        except ModelFileError:
            continue
    return None


def naive_on_the_spot(bars: pd.DataFrame, month: pd.Timestamp) -> Published:
    """The naive HAR fitted on the bars known when `month` began; the random walk if there are few.

    Raises:
        StockcastError: if not even a random walk can be fitted.
    """
    config = ModelConfig()
    history = prepare(bars[bars["date"] < month])
    if len(history) < sessions_needed(config):
        return without_network(history, config).forecaster
    known = np.arange(history.first_row, len(history) - HORIZON)
    naive = fit_naive(history, known)
    return Forecaster(history.ticker, NAIVE_PREFIX + HAR, history.dates[-1].date(), naive, network=None)


@dataclass(frozen=True)
class Serving:
    """The model that serves some days of a ticker.

    Attributes:
        forecaster: the model.
        version: its version in the registry, or UNREGISTERED.
        model: what it is, whatever a registry calls it; None for one that was fitted on the spot.
        fallback: why it is not the one that the month's row names, in a sentence; None if it is.
    """

    forecaster: Published
    version: str
    fallback: str | None
    model: Reference | None = None


@dataclass
class ModelServer:
    """Finds the model of each day of one ticker, in this order:

    1. the version that the month's row names: the month's own model, or the champion that serves on,
    2. the newest earlier model whose network was published, if it is not older than the age limit,
    3. the naive HAR, fitted on the bars known when the month began.

    Attributes:
        ticker: whose days.
        rows: the ticker's rows of `trained_model`, of the months asked for and all earlier ones (`rows_by_ticker`).
        bars: the ticker's bars from its first stored one.
        registry: where the models are.
        max_age_days: the age limit of models of earlier months.
    """

    ticker: str
    rows: Sequence[Row]
    bars: pd.DataFrame
    registry: ModelRegistry
    max_age_days: int

    def __post_init__(self) -> None:
        self._loaded: dict[Reference, Published | ModelFileError] = {}
        self._naive: dict[pd.Timestamp, Published] = {}

    def by_model(self, days: Sequence[pd.Timestamp]) -> list[tuple[Serving, list[pd.Timestamp]]]:
        """The days grouped by the model that serves them.

        Raises:
            StockcastError: if the ticker has no model at all, or the registry does not answer.
        """
        groups: dict[tuple[Reference | None, date, str | None], tuple[Serving, list[pd.Timestamp]]] = {}
        for day in days:
            serving = self._serving(day)
            key = serving.model, serving.forecaster.trained_to, serving.fallback
            groups.setdefault(key, (serving, []))[1].append(day)
        return list(groups.values())

    def _serving(self, day: pd.Timestamp) -> Serving:
        month = pd.Timestamp(month_of(day))
        row = row_in_use(self.rows, self.ticker, day)
        candidates, troubles = stand_ins(self.rows, day), []
        if row["date"] != month:
            troubles.append("trained_model has no row for the month")
        elif (named := self._named_by(row)) is not None:
            candidates.insert(0, named)
        else:
            troubles.append(f"version {row['serving_version']}, which its row names, is in no row of trained_model")
        for candidate in candidates:
            if candidate["date"] < month and too_old(candidate, day, self.max_age_days):
                troubles.append(
                    f"version {candidate['model_version']}, trained to {candidate['trained_to'].date()}, is older than "
                    f"{self.max_age_days} days"
                )
                break
            found = self._load(candidate)
            if not isinstance(found, ModelFileError):
                words = self._sentence(month, troubles, candidate)
                return Serving(found, candidate["model_version"], words, model_of(candidate))
            if str(found) not in troubles:
                troubles.append(str(found))
        if month not in self._naive:
            self._naive[month] = naive_on_the_spot(self.bars, month)
        return Serving(self._naive[month], UNREGISTERED, self._sentence(month, troubles, None))

    def _named_by(self, row: Row) -> Row | None:
        """The row of the model that a row says serves; None if it is gone."""
        return serving_row(row, self.rows)

    def _load(self, row: Row) -> Published | ModelFileError:
        model = model_of(row)
        if model not in self._loaded:
            try:
                self._loaded[model] = self.registry.load(row["model_name"], model.run_id, model.sha256)
            except ModelFileError as error:
                self._loaded[model] = error
        return self._loaded[model]

    def _sentence(self, month: pd.Timestamp, troubles: Sequence[str], by: Row | None) -> str | None:
        if not troubles:
            return None
        if by is None:
            served_by = "the naive forecast fitted on the spot"
        else:
            whose = "the champion" if by["promoted"] else "an earlier model"
            served_by = f"{whose}, version {by['model_version']} trained to {by['trained_to'].date()}"
        why = "; ".join(trouble.rstrip(".") for trouble in troubles)
        return f"{self.ticker} {month:%Y-%m} is served by {served_by}, because {why}."


def rounds(
    served: Mapping[str, list[tuple[Serving, list[pd.Timestamp]]]],
) -> Iterator[dict[str, tuple[Serving, list[pd.Timestamp]]]]:
    """Split so that each ticker has one model at a time, with as few rounds as that allows."""
    for place in range(max(map(len, served.values()), default=0)):
        yield {ticker: groups[place] for ticker, groups in served.items() if place < len(groups)}
