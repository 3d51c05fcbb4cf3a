"""What stockcast uses of other libraries' insides: there, under its name, and below a version that may move it."""

import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
from packaging.utils import canonicalize_name

from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.settings import Settings
from stockcast_assets_tests.test_dependencies import declared

INSIDES = {
    "exchange_calendars.calendar_utils:global_calendar_dispatcher._calendar_factories": (
        "exchange-calendars",
        "the classes of all calendars, to find one of a time zone",
    ),
    "yfinance.data:YfData.cache_get": ("yfinance", "the process-wide memory of answers, which is emptied"),
    "mlflow.utils.time:get_current_time_millis": ("mlflow", "MLflow's clock, for metrics logged in a batch"),
    "mlflow.protos.databricks_pb2:RESOURCE_ALREADY_EXISTS": ("mlflow", "the code of an error that is no fault"),
    "mlflow.server.fastapi_app:app": ("mlflow", "the web application, to put a guard around"),
    "streamlit.delta_generator:DeltaGenerator": ("streamlit", "the type of a place on a page"),
    "streamlit.logger:get_logger": ("streamlit", "the logger that warns of pages loaded before the server"),
    "keras.backend:clear_session": ("keras", "gives back what the last network took"),
    "talib:MACD": ("TA-Lib", "the indicators, which are top-level functions"),
}
"""Each name with its library and what it stands for."""


@pytest.mark.parametrize("name", INSIDES)
def test_the_library_has(name: str) -> None:
    module, _, attributes = name.partition(":")
    value = import_module(module)
    for attribute in attributes.split("."):
        assert hasattr(value, attribute), f"{name}, which is {INSIDES[name][1]}, was moved"
        value = getattr(value, attribute)


def test_the_sample_is_where_it_was() -> None:
    package = find_spec("bokeh_sampledata")
    assert package is not None
    assert (Path(str(package.origin)).parent / "_data" / "stocks.csv.gz").is_file()


LIBRARIES = sorted({library for library, _ in INSIDES.values()} | {"bokeh-sampledata", "dagster"})


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_version_that_may_move_them_is_not_installed(library: str) -> None:
    assert any(bound.operator == "<" for bound in declared()[canonicalize_name(library)].specifier)


def test_only_the_betas_in_use_are_not_told(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        build_definitions(Settings(home=tmp_path, source="sample"))
        assert [each for each in told if issubclass(each.category, dg.BetaWarning | dg.PreviewWarning)] == []
        warnings.warn("Class `SomethingNew` is currently in beta, and may have breaking changes.", dg.BetaWarning, 1)
        assert len(told) == 1
