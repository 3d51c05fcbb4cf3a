"""What the prices of a ticker are in, as its symbol says it in Yahoo Finance's way of writing."""

from __future__ import annotations

from stockcast_assets.market.calendars import currency_of

_BY_SUFFIX = {
    **dict.fromkeys(("AS", "BR", "DE", "F", "HE", "IR", "LS", "MC", "MI", "PA", "VI"), "EUR"),
    **dict.fromkeys(("BO", "NS"), "INR"),
    **dict.fromkeys(("KQ", "KS"), "KRW"),
    **dict.fromkeys(("SS", "SZ"), "CNY"),
    **dict.fromkeys(("TO", "V"), "CAD"),
    "AX": "AUD",
    "CO": "DKK",
    "HK": "HKD",
    "JO": "cents (ZAR / 100)",
    "L": "pence (GBP / 100)",
    "MX": "MXN",
    "OL": "NOK",
    "SA": "BRL",
    "SI": "SGD",
    "ST": "SEK",
    "SW": "CHF",
    "T": "JPY",
    "TA": "agorot (ILS / 100)",
    "TW": "TWD",
}
_PAIRED_WITH = ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "KRW")


def quoted_in(ticker: str) -> str | None:
    """The unit of a ticker's prices: `USD` of AAPL, `pence (GBP / 100)` of VOD.L; None if its symbol does not say."""
    base, _, suffix = ticker.rpartition(".")
    if base:
        return _BY_SUFFIX.get(suffix) or currency_of(ticker)
    pair = ticker.rpartition("-")
    return pair[2] if pair[0] and pair[2] in _PAIRED_WITH else currency_of(ticker)
