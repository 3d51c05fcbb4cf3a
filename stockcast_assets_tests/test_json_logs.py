"""Logs as JSON: a document a line, its keys, and no secret in it."""

import json
import logging
import subprocess
import sys

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets import json_logs, masking
from stockcast_assets.dagster_private import console
from stockcast_assets_tests.canaries import found_in
from stockcast_assets_tests.conftest import Cli, clean_env

KEYS = {"timestamp", "level", "logger", "event"}
CANARY = "canary,word of the logs"


@given(st.text(), st.sampled_from([logging.INFO, logging.ERROR]))
def test_whatever_is_said_is_one_line_and_one_document(text: str, level: int) -> None:
    record = logging.LogRecord("some.name", level, __file__, 1, "%s", (text,), None)
    line = json_logs.JsonLines().format(record)
    assert len(line.splitlines()) == 1
    told = json.loads(line)
    assert set(told) == KEYS
    assert told["event"] == masking.redact(text)
    assert told["level"] == logging.getLevelName(level).lower()


def test_no_secret_is_in_a_line_though_an_error_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_known", {})
    masking.remember([CANARY])
    try:
        raise ValueError(f"refused: {CANARY}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "with %s", (CANARY,), sys.exc_info())
    line = json_logs.JsonLines().format(record)
    assert not found_in(line.encode(), CANARY)
    told = json.loads(line)
    assert "ValueError: refused: ***" in told["exception"]
    # The control: it would be found.
    monkeypatch.setattr(masking, "_known", {})
    assert found_in(json_logs.JsonLines().format(record).encode(), CANARY)


@dg.op
def speaks(context: dg.OpExecutionContext) -> None:
    context.log.info("a word")


@dg.job
def speaking() -> None:
    speaks()


def test_a_run_writes_what_it_logs_as_documents_that_name_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from dagster import _loggers

    monkeypatch.setattr(_loggers, "create_console_logger", _loggers.create_console_logger)
    console.write_json()
    with dg.DagsterInstance.ephemeral() as instance:
        result = speaking.execute_in_process(instance=instance)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    said = [line for line in lines if "a word" in line["event"]]
    assert [(line["run_id"], line["job_name"], line["step_key"]) for line in said] == [
        (result.run_id, "speaking", "speaks")
    ]
    assert all(set(line) <= {*KEYS, "run_id", "job_name", "step_key", "exception"} for line in lines)


def test_the_code_location_writes_documents_where_the_setting_asks_for_them(demo: Cli) -> None:
    """As deploy/compose.yaml starts it: what Dagster has set up before it loads the definitions is ours afterwards."""
    script = """
import logging
from dagster._utils.log import configure_loggers
configure_loggers(formatter="colored")
from stockcast_assets.definitions import defs
from dagster import _loggers
logging.getLogger("dagster.code_server").warning("loaded")
_loggers.create_console_logger("dagster", "INFO").info("of a run")
"""
    said = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_env()
        | {"STOCKCAST_HOME": str(demo.home), "STOCKCAST_SOURCE": "sample", "STOCKCAST_LOG_FORMAT": "json"}
        | {"DAGSTER_HOME": str(demo.home / "dagster")},
        capture_output=True,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in (said.stdout + said.stderr).splitlines()]
    assert {"loaded", "of a run"} == {line["event"] for line in told}


OF_A_WORKER = """
import logging
import sys

from celery import Celery

from stockcast_assets import json_logs
from stockcast_assets.dagster_private.celery_launcher import log_as_this_process

json_logs.write_json()
log_as_this_process()
Celery(broker="memory://").log.setup("INFO", redirect_stdouts=True)
logging.getLogger("celery.worker").info("received")
sys.stderr.write('{"event": "of a run"}\\n')
"""


def test_a_worker_writes_documents_and_none_within_another() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OF_A_WORKER], capture_output=True, text=True, timeout=120, check=True, env=clean_env()
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["received", "of a run"], done.stderr
    assert lines[0]["level"] == "info"
