"""When a model is trained again: the decision with its reason, and the run the sensor asks for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import time_machine
from dagster._core.utils import make_new_run_id

from stockcast_assets.market import calendars
from stockcast_assets.orchestration import tags
from stockcast_assets.orchestration.asset_checks.thresholds import SCORED, WINDOW, coverage, pinball_ratio, skill_ratio
from stockcast_assets.orchestration.build import warehouse_from
from stockcast_assets.orchestration.jobs import build_jobs
from stockcast_assets.orchestration.partitions import daily_partitions, monthly_partitions
from stockcast_assets.orchestration.planning.world import Universe
from stockcast_assets.orchestration.sensors.retraining import COOL_DOWN, Signals, build_retraining, reason_to_retrain
from stockcast_assets.orchestration.tickers import set_daily_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import TRAINED_MODEL

DAY, TRAINED = date(2024, 5, 22), date(2024, 4, 30)


def outcomes(
    inside: float = 0.8, ratio: float = 1.0, sessions: int = SCORED, beside_har: float | None = None, without: int = 0
) -> pd.DataFrame:
    """Scores of two horizons: a share of them inside, squared errors a multiple of naive's.

    With `beside_har` the pinball loss is that multiple of HAR's, which is not known of the first sessions `without` it.
    """
    days = pd.bdate_range("2024-01-02", periods=sessions)
    rng = np.random.default_rng(0)
    parts = []
    for horizon in (1, 2):
        naive = rng.normal(size=sessions) * horizon
        hits = np.arange(sessions) < round(inside * sessions)
        parts.append(
            pd.DataFrame(
                {
                    "date": days,
                    "horizon": horizon,
                    "error": naive * ratio**0.5,
                    "naive_error": naive,
                    "inside_80": hits if horizon == 1 else True,
                }
            )
        )
        if beside_har is not None:
            har = np.where(np.arange(sessions) < without, np.nan, rng.uniform(0.5, 1, sessions))
            parts[-1] = parts[-1].assign(pinball=beside_har * np.nan_to_num(har, nan=1.0), pinball_har=har)
    return pd.concat(parts, ignore_index=True)


NO_DRIFT = dict.fromkeys(("inputs", "residuals"), (False,) * WINDOW)
QUIET = Signals(
    DAY,
    TRAINED,
    sessions_since=16,
    drifted=NO_DRIFT,
    errors=outcomes(),
)


def test_nothing_is_trained_while_all_is_quiet() -> None:
    assert reason_to_retrain(QUIET) is None
    assert reason_to_retrain(replace(QUIET, errors=None, drifted={})) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"drifted": {"inputs": (False,) * 10 + (True,) * 10}},
            "10 of the last 20 drift reports found drift of in",
        ),
        ({"drifted": {"residuals": (True,) * WINDOW}}, "20 of the last 20 drift reports found drift of residuals"),
        ({"errors": outcomes(inside=0.6)}, "the 80 % interval covered 60% of the last 60 sessions"),
        ({"errors": outcomes(inside=1.0)}, "the 80 % interval covered 100% of the last 60 sessions"),
        ({"errors": outcomes(ratio=1.5)}, "squared error was 1.50 times that of the random walk"),
        ({"errors": outcomes(beside_har=1.06)}, "pinball loss was 1.060 [1.060, 1.060] times that of HAR"),
        ({"errors": outcomes(ratio=1.5, beside_har=1.5, without=1)}, "squared error was 1.50 times that of the random"),
        ({"revised": ("split", "split")}, "revised bars that the model was trained on (split)"),
        ({"trained_to": date(2024, 1, 31)}, "knows nothing after 2024-01-31, 112 days ago"),
    ],
)
def test_each_signal_has_its_reason_in_words_and_waits_for_the_cool_down(change: dict, words: str) -> None:
    signals = replace(QUIET, **change)
    assert words in str(reason_to_retrain(signals))
    assert reason_to_retrain(replace(signals, sessions_since=COOL_DOWN - 1)) is None
    assert reason_to_retrain(replace(signals, sessions_since=COOL_DOWN)) is not None
    assert reason_to_retrain(replace(signals, trained_to=None)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"drifted": {"inputs": (False,) * 11 + (True,) * 9, "residuals": (True,) * 9 + (False,) * 11}},
        {"drifted": {"residuals": (True,) * (WINDOW - 1)}},
        {"drifted": {"predictions": (True,) * WINDOW}},
        {"errors": outcomes(inside=0.5, sessions=SCORED - 1)},
        {"errors": outcomes(inside=0.70)},
        {"errors": outcomes(inside=0.90)},
        {"errors": outcomes(ratio=1.19)},
        {"errors": outcomes(ratio=1.5, beside_har=1.04)},
        {"errors": outcomes(beside_har=1.5, without=1)},
        {"drifted": {"inputs": (True,) * WINDOW}, "lstm": False},
    ],
)
def test_short_of_a_threshold_nothing_is_trained(change: dict) -> None:
    assert reason_to_retrain(replace(QUIET, **change)) is None


def test_the_measures() -> None:
    assert coverage(outcomes(inside=0.6)) == pytest.approx(0.6)
    assert skill_ratio(outcomes(ratio=1.3)) == pytest.approx(1.3)
    assert pinball_ratio(outcomes(beside_har=0.97)) == pytest.approx((0.97, 0.97, 0.97))
    assert pinball_ratio(outcomes()) is None


def test_the_sensor_trains_up_to_the_newest_session_once_and_says_why(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(source="yahoo", start_date=date(2024, 1, 2), end_date=date(2024, 12, 31))
    warehouse = warehouse_from(settings)
    model = {column.name: None for column in TRAINED_MODEL.columns} | {
        "ticker": "AAPL", "date": pd.Timestamp("2024-05-01"), "trained_to": pd.Timestamp("2024-01-31"),
        "method": "lstm", "promoted": True,
    }  # fmt: skip

    class Stored:
        """The real warehouse, with one row of trained_model."""

        def read(self, table: object, **bounds: object) -> pd.DataFrame:
            return pd.DataFrame([model]) if table is TRAINED_MODEL else warehouse.read(table, **bounds)

    universe = Universe(
        settings.start_date, settings.calendars, False,
        daily_partitions(settings.start_date, settings.end_date, calendars.closed_days(["24/7"], DAY, DAY)),
        monthly_partitions(settings.start_date, settings.end_date),
    )  # fmt: skip
    sensor = build_retraining(build_jobs(), universe, 92, dg.DefaultSensorStatus.STOPPED)
    with dg.DagsterInstance.ephemeral() as instance, time_machine.travel("2024-05-23T03:00:00Z", tick=True):
        instance.add_dynamic_partitions("ticker", ["AAPL"])
        set_daily_from(instance, "AAPL", "", date(2024, 5, 1), uploaded=False)

        def tick(cursor: str | None) -> tuple[list[dg.RunRequest], str | None]:
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"warehouse": Stored()})
            data = sensor.evaluate_tick(context)
            return list(data.run_requests or []), data.cursor

        asked, cursor = tick(None)
        assert asked == []
        instance.report_runless_asset_event(dg.AssetMaterialization("forecast_accuracy", partition=f"{DAY}|AAPL"))
        asked, cursor = tick(cursor)
        config = asked[0].run_config["ops"]["trained_model"]["config"]
        assert config["known_until"] == "2024-05-22"
        assert config["trigger"] == "the newest model knows nothing after 2024-01-31, 112 days ago"
        assert asked[0].tags["dagster/asset_partition_range_start"] == "2024-05-01|AAPL"
        # The same decision, by the same key: Dagster launches it once.
        again, cursor = tick(cursor)
        assert [request.run_key for request in again] == [asked[0].run_key]
        reason = {tag: asked[0].tags[tag] for tag in (tags.STAGE, tags.RETRAIN, tags.RANGE_START, tags.RANGE_END)}
        run = dg.DagsterRun(job_name="monthly_training", run_id=make_new_run_id(), tags=reason)
        instance.add_run(run.with_status(dg.DagsterRunStatus.SUCCESS))
        assert tick(cursor)[0] == []
