"""`stockcast explain`: where a stored forecast came from, link by link, and whether it can be made again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

import dagster as dg
import typer

from stockcast_assets import __version__
from stockcast_assets.as_known import AsKnown, past_day, world_of
from stockcast_assets.cli.days import check_known, session_before, session_of
from stockcast_assets.cli.explain_around import around, later_statements, market_made_again, words
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import Session, open_session
from stockcast_assets.cli.tables import Row, plain, print_json, print_table
from stockcast_assets.cli.terminal import out, stacked, styled
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.serving.forecaster import Published
from stockcast_assets.forecasting.serving.own_bars import with_target_dates
from stockcast_assets.forecasting.serving.predict import QUANTILE_COLUMNS, TAIL_COLUMNS, forecast
from stockcast_assets.forecasting.serving.rounding import ROUNDING
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.inputs import parse_day, shortlist
from stockcast_assets.keys import month_of, partition_key
from stockcast_assets.libraries import pd
from stockcast_assets.market.known import day_ends_at
from stockcast_assets.orchestration.assets.bars import (
    bars_as_known,
    complete_bars,
    read_bars,
    stored_models,
    surroundings_of,
)
from stockcast_assets.orchestration.build import registry_from
from stockcast_assets.orchestration.sensors.revisions import revisions
from stockcast_assets.tables import FORECASTS
from stockcast_assets.tracking.registry import ModelRegistry, ModelVersion, model_name
from stockcast_assets.tracking.serving import UNREGISTERED, naive_on_the_spot, row_in_use, serving_row
from stockcast_assets.warehouse import Warehouse

_COMPARED = ["horizon", "target_date", "last_close", *QUANTILE_COLUMNS, "naive_close", "method", *TAIL_COLUMNS]
_SHOWN = 5


def run(call: Invocation, ticker: str, day_text: str, replay: bool, as_known_on: str | None) -> None:
    """Print the provenance of the stored forecast; exit status 1 if a replay differs."""
    known_on = None if as_known_on is None else past_day(as_known_on)
    with open_session(call, models=True) as session:
        session.require_rows_here()
        world = world_of(session.warehouse, known_on)
        chain = Provenance(session, ticker, session_before(ticker, parse_day(day_text)), world)
        document = chain.document()
        differences = chain.replay() if replay else None
        if differences is not None:
            document["replay"] = {
                "identical": not differences,
                "differences": differences,
                "possible_causes": chain.possible_causes(differences) if differences else [],
            }
        if call.as_json:
            print_json(document)
        else:
            _print(document)
        if differences:
            raise typer.Exit(1)


@dataclass
class Provenance:
    """What stands behind the stored forecast of a ticker as of a day."""

    session: Session
    ticker: str
    day: date
    warehouse: Warehouse

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The stored rows.

        Raises:
            StockcastError: if there are none.
        """
        rows = self.warehouse.read(FORECASTS, tickers=[self.ticker], start=self.day, end=self.day)
        if rows.empty and self._past is not None:
            raise StockcastError(
                f"No forecast of {self.ticker} as of {self.day} had been published by the end of {self._past.day}: "
                f"`stockcast explain {self.ticker} {self.day}` says what is stored now."
            )
        if rows.empty:
            self._require_that_it_can_be_made()
            raise StockcastError(
                f"There is no stored forecast of {self.ticker} as of {self.day}: "
                f"make it with `stockcast forecast {self.ticker} {self.day}`."
            )
        return rows

    def _require_that_it_can_be_made(self) -> None:
        """Raise the StockcastError that `forecast` would: what cannot be made is not advised."""
        source = self.session.sources.get()
        if source.tickers():
            check_known(self.session.settings, source, self.ticker)
        session_of(self.session.settings, source, self.ticker, str(self.day))

    @cached_property
    def model_version(self) -> str:
        """The version that the rows themselves name: it may be an earlier month's champion."""
        return str(self.rows["model_version"].iloc[0])

    @cached_property
    def model_row(self) -> Row | None:
        """The row of `trained_model` that describes the version; None if there is none.

        A lost registry counts from 1 again. Of rows of the same version it is the one that serves the day, else the
        newest that the day could know.
        """
        models = stored_models(self.warehouse, [self.ticker], self.day).to_dict("records")
        known = [row for row in models if row["trained_to"] < pd.Timestamp(self.day)]
        own = [row for row in known if row["model_version"] == self.model_version]
        if not own:
            return None
        serves = serving_row(row_in_use(known, self.ticker, pd.Timestamp(self.day)), known)
        chosen = serves if serves in own else max(own, key=lambda row: (row["trained_to"], row["date"]))
        return {str(name): plain(value) for name, value in chosen.items()}

    @cached_property
    def file(self) -> bytes:
        """The model's stored file."""
        row = self.model_row
        return self._registry.fetch(model_name(self.ticker), self.model_version if row is None else row["run_id"])

    @cached_property
    def model(self) -> TrainedModel:
        """The model in the file, read under the digest that `trained_model` states, else under the registry's."""
        promised = self.model_row["weights_sha256"] if self.model_row else self._registered.sha256
        return TrainedModel.from_bytes(self.file, promised, self._registry.universe)

    @cached_property
    def bars(self) -> pd.DataFrame:
        """Every bar stored now, up to the day."""
        return read_bars(self.warehouse, [self.ticker], self.day)

    @cached_property
    def made(self) -> tuple[datetime, str] | None:
        """When the rows were stored and by which Dagster run; None if the instance does not know them."""
        key = partition_key(self.ticker, self.day)
        wanted = dg.AssetRecordsFilter(
            dg.AssetKey(FORECASTS.name),
            asset_partitions=[key],
            before_timestamp=None if self._ends_at is None else self._ends_at.timestamp(),
        )
        records = self.session.instance.fetch_materializations(wanted, limit=1).records
        return (datetime.fromtimestamp(records[0].timestamp, UTC), records[0].run_id) if records else None

    @property
    def _past(self) -> AsKnown | None:
        """The world of a past day, if that is what is read."""
        return self.warehouse if isinstance(self.warehouse, AsKnown) else None

    @property
    def _ends_at(self) -> pd.Timestamp | None:
        """The end of the day whose world this is."""
        return None if self._past is None else day_ends_at(self._past.day)

    @cached_property
    def _registry(self) -> ModelRegistry:
        return registry_from(self.session.settings)

    @cached_property
    def _registered(self) -> ModelVersion:
        """What the registry says of the model's run, or, where no row names one, of the version."""
        if (row := self.model_row) is not None:
            return self._registry.of_run(self.ticker, row["run_id"])
        return self._registry.version(self.ticker, self.model_version)

    def document(self) -> Row:
        """The chain as one JSON document."""
        first = self.rows.iloc[0]
        stored_at, dagster_run = self.made or (None, None)
        return {
            "ticker": self.ticker,
            "as_of": self.day.isoformat(),
            "as_known_on": None if self._past is None else self._past.day.isoformat(),
            "forecast": {
                "rows": len(self.rows),
                "method": first["method"],
                "model_version": self.model_version,
                "fallback": plain(first["fallback"]),
                "stored_at": None if stored_at is None else stored_at.isoformat(timespec="seconds"),
                "dagster_run_id": dagster_run,
                "bars": _described(self.bars),
            },
            "model": None if self.model_version == UNREGISTERED else self._model(),
            "around": self._around,
            "code_version": __version__,
            "revised": self._revised(),
        }

    def _model(self) -> Row:
        registered, row, model = self._registered, self.model_row, self.model
        run_info = self._registry.client.get_run(registered.run_id).info
        window = self.bars["date"].between(pd.Timestamp(model.trained_from), pd.Timestamp(model.trained_to))
        return {
            "name": registered.model_name,
            "version": registered.model_version,
            "month_of_use": None if row is None else row["date"],
            "mlflow_run_id": registered.run_id,
            "mlflow_link": self._registry.link(run_info.experiment_id, registered.run_id),
            "trained_at": datetime.fromtimestamp(run_info.start_time / 1000, UTC).isoformat(timespec="seconds"),
            "weights": {
                "sha256": hashlib.sha256(self.file).hexdigest(),
                "in_trained_model": None if row is None else row["weights_sha256"],
                "in_registry": registered.sha256,
                "verified": self._verified(),
            },
            "trained_from": model.trained_from.isoformat(),
            "trained_to": model.trained_to.isoformat(),
            "training_bars": _described(self.bars[window]),
            "n_samples": model.n_samples,
            "code_version": model.code_version,
            "promoted": model.decision.promoted,
            "reason": model.decision.reason,
        }

    @cached_property
    def _around(self) -> Row | None:
        """What a part of a universe's model saw beside its ticker's bars; None of another model."""
        forecaster = None if self.model_version == UNREGISTERED else self.model.forecaster
        if not isinstance(forecaster, UniverseForecaster):
            return None
        return around(forecaster, self.day, self.warehouse, self._registry)

    def _verified(self) -> bool:
        """Whether the stored file has the digest that `trained_model` and the registry state."""
        stated = {self._registered.sha256}
        if self.model_row is not None:
            stated.add(self.model_row["weights_sha256"])
        return stated == {hashlib.sha256(self.file).hexdigest()}

    def _revised(self) -> Row:
        """Bars stored after the forecast was, and what the source said otherwise in later fetches."""
        since = []
        if self.made is not None:
            later = self.bars[self.bars["ingested_at"] > pd.Timestamp(self.made[0])]
            since = [day.date().isoformat() for day in later["date"]]
        return {"bars_stored_after_the_forecast": since, "reported_by_the_source": self._reported()}

    def _reported(self) -> list[Row]:
        found = revisions(self.session.instance)
        if self._ends_at is not None:
            found = found[found["found_at"] < self._ends_at]
        found = found.drop(columns=["found_at", "run_id"])
        own = found[(found["ticker"] == self.ticker) & (found["date"] <= self.day.isoformat())]
        return [{str(name): plain(value) for name, value in row.items()} for row in own.to_dict("records")]

    def replay(self) -> list[Row]:
        """Where a forecast made now from the stored bars and model differs from the stored rows, bit for bit.

        Raises:
            StockcastError: if the bars have holes, or the model's file is missing or another.
        """
        session = self.session
        if self._past is not None:
            bars = bars_as_known(self._past, [self.ticker], self.day)[self.ticker]
        else:
            bars = complete_bars(
                self.warehouse, session.instance, [self.ticker], self.day, session.settings.start_date, session.sources
            )[self.ticker]
        forecaster: Published
        if self.model_version == UNREGISTERED:
            forecaster = naive_on_the_spot(bars, pd.Timestamp(month_of(self.day)))
        else:
            forecaster = self.model.forecaster
        beside = surroundings_of([forecaster], self.warehouse, self.day)
        again = forecast({self.ticker: forecaster}, {self.ticker: bars}, {self.ticker: [self.day]}, beside)
        again = with_target_dates(again)
        differences = []
        for before, now in zip(
            self.rows[_COMPARED].to_dict("records"), again[_COMPARED].to_dict("records"), strict=True
        ):
            differences += [
                {
                    "horizon": before["horizon"],
                    "column": name,
                    "stored": plain(before[name]),
                    "replayed": plain(now[name]),
                }
                for name in _COMPARED
                # A forecast of a release that had no tails is replayed without them.
                if before[name] != now[name] and not (name in TAIL_COLUMNS and pd.isna(before[name]))
            ]
        return differences

    def possible_causes(self, differences: Sequence[Row]) -> list[str]:
        """Why a replay may differ, as far as what is stored can tell."""
        causes = []
        revised = self._revised()["bars_stored_after_the_forecast"]
        if revised:
            causes.append(f"{len(revised)} bars were ingested again after the forecast, first {revised[0]}")
        if self.made is not None and self._around is not None:
            stated = later_statements(self.ticker, pd.Timestamp(self.made[0]), self.day, self.warehouse)
            if stated:
                causes.append(f"{stated} statements on reports that the day knew were recorded after the forecast")
            again = market_made_again(pd.Timestamp(self.made[0]), self.day, self.session.instance)
            if again:
                causes.append(f"{len(again)} days of market_state were made again after the forecast, first {again[0]}")
        if self.model_version != UNREGISTERED and self.model.code_version != __version__:
            causes.append(f"the model was made by stockcast {self.model.code_version} and this is {__version__}")
        if (largest := largest_difference(differences)) <= ROUNDING:
            return [
                *causes,
                "this machine's processor or libraries round otherwise than those that made it: no value differs by "
                f"more than {largest:.1e} of itself (so much can be changed by hand, too; `stockcast ledger verify` "
                "tells)",
            ]
        return causes or ["nothing stored tells: the rows may have been changed by hand"]


