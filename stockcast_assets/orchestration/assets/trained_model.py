"""`trained_model`: the models of a ticker for a month of use, with the proof that they may or may not be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import dagster as dg
from pydantic import Field, ValidationError, field_validator, model_validator

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.card import LIVE_DAYS, model_card
from stockcast_assets.forecasting.config import ModelConfig
from stockcast_assets.forecasting.features import Needed, prepare_many
from stockcast_assets.forecasting.npz import ModelFileError
from stockcast_assets.forecasting.training.train import Candidate, fit_many
from stockcast_assets.forecasting.universe.proof import Beside, admitted_by
from stockcast_assets.inputs import validate_reason
from stockcast_assets.keys import partition_key, validate_ticker
from stockcast_assets.libraries import pd
from stockcast_assets.market.sources.catalog import Sources
from stockcast_assets.orchestration.assets.bars import (
    complete_bars,
    stored_models,
    stored_networks,
    surroundings,
)
from stockcast_assets.orchestration.assets.metadata import number, plot_names, show, timed
from stockcast_assets.orchestration.assets.run_config import RunInput, configured_by, said
from stockcast_assets.orchestration.assets.specs import (
    days_by_ticker,
    of_all,
    of_period,
    of_ticker,
    rows_of_keys,
    same_ticker,
    table_asset,
)
from stockcast_assets.orchestration.graph import MARKET_DAYS
from stockcast_assets.tables import (
    EARNINGS_DATES,
    FORECAST_ACCURACY,
    MARKET_STATE,
    PRICE_HISTORY,
    RAW_PRICES,
    TRAINED_MODEL,
    UNIVERSE_MODEL,
)
from stockcast_assets.tracking.parent_runs import ParentRun, end_parent
from stockcast_assets.tracking.registry import ModelRegistry
from stockcast_assets.tracking.serving import Row, current_champion, model_of
from stockcast_assets.warehouse import KeyedFrame, Warehouse

# The months of daily bars that Dagster shows as upstream of a model. The training reads every bar before the
# month; twelve months of lineage are enough to see staleness and keep the graph cheap to compute.
LINEAGE_MONTHS = 12

Job: TypeAlias = "tuple[str, pd.Timestamp]"
"""A ticker, and the month of use."""

_ABOUT = """
An LSTM predicts the quantiles of the next 10 returns: the month's `universe_model`, to which the ticker adds a part of
its own (volatilities, calibration), or, where there is none or the run sets hyper-parameters, a network of its own.
Before it is published it is judged, walk-forward, on cases that its training did not know, beside the baselines. **Only
a model that is shown to be better is promoted** (`promoted`, alias `champion` in MLflow). Where it is neither shown to
be better nor worse, its average with the interval that it starts from is published; else the champion of an earlier
month or a naive interval serves the month, under its own name. The row's `reason` says which, with the numbers.
"""


class Hyperparameters(RunInput):
    """Hyper-parameters of the LSTM that a run may set. The defaults are those of `ModelConfig`."""

    units: int = Field(ModelConfig.units, ge=1, le=1024)
    layers: int = Field(ModelConfig.layers, ge=1, le=4)
    dropout: float = Field(ModelConfig.dropout, ge=0, lt=1)
    window: int = Field(ModelConfig.window, ge=1, le=120)
    learning_rate: float = Field(ModelConfig.learning_rate, gt=0, lt=1)
    batch_size: int = Field(ModelConfig.batch_size, ge=1, le=65_536)
    epochs: int = Field(ModelConfig.epochs, ge=1, le=10_000)
    patience: int = Field(ModelConfig.patience, ge=1, le=10_000)
    seed: int = Field(ModelConfig.seed, ge=0, lt=2**32)


class TrainingConfig(Hyperparameters):
    """Hyper-parameters of the LSTM, and what it may know.

    `known_until` (YYYY-MM-DD, a day of the month of use) trains a further model of the month, which serves the days
    after that day; `trigger` says why, in words. Without it the month's first model is trained, on what was known when
    the month began. `tuned` are hyper-parameters of single tickers, which win over those of all.
    """

    known_until: str | None = Field(None, max_length=10)
    trigger: str | None = Field(None, max_length=500)
    tuned: dict[str, dict[str, Any]] = Field(default_factory=dict, max_length=10_000)

    @field_validator("trigger")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        return value if value is None else validate_reason(value, "trigger")

    @model_validator(mode="after")
    def _tuned_in_range(self) -> TrainingConfig:
        for ticker, parameters in self.tuned.items():
            validate_ticker(ticker)
            try:
                Hyperparameters(**parameters)
            except ValidationError as error:
                raise StockcastError(f"tuned.{ticker} is not usable: {said(error)}.") from None
        return self

    def hyperparameters(self, ticker: str) -> ModelConfig:
        """Those of one ticker.

        Raises:
            StockcastError: if a value is out of range.
        """
        shared = self.model_dump(include=set(Hyperparameters.model_fields))
        return ModelConfig.from_dict(shared | self.tuned.get(ticker, {}))

    def last_known_day(self, month: pd.Timestamp) -> pd.Timestamp:
        """The last day that a model of `month` may know.

        Raises:
            StockcastError: if `known_until` is no date, or no day of the month before its last.
        """
        if self.known_until is None:
            return month - pd.Timedelta(days=1)
        try:
            day = pd.Timestamp(date.fromisoformat(self.known_until))
        except ValueError as error:
            raise StockcastError(f"known_until={self.known_until!r} is not a date: write it as YYYY-MM-DD.") from error
        if not month <= day < month + pd.offsets.MonthEnd(0):
            raise StockcastError(
                f"known_until={self.known_until} is not a day of {month:%Y-%m} before its last, so no forecast of that "
                "month could use the model: name such a day, or leave known_until out to train the month's first model."
            )
        return day

    def why(self) -> str | None:
        """Why a further model of the month is trained; None for the first one."""
        return None if self.known_until is None else self.trigger or "asked for by hand"


def _known_bars(
    months_by_ticker: Mapping[str, Sequence[pd.Timestamp]],
    config: TrainingConfig,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    first_daily_key: date,
    sources: Sources,
) -> dict[Job, pd.DataFrame]:
    """What each model may know, months in order.

    Raises:
        StockcastError: if that is nothing, or nothing that the month's first model did not know.
    """
    jobs = {}
    for month in sorted({month for months in months_by_ticker.values() for month in months}):
        tickers = [ticker for ticker, months in months_by_ticker.items() if month in months]
        until = config.last_known_day(month)
        known = complete_bars(warehouse, instance, tickers, until, first_daily_key, sources)
        for ticker in tickers:
            if known[ticker].empty:
                raise StockcastError(
                    f"{ticker} has no bar before {month.date()}, so there is nothing to learn a model of "
                    f"{month:%Y-%m} from: ask for a later month, or ingest a longer history."
                )
            if config.known_until is not None and known[ticker]["date"].iloc[-1] < month:
                raise StockcastError(
                    f"{ticker} has no session from {month.date()} to known_until={config.known_until}, so the model "
                    "would know no more than the month's first: name a later day."
                )
            jobs[ticker, month] = known[ticker]
    return jobs


@dataclass(frozen=True)
class _Placed:
    """Of some models, those that are a part of their month's networks, and why the others are not."""

    beside: Mapping[Job, Beside]
    without: Mapping[Job, str]


