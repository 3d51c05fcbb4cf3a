"""What README and docs/ say in names and numbers is so."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from packaging.version import Version

from stockcast_assets import __version__, tables
from stockcast_assets.cli.app import app
from stockcast_assets.definitions import defs
from stockcast_assets.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


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


PICTURES = {"README.md": README, "architecture.md": (ROOT / "docs" / "architecture.md").read_text()}


def rooms(text: str, indent: int = 2) -> list[list[str]]:
    """The modules on each line of a page's picture that is indented so far."""
    lines = text[text.index("```\nstockcast_assets/\n") :].split("```")[1].splitlines()[2:]
    lines = [line[indent:] for line in lines if len(line) - len(line.lstrip()) == indent]
    told = [re.findall(r"([a-z_]+)(?:/|\.py)(?: |$)", line.split("   ")[0] + " ") for line in lines]
    return [line for line in told if line]


@pytest.mark.parametrize("page", PICTURES)
def test_the_rooms_stand_in_the_order_in_which_they_may_import(page: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(layer.split(" | ")) for layer in contracts[0]["layers"]]
    place = {room: number for number, line in enumerate(rooms(PICTURES[page])) for room in line}
    assert set(place) == set().union(*layers)
    order = [place[room] for layer in layers for room in sorted(layer)]
    assert order == sorted(order)


def test_the_room_of_dagster_is_shown_whole_and_in_its_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(layer.split(" | ")) for layer in contracts[1]["layers"]]
    place = {room: number for number, line in enumerate(rooms(PICTURES["architecture.md"], 4)) for room in line}
    assert set(place) == set().union(*layers)
    order = [max(place[room] for room in layer) for layer in layers]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_says_for_whom_it_is_and_what_it_answers(page: Path) -> None:
    head, empty, line, *_ = page.read_text().splitlines()
    assert head.startswith("# ")
    assert empty == ""
    assert re.fullmatch(r"\*\*For [^:]+: .+\?\*\*", line), line


def test_the_index_and_the_site_lead_to_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    site = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        if page.name != "index.md":
            assert f"{page.name})" in index, page.name
            assert page.name in site or page.name == "README.md", page.name


def test_every_release_says_how_to_come_to_it() -> None:
    """Newest first, by semantic versions, each beginning with what is to be done."""
    text = (ROOT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## (.+)\n\n(.+)", text, re.MULTILINE)
    assert [first for _, first in releases] == ["### Upgrading"] * len(releases)
    names = [name for name, _ in releases if name != "Unreleased"]
    assert names[0] == __version__
    versions = [Version(name) for name in names]
    assert versions == sorted(versions, reverse=True)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", name) for name in names)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page's prose: without code, tables, and where links lead."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    prose = re.sub(r"`[^`]*`", "x", re.sub(r"\]\([^)]*\)", "]", prose))
    for part in re.split(r"\n\s*\n|\n(?=[-*|#]|\d+\. )", prose):
        if not part.lstrip().startswith("|"):
            yield from re.split(r"(?<=[.!?])[*)\"”’]*\s+", part)


def n_words(sentence: str) -> int:
    return len(re.findall(r"[\w'’-]*[A-Za-z][\w'’-]*", sentence))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_has_fifty_words(page: Path) -> None:
    assert [sentence for sentence in sentences(page.read_text()) if n_words(sentence) >= 50] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_half_of_a_merge_is_left(page: Path) -> None:
    assert not re.search(r"^(<<<<<<<|=======|>>>>>>>)( |$)", page.read_text(), re.MULTILINE)


def test_a_long_sentence_would_be_found() -> None:
    long = " ".join(["word"] * 50)
    for text in (f"Short. {long}.", f"- item\n- {long}", f"A [link](x.md) and\n{long}"):
        assert any(n_words(sentence) >= 50 for sentence in sentences(text)), text
    for text in (f"| {long} |", f"```\n{long}\n```", long.replace("word word", "word. Word", 1)):
        assert not any(n_words(sentence) >= 50 for sentence in sentences(text)), text
