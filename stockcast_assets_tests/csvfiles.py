"""Bars as a CSV file that a user would upload."""

from pathlib import Path

import pandas as pd

HEADINGS = {
    "date": "Date",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "adj_close": "Adj Close",
    "volume": "Volume",
}
ACTIONS = {"dividend": "Dividends", "split_ratio": "Stock Splits"}


def write_csv(inbox: Path, ticker: str, bars: pd.DataFrame, *, actions: bool = False) -> None:
    """Write `TICKER.csv` as Yahoo exports it, with dividends and splits if `actions`."""
    inbox.mkdir(parents=True, exist_ok=True)
    headings = HEADINGS | ACTIONS if actions else HEADINGS
    bars.rename(columns=headings)[list(headings.values())].to_csv(inbox / f"{ticker}.csv", index=False)
