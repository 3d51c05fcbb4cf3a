"""Functions and classes of the user's own, named on a command line as `module:name` or `path/to/file.py:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import shortlist, shown


def load(name: str, group: str | None = None) -> Any:
    """What `module:name` or `path/to/file.py:name` names.

    Args:
        name: so written; with a `group` also the name of an entry point.
        group: entry points of this group, of whatever is installed, may be named.

    Raises:
        StockcastError: if there is no such module or name, or the module cannot be imported.
    """
    place, _, attribute = name.rpartition(":")
    if not place and group is not None and (found := entry_points(group=group, name=name)):
        try:
            return next(iter(found)).load()
        except Exception as error:
            raise StockcastError(f"{shown(name)} cannot be imported: {told(error)}: mend it first.") from error
    if not place or not attribute:
        known = sorted(each.name for each in entry_points(group=group)) if group is not None else []
        more = f", or {shortlist(known)}" if known else ""
        raise StockcastError(f"{shown(name)} names no function: write it as my_module:name or file.py:name{more}.")
    object_: Any = _module(place)
    for part in attribute.split("."):
        if not hasattr(object_, part):
            own = [each for each, value in vars(_module(place)).items() if callable(value) and not each.startswith("_")]
            there = f"it has {shortlist(own)}" if own else "it has none"
            raise StockcastError(f"{shown(place)} has no function {shown(attribute)}: {there}.")
        object_ = getattr(object_, part)
    return object_


def _module(place: str) -> Any:
    path = Path(place)
    try:
        if place.endswith(".py"):
            return _file(path)
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        return importlib.import_module(place)
    except StockcastError:
        raise
    except Exception as error:
        if place.endswith(".py"):
            sys.modules.pop(path.stem, None)
        if isinstance(error, ModuleNotFoundError) and error.name == place.split(".", maxsplit=1)[0]:
            raise StockcastError(
                f"There is no module {shown(place)}: run the command in its folder, or give the file's path."
            ) from None
        raise StockcastError(f"{shown(place)} cannot be imported: {told(error)}: mend it first.") from error


def _file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise StockcastError(f"There is no file {shown(str(path))}: give its path from this folder.")
    if (loaded := sys.modules.get(path.stem)) and getattr(loaded, "__file__", None) == spec.origin:
        return loaded
    module = importlib.util.module_from_spec(spec)
    # What it imports from beside itself is found as if it were run, and so is what it refers to by name.
    sys.path.append(str(path.resolve().parent))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def told(error: BaseException) -> str:
    """An error of the user's code, in a line."""
    words = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
