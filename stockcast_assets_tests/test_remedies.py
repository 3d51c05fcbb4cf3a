"""Every command that a sentence of ours names can be typed as it stands: it is there, and takes these words.

What each remedy does in the situation that prints it is tested beside that situation.
"""

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import stockcast_assets
from stockcast_assets.cli.app import app
from stockcast_assets.cli.parse import ANYWHERE

PACKAGE = Path(stockcast_assets.__file__).parent
NAMED = re.compile(r"`stockcast ([^`]+)`")

VALUES = {
    "day": "2013-01-10",
    "date": "2013-01-10",
    "first": "2013-01-10",
    "last": "2013-01-10",
    "since": "2013-01-10",
    "month": "2013-01",
    "asset": "raw_prices",
    "table": "raw_prices",
    "name": "raw_prices",
    "command": "ui",
}
"""What stands for a value in an f-string, by a word of the expression; a ticker else."""


@cache
def told() -> Sequence[tuple[str, str]]:
    """Where a sentence is, and the sentence with an example of each of its values."""
    return [said for path in sorted(PACKAGE.rglob("*.py")) for said in _told_in(path)]


def _told_in(path: Path) -> Iterator[tuple[str, str]]:
    place, nodes = path.relative_to(PACKAGE), list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docs = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield f"{place}:{node.lineno}", "".join(map(example, node.values))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and id(node) not in parts
        ):
            yield f"{place}:{node.lineno}", node.value


def example(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    words = ast.unparse(part).lower()
    return next((value for word, value in VALUES.items() if word in words), "AAPL")


COMMANDS = sorted(
    {(where, line.replace("{}", "AAPL")) for where, sentence in told() for line in NAMED.findall(sentence)}
)


def test_there_are_remedies_to_look_at() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("where", "line"), COMMANDS, ids=[f"{where} {line}" for where, line in COMMANDS])
def test_what_a_sentence_names_can_be_typed(where: str, line: str) -> None:
    words = [word for word in shlex.split(line) if word not in ANYWHERE]
    command = typer.main.get_command(app)
    path = ["stockcast"]
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    assert len(path) > 1, f"{where}: there is no such command"
    if not hasattr(command, "commands"):
        takes(command, path, words)
    else:
        assert not words, f"{where}: {' '.join(path)} has no {words[0]}"


def takes(command: Any, path: list[str], words: list[str]) -> None:
    """Fails if the command does not take the words.

    A sentence about a command may name it alone, or with an option whose value is the reader's to choose.
    """
    needed = [parameter for parameter in command.params if parameter.required]
    options = {name: parameter for parameter in command.params for name in parameter.opts}
    if words and (chosen := options.get(words[-1])) is not None and not chosen.is_flag:
        words.append("8000")
    if words or not needed:
        command.make_context(" ".join(path), list(words))
