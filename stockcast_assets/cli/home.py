"""`stockcast home`: what is stored on this machine."""

import os
from dataclasses import asdict
from pathlib import Path
from shlex import quote

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.tables import print_json, print_table
from stockcast_assets.cli.terminal import err
from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.cleaning import clean_home
from stockcast_assets.orchestration.home import check_files, open_instance
from stockcast_assets.private_files import make_private
from stockcast_assets.settings import load_settings


def clean_secrets(call: Invocation, dry_run: bool) -> None:
    """Mask the secrets that older releases stored in the home, and print where they were.

    Raises:
        StockcastError: if there is no home, or a database of it is damaged or in use.
    """
    settings = load_settings()
    check_files(settings)
    if not settings.home.is_dir():
        raise StockcastError(f"There is no home at {settings.home}: name it with STOCKCAST_HOME.")
    make_private(settings.home)
    found = clean_home(settings.home, dry_run)
    if call.as_json:
        print_json({"home": str(settings.home), "dry_run": dry_run, "files": [asdict(each) for each in found]})
        return
    if not found:
        err.print(f"No secret is stored in {settings.home}.", soft_wrap=True)
        return
    title = "Secrets stored in" if dry_run else "Secrets masked in"
    print_table(f"{title} {settings.home}", ["file", "values"], [[each.file, each.values] for each in found])
    err.print(
        "Whoever could read the home or reach the Dagster UI may have them: make new keys and passwords, and withdraw "
        "the old ones.",
        soft_wrap=True,
    )


def move_history(call: Invocation, source: Path | None) -> None:
    """Copy what Dagster remembers of a home into the PostgreSQL that DAGSTER_HOME names, and print what moved.

    Raises:
        StockcastError: if there is none, runs are under way, or the database is not an empty one.
    """
    from stockcast_assets.dagster_private.history import move_history as move

    settings = load_settings()
    source = source or settings.dagster_home
    with open_instance(settings) as instance:
        moved = move(source, instance)
    if call.as_json:
        print_json({"from": str(source), "rows": moved, "stays": "the log of each run"})
        return
    print_table(f"Moved from {source}", ["table", "rows"], [[name, rows] for name, rows in moved.items() if rows])
    err.print(
        f"The log of each run stays in {source / 'history' / 'runs'}: DAGSTER_HOME={quote(str(source))} shows it.",
        soft_wrap=True,
    )


def move_models(call: Invocation) -> None:
    """Copy the home's models into the database and the place for files that MLflow's server has, and print what moved.

    Raises:
        StockcastError: if the settings name no such database, or as `tracking.move.move_models` does.
    """
    settings = load_settings()
    if settings.mlflow_uri is None or settings.mlflow_tracking_uri.startswith("http"):
        raise StockcastError(
            "Models move into the database of MLflow's server: set STOCKCAST_MLFLOW_URI to its address "
            "(postgresql://…) and MLFLOW_ARTIFACTS_DESTINATION to its bucket, as the server has them."
        )
    destination = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION")
    if not destination:
        raise StockcastError(
            "MLflow's server keeps files of models in a place of its own: set MLFLOW_ARTIFACTS_DESTINATION to it "
            "(gs://bucket/prefix), as the server has it."
        )
    from stockcast_assets.tracking.move import move_models as move

    source = settings.home / "mlflow.db"
    with err.status("Moving models …"):
        moved = move(source, settings.artifacts.absolute(), settings.mlflow_tracking_uri, destination)
    files = moved.pop("files")
    if call.as_json:
        print_json({"from": str(source), "to": destination, "files": files, "rows": moved})
        return
    print_table(f"Moved from {source}", ["table", "rows"], [[name, rows] for name, rows in moved.items() if rows])
    err.print(f"{files} files are below {destination} now.", soft_wrap=True)
