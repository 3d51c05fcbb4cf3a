"""`stockcast doctor`: is everything that stockcast stands on in order."""

from dataclasses import asdict

import typer
from rich.text import Text

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import quiet, settings_and_warnings
from stockcast_assets.cli.tables import print_json
from stockcast_assets.cli.terminal import err, out, styled
from stockcast_assets.operations.doctor import Finding, examine

_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "red")}


def run(call: Invocation) -> None:
    """Print what was found of each part; exit status 1 if one does not work."""
    if not call.debug:
        quiet()
    found = []
    for finding in examine(*settings_and_warnings()):
        found.append(finding)
        if not call.as_json:
            out.print(_line(finding), soft_wrap=True)
            if finding.mend:
                out.print(f"    {finding.mend}", soft_wrap=True)
    faults = [finding for finding in found if finding.state == "fault"]
    if call.as_json:
        print_json({"well": not faults, "parts": [asdict(finding) for finding in found]})
    elif faults:
        err.print(f"{len(faults)} of {len(found)} parts do not work.")
    if faults:
        raise typer.Exit(1)


def _line(finding: Finding) -> Text:
    return styled(_SIGNS[finding.state], f" {finding.part}: ", (finding.found, "dim"))
