"""Whatever others write into tags, events, cursors and states, every tick goes on and no other ticker notices."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import time_machine
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.storage import tags as dagster_tags
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stockcast_assets.clock import utc_now
from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import FIRST_KEY, LAST_KEY, Key, parse_daily_key, parse_key, partition_key
from stockcast_assets.orchestration import tags, ticker_space
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.fence import understood
from stockcast_assets.orchestration.planning.tuned import tuned_parameters
from stockcast_assets.orchestration.sensors.alerts import failed_ticks
from stockcast_assets.orchestration.sensors.revisions import revisions
from stockcast_assets.orchestration.ticker_space import DAILY, KEY_SPACE, SEEN, STATE, Record
from stockcast_assets.orchestration.tickers import set_daily_from, set_state, ticker_states
from stockcast_assets.settings import Settings

NIGHT = datetime(2013, 2, 16, 0, 30, tzinfo=UTC)
SENSORS = ("ticker_lifecycle", "daily_catch_up", "csv_inbox", "revisions", "retraining", "alerts", "configured_tickers")

NO_KEYS = ("2013-02-30|AAPL", "2013-02-15|aapl", "0001-01-01|AAPL", "9999-12-31|AAPL", "20130215|AAPL", "2013-02-15|",
           "|AAPL", "2013-02-15|AAPL|IBM", "٢٠١٣-٠٢-١٥|AAPL", "2013-02-15 |AAPL", "[", "{}",
           "2013-02-15|AAPL...IBM")  # fmt: skip
no_key = st.one_of(
    st.sampled_from(NO_KEYS), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
)
junk = st.recursive(
    st.one_of(no_key, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(("ticker", "first", "last", "history", "state", "since", "from", "uploaded", "repairs",
                             "cursor", "subjects", "day", "looked_at", "fingerprint", "until", "x")),
            inner, max_size=5,
        ),
    ),
    max_leaves=6,
)  # fmt: skip


@given(
    st.from_regex(r"[A-Z0-9^][A-Z0-9^=-]{0,7}(\.[A-Z]{1,2})?", fullmatch=True),
    st.dates(FIRST_KEY, LAST_KEY),
)
def test_a_key_is_read_as_it_was_written(ticker: str, day: date) -> None:
    assert parse_key(partition_key(ticker, day)) == Key(ticker, day)
    assert parse_daily_key(partition_key(ticker, day)) == (ticker, day)
    assert parse_key(ticker) == Key(ticker)


@given(no_key)
def test_what_is_read_as_a_key_is_written_the_same_and_the_rest_is_told_in_one_line(text: str) -> None:
    told: list[str] = []
    key = understood(parse_key, text, "A text", told.append)
    if key is not None:
        assert text == (key.ticker if key.day is None else partition_key(key.ticker, key.day))
    else:
        assert [line for line in told if "\n" in line or len(line) > 400] == []
        assert bool(told) == bool(text)


@pytest.mark.parametrize("text", NO_KEYS)
def test_no_key_is_a_stockcast_error_that_says_what_a_key_is(text: str) -> None:
    with pytest.raises(StockcastError, match=r"write .*2024-05-31\|AAPL"):
        parse_daily_key(text)


def test_dagsters_tags_are_spelt_as_dagster_spells_them() -> None:
    assert tags.RANGE_START == dagster_tags.ASSET_PARTITION_RANGE_START_TAG
    assert tags.RANGE_END == dagster_tags.ASSET_PARTITION_RANGE_END_TAG
    assert tags.PARTITION == dagster_tags.PARTITION_NAME_TAG
    assert tags.PRIORITY == dagster_tags.PRIORITY_TAG


class Home:
    """AAPL, whose next day is due, and IBM, of which anything may be stored."""

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.defs, self.instance = defs, instance
        instance.add_dynamic_partitions("ticker", ["AAPL", "IBM"])
        for ticker in ("AAPL", "IBM"):
            set_daily_from(instance, ticker, "", date(2013, 2, 14), uploaded=False)
            self.materialised("trained_model", f"2013-02-01|{ticker}")

    def materialised(self, asset: str, key: str) -> None:
        self.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))

    def failed_run(self, **labels: str) -> None:
        run_id, status = make_new_run_id(), dg.DagsterRunStatus.FAILURE
        self.instance.add_run(dg.DagsterRun(job_name="daily_forecast", run_id=run_id, tags=labels, status=status))

    def ticks(self, cursor: str | None = None) -> dict[str, Any]:
        """One tick of everything at the moment when AAPL's day is due: what each asks for, or why not."""
        found = {}
        for name in ("daily_forecast", "monthly_training"):
            context = dg.build_schedule_context(self.instance, scheduled_execution_time=NIGHT)
            found[name] = self.defs.resolve_schedule_def(name).evaluate_tick(context)
        for name in SENSORS:
            with dg.build_sensor_context(
                self.instance, cursor=cursor, definitions=self.defs, resources=self.defs.resources
            ) as context:
                found[name] = self.defs.resolve_sensor_def(name).evaluate_tick(context)
        return found


