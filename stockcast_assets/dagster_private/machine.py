"""Which machine a run is of, where a command executes it in its own process."""

import socket

MACHINE_TAG = "stockcast/machine"
"""On runs that a command executes in its own process: the machine it runs on."""


def this_machine() -> dict[str, str]:
    """The tags of a run that is executed in this process."""
    return {MACHINE_TAG: socket.gethostname()}
