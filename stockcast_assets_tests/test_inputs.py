"""The rules of input: what is shown obeys nobody, and what is refused is refused in one printable sentence."""

import unicodedata
from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.inputs import (
    MOST_OF_A_REASON,
    in_order,
    listed,
    one_of,
    parse_day,
    parse_month,
    printable,
    validate_reason,
    validate_ticker,
)

ANY = st.text(st.characters(), max_size=60)
OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(ANY)
def test_nothing_a_terminal_obeys_is_left_and_nothing_else_changes(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(char) for char in shown} & OBEYED
    shown.encode("utf-8")
    assert printable(shown) == shown
    if not {unicodedata.category(char) for char in text} & (OBEYED | {"Co", "Cn"}):
        assert shown == text


@given(st.lists(ANY, min_size=1))
def test_lines_stay_only_where_they_are_asked_for(texts: list[str]) -> None:
    assert printable("\n".join(map(printable, texts)), lines=True) == "\n".join(map(printable, texts))
    assert "\n" not in printable("\n".join(texts))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("a\nerror: b", "a\\nerror: b"),
        ("gnp.\u202efdp", "gnp.\\u202efdp"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\u200bb", "a\\u200bb"),
        ("\udcff.csv", "\\udcff.csv"),
        ("Zürich 東京 \U0001f4c8 [/] [red]", "Zürich 東京 \U0001f4c8 [/] [red]"),
    ],
)
def test_how_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def refused_with(rule: Callable[[str], object], text: str) -> str:
    try:
        rule(text)
    except StockcastError as error:
        return str(error)
    return ""


@given(ANY)
@example("\U000105bd" * 60)
def test_a_refusal_is_one_printable_sentence(text: str) -> None:
    for rule in (validate_ticker, parse_day, lambda text: one_of(text, ("prices",), "asset"), validate_reason):
        sentence = refused_with(rule, text)
        assert printable(sentence) == sentence
        assert len(sentence) < 300


@given(st.dates())
def test_a_day_is_read_as_it_is_written(day: date) -> None:
    assert parse_day(day.isoformat()) == day


@pytest.mark.parametrize("text", ["20130215", "2013-W07-5", "2013-2-31", "2013-02-30", "٢٠١٣-٠٢-١٥", " 2013-02-1", ""])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(StockcastError, match="write it as YYYY-MM-DD"):
        parse_day(text)


def test_ranges_lists_choices_and_reasons() -> None:
    first, last = date(2013, 1, 2), date(2013, 1, 3)
    assert in_order(first, last) == (first, last)
    with pytest.raises(StockcastError, match="--from 2013-01-03 is after --to 2013-01-02: swap them"):
        in_order(last, first)
    assert listed(" MSFT, AAPL,,MSFT ") == ("MSFT", "AAPL")
    assert validate_reason("  merged [/] with X ") == "merged [/] with X"
    with pytest.raises(StockcastError, match="one line of text"):
        validate_reason("a\x1b[2Jb")
    with pytest.raises(StockcastError, match=f"at most {MOST_OF_A_REASON}"):
        validate_reason("x" * (MOST_OF_A_REASON + 1))


@given(st.dates(date(1000, 1, 1)))
def test_a_month_is_read_as_its_first_day(day: date) -> None:
    assert parse_month(f"{day:%Y-%m}") == day.replace(day=1)


@pytest.mark.parametrize("text", ["2013", "2013-13", "2013-2", "2013-02-01", "02-2013", "", "2013-02\n"])
def test_what_is_no_month_is_one_sentence(text: str) -> None:
    with pytest.raises(StockcastError, match="is not a month: write it as YYYY-MM, for example 2013-02"):
        parse_month(text)
