"""Logs for machines: a JSON document a line, with the keys of Dagster's `--log-format json`, and without secrets."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from stockcast_assets.masking import redact

_OF_A_RUN = ("run_id", "job_name", "step_key")


class JsonLines(logging.Formatter):
    """`timestamp` (UTC), `level`, `logger` and `event` (the message); `run_id`, `job_name` and `step_key` of a run; the
    `exception` of an error."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact(record.getMessage()),
        }
        told = getattr(record, "dagster_meta", None) or {}
        line |= {key: told[key] for key in _OF_A_RUN if told.get(key) is not None}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = redact("".join(traceback.format_exception(*record.exc_info)))
        # In ASCII: a line ends nowhere but at its end, whatever signs are taken for an end of one.
        return json.dumps(line)


def handler() -> logging.Handler:
    """To stderr, a document a line."""
    made = logging.StreamHandler(sys.stderr)
    made.setFormatter(JsonLines())
    return made


def write_json() -> None:
    """Let all that this process logs from now on be JSON, also by what has set its own handlers up already."""
    root = logging.getLogger()
    named = (logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger))
    for logger in (root, *named):
        for each in logger.handlers:
            if isinstance(each, logging.StreamHandler):
                each.setFormatter(JsonLines())
    if not root.handlers:
        root.addHandler(handler())
        root.setLevel(logging.WARNING)
