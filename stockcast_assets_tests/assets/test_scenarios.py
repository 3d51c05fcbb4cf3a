"""`scenarios` in real Dagster runs, and `stockcast risk` on the same home: recorded members, the same bits again."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from stockcast_assets.forecasting.risk.scenarios import DRAWS, as_day, digest_of, draws, unpacked
from stockcast_assets.orchestration.assets.scenarios import published, residuals_of, scenarios_of
from stockcast_assets.orchestration.build import build_definitions, warehouse_from
from stockcast_assets.settings import Settings
from stockcast_assets.tables import FORECASTS, PRICE_HISTORY, RAW_PRICES, SCENARIOS
from stockcast_assets.warehouse import Warehouse
from stockcast_assets_tests.conftest import Run
from stockcast_assets_tests.csvfiles import write_csv
from stockcast_assets_tests.dashboard.home import write
from stockcast_assets_tests.monitoring.conftest import fan

START = pd.Timestamp("2013-02-01")
DAY, NEXT = "2013-02-14", "2013-02-15"
TICKERS = ("AAPL", "IBM", "MSFT")

Bars = dict[str, pd.DataFrame]


def filled(settings: Settings, sample_bars: Bars, tickers: tuple[str, ...], until: str = "2013-03-01") -> Warehouse:
    """A home with bars of these tickers, and a plausible forecast of each session since last December."""
    settings.home.mkdir(parents=True, exist_ok=True)
    bars = pd.concat([sample_bars[ticker] for ticker in tickers], ignore_index=True)
    bars = bars[bars["date"] <= until]
    write(settings.home, PRICE_HISTORY, bars[bars["date"] < START])
    write(settings.home, RAW_PRICES, bars[bars["date"] >= START])
    days = sorted({*bars["date"][bars["date"] >= "2012-12-03"]})
    # Wide and narrow ones: the scenarios follow what is published.
    made = [
        fan(sample_bars[ticker], f"{day:%Y-%m-%d}", 0.01 + 0.002 * (place % 3))
        for ticker in tickers
        for place, day in enumerate(days)
    ]
    write(settings.home, FORECASTS, pd.concat(made, ignore_index=True))
    return warehouse_from(settings)


def materialise(settings: Settings, instance: dg.DagsterInstance, *days: str) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_job_def("joint_scenarios")
    ended = [job.execute_in_process(instance=instance, partition_key=day) for day in days]
    assert all(one.success for one in ended)
    return ended[-1]


def test_a_day_is_recorded_with_its_members_and_follows_from_what_is_stored(
    make_settings: Callable[..., Settings], sample_bars: Bars, tmp_path: Path
) -> None:
    settings = make_settings(start_date=START.date())
    warehouse = filled(settings, sample_bars, TICKERS[:2])
    with dg.DagsterInstance.ephemeral() as instance:
        materialise(settings, instance, DAY)
        (row,) = warehouse.read(SCENARIOS).to_dict("records")
        assert (row["members"], row["n_members"], row["n_sessions"]) == ("AAPL IBM", 2, DRAWS)
        # From the row, the forecasts and the bars alone.
        day = pd.Timestamp(DAY)
        said = published(warehouse, None, day.date(), day.date())
        past = residuals_of(warehouse, TICKERS[:2], date(2013, 3, 1))
        sessions = unpacked(row["sessions"])
        drawn = {ticker: draws(past[ticker], sessions, said[ticker, day], as_day(day)) for ticker in past}
        assert digest_of(drawn) == row["digest"]
        # The last scenario is the session whose ten outcomes became known on the day.
        known = sample_bars["IBM"]["date"][sample_bars["IBM"]["date"] <= DAY]
        assert sessions[-1] == np.datetime64(known.iloc[-11].date())

        # Who joins later changes no recorded day, and is a member of the next.
        filled(settings, sample_bars, TICKERS)
        materialise(settings, instance, DAY, NEXT)
        again, following = warehouse.read(SCENARIOS).sort_values("date").to_dict("records")
        assert again == row
        assert following["members"] == "AAPL IBM MSFT"


def test_alone_in_a_range_and_in_a_world_that_ends_with_the_day_a_row_has_the_same_bits(
    make_settings: Callable[..., Settings], sample_bars: Bars, tmp_path: Path
) -> None:
    warehouse = filled(make_settings(), sample_bars, TICKERS)
    days = list(pd.to_datetime([DAY, NEXT, "2013-02-16"]))
    together = scenarios_of(warehouse, days)
    assert together["date"].tolist() == days[:2]
    for day in days[:2]:
        ended = filled(make_settings(home=tmp_path / f"{day:%d}"), sample_bars, TICKERS, until=f"{day:%Y-%m-%d}")
        for alone in (scenarios_of(warehouse, [day]), scenarios_of(ended, [day])):
            pd.testing.assert_frame_equal(alone, together[together["date"] == day].reset_index(drop=True))


def test_the_schedule_asks_for_the_days_that_have_forecasts_and_no_scenarios(
    make_settings: Callable[..., Settings], sample_bars: Bars, tmp_path: Path
) -> None:
    settings = make_settings(start_date=START.date(), calendars=("XNYS",))
    filled(settings, sample_bars, TICKERS[:1], until="2013-02-19")
    repository = build_definitions(settings).get_repository_def()
    schedule = repository.get_schedule_def("daily_scenarios")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        materialise(settings, instance, DAY)
        at = pd.Timestamp("2013-02-21 06:00", tz="UTC").to_pydatetime()
        asked = dg.build_schedule_context(instance, scheduled_execution_time=at, repository_def=repository)
        keys = [request.partition_key for request in schedule.evaluate_tick(asked).run_requests or []]
    expected = sample_bars["AAPL"]["date"]
    expected = expected[(expected >= "2013-02-06") & (expected <= "2013-02-19") & (expected != DAY)]
    assert keys == [f"{day:%Y-%m-%d}" for day in expected]


@pytest.fixture
def home(run: Run, monkeypatch: pytest.MonkeyPatch, sample_bars: Bars, tmp_path: Path) -> Warehouse:
    monkeypatch.setenv("STOCKCAST_START_DATE", f"{START:%Y-%m-%d}")
    return filled(Settings(home=tmp_path / "home", source="sample"), sample_bars, TICKERS)


def answer(run: Run, folder: Path, text: str, *words: str) -> tuple[int, Any]:
    (folder / "holdings.csv").write_text(text)
    ended = run("risk", "--holdings", str(folder / "holdings.csv"), *words, "--json")
    return ended.status, json.loads(ended.out or json.dumps(ended.err))


def test_the_risk_of_holdings_adds_up(run: Run, home: Warehouse, tmp_path: Path) -> None:
    text = "ticker,quantity\nAAPL,10\nIBM,20\nMSFT,-30\n"
    status, told = answer(run, tmp_path, text, DAY)
    assert status == 0, told
    assert (told["as_of"], told["unit"]) == (DAY, "USD")
    closes = {one["ticker"]: one["close"] for one in told["positions"]}
    assert told["value"] == pytest.approx(10 * closes["AAPL"] + 20 * closes["IBM"] - 30 * closes["MSFT"])
    for row in told["horizons"]:
        gains = list(row["gain"].values())
        assert gains == sorted(gains)
        (one, five) = row["tails"]
        assert one["value_at_risk"] > five["value_at_risk"] > 0
        assert one["expected_shortfall"] > one["value_at_risk"]
        if row["horizon"] in (1, 10):
            for place, level in enumerate((0.01, 0.05)):
                for measure in ("value_at_risk", "expected_shortfall"):
                    shares = [
                        share["contribution"]
                        for position in told["positions"]
                        for share in position[measure]
                        if (share["horizon"], share["level"]) == (row["horizon"], level)
                    ]
                    assert sum(shares) == pytest.approx(row["tails"][place][measure])
    stretches = [one for one in told["worst_stretches"] if one["sessions"] == 1]
    assert [one["gain"] for one in stretches] == sorted(one["gain"] for one in stretches)
    assert told["backtest"]["days"] > 40
    assert {level["level"] for level in told["backtest"]["levels"]} == {0.01, 0.05}
    # Twice as much is twice the risk, and what was known later changes nothing.
    _, twice = answer(run, tmp_path, text.replace("0", "00"), DAY)
    assert twice["horizons"][9]["tails"][0]["value_at_risk"] == pytest.approx(
        10 * told["horizons"][9]["tails"][0]["value_at_risk"]
    )
    _, newest = answer(run, tmp_path, text)
    assert newest["as_of"] == "2013-03-01"

    ended = run("risk", str(tmp_path / "holdings.csv"), DAY)
    assert (ended.status, ended.err) == (0, "")
    printed = " ".join(ended.out.split())
    assert "It is not the most that can be lost" in printed
    assert "VaR 1 %" in printed
    assert "Kupiec p" in printed


def test_holdings_that_cannot_be_answered_are_one_sentence(run: Run, home: Warehouse, tmp_path: Path) -> None:
    for text, words, sentence in (
        ("ticker,quantity\nNOPE,1\n", (), "NOPE has no forecast: make it with `stockcast forecast NOPE`, or leave"),
        ("ticker,quantity\nGOOG,1\nIBM,1\n", (DAY,), "GOOG has no forecast up to 2013-02-14: make it with `stockcast"),
        ("ticker,quantity\nIBM,1\nVOD.L,1\n", (), "several currencies"),
        ("ticker,quantity\nIBM,many\n", (), "which is no number"),
        ("ticker,quantity\nIBM,1\n", ("2013-13-40",), "2013-13-40"),
    ):
        status, told = answer(run, tmp_path, text, *words)
        assert status != 0
        assert sentence in json.dumps(told)
        assert "Traceback" not in json.dumps(told)
    assert "Name a file" in run("risk").err
    young = home.read(PRICE_HISTORY)
    write(tmp_path / "home", PRICE_HISTORY, young[(young["ticker"] != "MSFT") | (young["date"] >= "2012-08-01")])
    _, told = answer(run, tmp_path, "ticker,quantity\nIBM,1\nMSFT,1\n")
    assert "250 are needed; MSFT has" in json.dumps(told)


@pytest.mark.timeout(300)
@pytest.mark.long
def test_what_the_sentences_say_to_do_helps(
    run: Run, monkeypatch: pytest.MonkeyPatch, sample_bars: Bars, tmp_path: Path
) -> None:
    for name, value in {"SOURCE": "csv", "START_DATE": "2013-02-01", "END_DATE": "2013-02-28"}.items():
        monkeypatch.setenv(f"STOCKCAST_{name}", value)
    for ticker in ("IBM", "MSFT"):
        bars = sample_bars[ticker]
        # Too short a history for a network to train.
        recent = bars[(bars["date"] >= "2012-08-01") & (bars["date"] <= "2013-02-28")]
        write_csv(tmp_path / "home" / "inbox", ticker, recent, actions=True)
    text = "ticker,quantity\nIBM,1\nMSFT,1\n"
    assert run("forecast", "MSFT", "2013-02-27").status == 0
    _, told = answer(run, tmp_path, text)
    assert "IBM has no forecast: make it with `stockcast forecast IBM`" in json.dumps(told)
    assert run("forecast", "IBM").status == 0
    _, told = answer(run, tmp_path, text)
    assert "with `stockcast forecast IBM MSFT 2013-02-28`" in json.dumps(told)
    assert run("forecast", "IBM", "MSFT", "2013-02-28").status == 0
    # What lacks now is only time.
    _, told = answer(run, tmp_path, text)
    assert "past sessions in common of which ten more were known on 2013-02-28, and 250 are needed" in json.dumps(told)
