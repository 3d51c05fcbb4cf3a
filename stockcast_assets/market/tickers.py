"""The rules a ticker symbol obeys. A symbol becomes a partition key, a file name and a query parameter."""

import re

from stockcast_assets.errors import StockcastError

_TICKER = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")


def validate_ticker(ticker: str) -> str:
    """Return `ticker` unchanged if it is a well-formed symbol.

    Raises:
        StockcastError: if it is not 1-20 characters of A-Z 0-9 . ^ = - beginning with a letter, digit or ^,
            or contains "..".
    """
    if not _TICKER.fullmatch(ticker) or ".." in ticker:
        shown = ticker if len(ticker) <= 40 else f"{ticker[:40]}…"
        raise StockcastError(
            f"{shown!r} is not a ticker: use 1 to 20 characters of A-Z 0-9 . ^ = -, upper case, "
            "beginning with a letter, a digit or ^ (for example MSFT, VOD.L, ETH-USD)."
        )
    return ticker