def _placed(
    bars: Mapping[Job, pd.DataFrame],
    config: TrainingConfig,
    warehouse: Warehouse,
    registry: ModelRegistry,
    shared: bool,
) -> _Placed:
    """Which models have a part of their month's networks."""
    if not shared:
        return _Placed({}, dict.fromkeys(bars, "STOCKCAST_NETWORK is ticker"))
    networks, defaults = stored_networks(warehouse), ModelConfig()
    beside: dict[Job, Beside] = {}
    without: dict[Job, str] = {}
    for month in sorted({month for _, month in bars}):
        jobs = [job for job in bars if job[1] == month]
        row = networks.get(month)
        if row is None:
            without |= dict.fromkeys(jobs, f"universe_model has no row of {month:%Y-%m}")
            continue
        universe = model_of(row)
        try:
            model = registry.universe(universe)
        except ModelFileError as error:
            without |= dict.fromkeys(jobs, str(error))
            continue
        around = surroundings(warehouse, [ticker for ticker, _ in jobs], config.last_known_day(month))
        histories = prepare_many([Needed(bars[job], 0, len(bars[job])) for job in jobs])
        for job, history in zip(jobs, histories, strict=True):
            if config.hyperparameters(job[0]) != defaults:
                without[job] = "the run sets hyper-parameters, which a network of its own has"
                continue
            one = Beside(around.series(history, bars[job]), model, universe, admitted_by(row))
            if one.has_cases:
                beside[job] = one
            else:
                without[job] = "its past is too short for a day to be judged beside the month's networks"
    return _Placed(beside, without)


