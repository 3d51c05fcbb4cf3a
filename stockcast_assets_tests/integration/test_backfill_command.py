"""`stockcast backfill` says what it takes, resumes, and lets no bad ticker take the others down."""

import json
from collections.abc import Callable

import pandas as pd

from stockcast_assets.tables import RAW_PRICES
from stockcast_assets_tests.conftest import Cli

RANGE = ("--from", "2013-01-02", "--to", "2013-01-11", "--assets", "raw_prices")


def csv_file(days: pd.DatetimeIndex) -> str:
    return "Date,Open,High,Low,Close,Volume\n" + "".join(f"{day:%Y-%m-%d},10,11,9,10,1000\n" for day in days)


def test_an_estimate_runs_nothing_and_a_resumed_backfill_runs_what_is_missing(make_cli: Callable[..., Cli]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="sample")
    told = cli("backfill", "--tickers", "AAPL,MSFT", *RANGE, "--dry-run", "--json")
    assert told.returncode == 0, told.stderr
    estimate = json.loads(told.stdout)["estimate"]
    # Ten days, weekend included: the calendar 24/7 has a key for each.
    assert (estimate["keys"], estimate["runs"], estimate["source_calls"]) == (20, 1, 2)
    assert cli.warehouse.read(RAW_PRICES).empty

    first = cli("backfill", "--tickers", "AAPL", *RANGE[:-1], "price_history,raw_prices", "--json")
    assert [entry["run"] for entry in json.loads(first.stdout)["runs"]] == [
        "price_history: AAPL", "raw_prices: AAPL, 2013-01-02 to 2013-01-11",
    ]  # fmt: skip
    rest = cli("backfill", "--tickers", "AAPL,MSFT", *RANGE, "--missing-only", "--json")
    assert [entry["run"] for entry in json.loads(rest.stdout)["runs"] if entry["run"].startswith("raw_prices")] == [
        "raw_prices: MSFT, 2013-01-02 to 2013-01-11"
    ]


def test_a_failing_ticker_is_named_and_the_others_are_done(make_cli: Callable[..., Cli]) -> None:
    cli = make_cli(STOCKCAST_SOURCE="csv", STOCKCAST_START_DATE="2013-01-02", STOCKCAST_END_DATE="2013-01-11")
    inbox = cli.home / "inbox"
    inbox.mkdir(parents=True)
    days = pd.bdate_range("2013-01-02", "2013-01-11")
    (inbox / "GOOD.csv").write_text(csv_file(days))
    (inbox / "HOLE.csv").write_text(csv_file(days.delete(3)))
    result = cli("backfill", "--tickers", "HOLE,GOOD", *RANGE)
    assert result.returncode == 1
    assert "1 of 2 tickers failed: [HOLE]" in " ".join(result.stderr.split())
    stored = cli.warehouse.read(RAW_PRICES)
    assert set(stored["ticker"]) == {"GOOD"}
    assert len(stored) == len(days)
