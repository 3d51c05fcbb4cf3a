"""A table on a narrow terminal: outer columns go first, and no number, date or word is ever broken."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.cli import tables
from stockcast_assets.cli.terminal import Terminal

HEADINGS = ["session", "date", "5 %", "10 %", "median", "90 %", "95 %", "random walk", "in words"]
OUTER = (("5 %", "95 %"), ("10 %", "90 %"))
PRICES = st.floats(0.01, 999_999, allow_nan=False)


def printed(width: int, rows: list[list[object]]) -> str:
    file = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "out", Terminal(file=file, width=width))
        tables.print_table("Title", HEADINGS, rows, OUTER)
    return file.getvalue()


@given(st.integers(20, 160), st.lists(st.tuples(*[PRICES] * 6), min_size=1, max_size=3))
def test_what_is_shown_is_whole(width: int, prices: list[tuple[float, ...]]) -> None:
    rows = [[number, "2013-03-14", *of_one, "a sentence of some words"] for number, of_one in enumerate(prices, 1)]
    text = printed(width, rows)
    words = set(text.split())
    for row in rows:
        # The median and the random walk are never left out, nor the date.
        assert {"2013-03-14", tables.cell(row[4]), tables.cell(row[7])} <= words
    everything = {word for row in rows for value in (*HEADINGS, *row) for word in str(tables.cell(value)).split()}
    assert words - everything - {"Title"} <= {word for word in words if set(word) == {"─"}}
    # Lines instead of a table may be as long as they are; a table fits.
    if "─" in text:
        assert max(map(len, text.splitlines())) <= width


METHODS = st.sampled_from(["naive_har_quarterly", "lstm", "random_walk"])
FEW = st.text("abc", min_size=1, max_size=24)


@given(
    st.integers(40, 120), st.lists(st.tuples(METHODS, st.lists(FEW, min_size=1, max_size=9)), min_size=1, max_size=4)
)
def test_no_column_takes_the_room_of_anothers_words(width: int, told: list[tuple[str, list[str]]]) -> None:
    rows = [[1, "2013-03-14", *["(397.39 – 480.30)"] * 5, method, " ".join(words)] for method, words in told]
    shown = set(printed(width, rows).split())
    for method, words in told:
        assert {method, "(397.39", "480.30)", *words} <= shown


def test_on_a_narrow_terminal_the_outer_quantiles_are_left_out() -> None:
    rows: list[list[object]] = [[1, "2013-03-14", 431.12, 431.12, 431.12, 431.12, 431.12, 431.12, "yes"]]
    assert "95 %" in printed(80, rows)
    narrow = printed(62, rows)
    assert "95 %" not in narrow
    assert "90 %" in narrow
    assert "90 %" not in printed(60, rows)
