"""Every command on homes whose files are damaged in every way: one sentence, status 1, and nothing is made worse."""

import os
import re
import resource
import shlex
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import optuna
import pytest

from stockcast_assets.cli import completion, parse
from stockcast_assets.cli.app import app
from stockcast_assets.databases import DamagedFileError, Database
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets.tables import RAW_PRICES
from stockcast_assets.tracking.client import Tracking
from stockcast_assets_tests.dashboard.home import write

WAREHOUSE, MODELS, TUNINGS = "warehouse.duckdb", "mlflow.db", "optuna.db"
RUNS, INDEX, SCHEDULES = "dagster/history/runs.db", "dagster/history/runs/index.db", "dagster/schedules/schedules.db"
CONFIG, CALENDARS = "dagster/dagster.yaml", "calendars.toml"
DAGSTER = (RUNS, INDEX, SCHEDULES, CONFIG)

COMMANDS: dict[str, tuple[str, ...]] = {
    "status": (WAREHOUSE, CALENDARS, *DAGSTER),
    "tickers list": (CALENDARS, *DAGSTER),
    "tickers add GOOG": (CALENDARS, *DAGSTER),
    "tickers pause IBM": (CALENDARS, *DAGSTER),
    "warehouse check": (WAREHOUSE, CALENDARS, *DAGSTER),
    "demo": (WAREHOUSE, MODELS, CALENDARS, *DAGSTER),
    "forecast IBM 2013-01-10": (WAREHOUSE, MODELS, CALENDARS, *DAGSTER),
    "backfill --tickers IBM --from 2013-01-09 --to 2013-01-10": (WAREHOUSE, MODELS, CALENDARS, *DAGSTER),
    "evaluate IBM": (WAREHOUSE, MODELS, CALENDARS, *DAGSTER),
    "explain IBM 2013-01-10": (WAREHOUSE, MODELS, CALENDARS, *DAGSTER),
    "tune IBM": (WAREHOUSE, MODELS, TUNINGS, CALENDARS, *DAGSTER),
    "ui": (WAREHOUSE, CALENDARS, *DAGSTER),
    "dashboard": (WAREHOUSE,),
    "mlflow": (MODELS,),
}

SAMPLED: dict[str, tuple[str, ...]] = {
    "reconcile": (WAREHOUSE, MODELS, CALENDARS, *DAGSTER),
    "reconcile --dry-run": (WAREHOUSE, MODELS, CALENDARS, *DAGSTER),
    "metrics --once": (WAREHOUSE, CALENDARS, *DAGSTER),
    "compare": (WAREHOUSE, CALENDARS, *DAGSTER),
    "warehouse views": (WAREHOUSE, CALENDARS, *DAGSTER),
    "warehouse sweep": (WAREHOUSE, CALENDARS, *DAGSTER),
    "tickers remove IBM": (CALENDARS, *DAGSTER),
    "tickers delist IBM --reason gone": (CALENDARS, *DAGSTER),
    "tickers resume IBM": (CALENDARS, *DAGSTER),
    "backup copy.tar.gz": (WAREHOUSE, MODELS, TUNINGS, *DAGSTER),
    "home clean-secrets": (WAREHOUSE, MODELS, TUNINGS, *DAGSTER),
    "home clean-secrets --dry-run": (WAREHOUSE, MODELS, TUNINGS, *DAGSTER),
    "ledger verify": (WAREHOUSE, CALENDARS, *DAGSTER),
    "ledger head": (WAREHOUSE, CALENDARS, *DAGSTER),
}
"""Each of these meets some of the ways of damage: what looks at the files is what the others have."""

OF_A_HOME = ("reports prune", "restore copy.tar.gz")
"""These need no file of a home, but a place that can be one."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with every file, made by those that make them."""
    home = tmp_path_factory.mktemp("whole") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        settings = Settings(home=home, source="sample", _env_file=None)
        with open_instance(settings) as instance:
            instance.add_dynamic_partitions("ticker", ["IBM"])
            instance.get_runs(limit=1)
            instance.all_instigator_state()
            instance.report_runless_asset_event(dg.AssetMaterialization("raw_prices", partition="2013-01-10|IBM"))
    write(home, RAW_PRICES, SampleSource().bars("IBM", date(2013, 1, 2), date(2013, 1, 10)))
    Tracking(settings.mlflow_tracking_uri, settings.artifacts).experiment_id("stockcast")
    optuna.create_study(storage=f"sqlite:///{home / TUNINGS}")
    (home / CALENDARS).write_text('[tickers]\n"ODD" = "XLON"\n')
    assert all((home / name).stat().st_size for files in COMMANDS.values() for name in files)
    return home


