"""What `mkdocs build` needs beside docs/: the pages of the repository's root, and a page per room of the package.

Each page reads well on its own in the repository. Its links are written for that, and are turned to the site's here.
"""

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "stockcast_assets"
OUTSIDE = {
    # The name of the other is that of a folder's first page.
    "README.md": "first-steps.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
"""The pages of the repository's root, and what they are called on the site."""


def _rooms() -> Iterator[tuple[str, list[str]]]:
    """Each room of the package with the names of its modules, the room's own first."""
    for path in sorted(PACKAGE.iterdir()):
        if path.suffix == ".py" and not path.name.startswith("_"):
            yield path.stem, [f"{PACKAGE.name}.{path.stem}"]
        elif (path / "__init__.py").exists():
            files = sorted(path.rglob("*.py"), key=lambda file: (file.name != "__init__.py", str(file)))
            modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
            yield path.name, sorted({module.removesuffix(".__init__") for module in modules})


def _summary(module: str) -> str:
    base = ROOT / module.replace(".", "/")
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n")[0]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and the reference."""
    for name, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=(ROOT / name).read_text("utf-8")))
    lines = [
        "# Reference",
        "",
        "**For whoever writes Python with stockcast: what is there, what does it take, what does it raise?**",
        "",
        "Made from the docstrings. [The picture](../architecture.md) shows which room imports from which.",
        "",
        "| room | what belongs there |",
        "|---|---|",
    ]
    for room, modules in _rooms():
        lines.append(f"| [{room}]({room}.md) | {_summary(modules[0])} |")
        content = f"# {room}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"
        files.append(File.generated(config, f"reference/{room}.md", content=content))
    assert config.nav is not None
    config.nav[-1] = {"Reference": ["reference/index.md", *(f"reference/{room}.md" for room, _ in _rooms())]}
    files.append(File.generated(config, "reference/index.md", content="\n".join(lines) + "\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site; what is no page of it is named without a link."""
    source = page.file.src_uri
    if source.startswith("reference/"):
        return markdown
    folder = "" if source in OUTSIDE.values() else "docs"

    def turned(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        place = posixpath.normpath(posixpath.join(folder, target))
        uri = OUTSIDE.get(place) or (place.removeprefix("docs/") if place.startswith("docs/") else "")
        if files.get_file_from_path(uri) is not None:
            return f"[{text}]({uri}{anchor})"
        return text if (ROOT / place).exists() else match[0]

    return re.sub(r"(?<!!)\[([^\]]*)\]\((?![a-z]+:)([^)#\s]+)(#[^)]*)?\)", turned, _pictures(markdown, folder))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that a browser would fetch something from another host for."""
    if fetched := re.findall(r"<(?:script|link|img|iframe)[^>]* (?:src|href)=\"?(https?://[^\"\s>]+)", output):
        raise PluginError(
            f"{page.file.src_uri} loads {', '.join(sorted(set(fetched)))}: the site reads without a network."
        )
    return output


def _pictures(markdown: str, folder: str) -> str:
    return markdown if folder else markdown.replace("](docs/images/", "](images/")