def largest_difference(differences: Sequence[Row]) -> float:
    """Relative to the value; infinite where something differs that is no number."""
    pairs = [(each["stored"], each["replayed"]) for each in differences]
    if not all(isinstance(value, float) for pair in pairs for value in pair):
        return math.inf
    return max((abs(now - before) / max(abs(before), abs(now)) for before, now in pairs), default=0.0)


def _described(bars: pd.DataFrame) -> Row:
    """How many bars, of which sessions and sources, and when they were stored."""
    if bars.empty:
        return {"count": 0, "first": None, "last": None, "sources": [], "ingested_from": None, "ingested_to": None}
    return {
        "count": len(bars),
        "first": plain(bars["date"].iloc[0]),
        "last": plain(bars["date"].iloc[-1]),
        "sources": sorted(bars["source"].unique()),
        "ingested_from": bars["ingested_at"].min().isoformat(timespec="seconds"),
        "ingested_to": bars["ingested_at"].max().isoformat(timespec="seconds"),
    }


def _print(document: Row) -> None:
    made, model = document["forecast"], document["model"]
    rows: list[list[object]] = [
        ["forecast", f"{made['rows']} rows, method {made['method']}, model version {made['model_version']}"],
        ["stored", f"{made['stored_at'] or 'not known'}, Dagster run {made['dagster_run_id'] or 'not known'}"],
        ["from", _bars_words(made["bars"])],
    ]
    if made["fallback"]:
        rows.append(["fallback", made["fallback"]])
    if model is not None:
        weights = model["weights"]
        verdict = "verified against the stored file" if weights["verified"] else "NOT the stored file's"
        rows += [
            [
                "model",
                f"{model['name']} version {model['version']}, month of use {model['month_of_use'] or 'not known'}",
            ],
            ["MLflow run", stacked(f"{model['mlflow_run_id']}, {model['trained_at']}", model["mlflow_link"])],
            ["weights", stacked(f"SHA-256 {weights['sha256']}", verdict)],
            ["trained on", f"{model['trained_from']} to {model['trained_to']}: {_bars_words(model['training_bars'])}"],
            ["code", f"model by stockcast {model['code_version']}, this is {document['code_version']}"],
            ["gate", model["reason"]],
        ]
    else:
        rows.append(["model", "none registered: the naive forecast was fitted on the bars known when the month began"])
    rows += words(document["around"]) if document["around"] else []
    rows.append(["revised", _revised_words(document["revised"])])
    known = f", as known on {document['as_known_on']}" if document["as_known_on"] else ""
    print_table(f"{document['ticker']} as of {document['as_of']}{known}", ["link", "what"], rows)
    replay = document.get("replay")
    if replay is None:
        return
    if replay["identical"]:
        out.print(styled("Replay: ", ("identical", "green"), ", every bit of every row."))
        return
    differences = replay["differences"]
    print_table(
        f"Replay: {len(differences)} values differ",
        ["horizon", "column", "stored", "replayed"],
        [[each["horizon"], each["column"], repr(each["stored"]), repr(each["replayed"])] for each in differences],
    )
    out.print(f"It may be because {'; '.join(replay['possible_causes'])}.", soft_wrap=True)


def _bars_words(bars: Row) -> str:
    if not bars["count"]:
        return "no bar is stored now"
    return (
        f"{bars['count']} bars, {bars['first']} to {bars['last']}, from {', '.join(bars['sources'])}, "
        f"stored {bars['ingested_from']} to {bars['ingested_to']}"
    )


def _revised_words(revised: Row) -> str:
    days, reported = revised["bars_stored_after_the_forecast"], revised["reported_by_the_source"]
    told = []
    if days:
        told.append(f"{len(days)} bars were stored again after the forecast: {shortlist(days, _SHOWN)}")
    for each in reported[:_SHOWN]:
        told.append(f"the source changed {each['column']} of {each['date']} from {each['before']} to {each['after']}")
    if len(reported) > _SHOWN:
        told.append(f"and {len(reported) - _SHOWN} more changes")
    return "; ".join(told) or "no bar changed since"
