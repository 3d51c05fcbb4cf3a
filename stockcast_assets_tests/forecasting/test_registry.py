"""Publishing to real MLflow stores: a SQLite file and an HTTP server."""

import dataclasses
import hashlib
import io
import json
import math
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.cli import servers
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.evaluation.gate import Decision
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.network import Layer, Scaler
from stockcast_assets.forecasting.models.volatility import HarVolatility
from stockcast_assets.forecasting.npz import ModelFileError, Reference
from stockcast_assets.forecasting.serving.calibration import Calibration
from stockcast_assets.forecasting.serving.predict import COLUMNS, forecast
from stockcast_assets.forecasting.universe.artifact import month_bytes
from stockcast_assets.forecasting.universe.contenders import BASELINES, OwnFit
from stockcast_assets.forecasting.universe.earnings import WIDTH, EventFactor
from stockcast_assets.forecasting.universe.fitting import HIDDEN, UNITS
from stockcast_assets.forecasting.universe.forecaster import UniverseForecaster
from stockcast_assets.forecasting.universe.inputs import HEAD_INPUTS, STEP_INPUTS
from stockcast_assets.forecasting.universe.month import MonthModel, Vintage
from stockcast_assets.forecasting.universe.network import Network, UniverseModel
from stockcast_assets.forecasting.universe.start import Pooled, Start
from stockcast_assets.market.adjust import with_total_return
from stockcast_assets.methods import LSTM
from stockcast_assets.tracking import mlflow_model
from stockcast_assets.tracking.registry import ARTIFACT, EXPERIMENT, ModelRegistry, model_name
from stockcast_assets.tracking.universe import publish_month
from stockcast_assets_tests.conftest import clean_env
from stockcast_assets_tests.forecasting.conftest import known
from stockcast_assets_tests.servers import free_port

