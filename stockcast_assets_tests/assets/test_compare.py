"""The check `second_opinion` and `stockcast compare`, on the sample beside a folder of files in Stooq's format."""

import json
from pathlib import Path

import dagster as dg
import pytest

from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.orchestration.build import build_definitions
from stockcast_assets.orchestration.home import open_instance
from stockcast_assets.settings import Settings
from stockcast_assets_tests.conftest import Run


def test_every_stored_bar_is_compared_and_a_disputed_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    folder = tmp_path / "stooq"
    folder.mkdir()
    settings = Settings(home=tmp_path / "home", source="sample", start_date="2013-01-02")
    bars = SampleSource().bars("GOOG", None, settings.end_date).iloc[:-5]
    wrong = bars["date"] == "2013-01-16"
    bars["close"] = bars["close"].where(~wrong, bars["close"] * 0.99).round(4)
    bars["low"] = bars[["low", "close"]].min(axis=1)
    columns = ["date", "open", "high", "low", "close", "volume"]
    bars[columns].rename(columns=str.title).to_csv(folder / "goog_us_d.csv", index=False)

    monkeypatch.setenv("STOCKCAST_START_DATE", "2013-01-02")
    status, _, err = run("compare")
    assert (status, "set STOCKCAST_SECOND_SOURCE, for example to folder:/data/stooq" in err) == (1, True)
    monkeypatch.setenv("STOCKCAST_SECOND_SOURCE", f"folder:{folder}")
    status, _, err = run("backfill", "--tickers", "GOOG", "--assets", "price_history,raw_prices")
    assert status == 0, err

    with open_instance(settings) as instance:
        found = {}
        for asset in ("price_history", "raw_prices"):
            key = dg.AssetCheckKey(dg.AssetKey(asset), "second_opinion")
            record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
            found[asset] = record.event.dagster_event.event_specific_data
    assert (found["price_history"].passed, found["raw_prices"].passed) == (True, False)
    daily = {name: value.value for name, value in found["raw_prices"].metadata.items()}
    assert (daily["bars"], daily["said by both"], daily["disputed"], daily["without a second opinion"]) == (
        41,
        35,
        1,
        5,
    )
    assert daily["disputed bars"][0].startswith("GOOG 2013-01-16: ")
    assert found["price_history"].metadata["said by both"].value == found["price_history"].metadata["bars"].value > 2000

    status, out, err = run("compare", "GOOG", "--json")
    assert status == 0, err
    said = json.loads(out)["GOOG"]
    verdicts = {row["date"]: row["agrees"] for row in said["bars"]}
    assert [day for day, agrees in verdicts.items() if agrees is False] == ["2013-01-16"]
    # What ended earlier there is heard up to its last session.
    assert list(verdicts.values())[-6:] == [True, None, None, None, None, None]
    status, out, _ = run("compare")
    assert "GOOG 2013-01-16: close" in out
    assert run("compare", "MSFT")[0] == 1


def test_without_a_second_source_nothing_is_compared(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", source="sample")
    names = {key.name for checks in build_definitions(settings).asset_checks or () for key in checks.check_keys}
    assert "second_opinion" not in names