def _judge_and_publish(
    ticker: str,
    month: pd.Timestamp,
    candidate: Candidate | Beside,
    earlier: Sequence[Row],
    registry: ModelRegistry,
    max_age_days: int,
    trigger: str | None,
    mlflow: ParentRun,
    without_universe: str | None,
) -> dict[str, Any]:
    """The row of a model, judged against the champion among the ticker's `earlier` rows, and published."""
    known_to = candidate.history.dates[-1]
    champion = current_champion(earlier, known_to, month + pd.offsets.MonthEnd(0), registry, max_age_days)
    trained = candidate.judged(None if champion is None else champion[1])
    decision = trained.decision
    serving = champion[0] if decision.champion_serves and champion is not None else None
    serving_version = None if serving is None else serving["model_version"]
    tags = {"stockcast.trigger": trigger, "stockcast.served_by_version": serving_version}
    version = registry.publish(
        ticker,
        month.date(),
        trained,
        {name: value for name, value in tags.items() if value is not None},
        mlflow.begin,
        candidate.history,
    )
    universe = candidate.universe if isinstance(candidate, Beside) else None
    return {
        "ticker": ticker,
        "date": month,
        "model_name": version.model_name,
        "model_version": version.model_version,
        "run_id": version.run_id,
        "weights_sha256": version.sha256,
        "trained_from": pd.Timestamp(trained.trained_from),
        "trained_to": pd.Timestamp(trained.trained_to),
        "n_samples": trained.n_samples,
        **trained.summary(),
        "promoted": decision.promoted,
        "method": decision.published,
        "reason": decision.reason,
        "serving_version": serving_version or version.model_version,
        "serving_run_id": version.run_id if serving is None else serving["run_id"],
        "trigger": trigger,
        "universe_run_id": None if universe is None else universe.run_id,
        "universe_sha256": None if universe is None else universe.sha256,
        "without_universe": without_universe,
    }


def _cards(rows: Sequence[Row], warehouse: Warehouse) -> Iterator[tuple[Row, str]]:
    """Each row with its model's card, which knows the scores up to the model's last session."""
    networks = {row["run_id"]: row for row in stored_networks(warehouse).values()}
    scored = warehouse.read(
        FORECAST_ACCURACY,
        tickers=list(dict.fromkeys(row["ticker"] for row in rows)),
        start=(min(row["date"] for row in rows) - pd.Timedelta(days=LIVE_DAYS)).date(),
        end=max(row["trained_to"] for row in rows).date(),
    )
    own = {str(ticker): part for ticker, part in scored.groupby("ticker")}
    for row in rows:
        known = own.get(row["ticker"], scored.iloc[:0])
        yield row, model_card(row, networks.get(row["universe_run_id"]), known[known["date"] <= row["trained_to"]])


def _shown(row: Row, card: str, registry: ModelRegistry, plot: Callable[[str, str], str]) -> dict[str, Any]:
    """A row for the page of its key; Dagster plots the numbers over the months."""
    proof = {name: row[name] for name in row if name.startswith(("pinball", "rmse_ratio", "coverage"))}
    return {
        "published": row["method"],
        "reason": row["reason"],
        **({"trained again because": row["trigger"]} if row["trigger"] else {}),
        "MLflow run": dg.MetadataValue.url(registry.run_link(row["run_id"])),
        "model version": dg.MetadataValue.url(registry.version_link(row["model_name"], row["model_version"])),
        "serving version": row["serving_version"],
        **({"network of its own because": row["without_universe"]} if row["without_universe"] else {}),
        "knows until": f"{row['trained_to']:%Y-%m-%d}",
        "training samples": row["n_samples"],
        **{
            plot(row["ticker"], name.replace("_", " ")): number(value)
            for name, value in proof.items()
            if math.isfinite(value)
        },
        "model card": dg.MetadataValue.md(card),
    }


