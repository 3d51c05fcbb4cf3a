"""The life of a ticker's models, in real Dagster runs: champion, challenger, damage, and training within a month."""

import dataclasses
import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.card import card_of
from stockcast_assets.forecasting.config import HORIZON, ModelConfig
from stockcast_assets.forecasting.evaluation.gate import Decision
from stockcast_assets.forecasting.features import FEATURE_NAMES, prepare
from stockcast_assets.forecasting.models.baselines import fit_naive
from stockcast_assets.forecasting.models.network import BASE, Layer, Lstm, Weights, fit_scaler
from stockcast_assets.forecasting.serving.calibration import Calibration
from stockcast_assets.forecasting.serving.forecaster import CalibratedLstm, Forecaster
from stockcast_assets.orchestration.build import build_definitions, registry_from, warehouse_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import FORECASTS, PRICE_HISTORY, RAW_PRICES, TRAINED_MODEL
from stockcast_assets.tracking.registry import ARTIFACT, CARD
from stockcast_assets.tracking.serving import UNREGISTERED
from stockcast_assets_tests.dashboard.home import write
from stockcast_assets_tests.forecasting.test_gate import evaluation

FIRST_KEY = pd.Timestamp("2013-01-01")
SERVED = "served_by_the_months_model"


@dataclasses.dataclass
class Home:
    """A stockcast with the bars of MSFT and nothing else; `run` materialises one asset in a real run."""

    settings: Settings
    instance: dg.DagsterInstance
    bars: pd.DataFrame

    def __post_init__(self) -> None:
        self.definitions = build_definitions(self.settings)
        self.registry = registry_from(self.settings)
        self.warehouse = warehouse_from(self.settings)
        self.settings.home.mkdir(parents=True)
        write(self.settings.home, PRICE_HISTORY, self.bars[self.bars["date"] < FIRST_KEY])
        write(self.settings.home, RAW_PRICES, self.bars[self.bars["date"] >= FIRST_KEY])
        self.instance.add_dynamic_partitions("ticker", ["MSFT"])

    def run(self, asset: str, day: str, **config: Any) -> dg.ExecuteInProcessResult:
        job = "monthly_training" if asset == TRAINED_MODEL.name else "daily_forecast"
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(asset)],
            partition_key=dg.MultiPartitionKey({"date": day, "ticker": "MSFT"}),
            run_config={"ops": {asset: {"config": config}}} if config else {},
            raise_on_error=False,
        )

    def forecast(self, day: str) -> tuple[pd.Series, dg.AssetCheckEvaluation, Mapping[str, Any]]:
        """The first row stored for a day, the check of what served it, and the metadata of its key."""
        result = self.run(FORECASTS.name, day)
        assert result.success
        rows = self.warehouse.read(FORECASTS, start=day, end=day)
        assert len(rows) == HORIZON
        (check,) = (one for one in result.get_asset_check_evaluations() if one.check_name == SERVED)
        made = result.asset_materializations_for_node(FORECASTS.name)
        (materialization,) = (one for one in made if one.asset_key == dg.AssetKey(FORECASTS.name))
        return rows.iloc[0], check, materialization.metadata

    def models(self) -> pd.DataFrame:
        return self.warehouse.read(TRAINED_MODEL)

    def publish(self, month: str, method: str, pinball: float) -> dict[str, Any]:
        """Publish a model made by hand and store its row, as a run of trained_model would have."""
        first = pd.Timestamp(month)
        model = made_model(self.bars[self.bars["date"] < first], method, pinball)
        version = self.registry.publish("MSFT", first.date(), model)
        row = {
            "ticker": "MSFT", "date": first, **dataclasses.asdict(version), "weights_sha256": version.sha256,
            "trained_from": pd.Timestamp(model.trained_from), "trained_to": pd.Timestamp(model.trained_to),
            "n_samples": model.n_samples, **model.summary(), "promoted": model.decision.promoted,
            "method": method, "reason": model.decision.reason, "serving_version": version.model_version,
            "serving_run_id": version.run_id, "trigger": None, "universe_run_id": None, "universe_sha256": None,
            "without_universe": None,
        }  # fmt: skip
        write(self.settings.home, TRAINED_MODEL, pd.concat([self.models(), pd.DataFrame([row])], ignore_index=True))
        return row

    def file_of(self, row: Mapping[str, Any]) -> Path:
        (file,) = self.settings.artifacts.rglob(f"{row['run_id']}/artifacts/{ARTIFACT}")
        return file


