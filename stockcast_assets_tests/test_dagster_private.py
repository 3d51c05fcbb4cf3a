"""What stockcast stands on inside Dagster: every name is there, is declared, and is reached in one room only."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stockcast_assets
from stockcast_assets.dagster_private.names import EVENT_LOG, LAUNCHER, PRIVATE, gone, resolve
from stockcast_assets.orchestration.home import default_config
from stockcast_assets_tests.conftest import clean_env

PACKAGE = Path(stockcast_assets.__file__).parent
ROOM = PACKAGE / "dagster_private"


@pytest.mark.parametrize("name", PRIVATE)
def test_dagster_has(name: str) -> None:
    try:
        resolve(name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"Dagster moved {name}, which is {PRIVATE[name]}: {error}")


def imported(tree: ast.AST) -> Iterator[str]:
    """What a module imports of `dagster._*`, as the names are declared."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._"):
            yield from (f"{node.module}:{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("dagster._"))


def test_every_import_of_a_private_module_is_declared_and_in_one_room() -> None:
    # An import for the type checker alone breaks nothing when it moves.
    of_types = {"dagster._grpc.client:DagsterGrpcClient"}
    found = {name: path for path in PACKAGE.rglob("*.py") for name in imported(ast.parse(path.read_text()))}
    assert {path for path in found.values() if ROOM not in path.parents} == set()
    assert set(found) - of_types <= set(PRIVATE)


def test_a_name_that_is_gone_is_found_out() -> None:
    there = "dagster:DagsterInstance"
    assert gone([there, "dagster:DagsterInstance._no_such", "dagster._no_such:X"]) == [
        "dagster:DagsterInstance._no_such",
        "dagster._no_such:X",
    ]


OPENED = """
import warnings
from functools import reduce
from stockcast_assets.dagster_private import names
MOVED = {moved!r}
real = names.resolve
def resolve(name):
    if name == MOVED:
        raise AttributeError(name)
    return real(name)
names.resolve = resolve
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import dagster as dg
    with dg.DagsterInstance.get() as instance:
        before = len(instance.get_runs())
        @dg.asset
        def made(): ...
        assert dg.materialize([made], instance=instance).success
        assert len(instance.fetch_materializations(dg.AssetKey("made"), limit=9).records) == before + 1
        launcher = type(instance.run_launcher).__name__
print(before, launcher, *[str(w.message) for w in told if "Dagster's own" in str(w.message)], sep="\\n")
"""


def opened(home: Path, moved: str | None) -> list[str]:
    """How many runs a home had, the launcher's class, and the warnings, after one more run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", OPENED.format(moved=moved)],
        env=clean_env() | {"DAGSTER_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_home_opens_and_goes_on_whatever_dagster_moved(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(default_config())
    event, worker = (next(iter(names)) for names in (EVENT_LOG, LAUNCHER))
    moves = (event, "WatchingRunLauncher", "event log"), (worker, "DefaultRunLauncher", "run launcher")
    for runs, (moved, launcher, own) in enumerate(moves):
        before, class_name, *told = opened(tmp_path, moved)
        # What was there is there, and one sentence says what gave way.
        assert (before, class_name) == (str(runs), launcher)
        assert len(told) == 1
        assert moved in told[0]
        assert f"Dagster's own {own}" in told[0]
    assert opened(tmp_path, None) == ["2", "WatchingRunLauncher"]