@pytest.fixture
def home(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "home"
    shutil.copytree(whole, home)
    # Long ago, as damage is: a file of this moment might be one that is being made.
    for path in home.rglob("*"):
        os.utime(path, (1e9, 1e9))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("STOCKCAST_HOME", str(home))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    return home


def cut(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)


def overwrite(path: Path, place: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


def instead(path: Path, make: Callable[[], object]) -> None:
    path.unlink()
    make()


WAYS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: cut(path, 0),
    "a few bytes": lambda path: cut(path, 50),
    "half": lambda path: cut(path, path.stat().st_size // 2),
    "text": lambda path: path.write_text("this is text = and no database: [\n"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a damaged beginning": lambda path: overwrite(path, 0, b"\xff" * 100),
    "a folder": lambda path: instead(path, path.mkdir),
    "a link to nothing": lambda path: instead(path, lambda: path.symlink_to("/nowhere/at/all")),
    "a link to itself": lambda path: instead(path, lambda: path.symlink_to(path)),
    "a pipe": lambda path: instead(path, lambda: os.mkfifo(path)),
}
# A text that is shorter may still be one.
TEXTS = {
    CONFIG: {"half", "a few bytes", "empty"},
    CALENDARS: {"empty", "a link to nothing", "half"},
}


def seen(home: Path) -> dict[str, tuple[int, bytes | None]]:
    """Everything there, as it is."""
    return {
        str(path.relative_to(home)): (stat.S_IFMT(path.lstat().st_mode), path.read_bytes() if path.is_file() else None)
        for path in home.rglob("*")
    }


def run(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status, and what stands on stderr."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it became a server on a damaged home")

    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr("stockcast_assets.web.dagster_ui.dagster_ui", refuse)
    monkeypatch.setattr("stockcast_assets.dashboard.run.serve", refuse)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    capsys.readouterr()
    status = parse.run(app, command.split())
    return status, capsys.readouterr().err


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [WAREHOUSE, MODELS, TUNINGS, *DAGSTER, CALENDARS])
def test_a_damaged_file_is_one_sentence_of_every_command_that_needs_it(
    home: Path, name: str, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if way in TEXTS.get(name, ()):
        return
    WAYS[way](home / name)
    if not (home / name).is_symlink():
        os.utime(home / name, (1e9, 1e9))
    before = seen(home)
    sampled = [command for number, command in enumerate(SAMPLED) if (number + list(WAYS).index(way)) % 4 == 0]
    for command, needed in {**COMMANDS, **{command: SAMPLED[command] for command in sampled}}.items():
        if name not in needed:
            continue
        status, told = run(command, monkeypatch, capsys)
        assert status == 1, command
        assert told.startswith("error: "), command
        assert told.count("\n") == 1, told
        assert str(home / name) in told
        assert "aside" in told or name == CALENDARS
        assert seen(home) == before, command
    assert [path.name for path in home.parent.iterdir()] == [home.name], "something was written outside"


@pytest.mark.parametrize("name", ["dagster/history", "dagster/history/runs", "dagster/schedules", "home.json"])
def test_a_file_in_the_place_of_a_folder_or_a_folder_in_that_of_a_file_can_be_moved_as_it_is_said(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = home / name
    if place.is_dir():
        shutil.rmtree(place)
        place.write_text("no folder")
    else:
        place.unlink(missing_ok=True)
        place.mkdir()
    before = seen(home)
    status, told = run("status", monkeypatch, capsys)
    assert status == 1
    assert told.startswith("error: "), told
    assert told.count("\n") == 1, told
    assert seen(home) == before
    (move,) = re.findall(r"`(mv [^`]+)`", told)
    subprocess.run(shlex.split(move), check=True)
    status, told = run("status", monkeypatch, capsys)
    assert status == 0, told


@pytest.mark.parametrize(("name", "way"), zip([WAREHOUSE, MODELS, TUNINGS, *DAGSTER], WAYS, strict=False))
def test_the_doctor_names_the_part_and_a_shell_completes_nothing_wrong(
    home: Path, name: str, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    WAYS[way](home / name)
    if not (home / name).is_symlink():
        os.utime(home / name, (1e9, 1e9))
    before = seen(home)
    assert completion.ticker("") in ([], ["IBM"])
    assert capsys.readouterr() == ("", "")
    # SQLite makes these beside a file that is read, too.
    assert {file: what for file, what in seen(home).items() if not file.endswith(("-shm", "-wal"))} == before
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert parse.run(app, ["doctor"]) == 1
    printed = capsys.readouterr()
    assert str(home / name) in printed.out
    assert printed.err == "1 of 12 parts do not work.\n" if name not in DAGSTER else "parts do not work" in printed.err


@pytest.mark.parametrize("name", [WAREHOUSE, MODELS, TUNINGS, *DAGSTER, CALENDARS])
def test_the_way_back_that_is_named_ends_it(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / name
    path.write_bytes(b"\xff" * 10_000)
    os.utime(path, (1e9, 1e9))
    command = {MODELS: "explain IBM 2013-01-10", TUNINGS: "tune NOPE"}.get(name, "status")
    status, told = run(command, monkeypatch, capsys)
    assert status == 1
    if name == CALENDARS:
        path.rename(path.with_suffix(".damaged"))
    else:
        (move,) = re.findall(r"`(mv [^`]+)`", told)
        subprocess.run(shlex.split(move), check=True)
    status, told = run(command, monkeypatch, capsys)
    assert str(path) not in told
    assert status == 0 or name in (MODELS, TUNINGS), told


def test_a_page_in_the_middle_is_found_before_anything_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (RUNS, INDEX, SCHEDULES, MODELS, TUNINGS):
        overwrite(home / name, 4096, b"\xaa" * 4096)
        os.utime(home / name, (1e9, 1e9))
        with pytest.raises(DamagedFileError, match=r"is damaged \(.+\)\. It holds"):
            Database(home / name, "sqlite", "something", "it is gone").check()
    before = seen(home)
    assert run("tickers add GOOG", monkeypatch, capsys)[0] == 1
    assert seen(home) == before


def test_a_page_of_a_file_too_large_to_be_looked_through_is_named_when_it_is_met(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stockcast_assets.databases._CHECKED_BYTES", 0)
    with sqlite3.connect(home / INDEX) as connection:
        pages = [root for (root,) in connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 1")]
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for page in pages:
        overwrite(home / INDEX, (page - 1) * size, b"\xaa" * size)
    os.utime(home / INDEX, (1e9, 1e9))
    status, told = run("tickers list", monkeypatch, capsys)
    assert status == 1
    assert told.startswith("error: ")
    assert str(home / INDEX) in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("where", [5000, 12288, 12288 + 262144])
def test_a_warehouse_with_a_damaged_block_is_a_sentence(
    home: Path, where: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overwrite(home / WAREHOUSE, where, b"\xaa" * 3000)
    before = (home / WAREHOUSE).read_bytes()
    status, told = run("status", monkeypatch, capsys)
    assert status == 1
    assert str(home / WAREHOUSE) in told
    assert told.count("\n") == 1
    assert (home / WAREHOUSE).read_bytes() == before


def test_a_log_of_the_warehouse_that_is_none(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = home / f"{WAREHOUSE}.wal"
    log.mkdir()
    before = seen(home)
    status, told = run("status", monkeypatch, capsys)
    assert (status, told.count("\n")) == (1, 1), told
    assert WAREHOUSE in told
    assert seen(home) == before
    log.rmdir()
    # Like one whose writer died, it is left out of what is read, and left where it is.
    log.write_bytes(b"\xff" * 500)
    before = seen(home)
    assert run("status", monkeypatch, capsys)[0] == 0
    assert (home / WAREHOUSE).read_bytes() == before[WAREHOUSE][1]
    assert log.read_bytes() == b"\xff" * 500


def nowhere(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return {
        "a file": (tmp_path / "file", "cannot be used"),
        "below a file": (tmp_path / "file" / "home", "cannot be used"),
        "a loop": (tmp_path / "loop", "leads to no folder"),
        "not creatable": (Path("/proc/nowhere/home"), "cannot be used"),
        "a question mark": (tmp_path / "what?" / "home", "question mark"),
        "an escape": (tmp_path / "what%20" / "home", "%20 or the like"),
        "a new line": (tmp_path / "two\nlines", "choose a folder without it"),
        "too long": (tmp_path / ("x" * 300), "cannot be used"),
    }


@pytest.mark.parametrize(
    "what",
    ["a file", "below a file", "a loop", "not creatable", "a question mark", "an escape", "a new line", "too long"],
)
def test_a_home_that_is_none_is_one_sentence_of_every_command(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, words = nowhere(tmp_path)[what]
    monkeypatch.setenv("STOCKCAST_HOME", str(place))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    before = seen(tmp_path)
    for command in (*COMMANDS, *SAMPLED, *OF_A_HOME):
        if command == "dashboard" and what == "not creatable":
            # It makes no home and shows that there is none.
            continue
        status, told = run(command, monkeypatch, capsys)
        if what == "not creatable" and command in ("reports prune", "restore copy.tar.gz"):
            # There is nothing to remove where no home is; and without a file nothing is made.
            assert "Traceback" not in told
            assert told.count("\n") == status
            continue
        assert (status, told.count("\n")) == (1, 1), (command, told)
        assert "STOCKCAST_HOME" in told, (command, told)
        no_home = what == "not creatable" and command.startswith(("backup", "home"))
        assert ("There is no home" if no_home else words) in told, (command, told)
        assert seen(tmp_path) == before
    assert completion.ticker("") == []
    assert parse.run(app, ["doctor"]) == 1
    assert "STOCKCAST_HOME" in "".join(capsys.readouterr())
    assert seen(tmp_path) == before


@pytest.mark.parametrize("name", ["a b", "a#b", "50%", "ä;b", "it's & more"])
def test_a_home_of_any_other_name_stays_within_itself(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path / name))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    assert run("tickers add IBM", monkeypatch, capsys)[0] == 0
    assert run("status", monkeypatch, capsys)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / INDEX).is_file()


def command(home: Path, *words: str, room: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if room is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STOCKCAST", "DAGSTER"))}
    return subprocess.run(
        [Path(sys.executable).with_name("stockcast"), *words],
        env={**environment, "STOCKCAST_HOME": str(home), "STOCKCAST_SOURCE": "sample"},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limit,
    )


@pytest.mark.parametrize("room", [0, 30_000])
def test_a_full_disk_is_one_sentence(tmp_path: Path, room: int) -> None:
    ended = command(tmp_path / "home", "tickers", "add", "IBM", room=room)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("error: ")
    assert "STOCKCAST_HOME" in ended.stderr
    after = command(tmp_path / "home", "tickers", "add", "IBM")
    assert after.returncode == 0, after.stderr


def test_the_real_command_on_a_damaged_home(home: Path) -> None:
    WAYS["half"](home / INDEX)
    os.utime(home / INDEX, (1e9, 1e9))
    ended = command(home, "status")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "Traceback" not in ended.stderr


def test_a_warehouse_that_grows_and_shrinks_is_never_called_damaged(tmp_path: Path) -> None:
    path, sizes = tmp_path / "warehouse.duckdb", set()
    for number, rows in enumerate([10, 200_000, 1_000, 300_000, 10, 100_000, 50, 250_000, 10, 10]):
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS bars (day INTEGER, close DOUBLE)")
            connection.execute("BEGIN")
            connection.execute("DELETE FROM bars WHERE day % 3 = ? OR ?", [number % 3, number % 2 == 0])
            connection.execute("INSERT INTO bars SELECT day, random() FROM range(?) numbers(day)", [rows])
            connection.execute("COMMIT")
        sizes.add(path.stat().st_size)
        Database(path, "duckdb", "the tables", "they are empty").check()
    assert max(sizes) > path.stat().st_size


def test_a_warehouse_that_another_process_writes_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'w+b'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "held\n"
        Database(path, "duckdb", "the tables", "they are empty").check()
        writer.communicate()
    os.utime(path, (1e9, 1e9))
    with pytest.raises(DamagedFileError, match="is empty"):
        Database(path, "duckdb", "the tables", "they are empty").check()
