"""Which model serves a day: the rules, on rows alone and with a real registry."""

import dataclasses
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.artifact import TrainedModel
from stockcast_assets.forecasting.evaluation.gate import Decision
from stockcast_assets.tracking.registry import ARTIFACT, ModelRegistry
from stockcast_assets.tracking.serving import (
    UNREGISTERED,
    ModelServer,
    champions,
    current_champion,
    model_of,
    naive_on_the_spot,
    row_in_use,
    stand_ins,
)
from stockcast_assets_tests.forecasting.conftest import TRAINED_TO, made_up_bars

DAY = pd.Timestamp("2013-03-01")


def row(month: str, trained_to: str, **values: Any) -> dict[str, Any]:
    return {
        "date": pd.Timestamp(month),
        "trained_to": pd.Timestamp(trained_to),
        "promoted": True,
        "method": "lstm",
        "model_version": f"{month} {trained_to}",
        "serving_version": None,
        **values,
    }


def test_a_day_uses_the_newest_model_that_ends_before_it() -> None:
    first, again = row("2013-02-01", "2013-01-31"), row("2013-02-01", "2013-02-14")
    rows = [again, row("2013-03-01", "2013-02-28"), first, row("2013-01-01", "2012-12-31")]
    assert row_in_use(rows, "MSFT", pd.Timestamp("2013-02-01")) == first
    assert row_in_use(rows, "MSFT", pd.Timestamp("2013-02-14")) == first, "what the day taught changes not its forecast"
    assert row_in_use(rows, "MSFT", pd.Timestamp("2013-02-15")) == again
    assert row_in_use([first, again], "MSFT", DAY) == again, "no row of the month: an earlier month's"
    with pytest.raises(StockcastError, match="no model of MSFT for 2012-12"):
        row_in_use(rows, "MSFT", pd.Timestamp("2012-12-31"))


@given(
    ends=st.lists(st.dates(date(2012, 11, 1), date(2013, 3, 30)), min_size=1, max_size=8, unique=True),
    day=st.dates(date(2012, 12, 1), date(2013, 3, 31)),
    later=st.dates(date(2012, 12, 1), date(2013, 3, 31)),
)
def test_a_later_model_changes_no_earlier_day(ends: list[date], day: date, later: date) -> None:
    rows = [row(f"{end:%Y-%m}-01", str(end)) for end in ends]
    asked = pd.Timestamp(day)
    if later < day or not any(end < day for end in ends):
        return
    added = row(f"{later:%Y-%m}-01", str(later))
    assert row_in_use([*rows, added], "MSFT", asked) == row_in_use(rows, "MSFT", asked)


def test_champions_are_promoted_and_earlier_the_newest_first() -> None:
    old, new = row("2013-01-01", "2012-12-31"), row("2013-02-01", "2013-01-31")
    refused = row("2013-02-01", "2013-02-14", promoted=False)
    assert champions([old, refused, new], DAY) == [new, old]
    assert champions([old, new], pd.Timestamp("2013-01-31")) == [old]


def test_an_averaged_network_stands_in_but_is_no_champion() -> None:
    averaged = row("2013-01-01", "2012-12-31", promoted=False, method="average")
    another, naive = (
        row("2013-02-01", f"2013-01-{day}", promoted=False, method=method)
        for day, method in ((30, "lstm"), (31, "naive_har"))
    )
    assert stand_ins([naive, another, averaged], DAY) == [averaged], (
        "a champion that served another row stands by its own"
    )
    assert champions([naive, another, averaged], DAY) == []


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    folder = tmp_path_factory.mktemp("registry")
    return ModelRegistry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")


def published(registry: ModelRegistry, model: TrainedModel, month: str, ticker: str, promoted: bool) -> dict[str, Any]:
    decision = Decision(promoted, "lstm" if promoted else "naive_fhs", f"The test says so of {month}.")
    forecaster = dataclasses.replace(model.forecaster, method=decision.method)
    made = dataclasses.replace(model, decision=decision, forecaster=forecaster)
    version = registry.publish(ticker, pd.Timestamp(month).date(), made)
    return row(
        month,
        str(model.trained_to),
        ticker=ticker,
        model_name=version.model_name,
        model_version=version.model_version,
        run_id=version.run_id,
        weights_sha256=version.sha256,
        promoted=promoted,
        method=decision.method,
        serving_version=version.model_version,
    )


def file_of(registry: ModelRegistry, of: dict[str, Any]) -> Path:
    assert isinstance(registry.artifact_root, Path)
    (file,) = registry.artifact_root.rglob(f"{of['run_id']}/artifacts/{ARTIFACT}")
    return file


@pytest.fixture
def rows(registry: ModelRegistry, trained: dict[str, TrainedModel], request: pytest.FixtureRequest) -> list[dict]:
    """A champion of January and the naive model of March, of a ticker of the test's own, both trained to January."""
    ticker = f"T{zlib.crc32(request.node.name.encode())}"
    champion = published(registry, trained["MSFT"], "2013-02-01", ticker, True)
    return [champion, published(registry, trained["MSFT"], "2013-03-01", ticker, False)]


def serve(
    registry: ModelRegistry, rows: list[dict], bars: pd.DataFrame, days: list[pd.Timestamp], max_age: int = 92
) -> list[tuple[str, str, str | None]]:
    groups = ModelServer("MSFT", rows, bars, registry, max_age).by_model(days)
    return [(serving.version, serving.forecaster.method, serving.fallback) for serving, _ in groups]


