"""What the shells complete: real bash where the whole way is asked for, the command's answer to it elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.cli import completion
from stockcast_assets.dagster_private.partitions_table import dynamic_partitions
from stockcast_assets_tests.conftest import clean_env

COMMAND = str(Path(sys.executable).with_name("stockcast"))
TICKERS = ["AAPL", "ETH-USD", "GOOG", "GOOGL", "VOD.L"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with tickers, made by Dagster itself."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        instance.add_dynamic_partitions("ticker", TICKERS)
        instance.add_dynamic_partitions("other", ["GONE"])
    return home


def completed(home: Path, *words: str, **env: str) -> list[str]:
    """What the command answers to a shell whose cursor is behind the last of the words."""
    environment = clean_env() | {"STOCKCAST_HOME": str(home), "_STOCKCAST_COMPLETE": "complete_bash", **env}
    line = {"COMP_WORDS": "\n".join(["stockcast", *words]), "COMP_CWORD": str(len(words))}
    done = subprocess.run([COMMAND], env=environment | line, cwd=home, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["forecast", ""], TICKERS),
        (["forecast", "GO"], ["GOOG", "GOOGL"]),
        (["--json", "explain", "V"], ["VOD.L"]),
        (["tickers", "remove", "AAPL", "E"], ["ETH-USD"]),
        (["backfill", "--tickers", "AAPL,GOOG"], ["AAPL,GOOG", "AAPL,GOOGL"]),
        (["tickers", "re"], ["remove", "resume"]),
        (["forecast", "GONE"], []),
        (["tickers", "add", "A"], []),
    ],
    ids=" ".join,
)
def test_the_command_completes(home: Path, words: list[str], answers: list[str]) -> None:
    assert completed(home, *words) == answers


def test_tickers_of_the_settings_are_completed_before_the_home_is_made(tmp_path: Path) -> None:
    assert completed(tmp_path, "forecast", "", STOCKCAST_TICKERS="MSFT,TSLA") == ["MSFT", "TSLA"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["no home", "no database", "a folder", "a wrong setting"])
def test_what_is_wrong_is_no_answer_and_nothing_is_written(damage: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    index = home / "dagster" / "history" / "runs" / "index.db"
    if damage != "no home":
        index.parent.mkdir(parents=True)
    if damage == "no database":
        index.write_bytes(b"no database" * 1000)
    if damage == "a folder":
        index.mkdir()
    env = {"STOCKCAST_SOURCE": "nowhere"} if damage == "a wrong setting" else {}
    before = sorted(tmp_path.rglob("*"))
    environment = clean_env() | {"STOCKCAST_HOME": str(home), **env, "_STOCKCAST_COMPLETE": "complete_bash"}
    line = {"COMP_WORDS": "stockcast\nforecast\n", "COMP_CWORD": "2"}
    done = subprocess.run([COMMAND], env=environment | line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert sorted(tmp_path.rglob("*")) == before


@given(st.lists(st.sampled_from(TICKERS), max_size=4, unique=True), st.sampled_from(["", "G", "X"]))
def test_a_list_is_completed_at_its_end_with_what_is_not_in_it(said: list[str], last: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completion, "_known", lambda: iter(TICKERS))
        found = completion.ticker_list(",".join([*said, last]))
    expected = [name for name in TICKERS if name.startswith(last) and name not in said]
    assert [each.split(",")[-1] for each in found] == expected
    assert all(each.split(",")[:-1] == said for each in found)


def test_the_keys_are_those_that_dagster_says(home: Path) -> None:
    folder = home / "dagster"
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        assert list(dynamic_partitions(folder, "ticker")) == list(instance.get_dynamic_partitions("ticker"))
        assert list(dynamic_partitions(folder, "other")) == ["GONE"]


def test_the_tab_key_waits_for_neither_dagster_nor_pandas(home: Path) -> None:
    code = "import json, sys; from stockcast_assets.cli import app; from stockcast_assets.cli import completion as c; "
    code += "print(json.dumps([c.ticker('G'), [m for m in ('dagster', 'pandas', 'duckdb') if m in sys.modules]]))"
    environment = clean_env() | {"STOCKCAST_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=home, capture_output=True, check=True)
    assert json.loads(done.stdout) == [["GOOG", "GOOGL"], []]


def test_bash_completes_by_the_script_that_the_command_shows(home: Path) -> None:
    """What `stockcast --show-completion` prints in bash, then the tab key, which is what COMPREPLY is filled for."""
    bash = shutil.which("bash") or "bash"
    # Two commands, since the last one of a line would take the place of the shell that is to be found.
    asked = [bash, "-c", f"{COMMAND} --show-completion && :"]
    shown = subprocess.run(asked, env=clean_env(), cwd=home, capture_output=True, text=True, check=True).stdout
    function = re.search(r"complete .*-F (\S+) stockcast", shown)
    assert function is not None
    press = f"COMP_WORDS=(stockcast forecast G); COMP_CWORD=2; {function[1]} stockcast G forecast; "
    press += "echo ${COMPREPLY[@]}"
    environment = clean_env() | {
        "STOCKCAST_HOME": str(home),
        "PATH": f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [bash, "-c", shown + press], env=environment, cwd=home, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["GOOG", "GOOGL"]
