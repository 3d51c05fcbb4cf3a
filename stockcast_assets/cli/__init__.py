"""The command line: a thin layer over the definitions. Commands plan and print; Dagster runs do the work."""

from stockcast_assets.cli.app import main

__all__ = ["main"]
