"""CSV for spreadsheets: no cell is a formula, no number is a text, and nothing is lost."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.spreadsheet import FORMULA_STARTS, to_csv

TEXT = st.text(max_size=20) | st.builds(str.__add__, st.sampled_from([*FORMULA_STARTS, " =", "'"]), st.text(max_size=9))


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def is_number(cell: str) -> bool:
    return cell.isascii() and not pd.isna(pd.to_numeric(cell, errors="coerce"))


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_no_csv_cell_can_be_taken_for_a_formula(start: str) -> None:
    frame = pd.DataFrame({"ticker": [f'{start}HYPERLINK("http://x")', "MSFT", None], f"{start}cmd": [-1.5, 2.0, 3.0]})
    rows = rows_of(to_csv(frame))
    assert rows[0] == ["ticker", f"'{start}cmd"]
    assert rows[1] == [f'\'{start}HYPERLINK("http://x")', "-1.5"]
    assert rows[2] == ["MSFT", "2.0"]


@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_no_type_of_a_column_hides_a_formula(kind: str) -> None:
    frame = pd.DataFrame({"reason": pd.Series(["=1+1", "fine"], dtype=kind)})
    assert rows_of(to_csv(frame))[1:] == [["'=1+1"], ["fine"]]


@given(texts=st.lists(TEXT, min_size=1, max_size=5), number=st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_can_be_read_and_is_no_formula(texts: list[str], number: float) -> None:
    rows = rows_of(to_csv(pd.DataFrame({"text": texts, "number": number})))[1:]
    for (cell, shown), text in zip(rows, texts, strict=True):
        assert cell in (text, f"'{text}")
        assert not cell.lstrip(" ").startswith(FORMULA_STARTS) or is_number(cell)
        assert float(shown) == number


@pytest.mark.parametrize("number", ["-1.5", "+3", "-2e-05", "-.5"])
def test_a_number_stays_a_number_even_as_a_text(number: str) -> None:
    assert rows_of(to_csv(pd.DataFrame({"change": [number]})))[1] == [number]
