"""The command line: a thin layer over the definitions. Commands plan and print; Dagster runs do the work."""

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point. Where packages are missing, one sentence says how to have them."""
    try:
        from stockcast_assets.cli import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("stockcast_assets"):
            raise
        sys.exit(f"error: The command line needs {error.name}, which is not installed: pip install stockcast-assets.")
    app.main()
