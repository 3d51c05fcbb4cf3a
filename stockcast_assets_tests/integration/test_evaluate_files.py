"""`stockcast evaluate --bars`: files of bars and reports in, tables out, nothing stored."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stockcast_assets.cli import evaluate_files
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.sample import SampleSource
from stockcast_assets_tests.conftest import Cli

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
    page = (tmp_path / "page.html").read_text()
    for words in ("What each step adds", "HAR with the market × reports", "Christoffersen", "LightGBM of all tickers"):
        assert words.replace("×", "x") in page, words
    assert f"{found['value_added'][-1]['pinball_ratio']:.4f}" in page
    assert not cli.home.exists()


@pytest.mark.parametrize(
    ("bars", "options", "words"),
    [
        ((), {"earnings": Path("reports.csv")}, "go with --bars"),
        (("nowhere.csv",), {}, "cannot be read"),
        (("bars.csv.gz",), {"train_on": "TSLA"}, "no bars of TSLA; they have AAPL, IBM, MSFT"),
        (("bars.csv.gz",), {"tickers": "NOPE"}, "no bars of NOPE"),
        (("bars.csv.gz",), {"first_text": "2030-01-01", "last_text": "2030-02-01"}, "No ticker has sessions"),
        (("bars.csv.gz",), {"first_text": "2009-01-01", "last_text": "2008-01-01"}, "swap them"),
        (("bars.csv.gz", "bars.csv.gz"), {}, "name each session once"),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_sentence(
    files: tuple[Path, Path], bars: tuple[str, ...], options: dict[str, Any], words: str
) -> None:
    there = {path.name: path for path in files}
    given = {"tickers": None, "earnings": None, "first_text": None, "last_text": None, "train_on": None,
             "with_statistical": False, "report": None}  # fmt: skip
    with pytest.raises(StockcastError, match=words):
        evaluate_files.run(Invocation(), bars_files=[there.get(name, Path(name)) for name in bars], **given | options)
