"""SECURITY.md promises that a test tries each attack of its table: that test exists, and no attack is told twice."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "SECURITY.md").read_text("utf-8")
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def rows() -> Iterator[tuple[str, str]]:
    """The attacks of all tables, each with the cell that names its tests."""
    attacks = TEXT.split("\n## Attacks\n", 1)[1]
    for line in attacks.splitlines():
        if line.startswith("|") and not line.startswith(("| attack |", "|---")):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert len(cells) == 3, f"attack, what happens, test: {line}"
            yield cells[0], cells[2]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("attack", "cell"), rows())
def test_the_test_of_an_attack_exists(attack: str, cell: str) -> None:
    named = NAMED.findall(cell)
    assert named, f"names no test as `file.py::test_name`: {attack}"
    for file, test in named:
        assert (TESTS / file).is_file(), file
        assert test in functions_of(TESTS / file), f"{file} has no {test}"


def test_sixty_attacks_and_more_are_told_and_none_twice() -> None:
    told = [attack for attack, _ in rows()]
    assert len(set(told)) == len(told) >= 60
