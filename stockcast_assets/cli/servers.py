"""`stockcast ui`, `stockcast dashboard` and `stockcast mlflow`."""

import os
import sys

from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.terminal import err
from stockcast_assets.dashboard.run import refuse_taken
from stockcast_assets.errors import StockcastError
from stockcast_assets.masking import without_credentials
from stockcast_assets.orchestration.home import dagster_home, workspace
from stockcast_assets.private_files import make_private
from stockcast_assets.settings import load_settings


def ui(host: str, port: int) -> None:
    """Become `dagster dev` (webserver and daemon) on the home of the settings."""
    with open_session(debug=False) as session:
        home = dagster_home(session.settings)
    command = [
        sys.executable,
        # Its successor is a package of its own, which offers nothing that is needed here.
        "-W",
        "ignore:Function `dev_command` is superseded",
        "-m",
        "dagster",
        "dev",
        "-w",
        str(workspace()),
        "-h",
        host,
        "-p",
        str(port),
    ]
    os.execve(sys.executable, command, {**os.environ, "DAGSTER_HOME": str(home)})


def dashboard(host: str, port: int) -> None:
    """Serve the dashboard until interrupted."""
    from stockcast_assets.dashboard.run import serve

    settings = load_settings()
    if settings.home.exists():
        make_private(settings.home)
    serve(settings, port=port, host=host)


def mlflow(host: str, port: int) -> None:
    """Become MLflow's server on the models of the settings; its pages fill as models are trained.

    Raises:
        StockcastError: if the models are on a tracking server, or the address cannot be used.
    """
    settings = load_settings()
    if settings.mlflow_tracking_uri.startswith("http"):
        raise StockcastError(
            f"The models are on the tracking server of STOCKCAST_MLFLOW_URI: open {settings.mlflow_uri} in a browser."
        )
    refuse_taken(host, port, "mlflow")
    make_private(settings.home)
    if settings.mlflow_uri is None and not (settings.home / "mlflow.db").exists():
        err.print(
            f"There is no model in {settings.home} yet: `stockcast demo` or `stockcast forecast MSFT` trains one, and "
            "it will appear here.",
            soft_wrap=True,
        )
    err.print(f"MLflow: http://{host}:{port} (it takes some seconds to start)", soft_wrap=True)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
        "--artifacts-destination",
        str(settings.artifacts),
    ]
    # Its scheduler of jobs, which nothing here asks for, is a second process that imports MLflow.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    store = {}
    if settings.mlflow_tracking_uri == without_credentials(settings.mlflow_tracking_uri):
        command += ["--backend-store-uri", settings.mlflow_tracking_uri]
    else:
        # Everybody on the machine may read a command line.
        store = {"MLFLOW_BACKEND_STORE_URI": settings.mlflow_tracking_uri}
    os.execve(sys.executable, command, {**os.environ, **quiet, **store})
