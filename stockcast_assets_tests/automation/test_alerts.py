"""Alerts reach real servers once per subject, and no secret reaches a log."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from apprise.plugins.slack import NotifySlack

from stockcast_assets.errors import StockcastError
from stockcast_assets.orchestration.sensors.alerts import AGAIN, AlertHistory, Problem, build_alerts, failed_runs, send
from stockcast_assets_tests.servers import free_port

NOW = pd.Timestamp("2024-01-10 07:00", tz="UTC")
CHECK = dg.AssetCheckKey(dg.AssetKey("raw_prices"), "fresh")


class Hook:
    """A web hook that keeps what it is sent, or refuses it."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.status == 200:
                    hook.bodies.append(body)
                self.send_response(hook.status)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:secret@127.0.0.1:{self.server.server_port}/path"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def red(instance: dg.DagsterInstance, passed: bool, words: str = "2 of 6 tickers: TSLA ends on …") -> None:
    instance.report_runless_asset_event(dg.AssetCheckEvaluation(CHECK.asset_key, CHECK.name, passed, description=words))


def tick(instance: dg.DagsterInstance, urls: list[str], cursor: str | None) -> tuple[str, str | None]:
    sensor = build_alerts(urls, [CHECK], dg.DefaultSensorStatus.STOPPED)
    data = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
    return str(data.skip_message), data.cursor


def test_a_red_check_is_told_once_until_it_is_green_again(instance: dg.DagsterInstance, hook: Hook) -> None:
    _, cursor = tick(instance, [hook.url], None)
    assert hook.bodies == []
    for passed, told in ((False, 1), (False, 1), (True, 1), (False, 2)):
        red(instance, passed)
        _, cursor = tick(instance, [hook.url], cursor)
        assert len(hook.bodies) == told
    assert hook.bodies[0]["title"] == "stockcast: 1 to look at"
    assert hook.bodies[0]["message"] == "Check raw_prices, fresh: 2 of 6 tickers: TSLA ends on …"


def test_a_failed_run_is_told_with_its_reason_and_the_late_by_name(instance: dg.DagsterInstance, hook: Hook) -> None:
    @dg.asset(name="raw_prices")
    def broken() -> None:
        raise StockcastError("The disk is full: free some space.")

    _, cursor = tick(instance, [hook.url], None)
    job = dg.Definitions(assets=[broken], jobs=[dg.define_asset_job("daily_forecast")]).resolve_job_def(
        "daily_forecast"
    )
    for tags in ({}, {"stockcast/late": "TSLA,VOD.L"}):
        assert not job.execute_in_process(instance=instance, raise_on_error=False, tags=tags).success
    _, cursor = tick(instance, [hook.url], cursor)
    first, second, third = sorted(hook.bodies[0]["message"].splitlines())
    assert first.startswith("TSLA is late at the source for its past")
    assert second.startswith("The run ")
    assert second.endswith("failed: The disk is full: free some space.")
    assert third.startswith("VOD.L is late")
    assert not job.execute_in_process(instance=instance, raise_on_error=False).success
    _, cursor = tick(instance, [hook.url], cursor)
    assert len(hook.bodies) == 1
    assert failed_runs(instance, pd.Timestamp.now("UTC") + pd.Timedelta(days=1)) == []


def test_a_run_whose_process_was_killed_is_told_with_what_the_monitor_found(
    instance: dg.DagsterInstance, hook: Hook
) -> None:
    @dg.job(name="daily_forecast")
    def killed() -> None: ...

    _, cursor = tick(instance, [hook.url], None)
    run = instance.create_run_for_job(killed, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run, "No process of the run is left (pid 7).")
    tick(instance, [hook.url], cursor)
    assert hook.bodies[0]["message"].endswith("failed: No process of the run is left (pid 7).")


def test_a_message_that_is_refused_is_sent_again_and_its_secret_stays_hidden(
    instance: dg.DagsterInstance, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _, cursor = tick(instance, [hook.url], None)
    red(instance, False)
    hook.status = 500
    words, cursor = tick(instance, [hook.url], cursor)
    assert words.startswith("STOCKCAST_ALERTS: the message did not reach json://user:")
    hook.status = 200
    tick(instance, [hook.url], cursor)
    assert len(hook.bodies) == 1
    assert "secret" not in words + caplog.text


def test_slack_is_told(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{hook.server.server_port}")
    send([Problem("check x", "TSLA is stale.")], ["slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"])
    (body,) = hook.bodies
    assert body["channel"] == "#alerts"
    assert body["attachments"][0]["title"] == "stockcast: 1 to look at"
    assert body["attachments"][0]["text"] == "TSLA is stale."


def test_mail_arrives() -> None:
    received: list[str] = []

    class Inbox(Message):
        def handle_message(self, message: object) -> None:
            received.append(str(message))

    controller = Controller(Inbox(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        port = controller.port
        url = f"mailto://127.0.0.1:{port}?from=stockcast@example.com&to=me@example.com&mode=insecure&format=text"
        send([Problem("check x", "TSLA is stale.")], [url])
    finally:
        controller.stop()
    assert "TSLA is stale." in received[0]
    assert "stockcast: 1 to look at" in received[0]


def test_without_a_url_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        send([Problem("check x", "TSLA is stale.")], [])
    assert "alert: TSLA is stale." in caplog.text


def test_a_wrong_url_is_named_by_its_place_only() -> None:
    with pytest.raises(StockcastError, match=r"entry 1 \(nonsense://…\)") as raised:
        send([Problem("x", "y")], ["nonsense://user:secret@host"])
    assert "secret" not in str(raised.value)


def test_what_was_told_survives_a_restart_and_is_told_again_after_a_day() -> None:
    problem = Problem("check raw_prices, fresh", "stale")
    told = AlertHistory.load(AlertHistory(NOW, {problem.subject: NOW}).dump())
    assert told.news([problem, problem], NOW + AGAIN / 2) == []
    assert told.news([problem, problem], NOW + AGAIN) == [problem]
