"""`stockcast worker`: execute runs that the daemon hands to Celery."""

import os
import socket

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.errors import StockcastError
from stockcast_assets.stopping import expose_children, let_go


def worker(runs_at_once: int, queue: str) -> None:
    """Execute runs until it is told to stop; a run that is under way is finished first.

    Raises:
        StockcastError: if the instance's runs are launched otherwise, or the packages are not installed.
    """
    with open_session(Invocation()) as session:
        try:
            from stockcast_assets.dagster_private.celery_launcher import log_as_this_process, worker_app
        except ModuleNotFoundError as error:
            raise StockcastError(
                "A worker needs packages that are not installed: `pip install 'stockcast-assets[deploy]'`."
            ) from error
        app = worker_app(session.instance)
        if session.settings.log_format == "json":
            log_as_this_process()
    if app is None:
        raise StockcastError(
            "The runs of this instance are not launched on Celery, so there is nothing to do for a worker: set "
            "DAGSTER_HOME to a folder whose dagster.yaml is that of deploy/celery."
        )
    expose_children()
    let_go()
    name = f"{queue}-{os.getpid()}@{socket.gethostname()}"
    options = ["--concurrency", str(runs_at_once), "--queues", queue, "--hostname", name, "--loglevel", "INFO"]
    app.worker_main(["worker", *options, "--without-gossip", "--without-mingle"])
