"""Files of earnings reports."""

import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.earnings import AFTER_CLOSE, BEFORE_OPEN, UNKNOWN, read_earnings


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
