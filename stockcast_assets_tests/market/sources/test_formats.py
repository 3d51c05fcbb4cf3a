"""Every vendor's file says the same bars, and the docs' table says what becomes of each."""

import re

import numpy as np
import pandas as pd
import pytest

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.sources.files import parse_bytes, tickers_of
from stockcast_assets.market.sources.validate import validate_bars
from stockcast_assets_tests.market.sources.formats import BEGIN, DOCS, EX_DATE, FORMATS, STOCK, Format, written

NOW = pd.Timestamp("2024-02-01 12:00", tz="UTC").as_unit("ns")
READ = [each for each in FORMATS if each.tickers]
REFUSED = [each for each in FORMATS if not each.tickers]


def called(each: Format) -> str:
    return f"{each.vendor}: {each.what}"


@pytest.mark.parametrize("file", READ, ids=called)
def test_the_bars_are_those_that_were_meant(file: Format) -> None:
    upload = parse_bytes(file.data, file.name, NOW)
    assert upload.tickers == file.tickers
    assert tickers_of(file.data, file.name) == file.tickers
    bars = validate_bars(upload.of(file.tickers[0]), "here")
    assert list(bars["date"]) == [bar.day for bar in file.bars]
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(bars[name], [getattr(bar, name) for bar in file.bars], rtol=1e-9)
    volume = [bar.volume if file.with_volume else 0 for bar in file.bars]
    np.testing.assert_allclose(bars["volume"], volume, rtol=1e-6, atol=1)
    dividends = np.zeros(len(bars))
    dividends[file.ex_dividend] = file.dividend
    np.testing.assert_allclose(bars["dividend"], dividends, atol=1e-3)
    np.testing.assert_allclose(bars["split_ratio"], np.where(bars["date"] == STOCK[EX_DATE].day, file.split, 1.0))
    if len(file.tickers) > 1:
        np.testing.assert_allclose(upload.of(file.tickers[1])["close"], [2 * bar.close for bar in file.bars])


@pytest.mark.parametrize("file", REFUSED, ids=called)
def test_what_is_refused_is_refused_in_one_sentence(file: Format) -> None:
    with pytest.raises(StockcastError) as caught:
        parse_bytes(file.data, file.name, NOW)
    sentence = str(caught.value)
    assert file.refused in sentence
    assert re.fullmatch(rf"{re.escape(file.name)}(?:, line \d+)?: [^\n]+\.", sentence)


def test_there_are_formats_of_many_vendors() -> None:
    assert len(FORMATS) >= 60
    assert len({each.vendor for each in READ}) >= 20


def test_the_table_of_the_docs_is_current() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert BEGIN in text
    assert text == written(text), "run python -m stockcast_assets_tests.market.sources.formats"
