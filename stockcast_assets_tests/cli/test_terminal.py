"""What others wrote is shown by every command as characters: no markup, no colour, no movement of the cursor."""

import io
import json
import logging
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.text import Text

from stockcast_assets.cli import tables, terminal
from stockcast_assets.cli.terminal import Terminal, stacked, styled
from stockcast_assets.inputs import printable
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.partitions import ticker_partitions
from stockcast_assets.orchestration.tickers import set_state
from stockcast_assets.settings import load_settings
from stockcast_assets_tests.conftest import Run

HOSTILE = st.text(
    st.one_of(st.characters(), st.sampled_from("[]/\\ \x1b\x07\r\n\t\x7f\x9b\u202e\u2066\u200b\u2028\udc80:")),
    min_size=1,
    max_size=30,
) | st.sampled_from(["[/]", "[bold", "[red]x[/]", "[link=http://x]y[/link]", "\x1b]0;title\x07", ":boom:", "\x1b[2J"])


def obeyed(text: str) -> list[str]:
    """The characters of an output that a terminal would obey, our line ends left out."""
    return [char for char in text if char != "\n" and printable(char) != char]


@given(HOSTILE)
def test_the_console_shows_it_as_it_is(text: str) -> None:
    for shown in (text, styled(text), styled((text, "bold")), stacked(text, "x"), Text(text)):
        file = io.StringIO()
        Terminal(file=file, width=400).print(shown, soft_wrap=True)
        assert not obeyed(file.getvalue())
    assert file.getvalue()
    file = io.StringIO()
    Terminal(file=file, width=400).print(text, soft_wrap=True)
    assert file.getvalue() == f"{printable(text)}\n"


@given(HOSTILE, HOSTILE)
def test_tables_documents_progress_and_errors_do_so_too(text: str, other: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "out", Terminal(file=out, width=400))
        patch.setattr(terminal, "err", Terminal(file=err, width=400))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        tables.print_table(text, [text, "other"], [[text, other]])
        tables.print_json({text: other})
        terminal.warn(text)
        terminal.tell_error(text)
        with Terminal(file=err, force_terminal=False).status(text):
            pass
    assert not obeyed(out.getvalue() + err.getvalue())
    assert printable(text) in out.getvalue()
    assert f"error: {printable(text)}\n" in err.getvalue()


@pytest.fixture
def run(run: Run) -> Callable[..., str]:
    """What a command prints."""
    return lambda *arguments: "".join(run(*arguments)[1:])


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, min_size=1, max_size=20), st.lists(HOSTILE, max_size=10, unique=True))
def test_every_command_that_shows_tickers_and_reasons(
    run: Callable[..., str], reasons: list[str], keys: list[str]
) -> None:
    with open_instance(load_settings()) as instance:
        name = str(ticker_partitions.name)
        for old in instance.get_dynamic_partitions(name):
            instance.delete_dynamic_partition(name, old)
        # A reason that an earlier release stored, and keys as the Dagster UI lets anybody add them.
        tickers = [f"T{position}" for position in range(len(reasons))]
        storable = [key.encode(errors="replace").decode() for key in keys]
        instance.add_dynamic_partitions(name, [*tickers, *storable])
        for ticker, reason in zip(tickers, reasons, strict=True):
            set_state(instance, ticker, "paused", reason.encode(errors="replace").decode())
    listed = run("tickers", "list")
    document = run("tickers", "list", "--json")
    assert not obeyed(listed)
    assert not obeyed(document)
    assert len(json.loads(document)) == len(reasons) + len(set(storable))
    for arguments in (("tickers", "remove", "NOPE"), ("tickers", "pause", reasons[0]), ("forecast", reasons[0])):
        assert not obeyed(run(*arguments)), arguments


def test_a_bracket_in_the_reason_of_a_pause_breaks_nothing(run: Callable[..., str]) -> None:
    run("tickers", "add", "MSFT")
    run("tickers", "pause", "MSFT", "--reason", "see [/] and [red]")
    assert "see [/] and [red]" in run("tickers", "list")
    assert "write one line of text" in run("tickers", "pause", "MSFT", "--reason", "a\x1b[2Jb")


def test_tracebacks_and_log_lines_are_characters(run: Callable[..., str], capfd: pytest.CaptureFixture[str]) -> None:
    factory, hook = logging.getLogRecordFactory(), sys.excepthook
    try:
        terminal.guard_logs_and_tracebacks()
        logging.getLogger("stockcast_assets_tests").error("a key: %s", "\x1b[2J")
        try:
            raise ValueError("\x1b]0;title\x07")
        except ValueError as error:
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        logging.setLogRecordFactory(factory)
        sys.excepthook = hook
    shown = capfd.readouterr().err
    assert not obeyed(shown)
    assert "ValueError: \\x1b]0;title\\x07" in shown
