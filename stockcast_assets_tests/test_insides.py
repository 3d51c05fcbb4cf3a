"""What stockcast uses of other libraries' insides: there, under its name, and below a version that may move it."""

import ast
import re
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
from packaging.utils import canonicalize_name

import stockcast_assets
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
    "mlflow.pyfunc.loaders.code_model:_load_pyfunc": ("mlflow", "what loads a model that is a file of code"),
    "mlflow.store.artifact.artifact_repo:ArtifactRepository": ("mlflow", "the type of a place of artifacts"),
    "mlflow.store.artifact.artifact_repository_registry:get_artifact_repository": (
        "mlflow",
        "the place of artifacts that an address names",
    ),
    "mlflow.server.fastapi_app:app": ("mlflow", "the web application, to put a guard around"),
    "streamlit.delta_generator:DeltaGenerator": ("streamlit", "the type of a place on a page"),
    "streamlit.logger:get_logger": ("streamlit", "the logger that warns of pages loaded before the server"),
    "streamlit.runtime.caching.cache_data_api:_LOGGER": ("streamlit", "whose logger warns so"),
    "keras.backend:clear_session": ("keras", "gives back what the last network took"),
    "dagster_celery.launcher:CeleryRunLauncher": ("dagster-celery", "launches runs on workers; ours sees their health"),
    "dagster_celery.tasks:create_execute_job_task": ("dagster-celery", "the task that a worker runs"),
    "dagster_celery.tasks:create_resume_job_task": ("dagster-celery", "the task that takes a run up again"),
    "dagster_celery.tags:DAGSTER_CELERY_TASK_ID_TAG": ("dagster-celery", "the tag of the task of a run"),
    "talib:MACD": ("TA-Lib", "the indicators, which are top-level functions"),
}
"""Each name with its library and what it stands for."""


PUBLIC = {
    "alembic": ("config", "script"),
    "celery": ("signals",),
    "curl_cffi": ("requests", "requests.exceptions"),
    "evidently": ("presets",),
    "google": ("api_core", "auth", "cloud", "oauth2"),
    "matplotlib": ("axes", "backends.backend_agg", "figure"),
    "mlflow": ("entities", "exceptions", "models", "pyfunc", "pyfunc.model", "types"),
    "numpy": ("typing",),
    "pandera": ("errors", "pandas"),
    "plotly": ("graph_objects", "subplots"),
    "prometheus_client": ("core", "registry"),
    "pyarrow": ("compute", "parquet"),
    "pydantic": ("fields",),
    "redis": ("exceptions",),
    "requests": ("exceptions",),
    "rich": ("cells", "console", "progress", "segment", "status", "table", "text"),
    "scipy": ("special", "stats"),
    "sqlalchemy": ("exc",),
    "starlette": (
        *("applications", "concurrency", "datastructures", "middleware", "requests", "responses", "routing", "types"),
    ),
    "statsforecast": ("models",),
    "yfinance": ("exceptions",),
}
"""The modules of a library that its own documentation tells to import from."""

PRODUCT = Path(stockcast_assets.__file__).parent
OURS = {"stockcast_assets", "dagster", "dagster_postgres", "dagster_webserver", "dagster_gcp"}
"""Ours, and Dagster's, whose private names are declared in `dagster_private/names.py`."""


def reached() -> set[str]:
    """Modules below another library's top one that the product imports, as `module:name`."""
    found = set()
    for file in PRODUCT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {(node.module, name.name) for name in node.names}
            elif isinstance(node, ast.Import):
                found |= {(name.name, "") for name in node.names}
    return {
        f"{module}:{name}"
        for module, name in found
        if "." in module and module.partition(".")[0] not in OURS | sys.stdlib_module_names
    }


def is_public(name: str) -> bool:
    module, _, attribute = name.partition(":")
    library, _, rest = module.partition(".")
    private = any(part.startswith("_") for part in (*rest.split("."), attribute))
    places = PUBLIC.get(library, ())
    return not private and (rest in places or (library == "google" and rest.partition(".")[0] in places))


def test_whatever_is_reached_is_public_or_declared() -> None:
    modules = {name.partition(":")[0] for name in INSIDES}
    undeclared = {
        name
        for name in reached()
        if not is_public(name) and name.partition(":")[0] not in modules and name.replace(":", ".") not in modules
    }
    assert undeclared == set(), "name it in INSIDES, with an upper bound of its library, or take a public name"


def test_no_private_attribute_is_reached_that_is_not_declared() -> None:
    """ruff finds every reach into a private attribute; what it is told to leave is one of these."""
    excepted = [line for file in PRODUCT.rglob("*.py") for line in file.read_text().splitlines() if "SLF001" in line]
    names = {part for name in INSIDES for part in re.split("[:.]", name) if part.startswith("_")}
    assert [line for line in excepted if not any(f".{name}" in line for name in names)] == []
    by_name = re.compile(r"""(?:get|set|has)attr\([^,()]+, f?["']_[^_]""")
    told = [file.name for file in PRODUCT.rglob("*.py") if by_name.search(file.read_text())]
    assert told == []


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
