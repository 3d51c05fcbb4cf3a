"""`stockcast evaluate --bars`: files of bars and reports in, tables out, nothing stored."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.cli import evaluate_files
from stockcast_assets.cli.beside import Beside
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.tables import print_json
from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON, MEDIAN, QUANTILES, ModelConfig
from stockcast_assets.forecasting.evaluation.scores import Cases
from stockcast_assets.forecasting.evaluation.walkforward import WalkForward
from stockcast_assets.forecasting.features import prepare
from stockcast_assets.forecasting.models.baselines import Forecast
from stockcast_assets.forecasting.universe.walkforward import STEPS_OF_VALUE
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets.methods import HAR_EARNINGS, ORACLE
from stockcast_assets_tests.conftest import Cli
from stockcast_assets_tests.documented import differences

COLUMNS = {"date": "Date", "ticker": "Ticker", "open": "Open", "high": "High", "low": "Low", "close": "Close",
           "adj_close": "Adj Close", "volume": "Volume"}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Three tickers in one packed file, and reports of two of them."""
    bars = pd.concat([SampleSource().bars(ticker, None, "2009-01-20").tail(900) for ticker in ("AAPL", "IBM", "MSFT")])
    reports = [
        f"{ticker},{day.date()},{when}"
        for ticker, when in (("AAPL", "amc"), ("IBM", ""))
        for day in pd.date_range("2005-01-20", "2009-01-20", freq="91D")
    ]
    packed, named = tmp_path / "bars.csv.gz", tmp_path / "reports.csv"
    packed.write_bytes(gzip.compress(bars[list(COLUMNS)].rename(columns=COLUMNS).to_csv(index=False).encode()))
    named.write_text("\n".join(["Ticker,Date,When", *reports]))
    return packed, named


@pytest.mark.timeout(400)
def test_files_are_judged_by_a_network_of_some_of_their_tickers(
    make_cli: Callable[..., Cli], files: tuple[Path, Path], tmp_path: Path
) -> None:
    bars, reports = map(str, files)
    cli = make_cli(STOCKCAST_SOURCE="sample")
    result = cli("evaluate", "--bars", bars, "--earnings", reports, "--train-on", "AAPL,IBM", "--from", "2008-09-02",
                 "--to", "2008-12-31", "--with-statistical", "--report", str(tmp_path / "page.html"),
                 "--json")  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert list(found["by_ticker"]) == ["AAPL", "IBM", "MSFT"]
    assert found["n_cases"] == sum(of["n_cases"] for of in found["by_ticker"].values()) == 3 * 85
    assert [step["to"] for step in found["value_added"]] == ["har", "mix", "mix_earnings", "lstm"]
    assert found["contenders"]["har"]["pinball_ratio_har"] == 1
    assert found["contenders"]["oracle"]["share_of_reachable"] == pytest.approx(1)
    assert 0.8 < found["contenders"]["lstm"]["pinball_ratio_har"] < 1.2
    assert {"gjr_garch", "lightgbm"} <= set(found["contenders"])
    assert 0.8 < found["contenders"]["lightgbm"]["pinball_ratio_har"] < 1.2
    assert list(found["by_year"]) == ["2008"]
    assert differences("evaluate --bars", found) == []
    # All cases are of one year; what is won adds up over the steps, and what a ratio wins is its share of the oracle's.
    (year,) = found["years"].values()
    lstm, oracle = (found["contenders"][name] for name in ("lstm", "oracle"))
    assert year["n_cases"] == found["n_cases"]
    for key in ("pinball_ratio_har", "pinball_ratio_har_earnings", "share_of_reachable", "coverage_80"):
        assert year[key] == pytest.approx(lstm[key], rel=1e-4), key
    won = [step["share_of_reachable"] for step in found["value_added"]]
    assert won[0] is None
    assert sum(won[1:]) == pytest.approx(lstm["share_of_reachable"])
    for of in (*found["horizons"].values(), *found["by_ticker"].values()):
        assert 0.8 < of["pinball_ratio_har_earnings"] < 1.2
    share = (1 - lstm["pinball_ratio_har"]) / (1 - oracle["pinball_ratio_har"])
    assert lstm["share_of_reachable"] == pytest.approx(share)
    page = (tmp_path / "page.html").read_text()
    for words in ("What each step adds", "HAR with the market × reports", "Christoffersen", "LightGBM of all tickers"):
        assert words.replace("×", "x") in page, words
    assert f"{found['value_added'][-1]['pinball_ratio']:.4f}" in page
    assert not cli.home.exists()


def walked(ticker: str, days: pd.DatetimeIndex, seed: int) -> pd.DataFrame:
    """Bars of nobody: a random walk on these days, with the names of columns that vendors give."""
    close = 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(days))))
    prices = {"Open": close * 0.999, "High": close * 1.01, "Low": close * 0.99, "Close": close}
    return pd.DataFrame({"Date": days, "Symbol": ticker, **prices, "Volume": 1000})