@pytest.fixture
def home(make_settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "dagster").mkdir()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance,
        time_machine.travel(NIGHT, tick=True),
    ):
        yield Home(build_definitions(make_settings()), instance)


def json_of(written: Any) -> dg.MetadataValue:
    """As metadata: what JSON has is JSON, and the rest a text."""
    return dg.MetadataValue.json(written) if isinstance(written, dict | list) else dg.MetadataValue.text(str(written))


def asked(data: Any) -> set[str]:
    return {request.tags[tags.RANGE_START] for request in data.run_requests or []}


@settings(max_examples=4, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bad=st.lists(no_key, min_size=5, max_size=5),
    state=junk,
    event=junk,
    cursor=st.one_of(junk.map(json.dumps), no_key),
)
def test_no_junk_stops_a_tick_or_another_ticker(
    home: Home, bad: list[str], state: Any, event: Any, cursor: str
) -> None:
    """Example after example is written into the same home, so that all of it has to be borne together."""
    instance = home.instance
    names = (tags.RANGE_START, tags.RANGE_END, tags.STAGE, tags.LATE, tags.REPAIR)
    home.failed_run(**dict(zip(names, bad, strict=True)))
    home.failed_run(**{tags.PARTITION: bad[0] or "x", tags.STAGE: "daily", tags.LATE: bad[3]})
    for asset in ("raw_prices", "forecast_accuracy", "trained_model", "price_history"):
        home.materialised(asset, bad[0] or "x")
    instance.add_dynamic_partitions("ticker", [bad[1] or "x"])
    ticker_space.put(instance, [Record(STATE, "IBM", state), Record(DAILY, "IBM", event), Record(SEEN, "IBM", event)])
    instance.add_dynamic_partitions(KEY_SPACE, [bad[2] or "x", cursor])
    metadata = {"touched": json_of(event), "revisions": json_of(state)}
    instance.report_runless_asset_event(dg.AssetObservation("raw_prices", metadata=metadata))
    found = {"parameters for the next training": json_of(event)}
    instance.report_runless_asset_event(dg.AssetMaterialization("tuning", partition="IBM", metadata=found))
    assert "2013-02-15|AAPL" in asked(home.ticks(cursor)["daily_forecast"])
    revisions(instance)
    tuned_parameters(instance, ["IBM"])


@pytest.mark.parametrize(
    "labels",
    [
        {tags.RANGE_START: "2013-02-30|AAPL", tags.RANGE_END: "2013-02-28|AAPL"},
        {tags.RANGE_START: "2013-02-15|IBM", tags.RANGE_END: "2013-02-15|AAPL"},
    ],
    ids=["no day", "backwards"],
)
def test_a_run_that_is_not_understood_is_left_out_with_a_line_in_the_tick(home: Home, labels: dict[str, str]) -> None:
    home.failed_run(**{tags.STAGE: "daily", **labels})
    ticks = home.ticks()
    assert "2013-02-15|AAPL" in asked(ticks["daily_forecast"])
    told = f"The run {home.instance.get_runs()[0].run_id[:8]} cannot be understood and is left out"
    assert told in str(ticks["monthly_training"].skip_message)


def test_a_late_tag_that_names_nobody_of_the_run_is_a_failure_of_all(home: Home) -> None:
    start, end = "2013-02-15|AAPL", "2013-02-15|IBM"
    home.failed_run(**{tags.RANGE_START: start, tags.RANGE_END: end, tags.STAGE: "daily", tags.LATE: "TYPO"})
    ticks = home.ticks()
    assert asked(ticks["daily_forecast"]) == set()
    assert "failed (run" in str(ticks["daily_forecast"].skip_message)


def test_an_unreadable_state_pauses_its_ticker_and_resuming_is_the_remedy(home: Home) -> None:
    ticker_space.put(home.instance, [Record(STATE, "IBM", {"state": "active", "since": 3})])
    states = ticker_states(home.instance, ["AAPL", "IBM"])
    assert (states["AAPL"].state, states["IBM"].state) == ("active", "paused")
    assert "`stockcast tickers resume IBM`" in states["IBM"].reason
    set_state(home.instance, "IBM", "active")
    assert ticker_states(home.instance, ["IBM"])["IBM"].is_new


def test_a_tick_that_failed_is_told(tmp_path: Path) -> None:
    """Dagster's own daemon records the tick of a sensor that raises."""
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import dagster as dg\n"
        "@dg.sensor(job_name='never', default_status=dg.DefaultSensorStatus.RUNNING)\n"
        "def nightly(context):\n    raise ValueError('no such table')\n"
        "@dg.job\ndef never(): ...\n"
        "defs = dg.Definitions(jobs=[never], sensors=[nightly])\n"
    )
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, python_file=str(broken)), "broken"
    )
    (tmp_path / "home").mkdir()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
    ):
        before = utc_now() - pd.Timedelta(seconds=1)
        list(execute_sensor_iteration(workspace, logging.getLogger("daemon"), None, None))
        (problem,) = failed_ticks(instance, before)
        assert problem.words.startswith("A tick of the sensor nightly failed: ")
        assert "no such table" in problem.words
        assert failed_ticks(instance, utc_now() + pd.Timedelta(days=1)) == []
