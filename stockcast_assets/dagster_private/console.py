"""What a run logs to its console, as JSON: Dagster has no setting for it beside the configuration of each run."""

import logging

from dagster import _loggers

from stockcast_assets.json_logs import handler


def _json_logger(name: str, level: str | int) -> logging.Logger:
    made = logging.getLoggerClass()(name, level=level)
    made.addHandler(handler())
    return made


def write_json() -> None:
    """Give the runs of this process a console logger of ours in the place of the coloured one."""
    _loggers.create_console_logger = _json_logger  # type: ignore[attr-defined]
