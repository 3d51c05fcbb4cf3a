"""How command lines are read: flags anywhere, one sentence and exit status 2 for what is none, no wait for a typo."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import typer
from hypothesis import assume, given
from hypothesis import strategies as st

from stockcast_assets import __version__
from stockcast_assets.cli import parse
from stockcast_assets.cli.app import app
from stockcast_assets.stopping import Stopped
from stockcast_assets_tests.conftest import clean_env

WORDS = st.lists(st.sampled_from(["backfill", "--tickers", "A,B", "2024-01-02", "-x", "tickers", "--yes"]), max_size=6)


@given(WORDS, st.lists(st.sampled_from(parse.ANYWHERE), max_size=3), st.data())
def test_a_flag_means_the_same_wherever_it_stands(words: list[str], flags: list[str], data: st.DataObject) -> None:
    mixed = list(words)
    for flag in flags:
        mixed.insert(data.draw(st.integers(0, len(mixed))), flag)
    assert parse.arranged(mixed) == [*(flag for flag in parse.ANYWHERE if flag in flags), *words]


@given(WORDS)
def test_what_follows_two_dashes_is_no_flag(words: list[str]) -> None:
    assert parse.arranged([*words, "--", "--json", "--debug"]) == [*words, "--", "--json", "--debug"]


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("nonsense", 2, "No such command 'nonsense'; `stockcast --help`"),
        ("forecast", 2, "`stockcast forecast --help`"),
        ("demo --sessions 0", 2, "'--sessions'"),
        ("demo --sessions few", 2, "`stockcast demo --help`"),
        ("status --nope", 2, "No such option: --nope"),
        ("warehouse copy --from duckdb", 2, "`stockcast warehouse copy --help`"),
        ("forecast ms_ft", 1, "'ms_ft' is not a ticker"),
        ("forecast MSFT AAPL 20130215", 1, "'20130215' is not a date"),
        ("forecast MSFT 2024-02-30", 1, "'2024-02-30' is not a date"),
        ("explain MSFT yesterday", 1, "'yesterday' is not a date"),
        ("backfill --tickers MSFT,b_", 1, "'b_' is not a ticker"),
        ("backfill --tickers MSFT --from 1", 1, "'1' is not a date"),
        ("tickers add MSFT b_", 1, "'b_' is not a ticker"),
        ("tickers pause b_", 1, "'b_' is not a ticker"),
        ("evaluate MSFT --report /dev/null/x.html", 1, "The report /dev/null/x.html could not be written"),
        ("evaluate --bars none.csv --report /dev", 1, "The report /dev could not be written"),
        ("forcast MSFT", 2, "Did you mean 'forecast'? `stockcast --help`"),
        ("forecast 2013-02-15 MSFT", 1, "`stockcast forecast MSFT 2013-02-15`"),
        ("forecast MSFT 2013-02-15 2013-02-18", 1, "of tickers and then of one day"),
        ("forecast 2013-02-15", 1, "of tickers and then of one day"),
        # What a shell makes of "$TICKERS" that is not set: none, never every one.
        ("forecast ''", 1, "No ticker is given: '' names none"),
        ("forecast '' 2013-02-15", 1, "No ticker is given: '' names none"),
        ("compare ' , '", 1, "No ticker is given: ' , ' names none"),
        ("evaluate ''", 1, "No ticker is given: '' names none"),
        ("ledger verify ''", 1, "No ticker is given: '' names none"),
        ("tickers remove ''", 1, "No ticker is given: '' names none"),
        ("backfill --tickers '' --missing-only", 1, "No ticker is given: '' names none"),
        ("explain '' 2013-02-15", 1, "No ticker is given: '' names none"),
    ],
)
def test_what_is_wrong_is_one_sentence(line: str, status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse.run(app, shlex.split(line)) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert words in told.err


TICKERS = st.lists(st.from_regex(r"[A-Z][A-Z0-9.]{0,5}[A-Z]", fullmatch=True), min_size=1, max_size=4, unique=True)


@given(TICKERS, st.data(), st.sampled_from([None, "2024-05-31"]))
def test_a_list_of_tickers_is_written_in_any_way(tickers: list[str], data: st.DataObject, day: str | None) -> None:
    assume(not any(".." in ticker for ticker in tickers))
    line = tickers[0]
    for ticker in tickers[1:]:
        line += data.draw(st.sampled_from([" ", ",", ", ", " ,"])) + data.draw(
            st.sampled_from([ticker, ticker.lower()])
        )
    words = [*line.split(), *([day] if day else [])]
    assert parse.tickers_and_day(parse._tickers_and_day(words)) == (tickers, day)
    assert parse.some_tickers(line.split()) == tickers


@pytest.mark.parametrize("line", ["-h", "--help", "forecast -h", "tickers --help", "tickers add -h"])
def test_help_is_asked_for_in_either_way(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse.run(app, line.split()) == 0
    assert "Usage: stockcast" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["", "tickers", "warehouse"])
def test_a_group_alone_shows_its_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse.run(app, line.split()) == 2
    told = capsys.readouterr()
    assert f"Usage: {f'stockcast {line}'.strip()}" in told.out + told.err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse.run(app, ["--version"]) == 0
    assert capsys.readouterr().out == f"stockcast {__version__}\n"


@pytest.mark.parametrize("buffering", [-1, 1])
@pytest.mark.parametrize("line", ["--version", "inspect bars.csv --ticker X", "inspect bars.csv --ticker X --json"])
@pytest.mark.parametrize(("goes", "status"), [("to nobody", 141), ("on a full disk", 1)])
def test_what_nobody_reads_or_takes_is_no_traceback(
    goes: str,
    status: int,
    line: str,
    buffering: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bars.csv").write_text("Date,Open,High,Low,Close,Volume\n2013-02-14,10,11,9,10,100\n")
    if goes == "to nobody":
        read, written = os.pipe()
        os.close(read)
    else:
        written = os.open("/dev/full", os.O_WRONLY)
    with os.fdopen(written, "w", buffering=buffering) as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert parse.run(app, line.split()) == status
    monkeypatch.undo()
    told = capsys.readouterr().err
    said = "error: What was to be printed could not be written (No space left on device)"
    assert (said in told) == (goes == "on a full disk")
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("line", "does"),
    [
        ("demo", "demo.run"),
        ("forecast AAPL", "forecast.run"),
        ("backfill AAPL --from 2013-01-02", "backfill.run"),
        ("tune --all", "tune.run"),
        ("reconcile", "reconcile.run"),
        ("evaluate AAPL", "evaluate.run"),
        ("evaluate --bars bars.csv", "evaluate_files.run"),
        ("explain AAPL 2013-02-15 --replay", "explain.run"),
        ("compare", "compare.run"),
        ("audit --mine 'my file.py:momentum'", "audit.run"),
        ("backup file.tar.gz", "backup.back_up"),
        ("restore file.tar.gz", "backup.restore"),
        ("warehouse copy --from duckdb --to bigquery", "warehouse.copy_tables"),
    ],
)
def test_a_command_that_begins_anew_says_so_when_it_is_stopped(
    line: str, does: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = mock.Mock(side_effect=Stopped(signal.SIGTERM))
    monkeypatch.setattr(f"stockcast_assets.cli.{does}", stopped)
    monkeypatch.setattr(parse, "end_children", lambda: None)
    monkeypatch.setattr(sys, "argv", ["stockcast", *shlex.split(line)])
    assert parse.run(app, shlex.split(line)) == 143
    assert stopped.called
    told = capsys.readouterr().err
    assert told.startswith("stopped by SIGTERM: ")
    assert told.endswith(f"Go on with:\n  stockcast {line}\n")


LOADED = """
import json, sys
from stockcast_assets.cli import parse
from stockcast_assets.cli.app import app
status = parse.run(app, sys.argv[1:])
print(json.dumps([status, [name for name in ("dagster", "pandas") if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    "line", ["forecast m_", "backfill --tickers m_", "tickers add m_", "explain MSFT 1", "evaluate m_", "tune m_"]
)
def test_a_typo_waits_for_nothing(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *line.split()], env=clean_env(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [1, []]


def examples() -> Iterator[str]:
    """Every example that a `--help` gives."""
    for group in (app, *(each.typer_instance for each in app.registered_groups)):
        for command in group.registered_commands if group is not None else ():
            if command.epilog:
                yield from re.split(r", (?=stockcast )", command.epilog.removeprefix("For example: "))


def test_there_are_examples() -> None:
    assert len(list(examples())) > 9


@pytest.mark.parametrize("example", examples())
def test_an_example_is_understood(example: str) -> None:
    words = parse.arranged(shlex.split(example)[1:])
    command = typer.main.get_command(app)
    context = command.make_context("stockcast", list(words))
    while isinstance(getattr(command, "commands", None), dict):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])  # type: ignore[attr-defined]
        context = command.make_context(name, list(rest), parent=context)
