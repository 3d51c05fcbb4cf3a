"""A home knows what it holds: the demo and real bars do not mix, and its first daily key stays where it is."""

import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest

from stockcast_assets.home_memory import FILE, Memory, memorise, recall
from stockcast_assets.settings import SAMPLE_WORDS, load_settings, start_of_new_home
from stockcast_assets_tests.conftest import Cli, Run, clean_env


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("STOCKCAST_SOURCE")
    return run


def test_after_the_demo_the_defaults_go_on_with_it_and_other_bars_are_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    assert run("tickers", "add", "MSFT")[0] == 0
    duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb")).close()
    monkeypatch.delenv("STOCKCAST_SOURCE")
    assert load_settings().demo_data == SAMPLE_WORDS
    status, out, err = run("status", "--json")
    assert (status, json.loads(out)["source"]) == (0, "sample")
    assert SAMPLE_WORDS in err
    monkeypatch.setenv("STOCKCAST_SOURCE", "yahoo")
    status, _, err = run("tickers", "list")
    assert status == 1
    assert "holds the bundled history of the demo, with which bars of yahoo must not mix" in err
    # Both ways that the sentence names.
    monkeypatch.setenv("STOCKCAST_HOME", re.search(r"STOCKCAST_HOME=(\S+)", err)[1])  # type: ignore[index]
    assert run("tickers", "list")[0] == 0
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STOCKCAST_SOURCE")
    assert run("tickers", "list")[0] == 0


def test_the_demo_does_not_run_where_other_bars_are(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run("tickers", "list")[0] == 0
    # Where there are none yet, another source may come.
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    assert run("tickers", "list")[0] == 0
    monkeypatch.setenv("STOCKCAST_SOURCE", "yahoo")
    assert run("tickers", "list")[0] == 0
    monkeypatch.delenv("STOCKCAST_SOURCE")
    duckdb.connect(str(tmp_path / "home" / "warehouse.duckdb")).close()
    status, _, err = run("demo")
    assert status == 1
    assert "holds bars of yahoo, with which bars of sample must not mix" in err


def test_a_demo_of_an_older_release_is_recognised(demo: Cli, tmp_path: Path, run: Run) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "warehouse.duckdb").write_bytes((demo.home / "warehouse.duckdb").read_bytes())
    assert run("tickers", "list")[0] == 0
    assert recall(home) == Memory("sample", "2013-01-01")


def test_an_older_home_keeps_its_first_daily_key_and_a_new_one_takes_its_year(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "dagster").mkdir(parents=True)
    monkeypatch.setattr("stockcast_assets.settings.utc_today", lambda: date(2028, 5, 4))
    assert run("tickers", "list")[0] == 0
    assert recall(home) == Memory("yahoo", "2026-01-01")
    assert load_settings().start_date == date(2026, 1, 1)
    monkeypatch.setenv("STOCKCAST_HOME", str(tmp_path / "new"))
    assert run("tickers", "list")[0] == 0
    monkeypatch.setattr("stockcast_assets.settings.utc_today", lambda: date(2031, 5, 4))
    assert load_settings().start_date == date(2028, 1, 1)


@pytest.mark.parametrize(("today", "first"), [("2027-01-04", "2026-01-01"), ("2027-02-01", "2027-01-01")])
def test_in_january_a_new_home_has_a_year_to_look_at(monkeypatch: pytest.MonkeyPatch, today: str, first: str) -> None:
    monkeypatch.setattr("stockcast_assets.settings.utc_today", lambda: date.fromisoformat(today))
    assert start_of_new_home("yahoo") == date.fromisoformat(first)


@pytest.mark.parametrize("written", ["", "{", "[]", '{"source": 1}', '{"source": "yahoo", "start_date": "soon"}', "\0"])
def test_what_cannot_be_read_is_not_remembered(tmp_path: Path, written: str) -> None:
    (tmp_path / FILE).write_text(written)
    assert recall(tmp_path) is None
    memorise(tmp_path, Memory("csv", "2012-01-01"))
    assert recall(tmp_path) == Memory("csv", "2012-01-01")


def test_a_code_location_without_a_home_says_so(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import stockcast_assets.definitions"],
        env=clean_env() | {"STOCKCAST_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stderr
    assert f"are not those of {tmp_path / 'home'}: use `stockcast ui`" in told
