"""Files of earnings reports."""

import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.earnings import (
    AFTER_CLOSE,
    ANNOUNCED,
    BEFORE_OPEN,
    EXPECTED,
    NO_HOUR,
    UNKNOWN,
    known,
    read_earnings,
)
from stockcast_assets.tables import EARNINGS_DATES


def test_reports_are_read_once_each_in_order_with_their_hours() -> None:
    text = "When,Ticker,Date,EPS\namc,msft,2024-04-25,2.9\n,AAPL,2024-05-02,1\nBMO,AAPL,2024-02-01\n,MSFT,2024-04-25,\n"
    found = read_earnings(text.encode(), "reports.csv")
    assert found.to_dict("list") == {
        "ticker": ["AAPL", "AAPL", "MSFT"],
        "date": [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-05-02"), pd.Timestamp("2024-04-25")],
        "when": [BEFORE_OPEN, UNKNOWN, AFTER_CLOSE],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Symbol,Day\nA,2024-01-02\n", "no column Ticker or Date"),
        ("Ticker,Date\nA,02/01/2024\n", "line 2: '02/01/2024' is not a date"),
        ("Ticker,Date\n../x,2024-01-02\n", "line 2: '../X' is not a ticker"),
        ("Ticker,Date,When\nA,2024-01-02,lunch\n", "line 2: 'lunch' says no hour"),
        ("Ticker,Date\n", "names no report"),
        ("", "no column Ticker or Date"),
        ("\xff", "no column Ticker or Date"),
    ],
)
def test_an_odd_file_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(StockcastError, match=words) as refused:
        read_earnings(text.encode(), "reports.csv")
    assert str(refused.value).startswith("reports.csv")


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(StockcastError, match="no CSV text in UTF-8"):
        read_earnings(b"Ticker,Date\n\xff\xfe,\x00", "reports.csv")


def statements(*rows: tuple[str, str, str, str, bool]) -> pd.DataFrame:
    """Rows of `earnings_dates` of one ticker: day, hour, kind, known on, cancelled."""
    frame = pd.DataFrame(rows, columns=["date", "hour", "kind", "known_on", "cancelled"])
    frame = frame.assign(ticker="A", source="csv", recorded_at=pd.Timestamp("2024-01-01", tz="UTC"))
    return frame.astype({"date": "datetime64[ns]", "known_on": "datetime64[ns]"})[EARNINGS_DATES.column_names]


def test_of_a_day_the_newest_statement_holds() -> None:
    said = statements(
        ("2024-04-24", NO_HOUR, EXPECTED, "2024-01-10", False),
        ("2024-04-24", AFTER_CLOSE, ANNOUNCED, "2024-04-02", False),
        ("2024-04-24", AFTER_CLOSE, ANNOUNCED, "2024-04-20", True),
        ("2024-04-30", BEFORE_OPEN, ANNOUNCED, "2024-04-20", False),
    )
    seen = {on: known(said, pd.Timestamp(on)) for on in ("2024-01-09", "2024-04-01", "2024-04-19", "2024-04-20")}
    told = {on: list(zip(rows["date"].dt.day, rows["kind"], rows["hour"], strict=True)) for on, rows in seen.items()}
    assert told == {
        "2024-01-09": [],
        "2024-04-01": [(24, EXPECTED, NO_HOUR)],
        "2024-04-19": [(24, ANNOUNCED, AFTER_CLOSE)],
        "2024-04-20": [(30, ANNOUNCED, BEFORE_OPEN)],
    }