def made_model(bars: pd.DataFrame, method: str, pinball: float) -> TrainedModel:
    """A model as training leaves it, with an LSTM that says what its baseline says and scores made up for it."""
    history = prepare(bars)
    config = ModelConfig(units=4)
    rows = np.arange(history.first_row + config.window, len(history) - HORIZON)
    naive = fit_naive(history, rows)
    base = naive[BASE]
    shapes = (len(FEATURE_NAMES), 16), (4, 16), (16,), (4, HORIZON), (HORIZON,)
    *layer, head, head_bias = (np.zeros(shape) for shape in shapes)
    weights = Weights((Layer(*layer),), head, head_bias)
    lstm = Lstm(weights, fit_scaler(history, rows), base.volatility, base.shape, config.window, config.lstm_weight)
    trained_to = history.dates[-1].date()
    scores = evaluation({}, days=900, first="2009-09-01")
    scaled = {name: losses * pinball for name, losses in scores.pinball.items()}
    return TrainedModel(
        forecaster=Forecaster("MSFT", method, trained_to, naive, CalibratedLstm(lstm, Calibration.start(0.0025))),
        config=config,
        evaluation=dataclasses.replace(scores, pinball=scaled),
        decision=Decision(method == "lstm", method, "Made by a test of 900 cases."),
        history=[],
        trained_from=history.dates[rows[0]].date(),
        trained_to=trained_to,
        n_samples=len(rows),
        code_version="0",
    )


@pytest.fixture
def make_home(
    make_settings: Callable[..., Settings], sample_bars: Mapping[str, pd.DataFrame]
) -> Iterator[Callable[..., Home]]:
    """`make_home(since)` has the bars of MSFT from that day on."""
    with dg.DagsterInstance.ephemeral() as instance:

        def make(since: str, **settings: Any) -> Home:
            bars = sample_bars["MSFT"]
            kept = bars[bars["date"] >= since].reset_index(drop=True)
            return Home(make_settings(train_workers=1, **settings), instance, kept)

        yield make


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def test_a_damaged_model_is_refused_and_the_champion_serves_with_the_check_red(make_home, tmp_path: Path) -> None:
    home = make_home("2009-01-01")
    champion, own = home.publish("2013-02-01", "lstm", 1.0), home.publish("2013-03-01", "naive_fhs", 1.0)
    row, check, metadata = home.forecast("2013-03-01")
    assert (row["model_version"], row["method"], row["fallback"]) == (own["model_version"], "naive_fhs", None)
    assert check.passed
    assert not check.blocking
    assert "fallback" not in metadata

    marker = tmp_path / "executed"
    evil = pickle.dumps(_Malicious(marker))
    objects = io.BytesIO()
    np.savez(objects, meta=np.array([_Malicious(marker)], dtype=object))
    file = home.file_of(own)
    (file.parent / "python_model.pkl").write_bytes(evil)
    damages = {
        "truncated": file.read_bytes()[:-100],
        "swapped": home.file_of(champion).read_bytes(),
        "a pickle": evil,
        "an npz of objects": objects.getvalue(),
        "missing": None,
    }
    for damage, data in damages.items():
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)
        row, check, metadata = home.forecast("2013-03-01")
        assert (row["model_version"], row["method"]) == (champion["model_version"], "lstm"), damage
        assert not check.passed, damage
        assert str(check.description).startswith("MSFT 2013-03 is served by the champion, version 1"), damage
        assert metadata["fallback"].value == row["fallback"]
    assert not marker.exists()

    home.file_of(champion).write_bytes(b"")
    row, check, _ = home.forecast("2013-03-01")
    assert (row["model_version"], row["method"]) == (UNREGISTERED, "naive_har")
    assert "served by the naive forecast fitted on the spot" in str(check.description)


def test_a_month_without_a_model_is_served_by_a_champion_that_is_young_enough(make_home) -> None:
    home = make_home("2009-01-01", model_max_age_days=28)
    result = home.run(FORECASTS.name, "2013-02-28")
    assert not result.success
    champion = home.publish("2013-02-01", "lstm", 1.0)
    row, check, _ = home.forecast("2013-02-28")
    assert (row["model_version"], row["fallback"]) == (champion["model_version"], None)
    assert check.passed
    row, check, _ = home.forecast("2013-03-01")
    assert (row["model_version"], row["method"]) == (UNREGISTERED, "naive_har")
    assert "has no row for the month" in str(check.description)
    assert "is older than 28 days" in str(check.description)