def _is_replaced(row: Row, jobs: Mapping[Job, pd.DataFrame], config: TrainingConfig) -> bool:
    """Whether a run's new model takes the place of a stored row.

    The first model of a month replaces the first one; a further one replaces the one with the same knowledge.
    """
    known = jobs.get((row["ticker"], row["date"]))
    if known is None:
        return False
    if config.known_until is None:
        return bool(row["trained_to"] < row["date"])
    return bool(row["trained_to"] == known["date"].iloc[-1])


def build_trained_model(
    monthly: dg.MultiPartitionsDefinition,
    first_daily_key: date,
    workers: int,
    max_age_days: int,
    shared: bool = True,
) -> dg.AssetsDefinition:
    """The month's models. The first knows nothing of its month of use: its training ends with the month before.

    `shared` says whether the tickers have networks in common.
    """
    before_the_month = dg.TimeWindowPartitionMapping(
        start_offset=-LINEAGE_MONTHS, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )

    @table_asset(
        TRAINED_MODEL,
        "forecasting",
        monthly,
        "tensorflow",
        "mlflow",
        about=_ABOUT,
        config=TrainingConfig,
        hooks=frozenset({end_parent}),
        deps=[
            dg.AssetDep(RAW_PRICES.name, partition_mapping=same_ticker(before_the_month)),
            dg.AssetDep(PRICE_HISTORY.name, partition_mapping=of_ticker()),
            dg.AssetDep(EARNINGS_DATES.name, partition_mapping=of_ticker()),
            MARKET_DAYS,
            of_all(MARKET_STATE.name),
            dg.AssetDep(UNIVERSE_MODEL.name, partition_mapping=of_period()),
        ],
    )
    @timed
    @configured_by(TrainingConfig)
    def trained_model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        warehouse: dg.ResourceParam[Warehouse],
        sources: dg.ResourceParam[Sources],
        registry: dg.ResourceParam[ModelRegistry],
        mlflow: dg.ResourceParam[ParentRun],
    ) -> KeyedFrame:
        months = days_by_ticker(context.partition_keys)
        bars = _known_bars(months, config, warehouse, context.instance, first_daily_key, sources)
        placed = _placed(bars, config, warehouse, registry, shared)
        alone = fit_many(
            {job: bars[job] for job in placed.without},
            {job: config.hyperparameters(job[0]) for job in placed.without},
            workers=workers,
            progress=lambda job, done, total: context.log.info(f"{job[0]} {job[1]:%Y-%m}: trained, {done} of {total}"),
        )
        candidates: dict[Job, Candidate | Beside] = {job: placed.beside.get(job) or alone[job] for job in bars}
        stored = stored_models(warehouse, list(months), max(month for _, month in bars)).to_dict("records")
        rows: list[Row] = [row for row in stored if not _is_replaced(row, bars, config)]
        kept = len(rows)
        for (ticker, month), candidate in candidates.items():
            own = [row for row in rows if row["ticker"] == ticker]
            row = _judge_and_publish(
                ticker,
                month,
                candidate,
                own,
                registry,
                max_age_days,
                config.why(),
                mlflow,
                placed.without.get((ticker, month)),
            )
            rows.append(row)
        shown, plot = {}, plot_names(context)
        for new, card in _cards(rows[kept:], warehouse):
            registry.describe(new["run_id"], card)
            shown[partition_key(new["ticker"], new["date"])] = _shown(new, card, registry, plot)
        show(context, shown)
        return KeyedFrame(rows_of_keys(pd.DataFrame(rows, columns=TRAINED_MODEL.column_names), months), {})

    return trained_model
