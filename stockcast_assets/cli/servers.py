"""`stockcast ui` and `stockcast dashboard`."""

import os
import sys

from stockcast_assets.cli.session import open_session
from stockcast_assets.instance import dagster_home
from stockcast_assets.settings import load_settings


def ui(host: str, port: int) -> None:
    """Become `dagster dev` (webserver and daemon) on the home of the settings."""
    with open_session(debug=False) as session:
        home = dagster_home(session.settings)
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-m",
        "stockcast_assets.definitions",
        "-h",
        host,
        "-p",
        str(port),
    ]
    os.execve(sys.executable, command, {**os.environ, "DAGSTER_HOME": str(home)})


def dashboard(host: str, port: int) -> None:
    """Serve the dashboard until interrupted."""
    from stockcast_assets.dashboard.run import serve

    serve(load_settings(), port=port, host=host)