@pytest.mark.timeout(300)
def test_a_better_champion_serves_on_and_again_changes_nothing(make_home) -> None:
    """A real training faces a champion whose scores no model of these bars can reach."""
    home = make_home("2009-01-01")
    champion = home.publish("2013-02-01", "lstm", 0.001)
    small = {"units": 4, "window": 5, "epochs": 1}
    result = home.run(TRAINED_MODEL.name, "2013-03-01", **small)
    assert result.success
    own = home.models().iloc[-1]
    assert (own["promoted"], own["method"], own["serving_version"]) == (False, "lstm", champion["model_version"])
    assert own["model_version"] != champion["model_version"]
    assert "times the champion's on the same" in own["reason"]
    assert "The champion before it serves on" in own["reason"]
    assert home.registry.champion("MSFT").model_version == champion["model_version"]
    assert home.registry.challenger("MSFT").model_version == own["model_version"]
    (materialization,) = result.asset_materializations_for_node(TRAINED_MODEL.name)
    shown = materialization.metadata
    assert shown["reason"].value == own["reason"]
    assert str(shown["MLflow run"].value).endswith(f"/runs/{own['run_id']}")
    assert shown["MSFT: pinball ratio har"].value == pytest.approx(own["pinball_ratio_har"])

    row, check, _ = home.forecast("2013-03-01")
    assert (row["model_version"], row["method"], row["fallback"]) == (champion["model_version"], "lstm", None)
    assert check.passed

    before = home.warehouse.content_hash(TRAINED_MODEL)
    assert home.run(TRAINED_MODEL.name, "2013-03-01", **small).success
    assert home.warehouse.content_hash(TRAINED_MODEL) == before


def test_a_month_may_have_several_models_each_for_the_days_after_what_it_knows(make_home) -> None:
    """On a history too short for the LSTM, so that every training takes milliseconds."""
    home = make_home("2012-09-01")
    month, day, later = "2013-02-01", "2013-02-14", "2013-02-15"
    assert home.run(TRAINED_MODEL.name, month).success
    first = home.models()
    assert list(first["trigger"]) == [None]
    assert home.run(TRAINED_MODEL.name, month, known_until=day, trigger="The volatility drifted.").success
    pd.testing.assert_frame_equal(home.models().head(1), first, check_exact=True)
    base, again = home.models().to_dict("records")
    assert (again["trained_to"], again["trigger"]) == (pd.Timestamp(day), "The volatility drifted.")
    assert home.forecast(day)[0]["model_version"] == base["model_version"]
    assert home.forecast(later)[0]["model_version"] == again["model_version"]

    before = home.warehouse.content_hash(TRAINED_MODEL)
    for config in ({}, {"known_until": day, "trigger": "The volatility drifted."}):
        assert home.run(TRAINED_MODEL.name, month, **config).success
        assert home.warehouse.content_hash(TRAINED_MODEL) == before


def test_a_model_has_the_same_card_in_mlflow_on_its_key_and_of_its_row(make_home) -> None:
    home = make_home("2012-09-01")
    result = home.run(TRAINED_MODEL.name, "2013-02-01")
    (materialization,) = result.asset_materializations_for_node(TRAINED_MODEL.name)
    (row,) = home.models().to_dict("records")
    card = card_of(home.warehouse.read, row)
    assert card.startswith("# Model card: MSFT, February 2013\n")
    assert row["reason"] in card
    assert materialization.metadata["model card"].value == card
    assert home.registry.client.get_run(row["run_id"]).data.tags["mlflow.note.content"] == card
    (file,) = home.settings.artifacts.rglob(f"{row['run_id']}/artifacts/{CARD}")
    assert file.read_text() == card


@pytest.mark.parametrize("known_until", ["2013-01-31", "2013-02-28", "2013-03-01", "yesterday"])
def test_a_model_cannot_know_what_lies_outside_its_month(make_home, known_until: str) -> None:
    home = make_home("2012-09-01")
    result = home.run(TRAINED_MODEL.name, "2013-02-01", known_until=known_until)
    assert not result.success
    error = result.failure_data_for_node(TRAINED_MODEL.name).error.cause
    assert error.cls_name == StockcastError.__name__
    assert f"known_until={known_until}" in error.message.replace("'", "")
    assert home.models().empty
