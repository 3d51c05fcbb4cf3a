"""`stockcast backup` and `stockcast restore`: a home in one file, and back."""

from pathlib import Path
from shlex import quote

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import quiet
from stockcast_assets.cli.tables import print_json
from stockcast_assets.cli.terminal import err, warn
from stockcast_assets.operations import backup
from stockcast_assets.settings import load_settings


def back_up(call: Invocation, file: Path) -> None:
    """Write the home into a file, and print what is in it and what is kept elsewhere.

    Raises:
        StockcastError: if there is no home, or the file cannot be written.
    """
    if not call.debug:
        quiet()
    settings = load_settings()
    with err.status(f"Backing up {settings.home} …"):
        manifest = backup.back_up(settings, file.absolute())
    if call.as_json:
        print_json({"file": str(file.absolute()), **_counted(manifest)})
        return
    for name, how in dict(manifest["elsewhere"]).items():  # type: ignore[call-overload]
        warn(f"{name} are not in it, but in {how}.")
    files = dict(manifest["files"])  # type: ignore[call-overload]
    err.print(f"{len(files)} files of {settings.home} are in {file.absolute()}.", soft_wrap=True)
    err.print(
        f"To put it back: STOCKCAST_HOME=EMPTY_FOLDER stockcast restore {quote(str(file.absolute()))}", soft_wrap=True
    )


def restore(call: Invocation, file: Path) -> None:
    """Put a backup into STOCKCAST_HOME, where nothing may be yet.

    Raises:
        StockcastError: if something is there, or the file is no whole backup.
    """
    settings = load_settings()
    with err.status(f"Restoring {settings.home} …"):
        manifest = backup.restore(file, settings.home)
    if call.as_json:
        print_json({"home": str(settings.home), **_counted(manifest)})
        return
    files = dict(manifest["files"])  # type: ignore[call-overload]
    err.print(f"{len(files)} files of {manifest['made']} are in {settings.home}.", soft_wrap=True)


def _counted(manifest: dict[str, object]) -> dict[str, object]:
    return {**manifest, "files": len(dict(manifest["files"]))}  # type: ignore[call-overload]