def test_the_months_model_then_the_champion_then_the_naive_forecast(registry, rows, sample) -> None:
    champion, own = rows
    bars = sample["MSFT"]
    assert serve(registry, rows, bars, [DAY]) == [(own["model_version"], "naive_fhs", None)]

    file = file_of(registry, own)
    intact = file.read_bytes()
    for damaged in (intact[:-100], b"", file_of(registry, champion).read_bytes()):
        file.write_bytes(damaged)
        ((version, method, why),) = serve(registry, rows, bars, [DAY])
        assert (version, method) == (champion["model_version"], "lstm")
        assert why is not None
        assert why.startswith(
            f"MSFT 2013-03 is served by the champion, version {version} trained to 2013-01-31, because"
        )
        assert "damaged or swapped" in why
    file.unlink()
    assert serve(registry, rows, bars, [DAY])[0][:2] == (champion["model_version"], "lstm")
    ((version, method, why),) = serve(registry, rows, bars, [DAY], max_age=28)
    assert (version, method) == (UNREGISTERED, "naive_har")
    assert "trained to 2013-01-31, is older than 28 days" in str(why)

    file_of(registry, champion).write_bytes(b"PK")
    ((version, method, why),) = serve(registry, rows, bars, [DAY])
    assert (version, method) == (UNREGISTERED, "naive_har")
    assert str(why).count("because") == 1
    assert "could not load" in str(why)
    assert "damaged or swapped" in str(why)


def test_without_a_row_of_the_month_the_champion_goes_on(registry, rows, sample) -> None:
    champion, _ = rows
    ((version, method, why),) = serve(registry, [champion], sample["MSFT"], [DAY])
    assert (version, method) == (champion["model_version"], "lstm")
    assert "trained_model has no row for the month" in str(why)
    naive = champion | {"promoted": False}
    ((version, method, _),) = serve(registry, [naive], sample["MSFT"], [DAY])
    assert (version, method) == (UNREGISTERED, "naive_har")
    with pytest.raises(StockcastError, match="no model of MSFT for 2013-03"):
        serve(registry, [], sample["MSFT"], [DAY])


def test_a_row_may_name_the_champion(registry, rows, sample) -> None:
    champion, own = rows
    serving_version = own | {"serving_version": champion["model_version"], "trained_to": pd.Timestamp("2013-02-28")}
    assert serve(registry, [champion, serving_version], sample["MSFT"], [DAY]) == [
        (champion["model_version"], "lstm", None)
    ]
    ((version, _, why),) = serve(registry, [serving_version], sample["MSFT"], [DAY])
    assert version == UNREGISTERED
    assert "is in no row of trained_model" in str(why)


def test_a_model_is_its_run_and_digest_whatever_a_registry_calls_it(registry, rows, sample) -> None:
    """Versions count from 1 in every registry: here an exchanged one called both months' models the same."""
    champion, own = (each | {"model_version": "1", "serving_version": "1"} for each in rows)
    february = pd.Timestamp("2013-02-28")
    groups = ModelServer("MSFT", [champion, own], sample["MSFT"], registry, 92).by_model([february, DAY])
    assert [(each.model, each.forecaster.method, days) for each, days in groups] == [
        (model_of(champion), "lstm", [february]),
        (model_of(own), "naive_fhs", [DAY]),
    ]
    # The registry of the champion's row is lost: nothing of the same number takes its place without a word.
    lost = champion | {"run_id": "0" * 32}
    for days in ([february], [DAY], [february, DAY], [DAY, february]):
        for each, of in ModelServer("MSFT", [lost, own], sample["MSFT"], registry, 92).by_model(days):
            expected = (None, "naive_har") if of == [february] else (model_of(own), "naive_fhs")
            assert (each.model, each.forecaster.method) == expected
            assert (each.fallback is None) == (of == [DAY])
    # A row that says that the champion of the same number serves, means the champion.
    later = own | {"serving_run_id": champion["run_id"], "trained_to": pd.Timestamp("2013-02-28")}
    ((each, _),) = ModelServer("MSFT", [champion, later], sample["MSFT"], registry, 92).by_model([DAY])
    assert (each.model, each.fallback) == (model_of(champion), None)


def test_days_of_several_months_are_grouped_by_their_model(registry, rows, sample) -> None:
    champion, own = rows
    february = list(pd.to_datetime(["2013-02-27", "2013-02-28"]))
    groups = ModelServer("MSFT", [champion, own], sample["MSFT"], registry, 92).by_model([*february, DAY])
    assert [(serving.version, days) for serving, days in groups] == [
        (champion["model_version"], february),
        (own["model_version"], [DAY]),
    ]


def test_the_champion_a_challenger_faces_is_young_and_intact(registry, rows, trained) -> None:
    champion, _ = rows
    until = pd.Timestamp("2013-03-31")
    found = current_champion([champion], pd.Timestamp("2013-02-28"), until, registry, 92)
    assert found is not None
    assert found[0] == champion
    assert found[1].summary() == trained["MSFT"].summary()
    assert current_champion([champion], pd.Timestamp(TRAINED_TO), until, registry, 92) is None, (
        "a model does not face itself"
    )
    assert current_champion([champion], pd.Timestamp("2013-02-28"), until, registry, 58) is None
    file_of(registry, champion).unlink()
    assert current_champion([champion], pd.Timestamp("2013-02-28"), until, registry, 92) is None


def test_the_naive_forecast_on_the_spot_knows_nothing_of_the_month(sample) -> None:
    month = pd.Timestamp("2013-02-01")
    bars = sample["IBM"]
    spoiled = bars.assign(close=bars["close"].where(bars["date"] < month, 1e9))
    one, other = (naive_on_the_spot(of, month) for of in (bars, spoiled))
    assert one.trained_to == other.trained_to == date(2013, 1, 31)
    assert one.naive["har"].shape.tobytes() == other.naive["har"].shape.tobytes()
    assert naive_on_the_spot(made_up_bars(104), month).method == "naive_random_walk"
