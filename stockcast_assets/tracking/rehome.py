"""MLflow keeps the whole path of every file: here the paths follow a home that was moved, copied or restored."""

import sqlite3
from contextlib import closing
from pathlib import Path

OURS = "stockcast"
"""What the names of our experiments begin with."""

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
"""Tables and columns of MLflow's database that say where files are."""


def follow(database: Path, artifacts: Path) -> None:
    """Let the database of a home name the home's own `artifacts`, wherever they were when the paths were stored.

    Only the folders of our own experiments are renamed, and only those that were called as `artifacts` is. The files
    are not looked at: where the home came from is another home now, or none. Done in one transaction, and nothing is
    written where nothing was moved.

    Args:
        database: MLflow's SQLite file; it need not exist yet.
        artifacts: the folder of the files, absolute.
    """
    if not database.is_file():
        return
    place = artifacts.absolute().as_uri()
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        there = {
            (table, column)
            for table, _ in PLACES
            for _, column, *_ in connection.execute(f"PRAGMA table_info('{table}')")
        }
        if PLACES[0] not in there:
            return
        found = connection.execute(
            "SELECT DISTINCT artifact_location FROM experiments WHERE substr(name, 1, ?) = ?", (len(OURS), OURS)
        ).fetchall()
        for (old,) in found:
            if old == place or not str(old).startswith("file:") or not str(old).endswith(f"/{artifacts.name}"):
                continue
            for table, column in PLACES:
                if (table, column) in there:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (place, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
