"""`stockcast doctor` finds what is out of order, says how to mend it, and what it says mends it."""

import json
import shlex
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from typer.testing import CliRunner

from stockcast_assets.cli.app import app
from stockcast_assets.clock import utc_now
from stockcast_assets.operations import doctor
from stockcast_assets.operations.doctor import Finding, examine
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.orchestration.planning.ranges import add_tickers
from stockcast_assets.settings import Address, Settings

PARTS = {
    *("settings", "versions", "home", "disk", "permissions", "instance", "queue", "clock"),
    *("warehouse", "mlflow", "source", "calendars"),
}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    made = make_settings(automation=False, calendars="XNYS")
    with open_instance(made) as instance:
        add_tickers(instance, ["MSFT"])
    return made


@dg.job
def nothing() -> None: ...


def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.part: finding for finding in examine(settings, [])}


def test_a_home_in_order_is_told_so(settings: Settings) -> None:
    found = findings(settings)
    assert set(found) == PARTS
    assert [finding for finding in found.values() if finding.state != "ok"] == []


def test_each_part_that_is_out_of_order_is_found_and_hides_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.database.write_bytes(b"no warehouse")
    with open_instance(settings) as instance:
        add_tickers(instance, ["VOD.L"])
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: (0, 0, 10**8))
    away = settings.model_copy(update={"mlflow_uri": Address("http://127.0.0.1:9")})
    found = findings(away)
    assert {part for part, finding in found.items() if finding.state == "fault"} == {
        *("warehouse", "calendars", "disk", "mlflow", "clock"),
    }
    assert all(finding.mend for finding in found.values() if finding.state != "ok")
    # What it says mends it.
    assert found["calendars"].mend == "STOCKCAST_CALENDARS=XNYS,XLON"
    again = findings(settings.model_copy(update={"calendars": ("XNYS", "XLON")}))
    assert again["calendars"].state == "ok"


def test_a_home_that_others_may_read_is_closed_by_the_command_it_names(settings: Settings) -> None:
    settings.home.chmod(0o755)
    patient = doctor._Patient(settings, [])
    found = doctor._permissions(patient)
    assert found.state == "warning"
    subprocess.run(shlex.split(found.mend), check=True)
    assert doctor._permissions(patient).state == "ok"


def test_runs_that_wait_without_a_daemon_and_a_clock_that_was_ahead(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("stockcast"), "__repository__")
    with open_instance(settings) as instance:
        instance.create_run_for_job(
            nothing,
            status=dg.DagsterRunStatus.QUEUED,
            remote_job_origin=repository.get_job_origin("nothing"),
            job_code_origin=dg.reconstructable(nothing).get_python_origin(),
        )
    found = findings(settings)
    assert (found["queue"].state, found["clock"].state) == ("fault", "ok")
    assert "1 runs wait; the daemon does not run" in found["queue"].found
    monkeypatch.setattr(doctor, "utc_now", lambda: utc_now() - timedelta(hours=5))
    assert "5.0 hours in the future" in findings(settings)["clock"].found


def test_the_command_says_it_in_json_and_by_its_status(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKCAST_HOME", str(settings.home))
    monkeypatch.setenv("STOCKCAST_SOURCE", "sample")
    monkeypatch.setenv("STOCKCAST_TICKRES", "MSFT")
    well = CliRunner().invoke(app, ["--json", "doctor"])
    told = json.loads(well.stdout)
    assert (well.exit_code, told["well"]) == (0, True)
    assert {part["part"] for part in told["parts"]} == PARTS
    # A name that is no setting is pointed out with what was meant.
    assert "did you mean STOCKCAST_TICKERS" in next(p["found"] for p in told["parts"] if p["part"] == "settings")
    Path(settings.database).write_bytes(b"no warehouse")
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1
