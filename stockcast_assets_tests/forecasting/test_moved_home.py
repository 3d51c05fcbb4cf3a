"""A home may be moved, copied and restored: its models are those in it, wherever it was when they were trained."""

import hashlib
import shutil
import sqlite3
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.tracking.registry import ModelRegistry, ModelVersion
from stockcast_assets.tracking.rehome import follow

FEBRUARY, MARCH = date(2013, 2, 1), date(2013, 3, 1)
NAMES = ("a b", "50%#ä", "it's & more")


def opened(home: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{home}/mlflow.db", home / "artifacts")


def state(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, trained: dict[str, TrainedModel]) -> tuple[Path, ModelVersion]:
    home = tmp_path_factory.mktemp("first") / "home"
    home.mkdir()
    return home, opened(home).publish("AAPL", FEBRUARY, trained["AAPL"])


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_has_its_own_models_and_leaves_the_original_alone(
    first: tuple[Path, ModelVersion], trained: dict[str, TrainedModel], tmp_path: Path, name: str
) -> None:
    original, version = first
    before = state(original)
    copy = tmp_path / name / "home"
    shutil.copytree(original, copy)
    registry = opened(copy)
    for run in (version.run_id, version.model_version):
        assert registry.load_model(version.model_name, run, version.sha256).to_bytes() == trained["AAPL"].to_bytes()
    # What is read is the copy's, and what is made goes there.
    (file,) = (copy / "artifacts").rglob("model.npz")
    file.unlink()
    assert registry.publish("AAPL", FEBRUARY, trained["AAPL"]) == version
    assert file.is_file()
    made = registry.publish("AAPL", MARCH, trained["MSFT"])
    assert (copy / "artifacts" / made.run_id).is_dir()
    assert state(original) == before

    # Moved on from there, twice, and back.
    for place in (tmp_path / "second", tmp_path / name / "third", tmp_path / name / "home"):
        copy = copy.rename(place)
        registry = opened(copy)
        assert registry.load(made.model_name, made.run_id, made.sha256).ticker == "MSFT"
        assert {path.parents[3] for path in tmp_path.rglob("model.npz")} == {copy / "artifacts"}
    assert state(original) == before


def test_a_home_that_stays_is_not_written(first: tuple[Path, ModelVersion]) -> None:
    home, _ = first
    before = state(home)
    follow(home / "mlflow.db", home / "artifacts")
    assert state(home) == before


LOCATIONS = st.sampled_from(
    [
        "file:///old/home/artifacts",
        "file:///old/home/artifacts2",
        "file:///old/home%20x/artifacts",
        "mlflow-artifacts:/3",
        "/somewhere/mlruns/1",
        "file:///elsewhere/mlruns/1",
        "s3://bucket/artifacts",
    ]
)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["stockcast", "stockcast-tuning", "Default", "own"]), LOCATIONS))
def test_only_our_own_folders_of_files_are_renamed(tmp_path_factory: pytest.TempPathFactory, places: dict) -> None:
    home = tmp_path_factory.mktemp("law")
    here = (home / "artifacts").as_uri()
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("CREATE TABLE experiments (name, artifact_location)")
        connection.execute("CREATE TABLE runs (name, artifact_uri)")
        for name, place in places.items():
            connection.execute("INSERT INTO experiments VALUES (?, ?)", (name, place))
            connection.execute("INSERT INTO runs VALUES (?, ?)", (name, f"{place}/run/artifacts"))
    follow(home / "mlflow.db", home / "artifacts")
    with sqlite3.connect(home / "mlflow.db") as connection:
        now = dict(connection.execute("SELECT name, artifact_location FROM experiments"))
        runs = dict(connection.execute("SELECT name, artifact_uri FROM runs"))
    connection.close()
    ours = {
        place
        for name, place in places.items()
        if name.startswith("stockcast") and place.startswith("file:") and place.endswith("/artifacts")
    }
    for name, place in places.items():
        assert now[name] == (here if place in ours else place)
        assert runs[name] == f"{now[name]}/run/artifacts"
