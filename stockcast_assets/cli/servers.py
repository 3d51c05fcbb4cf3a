"""`stockcast ui`, `stockcast dashboard` and `stockcast mlflow`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.reconcile import at_start
from stockcast_assets.cli.session import open_session, read_settings
from stockcast_assets.cli.terminal import err, warn
from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.home import check_home, make_home, models_database, tables_database, workspace
from stockcast_assets.private_files import whose_path
from stockcast_assets.stopping import expose_children, let_go
from stockcast_assets.web.address import open_when_ready, require_address, url


def _listen(command: str, host: str, port: int, hosts: Sequence[str]) -> None:
    if (warning := require_address(command, host, port, hosts)) is not None:
        warn(warning)


def _tell(text: str) -> None:
    err.print(text, soft_wrap=True)


def _announce(what: str, host: str, port: int, opened: bool = False) -> None:
    """Print the address on a line of its own, and open a browser there once it answers, if that is asked for."""
    _tell(f"{what} (it takes some seconds to start; Ctrl-C ends it):")
    print(url(host, port), flush=True)  # noqa: T201
    if opened:
        open_when_ready(host, port)


def ui(host: str, port: int, read_only: bool, opened: bool = False, elsewhere: Path | None = None) -> None:
    """Serve the Dagster UI, with the daemon and the code location, until it is told to stop; `opened` in a browser.

    `elsewhere` is a workspace file of a code location that runs elsewhere, as the daemon then does, too.

    Raises:
        StockcastError: if the address cannot be used, there is no such workspace, a daemon is running on the home, or a
            process ends by itself.
    """
    # Before anything is opened or started.
    _listen("ui", host, port, read_settings().allowed_hosts)
    if elsewhere is not None and not elsewhere.is_file():
        raise StockcastError(
            f"{elsewhere} is no workspace file of Dagster: name one that says where the code location answers, or "
            "leave --workspace out to start one."
        )
    with open_session(Invocation()) as session:
        from stockcast_assets.web.dagster_ui import dagster_ui, wait

        expose_children()
        hosts = session.settings.allowed_hosts
        at_start(session, read_only)
        alone = elsewhere is not None
        with dagster_ui(session.instance, elsewhere or workspace(), host, port, hosts, read_only, alone) as started:
            _announce("Dagster UI", host, port, opened)
            wait(started)


def dashboard(host: str, port: int, opened: bool = False) -> None:
    """Serve the dashboard until interrupted; `opened` in a browser.

    Raises:
        StockcastError: if the address cannot be used, or others may write Streamlit's settings where one stands.
    """
    for path in (Path(".streamlit"), Path(".streamlit/config.toml"), Path(".streamlit/secrets.toml")):
        if (why := whose_path(path)) is not None:
            raise StockcastError(
                f"{path.absolute()} {why}, and Streamlit would take settings from it: work in another folder."
            )
    from stockcast_assets.dashboard.run import own_hosts, serve

    settings = read_settings()
    _listen("dashboard", host, port, own_hosts(settings))
    check_home(settings)
    if (database := tables_database(settings)) is not None:
        database.check()
    if os.path.lexists(settings.home):
        make_home(settings)
    _announce("Dashboard", host, port, opened)
    serve(settings, port=port, host=host)


def mlflow(host: str, port: int) -> None:
    """Become MLflow's server on the models of the settings; its pages fill as models are trained.

    Raises:
        StockcastError: if the models are on a tracking server, or the address cannot be used.
    """
    settings = read_settings()
    if settings.mlflow_tracking_uri.startswith("http"):
        raise StockcastError(
            f"The models are on the tracking server of STOCKCAST_MLFLOW_URI: open {settings.mlflow_uri} in a browser."
        )
    _listen("mlflow", host, port, settings.allowed_hosts)
    check_home(settings)
    if (database := models_database(settings)) is not None:
        database.check()
    make_home(settings)
    if settings.mlflow_uri is None:
        from stockcast_assets.tracking.rehome import follow

        follow(settings.home / "mlflow.db", settings.artifacts)
    if settings.mlflow_uri is None and not (settings.home / "mlflow.db").exists():
        _tell(
            f"There is no model in {settings.home} yet: `stockcast demo` or `stockcast forecast MSFT` trains one, and "
            "it will appear here."
        )
    _announce("MLflow", host, port)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "stockcast", "--workers", "1"),
        *("--host", host, "--port", str(port)),
    ]
    from stockcast_assets.web.mlflow_ui import protection

    environment = {
        # Not on the command line, which every account of this machine can read: an address may hold a password.
        "MLFLOW_BACKEND_STORE_URI": settings.mlflow_tracking_uri,
        "MLFLOW_ARTIFACTS_DESTINATION": os.environ.get("MLFLOW_ARTIFACTS_DESTINATION") or str(settings.artifacts),
        # Its scheduler of jobs, which nothing here asks for, is a second process that imports MLflow.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        **protection(settings.allowed_hosts),
    }
    let_go()
    os.execve(sys.executable, command, {**os.environ, **environment})
