"""How command lines are read: flags anywhere, one sentence and exit status 2 for what is none, no wait for a typo."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from hypothesis import assume, given
from hypothesis import strategies as st

from stockcast_assets import __version__
from stockcast_assets.cli import parse
from stockcast_assets.cli.app import app
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
    ],
)
def test_what_is_wrong_is_one_sentence(line: str, status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse.run(app, line.split()) == status
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
