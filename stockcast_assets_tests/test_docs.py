"""What README and docs/ say in names and numbers is so."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from stockcast_assets import tables
from stockcast_assets.cli.app import app
from stockcast_assets.definitions import defs
from stockcast_assets.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def rows(text: str, head: str) -> Iterator[list[str]]:
    """The cells of the rows of the table under this head line."""
    lines = text[text.index(head) :].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def commands() -> dict[str, object]:
    """Every command by its words, `tickers add` for example."""
    group = typer.main.get_command(app)
    found: dict[str, object] = {}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        of_group = getattr(command, "commands", None)
        found |= {name: command} if of_group is None else {f"{name} {sub}": each for sub, each in of_group.items()}
    return found


def test_the_table_of_commands_is_complete() -> None:
    told = [
        set(re.findall(r"[a-z-]+", " ".join(re.findall(r"`[^`]+`", " ".join(cells)))))
        for cells in rows(README, "| command | what it does |")
    ]
    assert [name for name in commands() if not any(set(name.split()) <= words for words in told)] == []


def test_the_rooms_stand_in_the_order_in_which_they_may_import() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(layer.split(" | ")) for layer in contracts[0]["layers"]]
    picture = README[README.index("```\nstockcast_assets/\n") :].split("```")[1].splitlines()[2:]
    told = [re.findall(r"([a-z_]+)(?:/|\.py)(?: |$)", line.strip().split("   ")[0] + " ") for line in picture]
    lines = [line for line in told if line]
    place = {room: number for number, line in enumerate(lines) for room in line}
    assert set(place) == set().union(*layers)
    order = [place[room] for layer in layers for room in sorted(layer)]
    assert order == sorted(order)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_names_is_there(page: Path) -> None:
    known = commands()
    for code in re.findall(r"`stockcast ([a-z][^`]*)`", page.read_text()):
        words = code.split()
        name = next((n for n in (" ".join(words[:2]), words[0]) if n in known), None)
        if name is None:
            assert any(n.startswith(f"{words[0]} ") for n in known), f"{page.name}: no command `stockcast {code}`"
            continue
        options = {option for parameter in known[name].params for option in parameter.opts}  # type: ignore[attr-defined]
        for option in re.findall(r"(?<![\w-])--[a-z-]+", code):
            assert option in options | {"--help", "--version", "--debug"}, f"{page.name}: `stockcast {code}`"


def settings_told(text: str) -> set[str]:
    return {name.lower() for name in re.findall(rf"\b{PREFIX}([A-Z_]+)\b", text)}


def test_the_table_of_settings_is_complete() -> None:
    told = settings_told(" ".join(cells[0] for cells in rows(README, "| variable | default | meaning |")))
    assert told == set(Settings.model_fields)


def test_the_example_of_an_env_file_names_every_setting() -> None:
    assert settings_told((ROOT / ".env.example").read_text()) == set(Settings.model_fields)


def test_the_table_of_assets_is_complete_and_in_the_order_of_the_graph() -> None:
    told = [cells[0].strip("`") for cells in rows(README, "| asset | key | what it holds |")]
    graph = defs.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert set(told) == keys
    for key in graph.get_all_asset_keys():
        for parent in graph.get(key).parent_keys:
            if "tuning" not in (key.to_user_string(), parent.to_user_string()):
                assert told.index(parent.to_user_string()) < told.index(key.to_user_string())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_column_that_a_page_ascribes_to_a_table_is_one(page: Path) -> None:
    columns = {table.name: set(table.column_names) for table in tables.ALL_TABLES}
    for name, column in re.findall(r"`([a-z_]+)\.([a-z_0-9]+)`", page.read_text()):
        if name in columns:
            assert column in columns[name], f"{page.name}: {name}.{column}"


def test_every_target_of_make_is_shown_and_every_one_told_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z0-9-]+)", page.read_text()):
            assert target in targets, f"{page.name}: make {target}"
    assert set(re.findall(r"^([a-z0-9-]+):.*##", makefile, re.MULTILINE)) == targets
