"""Reading files of daily bars: any vendor's, any spelling, and one sentence where a file cannot be read.

`read.parse_bytes` is the way in. What a file says is worked out in steps, each a module: `text` (bytes to cells),
`layout` and `names` (which columns), `symbols` (which tickers), `numbers`, `dates`, `days` (daily bars of open days),
`shares` (prices in the shares of the last day, dividends). Files of earnings reports are read by `reports`.
"""

from stockcast_assets.market.sources.files.read import (
    ParsedUpload,
    has_ticker_column,
    parse_bytes,
    require_enabled,
    tickers_of,
)
from stockcast_assets.market.sources.files.reports import earnings_columns, is_earnings, read_earnings

__all__ = [
    "ParsedUpload",
    "earnings_columns",
    "has_ticker_column",
    "is_earnings",
    "parse_bytes",
    "read_earnings",
    "require_enabled",
    "tickers_of",
]