JANUARY, FEBRUARY, MARCH = date(2013, 1, 1), date(2013, 2, 1), date(2013, 3, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two empty databases, migrated once: a process's own, and the one of the home `served`."""
    store = tmp_path_factory.mktemp("mlflow")
    ModelRegistry(f"sqlite:///{store}/mlflow.db").champion("NONE")
    (store / "served").mkdir()
    shutil.copy(store / "mlflow.db", store / "served")
    return store


@pytest.fixture(scope="module")
def registry(store: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{store}/mlflow.db", store / "artifacts")


@pytest.fixture(scope="module", autouse=True)
def starting(store: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """`stockcast mlflow` on the home `served`, on a free port: a real tracking server that starts while tests run."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("stockcast")), "mlflow", "--port", str(port)]
    env = clean_env() | {"STOCKCAST_HOME": str(store / "served")}
    with (store / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=env)
    yield process, port
    os.killpg(process.pid, 15)
    process.wait(20)


@pytest.fixture(scope="module")
def server(starting: tuple[subprocess.Popen, int], store: Path) -> str:
    """The address of that server, once it answers."""
    process, port = starting
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.3)
    raise RuntimeError((store / "server.log").read_text()[-2000:])


def promoted(model: TrainedModel, value: bool) -> TrainedModel:
    decision = Decision(value, "lstm" if value else "naive_har", "Because the test says so.")
    forecaster = dataclasses.replace(model.forecaster, method=decision.method)
    return dataclasses.replace(model, decision=decision, forecaster=forecaster)


def test_publish_load_and_publish_again(registry: ModelRegistry, trained: dict[str, TrainedModel]) -> None:
    model = promoted(trained["AAPL"], True)
    version = registry.publish("AAPL", FEBRUARY, model, {"stockcast.data_sha256": "abc"})
    assert version.model_name == "stockcast-AAPL"
    assert version.sha256 == model.sha256
    assert registry.publish("AAPL", FEBRUARY, model) == version
    for reference in (version.run_id, version.model_version):
        loaded = registry.load_model(version.model_name, reference, version.sha256)
        assert loaded.to_bytes() == model.to_bytes()
    assert registry.load(version.model_name, version.run_id, version.sha256).ticker == "AAPL"
    assert registry.champion("AAPL") == version


def test_the_run_holds_the_proof(registry: ModelRegistry, trained: dict[str, TrainedModel]) -> None:
    from mlflow import MlflowClient

    model = promoted(trained["AAPL"], True)
    version = registry.publish("AAPL", FEBRUARY, model)
    client = MlflowClient(registry.tracking_uri)
    run = client.get_run(version.run_id)
    assert run.info.run_name == "AAPL 2013-02 champion"
    assert run.info.status == "FINISHED"
    assert run.data.tags["stockcast.reason"] == "Because the test says so."
    assert run.data.tags["stockcast.champion"] == "true"
    assert run.data.tags["stockcast.data_sha256"] == "abc"
    assert run.data.params["units"] == "8"
    for name, value in model.summary().items():
        # A ratio to a baseline that this ticker does not have is no metric.
        assert run.data.metrics.get(name, math.nan) == pytest.approx(value, nan_ok=True), name
    curve = client.get_metric_history(version.run_id, "validation_loss")
    assert [(m.step, m.value) for m in curve] == [(row["epoch"], row["validation"]) for row in model.history]
    files = {file.path for file in client.list_artifacts(version.run_id)}
    assert files == {"evaluation.csv", "proof.png", "model"}
    wanted = {"ticker": "AAPL", "month": "2013-02", "champion": "true"}
    search = " and ".join(f"tags.`stockcast.{name}` = '{value}'" for name, value in wanted.items())
    found = client.search_runs([run.info.experiment_id], search)
    assert [one.info.run_id for one in found] == [version.run_id]
    assert client.get_model_version(version.model_name, version.model_version).description == model.decision.reason
    assert registry.run_link(version.run_id).startswith("http://127.0.0.1:5000/#/experiments/")


def test_mlflow_loads_the_champion_and_predicts_what_stockcast_publishes(
    registry: ModelRegistry,
    server: str,
    trained: dict[str, TrainedModel],
    sample: dict[str, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the store and over HTTP, with pickles forbidden, on bars up to any day."""
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = promoted(trained["AAPL"], True)
    bars = with_total_return(known(sample["AAPL"], date(2013, 2, 8)).tail(1205).reset_index(drop=True))
    history = prepare(bars[bars["date"] <= pd.Timestamp(model.trained_to)])
    published = forecast({"AAPL": model.forecaster}, {"AAPL": bars}, {"AAPL": [date(2013, 2, 8)]})[COLUMNS]
    for store in (registry, ModelRegistry(server)):
        version = store.publish("AAPL-B", FEBRUARY, model, learnt_from=history)
        mlflow.set_tracking_uri(store.tracking_uri)
        loaded = mlflow.pyfunc.load_model("models:/stockcast-AAPL-B@champion")
        stored = sample["AAPL"][bars["date"].iloc[0] <= sample["AAPL"]["date"]]
        predicted = loaded.predict(known(stored, date(2013, 2, 8)))
        pd.testing.assert_frame_equal(predicted[published.columns], published)
        assert list(predicted["target_date"].iloc[[0, -1]]) == [pd.Timestamp("2013-02-11"), pd.Timestamp("2013-02-25")]
        assert loaded.metadata.signature == mlflow_model.signature()
        assert set(predicted) == set(loaded.metadata.signature.outputs.input_names())
        with pytest.raises(StockcastError, match="not of AAPL"):
            loaded.predict(known(sample["MSFT"], date(2013, 2, 8)))
        (dataset,) = store.client.get_run(version.run_id).inputs.dataset_inputs
        assert dataset.dataset.name == f"AAPL {history.dates[0].date()} to 2013-01-31"
        assert not [file.path for file in store.client.list_artifacts(version.run_id, "model") if "pkl" in file.path]


def test_champion_is_the_promoted_version_of_the_latest_month(
    registry: ModelRegistry, trained: dict[str, TrainedModel]
) -> None:
    base = trained["MSFT"]
    february = registry.publish("MSFT", FEBRUARY, promoted(base, True))
    assert registry.champion("MSFT") == february
    registry.publish("MSFT", MARCH, promoted(base, False))
    assert registry.champion("MSFT") == february
    registry.publish("MSFT", JANUARY, promoted(base, True))
    assert registry.champion("MSFT") == february
    march = registry.publish("MSFT", MARCH, promoted(base, True))
    assert registry.champion("MSFT") == march
    assert registry.champion("NEVER") is None


def test_challenger_is_the_latest_model_if_it_was_not_promoted(
    registry: ModelRegistry, trained: dict[str, TrainedModel]
) -> None:
    base = trained["MSFT"]
    january = registry.publish("GE", JANUARY, promoted(base, True))
    assert registry.challenger("GE") is None
    february = registry.publish("GE", FEBRUARY, promoted(base, False))
    assert (registry.champion("GE"), registry.challenger("GE")) == (january, february)
    again = dataclasses.replace(promoted(base, False), trained_to=date(2013, 2, 15))
    within = registry.publish("GE", FEBRUARY, again)
    assert registry.challenger("GE") == within
    run = registry.client.get_run(within.run_id)
    assert run.info.run_name == "GE 2013-02 challenger (known to 2013-02-15)"
    registry.publish("GE", FEBRUARY, promoted(base, False))
    assert registry.challenger("GE") == within, "the model with more knowledge is the later one"
    march = registry.publish("GE", MARCH, promoted(base, True))
    assert (registry.champion("GE"), registry.challenger("GE")) == (march, None)


def test_a_short_history_is_published_once_and_never_crowned(
    registry: ModelRegistry, trained: dict[str, TrainedModel]
) -> None:
    from mlflow import MlflowClient

    model = trained["SHORT"]
    version = registry.publish("SHORT", FEBRUARY, model)
    assert registry.publish("SHORT", FEBRUARY, model) == version
    assert registry.champion("SHORT") is None
    assert registry.load_model(version.model_name, version.model_version, version.sha256).to_bytes() == model.to_bytes()
    client = MlflowClient(registry.tracking_uri)
    run = client.get_run(version.run_id)
    assert run.data.metrics == {"n_cases": 0}
    assert run.data.tags["stockcast.reason"] == model.decision.reason
    assert {file.path for file in client.list_artifacts(version.run_id)} == {"model"}


def test_a_death_before_registration_is_resumed(
    registry: ModelRegistry, trained: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead(BaseException):
        pass

    def die(*_: object) -> None:
        raise Dead

    model = promoted(trained["MSFT"], False)
    with monkeypatch.context() as patched:
        patched.setattr(ModelRegistry, "register", die)
        with pytest.raises(Dead):
            registry.publish("^GSPC", FEBRUARY, model)
    version = registry.publish("^GSPC", FEBRUARY, model)
    found = registry.client.search_runs([registry._experiment_id], "tags.`stockcast.ticker` = '^GSPC'")
    assert [run.info.run_id for run in found] == [version.run_id]


def test_a_tampered_file_is_refused(registry: ModelRegistry, trained: dict[str, TrainedModel], store: Path) -> None:
    version = registry.publish("AAPL", MARCH, promoted(trained["AAPL"], False))
    (file,) = (store / "artifacts").rglob(f"{version.run_id}/artifacts/{ARTIFACT}")
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    with pytest.raises(StockcastError, match="damaged or swapped"):
        registry.load(version.model_name, version.run_id, version.sha256)
    file.unlink()
    with pytest.raises(ModelFileError, match="could not load stockcast-AAPL"):
        registry.load(version.model_name, version.run_id, version.sha256)
    with pytest.raises(ModelFileError, match="could not load stockcast-AAPL"):
        registry.load(version.model_name, "0" * 32, version.sha256)


@pytest.mark.parametrize("damage", ["deleted", "truncated", "folder gone", "another file"])
def test_publishing_again_repairs_the_file_under_the_same_name(
    registry: ModelRegistry, trained: dict[str, TrainedModel], store: Path, damage: str
) -> None:
    model, name = promoted(trained["AAPL"], True), f"FIX{zlib.crc32(damage.encode())}"
    version = registry.publish(name, MARCH, model)
    (file,) = (store / "artifacts").rglob(f"{version.run_id}/artifacts/{ARTIFACT}")
    harm: dict[str, Callable[[], object]] = {
        "deleted": file.unlink,
        "truncated": lambda: os.truncate(file, 100),
        "folder gone": lambda: shutil.rmtree(file.parents[2]),
        "another file": lambda: file.write_bytes(trained["MSFT"].to_bytes()),
    }
    harm[damage]()
    with pytest.raises(ModelFileError):
        registry.load(version.model_name, version.run_id, version.sha256)
    assert registry.publish(name, MARCH, model) == version
    assert registry.load_model(version.model_name, version.run_id, version.sha256).to_bytes() == model.to_bytes()
    assert {found.path for found in registry.client.list_artifacts(version.run_id)} == {
        "evaluation.csv",
        "proof.png",
        "model",
    }


def test_a_version_whose_run_was_purged_is_published_anew(
    registry: ModelRegistry, trained: dict[str, TrainedModel], store: Path
) -> None:
    model = promoted(trained["AAPL"], True)
    version = registry.publish("PURGED", MARCH, model)
    with sqlite3.connect(store / "mlflow.db") as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (version.run_id,))  # noqa: S608
    connection.close()
    again = registry.publish("PURGED", MARCH, model)
    assert (again.sha256, again.run_id == version.run_id) == (version.sha256, False)
    assert registry.load(again.model_name, again.run_id, again.sha256).ticker == "AAPL"


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def test_a_pickle_planted_in_the_store_never_runs(
    registry: ModelRegistry, trained: dict[str, TrainedModel], store: Path, tmp_path: Path
) -> None:
    """Beside the weights, as an MLflow model, and in the weights' place: as a pickle and as an npz of objects."""
    marker = tmp_path / "executed"
    version = registry.publish("EVIL", FEBRUARY, promoted(trained["AAPL"], True))
    (file,) = (store / "artifacts").rglob(f"{version.run_id}/artifacts/{ARTIFACT}")
    evil = pickle.dumps(_Malicious(marker))
    for name in ("model.pkl", "python_model.pkl", "sklearn-model.pkl"):
        (file.parent / name).write_bytes(evil)
    (file.parent / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n    python_model: python_model.pkl\n"
    )
    assert registry.load(version.model_name, version.run_id, version.sha256).ticker == "AAPL"
    objects = io.BytesIO()
    np.savez(objects, meta=np.array([_Malicious(marker)], dtype=object))
    for planted in (evil, objects.getvalue()):
        file.write_bytes(planted)
        for digest in (version.sha256, hashlib.sha256(planted).hexdigest()):
            with pytest.raises(ModelFileError):
                registry.load(version.model_name, version.run_id, digest)
    assert not marker.exists()


def test_a_tracking_server_over_http(server: str, trained: dict[str, TrainedModel]) -> None:
    registry = ModelRegistry(server)
    model = promoted(trained["AAPL"], True)
    version = registry.publish("ES=F", FEBRUARY, model)
    assert registry.publish("ES=F", FEBRUARY, model) == version
    assert registry.load_model(version.model_name, version.model_version, version.sha256).to_bytes() == model.to_bytes()
    assert registry.champion("ES=F") == version
    assert registry.run_link(version.run_id).startswith(f"{server}/#/experiments/")


def test_msft_march_2013_champion_is_one_search_of_the_pages_that_stockcast_mlflow_serves(
    server: str, store: Path, trained: dict[str, TrainedModel]
) -> None:
    remote = ModelRegistry(server)
    remote.publish("MSFT", FEBRUARY, promoted(trained["MSFT"], True))
    remote.publish("MSFT", MARCH, promoted(trained["MSFT"], False))
    champion = remote.publish("MSFT", MARCH, promoted(trained["MSFT"], True))
    assert ModelRegistry(f"sqlite:///{store}/served/mlflow.db").champion("MSFT") == champion, "the data of the home"
    experiment = remote.experiment_id(EXPERIMENT)
    tags = {"ticker": "MSFT", "month": "2013-03", "champion": "true"}
    for search in (
        "run_name = 'MSFT 2013-03 champion'",
        " and ".join(f"tags.`stockcast.{name}` = '{value}'" for name, value in tags.items()),
    ):
        body = json.dumps({"experiment_ids": [experiment], "filter": search}).encode()
        request = urllib.request.Request(
            f"{server}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            assert [run["info"]["run_id"] for run in json.load(answer)["runs"]] == [champion.run_id], search
    with urllib.request.urlopen(server) as answer:
        assert b"<title>MLflow</title>" in answer.read()


def test_mlflow_before_any_model_says_so_and_serves_what_will_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path / "home"))
    became: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda program, command, env: became.append(env))
    port = free_port()
    servers.mlflow("127.0.0.1", port)
    assert f"There is no model in {tmp_path / 'home'} yet" in capsys.readouterr().err
    assert became[0]["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    monkeypatch.setenv("STOCKCAST_MLFLOW_URI", "http://mlflow.example:5000")
    with pytest.raises(StockcastError, match=r"open http://mlflow\.example:5000 in a browser"):
        servers.mlflow("127.0.0.1", port)


def test_an_unreachable_server_is_one_sentence(
    trained: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StockcastError, match=r"MLflow at http://127\.0\.0\.1:9 could not publish"):
        ModelRegistry("http://127.0.0.1:9").publish("AAPL", FEBRUARY, trained["AAPL"])
    with pytest.raises(StockcastError, match="could not load") as outage:
        ModelRegistry("http://127.0.0.1:9").load("stockcast-AAPL", "0" * 32, trained["AAPL"].sha256)
    assert not isinstance(outage.value, ModelFileError), "an outage is no damaged file: the run must fail"


def test_names_are_distinct_and_plain() -> None:
    tickers = ["MSFT", "^GSPC", "ES=F", "BRK-B", "VOD.L", "GSPC"]
    names = [model_name(ticker) for ticker in tickers]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") for name in names)


def month_of(seed: int) -> MonthModel:
    """A universe's month whose networks nobody trained."""
    generator = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32) / 10

    layer = Layer(some(STEP_INPUTS, 4 * UNITS), some(UNITS, 4 * UNITS), some(4 * UNITS))
    network = Network(
        layer, some(UNITS, HIDDEN), some(HEAD_INPUTS, HIDDEN), some(HIDDEN), some(HIDDEN), some(UNITS, HORIZON),
        some(HORIZON),
    )  # fmt: skip
    offsets = np.ones(2 * WIDTH)
    pooled = Pooled(generator.normal(size=(HORIZON, 10)), offsets, offsets)
    scalers = (Scaler(np.zeros(inputs), np.ones(inputs)) for inputs in (STEP_INPUTS, HEAD_INPUTS))
    model = UniverseModel((network,), *scalers, pooled)
    return MonthModel((Vintage(FEBRUARY, model, ("AAPL", "MSFT"), 1000, "0" * 64, True),))


def test_a_universe_is_published_once_and_again_where_its_file_is_gone(registry: ModelRegistry, store: Path) -> None:
    month = month_of(0)
    first = publish_month(registry, FEBRUARY, month)
    assert publish_month(registry, FEBRUARY, month) == first
    assert publish_month(registry, FEBRUARY, month_of(1)) != first
    reference = Reference(first.run_id, first.sha256)
    assert month_bytes(registry.universe(reference)) == month_bytes(month)
    for file in (store / "artifacts").rglob(f"{first.run_id}/**/model.npz"):
        file.unlink()
    fresh = ModelRegistry(registry.tracking_uri, registry.artifact_root)
    with pytest.raises(ModelFileError):
        fresh.universe(reference)
    # In the same run, so that the tickers' parts that name it serve again.
    assert publish_month(fresh, FEBRUARY, month) == first
    assert month_bytes(fresh.universe(reference)) == month_bytes(month)


def test_a_ticker_finds_the_universe_that_its_part_names(
    registry: ModelRegistry, trained: dict[str, TrainedModel]
) -> None:
    month = month_of(2)
    universe = publish_month(registry, FEBRUARY, month)
    reference = Reference(universe.run_id, universe.sha256)
    alone, pooled = trained["AAPL"], month.newest.model.pooled
    ones, factor = np.ones(HORIZON), EventFactor(np.ones(2 * WIDTH))
    har = HarVolatility(alone.forecaster.naive["har"].volatility.coefficients)
    start = Start(har, pooled, -8.0, np.zeros(3), ones, ones, factor, factor, ones, ones)
    own = OwnFit(start, dict.fromkeys((LSTM, *BASELINES), np.ones((HORIZON, len(QUANTILES)))))
    part = UniverseForecaster(
        "AAPL", LSTM, alone.trained_to, alone.forecaster.naive, own, Calibration.start(0.0025), reference,
        month.newest.model,
    )  # fmt: skip
    decision = Decision(True, LSTM, "Because the test says so.")
    version = registry.publish("AAPL", MARCH, dataclasses.replace(alone, forecaster=part, decision=decision))
    loaded = registry.load(version.model_name, version.run_id, version.sha256)
    assert isinstance(loaded, UniverseForecaster)
    assert loaded.universe == reference
    assert np.array_equal(loaded.model.networks[0].lstm.kernel, month.newest.model.networks[0].lstm.kernel)
    # The networks are another run's, which may be gone or exchanged: then this model cannot serve, and says so.
    stray = dataclasses.replace(part, universe=Reference(universe.run_id, "0" * 64))
    lost = registry.publish("AAPL", MARCH, dataclasses.replace(alone, forecaster=stray, decision=decision))
    with pytest.raises(ModelFileError, match="universe_model"):
        registry.load(lost.model_name, lost.run_id, lost.sha256)
