"""Ticker rules."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.keys import validate_ticker


@pytest.mark.parametrize("ticker", ["AAPL", "BRK-B", "VOD.L", "005930.KS", "ETH-USD", "^GSPC", "EURUSD=X", "A" * 20])
def test_real_symbols_pass_unchanged(ticker: str) -> None:
    assert validate_ticker(ticker) == ticker


@pytest.mark.parametrize(
    "ticker",
    ["", "aapl", "AAPL ", "-AAPL", ".L", "A..B", "../../x", "A/B", "A|B", "' OR TRUE --", "A\0", "A" * 21, "📈", "A\n"],
)
def test_anything_else_is_refused_in_one_sentence(ticker: str) -> None:
    with pytest.raises(StockcastError, match="is not a ticker") as caught:
        validate_ticker(ticker)
    assert len(str(caught.value)) < 250


@given(st.text(max_size=25))
def test_what_passes_can_name_a_file_and_a_partition(ticker: str) -> None:
    try:
        validate_ticker(ticker)
    except StockcastError:
        return
    assert re.fullmatch(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}", ticker)
    assert ".." not in ticker
