"""The keys of every `--json` document, as docs/cli.md lists them, and as a command prints them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOC = Path(__file__).parent.parent / "docs" / "cli.md"


def paths(document: Any, so_far: str = "") -> Iterator[str]:
    """Every key of a document: `tickers[].ticker`, and `tickers[]` of a list that is empty."""
    if isinstance(document, dict) and document:
        for key, value in document.items():
            yield from paths(value, f"{so_far}.{key}" if so_far else key)
    elif isinstance(document, list):
        found = [path for each in document for path in paths(each, f"{so_far}[]")]
        yield from found or [f"{so_far}[]"]
    else:
        yield so_far


def documented(command: str) -> set[str]:
    """The keys that docs/cli.md lists for a command.

    `<x>` stands for any name, `a.{b, c}` for `a.b` and `a.c`, and `a?` may be missing.
    """
    section = re.search(rf"^### `{re.escape(command)}`\n(.*?)(?=^#|\Z)", DOC.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/cli.md says nothing of {command} --json"
    return {path for listed in re.findall(r"`([^`]+)`", section[1]) for path in _spread(listed)}


def _spread(listed: str) -> Iterator[str]:
    brace = re.fullmatch(r"(.*?)\{(.*)\}", listed)
    if brace is None:
        yield listed
        return
    for part in brace[2].split(", "):
        yield f"{brace[1]}{part}"


def differences(command: str, document: Any) -> list[str]:
    """What is printed and not documented, or documented and not printed where it could be."""
    printed, known = set(paths(document)), documented(command)
    patterns = {path: re.compile(re.sub(r"<\w+>", "[^.]+", re.escape(path.rstrip("?"))) + r"\Z") for path in known}

    def matches(path: str) -> bool:
        # Of an empty list, and of an object that is null, only the name is printed.
        return any(pattern.match(path) or _beneath(path, other) for other, pattern in patterns.items())

    def seen(path: str) -> bool:
        return path.endswith("?") or any(patterns[path].match(each) or _beneath(each, path) for each in printed)

    return [
        *(f"printed, not documented: {path}" for path in sorted(printed) if not matches(path)),
        *(f"documented, not printed: {path}" for path in sorted(known) if not seen(path)),
    ]


def _beneath(printed: str, documented: str) -> bool:
    """Whether a documented key is one of the elements of what is printed, which has none."""
    pattern = re.sub(r"<\w+>", "[^.]+", re.escape(documented))
    prefixes = [pattern[:end] for end in (match.start() for match in re.finditer(r"\\\.|\\\[", pattern))]
    return any(re.fullmatch(prefix + r"(\[\])?", printed) for prefix in prefixes)