WEEKDAYS = pd.bdate_range("1984-01-02", periods=420)
ASKED = {
    "holidays and a year before the calendars begin": walked("AAPL", WEEKDAYS, 1),
    "an exchange that nobody knows": walked("ABC.ZZ", WEEKDAYS, 2),
    "Sundays": walked("BTC-USD", pd.date_range("2012-01-01", periods=420), 3),
    "other names, in another order": walked("AAPL", WEEKDAYS, 4).rename(columns=str.lower)[
        ["close", "volume", "low", "symbol", "high", "date", "open"]
    ],
    "a written-out date and zone": walked("AAPL", WEEKDAYS, 5).assign(
        Date=WEEKDAYS.strftime("%Y-%m-%d 00:00:00-05:00")
    ),
    "the month first": walked("AAPL", WEEKDAYS, 6).assign(Date=WEEKDAYS.strftime("%m/%d/%Y")),
    "no volume, rows in any order": walked("AAPL", WEEKDAYS, 7).drop(columns="Volume").sample(frac=1, random_state=7),
    "each row twice": pd.concat([walked("AAPL", WEEKDAYS, 8)] * 2),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_strangers_bars_are_read_whatever_their_exchange_and_their_form(what: str, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    ASKED[what].to_csv(path, index=False)
    ((ticker, bars),) = evaluate_files.read_bars([path]).items()
    assert ticker == ASKED[what].rename(columns=str.title)["Symbol"].iloc[0]
    assert len(bars) == 420
    assert bars["date"].is_monotonic_increasing
    # Files that overlap say the same twice.
    assert len(evaluate_files.read_bars([path, path])[ticker]) == 420


def test_what_is_left_out_of_a_strangers_bars_is_told(tmp_path: Path) -> None:
    path, told = tmp_path / "bars.csv", list[str]()
    bars = walked("AAPL", pd.bdate_range("2012-01-02", periods=30), 1)
    bars.loc[3, "Open"] = None
    # The fourth of July, filled in with the day before.
    again = bars.iloc[[29]].assign(Date="2012-07-04", Volume=0)
    again[["Open", "High", "Low", "Close"]] = bars["Close"].iloc[29]
    pd.concat([bars, again]).to_csv(path, index=False)
    assert len(evaluate_files.read_bars([path], told.append)["AAPL"]) == 29
    assert told == [
        "bars.csv: left out 1 without all prices (first: 2012-01-05).",
        "bars.csv: left out 1 of closed days that were filled in (first: 2012-07-04).",
    ]


def test_one_ticker_alone_is_judged_and_who_is_too_young_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = pd.bdate_range("2004-01-02", periods=500)
    bars, reports = tmp_path / "bars.csv", tmp_path / "reports.csv"
    pd.concat([walked("ABC.ZZ", days, 1), walked("NEW", days[-90:], 3)]).to_csv(bars, index=False)
    reports.write_text("Symbol;Earnings Date;Time\nABC.ZZ;1999-02-01;amc\nABC.ZZ;1999-02-01;amc\nXYZ;2005-01-03;bmo\n")
    evaluate_files.run(
        Invocation(as_json=True), None, [bars], reports, "2005-09-01", "2005-10-14", None, Beside(), None,
    )  # fmt: skip
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert list(found["by_ticker"]) == ["ABC.ZZ"]
    assert 0.8 < found["contenders"]["lstm"]["pinball_ratio_har"] < 1.25
    assert "NEW is left out: NEW has 90 sessions" in printed.err
    assert "No reports are known of NEW: their intervals know of none." in printed.err


@pytest.mark.filterwarnings("error")
def test_prices_that_never_move_have_scores_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = pd.bdate_range("2004-01-02", periods=420)
    bars = walked("FLAT", days, 1).assign(Open=10, High=10, Low=10, Close=10)
    bars.to_csv(tmp_path / "bars.csv", index=False)
    history = prepare(evaluate_files.read_bars([tmp_path / "bars.csv"])["FLAT"])
    rows = np.arange(300, 400)
    quantiles = np.zeros((len(rows), HORIZON, len(QUANTILES)))
    said = Forecast(quantiles, quantiles[:, :, MEDIAN])
    everybody = dict.fromkeys((*STEPS_OF_VALUE, HAR_EARNINGS, ORACLE), said)
    cases = Cases(history.dates[rows], history.targets[rows], np.zeros(HORIZON), everybody)
    found = evaluate_files.document(WalkForward(ModelConfig(), {"FLAT": 1}, {"FLAT": cases}))
    evaluate_files.show(found)
    assert "nan" not in capsys.readouterr().out
    print_json(found)
    printed = json.loads(capsys.readouterr().out)
    assert printed["years"]["2005"]["pinball_ratio_har"] is None
    assert printed["by_ticker"]["FLAT"]["share_of_reachable"] is None
    assert differences("evaluate --bars", printed) == []


@pytest.mark.parametrize(
    ("bars", "options", "words"),
    [
        ((), {"earnings": Path("reports.csv")}, "go with --bars"),
        (("nowhere.csv",), {}, "cannot be read"),
        (("bars.csv.gz",), {"train_on": "TSLA"}, "no bars of TSLA; they have AAPL, IBM, MSFT"),
        (("bars.csv.gz",), {"tickers": "NOPE"}, "no bars of NOPE"),
        (("bars.csv.gz",), {"first_text": "2030-01-01", "last_text": "2030-02-01"}, "No ticker has sessions"),
        (("bars.csv.gz",), {"first_text": "2009-01-01", "last_text": "2008-01-01"}, "swap them"),
        (("bars.csv.gz", "MSFT.csv"), {}, "different things of MSFT on 2009-01-16: name each session once"),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_sentence(
    files: tuple[Path, Path], bars: tuple[str, ...], options: dict[str, Any], words: str
) -> None:
    there = {path.name: path for path in files}
    there["MSFT.csv"] = files[0].with_name("MSFT.csv")
    there["MSFT.csv"].write_text("Date,Open,High,Low,Close,Volume\n2009-01-16,20,20,20,20,1\n")
    given = {"tickers": None, "earnings": None, "first_text": None, "last_text": None, "train_on": None,
             "beside": Beside(), "report": None}  # fmt: skip
    with pytest.raises(StockcastError, match=words):
        evaluate_files.run(Invocation(), bars_files=[there.get(name, Path(name)) for name in bars], **given | options)
